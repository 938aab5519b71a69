"""The words of messages about a configuration: values, types, limits. Pure."""

import json
import re
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import Any

from connectorlib.values.text import cut

TYPES = {
    "string": "a text in double quotes",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object {…}",
    "array": "a list […]",
    "null": "null",
}
#: Words of other programs for the same thing.
OTHER_WORDS: Mapping[str, str] = {
    ">": "gt",
    ">=": "ge",
    "<": "lt",
    "<=": "le",
    "!=": "not",
    "csv": "delimited",
    "jsonl": "ndjson",
    "warn": "warning",
    "amqp": "broker",
    "broker": "amqp",
    "rabbitmq": "broker",
    "ssl": "tls",
    "sql": "statement",
}
_NUMBER = re.compile(r"-?[0-9]+(?:[.,][0-9]+)?")
_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")
MAX_SHOWN = 61  # characters of a value that is repeated in a message


def written(value: Any) -> str:
    """Return a value as written in the file, cut if long."""
    if isinstance(value, Decimal):
        return cut(str(value), MAX_SHOWN)
    return cut(json.dumps(value, ensure_ascii=False, default=str), MAX_SHOWN)


def describe(value: Any, *, shown: bool) -> str:
    """Return a value in words; one that may be secret by its type only."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return "an empty list" if not value else "a list"
    if value is None or isinstance(value, bool):
        return written(value)
    if isinstance(value, str):
        return f"the text {written(value)}" if shown else "a text"
    return written(value) if shown else "a number"


def is_type(value: Any, kind: str) -> bool:
    """Return whether a value is of this JSON type."""
    if isinstance(value, bool):
        return kind == "boolean"
    classes: dict[str, tuple[type, ...]] = {
        "string": (str,),
        "integer": (int,),
        "number": (int, Decimal),
        "object": (dict,),
        "array": (list,),
        "null": (type(None),),
    }
    return isinstance(value, classes.get(kind, ()))


def rewritten(value: Any, kinds: Collection[str], items: Collection[str]) -> str:
    """Return `; write 80.5 without quotes`, where a value is clear and only written wrongly; otherwise an empty text.
    `items`: the types of the elements of a list."""
    if "array" in kinds and value and isinstance(value, str) and "string" in items:
        return f"; write [{written(value)}]"
    if "array" in kinds and isinstance(value, Mapping) and "object" in items:
        return "; put it in [ and ]"
    if not isinstance(value, str) or "string" in kinds:
        return ""
    text = value.strip().lower()
    if {"number", "integer"} & set(kinds) and _NUMBER.fullmatch(text):
        return f"; write {text.replace(',', '.')} without quotes"
    if "boolean" in kinds and text in (*_TRUE, *_FALSE):
        return f"; write {'true' if text in _TRUE else 'false'} without quotes"
    return ""


def _one_of(values: list[Any]) -> str:
    words = [written(each) for each in values]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


#: What a keyword of JSON Schema expects, by its value.
SENTENCES: Mapping[str, Callable[[Any], str]] = {
    "enum": _one_of,
    "const": written,
    "minimum": lambda limit: f"at least {limit}",
    "maximum": lambda limit: f"at most {limit}",
    "exclusiveMinimum": lambda limit: f"more than {limit}",
    "exclusiveMaximum": lambda limit: f"less than {limit}",
    "minLength": lambda limit: "a text that is not empty" if limit == 1 else f"at least {limit} characters",
    "maxLength": lambda limit: f"at most {limit} characters",
    "minItems": lambda limit: f"at least {_plural(limit, 'element')}",
    "maxItems": lambda limit: f"at most {_plural(limit, 'element')}",
    "minProperties": lambda limit: f"at least {_plural(limit, 'key')}",
    "maxProperties": lambda limit: f"at most {_plural(limit, 'key')}",
    "uniqueItems": lambda _: "a list without repetitions",
}
