"""What a schema cannot express of formats, expressions and conditions."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from connectorlib.config.json_source import Path
from connectorlib.config.review import Review
from connectorlib.expressions import (
    Condition,
    Expression,
    Extra,
    compile_condition,
    compile_expression,
    compile_template,
    doubts,
    objects_of,
)
from connectorlib.formats import compile_format
from connectorlib.shared_settings import Limits
from connectorlib.values.text import listed


def review_format(review: Review, path: Path, limits: Limits) -> None:
    section = review.section(*path)
    if "type" in section:
        review.attempt(path, lambda: compile_format(section, limits))


def review_expression(
    review: Review, path: Path, spec: Any, extra: Mapping[str, Extra] | None = None
) -> Expression | None:
    """Return the compiled expression; add a problem and return None if it is wrong."""
    compiled: Expression | None = review.attempt(path, lambda: compile_expression(spec, extra=extra))
    return compiled


def review_template(review: Review, path: Path, text: Any) -> Expression | None:
    compiled: Expression | None = review.attempt(path, lambda: compile_template(text))
    return compiled


def review_condition(review: Review, path: Path, results: str = "") -> list[tuple[Path, Expression]]:
    """Check a condition such as `when` or `match`; return its expressions and where each is. `results`: why none of
    them may use `$result`."""
    spec = review.get(*path)
    found = []
    for position, tests in enumerate(objects_of(spec)):
        where = path if tests is spec else (*path, position)
        for text, wanted in tests.items() if isinstance(tests, dict) else ():
            compiled: Condition | None = review.attempt((*where, text), partial(compile_condition, {text: wanted}))
            found += [((*where, text), each) for each in compiled.expressions] if compiled else []
            if compiled and (doubt := doubts(wanted)):
                review.warn((*where, text), doubt)
    for where, expression in found if results else ():
        if expression.uses_results:
            review.problem(where, results)
    return found


def review_key(review: Review, path: Path, exchange: str | None) -> None:
    """Check the expression that identifies a message; `exchange` is the one of its source."""
    key = review.get(*path)
    compiled = None if key is None else review_expression(review, path, key)
    if compiled is None:
        return
    if compiled.uses_results:
        review.problem(path, f"$result is not available when the key is evaluated: {listed(compiled.uses_results)}")
    if exchange == "amq.topic" and compiled.paths == ("$message_id",):
        text = "MQTT messages have no message id; take a key such as {$routing_key}@{at}"
        review.warn(path, text)
