"""How much of a queue is taken at a time: all that the prefetch and the bytes allow, or little while something looks
wrong.

All that a consumer holds shares the blame when it dies, and a quorum queue counts what comes back against its delivery
limit. But it keeps what comes back in a line of its own and adds to the end of that, so what a smaller prefetch
requeues comes behind what a larger one requeued before. Rule: the prefetch is small only where messages would be lost
to the delivery limit otherwise, or their bodies would take more bytes than they may (`body_sizes`), and changes without
requeueing anything. It is more than one while a message that failed can be judged only by whether others pass. Only
what there was no room for is requeued, once what was before it is done.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from connectorlib.messages import Delivery
from connectorlib.pipeline.body_sizes import FIRST, BodySizes
from connectorlib.pipeline.lane import SUSPICIOUS_DELIVERIES, handed_out
from connectorlib.service import logs

if TYPE_CHECKING:
    from connectorlib.amqp import AnyConsumer

logger = logging.getLogger(__name__)

#: How many generations in a row may pass nothing before the prefetch is small.
FRUITLESS = 2
#: After so many others in a row (or an empty queue) messages are taken together again.
CALM = 10


class Intake:
    """The prefetch of one flow. It belongs to the pump's thread."""

    def __init__(
        self,
        consumer: "AnyConsumer",
        requeue: Callable[[], object],
        *,
        few: int,
        wait_s: Callable[[], float],
        often: int = SUSPICIOUS_DELIVERIES,
    ) -> None:
        """`requeue` returns all that is in hand to the queue. `few` is the prefetch after trouble; a batch closes
        `wait_s` after its first message. What came back `often` is taken with nothing else in hand."""
        self._consumer = consumer
        self._requeue = requeue
        self._sizes = BodySizes.unknown(consumer.prefetch, consumer.prefetch_bytes, consumer.body_bytes)
        self._few = few
        self._often = often
        self._wait_s = wait_s
        #: The smaller prefetch; 0: none.
        self._narrow = 0
        #: The prefetch at least, so that a message that fails is not alone.
        self._wide = 1
        #: How many messages in a row were not handed out suspiciously often.
        self._calm = 0
        #: The generations of which messages were taken since one passed.
        self._fruitless: set[int] = set()

    @property
    def most(self) -> int:
        """The configured prefetch."""
        return self._sizes.most

    @property
    def prefetch(self) -> int:
        """What shares of the prefetch are shares of: as configured, unless the bytes are known to allow less."""
        return self._sizes.prefetch if self._sizes.seen >= FIRST else self.most

    def reopen(self) -> None:
        """Set the prefetch of the next generation. Where a change, which is a cancel, could let another consumer begin,
        the first is as configured: it would stay small."""
        if self._consumer.stand_by and not self._sizes.seen:
            self._sizes = replace(self._sizes, prefetch=self.most)
        if not self._consumer.counted:
            self._fruitless.clear()
        if len(self._fruitless) >= FRUITLESS:
            self._narrow = self._narrow or self._few
        self._calm = min(self._calm, 0)
        self._consumer.prefetch = max(min(self._narrow or self._sizes.prefetch, self._sizes.prefetch), self._wide)

    def make_room(self) -> bool:
        """Let others come together with those in hand, which have failed and are judged by whether others pass. Return
        whether others may still come."""
        consumer, several = self._consumer, self._sizes.several(self._few, len(self._consumer.queues))
        if self._wide == 1 and (consumer.has_unread or (consumer.is_full and consumer.prefetch < several)):
            self._spread(several)
        elif self._wide <= consumer.prefetch:
            return False
        if not (consumer.stand_by or consumer.has_unread):
            consumer.change_prefetch(self._wide)
            return True
        logs.event(logger, logging.WARNING, "requeued", queue=consumer.queue, held=consumer.held)
        self._requeue()
        return True

    def take(self, size: int, idle_s: float, gather_s: float = 0.0, *, trouble: bool) -> list[Delivery] | None:
        """Take up to `size` messages, none if none came within `idle_s`; None: look around and come again, because
        everything was requeued or the consumer was woken. `trouble`: something is being tried apart from the rest."""
        if self._calm >= CALM and not trouble:
            self._spread(1)
            self._widen()
        if self._sizes.seen:  # as large a part of what fits as of the whole, so that the next is on its way meanwhile
            size = max(1, size * self._sizes.prefetch // self.most)
        batch = self._consumer.take(size, max(self._wait_s(), gather_s), idle_s)
        if not batch:
            if self._consumer.waiting:
                return None
            if (overflow := self._consumer.overflow) is not None:
                self._overflown(*overflow)
                return None
            self._calm = CALM
            return batch
        suspicious = any(handed_out(each) >= self._often for each in batch if each.redelivered)
        if suspicious and not self._narrow and self._consumer.prefetch > 1:
            self._narrow = 1
            self._requeue()
            return None
        self._calm = 0 if suspicious else self._calm + len(batch)
        self._fruitless.add(batch[0].generation)
        self._sizes = self._sizes.after(len(batch), sum([len(delivery.body) for delivery in batch]))
        self._follow()
        return batch

    def _follow(self) -> None:
        """Ask for what fits, if the consumer has all that it may have; else more or less would make no difference, and
        nothing is acknowledged until the change. It may come when the batch just taken is settled."""
        wanted = max(self._sizes.prefetch, self._wide)
        unlike = self._consumer.prefetch != wanted and self._consumer.held >= self._consumer.prefetch
        if unlike and not self._narrow and not self._consumer.stand_by:
            self._consumer.change_prefetch(wanted)

    def passed(self) -> None:
        """A message passed."""
        self._fruitless.clear()

    def slow(self, overdue: Delivery) -> None:
        """The work takes so long that messages wait behind it for longer than they may be held: take half of what was
        done while this one waited."""
        done = min(overdue.tag - 1, self._consumer.prefetch)  # tags count from 1, and so many were before it
        self._narrow, self._calm = max(1, done // 2), -CALM * self.most
        logs.event(logger, logging.WARNING, "requeued", queue=self._consumer.queue, held=self._consumer.held)
        self._requeue()

    def _overflown(self, fitted: int, sizes: Sequence[int]) -> None:
        """Requeue what there was no room for, now that all before it is done."""
        self._sizes = self._sizes.after_overflow(fitted, sizes)
        fields = {"held": self._consumer.held, "bytes": sum(sizes), "prefetch": self._sizes.prefetch}
        logs.event(logger, logging.INFO, "prefetch limited", queue=self._consumer.queue, **fields)
        self._requeue()

    def _spread(self, wide: int) -> None:
        self._wide, self._consumer.fewest_bodies = wide, min(wide, 2)

    def _widen(self) -> None:
        if self._narrow and self._consumer.prefetch < self._sizes.prefetch:
            self._consumer.change_prefetch(self._sizes.prefetch)
        else:
            self._narrow = 0
