"""Where a dead letter goes back to, and as which message. Pure.

It goes to the queue that it died in, by the default exchange: its exchange would copy it to every other queue that is
bound there. What says why it died stays behind; where it was first published, and how often it was sent back, travels.
"""

from dataclasses import dataclass

from connectorlib.messages import Outgoing
from connectorlib.pipeline.dead_letter import kept_properties, travelling
from deadletterqueue.letter import Letter

#: The word for the exchange of a message's first life.
ORIGIN = "origin"
MAX_REPLAYS = 3
#: An AMQP header is an integer of 8 bytes; what counts replays came from outside.
_MOST = 2**31


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
    """Stays where it is, because of this."""

    reason: str


@dataclass(frozen=True, slots=True)
class Route:
    """What was asked for: neither means back to the queue it died in."""

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
        return Leave(f"it died in {source} itself and would only come back to it (--to-queue tells where else to)")
    return target


def _target(letter: Letter, route: Route) -> Target | Leave:
    if route.to_queue is not None:
        return Target("", route.to_queue)
    if route.to_exchange is None:
        if not letter.queue:
            return Leave("it does not say in which queue it died (--to-queue tells where to)")
        return Target("", letter.queue)
    if route.to_exchange != ORIGIN:
        return Target(route.to_exchange, letter.routing_key)
    if not (letter.exchange or letter.routing_key):
        return Leave("it does not say where it was first published (--to-queue tells where to)")
    return Target(letter.exchange, letter.routing_key)


def replayed(letter: Letter, target: Target) -> Outgoing:
    """Return the message of a letter, for its next life.

    `expiration` and `user_id` stay behind: with the one it could vanish unseen, with the other the broker closes the
    channel. So do the broker's book-keeping (`x-death`), CC and BCC.
    """
    delivery = letter.delivery
    headers = dict(travelling(delivery.headers))
    headers["dead-replays"] = min(letter.replays + 1, _MOST)
    if letter.queue or letter.exchange or letter.routing_key:
        headers["dead-exchange"] = letter.exchange
        headers["dead-routing-key"] = letter.routing_key
    properties = {**kept_properties(delivery), "headers": headers}
    return Outgoing(target.exchange, target.routing_key, delivery.body, properties)
