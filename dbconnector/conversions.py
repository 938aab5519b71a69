"""How single values are bound: conversions by class of column, and what single databases need beyond them. Pure.

A conversion raises ValueError, with words for a person, for what the database would alter.
"""

import datetime
import json
import math
import re
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from connectorlib.values.text import kind_of
from dbconnector.columns import Column

MIN_INT, MAX_INT = -(2**63), 2**63 - 1
UTC = datetime.UTC

Convert = Callable[[Any], Any]


def refuse(value: Any) -> Any:
    hint = ' (give it "type": "json")' if isinstance(value, (list, dict, tuple)) else ""
    raise ValueError(f"{kind_of(value)} cannot be a parameter{hint}")


def plain_text(value: str) -> str:
    if "\0" in value:
        raise ValueError("a NUL character: the driver would cut the text there")
    return value


def _bytes_of(value: str) -> bytes:
    return value.encode()


def _no_bytes(_value: Any) -> Any:
    raise ValueError("binary data for a text column")


def _no_number(value: Any) -> Any:
    raise ValueError(f"{value!r} for a binary column")


def _true_false(value: bool) -> str:
    return "true" if value else "false"


def _int64(value: int) -> int | str:
    """64 bits are what an ODBC driver carries as a number; a wider one is sent as digits for the server to parse."""
    return value if MIN_INT <= value <= MAX_INT else str(value)


def _whole(value: Decimal | float) -> int | str:
    """Given a number for an integer column, return it as an int. Raise if it has a fraction: MariaDB would round."""
    if not math.isfinite(value) or value != int(value):
        raise ValueError(f"{value} is not a whole number, as the column needs")
    return _int64(int(value))


def _whole_text(value: str) -> str:
    if value.isdigit() or value[1:].isdigit():
        return value
    if "." in value or "e" in value.lower():
        try:
            return str(_whole(Decimal(value)))
        except ArithmeticError:
            pass
    return plain_text(value)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a number that the column can hold")
    return value


def _plain(value: Decimal) -> str:
    """Return a decimal in digits, without an exponent: every database parses that exactly."""
    digits = str(value)
    return f"{value:f}" if "E" in digits else digits


def _finite_decimal(value: Decimal) -> Any:
    if not value.is_finite():
        raise ValueError(f"{value} is not a number that the column can hold")
    # A decimal parameter has at most 38 digits; longer ones are sent as text.
    return value if len(value.as_tuple().digits) <= 38 else _plain(value)


def _finite_digits(value: Decimal) -> str:
    if not value.is_finite():
        raise ValueError(f"{value} is not a number that the column can hold")
    return _plain(value)


def _json_number(value: float | Decimal) -> str:
    if not math.isfinite(value):
        raise ValueError(f"{value} is not JSON")
    return str(value) if isinstance(value, Decimal) else json.dumps(value)


_ZONED = re.compile(r"\d{4}-\d\d-\d\d[Tt ][\d:.]{5,15}(?:[Zz]|[+-]\d\d(?::?\d\d)?)")


def _utc_text(value: str) -> str:
    """Given ISO text with a zone for a timestamp column, return it in UTC without one.

    MariaDB refuses a zone; PostgreSQL drops it without a word if the column has none. The session's zone is UTC.
    Other text is left to the server.
    """
    if "\0" in value or not ("+" in value or "-" in value[10:] or value[-1:] in "zZ") or not _ZONED.fullmatch(value):
        return plain_text(value)
    try:
        moment = datetime.datetime.fromisoformat(value.upper())
    except ValueError:
        return plain_text(value)
    return str(moment.astimezone(UTC).replace(tzinfo=None)) if moment.tzinfo else value


def _iso_datetime(column: Column) -> Convert:
    if column in (Column.TEXT, Column.JSON):
        return datetime.datetime.isoformat
    if column is Column.DATE:
        return _only_date
    if column is Column.TIME:
        return _no_datetime
    return _utc_datetime


def _utc_datetime(value: datetime.datetime) -> str:
    return str(value.astimezone(UTC).replace(tzinfo=None)) if value.tzinfo else str(value)


def _only_date(value: datetime.datetime) -> str:
    if value.time() != datetime.time():
        raise ValueError(f"{value} has a time, the column holds only a date")
    return value.date().isoformat()


def _no_datetime(value: datetime.datetime) -> Any:
    raise ValueError(f"{value} is more than the time that the column holds")


def _iso_time(value: datetime.time) -> str:
    if value.tzinfo is not None:
        raise ValueError(f"{value} has a zone, which a time column does not keep")
    return value.isoformat()


_STRINGS: Mapping[Column, Convert] = {
    Column.BINARY: _bytes_of,
    Column.TIMESTAMP: _utc_text,
    Column.INTEGER: _whole_text,
}
_BOOLS: Mapping[Column, Convert | None] = {
    Column.TEXT: _true_false,
    Column.JSON: _true_false,
    Column.INTEGER: int,
    Column.DECIMAL: int,
    Column.FLOAT: int,
    Column.BINARY: _no_number,
}
_INTS: Mapping[Column, Convert] = {Column.TEXT: str, Column.JSON: str, Column.BINARY: _no_number}
_FLOATS: Mapping[Column, Convert] = {
    Column.TEXT: repr,
    Column.JSON: _json_number,
    Column.INTEGER: _whole,
    Column.BINARY: _no_number,
}
_DECIMALS: Mapping[Column, Convert] = {
    Column.TEXT: str,
    Column.JSON: _json_number,
    Column.INTEGER: _whole,
    Column.DECIMAL: _finite_digits,
    Column.FLOAT: _finite_digits,
    Column.BINARY: _no_number,
}


