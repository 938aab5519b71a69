"""One channel with one consumer at a time on it: what it has delivered, and what is acked of that."""

from collections import deque
from concurrent.futures import Future
from itertools import count
from typing import Any

from connectorlib.amqp.acks import PendingAcks
from connectorlib.messages import Delivery

#: Every generation of every consumer has its own number, so that a delivery can never be settled on another's channel.
_numbers = count(1)


class Subscription:
    """Only the I/O thread changes it, but for what the worker takes out of `handed`."""

    __slots__ = (
        "acking",
        "acks",
        "calm",
        "channel",
        "closed",
        "consumer_tag",
        "delivered",
        "handed",
        "number",
        "prefetch",
        "wider",
    )

    def __init__(self, prefetch: int) -> None:
        self.number = next(_numbers)
        self.channel: Any = None
        #: None: there is no consumer, or not yet.
        self.consumer_tag: str | None = None
        self.prefetch = prefetch
        #: The larger prefetch that it is to have; until it has that nothing is acked. 0: none.
        self.wider = 0
        self.handed: deque[Delivery] = deque()
        self.acks = PendingAcks()
        self.delivered = 0
        #: Whether the pending acks will be sent in a moment.
        self.acking = False
        #: Until when (monotonic) the broker may still be busy with single acks.
        self.calm = 0.0
        #: Settled when the channel is closed and everything not acked is back in the queue.
        self.closed: Future[None] = Future()

    @property
    def is_done(self) -> bool:
        """Whether all that came is settled."""
        return self.acks.settled == self.delivered

    @property
    def is_full(self) -> bool:
        """Whether all that may be held has come, and nothing is on its way. It stays so until something is acked."""
        return self.delivered - self.acks.settled + self.acks.waiting >= self.prefetch
