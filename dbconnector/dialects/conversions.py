"""How a Python value is bound for a column of each class, before what a dialect adds to it. Pure.

A conversion raises ValueError, with a text for people, for a value that the database would alter.
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
#: How each type is bound; None binds a value as it is.
Bindings = dict[type, Convert | None]


def refuse(value: Any) -> Any:
    hint = ' (give it "type": "json")' if isinstance(value, (list, dict, tuple)) else ""
    raise ValueError(f"{kind_of(value)} cannot be a parameter{hint}")


# --- text and bytes -------------------------------------------------------------------------------------------------


def plain_text(value: str) -> str:
    if "\0" in value:
        raise ValueError("a NUL character: the driver would cut the text there")
    return value


_BOOLEANS = {"true": 1, "false": 0}


def boolean_text(value: str) -> int | str:
    """Convert `true` and `false`, as XML and delimited text write them, for a database without a boolean type."""
    found = _BOOLEANS.get(value.lower())
    return plain_text(value) if found is None else found


def _no_bytes(_value: Any) -> Any:
    raise ValueError("binary data for a text column")


def _no_number(value: Any) -> Any:
    raise ValueError(f"{value!r} for a binary column")


# --- numbers --------------------------------------------------------------------------------------------------------


def true_false(value: bool) -> str:
    return "true" if value else "false"


def _int64(value: int) -> int | str:
    """Return a number that an ODBC driver can carry (64 bits); digits for the server to parse if it is wider."""
    return value if MIN_INT <= value <= MAX_INT else str(value)


def _whole(value: Decimal | float) -> int | str:
    """Return a number for an integer column. Raise if it has a fraction, which MariaDB would round."""
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


def finite(value: float) -> float:
    if not math.isfinite(value):
        raise _not_finite(value)
    return value


def digits_of(value: Decimal) -> str:
    """Return a decimal without an exponent: every database parses that exactly."""
    digits = str(value)
    return f"{value:f}" if "E" in digits else digits


def finite_digits(value: Decimal) -> str:
    if not value.is_finite():
        raise _not_finite(value)
    return digits_of(value)


def _finite_decimal(value: Decimal) -> Decimal | str:
    if not value.is_finite():
        raise _not_finite(value)
    # A decimal parameter has at most 38 digits; longer ones are sent as text.
    return value if len(value.as_tuple().digits) <= 38 else digits_of(value)


def _not_finite(value: float | Decimal) -> ValueError:
    return ValueError(f"{value} is not a number that the column can hold")


def _json_number(value: float | Decimal) -> str:
    if not math.isfinite(value):
        raise ValueError(f"{value} is not JSON")
    return str(value) if isinstance(value, Decimal) else json.dumps(value)


# --- dates and times ------------------------------------------------------------------------------------------------

_ZONED = re.compile(r"\d{4}-\d\d-\d\d[Tt ][\d:.]{5,15}(?:[Zz]|[+-]\d\d(?::?\d\d)?)")


def _utc_text(value: str) -> str:
    """Given ISO text with a zone for a timestamp column, return it in UTC without one; leave other text to the server.

    MariaDB refuses a zone; PostgreSQL ignores it if the column has none. The session's zone is UTC.
    """
    if "\0" in value or not ("+" in value or "-" in value[10:] or value[-1:] in "zZ") or not _ZONED.fullmatch(value):
        return plain_text(value)
    try:
        moment = datetime.datetime.fromisoformat(value.upper())
    except ValueError:
        return plain_text(value)
    return utc_datetime(moment) if moment.tzinfo else value


def naive_utc(value: datetime.datetime) -> datetime.datetime:
    return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value


def utc_datetime(value: datetime.datetime) -> str:
    return str(value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value)


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


# --- by class of column ---------------------------------------------------------------------------------------------

_STRINGS: Mapping[Column, Convert] = {
    Column.BINARY: str.encode,
    Column.TIMESTAMP: _utc_text,
    Column.INTEGER: _whole_text,
}
_BOOLS: Mapping[Column, Convert] = {
    Column.TEXT: true_false,
    Column.JSON: true_false,
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
    Column.DECIMAL: finite_digits,
    Column.FLOAT: finite_digits,
    Column.BINARY: _no_number,
}
_DATETIMES: Mapping[Column, Convert] = {
    Column.TEXT: datetime.datetime.isoformat,
    Column.JSON: datetime.datetime.isoformat,
    Column.DATE: _only_date,
    Column.TIME: _no_datetime,
}


def common_bindings(column: Column) -> Bindings:
    """Return how each type is bound for a column of any database."""
    textual = column in (Column.TEXT, Column.JSON)
    return {
        type(None): None,
        str: _STRINGS.get(column, plain_text),
        bool: _BOOLS.get(column),
        int: _INTS.get(column, _int64),
        float: _FLOATS.get(column, finite),
        Decimal: _DECIMALS.get(column, _finite_decimal),
        bytes: _no_bytes if textual else None,
        bytearray: _no_bytes if textual else bytes,
        memoryview: _no_bytes if textual else bytes,
        uuid.UUID: str,
        datetime.datetime: _DATETIMES.get(column, utc_datetime),
        datetime.date: datetime.date.isoformat,
        datetime.time: _iso_time,
    }


def native_temporals(column: Column) -> Bindings:
    """Return what binds dates and times as ODBC's own types: how an unknown database parses text is not known."""
    if column in (Column.TEXT, Column.JSON):
        return {}
    return {datetime.datetime: naive_utc, datetime.date: None, datetime.time: None}
