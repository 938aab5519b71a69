"""An explanation as text for a terminal, and as JSON. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from connectorlib.expressions import json_text
from connectorlib.formats.body_position import Place
from connectorlib.preflight.explanation import Explanation, Rejection


def told(explanation: Explanation, place: Place | None, file: str) -> str:
    """Return the lines to print; `file` is what the message is called."""
    if explanation.rejection is not None:
        return "\n".join(rejection_lines(explanation.rejection, place, file))
    return "\n".join([f"{file}: {explanation.title}", *explanation.lines])


def rejection_lines(rejection: Rejection, place: Place | None, file: str) -> Iterator[str]:
    failure = rejection.failure
    yield f"{file}: would be rejected: {failure.code} {failure.text}".rstrip()
    if failure.detail:
        yield f"  {failure.detail}"
    if place is not None:
        number = f"  {file}:{place.line}: "
        yield f"{number}{place.text}"
        if place.column:
            yield " " * (len(number) + place.column - 1) + "^"


def as_json(explanation: Explanation, place: Place | None, queue: str) -> dict[str, Any]:
    """Return the explanation as JSON values; exact numbers stay exact."""
    found: dict[str, Any] = {"queue": queue, **explanation.data}
    if explanation.rejection is not None:
        failure = explanation.rejection.failure
        found["rejected"] = {"code": failure.code, "text": failure.text, "detail": failure.detail}
        if place is not None:
            found["rejected"]["line"] = place.line
    return found


def indented_json(value: Mapping[str, Any] | list[Any]) -> str:
    """Return JSON for a person; decimals keep their digits, which the standard library's writer cannot do."""
    return "".join(_pieces(value, ""))


def _pieces(value: Any, indent: str) -> Iterator[str]:
    inner = indent + "  "
    if isinstance(value, Mapping) and value:
        yield "{\n"
        for at, (name, each) in enumerate(value.items()):
            yield f"{inner}{json.dumps(str(name), ensure_ascii=False)}: "
            yield from _pieces(each, inner)
            yield ",\n" if at < len(value) - 1 else "\n"
        yield indent + "}"
    elif isinstance(value, list) and value:
        yield "[\n"
        for at, each in enumerate(value):
            yield inner
            yield from _pieces(each, inner)
            yield ",\n" if at < len(value) - 1 else "\n"
        yield indent + "]"
    else:
        yield json_text(value)
