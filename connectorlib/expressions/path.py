"""Paths: `device.name`, `readings[0].value`, `$headers."x y"`. Parsed once, when the configuration is loaded.

Only records (trees of dict, list and scalars) are known; `scope` evaluates paths that begin with `$`.
"""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from connectorlib.dataclass import dataclass


class Missing(Enum):
    """No value, which is not the same as null."""

    MISSING = "missing"

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing.MISSING

_NAME = re.compile(r"[\w\-@#]+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_INDEX = re.compile(r"\[(-?[0-9]{1,9})\]")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Path:
    """`source` is None for the current record, "" for the whole one (`$`), else a name such as `message_id`."""

    text: str
    source: str | None
    steps: tuple[str | int, ...]


def parse_path(text: str) -> Path:
    """Parse a path. Raise ValueError that names the wrong character."""
    path, end = parse_path_at(text, 0)
    if end < len(text):
        raise unexpected(text, end)
    return path


def parse_path_at(text: str, start: int, stops: str = "") -> tuple[Path, int]:
    """Parse a path within a text, up to its end or one of `stops`; return the path and the position after it."""
    source, position = _parse_source(text, start)
    steps: list[str | int] = []
    while position < len(text) and text[position] not in stops:
        first = source is None and not steps
        step, position = _parse_step(text, position, first)
        steps.append(step)
    if position == start:
        raise ValueError(f"a path is missing at character {start + 1} of {text!r}")
    return Path(text[start:position], source, tuple(steps)), position


def _parse_source(text: str, start: int) -> tuple[str | None, int]:
    if not text.startswith("$", start):
        return None, start
    name = _NAME.match(text, start + 1)
    return (name.group(), name.end()) if name else ("", start + 1)


def _parse_step(text: str, position: int, first: bool) -> tuple[str | int, int]:
    """Return the name or index of a step, and the position after it. Only the first has no dot."""
    index = _INDEX.match(text, position)
    if index:
        return int(index.group(1)), index.end()
    if text[position] == "[":
        raise ValueError(f"a whole number and ']' must follow '[' at character {position + 1} of {text!r}")
    if not first:
        if text[position] != ".":
            raise unexpected(text, position)
        position += 1
    name = _NAME.match(text, position)
    if name:
        return name.group(), name.end()
    quoted = _QUOTED.match(text, position)
    if quoted:
        return _ESCAPE.sub(r"\1", quoted.group(1)), quoted.end()
    raise unexpected(text, position)


def unexpected(text: str, position: int) -> ValueError:
    """Return the error for an unexpected character or end."""
    if position >= len(text):
        return ValueError(f"a name is missing at the end of {text!r}")
    if text[position] == '"':
        return ValueError(f"the quote at character {position + 1} of {text!r} is not closed")
    hint = "; put other names in double quotes" if text[position] not in "]}[{" else ""
    return ValueError(f"unexpected {text[position]!r} at character {position + 1} of {text!r}{hint}")


def take(value: Any, step: str | int) -> Any:
    """Return the value one step below a value, or MISSING.

    A single value counts as a list of one, and text alone as an element's `#text`: XML makes no difference.
    """
    if type(step) is int:
        if isinstance(value, list):
            return value[step] if -len(value) <= step < len(value) else MISSING
        return value if step in (0, -1) else MISSING
    if type(value) is dict or isinstance(value, Mapping):
        return value.get(step, MISSING)
    return value if step == "#text" and not isinstance(value, list) else MISSING


def walk(value: Any, steps: tuple[str | int, ...]) -> Any:
    """Return the value at a path, or MISSING."""
    for step in steps:
        value = take(value, step)
        if value is MISSING:
            return MISSING
    return value


def only_names(steps: tuple[str | int, ...]) -> tuple[str, ...] | None:
    """Return the steps if all are plain names, without the special cases of `take`."""
    names = tuple(step for step in steps if isinstance(step, str) and step != "#text")
    return names if names and len(names) == len(steps) else None


def join_steps(steps: tuple[str | int, ...]) -> str:
    """Return steps as the text of a path."""
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{quote_name(step)}"
    return text.removeprefix(".")


def quote_name(name: str) -> str:
    """Return a field's name as a path has it."""
    if _NAME.fullmatch(name):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
