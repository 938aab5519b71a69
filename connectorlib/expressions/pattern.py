"""`when` and `match`: `{expression: pattern or list of patterns}`, all of which must match."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from connectorlib.expressions.expression import Expression, compile_expression
from connectorlib.expressions.path import MISSING
from connectorlib.expressions.scope import Scope
from connectorlib.values.text import text_of

Matches = Callable[[Any, Scope], bool]
TextMatches = Callable[[str], bool]


def compile_patterns(patterns: Mapping[str, Any]) -> Matches:
    """Return the predicate for expressions and their patterns; without any, every record matches.
    Raise ValueError for a bad expression or pattern.

    `*` and `?` are any text and any one character; for `$routing_key`, `*` is one word and `#` any number of them.
    Numbers and booleans are compared as text. A value that is missing or null matches nothing.
    """
    return compile_tests(patterns)[0]


def compile_tests(patterns: Mapping[str, Any]) -> tuple[Matches, tuple[Expression, ...]]:
    """Return the predicate and its expressions: a `when` may use `$result`, which the caller has to know."""
    tests = [_compile_test(expression, wanted) for expression, wanted in patterns.items()]

    def matches(record: Any, scope: Scope) -> bool:
        return all(test(record, scope) for _, test in tests)

    return matches, tuple(expression for expression, _ in tests)


def _compile_test(text: str, wanted: Any) -> tuple[Expression, Matches]:
    expression = compile_expression(text)
    make = compile_topic if text == "$routing_key" else compile_wildcard
    choices = [_compile_choice(text, choice, make) for choice in (wanted if isinstance(wanted, list) else [wanted])]
    evaluate = expression.evaluate

    def test(record: Any, scope: Scope) -> bool:
        value = evaluate(record, scope)
        if value is MISSING or value is None or isinstance(value, list | dict):
            return False
        as_text = text_of(value)
        return any(choice(as_text) for choice in choices)

    return expression, test


def _compile_choice(text: str, pattern: Any, make: Callable[[str], TextMatches]) -> TextMatches:
    if isinstance(pattern, str):
        return make(pattern)
    if pattern is None or isinstance(pattern, list | dict):
        raise ValueError(f"the pattern for {text!r} must be text, a number, true or false, or a list of them")
    return text_of(pattern).__eq__


def compile_wildcard(pattern: str) -> TextMatches:
    """Return the predicate of a pattern with `*` and `?`, which matches whole texts."""
    if "*" not in pattern and "?" not in pattern:
        return pattern.__eq__
    first, *others = [_with_question_marks(part) for part in re.split(r"\*+", pattern)]
    # Atomic groups do not backtrack, so a text takes linear time for each star.
    middle = "".join(f"(?>.*?{part})" for part in others[:-1])
    last = f".*{others[-1]}" if others else ""
    expression = re.compile(first + middle + last, re.DOTALL)
    return lambda text: expression.fullmatch(text) is not None


def _with_question_marks(part: str) -> str:
    return ".".join(re.escape(piece) for piece in part.split("?"))


def compile_topic(pattern: str) -> TextMatches:
    """Return the predicate of a topic exchange's routing pattern."""
    words = {"*": r"\.[^.]*", "#": r"(?:\.[^.]*)*"}
    expression = re.compile("".join(words.get(word, r"\." + re.escape(word)) for word in pattern.split(".") if pattern))
    return lambda key: expression.fullmatch(f".{key}" if key else "") is not None
