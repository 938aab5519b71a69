"""How much of a queue is taken at a time: all that the prefetch allows, or little while something looks wrong.

All that a consumer holds shares the blame when it dies, and a quorum queue counts what comes back against its delivery
limit. But it keeps what comes back in a line of its own and adds to the end of that, so what a smaller prefetch
requeues comes behind what a larger one requeued before. Rule: the prefetch is small only where messages would be lost
to the delivery limit otherwise, and grows again without requeueing anything.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from connectorlib.messages import Delivery
from connectorlib.pipeline.lane import SUSPICIOUS_DELIVERIES, handed_out
from connectorlib.service import logs

if TYPE_CHECKING:
    from connectorlib.amqp import Consumer

logger = logging.getLogger(__name__)

#: How many generations in a row may pass nothing before the prefetch is small.
FRUITLESS = 2
#: After so many others in a row (or an empty queue) messages are taken together again.
CALM = 10


class Intake:
    """The prefetch of one flow. It belongs to the pump's thread."""

    def __init__(self, consumer: "Consumer", requeue: Callable[[], object], *, few: int, wait_s: float) -> None:
        """`requeue` returns all that is in hand to the queue. `few` is the prefetch after trouble; a batch closes
        `wait_s` after its first message."""
        self._consumer = consumer
        self._requeue = requeue
        self._prefetch = consumer.prefetch
        self._few = few
        self._wait_s = wait_s
        #: The smaller prefetch; 0: none.
        self._narrow = 0
        #: How many messages in a row were not handed out suspiciously often.
        self._calm = 0
        #: The generations of which messages were taken since one passed.
        self._fruitless: set[int] = set()

    @property
    def prefetch(self) -> int:
        """The configured prefetch."""
        return self._prefetch

    def reopen(self) -> None:
        """Set the prefetch of the next generation."""
        if len(self._fruitless) >= FRUITLESS:
            self._narrow = self._narrow or self._few
        self._calm = min(self._calm, 0)
        self._consumer.prefetch = min(self._narrow or self._prefetch, self._prefetch)

    def take(self, size: int, idle_s: float, *, trouble: bool) -> list[Delivery] | None:
        """Take up to `size` messages, none if none came within `idle_s`; None: look around and come again, because
        everything was requeued or the consumer was woken. `trouble`: something is being tried apart from the rest."""
        if self._narrow and self._calm >= CALM and not trouble:
            self._widen()
        batch = self._consumer.take(min(size, self._consumer.prefetch), self._wait_s, idle_s)
        if not batch:
            if self._consumer.waiting:
                return None
            self._calm = CALM
            return batch
        suspicious = any(handed_out(each) >= SUSPICIOUS_DELIVERIES for each in batch if each.redelivered)
        if suspicious and not self._narrow and self._consumer.prefetch > 1:
            self._narrow = 1
            self._requeue()
            return None
        self._calm = 0 if suspicious else self._calm + len(batch)
        self._fruitless.add(batch[0].generation)
        return batch

    def passed(self) -> None:
        """A message passed."""
        self._fruitless.clear()

    def slow(self, overdue: Delivery) -> None:
        """The work takes so long that messages wait behind it for longer than they may be held: take half of what was
        done while this one waited."""
        done = min(overdue.tag - 1, self._consumer.prefetch)  # tags count from 1, and so many were before it
        self._narrow, self._calm = max(1, done // 2), -CALM * self._prefetch
        logs.event(logger, logging.WARNING, "given back", queue=self._consumer.queue, held=self._consumer.held)
        self._requeue()

    def _widen(self) -> None:
        if self._consumer.prefetch < self._prefetch:
            self._consumer.raise_prefetch(self._prefetch)  # at some moment soon
        else:
            self._narrow = 0
