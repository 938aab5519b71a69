"""The text form of PostgreSQL's arrays: from lists and back. Pure.

Its elements are those of one type. Below the outermost list every list has the same length, and none is empty: the
server keeps no other.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from connectorlib.values.text import kind_of, quoted

#: The server's own limit (MAXDIM).
MAX_DEPTH = 6
#: Before the elements where they are not counted from 1, as `[0:1]={7,8}`. A list cannot say that.
_BOUNDS = re.compile(r"(\[[+-]?\d+:[+-]?\d+\])+=")
_TOKEN = re.compile(r'([{},])|"((?:[^"\\]|\\.)*)"|([^{},"\\\s][^{},"\\]*)', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def array_text(element: Callable[[Any], Any], value: Sequence[Any], *, nested: bool = True) -> str:
    """Return the text of a list, given what makes an element fit for its column. Not `nested`: a list inside it is an
    element. Raise ValueError for a list that no array can hold."""
    _shape(value, nested, MAX_DEPTH)
    return _braced(element, value, nested)


def _shape(value: Any, nested: bool, depth: int) -> tuple[int, ...]:
    """Return the lengths of the lists in a list, level by level."""
    if not depth:
        raise ValueError(f"lists inside lists on more than {MAX_DEPTH} levels")
    if not nested or not any(isinstance(each, list) for each in value):
        return (len(value),)
    shapes = {_shape(each, nested, depth - 1) if isinstance(each, list) else () for each in value}
    if len(shapes) > 1:
        raise ValueError("a list of lists that do not have the same length: the column keeps a rectangle of values")
    (shape,) = shapes
    if 0 in shape:
        raise ValueError("an empty list inside a list, which the column does not keep")
    return (len(value), *shape)


def _braced(element: Callable[[Any], Any], value: Sequence[Any], nested: bool) -> str:
    inner = partial(_braced, element, nested=nested)
    items = (inner(each) if nested and isinstance(each, list) else _item(element, each) for each in value)
    return "{" + ",".join(items) + "}"


def _item(element: Callable[[Any], Any], value: Any) -> str:
    return _bound(None if value is None else element(value))


def _bound(bound: Any) -> str:
    if bound is None:
        return "NULL"
    if isinstance(bound, bool):
        return "true" if bound else "false"
    if isinstance(bound, bytes | bytearray):
        return f'"\\\\x{bound.hex()}"'
    if isinstance(bound, str):
        escaped = bound.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(bound)


def array_of(values: Sequence[Any]) -> str:
    """Return the text of a list of values that are bound already."""
    if set(map(type, values)) == {int}:  # hot path
        return "{" + ",".join(map(str, values)) + "}"
    return "{" + ",".join([_bound(value) for value in values]) + "}"


def array_list(element: Callable[[str], Any] | None, text: str) -> list[Any]:
    """Return the list that a text of the server means, given what decodes the text of an element. Raise ValueError."""
    bounds = _BOUNDS.match(text)
    at = bounds.end() if bounds else 0
    outermost: list[Any] = []
    levels = [outermost]
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or not levels:
            raise ValueError(f"{quoted(text)} is no array")
        at = found.end()
        mark, inside, bare = found.groups()
        match mark:
            case "{":
                levels[-1].append([])
                levels.append(levels[-1][-1])
            case "}":
                levels.pop()
            case ",":
                pass
            case _ if inside is None and bare == "NULL":
                levels[-1].append(None)
            case _:
                plain = bare if inside is None else _ESCAPED.sub(r"\1", inside)
                levels[-1].append(plain if element is None else element(plain))
    if len(levels) != 1 or len(outermost) != 1 or not isinstance(outermost[0], list):
        raise ValueError(f"{quoted(text)} is no array")
    return outermost[0]


def element_binder(bindings: Mapping[type, Callable[[Any], Any] | None]) -> Callable[[Any], Any]:
    """Return what makes a value fit for an element, given how each type is bound for a column of the element's type."""

    def bind(value: Any) -> Any:
        kind = next((each for each in type(value).__mro__ if each in bindings), None)
        if kind is None:
            raise ValueError(f"{kind_of(value)} cannot be an element of this array")
        convert = bindings[kind]
        return value if convert is None else convert(value)

    return bind