# What single drivers need beyond that.


def _own_postgresql(column: Column) -> dict[type, Convert | None]:
    """psqlodbc sends every parameter as a literal without a type, so text is always the exact form."""
    own: dict[type, Convert | None] = {}
    if column in (Column.UNKNOWN, Column.DECIMAL, Column.FLOAT):
        own |= {Decimal: _plain, float: repr}  # NaN and infinities included
    if column is Column.UNKNOWN:
        own |= {bool: _true_false, datetime.datetime: _offset_datetime, datetime.time: datetime.time.isoformat}
    return own


def _offset_datetime(value: datetime.datetime) -> str:
    return str(value.astimezone(UTC)) if value.tzinfo else str(value)


def _own_mariadb(column: Column) -> dict[type, Convert | None]:
    if column is Column.BOOLEAN:
        return {str: _boolean_text}
    return {bool: int} if column is Column.UNKNOWN else {}


_WORDS = {"true": 1, "false": 0}


def _boolean_text(value: str) -> Any:
    """`true` and `false`, as XML and delimited text have them, for a database without a boolean type."""
    return _WORDS.get(value.lower()) if value.lower() in _WORDS else plain_text(value)


def _own_sqlite(column: Column) -> dict[type, Convert | None]:
    """SQLite keeps temporals as text, and numbers as 64-bit integers or doubles whatever the column says."""
    own: dict[type, Convert | None] = {
        datetime.datetime: str,
        datetime.time: datetime.time.isoformat,
    }
    if column in (Column.TEXT, Column.JSON):
        return {datetime.datetime: datetime.datetime.isoformat}
    if column is Column.TIMESTAMP:
        return own | {str: plain_text}
    if column in (Column.INTEGER, Column.DECIMAL):
        return own | {str: _exact_text, int: _exact_int, Decimal: _exact_decimal, float: _finite}
    if column is Column.BOOLEAN:
        return own | {str: _boolean_text, int: _exact_int}
    if column is Column.FLOAT:
        return own | {Decimal: _to_float, int: _exact_int}
    return own | {int: _exact_int, Decimal: _exact_decimal} if column is Column.UNKNOWN else own


def _exact_int(value: int) -> int:
    if not MIN_INT <= value <= MAX_INT:
        raise ValueError(f"{value} does not fit in 64 bits")
    return value


def _to_float(value: Decimal) -> float:
    return _finite(float(value))


def _fits(value: Decimal) -> bool:
    return MIN_INT <= value <= MAX_INT and value == int(value)


def _exact_decimal(value: Decimal) -> str:
    """Return its digits. Raise if SQLite, which keeps a double, would not give the same ones back."""
    digits = _finite_digits(value)
    if len(digits) > 15 and value != Decimal(repr(float(value))) and not _fits(value):
        raise ValueError(f"{digits} has more digits than SQLite keeps in a number (a text column keeps them)")
    return digits


_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\s*")


def _exact_text(value: str) -> str:
    """The same for text: SQLite makes a number of it if it looks like one."""
    if len(value) > 15 and _NUMBER.fullmatch(value):
        _exact_decimal(Decimal(value.strip()))
    return plain_text(value)


def _own_sqlserver(column: Column) -> dict[type, Convert | None]:
    """From documentation: ISO 8601 with a T is read alike under every language setting."""
    if column in (Column.TIMESTAMP, Column.UNKNOWN):
        return {datetime.datetime: lambda value: _utc_datetime(value).replace(" ", "T")}
    return {}


def _own_oracle(column: Column) -> dict[type, Convert | None]:
    """From documentation: Oracle takes the empty string for NULL, so it is refused."""
    own = _own_generic(column)
    if column in (Column.TEXT, Column.UNKNOWN):
        own[str] = _not_empty
    return own


def _not_empty(value: str) -> str:
    if not value:
        raise ValueError("Oracle keeps the empty string as NULL")
    return plain_text(value)


def _own_generic(column: Column) -> dict[type, Convert | None]:
    """A driver that is not known gets its own date and time types; how it would parse text is anybody's guess."""
    if column in (Column.TEXT, Column.JSON):
        return {}
    return {datetime.datetime: _naive_utc, datetime.date: None, datetime.time: None}


def _naive_utc(value: datetime.datetime) -> datetime.datetime:
    return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value


_OWN: Mapping[str, Callable[[Column], dict[type, Convert | None]]] = {
    "postgresql": _own_postgresql,
    "mariadb": _own_mariadb,
    "sqlite": _own_sqlite,
    "sqlserver": _own_sqlserver,
    "oracle": _own_oracle,
}


def conversions(kind: str, column: Column) -> dict[type, Convert | None]:
    """Return how each Python type is bound for a column, by the driver's kind; None: as it is."""
    common: dict[type, Convert | None] = {
        type(None): None,
        str: _STRINGS.get(column, plain_text),
        bool: _BOOLS.get(column),
        int: _INTS.get(column, _int64),
        float: _FLOATS.get(column, _finite),
        Decimal: _DECIMALS.get(column, _finite_decimal),
        bytes: _no_bytes if column in (Column.TEXT, Column.JSON) else None,
        bytearray: _no_bytes if column in (Column.TEXT, Column.JSON) else bytes,
        memoryview: _no_bytes if column in (Column.TEXT, Column.JSON) else bytes,
        uuid.UUID: str,
        datetime.datetime: _iso_datetime(column),
        datetime.date: datetime.date.isoformat,
        datetime.time: _iso_time,
    }
    return common | _OWN.get(kind, _own_generic)(column)
