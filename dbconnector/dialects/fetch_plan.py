"""How a query is run so that its values arrive exactly as they are stored, though a driver would alter them. Pure.

A column whose values a driver alters is fetched as the database's own text and parsed here; a value that Python has no
type for stays that text.
"""

import datetime
import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

from connectorlib.dataclass import dataclass

Decode = Callable[[Any], Any]


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


def bare(sql: str) -> str:
    return sql.strip().rstrip(";")


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
