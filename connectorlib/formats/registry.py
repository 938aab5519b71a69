"""`compile_format`: makes the object that decodes and encodes bodies of the `format` section."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol

from connectorlib.formats.body_assembly import BodyAssembly
from connectorlib.formats.strictness import refuse_unknown_keys
from connectorlib.shared_settings import Limits

#: Recursive functions walk the records, up to three calls for a level, and Python allows a thousand.
MOST_DEPTH = 200

#: Mostly a dict; any JSON value, if the body or an element of its list is one.
Record = Any


class Format(Protocol):
    """Safe to share between threads."""

    @property
    def limits(self) -> Limits: ...

    @property
    def content_type(self) -> str: ...

    @property
    def encoding(self) -> str | None:
        """The encoding of the text `$body`; None: it is bytes."""

    @property
    def heeds_charset(self) -> bool:
        """Whether the charset that a message names counts."""

    def decode(self, body: bytes, charset: str | None = None) -> list[Record]:
        """Return the records of a body, given the charset that counts. Raise Failed (reject): `not-decodable` or
        `too-large`."""

    def encode(self, records: Sequence[Mapping[str, Any]]) -> bytes:
        """Return a body of these rows. Raise Failed (reject): `not-encodable`."""

    def assembly(self, columns: Sequence[str]) -> BodyAssembly:
        """Return how bodies of many rows with these columns are put together. Raise Failed (reject):
        `not-encodable`, if this format has none."""


#: The module of each type, in which `compile_<type>` makes the format, and the keys that it accepts. Only a module that
#: is needed is imported.
_TYPES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "json": ("json", ()),
    "ndjson": ("json", ()),
    "text": ("plain_text", ("encoding",)),
    "cbor": ("cbor", ()),
    "msgpack": ("msgpack", ()),
    "xml": ("xml", ("root", "record")),
    "delimited": (
        "delimited",
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
    """Return the format of a `format` section. Raise ValueError that says what is wrong.

    `limits.seconds` needs no clock here: decoding takes linear time, so the size limits it. Mapping the records is
    timed (connectorlib.limits).
    """
    kind = settings.get("type", "json")
    if kind not in _TYPES:
        raise ValueError(f"unknown format type {kind!r}; known are {', '.join(_TYPES)}")
    module, keys = _TYPES[kind]
    refuse_unknown_keys(settings, ("type", *keys))
    if limits.depth > MOST_DEPTH:
        raise ValueError(f"limits.depth can be {MOST_DEPTH} at most")
    found: Format = getattr(import_module(f"connectorlib.formats.{module}"), f"compile_{kind}")(settings, limits)
    return found
