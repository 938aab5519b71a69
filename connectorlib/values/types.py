"""`type`: conversions of a record's values. Each is exact or raises ValueError."""

import base64
import binascii
import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Context, Decimal
from typing import Any

from connectorlib.values.text import MAX_DIGITS, json_text, kind_of, quoted, text_of

Convert = Callable[[Any], Any]

# ASCII only: int() and Decimal() would also take 1_000, ١٢ and Infinity.
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_SPACE = re.compile(r"[ \t\r\n]+")
#: The exponents of a 64-bit float, subnormal ones included.
MIN_EXPONENT, MAX_EXPONENT = -324, 308
#: Exact for every number within MAX_DIGITS; the default context would round at 28 digits.
_EXACT = Context(prec=2 * MAX_DIGITS)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TRUE = frozenset({"true", "t", "1", "yes", "y", "on"})
_FALSE = frozenset({"false", "f", "0", "no", "n", "off"})


def to_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, list | dict):
        raise ValueError(f"{kind_of(value)} is not text; type json writes it as JSON")
    return text_of(value)


def parse_number(text: str) -> Decimal:
    """Return a number with all its digits. Raise ValueError for any other text."""
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{quoted(text)} is not a number")
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of more than {MAX_DIGITS} digits")
    number = Decimal(text)
    if ("e" in text or "E" in text) and not MIN_EXPONENT <= number.adjusted() <= MAX_EXPONENT:
        raise ValueError(f"{quoted(text)} is out of range")
    return number


