"""Deliveries on their way from the I/O thread to one worker, and their settlement on the way back.

Rule: a delivery belongs to the generation of its channel. When that is gone the broker delivers again, so what the
old one left behind is dropped, and nothing of it is ever settled.
"""

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from itertools import count
from typing import Any

from pika import frame, spec

from connectorlib.broker import errors
from connectorlib.broker.iothread import IOThread, fail, succeed
from connectorlib.broker.ledger import Ledger
from connectorlib.broker.link import Link
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import Delivery

logger = logging.getLogger(__name__)

_NEVER = sys.maxsize
#: How long what is done waits for something below it, mostly the confirm of a dead letter, to be acked together with
#: it: a broker takes one ack for many far more easily than many.
SINGLES_S = 0.05
#: How long a channel stays open after single acks: a quorum queue takes 32 of them at a time, and what still waits in
#: the channel is forgotten when that closes (RabbitMQ 3.10).
CALM_S = 0.2
#: Every generation of every consumer has its own number, so that a delivery can never be settled on another's channel.
_generations = count(1)


class Generation:
    """One channel with one consumer on it, and what it has delivered."""

    __slots__ = ("acking", "calm", "channel", "closed", "consumer_tag", "delivered", "handed", "ledger", "number")

    def __init__(self) -> None:
        self.number = next(_generations)
        self.channel: Any = None
        self.consumer_tag: str | None = None
        self.handed: deque[Delivery] = deque()
        self.ledger = Ledger()
        self.delivered = 0
        #: Whether what the ledger keeps waiting will be acked in a moment.
        self.acking = False
        #: Until when (monotonic) the broker may still be busy with single acks.
        self.calm = 0.0
        #: Settled when the channel is closed and everything not acked is back in the queue.
        self.closed: Future[None] = Future()


