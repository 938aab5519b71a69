"""Patterns of texts: wildcards, and the routing patterns of topic exchanges."""

import re
from collections.abc import Callable

TextMatches = Callable[[str], bool]


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
