"""The checks that all formats share, and their failures."""

import codecs
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from connectorlib.errors import Failed, reject
from connectorlib.shared_settings import Limits
from connectorlib.values.text import quoted, shorten, unknown_key


def not_decodable(text: str) -> Failed:
    return reject("not-decodable", shorten(" ".join(text.split())), place="format")


def not_encodable(text: str) -> Failed:
    return reject("not-encodable", shorten(" ".join(text.split())), place="format")


def too_large(text: str) -> Failed:
    return reject("too-large", text, place="format")


def body_too_large(size: int, most: int) -> Failed:
    return too_large(f"{size} bytes, and limits.body_bytes is {most}")


def check_size(body: bytes, limits: Limits) -> None:
    """Raise Failed for a body that is too long or empty, before it is parsed."""
    if len(body) > limits.body_bytes:
        raise body_too_large(len(body), limits.body_bytes)
    if not body:
        raise not_decodable("the body is empty")


def check_count(records: Sequence[Any], limits: Limits) -> None:
    if len(records) > limits.records:
        raise too_large(f"{len(records)} records, and limits.records is {limits.records}")


def too_deep(limits: Limits) -> Failed:
    return too_large(f"nested deeper than limits.depth, which is {limits.depth}")


def refuse_unknown_keys(settings: Mapping[str, Any], known: Iterable[str]) -> None:
    known = list(known)
    for key in settings:
        if key not in known:
            raise ValueError(unknown_key(key, known))


def first_repeated(names: Iterable[str]) -> str | None:
    """Return the first repeated name, in one pass: a hostile body may have a hundred thousand."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def compile_encoding(name: Any) -> str:
    """Return the name of a character encoding as Python spells it. Raise ValueError for another text."""
    try:
        "a".encode(name)
        return codecs.lookup(name).name
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"unknown encoding {quoted(name)}") from error
