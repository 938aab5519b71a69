"""From the values of expressions to the JSON that a Case field takes, exactly or not at all (ValueError). Pure."""

import re
from collections.abc import Callable
from datetime import UTC
from decimal import Decimal
from typing import Any

from connectorlib.expressions import text_of
from connectorlib.values import types
from connectorlib.values.text import kind_of, quoted
from sfconnector.salesforce.describe import Field

#: The longest external id, in characters.
MAX_KEY = 255

_HARMFUL = re.compile("[\0\ud800-\udfff]")

#: From the value of an expression to JSON, None for an empty one. Raises ValueError.
Coerce = Callable[[Any], Any]


def coercion(field: Field | None) -> Coerce:
    """Return the conversion for a field; without a description, values keep their types."""
    return any_value if field is None else _COERCIONS.get(field.type, to_text)


def harmless(text: str) -> str:
    """Return the text. Raise ValueError for characters that cannot be sent or would truncate it silently."""
    # Nearly all text is ASCII, which has no surrogates; `in` finds NUL ten times as fast.
    if "\0" in text if text.isascii() else _HARMFUL.search(text):
        raise ValueError("a NUL character or half a character (a lone surrogate) inside a text")
    return text


def to_text(value: Any) -> str:
    if type(value) is str:
        return harmless(value)
    if isinstance(value, list | dict):
        raise ValueError(f"{kind_of(value)} is not text; type json writes it as JSON")
    return harmless(text_of(value))


def to_word(value: Any) -> str:
    """Convert to an address, an id or a choice, without blanks around it."""
    return to_text(value).strip()


def to_choices(value: Any) -> str:
    """Convert to the value of a multi-select picklist, which has semicolons between the choices."""
    if isinstance(value, list):
        return ";".join(to_word(each) for each in value)
    return to_word(value)


def is_coercible(value: Any, convert: Coerce) -> bool:
    """Return whether a conversion takes this value."""
    try:
        convert(value)
    except ValueError:
        return False
    return True


def any_value(value: Any) -> Any:
    if type(value) is bool or type(value) is int or isinstance(value, Decimal | float):
        text_of(value)  # refuses NaN and infinity
        return value
    return to_text(value)


def to_date(value: Any) -> str:
    return types.to_date(value).isoformat()


def to_datetime(value: Any) -> str:
    """Convert to UTC; a time without an offset is in UTC unless the expression has a `zone`."""
    moment = types.to_timestamp(value)
    if moment.tzinfo is not None:
        try:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
        except OverflowError as error:
            raise ValueError(f"{quoted(value)} is not in a known year") from error
    return moment.isoformat(timespec="milliseconds") + "Z"


def to_time(value: Any) -> str:
    moment = types.to_time(value)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def unless_blank(convert: Coerce) -> Coerce:
    """Wrap a conversion so that blank text, such as an empty XML element, is no value."""
    return lambda value: None if isinstance(value, str) and not value.strip() else convert(value)


_WORDS = ("picklist", "email", "phone", "url", "reference", "id")
_COERCIONS: dict[str, Coerce] = {
    **{kind: unless_blank(to_word) for kind in _WORDS},
    "multipicklist": unless_blank(to_choices),
    "boolean": unless_blank(types.to_boolean),
    "int": unless_blank(types.to_integer),
    "long": unless_blank(types.to_integer),
    "double": unless_blank(types.to_decimal),
    "currency": unless_blank(types.to_decimal),
    "percent": unless_blank(types.to_decimal),
    "date": unless_blank(to_date),
    "datetime": unless_blank(to_datetime),
    "time": unless_blank(to_time),
}


def utf16_length(text: str) -> int:
    """Return the length of a text as Salesforce counts it: characters outside the BMP count twice."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def cut_text(text: str, length: int) -> str:
    """Return the beginning of a text that is too long, with `…` at the end, `length` characters in all."""
    short = text[: length - 1]
    while utf16_length(short) > length - 1:
        short = short[: len(short) - (utf16_length(short) - length + 2) // 2]
    return short + "…"


def key_text(value: Any, length: int = MAX_KEY) -> str:
    """Given the value of an external id, return it as text, "" if there is none. Raise ValueError for a bad one."""
    if isinstance(value, list | dict | bytes):
        raise ValueError(f"a key is text or a number, not {kind_of(value)}")
    text = harmless(text_of(value)).strip()  # as Salesforce does before it stores a text
    if utf16_length(text) > length:
        raise ValueError(f"the key has {utf16_length(text)} characters, and the field takes {length}")
    return text
