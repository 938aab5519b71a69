"""Values as text, exactly, for templates, comparisons and bodies; and texts made fit for a person. Pure.

A value that has no text raises ValueError.
"""

import base64
import json
import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import Any, Self
from uuid import UUID

#: Digits of the longest number that is written or read: Python's own limit (sys.int_info.default_max_str_digits).
MAX_DIGITS = 4300

#: Unicode categories of control characters, and of marks that change the direction of the text around them.
_STEERING = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

_encode_string: Callable[[str], str] = json.encoder.encode_basestring


def decimal_text(value: Decimal) -> str:
    """Return all digits, without an exponent: 0E-10 is 0.0000000000, as databases write it."""
    if not value.is_finite():
        raise ValueError(f"{value} is not a number")
    if not -MAX_DIGITS < value.adjusted() < MAX_DIGITS:
        raise ValueError(f"a number of more than {MAX_DIGITS} digits")
    text = f"{value:f}"
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of more than {MAX_DIGITS} digits")
    return text


def float_text(value: float) -> str:
    """Return the shortest text that reads back as the same float."""
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


class Structured(str):
    """A text that says more than its characters: formats with lists and objects write the value that `parse` makes of
    it. Everywhere else it is that text."""

    _parse: Callable[[str], Any]

    def __new__(cls, text: str, parse: Callable[[str], Any]) -> Self:
        found = super().__new__(cls, text)
        found._parse = parse
        return found

    def value(self) -> Any:
        """Return the value. Raise ValueError if there is none that formats can write."""
        try:
            return self._parse(str(self))
        except RecursionError as error:
            raise ValueError("too many levels") from error


#: Types that JSON writes bare; all others become a JSON string.
_BARE = (int, bool, float, Decimal, type(None))


def text_of(value: Any) -> str:
    """Return the text of a value: numbers and booleans as in JSON, times in ISO 8601, bytes in base64,
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
    """Return a value as JSON. Decimals keep their digits, which the standard library's writer cannot do."""
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


def _json_of_structured(value: Structured) -> str:
    return json_text(value.value())


def _json_string_of(write: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: _encode_string(write(value))


_JSON: dict[type, Callable[[Any], str]] = {
    **{kind: write if kind in _BARE else _json_string_of(write) for kind, write in _SCALARS.items()},
    str: _encode_string,
    Structured: _json_of_structured,
    dict: _json_object,
    list: _json_list,
    tuple: _json_list,
}


# -- text for a person


def cut(text: str, limit: int) -> str:
    """Return at most `limit` characters of a text, the last of them an ellipsis if it is longer."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def cut_bytes(text: str, limit: int) -> str:
    """Return at most `limit` bytes of a text in UTF-8, without what UTF-8 cannot carry."""
    encoded = text.encode("utf-8", "replace")
    return encoded.decode() if len(encoded) <= limit else encoded[: limit - 3].decode("utf-8", "ignore") + "…"


def printable(text: str, *, lines: bool = False) -> str:
    """Return a text in which everything that could steer a terminal is an escape; `lines` keeps line ends and tabs.
    JSON stays JSON. Logs, reports and tables all go through this."""
    if text.isprintable():
        return text
    return "".join(char if _is_harmless(char) or (lines and char in "\n\t") else _escape(char) for char in text)


def _is_harmless(char: str) -> bool:
    return unicodedata.category(char) not in _STEERING


def _escape(char: str) -> str:
    return json.dumps(char)[1:-1] if char >= "\x7f" else char.encode("unicode_escape").decode("ascii")


def shorten(text: str, limit: int = 200) -> str:
    """Return at most `limit` printable characters of a text, fit to be logged, sent and stored."""
    return printable(cut(text, limit))[:limit]


def near_misses(word: str, known: Iterable[str], count: int = 1, cutoff: float = 0.6) -> list[str]:
    """Return the known names that resemble a word, in any case of letters, the nearest first."""
    lower = {name.lower(): name for name in reversed(list(known))}
    import difflib  # late: for mistakes only

    return [lower[name] for name in difflib.get_close_matches(word.lower(), lower, count, cutoff)]


def near_miss(word: str, known: Iterable[str]) -> str:
    """Return the known name that is nearest to a word, or an empty text."""
    return next(iter(near_misses(word, known)), "")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean "fetch"?`, or `; known here: …` when nothing is near."""
    names = list(known)
    if near := near_miss(word, names):
        return f'; did you mean "{near}"?'
    return f"; known here: {listed(names)}" if names else ""


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Return the message about a key that an expression or a format does not have."""
    names = list(known)
    near = near_miss(key, names)
    hint = f"did you mean {near!r}?" if near else f"known are {', '.join(names)}"
    return f"unknown key {key!r}; {hint}"


def listed(names: Iterable[str], most: int = 12) -> str:
    """Return the first names with commas between them."""
    first = list(islice(names, most + 1))
    return ", ".join(first[:most]) + (", …" if len(first) > most else "")


def quoted(value: Any, limit: int = 60) -> str:
    """Return a short form of a value for an error message."""
    if isinstance(value, str):
        return f"'{shorten(value, limit)}'"
    if isinstance(value, list | tuple | Mapping):
        return kind_of(value)
    return shorten(str(value)[: limit + 1], limit)


def kind_of(value: Any) -> str:
    """Return the kind of a value, in words."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    names: dict[type, str] = {type(None): "null", bool: "a boolean", str: "text", bytes: "binary"}
    return names.get(type(value)) or ("a number" if isinstance(value, int | float | Decimal) else type(value).__name__)
