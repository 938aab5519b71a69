"""Which messages of a batch a refusal points to: by its text, and by what the catalogue says of the columns. Pure.

A hint saves attempts. It decides nothing: the database refuses each message by itself, or takes it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from connectorlib.errors import Failure
from dbconnector.bisect import LARGEST, chunks
from dbconnector.bound_write import BoundWrite, Row
from dbconnector.columns import Column, ColumnType, plain_name
from dbconnector.dialects.base import Dialect
from dbconnector.parameters import Plan, Unit
from dbconnector.sql import Statement

#: SQLSTATEs of a value that its column does not take because of its length, or of its size.
TOO_LONG, TOO_LARGE = "22001", "22003"
#: A hint that names more than one of so many says too little.
FEW = 4

_Fits = Callable[[Any], bool]


class Refusal(NamedTuple):
    """Why the database refused a piece of a batch."""

    failure: Failure
    #: How many statements of the same write had passed in the piece before.
    statement: int = 0
    #: The row of that statement, from 1, if the database told it.
    row: int | None = None


class RefusalHints:
    """What refusals of the statements of one plan point to."""

    def __init__(self, plan: Plan, dialect: Dialect, kinds_of: Callable[[Statement], Sequence[ColumnType]]) -> None:
        """`kinds_of` returns what is known of the column of each parameter."""
        self._dialect = dialect
        self._kinds_of = kinds_of
        self._writes: Mapping[str, BoundWrite] = {write.place: write for write in plan.writes}
        self._checks: dict[tuple[str, str], Sequence[tuple[int, _Fits]]] = {}

    def misfits(self, units: Sequence[Unit], failure: Failure) -> list[int]:
        """Return the positions of the messages with a value that cannot be stored in its column, whatever the other
        rows are: too long, too large, or NULL. Empty if the refusal has another reason."""
        checks = self._checks_of(failure)
        if not checks:
            return []
        index = self._writes[failure.place].index
        return [at for at, unit in enumerate(units) if not _all_fit(checks, unit, index)]

    def named(self, units: Sequence[Unit], refusal: Refusal) -> list[int]:
        """Return the positions of the messages that the text of a refusal names, by the row or by its values, in
        order. Empty if it names none, or too many."""
        write = self._writes.get(refusal.failure.place)
        if write is None:
            return []
        rows = list(_rows_of(units, write.index))
        found = sorted({rows[at][0] for at in self._rows_named(write, [row for _, row in rows], refusal)})
        return found if len(found) <= max(1, len(units) // FEW) else []

    def _rows_named(self, write: BoundWrite, rows: Sequence[Row], refusal: Refusal) -> Iterable[int]:
        text, texts = refusal.failure.text, self._dialect.refusals
        if refusal.row is not None:
            largest = min(LARGEST, self._dialect.rows_at_once(len(write.statement.names)))
            pieces = [len(chunk) for chunk in chunks(rows, largest)]
            at = sum(pieces[: refusal.statement]) + refusal.row - 1
            return [at] if 0 <= at < len(rows) else []
        if found := re.search(texts.key, text):
            columns, shown = found["columns"].split(", "), found["values"].split(", ")
            places = [_columns(write.statement).get(column.strip('"')) for column in columns]
            if len(columns) == 1:
                shown = [found["values"]]
            if None not in places and len(shown) == len(places):
                pairs = [(place, each) for place, each in zip(places, shown, strict=True) if place is not None]
                return [at for at, row in enumerate(rows) if all(_is_shown(row[place], each) for place, each in pairs)]
        if found := re.search(texts.row, text):
            return _most_alike(rows, found["values"].split(", "))
        if found := re.search(texts.value, text):
            return [at for at, row in enumerate(rows) if any(_is_shown(value, found["value"]) for value in row)]
        return []

    def _checks_of(self, failure: Failure) -> Sequence[tuple[int, _Fits]]:
        """Return what the values of a write have to fit, by their positions in a row."""
        write = self._writes.get(failure.place)
        if write is None:
            return ()
        null = re.search(self._dialect.refusals.null, failure.text)
        reason = f"null {null['column']}" if null else failure.code
        if not null and reason not in (TOO_LONG, TOO_LARGE):
            return ()
        key = (failure.place, reason)
        if key not in self._checks:
            if null:
                at = _columns(write.statement).get(null["column"])
                self._checks[key] = () if at is None else [(at, _is_something)]
            else:
                fits_of = _length_check if reason == TOO_LONG else _range_check
                kinds = enumerate(self._kinds_of(write.statement))
                self._checks[key] = [(at, fits) for at, kind in kinds if (fits := fits_of(kind)) is not None]
        return self._checks[key]


def _rows_of(units: Sequence[Unit], index: int) -> Iterator[tuple[int, Row]]:
    """Yield the rows of a write, each with the position of its message."""
    for at, unit in enumerate(units):
        for record in unit.rows:
            for row in record[index] or ():
                yield at, row


def _all_fit(checks: Sequence[tuple[int, _Fits]], unit: Unit, index: int) -> bool:
    for record in unit.rows:
        for row in record[index] or ():
            for at, fits in checks:
                if not fits(row[at]):
                    return False
    return True


def _columns(statement: Statement) -> dict[str, int]:
    """Return the position of the parameter that each column gets its value from."""
    return {plain_name(each.column): at for at, each in enumerate(statement.targets) if each and each.stored}


def _is_something(value: Any) -> bool:
    return value is not None


def _length_check(kind: ColumnType) -> _Fits | None:
    size = kind.size
    if size is None:
        return None
    if kind.octets:
        return lambda value: not isinstance(value, str) or len(value.encode()) <= size
    return lambda value: not isinstance(value, str | bytes) or len(value) <= size


def _range_check(kind: ColumnType) -> _Fits | None:
    if kind.digits is not None:
        end = Decimal(10) ** (kind.digits - (kind.scale or 0))
    elif kind.kind is Column.INTEGER and (bits := _BITS.get(kind.name.lower())):
        end = Decimal(2 ** (bits - 1))
    else:
        return None

    def fits(value: Any) -> bool:
        if isinstance(value, int):
            return -end <= value < end
        number = _number(value)
        return number is None or abs(number) < end

    return fits


_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "integer": 32, "bigint": 64}


def _number(value: Any) -> Decimal | None:
    if not isinstance(value, str | int | float | Decimal):
        return None
    try:
        found = Decimal(value) if isinstance(value, str) else Decimal(str(value))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def _is_shown(value: Any, text: str) -> bool:
    """Return whether a text of the database may be that of a value."""
    if value is None:
        return text == "null"
    if isinstance(value, str):
        if value == text:
            return True
        if not text[-1:].isdigit() or not value[-1:].isdigit():
            return False
    number = _number(value)
    return number is not None and number == _number(text)


def _most_alike(rows: Sequence[Row], shown: Sequence[str]) -> list[int]:
    """Return the positions of the rows that have the most of the values shown, in whatever order these are."""
    texts = set(shown)
    found = [sum(str(value) in texts for value in row if value is not None) for row in rows]
    most = max(found, default=0)
    return [at for at, count in enumerate(found) if count == most] if most else []
