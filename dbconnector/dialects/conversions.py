"""How a Python value is bound for a column of each class, before what a dialect adds to it. Pure.

A conversion raises ValueError, with a text for people, for a value that the database would alter.
"""

import contextlib
import datetime
import decimal
import json
import math
import re
import struct
import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from connectorlib.values.text import MAX_DIGITS, json_text, kind_of, quoted
from dbconnector.columns import Column, ColumnType

MIN_INT, MAX_INT = -(2**63), 2**63 - 1
UTC = datetime.UTC

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


_NO_BYTES: Bindings = dict.fromkeys((bytes, bytearray, memoryview), _no_bytes)
_TEMPORALS = (datetime.datetime, datetime.date, datetime.time)
_NUMBERS = (bool, int, float, Decimal)


# --- numbers --------------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,9})?\s*", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
#: Numbers as programming languages write them: in another base, or with `_` between digits (PostgreSQL from 16 on).
_LITERAL = re.compile(r"\s*[+-]?(0[xob]|[\d.]*\d_\d)", re.ASCII | re.IGNORECASE)


def true_false(value: bool) -> str:
    return "true" if value else "false"


def _int64(value: int) -> int | str:
    """Return a number that an ODBC driver can carry (64 bits); digits for the server to parse if it is wider."""
    return value if MIN_INT <= value <= MAX_INT else str(value)


def _all_int64(values: Sequence[int]) -> Sequence[int | str]:
    in_range = min(values) >= MIN_INT and max(values) <= MAX_INT
    return values if in_range else [*map(_int64, values)]


#: How whole numbers are bound.
_WIDE = ColumnConvert(_int64, _all_int64)


def whole(value: Decimal | float) -> int | str:
    """Return a number for an integer column. Raise if it has a fraction, which MariaDB would round."""
    if not math.isfinite(value) or value != int(value):
        raise ValueError(f"{value} is not a whole number, as the column needs")
    return _int64(int(value))


def whole_text(value: str) -> str:
    if _WHOLE.fullmatch(value):
        return value
    number = number_in(value)
    return plain_text(value) if number is None else str(whole(number))


def number_in(text: str) -> Decimal | None:
    """Return the number that a text holds. Raise for one that is written as in a program, which some databases read
    and others do not."""
    if _NUMBER.fullmatch(text):
        number = Decimal(text.strip())
        if len(text) > MAX_DIGITS or not -MAX_DIGITS < number.adjusted() < MAX_DIGITS:
            raise ValueError(f"a number of more than {MAX_DIGITS} digits")
        return number
    if _LITERAL.match(text):
        raise ValueError(f"{quoted(text)} is not a decimal number")
    return None


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


def refuse_rounding(number: Decimal, *, single: bool = False) -> None:
    """Raise if a floating-point number does not have the digits of this one: of 0.1 it has, of 2⁵³ + 1 it has not."""
    if not number.is_finite():
        return
    try:
        held = float(number)
        held = struct.unpack("f", struct.pack("f", held))[0] if single else held
    except OverflowError:
        held = math.inf
    digits = len(number.normalize(_ALL_DIGITS).as_tuple().digits)
    if not math.isfinite(held) or Decimal(f"{held:.{max(digits, 1) - 1}e}") != number:
        raise ValueError(f"{number} has more digits than the column, which keeps about {7 if single else 15}{_CAST}")


