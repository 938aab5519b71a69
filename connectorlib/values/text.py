"""Values as text, exactly: for templates, comparisons, and bodies. Raises ValueError for what has no text."""

import base64
import json.encoder
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

#: Longest number that is written or read; Python converts no longer ones (sys.int_info.default_max_str_digits).
MAX_DIGITS = 4300

_encode_string: Callable[[str], str] = json.encoder.encode_basestring


def decimal_text(value: Decimal) -> str:
    """All digits as they are, without an exponent: 0E-10 is 0.0000000000, as the database says it."""
    if not value.is_finite():
        raise ValueError(f"{value} is not a number")
    if not -MAX_DIGITS < value.adjusted() < MAX_DIGITS:
        raise ValueError(f"a number of more than {MAX_DIGITS} digits")
    text = f"{value:f}"
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of more than {MAX_DIGITS} digits")
    return text


def float_text(value: float) -> str:
    """The shortest text that reads back to the same float."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a number")
    return float.__repr__(value)


def _bytes_text(value: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(value).decode("ascii")


def _bool_text(value: bool) -> str:
    return "true" if value else "false"


def _null_text(value: None) -> str:
    return "null"


_SCALARS: dict[type, Callable[[Any], str]] = {
    str: str,
    int: int.__repr__,
    bool: _bool_text,
    float: float_text,
    Decimal: decimal_text,
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    bytes: _bytes_text,
    bytearray: _bytes_text,
    memoryview: _bytes_text,
    UUID: str,
    type(None): _null_text,
}
#: The kinds that JSON writes as they are; all others become a JSON string.
_BARE = (int, bool, float, Decimal, type(None))


def text_of(value: Any) -> str:
    """Given a value, return its text: numbers and booleans as in JSON, times in ISO 8601, bytes in base64,
    lists and objects as JSON."""
    write = _SCALARS.get(type(value))
    return write(value) if write else _text_of_other(value)


def _text_of_other(value: Any) -> str:
    if isinstance(value, list | tuple | Mapping):
        return json_text(value)
    return _writer_of_subclass(value, _SCALARS)(value)


def _writer_of_subclass(value: Any, writers: Mapping[type, Callable[[Any], str]]) -> Callable[[Any], str]:
    for kind in type(value).__mro__:
        if kind in writers:
            return writers[kind]
    raise ValueError(f"a {type(value).__name__} cannot be written as text")


def json_text(value: Any) -> str:
    """Given a value, return it as JSON; decimals keep their digits, which the standard library's writer cannot do."""
    write = _JSON.get(type(value))
    return write(value) if write else _json_of_other(value)


def _json_of_other(value: Any) -> str:
    if isinstance(value, Mapping):
        return _json_object(value)
    return _writer_of_subclass(value, _JSON)(value)


@lru_cache(maxsize=4096)
def _json_key(name: str) -> str:
    return _encode_string(name) + ":"


def _json_object(value: Mapping[str, Any]) -> str:
    parts = []
    for name, member in value.items():
        write = _JSON.get(type(member)) or _json_of_other
        parts.append(_json_key(name) + write(member))
    return "{" + ",".join(parts) + "}"


def _json_list(value: list[Any] | tuple[Any, ...]) -> str:
    return "[" + ",".join([json_text(member) for member in value]) + "]"


def _json_string_of(write: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: _encode_string(write(value))


_JSON: dict[type, Callable[[Any], str]] = {
    **{kind: write if kind in _BARE else _json_string_of(write) for kind, write in _SCALARS.items()},
    str: _encode_string,
    dict: _json_object,
    list: _json_list,
    tuple: _json_list,
}


def shorten(text: str, limit: int = 200) -> str:
    """Given any text, return at most `limit` characters of it that can be logged, sent and stored:
    no lone surrogates, no control characters."""
    short = text if len(text) <= limit else text[: limit - 1] + "…"
    if short.isprintable():
        return short
    return "".join(char if char.isprintable() else _escape(char) for char in short)[:limit]


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def quoted(value: Any, limit: int = 60) -> str:
    """Given a value, return a short piece of it for an error message."""
    if isinstance(value, str):
        return f"'{shorten(value, limit)}'"
    if isinstance(value, list | tuple | Mapping):
        return kind_of(value)
    return shorten(str(value)[: limit + 1], limit)


def kind_of(value: Any) -> str:
    """Given a value, return what it is, in words."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    names: dict[type, str] = {type(None): "null", bool: "a boolean", str: "text", bytes: "binary"}
    return names.get(type(value)) or ("a number" if isinstance(value, int | float | Decimal) else type(value).__name__)
