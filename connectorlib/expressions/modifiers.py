"""What a full value expression does with its value: `parse`, `then`, text, `decimal`, `map`, `type`, `default`, `as`.

They work in this order. A value that is missing or null passes all of them but `default`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from functools import partial
from typing import Any

from connectorlib.errors import Failed, reject
from connectorlib.expressions.path import MISSING
from connectorlib.expressions.scope import Evaluate, Scope
from connectorlib.formats.json import JsonFormat
from connectorlib.shared_settings import Limits
from connectorlib.values.text import kind_of, quoted, shorten, text_of
from connectorlib.values.types import compile_conversion, parse_number

#: In the order of work.
MODIFIERS = (
    "parse",
    "then",
    "strip",
    "slice",
    "lower",
    "upper",
    "decimal",
    "map",
    "type",
    "format",
    "zone",
    "default",
    "as",
)
_TIMES = ("date", "time", "timestamp", "epoch_s", "epoch_ms")
_NUMBERS = ("integer", "decimal", "float")
#: Digits with a decimal comma; points, spaces and apostrophes group three of them.
_COMMA = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:([. '\u00a0\u202f’])\d{3})(?:\1\d{3})*)(?:,\d+)?", re.ASCII)
_GROUPING = re.compile(r"[. '\u00a0\u202f’]")

Change = Callable[[Any], Any]


def with_modifiers(evaluate: Evaluate, spec: Mapping[str, Any], compile: Callable[[Any], Evaluate]) -> Evaluate:
    """Return the evaluation with the modifiers of a full form. Raise ValueError for a wrong one. `compile` compiles the
    value expression of `then`."""
    if "parse" in spec:
        evaluate = _changed(evaluate, _parsing(spec["parse"]), "parse")
    if "then" in spec:
        evaluate = _with_then(evaluate, compile(spec["then"]), "parse" in spec)
    for name, change in _text_changes(spec):
        evaluate = _changed(evaluate, change, name)
    if "map" in spec:
        evaluate = _with_map(evaluate, spec["map"], "default" in spec)
    return _with_time(_with_type_and_default(evaluate, spec), spec)


def text_or_reject(value: Any) -> str:
    """Return the text of a value. Raise Failed (reject, `bad-value`) if it has none, as a number of 5,000 digits."""
    try:
        return text_of(value)
    except ValueError as error:
        raise reject("bad-value", str(error)) from error


def _changed(evaluate: Evaluate, change: Change, name: str) -> Evaluate:
    """Return the evaluation with a change of its value, for which a ValueError of it is a `bad-value`."""

    def evaluate_changed(record: Any, scope: Scope) -> Any:
        value = evaluate(record, scope)
        if value is MISSING or value is None:
            return value
        try:
            return change(value)
        except ValueError as error:
            raise reject("bad-value", f"{name}: {shorten(str(error))}") from error

    return evaluate_changed


# -- parse and then


def _parsing(kind: Any) -> Change:
    if kind != "json":
        raise ValueError('parse is "json"')
    decode = JsonFormat(Limits()).decode

    def parse(value: Any) -> Any:
        if not isinstance(value, str | bytes):
            raise ValueError(f"{quoted(value)} is not text")
        try:
            records = decode(value.encode() if isinstance(value, str) else value)
        except Failed as failed:
            raise ValueError(failed.failure.text) from failed
        text = value if isinstance(value, str) else value.decode()
        return records if text.lstrip("\ufeff \t\r\n").startswith("[") else records[0]

    return parse


def _with_then(evaluate: Evaluate, then: Evaluate, is_parsed: bool) -> Evaluate:
    if not is_parsed:
        raise ValueError('then needs "parse": "json"')

    def evaluate_then(record: Any, scope: Scope) -> Any:
        value = evaluate(record, scope)
        return value if value is MISSING or value is None else then(value, scope)

    return evaluate_then


# -- text


def _text_changes(spec: Mapping[str, Any]) -> Sequence[tuple[str, Change]]:
    changes: list[tuple[str, Change]] = []
    for name, change in (("strip", str.strip), ("lower", str.lower), ("upper", str.upper)):
        if name in spec and not isinstance(spec[name], bool):
            raise ValueError(f"{name} is true or false, not {kind_of(spec[name])}")
        if spec.get(name):
            changes.append((name, partial(_of_text, change)))
    if "slice" in spec:
        changes.insert(bool(spec.get("strip")), ("slice", _slicing(spec["slice"])))
    if "decimal" in spec:
        changes.append(("decimal", _decimal_comma(spec)))
    return changes


def _of_text(change: Callable[[str], str], value: Any) -> str:
    return change(text_of(value))


def _slicing(bounds: Any) -> Change:
    if (
        not isinstance(bounds, list)
        or any(type(each) not in (int, type(None)) for each in bounds)
        or not 1 <= len(bounds) <= 2
    ):
        raise ValueError("slice is a list of the first position (from 0) and the one after the last, such as [0, 8]")
    part = slice(*bounds) if len(bounds) == 2 else slice(bounds[0], None)
    return lambda value: text_of(value)[part]


def _decimal_comma(spec: Mapping[str, Any]) -> Change:
    if spec["decimal"] not in (",", "."):
        raise ValueError('decimal is "," or "."')
    if spec.get("type") not in _NUMBERS:
        raise ValueError(f"decimal needs a type: {', '.join(_NUMBERS)}")
    if spec["decimal"] == ".":
        return lambda value: value

    def with_point(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        text = value.strip()
        if not _COMMA.fullmatch(text):
            raise ValueError(f"{quoted(value)} is not a number with a decimal comma")
        return _GROUPING.sub("", text).replace(",", ".")

    return with_point


# -- map


def _with_map(evaluate: Evaluate, entries: Any, has_default: bool) -> Evaluate:
    if not isinstance(entries, Mapping):
        raise ValueError(f"map is an object, not {kind_of(entries)}")
    numbers = dict(_numbers(entries))

    def evaluate_mapped(record: Any, scope: Scope) -> Any:
        value = evaluate(record, scope)
        if value is MISSING or value is None:
            return value
        key = text_or_reject(value)
        if key in entries:
            return entries[key]
        if isinstance(value, int | float | Decimal) and not isinstance(value, bool) and value in numbers:
            return numbers[value]
        if has_default:
            return MISSING
        known = ", ".join(quoted(entry, 20) for entry in list(entries)[:10])
        raise reject("not-in-map", f"{quoted(value)} is not in the map, which has {known}")

    return evaluate_mapped


def _numbers(entries: Mapping[str, Any]) -> Sequence[tuple[int | float | Decimal, Any]]:
    """Return the entries whose keys are numbers: 3.0 is 3."""
    found: list[tuple[int | float | Decimal, Any]] = []
    for key, value in entries.items():
        try:
            found.append((parse_number(key), value))
        except ValueError:
            continue
    return found


# -- type, default and as


def _with_type_and_default(evaluate: Evaluate, spec: Mapping[str, Any]) -> Evaluate:
    default = spec.get("default")
    if "type" in spec:
        kind = spec["type"]
        convert = compile_conversion(kind, spec.get("format"), spec.get("zone"))
        evaluate = _changed(evaluate, convert, f"type {kind}")
        default = default if default is None else _converted_default(default, convert)
    elif "format" in spec or "zone" in spec:
        raise ValueError("format and zone need a type")
    return _with_default(evaluate, default) if "default" in spec else evaluate


def _converted_default(default: Any, convert: Change) -> Any:
    try:
        return convert(default)
    except ValueError as error:
        raise ValueError(f"default: {error}") from error


def _with_default(evaluate: Evaluate, default: Any) -> Evaluate:
    def evaluate_or_default(record: Any, scope: Scope) -> Any:
        value = evaluate(record, scope)
        return default if value is MISSING or value is None else value

    return evaluate_or_default


def _with_time(evaluate: Evaluate, spec: Mapping[str, Any]) -> Evaluate:
    """Return the evaluation whose time is written as a text, by `as`."""
    if "as" not in spec:
        return evaluate
    pattern, kind = spec["as"], spec.get("type")
    if not isinstance(pattern, str) or "%" not in pattern:
        raise ValueError("as is a text with directives, such as %Y-%m-%d")
    if kind is not None and kind not in _TIMES:
        raise ValueError(f"as writes times, and type {kind} is none; types that are: {', '.join(_TIMES)}")

    def written(value: Any) -> str:
        if not isinstance(value, date | time):
            raise ValueError(f"{quoted(value)} is not a time; give it a type: {', '.join(_TIMES)}")
        return value.strftime(pattern)

    return _changed(evaluate, written, "as")
