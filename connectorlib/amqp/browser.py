"""Takes messages out of a queue by the window, holds all of them, and gives them back in the order they were in.

Rule: every window is a consumer of its own with exactly as much credit as it is to take, and few consumers share a
channel. When a channel ends, a quorum queue takes back what it held consumer by consumer, in one step and in order
as long as there are at most 32 of them (more, and it is the order of a hash table; seen with RabbitMQ 3.10). A single
consumer could hold 65,535 messages and no more, and nothing would bound how many of them wait here.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from itertools import count
from typing import Any

from connectorlib.amqp import reply_codes
from connectorlib.amqp.channel import SyncChannel
from connectorlib.amqp.connection import Connection
from connectorlib.amqp.frame_reader import from_pika
from connectorlib.amqp.io_thread import IOThread, fail, succeed
from connectorlib.amqp.requeue import close_without_cancel, hold_late_deliveries
from connectorlib.amqp.shovel import Shovel
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import Delivery

logger = logging.getLogger(__name__)

MAX_CONSUMERS = 31
#: Bodies that wait here for the worker. Beyond it the I/O thread reads on slowly: it must not stop, for the heartbeats.
BACKLOG_BYTES = 16 * 1024 * 1024
SLOW_S = 0.05
#: How long a batch is gathered.
MOMENT_S = 0.1
#: How long the queue may take to have back what a channel held; longer, and somebody else is taking it.
RETURN_S = 10.0
#: Apart from the generations of consumers and of single channels.
_numbers = count(1_000_000_000)


class _Channel:
    """One channel and what it holds."""

    def __init__(self) -> None:
        self.number = next(_numbers)
        self.channel: Any = None
        self.tags: list[str] = []
        self.delivered = 0
        self.acked = 0
        #: Settled when the channel is closed.
        self.closed: Future[None] = Future()

    @property
    def held(self) -> int:
        return self.delivered - self.acked


class Browser:
    """For one worker: `open` a window, `take` what came, `ack` what is done with, `requeue` the rest."""

    def __init__(self, io: IOThread, connection: Connection, queue: str) -> None:
        self._io = io
        self._connection = connection
        self._changed = threading.Condition()
        self._handed: deque[Delivery] = deque()
        self._bytes = 0
        #: The I/O thread wakes the worker for so many: waking it for each takes longer than all the rest.
        self._enough = 1
        self._unwanted = False
        self._channels: list[_Channel] = []
        self._shovels: list[Shovel] = []
        self.queue = queue
        #: Why nothing is held any more: the connection or a channel was lost, and all is back in the queue.
        self.failure: Failure | None = None
        io.post(partial(connection.listen, self))

    # For the worker

    def open(self, size: int, timeout: float = 30.0) -> None:
        """Ask for exactly `size` further messages. The window before is over, whether it was filled or not."""
        self.end_window(timeout)
        if not self._channels or len(self._channels[-1].tags) >= MAX_CONSUMERS:
            self._io.ask(self._open_channel, timeout, what="opening a channel")
        self._io.ask(partial(self._consume, size), timeout, what=f"consuming from {self.queue!r}")

    def end_window(self, timeout: float = 30.0) -> None:
        """End the window, keep what it holds: from now on an ack makes no room for another message."""
        if self._channels and self._channels[-1].tags:
            self._io.ask(self._cancel, timeout, what=f"cancelling the consumer of {self.queue!r}")

    def take(self, wait_s: float, enough: int = 1) -> list[Delivery]:
        """Return what has come: `enough`, or what there is after a moment; [] when nothing came in `wait_s`. Raise
        Failed when what was held is gone."""
        with self._changed:
            self._enough = enough
            if not self._changed.wait_for(self._has_enough, min(wait_s, MOMENT_S)) and not self._handed:
                self._enough = 1
                self._changed.wait_for(self._has_enough, wait_s)
            if self.failure is not None:
                raise Failed(self.failure)
            batch = list(self._handed)
            self._handed.clear()
            self._bytes = 0
            self._changed.notify_all()
        return batch

    def _has_enough(self) -> bool:
        return len(self._handed) >= self._enough or self._bytes > BACKLOG_BYTES or self.failure is not None

    def ack(self, deliveries: Sequence[Delivery], timeout: float = 30.0) -> None:
        """Remove these from the queue; on its way to the broker when this returns. Raise Failed when they are gone
        back to the queue. Only after `end_window`."""
        self._io.ask(partial(self._ack, [(each.generation, each.tag) for each in deliveries]), timeout, what="ack")

    def shovel(self, window: int = 1) -> Shovel:
        """Return what publishes messages that are held here and acks each once it is confirmed, with at most `window`
        of them between the two."""
        shovel = Shovel(self._io, self._held_connection, self._ack_one, window)
        self._shovels.append(shovel)
        return shovel

    @property
    def backlog(self) -> int:
        """Bytes of the bodies that wait to be taken."""
        return self._bytes

    @property
    def held(self) -> int:
        """How many messages are held."""
        return sum(each.held for each in self._channels)

    def requeue(self, timeout: float = 60.0) -> bool:
        """Return everything that is not acked to the queue, in order; return whether the broker said so in time."""
        if self._connection.blocked:  # the broker hears nothing now; the end of the connection does the same later
            self._io.post(self._abandon)
            return False
        deadline = time.monotonic() + timeout
        self._io.post(self._end_shovels)
        with self._changed:
            self._unwanted = True
            self._handed.clear()
            self._bytes = 0
            self._changed.notify_all()
        try:
            if len(self._channels) > 1:
                self.end_window(timeout)  # or it would take what the first channels give back
            with SyncChannel(self._io, self._connection, timeout) as asking:
                for channel in self._channels:
                    self._return(channel, asking, deadline)
        except Failed as error:
            logger.debug("messages of %s given back by closing the channels at once: %s", self.queue, error)
            self._io.post(self._abandon)
            return False
        self._io.post(self._forget)
        return True

    def _return(self, channel: _Channel, asking: SyncChannel, deadline: float) -> None:
        """Close one channel and wait until its messages lie in the queue, ahead of those of the next."""
        before, _ = asking.queue_declare(self.queue, passive=True)
        self._io.ask(partial(self._close, channel), max(deadline - time.monotonic(), 0.1), what="closing a channel")
        deadline = min(deadline, time.monotonic() + RETURN_S)
        while asking.queue_declare(self.queue, passive=True)[0] < before + channel.held:
            if time.monotonic() > deadline:
                logger.debug("not all of %s is back yet, or somebody else takes it", self.queue)
                return
            time.sleep(0.01)  # not to be cut short by a stop: what is given back next would come ahead of this

    # In the I/O thread

    def connection_up(self, connection: Any) -> None:
        """A new connection does not bring back what the old one held."""

    def connection_down(self, failure: Failure) -> None:
        for channel in self._channels:
            succeed(channel.closed)
        self._lose(failure)

    def _open_channel(self, future: "Future[Any]") -> None:
        connection = self._connection.pika
        if self.failure is not None or connection is None:
            text = "there is no connection to the broker"
            raise Failed(
                self.failure or self._connection.failure or Failure(Kind.UNAVAILABLE, "unreachable", text, "broker")
            )
        new = _Channel()

        def opened(channel: Any) -> None:
            channel.add_on_cancel_callback(lambda _frame: self._lose(_CANCELLED))
            hold_late_deliveries(channel, new)  # of a window that was ended before it was full
            self._channels.append(new)
            succeed(future)

        new.channel = connection.channel(on_open_callback=opened)
        new.channel.add_on_close_callback(partial(self._closed, new, future))

    def _consume(self, size: int, future: "Future[Any]") -> None:
        held = self._current()
        held.closed.add_done_callback(lambda _closed: fail(future, Failed(self.failure or _CANCELLED)))
        # They are given back in the order of these names.
        tag = f"window-{len(held.tags):02d}"

        def consume(_frame: Any) -> None:
            held.tags.append(tag)
            held.channel.basic_consume(
                self.queue, self._receiver(held), consumer_tag=tag, callback=lambda _frame: succeed(future)
            )

        held.channel.basic_qos(prefetch_count=size, callback=consume)

    def _receiver(self, held: _Channel) -> Any:
        queue, number, handed, changed = self.queue, held.number, self._handed, self._changed

        def receive(_channel: Any, method: Any, properties: Any, body: bytes) -> None:
            delivery = from_pika(queue, number, method, properties, body)
            held.delivered = delivery.tag
            with changed:
                if self._unwanted:
                    return
                handed.append(delivery)
                self._bytes += len(body)
                if len(handed) >= self._enough or self._bytes > BACKLOG_BYTES:
                    changed.notify()
                if self._bytes > BACKLOG_BYTES:
                    changed.wait_for(lambda: self._bytes <= BACKLOG_BYTES, SLOW_S)

        return receive

    def _cancel(self, future: "Future[Any]") -> None:
        held = self._current()
        held.closed.add_done_callback(lambda _closed: succeed(future))
        if held.tags[-1] in held.channel.consumer_tags:
            held.channel.basic_cancel(held.tags[-1], callback=lambda _frame: succeed(future))
        else:  # by an earlier call
            succeed(future)

    def _ack(self, wanted: list[tuple[int, int]], future: "Future[Any]") -> None:
        self._current()
        channels = {each.number: each for each in self._channels}
        for number, tag in wanted:
            channels[number].channel.basic_ack(tag)
            channels[number].acked += 1
        succeed(future)

    def _held_connection(self) -> Any:
        self._current()
        return self._connection.pika

    def _ack_one(self, delivery: Delivery) -> None:
        self._current()
        held = next(each for each in self._channels if each.number == delivery.generation)
        held.channel.basic_ack(delivery.tag)
        held.acked += 1

    def _current(self) -> _Channel:
        if self.failure is not None:
            raise Failed(self.failure)
        return self._channels[-1]

    def _close(self, held: _Channel, future: "Future[Any]") -> None:
        held.closed.add_done_callback(lambda _closed: succeed(future))
        close_without_cancel(held.channel)

    def _closed(self, held: _Channel, opening: "Future[Any]", _channel: Any, reason: Exception) -> None:
        failure = reply_codes.from_error(reason, place=f"queue {self.queue!r}")
        if not self._unwanted:
            self._lose(failure)
        succeed(held.closed)
        fail(opening, Failed(failure))

    def _lose(self, failure: Failure) -> None:
        with self._changed:
            self.failure = self.failure or failure
            self._changed.notify_all()
        self._abandon()

    def _end_shovels(self) -> None:
        for shovel in self._shovels:
            shovel.end(self.failure)

    def _abandon(self) -> None:
        self._forget()
        self._end_shovels()
        for held in self._channels:
            close_without_cancel(held.channel)

    def _forget(self) -> None:
        self._connection.forget(self)


_CANCELLED = Failure(
    Kind.UNAVAILABLE, "cancelled", "by the broker: the queue was deleted or moved, or a message was held too long"
)
