"""Whether data plainly fits a schema: answers the usual case, a configuration without a mistake, without jsonschema,
whose import takes as long as that of pika. Pure.

Knows the keywords that the schemas of this project use. What it does not know does not plainly fit.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from connectorlib.config.schema import Schema
from connectorlib.config.wording import is_type

#: Keywords that say nothing about the data.
_NOTES = frozenset({"$schema", "$id", "$defs", "title", "description", "default", "examples"})
#: Handled in `_evaluated`, together.
_KEYS = frozenset({"properties", "additionalProperties", "unevaluatedProperties"})


def plainly_fits(data: Any, schema: Schema) -> bool:
    """Return whether the data fits the schema, whose references lead into its own `$defs`. False also means that only
    jsonschema can tell."""
    return _evaluated(data, schema, schema) is not None


def _evaluated(value: Any, schema: Any, root: Schema) -> set[str] | None:
    """Return the keys of an object that the schema knows, none for any other value that fits; None if it does not."""
    if isinstance(schema, bool):
        return set() if schema else None
    known: set[str] = set()
    for keyword, rule in schema.items():
        if keyword in _NOTES or keyword in _KEYS or keyword.startswith("x-"):
            continue
        if keyword == "$ref":
            branches = [_evaluated(value, root["$defs"][rule.removeprefix("#/$defs/")], root)]
        elif keyword == "anyOf":
            branches = [_evaluated(value, each, root) for each in rule]
        elif keyword in _PARTS:
            branches = [set()] if all(_fits(part, rule, root) for part in _PARTS[keyword](value)) else []
        else:
            branches = [set()] if keyword in _RULES and _RULES[keyword](value, rule) else []
        fitting = [each for each in branches if each is not None]
        if not fitting:
            return None
        known.update(*fitting)
    return _with_members(value, schema, root, known) if isinstance(value, dict) else known


def _with_members(value: dict[str, Any], schema: Schema, root: Schema, known: set[str]) -> set[str] | None:
    """Return the keys that are known with those of the object's own keywords, None if a member does not fit."""
    members = schema.get("properties", {})
    if not all(_fits(value[name], rule, root) for name, rule in members.items() if name in value):
        return None
    own: set[str] = members.keys() & value.keys()
    for keyword, before in (("additionalProperties", own), ("unevaluatedProperties", known | own)):
        others = value.keys() - before
        if keyword in schema:
            if not all(_fits(value[name], schema[keyword], root) for name in others):
                return None
            own = own | others
    return known | own


def _fits(value: Any, schema: Any, root: Schema) -> bool:
    return _evaluated(value, schema, root) is not None


def _is_one_of(value: Any, allowed: list[Any]) -> bool:
    """Only texts are compared: to Python 1 is True."""
    return isinstance(value, str) and value in allowed


def _is_unlike(value: Any) -> bool:
    """Only lists of texts are compared, for the same reason."""
    return not isinstance(value, list) or (_are_texts(value) and len(set(value)) == len(value))


def _are_texts(values: list[Any]) -> bool:
    return all(isinstance(each, str) for each in values)


def _is_number(value: Any) -> bool:
    return is_type(value, "number")


#: Keywords with a schema for parts of the value, and these parts.
_PARTS: Mapping[str, Callable[[Any], Any]] = {
    "items": lambda value: value if isinstance(value, list) else (),
    "propertyNames": lambda value: value if isinstance(value, dict) else (),
}
_RULES: Mapping[str, Callable[[Any, Any], bool]] = {
    "type": lambda value, rule: any(is_type(value, kind) for kind in ([rule] if isinstance(rule, str) else rule)),
    "enum": _is_one_of,
    "const": lambda value, rule: _is_one_of(value, [rule]),
    "minimum": lambda value, rule: not _is_number(value) or value >= rule,
    "maximum": lambda value, rule: not _is_number(value) or value <= rule,
    "exclusiveMinimum": lambda value, rule: not _is_number(value) or value > rule,
    "minLength": lambda value, rule: not isinstance(value, str) or len(value) >= rule,
    "maxLength": lambda value, rule: not isinstance(value, str) or len(value) <= rule,
    "pattern": lambda value, rule: not isinstance(value, str) or re.search(rule, value) is not None,
    "minItems": lambda value, rule: not isinstance(value, list) or len(value) >= rule,
    "maxItems": lambda value, rule: not isinstance(value, list) or len(value) <= rule,
    "uniqueItems": lambda value, rule: _is_unlike(value),
    "minProperties": lambda value, rule: not isinstance(value, dict) or len(value) >= rule,
    "required": lambda value, rule: not isinstance(value, dict) or value.keys() >= set(rule),
}