def to_decimal(value: Any) -> Decimal:
    if isinstance(value, Decimal):
        if value.is_finite() and -MAX_DIGITS < value.adjusted() < MAX_DIGITS:
            return value
    elif isinstance(value, str):
        return parse_number(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    elif isinstance(value, float) and math.isfinite(value):
        return Decimal(repr(value))
    raise ValueError(f"{quoted(value)} is not a number")


def to_integer(value: Any) -> int:
    if type(value) is int:
        return value
    if isinstance(value, str) and len(value) < MAX_DIGITS and _WHOLE.fullmatch(value):
        return int(value)
    number = to_decimal(value)
    whole = int(number)
    if whole != number:
        raise ValueError(f"{quoted(value)} is not a whole number")
    return whole


def to_float(value: Any) -> float:
    number = value if isinstance(value, float) else float(to_decimal(value))
    if not math.isfinite(number):
        raise ValueError(f"{quoted(value)} is out of a float's range")
    return number


def to_boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else value
    if isinstance(word, int | float | Decimal):
        word = "1" if word == 1 else "0" if word == 0 else ""
    if not isinstance(word, str) or word not in _TRUE | _FALSE:
        raise ValueError(f"{quoted(value)} is neither true nor false")
    return word in _TRUE


def to_base64(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return base64.b64decode(_SPACE.sub("", _need_text(value)), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{quoted(value)} is not base64") from error


def to_hex(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return bytes.fromhex(_need_text(value).strip().removeprefix("0x"))
    except ValueError as error:
        raise ValueError(f"{quoted(value)} is not hexadecimal") from error


def _need_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{quoted(value)} is not text")
    return value


def to_date(value: Any, parse: Callable[[str], datetime] | None = None) -> date:
    """Return a date, or the date part of a timestamp."""
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    text = _need_text(value).strip()
    try:
        if parse:
            return parse(text).date()
        return date.fromisoformat(text) if len(text) <= 10 else datetime.fromisoformat(text).date()
    except ValueError as error:
        raise ValueError(f"{quoted(value)} is not a date") from error


def to_time(value: Any, parse: Callable[[str], datetime] | None = None) -> time:
    """Return a time of day, or that of a timestamp."""
    if isinstance(value, datetime):
        return value.timetz()
    if isinstance(value, time):
        return value
    text = _need_text(value).strip()
    try:
        if parse:
            return parse(text).timetz()
        return datetime.fromisoformat(text).timetz() if "-" in text[:5] else time.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{quoted(value)} is not a time") from error


def to_timestamp(value: Any, parse: Callable[[str], datetime] | None = None) -> datetime:
    """Return a timestamp. Digits after the microseconds are cut off: .NET and Go write them, no database keeps them."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        raise ValueError(f"{quoted(value)} is a number; types epoch_s and epoch_ms take those")
    text = _need_text(value).strip()
    try:
        return (parse or datetime.fromisoformat)(text)
    except ValueError as error:
        raise ValueError(f"{quoted(value)} is not a timestamp") from error


def _epoch(value: Any, digits: int) -> datetime:
    """Return a time since 1970; `digits` is the power of ten that makes microseconds of it. Uses no float."""
    number = to_decimal(value)
    if number.adjusted() > 18:
        raise ValueError(f"{quoted(value)} is not in a known year")
    try:
        return _EPOCH + timedelta(microseconds=math.floor(_EXACT.scaleb(number, digits)))
    except OverflowError as error:
        raise ValueError(f"{quoted(value)} is not in a known year") from error


def to_epoch_s(value: Any) -> datetime:
    return _epoch(value, 6)


def to_epoch_ms(value: Any) -> datetime:
    return _epoch(value, 3)


TYPES: dict[str, Convert] = {
    "text": to_text,
    "integer": to_integer,
    "decimal": to_decimal,
    "float": to_float,
    "boolean": to_boolean,
    "date": to_date,
    "time": to_time,
    "timestamp": to_timestamp,
    "epoch_s": to_epoch_s,
    "epoch_ms": to_epoch_ms,
    "base64": to_base64,
    "hex": to_hex,
    "json": json_text,
}
_WITH_FORMAT: dict[str, Callable[[Any, Callable[[str], datetime]], Any]] = {
    "date": to_date,
    "time": to_time,
    "timestamp": to_timestamp,
}
_WITH_ZONE = ("timestamp", "epoch_s", "epoch_ms")


def compile_conversion(kind: Any, pattern: Any = None, zone: Any = None) -> Convert:
    """Return the conversion for `type`, `format` and `zone`. Raise ValueError when they contradict each other."""
    for name, setting in (("type", kind), ("format", pattern), ("zone", zone)):
        if setting is not None and not isinstance(setting, str):
            raise ValueError(f"{name} is text, not {kind_of(setting)}")
    if kind not in TYPES:
        raise ValueError(f"unknown type {kind!r}; known are {', '.join(TYPES)}")
    convert = TYPES[kind]
    if pattern is not None:
        convert = _compile_format(kind, pattern)
    if zone is None:
        return convert
    if kind not in _WITH_ZONE:
        raise ValueError(f"type {kind} takes no zone; {', '.join(_WITH_ZONE)} do")
    return _in_zone(convert, find_zone(zone))


def _compile_format(kind: str, pattern: str) -> Convert:
    if kind not in _WITH_FORMAT:
        raise ValueError(f"type {kind} takes no format; {', '.join(_WITH_FORMAT)} do")
    if "%" not in pattern:
        raise ValueError(f"the format {pattern!r} has no directive such as %Y-%m-%d")
    convert = _WITH_FORMAT[kind]

    def parse(text: str) -> datetime:
        return datetime.strptime(text, pattern)

    _refuse_bad_directive(parse, pattern)
    return lambda value: convert(value, parse)


def _refuse_bad_directive(parse: Callable[[str], datetime], pattern: str) -> None:
    """Raise ValueError for a wrong directive: strptime checks its format only when it parses a text."""
    try:
        parse("\0")
    except (ValueError, re.error) as error:
        if "does not match" not in str(error):
            raise ValueError(f"the format {pattern!r}: {error}") from error


def find_zone(name: str) -> tzinfo:
    """Return the zone of a name. Raise ValueError if there is none."""
    if name == "UTC":  # known also where no time zone database is installed
        return UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # late: few name a zone

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"unknown zone {name!r}; write it as Europe/Vienna or UTC") from error


def _in_zone(convert: Convert, zone: tzinfo) -> Convert:
    """Return a conversion whose times without an offset are in that zone; others are converted to it."""

    def convert_in_zone(value: Any) -> datetime:
        moment: datetime = convert(value)
        try:
            if moment.tzinfo is None:
                return local_time(moment, zone)
            return moment.astimezone(zone)
        except OverflowError as error:
            raise ValueError(f"{quoted(value)} is not in a known year in that zone") from error

    return convert_in_zone


def local_time(moment: datetime, zone: tzinfo, fold: int = 0) -> datetime:
    """Return a time of a zone's clock, of two with the same hour the first, or with `fold` 1 the second. Raise
    ValueError for one that the clock skips, when it is put forward."""
    local = moment.replace(tzinfo=zone, fold=fold)
    if local.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment:
        raise ValueError(f"{moment} does not exist in {zone}, where the clock is put forward then")
    return local
