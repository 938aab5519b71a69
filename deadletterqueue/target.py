"""Where a dead letter is sent back to, and as which message. Pure.

By default it is the queue in which it died, through the default exchange: the original exchange would copy it to every
other queue bound there. The headers that say why it died are removed; where it was first published, and how often it
was sent back, is kept.
"""

from connectorlib.dataclass import dataclass
from connectorlib.messages import Outgoing
from connectorlib.pipeline.dead_letter import copied_headers, kept_properties
from deadletterqueue.letter import Letter

#: Stands for the exchange that a message was first published to.
ORIGIN = "origin"
MAX_REPLAYS = 3


@dataclass(frozen=True, slots=True)
class Target:
    """Where to publish; with the default exchange "" the routing key is the name of a queue."""

    exchange: str
    routing_key: str

    def __str__(self) -> str:
        if not self.exchange:
            return f"queue {self.routing_key!r}"
        return f"exchange {self.exchange!r}, routing key {self.routing_key!r}"


@dataclass(frozen=True, slots=True)
class Leave:
    """The decision to leave a letter in the queue, with the reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Route:
    """Where to send letters. Without exchange and queue, each goes to the queue in which it died."""

    #: `ORIGIN`, or the name of one exchange for all.
    to_exchange: str | None = None
    to_queue: str | None = None
    #: How often a message may be sent back in all; None: without end.
    max_replays: int | None = MAX_REPLAYS


def target_of(letter: Letter, route: Route, source: str) -> Target | Leave:
    """Given a letter of the dead-letter queue `source`, return where it goes."""
    if route.max_replays is not None and letter.replays >= route.max_replays:
        return Leave(f"sent back {letter.replays} times already (--max-replays {route.max_replays})")
    target = _target(letter, route)
    if target == Target("", source):
        return Leave(f"it died in {source} itself and would only come back to it: name another queue (--to-queue)")
    return target


def _target(letter: Letter, route: Route) -> Target | Leave:
    if route.to_queue is not None:
        return Target("", route.to_queue)
    if route.to_exchange is None:
        if not letter.queue:
            return Leave("it does not say in which queue it died: name the queue to send it to (--to-queue)")
        return Target("", letter.queue)
    if route.to_exchange != ORIGIN:
        return Target(route.to_exchange, letter.routing_key)
    if not (letter.exchange or letter.routing_key):
        return Leave("it does not say where it was first published: name the queue to send it to (--to-queue)")
    return Target(letter.exchange, letter.routing_key)


def replayed(letter: Letter, target: Target) -> Outgoing:
    """Return the message with which a letter is sent back.

    `expiration` is removed, with which the message could vanish, and `user_id`, for which the broker closes the
    channel; so are `x-death`, CC and BCC.
    """
    delivery = letter.delivery
    headers = dict(copied_headers(delivery.headers))
    headers["dead-replays"] = letter.replays + 1
    if letter.queue or letter.exchange or letter.routing_key:
        headers["dead-exchange"] = letter.exchange
        headers["dead-routing-key"] = letter.routing_key
    properties = {**kept_properties(delivery), "headers": headers}
    return Outgoing(target.exchange, target.routing_key, delivery.body, properties)
