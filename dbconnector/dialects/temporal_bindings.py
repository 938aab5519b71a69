"""How dates and times are bound: with their zone, and with no digit of a second less. Pure."""

import datetime
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from connectorlib.values.text import quoted
from dbconnector.columns import Column, ColumnType
from dbconnector.dialects.conversions import CAST, NO_BYTES, NUMBERS, TEMPORALS, Bindings, ColumnConvert, unfit

UTC = datetime.UTC
_DAY = r"\d{4}-\d\d-\d\d"
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.(\d+))?)?"
_ZONE = r"([Zz]|[+-]\d\d(?::?\d\d)?)"
MOMENT = re.compile(rf"{_DAY}(?:[Tt ]{_CLOCK}{_ZONE}?)?", re.ASCII)
_TIME = re.compile(rf"{_CLOCK}{_ZONE}?", re.ASCII)
_DATE = re.compile(rf"{_DAY}(?:[Tt ]00:00(?::00(?:\.0+)?)?)?", re.ASCII)
FRACTION = re.compile(r"\.(\d+)", re.ASCII)
#: Digits of the seconds where the catalogue does not say.
_MICROSECONDS = 6


def naive_utc(value: datetime.datetime) -> datetime.datetime:
    return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value


def utc_datetime(value: datetime.datetime) -> str:
    return str(value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value)


def with_offset(value: datetime.datetime) -> str:
    return str(value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC))


def refuse_seconds(column: ColumnType, digits: str | None, value: Any) -> None:
    """Raise if a time has more digits of a second than the column keeps."""
    scale = _MICROSECONDS if column.scale is None else column.scale
    if digits and digits[scale:].strip("0"):
        raise ValueError(f"{value} has more digits of a second than the {scale} that the column keeps{CAST}")


def _guessed(column: ColumnType, value: str) -> str:
    """Return a text that is not ISO 8601 if it is of the database's own form. Raise for any other: it would guess."""
    if column.form is not None and column.form.fullmatch(value):
        fraction = FRACTION.search(value)
        refuse_seconds(column, fraction and fraction[1], value)
        return value
    raise ValueError(f'{quoted(value)} is no {column.kind} of ISO 8601: say "type" and "format"')


def dates(column: ColumnType) -> Bindings:
    def of_text(value: str) -> str:
        return value[:10] if _DATE.fullmatch(value) else _guessed(column, value)

    return _temporals(column) | {
        str: of_text,
        datetime.datetime: _only_date,
        datetime.date: datetime.date.isoformat,
    }


def times(column: ColumnType) -> Bindings:
    zoned = column.name.endswith("with time zone") and "without" not in column.name

    def of_text(value: str) -> str:
        found = _TIME.fullmatch(value)
        if found is None:
            return _guessed(column, value)
        if found[2] and not zoned:
            raise ValueError(f"{value} has a zone, which the column does not keep")
        refuse_seconds(column, found[1], value)
        return value

    def of_time(value: datetime.time) -> str:
        if value.tzinfo is not None and not zoned:
            raise ValueError(f"{value} has a zone, which a time column does not keep")
        refuse_seconds(column, f"{value.microsecond:06}", value)
        return value.isoformat()

    return _temporals(column) | {str: of_text, datetime.time: of_time}


def timestamps(column: ColumnType) -> Bindings:
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
            refuse_seconds(column, digits, value)
        if zone:
            return text_of(datetime.datetime.fromisoformat(value.upper()))
        return value if not instant else f"{value}+00" if len(value) > 10 else f"{value} 00:00+00"

    def all_texts(values: Sequence[str]) -> Sequence[str]:
        joined = "\n".join([*values, ""])
        is_plain = not instant and joined.count("\n") == len(values) and all_plain(joined)
        return values if is_plain else [*map(of_text, values)]

    def of_datetime(value: datetime.datetime) -> str:
        if value.microsecond and column.scale is not None:
            refuse_seconds(column, f"{value.microsecond:06}", value)
        return text_of(value)

    def of_date(value: datetime.date) -> str:
        return of_text(value.isoformat())

    texts = ColumnConvert(of_text, all_texts)
    return _temporals(column) | {str: texts, datetime.datetime: of_datetime, datetime.date: of_date}


def _temporals(column: ColumnType) -> Bindings:
    """Return what refuses all that is no moment: databases take numbers for days, years, seconds."""
    refused = partial(unfit, f"{column.name or column.kind} (types epoch_s and epoch_ms make moments of numbers)")
    kind = partial(unfit, column.name or column.kind)
    return {**dict.fromkeys(NUMBERS, refused), **dict.fromkeys(TEMPORALS, kind), **NO_BYTES}


def _only_date(value: datetime.datetime) -> str:
    if value.time() != datetime.time():
        raise ValueError(f"{value} has a time, the column holds only a date")
    return value.date().isoformat()


def iso_time(value: datetime.time) -> str:
    if value.tzinfo is not None:
        raise ValueError(f"{value} has a zone, which a time column does not keep")
    return value.isoformat()
