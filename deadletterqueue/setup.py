"""Makes the dead-letter exchange, its queue and their binding. What exists is left as it is, and compared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from connectorlib.amqp import Broker, SyncChannel, inspection
from connectorlib.amqp.topology import DEAD_LETTER_DELIVERY_LIMIT
from connectorlib.errors import Failed, Failure

MADE, UNCHANGED, DIFFERENT = "made", "unchanged", "different"
#: Types of an exchange with which the binding `#` takes every message.
_FITTING_TYPES = ("topic", "fanout")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be there."""

    exchange: str
    queue: str
    type: str = "quorum"
    max_length: int | None = None
    ttl_ms: int | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the queue. With a maximum, a full queue refuses dead letters, so that the connectors pause;
        the default would drop the oldest."""
        found: dict[str, Any] = {"x-queue-type": self.type}
        if self.type == "quorum":
            found["x-delivery-limit"] = DEAD_LETTER_DELIVERY_LIMIT
        if self.max_length is not None:
            found |= {"x-max-length": self.max_length, "x-overflow": "reject-publish"}
        if self.ttl_ms is not None:
            found["x-message-ttl"] = self.ttl_ms
        return found


@dataclass(slots=True)
class Part:
    """One of exchange, queue and binding, and what became of it."""

    kind: str
    name: str
    status: str
    #: What differs: name, what is there, what was asked for.
    differences: list[tuple[str, Any, Any]] = field(default_factory=list)


def set_up(broker: Broker, wanted: Wanted, bound: Callable[[], bool | None]) -> list[Part]:
    """Make what is missing; return all parts. Nothing is bound when exchange or queue are not as they should be.

    `bound` tells whether two that existed are bound already, None if it cannot. Raise Failed.
    """
    exchange = _exchange(broker, wanted)
    queue = _queue(broker, wanted)
    if DIFFERENT in (exchange.status, queue.status):
        return [exchange, queue]
    fresh = MADE in (exchange.status, queue.status)
    status = MADE if fresh or bound() is False else UNCHANGED
    with broker.channel() as channel:
        channel.queue_bind(wanted.queue, wanted.exchange, "#")
    return [exchange, queue, Part("binding", f"{wanted.exchange} → {wanted.queue} by #", status)]


def _exchange(broker: Broker, wanted: Wanted) -> Part:
    def declare(channel: SyncChannel, *, passive: bool) -> None:
        channel.exchange_declare(wanted.exchange, "topic", passive=passive)

    part = Part("exchange", wanted.exchange, UNCHANGED)
    if not _exists(broker, declare):
        part.status = MADE
        _make(broker, declare)
    elif failure := _attempt(broker, lambda channel: declare(channel, passive=False)):
        difference = inspection.other_difference(failure)
        if difference and not (difference[0] == "type" and difference[1] in _FITTING_TYPES):
            asked = {"type": "topic", "durable": "true"}.get(difference[0], "none")
            part.status, part.differences = DIFFERENT, [(*difference, asked)]
    return part


def _queue(broker: Broker, wanted: Wanted) -> Part:
    def declare(channel: SyncChannel, *, passive: bool) -> None:
        channel.queue_declare(wanted.queue, passive=passive, arguments=None if passive else wanted.arguments)

    part = Part("queue", wanted.queue, UNCHANGED)
    if not _exists(broker, declare):
        part.status = MADE
        _make(broker, declare)
    elif differences := _compare(broker, wanted):
        part.status, part.differences = DIFFERENT, differences
    return part


def _compare(broker: Broker, wanted: Wanted) -> list[tuple[str, Any, Any]]:
    """Return what is different in an existing queue; nothing where this user may not know."""

    def declare(arguments: Mapping[str, Any]) -> Failure | None:
        return _attempt(broker, lambda channel: channel.queue_declare(wanted.queue, arguments=arguments))

    asked = wanted.arguments
    failure = declare({**asked, **inspection.NEVER_MADE})
    if failure is None:
        return []
    found = inspection.learn(declare, asked)
    if found is None:
        other = inspection.other_difference(failure)
        return [(*other, {"durable": "true"}.get(other[0], asked.get(other[0], "none")))] if other else []
    names = sorted(found.keys() | asked.keys())
    return [(name, found.get(name), asked.get(name)) for name in names if found.get(name) != asked.get(name)]


def _exists(broker: Broker, declare: Callable[..., None]) -> bool:
    failure = _attempt(broker, lambda channel: declare(channel, passive=True))
    if failure is None or failure.code == "403":  # may not look; RabbitMQ 4.3 asks for a permission here
        return True
    if failure.code == "404":
        return False
    raise Failed(failure)


def _make(broker: Broker, declare: Callable[..., None]) -> None:
    failure = _attempt(broker, lambda channel: declare(channel, passive=False))
    if failure is not None:
        raise Failed(failure)


def _attempt(broker: Broker, action: Callable[[SyncChannel], object]) -> Failure | None:
    """Do it on a channel of its own, since a failure closes it."""
    try:
        with broker.channel() as channel:
            action(channel)
    except Failed as error:
        return error.failure
    return None
