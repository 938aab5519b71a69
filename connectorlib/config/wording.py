"""How messages about a configuration are worded: values, types, limits, near misses. Pure."""

import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

TYPES = {
    "string": "a text in double quotes",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object {…}",
    "array": "a list […]",
    "null": "null",
}
MAX_SHOWN = 60  # characters of a value that is repeated in a message
MAX_KNOWN = 12  # names that are listed when none is near


def near_miss(word: str, known: Iterable[str]) -> str:
    """Return the known name that was probably meant, or an empty text."""
    lower = {name.lower(): name for name in reversed(list(known))}
    near = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    return lower[near[0]] if near else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean "fetch"?`, or `; known here: …` when nothing is near."""
    names = list(known)
    near = near_miss(word, names)
    if near:
        return f'; did you mean "{near}"?'
    return f"; known here: {listed(names)}" if names else ""


def listed(names: Iterable[str]) -> str:
    """Return the first names with commas between them."""
    every = list(names)
    return ", ".join(every[:MAX_KNOWN]) + (", …" if len(every) > MAX_KNOWN else "")


def bounded(text: str) -> str:
    """Return the beginning of a long text."""
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def written(value: Any) -> str:
    """Return a value as one writes it in the file, cut when long."""
    if isinstance(value, Decimal):
        return bounded(str(value))
    return bounded(json.dumps(value, ensure_ascii=False, default=str))


def describe(value: Any, *, shown: bool) -> str:
    """Return what stands there, in words: a value that may be secret only by its type."""
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


#: What a keyword of JSON Schema wants, from its value.
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
