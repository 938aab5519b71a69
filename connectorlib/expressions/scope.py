"""Paths outside the record: `$message_id`, `$headers.division`, `$result.reading.id`, `$now`, …"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from connectorlib.errors import reject
from connectorlib.expressions.path import MISSING, Path, only_names, walk
from connectorlib.formats.content import whole_body
from connectorlib.formats.registry import Format
from connectorlib.limits import Effort
from connectorlib.messages import Delivery
from connectorlib.values.text import near_miss

Evaluate = Callable[[Any, "Scope"], Any]


class Scope:
    """One per message. The caller sets `root` and `index` for each record and element, and fills `results`; `$now` is
    the same for the whole message."""

    __slots__ = ("body", "count", "delivery", "effort", "fmt", "index", "now", "part", "results", "root")

    def __init__(
        self,
        delivery: Delivery | None,
        root: Any = None,
        index: int = 0,
        results: Mapping[str, Mapping[str, Any] | None] | None = None,
        now: datetime | None = None,
        *,
        fmt: Format | None = None,
        effort: Effort | None = None,
    ) -> None:
        self.delivery = delivery
        #: The whole record, `$`. None: it is the record being evaluated.
        self.root = root
        #: `$index`, from 0: of the element in its `for_each`, else of the record in the body.
        self.index = index
        #: `$result`: the rows of named statements, columns in lower case.
        self.results = results if results is not None else {}
        self.now = now
        #: Of the body, for `$body`; None: it is text in UTF-8.
        self.fmt = fmt
        #: `$count`: how often something has happened, where a sink counts it.
        self.count: int | None = None
        #: `$part`: the number of the message, from 1, where rows are collected into messages.
        self.part: int | None = None
        #: `$body`, cached: thousands of rows may share one text.
        self.body: str | bytes | None = None
        #: The time and size that the message has taken; None: not limited.
        self.effort = effort


def compile_source(path: Path) -> Evaluate:
    """Return the evaluation of a path that begins with `$`. Raise ValueError for an unknown name."""
    if not path.source:
        return _compile_root(path.steps)
    compiler = _SOURCES.get(path.source)
    if compiler is None:
        raise ValueError(_unknown_source(path))
    return compiler(path)


def _unknown_source(path: Path) -> str:
    near = near_miss(path.source or "", _SOURCES)
    hint = f"did you mean ${near}?" if near else "known are " + ", ".join(f"${name}" for name in _SOURCES)
    return f"unknown ${path.source} in {path.text!r}; {hint}"


def _compile_root(steps: tuple[str | int, ...]) -> Evaluate:
    names = only_names(steps)
    if names is not None:
        return _compile_root_names(names)

    def evaluate(record: Any, scope: Scope) -> Any:
        return walk(record if scope.root is None else scope.root, steps)

    return evaluate


def _compile_root_names(names: tuple[str, ...]) -> Evaluate:
    """Return the evaluation of `$.id`, which runs for every element of a list, so it is as fast as `id`."""

    def evaluate(record: Any, scope: Scope) -> Any:
        value = record if scope.root is None else scope.root
        try:
            for name in names:
                value = value[name]
        except (LookupError, TypeError):  # missing, or not an object
            return MISSING
        return value

    return evaluate


def _compile_plain(read: Callable[[Delivery], Any]) -> Callable[[Path], Evaluate]:
    """Return the compiler for a property of the delivery, which has no parts."""

    def compile_plain(path: Path) -> Evaluate:
        _refuse_steps(path)

        def evaluate(record: Any, scope: Scope) -> Any:
            value = None if scope.delivery is None else read(scope.delivery)
            return MISSING if value is None else value

        return evaluate

    return compile_plain


def _refuse_steps(path: Path) -> None:
    if path.steps:
        raise ValueError(f"${path.source} has no parts, so {path.text!r} leads nowhere")


def _first_publish(delivery: Delivery, header: str, own: str) -> str:
    """Return the original value of a replayed message, which the configured rules match."""
    headers = delivery.headers
    if "dead-replays" not in headers:
        return own
    first = headers.get(header)
    return first if isinstance(first, str) else own


def exchange_of(delivery: Delivery) -> str:
    """Return the exchange that a message was first published to."""
    return _first_publish(delivery, "dead-exchange", delivery.exchange)


def routing_key_of(delivery: Delivery) -> str:
    """Return the routing key that a message was first published with."""
    return _first_publish(delivery, "dead-routing-key", delivery.routing_key)


def _compile_routing_key(path: Path) -> Evaluate:
    if not path.steps:
        return _compile_plain(routing_key_of)(path)
    word = path.steps[0]
    if len(path.steps) > 1 or not isinstance(word, int):
        raise ValueError(f"{path.text!r} leads nowhere; $routing_key[1] is the second word of the routing key")
    steps = (word,)

    def evaluate(record: Any, scope: Scope) -> Any:
        return MISSING if scope.delivery is None else walk(routing_key_of(scope.delivery).split("."), steps)

    return evaluate


def _timestamp_of(delivery: Delivery) -> datetime | None:
    seconds = delivery.properties.timestamp
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError, TypeError) as error:
        raise reject("bad-value", f"the message's timestamp {seconds!s:.40} is not in a known year") from error


def _compile_headers(path: Path) -> Evaluate:
    steps = path.steps
    if not steps or isinstance(steps[0], int):
        raise ValueError(f"{path.text!r} names no header; write $headers.NAME")

    def evaluate(record: Any, scope: Scope) -> Any:
        if scope.delivery is None:
            return MISSING
        value = walk(scope.delivery.headers, steps)
        # AMQP timestamps have no zone; they are UTC by definition.
        return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value

    return evaluate


def _compile_body(path: Path) -> Evaluate:
    _refuse_steps(path)

    def evaluate(record: Any, scope: Scope) -> Any:
        if scope.delivery is None:
            return MISSING
        if scope.body is None:
            scope.body = whole_body(scope.delivery, scope.fmt)
        return scope.body

    return evaluate


def _compile_now(path: Path) -> Evaluate:
    _refuse_steps(path)

    def evaluate(record: Any, scope: Scope) -> Any:
        if scope.now is None:
            scope.now = datetime.now(UTC)
        return scope.now

    return evaluate


def _compile_index(path: Path) -> Evaluate:
    _refuse_steps(path)
    return lambda record, scope: scope.index


def _compile_count(path: Path) -> Evaluate:
    _refuse_steps(path)
    return lambda record, scope: MISSING if scope.count is None else scope.count


def _compile_part(path: Path) -> Evaluate:
    _refuse_steps(path)
    return lambda record, scope: MISSING if scope.part is None else scope.part


def _compile_result(path: Path) -> Evaluate:
    steps = path.steps
    if len(steps) != 2 or not isinstance(steps[0], str) or not isinstance(steps[1], str):
        raise ValueError(f"{path.text!r} must be $result.NAME.COLUMN, NAME being the name of an earlier statement")
    name, column = steps[0], steps[1].lower()

    def evaluate(record: Any, scope: Scope) -> Any:
        row = scope.results.get(name)
        return MISSING if row is None else row.get(column, MISSING)

    return evaluate


_SOURCES: dict[str, Callable[[Path], Evaluate]] = {
    "message_id": _compile_plain(lambda delivery: delivery.properties.message_id),
    "correlation_id": _compile_plain(lambda delivery: delivery.properties.correlation_id),
    "routing_key": _compile_routing_key,
    "exchange": _compile_plain(exchange_of),
    "queue": _compile_plain(lambda delivery: delivery.queue),
    "timestamp": _compile_plain(_timestamp_of),
    "headers": _compile_headers,
    "user_id": _compile_plain(lambda delivery: delivery.properties.user_id),
    "body": _compile_body,
    "now": _compile_now,
    "index": _compile_index,
    "count": _compile_count,
    "part": _compile_part,
    "result": _compile_result,
}
