"""The words of messages about a configuration: values, types, limits. Pure."""

import json
from collections.abc import Callable, Mapping
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
