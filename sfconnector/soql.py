"""Writes SOQL: valid names, escaped literals, queries that fit into an address. Pure.

SOQL has no parameters, so values are part of the query; `literal` is the only way to write one.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote as percent_encode

from connectorlib.expressions import text_of

#: Rows that one query asks for at most: one page.
MAX_ROWS = 2000
#: Salesforce accepts 16,384 bytes of address and headers; the rest is for the headers.
MAX_ADDRESS = 12_000

#: An id of a record; the last three characters only encode which of the others are capitals.
RECORD_ID = re.compile(r"[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?", re.ASCII)
_SEGMENT = r"[A-Za-z]\w*"
_NAME = re.compile(_SEGMENT, re.ASCII)
_PATH = re.compile(rf"{_SEGMENT}(?:\.{_SEGMENT})*", re.ASCII)
_ORDER = re.compile(rf"({_SEGMENT}(?:\.{_SEGMENT})*)(\s+(?:ASC|DESC))?(\s+NULLS\s+(?:FIRST|LAST))?", re.ASCII | re.I)
_ESCAPES = {"\\": "\\\\", "'": "\\'", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
_ESCAPED = str.maketrans(_ESCAPES)
#: Characters that Salesforce does not store, or that UTF-8 cannot encode.
_UNHELD = re.compile("[\0-\x07\x0b\x0e-\x1f\x7f\ud800-\udfff]")


def object_name(text: Any) -> str:
    """Given the API name of an object, return it. Raise ValueError for anything else."""
    if not isinstance(text, str) or not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not the API name of an object, such as Contact or Device__c")
    return text


def field_path(text: Any) -> str:
    """Given the API name of a field, also of a related record, return it. Raise ValueError for anything else."""
    if not isinstance(text, str) or not _PATH.fullmatch(text):
        raise ValueError(f"{text!r} is not the API name of a field, such as Email, Serial__c or Account.Name")
    return text


def order_by(text: Any) -> str:
    """Given the text after ORDER BY, return it normalised. Raise ValueError for anything else."""
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not an order such as CreatedDate DESC")
    terms = [_ORDER.fullmatch(term.strip()) for term in text.split(",")]
    if None in terms:
        raise ValueError(f"{text!r} is not an order such as CreatedDate DESC, LastName NULLS LAST")
    return ", ".join(_spelled(term) for term in terms if term)


def _spelled(term: re.Match[str]) -> str:
    words = " ".join((term[2] or "").split() + (term[3] or "").split()).upper()
    return f"{term[1]} {words}".rstrip()


def can_be_held(text: str) -> bool:
    """Return whether a field in Salesforce can contain this text."""
    return _UNHELD.search(text) is None


def quote(text: str) -> str:
    """Return a text as a literal, with quotes."""
    return f"'{text.translate(_ESCAPED)}'"


def beginning(text: str) -> str:
    """Return the pattern of LIKE, as a literal, for all that begins with a text."""
    return quote(text)[:-1].replace("%", r"\%").replace("_", r"\_") + "%'"


def literal(value: Any) -> str:
    """Return a value as a literal: text in quotes, numbers, booleans and times without."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, float):
        value = Decimal(repr(value))  # has no exponent as text
    if isinstance(value, bool | int | Decimal):
        return text_of(value)
    if isinstance(value, datetime):
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    if isinstance(value, date):
        return value.isoformat()
    raise ValueError(f"a {type(value).__name__} is not allowed in a query")


def select(
    sobject: str, fields: Sequence[str], where: Mapping[str, Sequence[str]], order: str = "", limit: int = MAX_ROWS
) -> str:
    """Return a query for the records whose fields all have one of the literals given for them."""
    conditions = " AND ".join(_condition(field, literals) for field, literals in where.items())
    ordered = f" ORDER BY {order}" if order else ""
    return f"SELECT {', '.join(fields)} FROM {sobject} WHERE {conditions}{ordered} LIMIT {limit}"


def _condition(field: str, literals: Sequence[str]) -> str:
    if len(literals) == 1:
        return f"{field} = {literals[0]}"
    return f"{field} IN ({', '.join(literals)})"


def encoded(text: str) -> str:
    """Return a text as it stands in an address."""
    return percent_encode(text, safe="")


def encoded_length(text: str) -> int:
    """Return the length of a text in an address, at most."""
    return len(encoded(text))
