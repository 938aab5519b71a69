"""`compile_format`: from the `format` section to the object that decodes and encodes bodies."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from connectorlib.formats.delimited import compile_delimited
from connectorlib.formats.json import compile_json
from connectorlib.formats.strictness import refuse_unknown_keys
from connectorlib.formats.xml import compile_xml
from connectorlib.shared_settings import Limits

#: Records are walked by functions that call themselves, up to three deep for a level, and
#: Python allows a thousand.
MOST_DEPTH = 200

#: A dict as a rule; any value that JSON knows where a body, or an element of its list, is one.
Record = Any


class Format(Protocol):
    """Safe to share between threads."""

    @property
    def content_type(self) -> str: ...

    @property
    def encoding(self) -> str:
        """Of the text that `$body` is."""

    def decode(self, body: bytes) -> list[Record]:
        """Given a body, return its records. Raise Failed (reject): `not-decodable` or `too-large`."""

    def encode(self, records: Sequence[Mapping[str, Any]]) -> bytes:
        """Given rows, return a body. Raise Failed (reject): `not-encodable`."""


_TYPES: dict[str, tuple[Callable[[Mapping[str, Any], Limits], Format], tuple[str, ...]]] = {
    "json": (compile_json, ()),
    "xml": (compile_xml, ("root", "record")),
    "delimited": (
        compile_delimited,
        (
            "delimiter",
            "columns",
            "header",
            "quote",
            "encoding",
            "record_separator",
            "null",
            "trim",
            "trailing_delimiter",
        ),
    ),
}


def compile_format(settings: Mapping[str, Any], limits: Limits) -> Format:
    """Given the `format` section, return the format. Raise ValueError that says what is wrong.

    `limits.seconds` needs no clock here: nothing takes longer than linear time, so the size bounds the time. What is
    made of the records is timed (connectorlib.limits).
    """
    kind = settings.get("type", "json")
    if kind not in _TYPES:
        raise ValueError(f"unknown format type {kind!r}; known are {', '.join(_TYPES)}")
    compile_kind, keys = _TYPES[kind]
    refuse_unknown_keys(settings, ("type", *keys))
    if limits.depth > MOST_DEPTH:
        raise ValueError(f"limits.depth can be {MOST_DEPTH} at most")
    return compile_kind(settings, limits)