class Consumer:
    """Takes from one queue. `open` begins a generation; it ends with `give_back`, or by itself with a `failure`."""

    def __init__(self, io: IOThread, link: Link, queue: str, prefetch: int) -> None:
        self._io = io
        self._link = link
        self._ready = threading.Event()
        self._woken = False
        #: The I/O thread rings `_ready` once the hand-over holds this many; an int comparison, no lock, per message.
        self._wanted = _NEVER
        self._current: Generation | None = None
        self._opening: Future[None] | None = None
        self._cancelled = False
        self.queue = queue
        self.prefetch = prefetch
        self.failure: Failure | None = None
        io.post(partial(link.listen, self))

    # For the worker

    @property
    def active(self) -> bool:
        """Whether the broker sends messages to it."""
        return self._current is not None and not self._cancelled

    @property
    def generation(self) -> int:
        """The number of the current generation; 0 when there is none."""
        current = self._current
        return current.number if current else 0

    @property
    def held(self) -> int:
        """How many deliveries are in hand or in work, not settled."""
        current = self._current
        return current.delivered - current.ledger.settled if current else 0

    def is_current(self, generation: int) -> bool:
        current = self._current
        return current is not None and current.number == generation

    def open(self, timeout: float = 30.0) -> None:
        """Begin to consume, as soon as there is a connection. Raise Failed when that is not done in `timeout`."""
        self.failure = None
        try:
            self._io.ask(self._open, timeout, what=f"consuming from {self.queue!r}")
        except Failed as error:
            self._io.post(self._give_up_opening)
            self.failure = self._link.failure if error.failure.code == "timeout" else None
            self.failure = self.failure or error.failure
            raise Failed(self.failure) from error

    def take(self, size: int, wait_s: float, idle_s: float) -> list[Delivery]:
        """Return the next batch: it closes at `size`, or `wait_s` after its first message came.

        Wait up to `idle_s` for the first. Return [] when none came, on `wake`, and when the consumer is inactive.
        """
        batch = self._take(size, wait_s, idle_s)
        if not batch:
            self._woken = False
        return batch

    def _take(self, size: int, wait_s: float, idle_s: float) -> list[Delivery]:
        generation = self._current
        if generation is None or self._cancelled:
            return []
        if not self._await(generation, 1, time.monotonic() + idle_s):
            return []
        handed = generation.handed
        self._await(generation, size, handed[0].received + wait_s)
        if self._woken or self._cancelled or not self.is_current(generation.number):
            return []
        return [handed.popleft() for _ in range(min(size, len(handed)))]

    def wake(self) -> None:
        """Let the `take` that waits now, or the next one, return [] at once. May be called from any thread."""
        self._woken = True
        self._ready.set()

    def settle(self, generation: int, tags: Iterable[int]) -> None:
        """Ack these tags of this generation; dropped when it is gone, for its messages come again."""
        self._io.post(partial(self._settle, generation, list(tags)))

    def cancel(self, timeout: float = 10.0) -> None:
        """Hand out nothing more, keep the generation: what is in work can still be settled before `give_back`."""
        if self._current is not None and not self._cancelled:
            self._io.ask(self._cancel, timeout, what=f"cancelling the consumer of {self.queue!r}")

    def give_back(self, timeout: float = 10.0) -> bool:
        """Return everything unsettled to the queue, in order; the generation ends.

        Return whether the broker confirmed it in time; if not, the end of the channel does the same later.
        """
        generation = self._current
        if generation is None:
            return True
        deadline = time.monotonic() + timeout
        try:
            self.cancel(timeout)
            self._io.ask(partial(self._return_all, generation), max(deadline - time.monotonic(), 0.1), what="close")
        except Failed as error:
            logger.warning("messages of %s given back by closing the channel: %s", self.queue, error)
            self._io.post(partial(self._abandon, generation))
            self._end(generation, None)
            return False
        return True

    def _await(self, generation: Generation, size: int, deadline: float) -> bool:
        """Wait until the hand-over holds `size`; return False on wake, on loss and at the deadline."""
        handed = generation.handed
        while len(handed) < size:
            self._ready.clear()
            if self._woken or self._cancelled or self._current is not generation:
                return False
            self._wanted = size
            if len(handed) >= size:  # came between the look and the wish
                break
            if not self._ready.wait(max(deadline - time.monotonic(), 0.0)):
                self._wanted = _NEVER
                return len(handed) >= size
        return not self._woken

    # In the I/O thread

    def link_up(self, connection: Any) -> None:
        if self._opening is not None:
            self._begin(connection, self._opening)

    def link_down(self, failure: Failure) -> None:
        if self._current is not None:
            succeed(self._current.closed)
            self._end(self._current, failure)

    def _open(self, future: "Future[None]") -> None:
        if self._current is not None:
            self._abandon(self._current)
            self._end(self._current, None)
        self._opening = future
        if self._link.connection is not None:
            self._begin(self._link.connection, future)

    def _give_up_opening(self) -> None:
        self._opening = None
        if self._current is not None:
            self._abandon(self._current)
            self._end(self._current, None)

    def _begin(self, connection: Any, future: "Future[None]") -> None:
        """Channel, then prefetch, then consume; each step in the callback of the one before."""
        self._opening = None
        generation = Generation()
        generation.channel = connection.channel(on_open_callback=partial(self._opened, generation, future))
        generation.channel.add_on_close_callback(partial(self._closed, generation, future))

    def _opened(self, generation: Generation, future: "Future[None]", channel: Any) -> None:
        channel.add_on_cancel_callback(partial(self._cancelled_by_broker, generation))
        consume = partial(self._consume, generation, future)
        channel.basic_qos(prefetch_count=self.prefetch, callback=consume)

    def _consume(self, generation: Generation, future: "Future[None]", _frame: Any) -> None:
        if future.cancelled():  # the one who asked has stopped waiting
            generation.channel.close()
            return
        # Current before the first message can come.
        self._cancelled = False
        self._current = generation
        channel = generation.channel
        receive = self._receiver(generation)
        from_pika = channel.connection.deliveries.listen(channel.channel_number, self.queue, generation.number, receive)
        generation.consumer_tag = channel.basic_consume(self.queue, from_pika, callback=lambda _frame: succeed(future))

    def _receiver(self, generation: Generation) -> Callable[[Delivery], None]:
        """The hot path: some 30,000 calls a second."""
        handed = generation.handed
        append = handed.append

        def receive(delivery: Delivery) -> None:
            generation.delivered = delivery.tag
            append(delivery)
            if len(handed) >= self._wanted:
                self._wanted = _NEVER
                self._ready.set()

        return receive

    def _settle(self, number: int, tags: list[int]) -> None:
        generation = self._current
        if generation is None or generation.number != number or not generation.channel.is_open:
            return
        up_to = generation.ledger.settle(tags)
        if up_to:
            generation.channel.basic_ack(up_to, multiple=True)
        if generation.ledger.waits and not generation.acking:
            generation.acking = True
            self._io.call_later(SINGLES_S, partial(self._ack_singles, generation))

    def _ack_singles(self, generation: Generation) -> None:
        """Ack what stands above something unsettled, one by one: it is done, and must not come again."""
        generation.acking = False
        if generation.channel.is_open and generation.ledger.waits:
            number = generation.channel.channel_number
            acks = [frame.Method(number, spec.Basic.Ack(tag)).marshal() for tag in generation.ledger.singles()]
            generation.channel.connection.write(b"".join(acks))
            generation.calm = time.monotonic() + CALM_S

    def _cancel(self, future: "Future[None]") -> None:
        generation = self._current
        self._cancelled = True
        self._ready.set()
        if generation is None or not generation.channel.is_open or not _returns_by_nack(generation.channel):
            succeed(future)
            return
        # Messages may still come before cancel-ok. pika would reject them one by one, ahead of the older ones; they go
        # back together with these instead.
        generation.channel.basic_reject = partial(_note_delivery, generation)
        generation.closed.add_done_callback(lambda _closed: succeed(future))
        generation.channel.basic_cancel(generation.consumer_tag, callback=lambda _frame: succeed(future))

    def _return_all(self, generation: Generation, future: "Future[None]") -> None:
        channel = generation.channel
        if self._current is not generation or not channel.is_open:
            succeed(future)
            return
        self._ack_singles(generation)
        left = generation.calm - time.monotonic()
        if left > 0:
            self._io.call_later(left, partial(self._return_all, generation, future))
            return
        generation.closed.add_done_callback(lambda _closed: succeed(future))
        if not _returns_by_nack(channel):
            channel.basic_cancel = _cancel_nothing
        elif generation.delivered > generation.ledger.settled:
            channel.basic_nack(0, multiple=True, requeue=True)  # 0: all of this channel
        channel.close()
        self._end(generation, None)

    def _closed(self, generation: Generation, opening: "Future[None]", _channel: Any, reason: Exception) -> None:
        generation.channel.connection.deliveries.forget(generation.channel.channel_number)
        succeed(generation.closed)
        failure = errors.from_error(reason, place=f"queue {self.queue!r}")
        fail(opening, Failed(failure))
        self._end(generation, failure)

    def _cancelled_by_broker(self, generation: Generation, _frame: Any) -> None:
        text = "by the broker: the queue was deleted or moved, or a message was held too long"
        failure = Failure(Kind.UNAVAILABLE, "cancelled", text, f"queue {self.queue!r}")
        self._end(generation, failure)
        self._abandon(generation)

    def _abandon(self, generation: Generation) -> None:
        """Close the channel of a generation that is over; what it held goes back to the queue."""
        if generation.channel.is_open:
            self._ack_singles(generation)
            generation.channel.close()

    def _end(self, generation: Generation, failure: Failure | None) -> None:
        if self._current is not generation:
            return
        if failure is not None:
            self.failure = failure
            logger.warning("stopped consuming from %s: %s %s", self.queue, failure.code, failure.text)
        self._current = None
        self._ready.set()


def _note_delivery(generation: Generation, delivery_tag: int = 0, requeue: bool = True) -> None:
    generation.delivered = max(generation.delivered, delivery_tag)


def _cancel_nothing(consumer_tag: str = "", callback: object = None) -> None:
    """In place of what pika does before it closes a channel."""


def _returns_by_nack(channel: Any) -> bool:
    """Whether to give back with cancel, one nack and close, rather than with close alone.

    Both return everything, and up to RabbitMQ 4.2 both count as a delivery. But only the close of a channel that still
    consumes keeps the order of a quorum queue, as seen with 3.10: of more than 32 messages a nack makes the order of a
    hash table (without a delivery limit it puts them at the end of the queue), and a cancel does the same to what is
    on its way. From 4.3 on the nack does not count towards the delivery limit, and the close does.
    """
    version = str((channel.connection.server_properties or {}).get("version", ""))
    numbers = [int(part) for part in version.split(".")[:2] if part.isdigit()]
    return numbers >= [4, 3]
