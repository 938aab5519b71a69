"""Conditions on a message: `match`, `when`, `clear_when`, `accept_when`, `ignore_when` and their like.

A condition is an object `{expression: test}`, all of whose tests must hold, or a list of such objects, one of which
must hold. A test is a pattern, a list of patterns, or an object of operators: lt, le, gt, ge, not, missing.
"""

import logging
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from decimal import Decimal
from typing import Any

from connectorlib.dataclass import dataclass
from connectorlib.expressions.expression import Expression, compile_expression
from connectorlib.expressions.path import MISSING
from connectorlib.expressions.pattern import TextMatches, compile_topic, compile_wildcard
from connectorlib.expressions.scope import Scope
from connectorlib.service import logs
from connectorlib.values.text import json_text, kind_of, quoted, shorten, text_of, unknown_key
from connectorlib.values.types import parse_number

logger = logging.getLogger(__name__)

Matches = Callable[[Any, Scope], bool]
#: Whether a value, perhaps MISSING or None, fits.
Fits = Callable[[Any], bool]
Number = int | float | Decimal

_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
OPERATORS = (*_ORDER, "not", "missing")
#: How a text pattern begins that was meant as a comparison.
_COMPARISONS = ("<", ">", "=", "!")
_MOST_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Test:
    """One expression of a condition and what its value must look like."""

    expression: Expression
    fits: Fits
    #: As written, for a person.
    wanted: Any

    def holds(self, record: Any, scope: Scope) -> bool:
        return self.fits(self.expression.evaluate(record, scope))

    def __str__(self) -> str:
        return f"{self.expression.text}: {_shown(self.wanted)}"

    def failure(self, record: Any, scope: Scope) -> str:
        """Return why it does not hold, for a person."""
        value = _shown(self.expression.evaluate(record, scope))
        return f"{self.expression.text} is {value}, not {_shown(self.wanted)}"


@dataclass(frozen=True, slots=True)
class Condition:
    """`matches(record, scope)` says whether it holds. It raises Failed (reject, `bad-value`) where an expression does.
    Without any tests it holds for every record."""

    matches: Matches
    #: The tests of each object of the list.
    alternatives: Sequence[Sequence[Test]]

    @property
    def expressions(self) -> tuple[Expression, ...]:
        return tuple(test.expression for tests in self.alternatives for test in tests)

    def reason(self, record: Any, scope: Scope) -> str:
        """Return which object of the condition holds, or which test of each object does not, for a person."""
        failures = []
        for tests in self.alternatives:
            failed = next((test for test in tests if not test.holds(record, scope)), None)
            if failed is None:
                return ", ".join(map(str, tests)) or "every message fits"
            failures.append(failed.failure(record, scope))
        return "; ".join(failures)


