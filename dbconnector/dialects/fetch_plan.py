"""How a query is run so that its values arrive exactly as they are stored, though a driver would alter them. Pure.

A column whose values a driver alters is fetched as the database's own text and parsed here; a value that Python has no
type for stays that text.
"""

import datetime
import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from connectorlib.dataclass import dataclass
from connectorlib.formats.json import parse_json
from connectorlib.values.text import Structured
from dbconnector.columns import Column, ColumnType
from dbconnector.sql import bare
from dbconnector.wall_clock import ClockText

Decode = Callable[[Any], Any]

#: The size of SQL_REAL, by the standard of ODBC (appendix D, column size).
SINGLE_DIGITS = 7
#: Characters of a moment without a fraction of a second: `2026-01-31 08:00:00`.
MOMENT_SIZE = 19


class ResultColumn(NamedTuple):
    """One column of a result. `size` counts digits or characters, as ODBC has it."""

    name: str
    type: type
    size: int = 0
    #: Its type as the database names it, where that is known.
    declared: str = ""

    @property
    def single(self) -> bool:
        """Whether its numbers are of single precision (SQL_REAL), which the driver widens to a double."""
        return self.type is float and self.size == SINGLE_DIGITS

    @property
    def second_digits(self) -> int | None:
        """How many digits of a second a column with times keeps; None if it has no times. Where a driver's times are
        converted they are reported as texts of that size."""
        if self.type in (datetime.datetime, str) and MOMENT_SIZE <= self.size <= MOMENT_SIZE + 7:
            return max(0, self.size - MOMENT_SIZE - 1)
        return 0 if self.type is datetime.datetime else None

    @property
    def may_hold_moments(self) -> bool:
        """Whether its values may have a date and a time of day."""
        if self.type is str:
            return not self.size or self.size >= MOMENT_SIZE
        return self.type is datetime.datetime


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """The text that runs instead of a query, the names of the query's columns, and what decodes the values of each."""

    sql: str
    names: tuple[str, ...] = ()
    decoders: tuple[Decode | None, ...] = ()

    def rows(self, found: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
        if not any(self.decoders):
            return [tuple(row) for row in found]
        return [
            tuple(
                [v if v is None or f is None else f(v) for f, v in zip(self.decoders, row, strict=True)]  # hot path
            )
            for row in found
        ]

    def then(self, more: Sequence[Decode | None]) -> "FetchPlan":
        """Return the plan with something more to be done with the decoded values of some columns."""
        if not any(more):
            return self
        first = self.decoders or (None,) * len(more)
        decoders = tuple(_both(*each) if all(each) else each[0] or each[1] for each in zip(first, more, strict=True))
        return FetchPlan(self.sql, self.names, decoders)


def _both(first: Decode | None, second: Decode | None) -> Decode:
    assert first is not None
    assert second is not None

    def decode(value: Any) -> Any:
        decoded = first(value)
        return None if decoded is None else second(decoded)

    return decode


def shortest_single(value: Any) -> Any:
    """Given a number of single precision as a double, return the double of its shortest digits: 0.1, not
    0.10000000149011612. One that is no such number is returned as it is."""
    if value is None or not math.isfinite(value) or struct.unpack("f", struct.pack("f", value))[0] != value:
        return value
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        if struct.unpack("f", struct.pack("f", short))[0] == value:
            return short
    return value


def describing(sql: str) -> str:
    """Return the query that has the same columns and no rows; it fails if `sql` is no plain SELECT."""
    return f"SELECT * FROM (\n{bare(sql)}\n) described WHERE 1 = 0"


def aliases(count: int) -> list[str]:
    return [f"c{number}" for number in range(1, count + 1)]


def to_datetime(text: str) -> datetime.datetime | str:
    """Parse a timestamp; `infinity`, years BC or above 9999 and zero dates stay text."""
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        return text


def to_date(text: str) -> datetime.date | str:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        return text


def to_time(text: str) -> datetime.time | str:
    """Parse a time of day; others (`-01:00:00`, `838:59:59`, `24:00:00`) stay text."""
    if text.startswith("24"):
        return text
    try:
        return datetime.time.fromisoformat(text)
    except ValueError:
        return text


def to_json(text: str) -> Structured:
    return Structured(text, parse_json)


def named_decoder(column: ColumnType) -> Decode | None:
    """Return what decodes the values of a column of a table, given what is known of that."""
    if column.kind is Column.TIMESTAMP and column.clock is not None:
        return _utc_value if column.utc else _clock_value
    return _json_value if column.kind is Column.JSON else None


def _utc_value(value: Any) -> Any:
    return value.replace(tzinfo=datetime.UTC) if isinstance(value, datetime.datetime) else value


def _clock_value(value: Any) -> Any:
    moment = to_datetime(value) if isinstance(value, str) else None
    return ClockText(value) if isinstance(moment, datetime.datetime) and moment.tzinfo is None else value


def _json_value(value: Any) -> Any:
    return to_json(value) if isinstance(value, str) else value