_ALL_DIGITS = decimal.Context(prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
#: How a person says that a value may be altered.
_CAST = " (if it may: CAST(:name AS …) in the statement)"


def _refuse_fraction(scale: int, number: Decimal) -> None:
    """Raise if a number has more digits after the point than a column keeps; before it, for a scale below 0."""
    if not number.is_finite():
        return
    shifted = number.scaleb(scale, _ALL_DIGITS)
    if shifted != shifted.to_integral_value():
        raise ValueError(f"{number} has more digits after the point than the {scale} that the column keeps{_CAST}")


def _rounding(column: ColumnType) -> Callable[[Decimal], None] | None:
    """Return what raises for a number that this column would round; None if it rounds none."""
    if column.scale is not None:
        return partial(_refuse_fraction, column.scale)
    if column.kind in (Column.FLOAT, Column.SINGLE):
        return partial(refuse_rounding, single=column.kind is Column.SINGLE)
    return None


#: So many digits every floating-point number has.
_SAFE = {Column.FLOAT: 15, Column.SINGLE: 6}


def numbers(column: ColumnType, *, infinite: bool = False) -> Bindings:
    """Return how numbers are bound for a column of numbers that may have a fraction. `infinite`: it holds NaN too."""
    check = _rounding(column)
    # Digits with their point that cannot be rounded, whatever they are, and need no closer look.
    safe = _SAFE.get(column.kind, 0) if column.scale is None else 0
    most = (column.scale or 0) + 1
    #: The longest text from its point on that needs no closer look either.
    short = most if column.scale is not None else MAX_DIGITS if check is None else 0

    def digits(value: Decimal) -> str:  # hot path
        text = str(value)
        point = text.find(".")
        if point >= 0 and len(text) - point <= short and "E" not in text:
            return text
        return any_digits(value)

    plain = re.compile(rf"(?:-?\d+\.\d{{1,{max(short - 1, 1)}}}\n)*", re.ASCII).fullmatch

    def all_digits(values: Sequence[Decimal]) -> Sequence[str]:  # hot path
        texts = [*map(str, values)]
        return texts if short > 1 and plain("\n".join([*texts, ""])) else [*map(digits, values)]

    def any_digits(value: Decimal) -> str:
        if not infinite and not value.is_finite():
            raise _not_finite(value)
        text = str(value)
        if "E" in text:
            text = f"{value:f}"
        if check is not None and len(text) > safe:
            point = text.find(".")
            if safe or most < 1 or 0 <= point < len(text) - most:
                check(value)
        return text

    def of_float(value: float) -> Any:
        if check is not None and (safe == 0 or column.kind is Column.SINGLE):
            check(Decimal(repr(value)))
        return repr(value) if infinite else finite(value)

    def of_int(value: int) -> int | str:
        if check is not None and (most < 1 or (safe and not -(10**safe) <= value <= 10**safe)):
            check(Decimal(value))
        return _int64(value)

    def of_text(value: str) -> str:
        number = number_in(value)
        if number is not None and check is not None:
            check(number)
        return plain_text(value)

    decimals = ColumnConvert(digits, all_digits)
    return {bool: int, int: of_int, float: of_float, Decimal: decimals, str: of_text, **_NO_BYTES}


def _integers(column: ColumnType) -> Bindings:
    found: Bindings = {bool: int, int: _WIDE, float: whole, Decimal: whole, str: whole_text, **_NO_BYTES}
    if column.within is None:
        return found
    return found | {kind: partial(_within, column, found[kind]) for kind in (bool, int, float, Decimal, str)}


def _within(column: ColumnType, convert: Convert | None, value: Any) -> int:
    """Return a number within the bounds of a column beyond which the database would make another number of it."""
    converted = convert(value) if convert else value
    within = column.within or range(0)
    digits = f"{converted:d}" if isinstance(converted, int) else converted
    if not _WHOLE.fullmatch(digits) or int(digits) not in within:
        raise ValueError(f"{value} for a column of {column.name}, which takes {within.start} to {within.stop - 1}")
    return int(digits)


# --- text -----------------------------------------------------------------------------------------------------------


def _texts(column: ColumnType) -> Bindings:
    found: Bindings = {
        str: plain_text if column.size is None else SizedText(column.size, column.octets),
        **{bool: true_false, int: str, float: repr, Decimal: str},
        **dict.fromkeys((datetime.datetime, datetime.date, datetime.time), _isoformat),
        **_NO_BYTES,
    }
    if not column.members:
        return found
    return {kind: convert and partial(_member, column, convert) for kind, convert in found.items()}


def _isoformat(value: datetime.datetime | datetime.date | datetime.time) -> str:
    return value.isoformat()


def _member(column: ColumnType, convert: Convert, value: Any) -> str:
    """Return a word of an enumeration. The database takes others for the number of one, or for one in another case."""
    text: str = convert(value)
    words = text.split(",") if column.several and text else [text] if not column.several else []
    if not set(words) <= column.members:
        raise ValueError(f"{quoted(text)} is no value of {column.name}")
    return text


def _json_texts(column: ColumnType) -> Bindings:
    text = unrepeated if column.name == "jsonb" else plain_text
    own: Bindings = {str: text, float: _json_number, Decimal: _json_number, dict: json_text, list: json_text}
    return _texts(ColumnType(Column.TEXT)) | own


def unrepeated(value: str) -> str:
    """Return JSON for a database that keeps the last of members of one name. Raise ValueError if there are such."""

    def once(members: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in members]
        if len(set(names)) < len(names):
            raise ValueError(f"{quoted(value)} has two members of one name, of which the column keeps the last")

    with contextlib.suppress(json.JSONDecodeError):  # which the database finds itself
        json.loads(value, object_pairs_hook=once)
    return plain_text(value)


def _forms(column: ColumnType) -> Bindings:
    """Return how a type is bound that is written as text of a form of its own."""
    refused = partial(unfit, column.name)

    def of_text(value: str) -> str:
        if column.form is not None and not column.form.fullmatch(value):
            raise ValueError(f"{quoted(value)} is not written as {column.name} is")
        if column.name == "interval":
            for digits in _FRACTION.findall(value):
                _refuse_seconds(column, digits, value)
        return plain_text(value)

    return {str: of_text, **dict.fromkeys((*_NUMBERS, *_TEMPORALS), refused), **_NO_BYTES}


# --- dates and times ------------------------------------------------------------------------------------------------

_DAY = r"\d{4}-\d\d-\d\d"
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.(\d+))?)?"
_ZONE = r"([Zz]|[+-]\d\d(?::?\d\d)?)"
MOMENT = re.compile(rf"{_DAY}(?:[Tt ]{_CLOCK}{_ZONE}?)?", re.ASCII)
_TIME = re.compile(rf"{_CLOCK}{_ZONE}?", re.ASCII)
_DATE = re.compile(rf"{_DAY}(?:[Tt ]00:00(?::00(?:\.0+)?)?)?", re.ASCII)
_FRACTION = re.compile(r"\.(\d+)", re.ASCII)
#: Digits of the seconds where the catalogue does not say.
_MICROSECONDS = 6


