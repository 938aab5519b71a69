"""Value expressions: paths, templates and the full form, over a record and the message it came in."""

from typing import Any

from connectorlib.expressions.condition import Condition, compile_condition, doubts, objects_of
from connectorlib.expressions.expression import Expression, Extra, compile_expression, compile_template
from connectorlib.expressions.missing import describe_missing
from connectorlib.expressions.path import MISSING, Missing, quote_name
from connectorlib.expressions.pattern import compile_topic, compile_wildcard
from connectorlib.expressions.scope import Scope, exchange_of, routing_key_of
from connectorlib.values.text import json_text, shorten, text_of

__all__ = [
    "MISSING",
    "Condition",
    "Expression",
    "Extra",
    "Missing",
    "Scope",
    "compile_condition",
    "compile_expression",
    "compile_template",
    "compile_topic",
    "compile_wildcard",
    "describe_missing",
    "doubts",
    "elements_of",
    "exchange_of",
    "json_text",
    "objects_of",
    "quote_name",
    "routing_key_of",
    "shorten",
    "text_of",
]


def elements_of(value: Any) -> list[Any]:
    """Return the elements of the value of `for_each`: a single value is a list of one, null an empty list."""
    if isinstance(value, list):
        return value
    return [] if value is None else [value]
