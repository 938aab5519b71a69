"""How each type of value is bound for a column of each class, before what a dialect adds to it. Pure."""

import contextlib
import datetime
import json
import math
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

from connectorlib.values.text import json_text, quoted
from dbconnector.columns import Column, ColumnType
from dbconnector.dialects.conversions import (
    NO_BYTES,
    NUMBERS,
    TEMPORALS,
    Bindings,
    Convert,
    SizedText,
    plain_text,
    unfit,
)
from dbconnector.dialects.number_bindings import WIDE, finite, finite_decimal, integers, numbers
from dbconnector.dialects.temporal_bindings import (
    FRACTION,
    dates,
    iso_time,
    naive_utc,
    refuse_seconds,
    times,
    timestamps,
    utc_datetime,
)


def true_false(value: bool) -> str:
    return "true" if value else "false"


def _texts(column: ColumnType) -> Bindings:
    found: Bindings = {
        str: plain_text if column.size is None else SizedText(column.size, column.octets),
        **{bool: true_false, int: str, float: repr, Decimal: str},
        **dict.fromkeys((datetime.datetime, datetime.date, datetime.time), _isoformat),
        **NO_BYTES,
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
    own: Bindings = {str: text, float: json_number, Decimal: json_number, dict: json_text, list: json_text}
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
            for digits in FRACTION.findall(value):
                refuse_seconds(column, digits, value)
        return plain_text(value)

    return {str: of_text, **dict.fromkeys((*NUMBERS, *TEMPORALS), refused), **NO_BYTES}


def json_number(value: float | Decimal) -> str:
    if not math.isfinite(value):
        raise ValueError(f"{value} is not JSON")
    return str(value) if isinstance(value, Decimal) else json.dumps(value)


def _binaries(column: ColumnType) -> Bindings:
    refused = partial(unfit, "binary data")
    return {str: str.encode, **dict.fromkeys(NUMBERS, refused)}


_BY_KIND: Mapping[Column, Callable[[ColumnType], Bindings]] = {
    Column.TEXT: _texts,
    Column.JSON: _json_texts,
    Column.INTEGER: integers,
    Column.DECIMAL: numbers,
    Column.FLOAT: numbers,
    Column.SINGLE: numbers,
    Column.TIMESTAMP: timestamps,
    Column.INSTANT: timestamps,
    Column.DATE: dates,
    Column.TIME: times,
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
        int: WIDE,
        float: finite,
        Decimal: finite_decimal,
        bytes: None,
        bytearray: bytes,
        memoryview: bytes,
        uuid.UUID: str,
        datetime.datetime: utc_datetime,
        datetime.date: datetime.date.isoformat,
        datetime.time: iso_time,
    } | (own(column) if own else {})


def native_temporals(column: ColumnType) -> Bindings:
    """Return what binds dates and times as ODBC's own types: how an unknown database parses text is not known."""
    if column.kind in (Column.TEXT, Column.JSON, Column.FORM):
        return {}
    return {datetime.datetime: naive_utc, datetime.date: None, datetime.time: None}
