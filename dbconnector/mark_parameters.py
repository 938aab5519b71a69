"""Which columns of a row `on_sent` and `on_failed` take as parameters, and the text of `:error`. Pure."""

from collections.abc import Sequence

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.values.text import shorten

ON_SENT = "on_sent"
ON_FAILED = "on_failed"
#: The parameter of on_failed that holds why a row failed; it hides a column of that name.
ERROR = "error"
#: Characters of it.
ERROR_TEXT = 500


def positions(names: Sequence[str], columns: Sequence[str], place: str) -> list[int | None]:
    """Return the position of each parameter's column; None for `:error`. Raise Failed if one has no column."""
    return [_position(name, columns, place) for name in names]


def error_text(failure: Failure) -> str:
    """Return the value of `:error`."""
    return shorten(str(failure), ERROR_TEXT)


def _position(name: str, columns: Sequence[str], place: str) -> int | None:
    """Return the position of a column; one in the same case comes before one in another. None is the error."""
    if name == ERROR and place == ON_FAILED:
        return None
    if name in columns:
        return columns.index(name)
    lower = [column.lower() for column in columns]
    if lower.count(name.lower()) == 1:
        return lower.index(name.lower())
    text = f":{name} is no column of the query; they are {', '.join(columns)}"
    raise Failed(Failure(Kind.CONFIGURATION, "missing-field", text, place))
