"""Which dead letters a command is about: `--where`, `--queue`, `--since`, `--match`, … as one predicate. Pure."""

import copy
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from connectorlib.errors import Failed, reject
from connectorlib.expressions import Scope, compile_condition, compile_expression, compile_wildcard
from connectorlib.formats import Format, compile_format, decode_content
from connectorlib.formats.registry import MOST_DEPTH
from connectorlib.messages import Delivery
from connectorlib.shared_settings import Limits
from connectorlib.values.durations import parse_duration
from deadletterqueue.letter import FIELDS, Letter
from deadletterqueue.plain_letter import plain_delivery, plain_letter

Chosen = Callable[[Letter], bool]

#: No limits of our own: the body is in the queue already.
_LIMITS = Limits(body_bytes=1 << 30, records=1 << 30, depth=MOST_DEPTH)
WHERE_FIELDS = (*(name for name in FIELDS if name != "time"), "message_id")


def chooser(
    *,
    where: Sequence[str] = (),
    queue: str | None = None,
    connector: str | None = None,
    reason: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    match: Sequence[str] = (),
) -> Chosen:
    """Return a predicate for letters: all that is given has to hold; nothing given chooses all.

    `where` are `FIELD=PATTERN` of the letter, `match` `EXPRESSION=PATTERN` of its decoded body; `*` and `?` stand for
    any text and any one character. Raise ValueError that says what is wrong.
    """
    given = [("queue", queue), ("connector", connector), ("reason", reason)]
    tests = [_field_test(name, pattern) for name, pattern in given if pattern is not None]
    tests += [_field_test(*_where(text)) for text in where]
    if since is not None or until is not None:
        tests.append(_time_test(since, until))
    tests += [_body_test(text) for text in match]  # last: only these decode the body
    return lambda letter: all(test(letter) for test in tests)


def parse_instant(text: str, now: datetime) -> datetime:
    """Given `2h` (that long ago), or a date or time as ISO 8601 (local time unless it has a zone), return the instant.
    Raise ValueError."""
    try:
        return now - timedelta(seconds=parse_duration(text))
    except (ValueError, OverflowError):
        pass
    try:
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is neither a duration such as 30m, 2h or 7d nor a time such as 2026-03-01T22:00"
        ) from None


def decoded(delivery: Delivery) -> list[Any]:
    """Return the records of a body, read by its content type, else as JSON or XML. Raise Failed if it cannot be."""
    plain = plain_delivery(delivery)
    return decode_content(plain, _format_of(plain))


def first_life(letter: Letter) -> Delivery:
    """Return the delivery as the connector had it, with the original exchange, routing key and queue."""
    delivery = copy.copy(letter.delivery)
    if letter.queue:
        delivery.queue, delivery.exchange, delivery.routing_key = letter.queue, letter.exchange, letter.routing_key
    return delivery


def _where(text: str) -> tuple[str, str]:
    name, equals, pattern = text.partition("=")
    name = name.strip().replace("-", "_")
    if not equals or name not in WHERE_FIELDS:
        raise ValueError(f"{text!r} has to be FIELD=PATTERN, with one of the fields {', '.join(WHERE_FIELDS)}")
    return name, pattern.strip()


def _field_test(name: str, pattern: str) -> Chosen:
    fits = compile_wildcard(pattern)

    def test(letter: Letter) -> bool:
        value = getattr(letter, name)
        return fits(("false", "true")[value] if isinstance(value, bool) else str(value))

    return test


def _time_test(since: datetime | None, until: datetime | None) -> Chosen:
    def test(letter: Letter) -> bool:
        time = letter.time
        return time is not None and (since is None or time >= since) and (until is None or time <= until)

    return test


def _body_test(text: str) -> Chosen:
    expression, pattern = _split(text)
    matches = compile_condition({expression: pattern}).matches

    def test(letter: Letter) -> bool:
        try:
            records = decoded(letter.delivery)
            scope = Scope(first_life(plain_letter(letter)))
            return any(_matches_at(index, record, scope) for index, record in enumerate(records))
        except Failed:  # not decodable, or a missing value: no match
            return False

    def _matches_at(index: int, record: Any, scope: Scope) -> bool:
        scope.index = index
        return matches(record, scope)

    return test


def _split(text: str) -> tuple[str, str]:
    """Split at the first `=` that has an expression before it: a quoted name may hold one itself."""
    problem: ValueError | None = None
    at = text.find("=")
    while at >= 0:
        expression = text[:at].strip()
        try:
            compile_expression(expression)
        except ValueError as error:
            problem = problem or error
            at = text.find("=", at + 1)
        else:
            return expression, text[at + 1 :].strip()
    raise problem or ValueError(f"{text!r} has to be EXPRESSION=PATTERN, such as device.id=p-7")


#: How the content types of formats end; what is ndjson ends with json too.
_KINDS = ("ndjson", "json", "xml", "cbor", "msgpack")


def _format_of(delivery: Delivery) -> Format:
    """Return the format of a plain body. Raise Failed if it needs a library that is not installed."""
    content_type = (delivery.properties.content_type or "").partition(";")[0].strip().lower()
    guess = "xml" if delivery.body.lstrip()[:1] == b"<" else "json"
    return _format(next((kind for kind in _KINDS if content_type.endswith(kind)), guess))


@cache
def _format(kind: str) -> Format:
    try:
        return compile_format({"type": kind}, _LIMITS)
    except ValueError as error:
        raise reject("not-decodable", str(error)) from error