def naive_utc(value: datetime.datetime) -> datetime.datetime:
    return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value


def utc_datetime(value: datetime.datetime) -> str:
    return str(value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value)


def with_offset(value: datetime.datetime) -> str:
    return str(value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC))


def _refuse_seconds(column: ColumnType, digits: str | None, value: Any) -> None:
    """Raise if a time has more digits of a second than the column keeps."""
    scale = _MICROSECONDS if column.scale is None else column.scale
    if digits and digits[scale:].strip("0"):
        raise ValueError(f"{value} has more digits of a second than the {scale} that the column keeps{_CAST}")


def _guessed(column: ColumnType, value: str) -> str:
    """Return a text that is not ISO 8601 if it is of the database's own form. Raise for any other: it would guess."""
    if column.form is not None and column.form.fullmatch(value):
        fraction = _FRACTION.search(value)
        _refuse_seconds(column, fraction and fraction[1], value)
        return value
    raise ValueError(f'{quoted(value)} is no {column.kind} of ISO 8601: say "type" and "format"')


def _dates(column: ColumnType) -> Bindings:
    def of_text(value: str) -> str:
        return value[:10] if _DATE.fullmatch(value) else _guessed(column, value)

    return _temporals(column) | {
        str: of_text,
        datetime.datetime: _only_date,
        datetime.date: datetime.date.isoformat,
    }


def _times(column: ColumnType) -> Bindings:
    zoned = column.name.endswith("with time zone") and "without" not in column.name

    def of_text(value: str) -> str:
        found = _TIME.fullmatch(value)
        if found is None:
            return _guessed(column, value)
        if found[2] and not zoned:
            raise ValueError(f"{value} has a zone, which the column does not keep")
        _refuse_seconds(column, found[1], value)
        return value

    def of_time(value: datetime.time) -> str:
        if value.tzinfo is not None and not zoned:
            raise ValueError(f"{value} has a zone, which a time column does not keep")
        _refuse_seconds(column, f"{value.microsecond:06}", value)
        return value.isoformat()

    return _temporals(column) | {str: of_text, datetime.time: of_time}


