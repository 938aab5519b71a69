"""The answer to "what would this message become?": as a value, as text for a terminal, and as JSON. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Failure
from connectorlib.expressions.path import Path, parse_path_at
from connectorlib.formats.body_position import RecordPath, TextPosition, element_position, parser_position
from connectorlib.formats.content import charset_of, plain_body
from connectorlib.messages import Delivery, Done
from connectorlib.values.text import json_text

_ARROW = " <- "
#: Records or rows of one message in the text; the data has all of them.
MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Given:
    """What a configuration test assumes. By default the clock is real, and every lookup finds a record."""

    now: datetime | None = None
    #: By sObject what its lookups find: the value, None for nothing; not among them: some record.
    lookups: Mapping[str, Any] = field(default_factory=dict)


NOTHING_GIVEN = Given()


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a message would become a dead letter."""

    failure: Failure
    #: The element being mapped when it was rejected; None: no element in particular.
    element: RecordPath | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one message would become."""

    #: In one line: `written by 2 statements`.
    title: str
    #: For a person.
    lines: Sequence[str] = ()
    #: The same as data, by the words of a tests file: `rows`, or `division` and `cases`.
    data: Mapping[str, Any] = field(default_factory=dict)
    rejection: Rejection | None = None


class Offline(Protocol):
    """A connector that answers without its target."""

    #: As in its configuration.
    format: Mapping[str, Any]

    def queues(self, exchange: str, routing_key: str) -> Sequence[str]:
        """Return the source queues that such a message reaches; all of them where that cannot be known."""

    def explain(self, delivery: Delivery, given: Given = NOTHING_GIVEN) -> Explanation:
        """Return what a message would become."""

    def format_of(self, delivery: Delivery) -> Mapping[str, Any]:
        """Return the format that the body is decoded by."""

    def example(self) -> Mapping[str, Any]:
        """Return one test to begin a tests file with."""


@runtime_checkable
class RowOffline(Protocol):
    """A connector that publishes rows too, and answers without its source."""

    def explain_rows(self, rows: Sequence[Mapping[str, Any]], given: Given = NOTHING_GIVEN) -> Sequence[Explanation]:
        """Return what rows would become: one explanation for each, or for several together. Raise Failed if none is
        published, ValueError for a wrong value."""

    def query_lines(self) -> Iterator[str]:
        """Yield how rows are asked for, where that is not as the configuration has it."""


def rejected(failure: Failure, element: RecordPath | None = None) -> Explanation:
    """Return the explanation of a message that would be rejected."""
    return Explanation("rejected", rejection=Rejection(failure, element))


def together(found: Sequence[Explanation]) -> Explanation:
    """Return several explanations as one: the first that is rejected, else all the data, in lists."""
    if len(found) == 1:
        return found[0]
    if wrong := next((each for each in found if each.rejection is not None), None):
        return wrong
    data: dict[str, Any] = {}
    for explanation in found:
        for name, value in explanation.data.items():
            data.setdefault(name, []).extend(value if isinstance(value, list) else [value])
    return Explanation("", data=data)


def ignored(counted: Done, reasons: Sequence[str]) -> Explanation:
    """Return the explanation of a message that would be acknowledged without being written."""
    return Explanation("would be ignored", condition_lines(reasons), {"ignored": counted.counted})


def condition_lines(reasons: Sequence[str]) -> list[str]:
    """Return for each record of a message which condition decided about it, as lines."""
    return note_lines([f"record {at}: {reason}" for at, reason in enumerate(reasons)] if len(reasons) > 1 else reasons)


def note_lines(notes: Sequence[str]) -> list[str]:
    """Return notes as lines of their own, the first ones if there are many."""
    rest = [f"and {len(notes) - MOST_SHOWN} more"] if len(notes) > MOST_SHOWN else []
    return ["", *notes[:MOST_SHOWN], *rest] if notes else []


def problems(explanation: Explanation) -> list[str]:
    """Return what would dead-letter the message again, for deadletter-queue."""
    return [] if explanation.rejection is None else [str(explanation.rejection.failure)]


# -- where in the body


def located(offline: Offline, delivery: Delivery, explanation: Explanation) -> TextPosition | None:
    """Return the position in the body of what the message is rejected for."""
    if explanation.rejection is None:
        return None
    format = offline.format_of(delivery)
    try:
        body = plain_body(delivery, delivery.unpacked)  # which the explanation has unpacked, if that is possible
        charset = charset_of(delivery)
    except Failed:
        return None
    return position_of(body, {"encoding": charset or "utf-8", **format}, explanation.rejection)


def position_of(body: bytes, format: Mapping[str, Any], rejection: Rejection) -> TextPosition | None:
    """Return the position of what a body is rejected for; None where there is none."""
    failure, element = rejection.failure, rejection.element
    if failure.code == "not-decodable" and (found := parser_position(body, format, failure.text)):
        return found
    path = _path_in(failure.detail)
    if element is None or (path is not None and path.source):  # it is about a property, not about the body
        return None
    steps = path.steps if path is not None else ()
    if path is None or path.source is None:
        steps = (*element.steps, *steps)
    return element_position(body, format, RecordPath(element.record, steps))


def _path_in(detail: str) -> Path | None:
    """Return the path that a failure's detail names: `write[0].values.device <- device.name: no such field`."""
    at = detail.rfind(_ARROW)
    if at < 0:
        return None
    try:
        return parse_path_at(detail, at + len(_ARROW), stops=":")[0]
    except ValueError:
        return None


# -- as text and as JSON


def as_text(explanation: Explanation, position: TextPosition | None, file: str) -> str:
    """Return the lines to print; `file` is the name of the message."""
    if explanation.rejection is not None:
        return "\n".join([*rejection_lines(explanation.rejection, position, file), *explanation.lines])
    return "\n".join([f"{file}: {explanation.title}", *explanation.lines])


def rejection_lines(rejection: Rejection, position: TextPosition | None, file: str) -> Iterator[str]:
    failure = rejection.failure
    yield f"{file}: would be rejected: {failure.code} {failure.text}".rstrip()
    if failure.detail:
        yield f"  {failure.detail}"
    if position is not None:
        number = f"  {file}:{position.line}: "
        yield f"{number}{position.text}"
        if position.column:
            yield " " * (len(number) + position.column - 1) + "^"


def as_json(explanation: Explanation, position: TextPosition | None, queue: str) -> dict[str, Any]:
    """Return the explanation as JSON values; decimals keep their digits."""
    found = row_as_json(explanation)
    if position is not None:
        found["rejected"]["line"] = position.line
    return {"queue": queue, **found}


def row_as_json(explanation: Explanation) -> dict[str, Any]:
    """Return the explanation of a row as JSON values."""
    found = dict(explanation.data)
    if explanation.rejection is not None:
        failure = explanation.rejection.failure
        found["rejected"] = {"code": failure.code, "text": failure.text, "detail": failure.detail}
    return found


def indented_json(value: Any, indent: str = "") -> str:
    """Return JSON for a person; decimals keep their digits, which the standard library's writer cannot do."""
    inner = indent + "  "
    if isinstance(value, Mapping) and value:
        members = [f"{inner}{json_text(str(name))}: {indented_json(each, inner)}" for name, each in value.items()]
        return "{\n" + ",\n".join(members) + f"\n{indent}}}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(inner + indented_json(each, inner) for each in value) + f"\n{indent}]"
    return json_text(value)
