"""One channel with one consumer at a time: what it has delivered, and what of that is acknowledged."""

from collections import deque
from concurrent.futures import Future
from dataclasses import field
from itertools import count
from typing import Any

from connectorlib.amqp.acks import PendingAcks
from connectorlib.amqp.receive_window import ReceiveWindow
from connectorlib.dataclass import dataclass
from connectorlib.messages import Delivery

#: Every subscription of every consumer has its own number, so that no delivery is settled on another's channel.
_numbers = count(1)


def next_number() -> int:
    """Return a number that no subscription has had."""
    return next(_numbers)


@dataclass(slots=True, eq=False)
class Subscription:
    """Changed by the I/O thread only, except that the worker takes deliveries out of `handed`."""

    prefetch: int
    window: ReceiveWindow
    number: int = field(default_factory=next_number)
    channel: Any = None
    #: None: there is no consumer, not yet or not any more.
    consumer_tag: str | None = None
    #: How many consumers it has had.
    consumers: int = 0
    #: The highest delivery tag when the latest of them began.
    begun: int = 0
    #: Another prefetch that it will get; until then nothing is acknowledged. 0: none.
    next_prefetch: int = 0
    #: Deliveries for the worker.
    handed: deque[Delivery] = field(default_factory=deque)
    acks: PendingAcks = field(default_factory=PendingAcks)
    #: Those whose bodies are larger than they may be and were not read, each with its size.
    too_large: deque[tuple[Delivery, int]] = field(default_factory=deque)
    #: From which tag on no body is read, for want of room, how many messages were in hand then, and the sizes since.
    cut_at: int = 0
    fitted: int = 0
    unread: list[int] = field(default_factory=list)
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
    def most_waiting(self) -> int:
        """How many deliveries may wait for the worker before something is acknowledged, if nothing is for now."""
        if not self.next_prefetch:
            return self.prefetch
        return len(self.handed) + self.prefetch - self.acks.unacknowledged(self.delivered, self.begun)

    @property
    def is_cut(self) -> bool:
        """Whether all is settled but what could not be read, for want of room."""
        return self.cut_at > 0 and self.acks.settled >= self.cut_at - 1

    @property
    def is_full(self) -> bool:
        """Whether the prefetch is used up, so that nothing is on its way until something is acknowledged. What earlier
        consumers of the channel hold does not count."""
        return self.acks.unacknowledged(self.delivered, self.begun) >= self.prefetch
