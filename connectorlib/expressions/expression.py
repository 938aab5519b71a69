"""Value expressions, compiled once into closures, so that no message costs parsing."""

from collections.abc import Callable, Mapping
from typing import Any

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, reject
from connectorlib.expressions.modifiers import MODIFIERS, text_or_reject, with_modifiers
from connectorlib.expressions.path import MISSING, Path, only_names, parse_path, walk
from connectorlib.expressions.scope import Evaluate, Scope, compile_source
from connectorlib.expressions.template import Part, parse_template
from connectorlib.values.text import kind_of, shorten, text_of, unknown_key


@dataclass(frozen=True, slots=True)
class Expression:
    """`evaluate(record, scope)` returns a value, None or MISSING. It raises Failed (reject), `bad-value` or
    `not-in-map`, to which the caller adds place and detail."""

    evaluate: Evaluate
    #: As written, for messages.
    text: str
    #: Every path that it may read.
    parts: tuple[Path, ...] = ()
    #: The name of the field, if the expression is nothing else.
    field: str | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(path.text for path in self.parts)

    @property
    def uses_results(self) -> frozenset[str]:
        """The names of the statements whose `$result` it reads."""
        return frozenset(str(path.steps[0]) for path in self.parts if path.source == "result")


@dataclass(frozen=True, slots=True)
class Extra:
    """One more kind of full form, such as `lookup`: `build` gets the whole object, `keys` are its other keys."""

    build: Callable[[Mapping[str, Any]], Expression]
    keys: frozenset[str] = frozenset()


Extras = Mapping[str, Extra]


def compile_expression(spec: Any, *, extra: Extras | None = None) -> Expression:
    """Return a configured value expression, compiled. Raise ValueError that says what is wrong and where.

    `extra` adds kinds of full form, by the key that names them.
    """
    if isinstance(spec, str):
        return compile_template(spec) if "{" in spec or "}" in spec else _compile_path(spec)
    if isinstance(spec, Mapping):
        return _compile_full(spec, extra or {})
    constant = text_of(spec) if spec is None or isinstance(spec, int | float) else "…"
    raise ValueError(
        f"a value expression is a path, a template or an object, not {kind_of(spec)}; "
        f'a constant is written {{"value": {constant}}}'
    )


def _compile_path(text: Any) -> Expression:
    if not isinstance(text, str):
        raise ValueError(f"a path is text, not {kind_of(text)}")
    path = parse_path(text)
    names = only_names(path.steps) if path.source is None else None
    return Expression(_evaluator(path), text, (path,), names[0] if names and len(names) == 1 else None)


def _evaluator(path: Path) -> Evaluate:
    if path.source is not None:
        return compile_source(path)
    names = only_names(path.steps)
    if names is None:
        return _walker(path.steps)
    return _name_getter(names[0]) if len(names) == 1 else _names_getter(names)


def _walker(steps: tuple[str | int, ...]) -> Evaluate:
    return lambda record, scope: walk(record, steps)


def _name_getter(name: str) -> Evaluate:
    """Return the evaluation of a single name, by far the most frequent expression."""

    def evaluate(record: Any, scope: Scope) -> Any:
        try:
            return record[name]
        except (LookupError, TypeError):  # missing, or not an object
            return MISSING

    return evaluate


def _names_getter(names: tuple[str, ...]) -> Evaluate:
    def evaluate(record: Any, scope: Scope) -> Any:
        value = record
        try:
            for name in names:
                value = value[name]
        except (LookupError, TypeError):  # missing, or not an object
            return MISSING
        return value

    return evaluate


def compile_template(text: Any) -> Expression:
    """Return a template, compiled; without parts in braces it is a constant."""
    if not isinstance(text, str):
        raise ValueError(f"a template is text, not {kind_of(text)}")
    pieces = parse_template(text)
    parts = tuple(piece.path for piece in pieces if isinstance(piece, Part))
    if not parts:
        constant = "".join(piece for piece in pieces if isinstance(piece, str))
        return Expression(lambda record, scope: constant, text)
    return Expression(_template_evaluator(pieces), text, parts)


