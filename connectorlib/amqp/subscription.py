"""One channel with one consumer at a time: what it has delivered, and what of that is acknowledged."""

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from connectorlib.amqp.acks import PendingAcks
from connectorlib.messages import Delivery

#: Every subscription of every consumer has its own number, so that no delivery is settled on another's channel.
_numbers = count(1)


@dataclass(slots=True, eq=False)
class Subscription:
    """Changed by the I/O thread only, except that the worker takes deliveries out of `handed`."""

    prefetch: int
    number: int = field(default_factory=lambda: next(_numbers))
    channel: Any = None
    #: None: there is no consumer, or not yet.
    consumer_tag: str | None = None
    #: The larger prefetch that it will get; until then nothing is acknowledged. 0: none.
    next_prefetch: int = 0
    #: Deliveries for the worker.
    handed: deque[Delivery] = field(default_factory=deque)
    acks: PendingAcks = field(default_factory=PendingAcks)
    #: The highest delivery tag.
    delivered: int = 0
    ack_scheduled: bool = False
    #: Until when (monotonic) the broker may still be busy with single acks.
    busy_until: float = 0.0
    #: Done when the channel is closed and everything not acknowledged is back in the queue.
    closed: Future[None] = field(default_factory=Future)

    @property
    def is_done(self) -> bool:
        """Whether everything that was delivered is settled."""
        return self.acks.settled == self.delivered

    @property
    def is_full(self) -> bool:
        """Whether the prefetch is used up, so that nothing is on its way until something is acknowledged."""
        return self.delivered - self.acks.settled + self.acks.waiting >= self.prefetch
