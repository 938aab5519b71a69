"""`on_sent` and `on_failed`: a statement that is run for a row of the query, its parameters taken from the columns."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from connectorlib.errors import Failed, Failure, Kind
from dbconnector.database import Database
from dbconnector.statements import Statement, compile_statement

#: What `:error` of on_failed stands for; it hides a column of that name.
ERROR = "error"
Row = tuple[Any, ...]
#: A row, and for on_failed why it failed.
Marked = tuple[Row, str]


class Mark:
    """One of the two statements; `place` is what errors call it."""

    def __init__(self, text: str, place: str) -> None:
        self.place = place
        self.statement: Statement = compile_statement(text)
        self._parameters: Callable[[Row, str], Sequence[Any]] | None = None

    def bind(self, database: Database, columns: Sequence[str]) -> None:
        """Given a connected database and the columns of the query, find each parameter's. Raise Failed for one that
        is no column."""
        places = [self._place_of(name, columns) for name in self.statement.names]
        binder = database.binder(self.statement)

        def parameters(row: Row, error: str) -> Sequence[Any]:
            return binder(tuple(error if at is None else row[at] for at in places))

        self._parameters = parameters

    def parameters(self, row: Row, error: str = "") -> Sequence[Any]:
        assert self._parameters is not None
        return self._parameters(row, error)

    def run(self, database: Database, rows: Iterable[Marked]) -> int:
        """Run the statement for each row, in the transaction; return how many rows changed."""
        changed = 0
        for row, error in rows:
            changed += max(database.execute(self.statement.sql, self.parameters(row, error), place=self.place), 0)
        return changed

    def _place_of(self, name: str, columns: Sequence[str]) -> int | None:
        """Return the position of the column, the name as it is before the name in another case; None: the error."""
        if name == ERROR and self.place == "on_failed":
            return None
        if name in columns:
            return columns.index(name)
        lower = [column.lower() for column in columns]
        if lower.count(name.lower()) == 1:
            return lower.index(name.lower())
        text = f":{name} is no column of the query; they are {', '.join(columns)}"
        raise Failed(Failure(Kind.CONFIGURATION, "missing-field", text, self.place))


def bind_parameters(
    database: Database, statement: Statement, values: Mapping[str, Any], *, place: str
) -> Sequence[Any]:
    """Given a statement and values by name, return its parameters. Raise Failed if a value is not given."""
    missing = [name for name in dict.fromkeys(statement.names) if name not in values]
    if missing:
        names = ", ".join(f":{name}" for name in missing)
        text = f"no value for {names}: give it in params, or with --param {missing[0]}=VALUE"
        raise Failed(Failure(Kind.CONFIGURATION, "missing-param", text, place))
    return database.binder(statement)(tuple(values[name] for name in statement.names))