def _timestamps(column: ColumnType) -> Bindings:
    """Return how moments are bound: for an instant with its offset, else in UTC without one. The session's zone, where
    it counts, is UTC (docs/guarantees.md)."""
    instant = column.kind is Column.INSTANT
    text_of = with_offset if instant else utc_datetime
    scale = _MICROSECONDS if column.scale is None else column.scale
    fraction = rf"(?:\.\d{{1,{scale}}})?" if scale else ""
    moment = rf"{_DAY}[T ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d{fraction}"
    plain = re.compile(moment, re.ASCII).fullmatch
    all_plain = re.compile(rf"(?:{moment}\n)*", re.ASCII).fullmatch

    def of_text(value: str) -> str:
        if not instant and plain(value):  # hot path
            return value
        found = MOMENT.fullmatch(value)
        if found is None:
            return _guessed(column, value)
        digits, zone = found.groups()
        if digits:
            _refuse_seconds(column, digits, value)
        if zone:
            return text_of(datetime.datetime.fromisoformat(value.upper()))
        return value if not instant else f"{value}+00" if len(value) > 10 else f"{value} 00:00+00"

    def all_texts(values: Sequence[str]) -> Sequence[str]:
        joined = "\n".join([*values, ""])
        is_plain = not instant and joined.count("\n") == len(values) and all_plain(joined)
        return values if is_plain else [*map(of_text, values)]

    def of_datetime(value: datetime.datetime) -> str:
        if value.microsecond and column.scale is not None:
            _refuse_seconds(column, f"{value.microsecond:06}", value)
        return text_of(value)

    def of_date(value: datetime.date) -> str:
        return of_text(value.isoformat())

    texts = ColumnConvert(of_text, all_texts)
    return _temporals(column) | {str: texts, datetime.datetime: of_datetime, datetime.date: of_date}


def _temporals(column: ColumnType) -> Bindings:
    """Return what refuses all that is no moment: databases take numbers for days, years, seconds."""
    refused = partial(unfit, f"{column.name or column.kind} (types epoch_s and epoch_ms make moments of numbers)")
    kind = partial(unfit, column.name or column.kind)
    return {**dict.fromkeys(_NUMBERS, refused), **dict.fromkeys(_TEMPORALS, kind), **_NO_BYTES}


def _only_date(value: datetime.datetime) -> str:
    if value.time() != datetime.time():
        raise ValueError(f"{value} has a time, the column holds only a date")
    return value.date().isoformat()


def _iso_time(value: datetime.time) -> str:
    if value.tzinfo is not None:
        raise ValueError(f"{value} has a zone, which a time column does not keep")
    return value.isoformat()


# --- by class of column ---------------------------------------------------------------------------------------------


def _binaries(column: ColumnType) -> Bindings:
    refused = partial(unfit, "binary data")
    return {str: str.encode, **dict.fromkeys(_NUMBERS, refused)}


_BY_KIND: Mapping[Column, Callable[[ColumnType], Bindings]] = {
    Column.TEXT: _texts,
    Column.JSON: _json_texts,
    Column.INTEGER: _integers,
    Column.DECIMAL: numbers,
    Column.FLOAT: numbers,
    Column.SINGLE: numbers,
    Column.TIMESTAMP: _timestamps,
    Column.INSTANT: _timestamps,
    Column.DATE: _dates,
    Column.TIME: _times,
    Column.BINARY: _binaries,
    Column.FORM: _forms,
}


def common_bindings(column: ColumnType) -> Bindings:
    """Return how each type is bound for a column of any database."""
    own = _BY_KIND.get(column.kind)
    return {
        type(None): None,
        str: plain_text,
        bool: None,
        int: _WIDE,
        float: finite,
        Decimal: _finite_decimal,
        bytes: None,
        bytearray: bytes,
        memoryview: bytes,
        uuid.UUID: str,
        datetime.datetime: utc_datetime,
        datetime.date: datetime.date.isoformat,
        datetime.time: _iso_time,
    } | (own(column) if own else {})


def native_temporals(column: ColumnType) -> Bindings:
    """Return what binds dates and times as ODBC's own types: how an unknown database parses text is not known."""
    if column.kind in (Column.TEXT, Column.JSON, Column.FORM):
        return {}
    return {datetime.datetime: naive_utc, datetime.date: None, datetime.time: None}
