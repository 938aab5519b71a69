"""Takes messages out of a queue in windows, holds all of them, and requeues them in their old order.

Rule: every window has a consumer of its own with the size of the window as prefetch, and few consumers share a channel.
When a channel ends, a quorum queue takes back what it held consumer by consumer, in one step and in order as long as
there are at most 32 of them (with more, it is the order of a hash table; seen with RabbitMQ 3.10). A single consumer
could hold no more than 65,535 messages, and nothing would bound how many of them wait in memory.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import field
from functools import partial
from itertools import count
from typing import Any

from connectorlib.amqp import reply_codes
from connectorlib.amqp.channel import SyncChannel
from connectorlib.amqp.connection import Connection, ConnectionListener
from connectorlib.amqp.frame_reader import from_pika
from connectorlib.amqp.io_thread import IOThread, fail, succeed, succeed_after
from connectorlib.amqp.requeue import BUSY_S, close_without_cancel, hold_late_deliveries
from connectorlib.amqp.shovel import Shovel
from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import Delivery

logger = logging.getLogger(__name__)

MAX_CONSUMERS = 31
#: Limit of the bodies that wait for the worker. Beyond it the I/O thread slows down; heartbeats forbid a stop.
BACKLOG_BYTES = 16 * 1024 * 1024
SLOW_S = 0.05
#: How long a batch is gathered.
GATHER_S = 0.1
#: Bytes that show that the broker is sending bodies; heartbeats are fewer.
SIGN_OF_LIFE = 65_536
#: How long the queue may take to show what a channel has returned; after that, somebody else has probably taken it.
RETURN_S = 10.0
#: Distinct from the numbers of subscriptions and of synchronous channels.
_numbers = count(1_000_000_000)


@dataclass(slots=True, eq=False)
class _Held:
    """One channel and what it holds."""

    number: int = field(default_factory=lambda: next(_numbers))
    channel: Any = None
    tags: list[str] = field(default_factory=list)
    delivered: int = 0
    acked: int = 0
    #: Not closed before (monotonic seconds): acks may still wait in it.
    busy_until: float = 0.0
    #: Settled when the channel is closed.
    closed: Future[None] = field(default_factory=Future)

    @property
    def held(self) -> int:
        return self.delivered - self.acked


class Browser(ConnectionListener):
    """For one worker: `open` a window, `take` what has arrived, `ack` what is done, `requeue` the rest."""

    def __init__(self, io: IOThread, connection: Connection, queue: str) -> None:
        self._io = io
        self._connection = connection
        self._changed = threading.Condition()
        self._handed: deque[Delivery] = deque()
        self._bytes = 0
        #: How many messages the I/O thread wakes the worker for: waking it for each takes longer than all the rest.
        self._enough = 1
        self._requeueing = False
        self._channels: list[_Held] = []
        self._shovels: list[Shovel] = []
        self.queue = queue
        #: Why nothing is held any more: the connection or a channel was lost, which has requeued everything.
        self.failure: Failure | None = None
        io.post(partial(connection.listen, self))

    # For the worker

    def open(self, size: int, timeout: float = 30.0) -> None:
        """Ask for exactly `size` further messages. This ends the previous window, filled or not."""
        self.end_window(timeout)
        if not self._channels or len(self._channels[-1].tags) >= MAX_CONSUMERS:
            self._ask(self._open_channel, timeout, "opening a channel")
        self._ask(partial(self._consume, size), timeout, f"consuming from {self.queue!r}")

    def end_window(self, timeout: float = 30.0) -> None:
        """End the window but keep what it holds: from now on an ack makes no room for another message."""
        if self._channels and self._channels[-1].tags:
            self._ask(self._cancel, timeout, f"cancelling the consumer of {self.queue!r}")

    def take(self, wait_s: float, enough: int = 1) -> list[Delivery]:
        """Return what has arrived: `enough` messages, or those of a short time; [] if none arrived within `wait_s`.
        Raise Failed if what was held is lost."""
        with self._changed:
            self._enough = enough
            if not self._changed.wait_for(self._has_enough, min(wait_s, GATHER_S)) and not self._handed:
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
        """Remove these from the queue; the acks are on their way when this returns. Raise Failed if the messages are
        back in the queue. To be called after `end_window` only."""
        self._io.ask(partial(self._ack, list(deliveries)), timeout, what="ack")

    def shovel(self, window: int = 1) -> Shovel:
        """Return what publishes held messages and acknowledges each once it is confirmed, with at most `window` of
        them between the two."""
        shovel = Shovel(self._io, self._held_connection, self._ack_one, window)
        self._shovels.append(shovel)
        return shovel

    @property
    def backlog(self) -> int:
        """How many bytes of bodies wait for `take`."""
        return self._bytes

    @property
    def held(self) -> int:
        """How many messages are held."""
        return sum(each.held for each in self._channels)

    def ready(self, timeout: float = 30.0) -> int:
        """Return how many messages of the queue nobody holds. The broker answers on the channel that delivers, so what
        the queue had sent here before has come when this returns."""
        return int(self._ask(self._count, timeout, f"looking at {self.queue!r}"))

    def _ask(self, action: Callable[["Future[Any]"], None], timeout: float, what: str) -> Any:
        """Ask the broker, whose answer may come behind bodies that take longer than `timeout`."""
        return self._io.ask(action, timeout, what=what, progress=lambda: self._connection.received // SIGN_OF_LIFE)

    def requeue(self, timeout: float = 60.0) -> bool:
        """Requeue everything that is not acknowledged, in order; return whether the broker confirmed it in time."""
        if self._connection.blocked:  # the broker reads nothing now; the end of the connection does the same later
            self._io.post(self._abandon)
            return False
        deadline = time.monotonic() + timeout
        self._io.post(self._end_shovels)
        with self._changed:
            self._requeueing = True
            self._handed.clear()
            self._bytes = 0
            self._changed.notify_all()
        try:
            if len(self._channels) > 1:
                self.end_window(timeout)  # or it would take what the first channels requeue
            with SyncChannel(self._io, self._connection, timeout) as asking:
                for channel in self._channels:
                    self._return(channel, asking, deadline)
        except Failed as error:
            logger.debug("messages of %s requeued by closing the channels at once: %s", self.queue, error)
            self._io.post(self._abandon)
            return False
        self._io.post(self._forget)
        return True

    def _return(self, channel: _Held, asking: SyncChannel, deadline: float) -> None:
        """Close one channel and wait until its messages are in the queue, ahead of those of the next."""
        time.sleep(max(0.0, channel.busy_until - time.monotonic()))  # not cut short: what is done would come back
        before, _ = asking.queue_declare(self.queue, passive=True)
        self._io.ask(partial(self._close, channel), max(deadline - time.monotonic(), 0.1), what="closing a channel")
        deadline = min(deadline, time.monotonic() + RETURN_S)
        while asking.queue_declare(self.queue, passive=True)[0] < before + channel.held:
            if time.monotonic() > deadline:
                logger.debug("not all of %s is back yet, or somebody else takes it", self.queue)
                return
            time.sleep(0.01)  # not cut short by a stop: what is requeued next would come ahead of this

    # In the I/O thread

    def connection_down(self, failure: Failure) -> None:
        for channel in self._channels:
            succeed(channel.closed)
        self._lose(failure)

    def _open_channel(self, future: "Future[Any]") -> None:
        if self.failure is not None:
            raise Failed(self.failure)
        connection = self._connection.require()
        new = _Held()

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
        # The broker requeues consumers in the order of their tags.
        tag = f"window-{len(held.tags):02d}"

        def consume(_frame: Any) -> None:
            held.tags.append(tag)
            held.channel.basic_consume(
                self.queue, self._receiver(held), consumer_tag=tag, callback=lambda _frame: succeed(future)
            )

        held.channel.basic_qos(prefetch_count=size, callback=consume)

    def _receiver(self, held: _Held) -> Any:
        queue, number, handed, changed = self.queue, held.number, self._handed, self._changed

        def receive(_channel: Any, method: Any, properties: Any, body: bytes) -> None:
            delivery = from_pika(queue, number, method, properties, body)
            held.delivered = delivery.tag
            with changed:
                if self._requeueing:
                    return
                handed.append(delivery)
                self._bytes += len(body)
                if len(handed) >= self._enough or self._bytes > BACKLOG_BYTES:
                    changed.notify()
                if self._bytes > BACKLOG_BYTES:
                    changed.wait_for(lambda: self._bytes <= BACKLOG_BYTES, SLOW_S)

        return receive

    def _count(self, future: "Future[Any]") -> None:
        """Ask twice: the queue's answer may overtake what waits in the broker's channel, but not the next question."""
        held = self._current()
        held.closed.add_done_callback(lambda _closed: fail(future, Failed(self.failure or _CANCELLED)))

        def counted(frame: Any) -> None:
            count = frame.method.message_count
            held.channel.queue_declare(self.queue, passive=True, callback=lambda _frame: succeed(future, count))

        held.channel.queue_declare(self.queue, passive=True, callback=counted)

    def _cancel(self, future: "Future[Any]") -> None:
        held = self._current()
        succeed_after(held.closed, future)
        if held.tags[-1] in held.channel.consumer_tags:
            held.channel.basic_cancel(held.tags[-1], callback=lambda _frame: succeed(future))
        else:  # cancelled before
            succeed(future)

    def _ack(self, deliveries: Sequence[Delivery], future: "Future[Any]") -> None:
        for delivery in deliveries:
            self._ack_one(delivery)
        succeed(future)

    def _held_connection(self) -> Any:
        self._current()
        return self._connection.pika

    def _ack_one(self, delivery: Delivery) -> None:
        self._current()
        held = next(each for each in reversed(self._channels) if each.number == delivery.generation)
        held.channel.basic_ack(delivery.tag)
        held.acked += 1
        held.busy_until = time.monotonic() + BUSY_S

    def _current(self) -> _Held:
        if self.failure is not None:
            raise Failed(self.failure)
        return self._channels[-1]

    def _close(self, held: _Held, future: "Future[Any]") -> None:
        succeed_after(held.closed, future)
        close_without_cancel(held.channel)

    def _closed(self, held: _Held, opening: "Future[Any]", _channel: Any, reason: Exception) -> None:
        failure = reply_codes.from_error(reason, place=f"queue {self.queue!r}")
        if not self._requeueing:
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
