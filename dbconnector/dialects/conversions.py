"""What every conversion of a value for a column is made of: its type, and what it refuses. Pure.

A conversion raises ValueError, with a text for people, for a value that the database would alter.
"""

import datetime
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from connectorlib.values.text import kind_of

Convert = Callable[[Any], Any]
#: How each type is bound; None binds a value as it is.
Bindings = dict[type, Convert | None]


class ColumnConvert:
    """Converts a value, or those of one column of many rows in a fraction of the time."""

    __slots__ = ("_one", "column")

    def __init__(self, one: Convert, column: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
        self._one = one
        self.column = column

    def __call__(self, value: Any) -> Any:
        return self._one(value)


def refuse(value: Any) -> Any:
    hint = ' (give it "type": "json")' if isinstance(value, (list, dict, tuple)) else ""
    raise ValueError(f"{kind_of(value)} cannot be a parameter{hint}")


def plain_text(value: str) -> str:
    if "\0" in value:
        raise ValueError("a NUL character: the driver would cut the text there")
    return value


_BOOLEANS = {"true": 1, "false": 0}


def boolean_text(value: str) -> int | str:
    """Convert `true` and `false`, as XML and delimited text write them, for a database without a boolean type."""
    found = _BOOLEANS.get(value.lower())
    return plain_text(value) if found is None else found


class SizedText:
    """Binds text for a column that cuts blanks, or bytes, off what is longer than `size`."""

    def __init__(self, size: int, octets: bool) -> None:
        self._size = size
        self._octets = octets
        #: Whether only a text that ends in a blank can be cut: a server refuses what else is too long.
        self.blanks = not octets

    def __call__(self, value: str) -> str:
        found = len(value.encode()) if self._octets else len(value)
        if found > self._size:
            unit = "bytes" if self._octets else "characters"
            raise ValueError(f"{found} {unit}, the column keeps {self._size} and cuts the rest off")
        return plain_text(value)


def _no_bytes(_value: Any) -> Any:
    raise ValueError("binary data for a column that holds none")


def unfit(what: str, value: Any) -> Any:
    """Raise for a value of a type that the database would guess about."""
    raise ValueError(f"{value} ({kind_of(value)}) for a column of {what}")


NO_BYTES: Bindings = dict.fromkeys((bytes, bytearray, memoryview), _no_bytes)
TEMPORALS = (datetime.datetime, datetime.date, datetime.time)
NUMBERS = (bool, int, float, Decimal)
#: How a person says that a value may be altered.
CAST = " (if it may: CAST(:name AS …) in the statement)"
