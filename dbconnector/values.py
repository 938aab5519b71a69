"""Values on their way into a database: exactly as they are, or rejected. Pure.

Drivers lose things without a word: all three cut text at a NUL, MariaDB's drops microseconds and turns a UUID into an
empty string, psqlodbc stores `true` in a text column as `1`, SQLite rounds decimals beyond 15 digits, MariaDB rounds
fractions in integer columns. So every value is bound in the form that the database itself parses exactly, which
depends on the class of the column it goes into, and what has no such form raises.
"""

import datetime
import json
import math
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from operator import itemgetter
from typing import Any

from connectorlib.errors import Failed, reject
from dbconnector.columns import Column
from dbconnector.drivers import Driver

MIN_INT, MAX_INT = -(2**63), 2**63 - 1
UTC = datetime.UTC

#: Combinations of types remembered for one statement.
PLANS = 1000

Convert = Callable[[Any], Any]
_Plan = tuple[Callable[[Sequence[Any]], tuple[str, ...]] | None, tuple[tuple[int, Convert], ...]]


def make_binder(
    driver: Driver, columns: Sequence[Column], names: Sequence[str], place: str = ""
) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """Return the function that makes one row of values fit to be bound; it raises Failed (reject, `bad-value`).

    It runs for every row: what there is to do is worked out once for each combination of types.
    """
    tables = [_table(driver, column) for column in columns]
    plans: dict[tuple[type, ...], _Plan] = {}

    def bind(values: Sequence[Any]) -> tuple[Any, ...]:
        types = tuple(map(type, values))
        plan = plans.get(types)
        if plan is None:
            if len(plans) >= PLANS:
                plans.clear()
            plan = plans[types] = _plan(tables, types)
        texts, converts = plan
        try:
            if texts is not None and "\0" in "".join(texts(values)):
                raise ValueError("a NUL character")
            if not converts:
                return tuple(values)
            row = list(values)
            for at, convert in converts:
                row[at] = convert(row[at])
        except (ValueError, OverflowError) as error:
            raise _bad_value(tables, names, values, place, error) from None
        return tuple(row)

    return bind


def _plan(tables: Sequence["_Table"], types: Sequence[type]) -> "_Plan":
    """Given the types of a row, return what fetches its plain texts, to be searched for NUL in one go, and the
    conversions that remain with their positions."""
    found = [table[kind] for table, kind in zip(tables, types, strict=True)]
    texts = [at for at, convert in enumerate(found) if convert is _text]
    converts = tuple((at, convert) for at, convert in enumerate(found) if convert not in (None, _text))
    # Twice the same position if there is one only: itemgetter then still gives a tuple.
    getter = itemgetter(*texts, *texts[:1]) if texts else None
    return getter, converts


def _bad_value(
    tables: Sequence["_Table"], names: Sequence[str], values: Sequence[Any], place: str, error: Exception
) -> Failed:
    """Run the row once more, one by one, to name the value that did it."""
    for name, table, value in zip(names, tables, values, strict=False):
        try:
            convert = table[type(value)]
            if convert is not None:
                convert(value)
        except (ValueError, OverflowError) as reason:
            where = f"{place}.values.{name}" if place else name
            return reject("bad-value", str(reason), place=place, detail=f"{where}: {reason}")
    return reject("bad-value", str(error), place=place)


class _Table(dict[type, Convert | None]):
    """Type to conversion; None binds the value as it is. Subclasses are looked up once and remembered."""

    def __missing__(self, kind: type) -> Convert | None:
        found: Convert | None = _refuse
        for base in kind.__mro__[1:-1]:
            if base in self:
                found = self[base]
                break
        self[kind] = found
        return found


def _refuse(value: Any) -> Any:
    hint = ' (give it "type": "json")' if isinstance(value, (list, dict, tuple)) else ""
    raise ValueError(f"a {type(value).__name__} cannot be a parameter{hint}")


def _table(driver: Driver, column: Column) -> _Table:
    """Return the conversions for one parameter: what every driver needs, then what this one does."""
    common: dict[type, Convert | None] = {
        type(None): None,
        str: _STRINGS.get(column, _text),
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
    return _Table(common | _OWN.get(driver.kind, _own_generic)(column))


def _text(value: str) -> str:
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
    return _text(value)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a number that the column can hold")
    return value


def _plain(value: Decimal) -> str:
    """Return a decimal in digits, without an exponent: every database parses that exactly."""
    text = str(value)
    return f"{value:f}" if "E" in text else text


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
        return _text(value)
    try:
        moment = datetime.datetime.fromisoformat(value.upper())
    except ValueError:
        return _text(value)
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
    return _WORDS.get(value.lower()) if value.lower() in _WORDS else _text(value)


def _own_sqlite(column: Column) -> dict[type, Convert | None]:
    """SQLite keeps temporals as text, and numbers as 64-bit integers or doubles whatever the column says."""
    own: dict[type, Convert | None] = {
        datetime.datetime: str,
        datetime.time: datetime.time.isoformat,
    }
    if column in (Column.TEXT, Column.JSON):
        return {datetime.datetime: datetime.datetime.isoformat}
    if column is Column.TIMESTAMP:
        return own | {str: _text}
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
    text = _finite_digits(value)
    if len(text) > 15 and value != Decimal(repr(float(value))) and not _fits(value):
        raise ValueError(f"{text} has more digits than SQLite keeps in a number (a text column keeps them)")
    return text


_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\s*")


def _exact_text(value: str) -> str:
    """The same for text: SQLite makes a number of it if it looks like one."""
    if len(value) > 15 and _NUMBER.fullmatch(value):
        _exact_decimal(Decimal(value.strip()))
    return _text(value)


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
    return _text(value)


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
