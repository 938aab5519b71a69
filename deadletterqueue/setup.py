"""Makes the dead-letter exchange, its queue and their binding. What exists is compared and left as it is."""

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from connectorlib.amqp import Broker
from connectorlib.amqp.inspection import Exchange, Queue, State, inspect
from connectorlib.amqp.topology import DEAD_LETTER_DELIVERY_LIMIT
from connectorlib.dataclass import dataclass

MADE, UNCHANGED, DIFFERENT = "made", "unchanged", "different"
#: Types of an exchange with which the binding `#` takes every message.
_FITTING_TYPES = ("topic", "fanout")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What has to exist."""

    exchange: str
    queue: str
    type: str = "quorum"
    max_length: int | None = None
    ttl_ms: int | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the queue. With a maximum, a full queue refuses dead letters and the connectors pause; the
        default would drop the oldest."""
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
    """An exchange, queue or binding, and what was done about it."""

    kind: str
    name: str
    status: str
    #: What differs: its name, the current and the wanted value.
    differences: list[tuple[str, Any, Any]] = field(default_factory=list)


def set_up(broker: Broker, wanted: Wanted, bound: Callable[[], bool | None]) -> list[Part]:
    """Make what is missing; return all parts. Nothing is bound when exchange or queue are not as they should be.

    `bound` returns whether two that existed are bound already, None if it does not know. Raise Failed.
    """
    exchange = _ensure(broker, "exchange", Exchange(wanted.exchange))
    queue = _ensure(broker, "queue", Queue(wanted.queue, wanted.arguments))
    if DIFFERENT in (exchange.status, queue.status):
        return [exchange, queue]
    new = MADE in (exchange.status, queue.status)
    status = MADE if new or bound() is False else UNCHANGED
    with broker.channel() as channel:
        channel.bind(wanted.queue, wanted.exchange, "#")
    return [exchange, queue, Part("binding", f"{wanted.exchange} → {wanted.queue} by #", status)]


def _ensure(broker: Broker, kind: str, wanted: Exchange | Queue) -> Part:
    """Make an exchange or a queue if it is missing; otherwise compare it."""
    state = inspect(broker.channel, wanted)
    if not state.exists:
        with broker.channel() as channel:
            wanted.declare(channel)
        return Part(kind, wanted.name, MADE)
    found = _differences(state, wanted.arguments if isinstance(wanted, Queue) else {})
    return Part(kind, wanted.name, DIFFERENT if found else UNCHANGED, found)


def _differences(state: State, asked: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return what differs in an existing part, as far as this user may know."""
    if (found := state.arguments) is not None:
        names = sorted(found.keys() | asked.keys())
        return [(name, found.get(name), asked.get(name)) for name in names if found.get(name) != asked.get(name)]
    if state.difference is None:
        return []
    name, current = state.difference
    if name == "type" and current in _FITTING_TYPES:
        return []
    return [(name, current, {"type": "topic", "durable": "true", **asked}.get(name, "none"))]
