"""What a schema cannot express of formats, expressions and conditions."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from connectorlib.config.json_source import Path
from connectorlib.config.review import Review
from connectorlib.config.wording import written
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

#: As variables are named; a field could be named so, but not often after a dollar sign.
_LIKE_A_REFERENCE = re.compile(r"\$\{([A-Z][A-Z0-9_]+)(?::-[^}]*)?\}")


def review_format(review: Review, path: Path, limits: Limits) -> None:
    section = review.section(*path)
    if "type" in section:
        review.attempt(path, lambda: compile_format(section, limits))


def review_expression(
    review: Review, path: Path, spec: Any, extra: Mapping[str, Extra] | None = None
) -> Expression | None:
    """Return the compiled expression; add a problem and return None if it is wrong."""
    is_path = isinstance(spec, str) and "{" not in spec
    constant = f'; a constant is {{"value": {written(spec)}}}' if is_path else ""
    return _compiled(review, path, partial(compile_expression, spec, extra=extra), _templates(spec), constant)


def review_template(review: Review, path: Path, text: Any) -> Expression | None:
    return _compiled(review, path, partial(compile_template, text), [text])


def _compiled(
    review: Review, path: Path, compile: Callable[[], Expression], texts: Iterable[str], otherwise: str = ""
) -> Expression | None:
    """Compile an expression; `otherwise` is added to the problem if it is wrong.

    A text that looks like a reference to a variable is a dollar sign and a field: add a warning, or the problem."""
    found = next(filter(None, map(_LIKE_A_REFERENCE.search, texts)), None)
    hint = found and f'{found[0]} is no variable here; for one write {{"value": "{found[0]}"}}'
    try:
        compiled = compile()
    except ValueError as error:
        review.problem(path, hint or f"{error}{otherwise}")
        return None
    if hint:
        review.warn(path, f"{hint}. Here it is a dollar sign and a field of the message")
    return compiled


def _templates(spec: Any) -> Iterator[str]:
    """Yield the paths and templates of an expression."""
    if isinstance(spec, str):
        yield spec
    elif isinstance(spec, Mapping):
        yield from (spec[key] for key in ("path", "template") if isinstance(spec.get(key), str))
        first, where = spec.get("first_of"), spec.get("where")
        for inner in first if isinstance(first, list) else ():
            yield from _templates(inner)
        for inner in where.values() if isinstance(where, Mapping) else ():
            yield from _templates(inner)


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
