"""How much of a queue is taken at a time: all that the prefetch allows, or little while something looks wrong.

All that a consumer holds shares the blame when it dies, and a quorum queue counts what comes back against its delivery
limit. But it keeps what comes back in a line of its own and adds to the end of that, so what a smaller prefetch gives
back comes behind what a larger one gave back before. Rule: the prefetch is small only where messages would be lost to
the delivery limit otherwise, and grows again without giving anything back.
"""

import logging
from typing import TYPE_CHECKING

from connectorlib.messages import Delivery
from connectorlib.pipeline.dead_letter_publisher import DeadLetterPublisher
from connectorlib.pipeline.pause import Pausing
from connectorlib.service import logs
from connectorlib.shared_settings import Batch

if TYPE_CHECKING:
    from connectorlib.amqp import Consumer

logger = logging.getLogger(__name__)

#: How long an idle `take` waits before its caller looks around (stop, dead letters to send again).
IDLE_S = 1.0
#: The same while suspects wait for their next attempt, or for proof.
SHORT_IDLE_S = 0.1
#: How long a quorum queue may take to have back what was given back.
GIVEN_BACK_S = 0.2
#: A message that was handed out this often is taken alone: it may be what kills its consumer.
SUSPICIOUS_DELIVERIES = 3
#: So many generations in a row of which nothing passed, and the next one is small.
FRUITLESS = 2
#: After so many others in a row (or an empty queue) messages are taken together again.
CALM = 10
SETTLE_S = 10.0


class Intake:
    """The way in of one flow; it belongs to the worker."""

    def __init__(
        self, consumer: "Consumer", pausing: Pausing, dead_letters: DeadLetterPublisher, batch: Batch, few: int
    ) -> None:
        """`few` is the prefetch after trouble."""
        self._consumer = consumer
        self._pausing = pausing
        self._dead_letters = dead_letters
        self._batch = batch
        self._few = few
        self._prefetch = consumer.prefetch
        #: The smaller prefetch; 0: none.
        self._narrow = 0
        #: Messages in a row that were not handed out suspiciously often.
        self._calm = 0
        #: The generations of which messages were taken since one passed.
        self._fruitless: set[int] = set()
        #: One message at a time, until one passes.
        self.careful = False
        #: Whether what was taken last has been handed out suspiciously often.
        self.suspicious = False

    def open(self) -> bool:
        """Consume. Return False when stopped meanwhile."""
        if len(self._fruitless) >= FRUITLESS:
            self._narrow = self._narrow or self._few
        self._calm = min(self._calm, 0)
        self._consumer.prefetch = min(self._narrow or self._prefetch, self._prefetch)
        return self._pausing.open_consumer()

    def take(self, *, suspects: bool) -> list[Delivery] | None:
        """Take a batch, empty if none came; None: look around and come again, for everything was given back or somebody
        woke the one who waited."""
        if self._narrow and self._calm >= CALM and not (self.careful or suspects):
            self._widen()
        size = 1 if self.careful else min(self._batch.size, self._consumer.prefetch)
        idle_s = SHORT_IDLE_S if suspects else IDLE_S
        batch = self._consumer.take(size, self._batch.wait_ms / 1000, idle_s)
        self.suspicious = any(handed_out(each) >= SUSPICIOUS_DELIVERIES for each in batch if each.redelivered)
        if not batch:
            if self._consumer.waiting:
                return None
            self._calm = CALM
            return batch
        if self.suspicious and not self._narrow and self._consumer.prefetch > 1:
            self._narrow, self.careful = 1, True
            self._give_back()
            return None
        self._calm = 0 if self.suspicious else self._calm + len(batch)
        self._fruitless.add(batch[0].generation)
        return batch

    def passed(self) -> None:
        """A message passed."""
        self.careful = False
        self._fruitless.clear()

    def slow(self, overdue: Delivery) -> None:
        """The work takes so long that messages wait behind it for longer than they may be held: take half of what was
        done while this one waited."""
        done = min(overdue.tag - 1, self._consumer.prefetch)  # tags count from 1, and so many were before it
        self._narrow, self._calm = max(1, done // 2), -CALM * self._prefetch
        logs.event(logger, logging.WARNING, "given back", queue=self._consumer.queue, held=self._consumer.held)
        self._give_back()

    def _widen(self) -> None:
        if self._consumer.prefetch < self._prefetch:
            self._consumer.raise_prefetch(self._prefetch)  # at some moment soon
        else:
            self._narrow = 0

    def _give_back(self) -> None:
        """Give back what was not begun, to consume with another prefetch."""
        self._dead_letters.wait(SETTLE_S)
        self._consumer.requeue(SETTLE_S)
        # A quorum queue has them back a moment later; a consumer that is there at once would get newer ones first.
        self._pausing.stop.wait(GIVEN_BACK_S)


def handed_out(delivery: Delivery) -> int:
    """Return how often the message came back before (quorum queues count; a classic queue only says that it did)."""
    count = delivery.headers.get("x-delivery-count", int(delivery.redelivered))
    return count if isinstance(count, int) else 0
