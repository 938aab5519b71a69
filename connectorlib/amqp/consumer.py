"""Deliveries on their way from the I/O thread to one worker, and their settlement on the way back.

Rule: a delivery belongs to the generation of its channel. When that is gone the broker delivers again, so what the
old one left behind is dropped, and nothing of it is ever settled.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from typing import Any

from pika import frame, spec

from connectorlib.amqp import reply_codes
from connectorlib.amqp.connection import Link
from connectorlib.amqp.io_thread import IOThread, fail, succeed
from connectorlib.amqp.requeue import close_at_once, keep_late, returns_by_nack
from connectorlib.amqp.subscription import Generation
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
#: How often to look whether a consumer that is to hold more has anything on its way.
LOOK_S = 1.0


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

    @property
    def waiting(self) -> int:
        """How many deliveries the next `take` finds there."""
        current = self._current
        return len(current.handed) if current and not self._cancelled else 0

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

    def widen(self, prefetch: int) -> None:
        """Hold up to so many, from some moment soon, and give nothing back for it."""
        self._io.post(partial(self._widen, prefetch))

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
        generation = Generation(self.prefetch)
        generation.channel = connection.channel(on_open_callback=partial(self._opened, generation, future))
        generation.channel.add_on_close_callback(partial(self._closed, generation, future))

    def _opened(self, generation: Generation, future: "Future[None]", channel: Any) -> None:
        channel.add_on_cancel_callback(partial(self._cancelled_by_broker, generation))
        consume = partial(self._consume, generation, future)
        channel.basic_qos(prefetch_count=generation.prefetch, callback=consume)

    def _consume(self, generation: Generation, future: "Future[None]", _frame: Any) -> None:
        if future.cancelled():  # the one who asked has stopped waiting
            generation.channel.close()
            return
        # Current before the first message can come.
        self._cancelled = False
        self._current = generation
        self._subscribe(generation, lambda _frame: succeed(future))

    def _subscribe(self, generation: Generation, callback: Callable[[Any], None] = lambda _frame: None) -> None:
        if not self._is_consuming(generation):
            return
        channel = generation.channel
        receive = self._receiver(generation)
        from_pika = channel.connection.deliveries.listen(channel.channel_number, self.queue, generation.number, receive)
        generation.consumer_tag = channel.basic_consume(self.queue, from_pika, callback=callback)

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
        generation.ledger.settle(tags)
        if not generation.wider:
            self._ack(generation)
        elif generation.is_full and generation.is_done:
            self._consume_more(generation)

    def _ack(self, generation: Generation) -> None:
        up_to = generation.ledger.due()
        if up_to:
            generation.channel.basic_ack(up_to, multiple=True)
        if generation.ledger.waiting and not generation.acking:
            generation.acking = True
            self._io.call_later(SINGLES_S, partial(self._ack_waiting, generation))

    def _ack_waiting(self, generation: Generation) -> None:
        generation.acking = False
        if not generation.wider:
            self._ack_all(generation)

    def _ack_all(self, generation: Generation) -> None:
        """Ack what stands above something unsettled too, one by one: it is done, and must not come again."""
        if not generation.channel.is_open or not generation.ledger.waiting:
            return
        up_to = generation.ledger.due()
        if up_to:
            generation.channel.basic_ack(up_to, multiple=True)
        number = generation.channel.channel_number
        acks = [frame.Method(number, spec.Basic.Ack(tag)).marshal() for tag in generation.ledger.singles()]
        if acks:
            generation.channel.connection.write(b"".join(acks))
            generation.calm = time.monotonic() + CALM_S

    def _widen(self, prefetch: int) -> None:
        generation = self._current
        if generation is not None and not generation.wider:
            generation.wider = prefetch
            self._look(generation, -1, -1)

    def _look(self, generation: Generation, delivered: int, settled: int) -> None:
        """Whether the queue is empty, or what the consumer holds is stuck: then nothing is on its way either."""
        if not generation.wider or not self._is_consuming(generation):
            return
        now = generation.delivered, generation.ledger.settled
        if now == (delivered, settled) and (generation.is_done or generation.is_full):
            self._consume_more(generation)
        else:
            self._io.call_later(LOOK_S, partial(self._look, generation, *now))

    def _is_consuming(self, generation: Generation) -> bool:
        return self._current is generation and not self._cancelled and bool(generation.channel.is_open)

    def _consume_more(self, generation: Generation) -> None:
        """End the consumer and begin another on the same channel, while nothing is on its way: a cancel would return
        that, and a quorum queue would put it behind what came back before it."""
        channel, tag = generation.channel, generation.consumer_tag
        if not self._is_consuming(generation) or tag is None:
            return
        self.prefetch = generation.prefetch = generation.wider
        generation.wider, generation.consumer_tag = 0, None
        channel.basic_cancel(tag)
        self._ack(generation)
        channel.basic_qos(prefetch_count=generation.prefetch, callback=lambda _frame: self._subscribe(generation))

    def _cancel(self, future: "Future[None]") -> None:
        generation = self._current
        self._cancelled = True
        self._ready.set()
        if (
            generation is None
            or generation.consumer_tag is None  # just between two consumers
            or not generation.channel.is_open
            or not returns_by_nack(generation.channel)
        ):
            succeed(future)
            return
        # Messages may still come before cancel-ok; they go back together with these.
        keep_late(generation.channel, generation)
        generation.closed.add_done_callback(lambda _closed: succeed(future))
        generation.channel.basic_cancel(generation.consumer_tag, callback=lambda _frame: succeed(future))

    def _return_all(self, generation: Generation, future: "Future[None]") -> None:
        channel = generation.channel
        if self._current is not generation or not channel.is_open:
            succeed(future)
            return
        self._ack_all(generation)
        left = generation.calm - time.monotonic()
        if left > 0:
            self._io.call_later(left, partial(self._return_all, generation, future))
            return
        generation.closed.add_done_callback(lambda _closed: succeed(future))
        if returns_by_nack(channel) and generation.delivered > generation.ledger.settled:
            channel.basic_nack(0, multiple=True, requeue=True)  # 0: all of this channel
        close_at_once(channel)
        self._end(generation, None)

    def _closed(self, generation: Generation, opening: "Future[None]", _channel: Any, reason: Exception) -> None:
        generation.channel.connection.deliveries.forget(generation.channel.channel_number)
        succeed(generation.closed)
        failure = reply_codes.from_error(reason, place=f"queue {self.queue!r}")
        fail(opening, Failed(failure))
        self._end(generation, failure)

    def _cancelled_by_broker(self, generation: Generation, _frame: Any) -> None:
        text = "by the broker: the queue was deleted or moved, or a message was held too long"
        failure = Failure(Kind.UNAVAILABLE, "cancelled", text, f"queue {self.queue!r}")
        self._end(generation, failure)
        self._abandon(generation)

    def _abandon(self, generation: Generation) -> None:
        """Close the channel of a generation that is over; what it held goes back to the queue."""
        self._ack_all(generation)
        close_at_once(generation.channel)

    def _end(self, generation: Generation, failure: Failure | None) -> None:
        if self._current is not generation:
            return
        if failure is not None:
            self.failure = failure
            logger.warning("stopped consuming from %s: %s %s", self.queue, failure.code, failure.text)
        self._current = None
        self._ready.set()
