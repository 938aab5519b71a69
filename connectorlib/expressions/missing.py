"""The detail of a dead letter whose record lacks a value: where the path ends, and the fields that exist."""

from collections.abc import Mapping
from typing import Any

from connectorlib.expressions.expression import Expression
from connectorlib.expressions.path import MISSING, Path, join_steps, quote_name, take
from connectorlib.expressions.scope import Scope
from connectorlib.values.text import kind_of, near_misses, shorten

_MOST = 10


def describe_missing(expression: Expression, record: Any, scope: Scope | None = None) -> str:
    """Return where the path of an expression without a value ends, and which fields exist:
    `device.name: no such field; here are deviceName, at, value`."""
    root = record if scope is None or scope.root is None else scope.root
    notes = [_describe(path, root if path.source == "" else record) for path in expression.parts]
    found = [note for note in notes if note]
    return found[0] if found else f"{shorten(expression.text, 100)}: gave nothing"


def _describe(path: Path, record: Any) -> str:
    if path.source:
        return f"{path.text}: " + ("not returned" if path.source == "result" else "the message has none")
    value = record
    for depth, step in enumerate(path.steps):
        below = take(value, step)
        if below is MISSING:
            return f"{path.text}: {_actual(value, step, path.steps[:depth])}"
        value = below
    return f"{path.text}: is null" if value is None else ""


def _actual(value: Any, step: str | int, before: tuple[str | int, ...]) -> str:
    where = shorten(join_steps(before), 80)
    if isinstance(value, list) and isinstance(step, int):
        return f"{where or 'the list'} has {len(value)} elements"
    if not isinstance(value, Mapping):
        return f"{where or 'the record'} is {kind_of(value)}"
    fields = _fields(value, str(step))
    return "no such field; " + (f"{where} has {fields}" if where else f"here are {fields}")


def _fields(record: Mapping[str, Any], wanted: str) -> str:
    """Return a few names, those that resemble the wanted one first."""
    if not record:
        return "no fields"
    names = [str(name) for name in list(record)[:200]]
    plain = {name: _plain(name) for name in names}
    near = set(near_misses(_plain(wanted), plain.values(), 3, 0.7))
    ordered = sorted(names, key=lambda name: plain[name] not in near)
    shown = ", ".join(quote_name(shorten(name, 40)) for name in ordered[:_MOST])
    return f"{shown}, …" if len(record) > _MOST else shown


def _plain(name: str) -> str:
    return "".join(char for char in name[:40].lower() if char.isalnum())