def _template_evaluator(pieces: list[str | Part]) -> Evaluate:
    compiled: list[tuple[str, Evaluate | None, str | None]] = [
        (piece, None, None) if isinstance(piece, str) else ("", _evaluator(piece.path), piece.alternative)
        for piece in pieces
    ]

    def evaluate(record: Any, scope: Scope) -> Any:
        texts = []
        for text, part, alternative in compiled:
            if part is not None:
                value = part(record, scope)
                if value is MISSING or value is None:
                    if alternative is None:
                        return MISSING
                    text = alternative
                else:
                    text = value if type(value) is str else text_or_reject(value)
            texts.append(text)
        return "".join(texts)

    return evaluate


# --- the full form ---------------------------------------------------------------------------------------------------


def _compile_full(spec: Mapping[str, Any], extra: Extras) -> Expression:
    kinds = [*_FULL, *extra]
    named = [kind for kind in kinds if kind in spec]
    known = [*kinds, *MODIFIERS, *(key for kind in named if kind in extra for key in extra[kind].keys)]
    unknown = [key for key in spec if key not in known]
    if unknown:
        raise ValueError(unknown_key(unknown[0], known))
    if len(named) != 1:
        raise ValueError(f"exactly one of {', '.join(kinds)} is needed; here are {', '.join(named) or 'none'}")
    kind = named[0]

    def inner(then: Any) -> Evaluate:
        return compile_expression(then, extra=extra).evaluate

    source = extra[kind].build(spec) if kind in extra else _FULL[kind](spec[kind], extra)
    return Expression(with_modifiers(source.evaluate, spec, inner), source.text, source.parts)


def _compile_value(constant: Any, extra: Extras) -> Expression:
    return Expression(lambda record, scope: constant, "value")


def _compile_first_of(specs: Any, extra: Extras) -> Expression:
    if not isinstance(specs, list) or not specs:
        raise ValueError("first_of is a list of value expressions")
    choices = [_compile_choice(index, spec, extra) for index, spec in enumerate(specs)]

    def evaluate(record: Any, scope: Scope) -> Any:
        found: Any = MISSING
        for choice in choices:
            value = choice.evaluate(record, scope)
            if value is None:
                found = None
            elif value is not MISSING:
                return value
        return found

    text = "first_of " + ", ".join(choice.text for choice in choices)
    return Expression(evaluate, text, tuple(part for choice in choices for part in choice.parts))


def _compile_choice(index: int, spec: Any, extra: Extras) -> Expression:
    try:
        return compile_expression(spec, extra=extra)
    except ValueError as error:
        raise ValueError(f"first_of[{index}]: {error}") from error


def _compile_jmespath(text: Any, extra: Extras) -> Expression:
    """Compile JMESPath. Its null counts as missing, so that a misspelt name is noticed."""
    if not isinstance(text, str):
        raise ValueError(f"jmespath is text, not {kind_of(text)}")
    from connectorlib.expressions.jmespath import Interpreter, parse, with_floats  # late: it brings jmespath

    parsed = parse(text)

    def evaluate(record: Any, scope: Scope) -> Any:
        try:
            value = Interpreter(scope.effort).visit(parsed, with_floats(record))
        except Failed:
            raise
        except Exception as error:  # sorts and comparisons raise Python's own errors too
            raise reject("bad-value", f"jmespath: {shorten(' '.join(str(error).split()))}") from error
        return MISSING if value is None else value

    return Expression(evaluate, f"jmespath {text}")


_FULL: dict[str, Callable[[Any, Extras], Expression]] = {
    "path": lambda spec, extra: _compile_path(spec),
    "template": lambda spec, extra: compile_template(spec),
    "value": _compile_value,
    "first_of": _compile_first_of,
    "jmespath": _compile_jmespath,
}
