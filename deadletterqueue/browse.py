"""Walks through a dead-letter queue without changing it: messages are consumed, looked at, and requeued in order.

Rule: browsing counts as a delivery, and a quorum queue deletes a message that was requeued more often than the delivery
limit. So the walk stops long before that, and what would be deleted is copied to the end of the queue.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from connectorlib.amqp import Broker, Browser, Shovel, topology
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import Delivery
from deadletterqueue.delivery_limit import DeliveryLimit

logger = logging.getLogger(__name__)

#: Messages of a window: the first is small, since nothing is known of their size yet.
FIRST, FEWEST, MOST = 100, 16, 4_000
#: In a walk that also removes, a window is held here as a whole.
MOST_REMOVING = 1_000
#: Bytes of a window, if the messages are as large as those of the one before.
WINDOW_BYTES = 8 * 1024 * 1024
#: Bytes of memory that a message takes besides the body.
OVERHEAD_BYTES = 2_048
#: Messages that are handed over at once.
BATCH = 250
#: Seconds without a message after which the broker is asked whether there is one, and after which somebody has it.
IDLE_S, STUCK_S = 0.5, 20.0


class Walk:
    """`with Walk(broker, "dead-letter") as walk: for delivery in walk: …`

    The end of the block requeues, in order, everything that was not removed by `ack`. Raise Failed if the connection is
    lost (then the broker requeues everything), if the delivery limit is near, or if the queue does not exist;
    KeyboardInterrupt if `stop` is set.
    """

    def __init__(
        self,
        broker: Broker,
        queue: str,
        *,
        limit: int | None = None,
        removing: bool = False,
        delivery_limit: DeliveryLimit | None = None,
        stop: threading.Event | None = None,
        setup: str = "deadletter-queue",
    ) -> None:
        """`limit` is how many messages to walk at most; `removing` allows `ack`; `setup` is the command that makes the
        queue."""
        self._broker = broker
        self._removing = removing
        self._limit = limit
        self._delivery_limit = delivery_limit or DeliveryLimit(broker, queue)
        self._setup = setup
        self._stop = stop or threading.Event()
        self._browser: Browser | None = None
        #: How many messages were asked for, and how many of the open window have not come yet.
        self._asked = 0
        self._left = 0
        #: The largest body of the window.
        self._largest = 0
        #: Whether the last message that came had never been delivered before.
        self._fresh = True
        self.queue = queue
        #: How many messages were there at the beginning, how many of them the walk is to pass, and has passed.
        self.ready = 0
        self.total = 0
        self.looked = 0
        #: How many of them somebody else had taken before their turn came, and how many were seen but cannot be read.
        self.taken = 0
        self.unreadable = 0

    def __enter__(self) -> Self:
        self.ready = self._ready()
        topology.refuse_stream(self._broker.channel, self.queue)  # which counts as empty
        self.total = self.ready if self._limit is None else min(self.ready, self._limit)
        if self.total:
            self._delivery_limit.begin()
            self._browser = self._broker.browser(self.queue)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        browser = self._browser
        if browser is None:
            return
        try:
            if not self._broker.blocked:
                self._hold_the_rest(browser)
                self._delivery_limit.rescue(browser)
        except Failed as failed:
            logger.warning("the scan of %s ended early: %s", self.queue, failed)
        finally:
            browser.requeue()

    def __iter__(self) -> Iterator[Delivery]:
        browser = self._browser
        while browser is not None and self._asked < self.total:
            self._open_next(browser)
            for batch in self._complete(browser) if self._removing else self._batches(browser):
                yield from self._passed(batch)
            if self.looked < self._asked:
                self.taken = self.total - self.looked
                return

    def ack(self, *deliveries: Delivery) -> None:
        """Remove messages from the queue; the acks are on the way when this returns. Raise Failed if the connection was
        lost: then the messages are still in the queue."""
        if not self._removing:
            raise RuntimeError("this scan is read-only")
        if self._browser is not None:
            self._browser.ack(deliveries)
            self._delivery_limit.acked(deliveries)

    def count(self) -> int:
        """Return how many messages a walk would pass now, without one. Raise Failed when the queue is not there."""
        ready = self._ready()
        return ready if self._limit is None else min(ready, self._limit)

    @property
    def shortfall(self) -> str:
        """What of the queue this walk has not shown, in words; "" if it has shown everything."""
        reasons = ((self.taken, "taken by another consumer meanwhile"), (self.unreadable, "not readable"))
        missing = [f"{count:,} of {self.total:,} {reason}" for count, reason in reasons if count]
        return f"{self.queue}: {', '.join(missing)}" if missing else ""

    @property
    def failure(self) -> Failure | None:
        """Why the messages are no longer held; the next step of the walk raises it."""
        return self._browser.failure if self._browser is not None else None

    @property
    def backlog(self) -> int:
        """Bytes of the bodies that have come and are not looked at yet."""
        return self._browser.backlog if self._browser is not None else 0

    def shovel(self, window: int = 1) -> Shovel:
        """Return what moves messages of this walk elsewhere, with at most `window` of them in doubt; `moved` has to be
        told. Only where there is something to walk through."""
        if not self._removing or self._browser is None:
            raise RuntimeError("this scan is read-only, or has nothing to look at")
        return self._browser.shovel(window)

    def moved(self, delivery: Delivery) -> None:
        """Note that this message has left the queue."""
        self._delivery_limit.acked([delivery])

    def _open_next(self, browser: Browser) -> None:
        self._open(browser, min(self._size(), self.total - self._asked))

    def _open(self, browser: Browser, size: int) -> None:
        browser.open(size)
        self._asked += size
        self._left = size
        self._largest = 0

    def _passed(self, batch: list[Delivery]) -> Iterator[Delivery]:
        waiting = deque(batch)
        batch.clear()
        while waiting:
            if self._stop.is_set():
                raise KeyboardInterrupt
            delivery = waiting.popleft()  # the body is freed as soon as it was looked at
            self.looked += 1
            if not self._removing:
                self._delivery_limit.look(delivery)
            yield delivery

    def _complete(self, browser: Browser) -> Iterator[list[Delivery]]:
        """Return one window as a whole: an ack before it is complete would make room for one more message."""
        complete = [delivery for batch in self._batches(browser) for delivery in batch]
        browser.end_window()
        self._left = 0  # what has not come by now is not delivered here any more
        yield complete

    def _batches(self, browser: Browser) -> Iterator[list[Delivery]]:
        """Return what comes, until the window is full or the queue is empty."""
        patience = time.monotonic() + STUCK_S
        while self._left > 0:
            if self._stop.is_set():
                raise KeyboardInterrupt
            batch = self._take(browser)
            if batch is None:
                return
            if batch:
                if not (self._left or self._removing or self._delivery_limit.wary) and self._asked < self.total:
                    self._open_next(browser)  # so that the broker delivers while these are looked at
                patience = time.monotonic() + STUCK_S
                yield batch
            elif time.monotonic() > patience:
                text = f"queue {self.queue!r} hands out no messages: does an exclusive consumer hold it?"
                raise Failed(Failure(Kind.UNAVAILABLE, "stuck", text))

    def _take(self, browser: Browser) -> list[Delivery] | None:
        """Return what has come; [] if nothing has for a while, None if nothing will. That nothing will is for the
        broker to say: a large body, or a slow link, makes the same silence."""
        batch = browser.take(IDLE_S, min(self._left, BATCH))
        if not batch:
            ready = browser.ready()
            batch = browser.take(0)
            if not (batch or ready):
                return None
        if batch:
            self._arrived(batch)
        return batch

    def _hold_the_rest(self, browser: Browser) -> None:
        """Consume, without looking, what has to be held before anything is requeued.

        A quorum queue keeps what came back in a line of its own, ahead of what was never delivered, and adds to the end
        of it. So everything that is in that line has to be held at once, or the order turns. And where giving back
        could cost a message, each that was delivered has to be seen before.
        """
        if self._delivery_limit.stopped and self.looked <= 1:
            return  # one message goes to the end of these, instead of every message coming nearer to the limit
        self._take_rest(browser)
        while not (self._fresh or self._delivery_limit.in_place) and (ready := self._ready()):
            self._open(browser, min(ready, self._size()))
            self._take_rest(browser)
            if self._left:
                return  # another consumer has the rest

    def _take_rest(self, browser: Browser) -> None:
        patience = time.monotonic() + STUCK_S
        while self._left > 0 and (self._delivery_limit.wary or not self._fresh):
            batch = self._take(browser)
            if batch:
                patience = time.monotonic() + STUCK_S
            elif batch is None or time.monotonic() > patience:
                return

    def _arrived(self, batch: list[Delivery]) -> None:
        self._left -= len(batch)
        self._largest = max(self._largest, *(len(each.body) for each in batch))
        self._fresh = not batch[-1].redelivered
        self._delivery_limit.note(batch)

    def _size(self) -> int:
        if not self._asked:
            return 1 if self._delivery_limit.wary else FIRST
        most = MOST_REMOVING if self._removing else MOST
        return min(max(WINDOW_BYTES // (self._largest + OVERHEAD_BYTES), FEWEST), most)

    def _ready(self) -> int:
        """Return how many messages of the queue nobody holds. Raise Failed when there is no such queue."""
        try:
            with self._broker.channel() as channel:
                return channel.queue_declare(self.queue, passive=True)[0]
        except Failed as error:
            if error.failure.code != "404":
                raise
            text = f"there is no queue {self.queue!r} in this virtual host; `{self._setup}` makes one"
            raise Failed(Failure(Kind.CONFIGURATION, "404", text)) from error