def compile_condition(spec: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Condition:
    """Return a configured condition, compiled. Raise ValueError for a bad expression or test."""
    alternatives = [_compile_object(each) for each in objects_of(spec)]
    if not alternatives:
        raise ValueError("a condition is an object or a list of objects, not an empty list")
    every = [_all_of(tests) for tests in alternatives]
    if len(every) == 1:
        return Condition(every[0], alternatives)
    return Condition(lambda record, scope: any(matches(record, scope) for matches in every), alternatives)


def objects_of(spec: Any) -> Sequence[Any]:
    """Return the objects of a condition as it is written, one of which must hold."""
    return spec if isinstance(spec, list | tuple) else [spec]


def _compile_object(spec: Any) -> list[Test]:
    if not isinstance(spec, Mapping):
        raise ValueError(f"a condition is an object or a list of objects, not {kind_of(spec)}")
    return [_compile_test(text, wanted) for text, wanted in spec.items()]


def _all_of(tests: Sequence[Test]) -> Matches:
    if len(tests) == 1:
        return tests[0].holds
    return lambda record, scope: all(test.holds(record, scope) for test in tests)


def _compile_test(text: str, wanted: Any) -> Test:
    expression = compile_expression(text)
    make = compile_topic if text == "$routing_key" else compile_wildcard
    try:
        fits = _compile_operators(text, wanted, make) if isinstance(wanted, Mapping) else _compile_any(wanted, make)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from error
    return Test(expression, fits, wanted)


# -- patterns


def _compile_any(wanted: Any, make: Callable[[str], TextMatches]) -> Fits:
    """Return the predicate of a pattern, or of a list of them. A value that is missing, null or a structure fits
    none."""
    patterns = wanted if isinstance(wanted, list) else [wanted]
    choices = [_compile_pattern(each, make) for each in patterns]
    numbers = [each for each in patterns if _is_number(each)]

    def fits(value: Any) -> bool:
        if value is MISSING or value is None or isinstance(value, list | dict):
            return False
        if numbers and _is_number(value) and value in numbers:
            return True
        try:
            text = value if type(value) is str else text_of(value)
        except ValueError:  # a number without a text, such as one of 5,000 digits
            return False
        return any(choice(text) for choice in choices)

    return fits


def _compile_pattern(pattern: Any, make: Callable[[str], TextMatches]) -> TextMatches:
    if isinstance(pattern, str):
        return make(pattern)
    if pattern is None or isinstance(pattern, list | Mapping):
        raise ValueError("a pattern is text, a number, true or false, or a list of them")
    return text_of(pattern).__eq__


# -- operators


def _compile_operators(text: str, wanted: Mapping[str, Any], make: Callable[[str], TextMatches]) -> Fits:
    unknown = [key for key in wanted if key not in OPERATORS]
    if unknown:
        raise ValueError(unknown_key(unknown[0], OPERATORS))
    if not wanted:
        raise ValueError(f"one of {', '.join(OPERATORS)} is needed")
    tests = [_compile_operator(text, name, operand, make) for name, operand in wanted.items()]
    return tests[0] if len(tests) == 1 else lambda value: all(test(value) for test in tests)


def _compile_operator(text: str, name: str, operand: Any, make: Callable[[str], TextMatches]) -> Fits:
    if name == "not":
        fits = _compile_any(operand, make)
        return lambda value: not fits(value)
    if name == "missing":
        if not isinstance(operand, bool):
            raise ValueError(f"missing is true or false, not {kind_of(operand)}")
        return lambda value: (value is MISSING or value is None) is operand
    if not _is_number(operand):
        raise ValueError(f"{name} compares with a number, not with {kind_of(operand)}")
    if not _is_finite(operand):
        raise ValueError(f"{name} compares with a number, not with {operand}")
    return Comparison(text, name, operand).fits


@dataclass(slots=True)
class Comparison:
    """Compares values with a number. What is no number fits nothing, which is logged once."""

    text: str
    name: str
    operand: Number
    _is_told: bool = field(default=False, init=False)

    def fits(self, value: Any) -> bool:
        number = number_of(value)
        if number is not None:
            return _ORDER[self.name](number, self.operand)
        if not self._is_told:
            self._is_told = True
            condition = f"{self.text} {self.name} {self.operand}"
            logs.event(logger, logging.WARNING, "not comparable", condition=condition, value=_shown(value))
        return False


def number_of(value: Any) -> Number | None:
    """Return a value as a number: it is one, or a text that is one. None for anything else, NaN and infinity."""
    if isinstance(value, str):
        try:
            return parse_number(value)
        except ValueError:
            return None
    return value if _is_number(value) and _is_finite(value) else None


def _is_finite(number: Number) -> bool:
    """Return whether a number has a value; integers and decimals may be larger than any float."""
    return number.is_finite() if isinstance(number, Decimal) else isinstance(number, int) or math.isfinite(number)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    """Return a value for a person."""
    try:
        return "missing" if value is MISSING else shorten(json_text(value), _MOST_SHOWN)
    except ValueError:  # a number without a text
        return shorten(str(value), _MOST_SHOWN)


# -- what is allowed but looks wrong


def doubts(wanted: Any) -> str | None:
    """Return why a test can hardly hold, None if nothing is odd about it. The test is valid."""
    if isinstance(wanted, Mapping):
        return _doubts_of_operators(wanted)
    for pattern in wanted if isinstance(wanted, list) else [wanted]:
        if isinstance(pattern, str) and pattern.startswith(_COMPARISONS):
            return f'{quoted(pattern)} is compared as text; a comparison is written {{"gt": 80}} or {{"not": "ok"}}'
    return None


def _doubts_of_operators(wanted: Mapping[str, Any]) -> str | None:
    lower = max((wanted[name] for name in ("gt", "ge") if name in wanted), default=None)
    upper = min((wanted[name] for name in ("lt", "le") if name in wanted), default=None)
    if wanted.get("missing") and (lower is not None or upper is not None):
        return "never holds: a value that is missing is compared with nothing"
    if lower is None or upper is None:
        return None
    is_point = lower == upper and "gt" not in wanted and "lt" not in wanted
    return None if lower < upper or is_point else f"never holds: no number is above {lower} and below {upper}"
