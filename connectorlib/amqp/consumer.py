"""Passes deliveries from the I/O thread to one worker, and settles them on the way back.

Rule: a delivery belongs to the subscription of its channel. When that is gone the broker delivers again, so the rest of
the old one is dropped, and nothing of it is settled.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from pika import frame, spec

from connectorlib.amqp import reply_codes
from connectorlib.amqp.arrivals import Arrivals, Line, arrived_first, first_of
from connectorlib.amqp.connection import Connection, ConnectionListener
from connectorlib.amqp.io_thread import IOThread, fail, succeed, succeed_after
from connectorlib.amqp.receive_window import ReceiveWindow
from connectorlib.amqp.requeue import BUSY_S, close_without_cancel, requeues_by_nack
from connectorlib.amqp.subscription import Subscription
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import Delivery
from connectorlib.shared_settings import PREFETCH_BYTES

logger = logging.getLogger(__name__)

#: How long settled deliveries wait for one below them, mostly for the confirm of a dead letter, to be acknowledged
#: together with it: one multiple ack costs a broker far less than many single ones.
SINGLES_S = 0.05
#: How often to check whether anything is on its way to a consumer whose prefetch is to change.
LOOK_S = 1.0


class Consumer(ConnectionListener):
    """Consumes one queue. `open` begins a subscription; it ends with `requeue`, or by itself with a `failure`."""

    def __init__(
        self,
        io: IOThread,
        connection: Connection,
        queue: str,
        prefetch: int,
        prefetch_bytes: int = PREFETCH_BYTES,
        body_bytes: int | None = None,
    ) -> None:
        """`prefetch_bytes` is what the bodies of all deliveries in hand may take together, and `body_bytes` what each
        may have (None: no limit)."""
        self._io = io
        self._connection = connection
        self._arrivals = Arrivals()
        #: Of a shard: the line that its deliveries share with those of others, and what labels each of them.
        self._line: Line | None = None
        self._label: Callable[[Delivery], None] | None = None
        self._current: Subscription | None = None
        self._opening: Future[None] | None = None
        self._cancelled = False
        self.queue = queue
        self.queues = (queue,)
        self.prefetch = prefetch
        self.prefetch_bytes = prefetch_bytes
        self.body_bytes = body_bytes
        #: How many bodies are read whatever they take, from the next subscription or change of the prefetch on.
        self.fewest_bodies = 1
        #: Whether bodies over `body_bytes` are not read, from the next subscription on, because what is rejected finds
        #: its way into the dead-letter queue whatever happens to that.
        self.may_reject = False
        #: Whether another consumer may wait for what this one has (`x-single-active-consumer`): a cancel would let it
        #: begin while messages before its own are still in hand here. Unless the broker tells, nobody knows.
        self.stand_by = True
        #: Its name at the broker, with a number.
        self.name = "consumer"
        #: From RabbitMQ 4.0 on the single active consumer is the one with the highest.
        self.priority: int | None = None
        #: Of a stream: where reading begins, `first`, `last` (its last chunk) or an offset; "": with the next message.
        self.stream_offset: str | int = ""
        #: Whether the broker has counted the last `requeue` as a delivery of what was in hand.
        self.counted = True
        self.failure: Failure | None = None
        io.post(partial(connection.listen, self))

    # For the worker

    @property
    def active(self) -> bool:
        """Whether the broker sends messages to it."""
        return self._current is not None and not self._cancelled

    @property
    def generation(self) -> int:
        """The number of the current subscription; 0 when there is none."""
        current = self._current
        return current.number if current else 0

    @property
    def held(self) -> int:
        """How many deliveries are not settled, whether they wait or are being worked on."""
        current = self._current
        return current.delivered - current.acks.settled if current else 0

    @property
    def waiting(self) -> int:
        """How many deliveries wait for `take`."""
        current = self._current
        return len(current.handed) if current and not self._cancelled else 0

    @property
    def oldest(self) -> float | None:
        """When the first of those that wait for `take` came (monotonic); None if none waits."""
        current = self._current
        return arrived_first(current.handed) if current and not self._cancelled else None

    def peek(self, most: int) -> Sequence[Delivery]:
        """Return the deliveries that the next `take` may return, so many at most; for the worker."""
        current = self._current
        return first_of(current.handed, most) if current and not self._cancelled else ()

    @property
    def is_full(self) -> bool:
        """Whether the prefetch is used up."""
        current = self._current
        return current is not None and current.is_full

    @property
    def has_unread(self) -> bool:
        """Whether bodies were not read for want of room: nothing more is read before a `requeue`."""
        current = self._current
        return current is not None and current.cut_at > 0

    @property
    def overflow(self) -> tuple[int, Sequence[int]] | None:
        """Why nothing more comes before a `requeue`: so many messages had bodies that took all the room, and these are
        the sizes of those that were not read. Only once all that were read are settled, else None."""
        current = self._current
        return (current.fitted, tuple(current.unread)) if current is not None and current.is_cut else None

    def too_large(self) -> list[tuple[Delivery, int]]:
        """Return the messages with too large bodies that have come since, without those, and the sizes of these. Each
        is to be given to `reject`."""
        current = self._current
        if current is None or not current.too_large:
            return []
        return [current.too_large.popleft() for _ in range(len(current.too_large))]

    def is_current(self, generation: int) -> bool:
        current = self._current
        return current is not None and current.number == generation

    def open(self, timeout: float = 30.0) -> None:
        """Begin to consume as soon as there is a connection. Raise Failed if that takes longer than `timeout`."""
        self.failure = None
        try:
            self._io.ask(self._open, timeout, what=f"consuming from {self.queue!r}")
        except Failed as error:
            self._io.post(self._abandon_opening)
            self.failure = self._connection.failure if error.failure.code == "timeout" else None
            self.failure = self.failure or error.failure
            raise Failed(self.failure) from error

    def take(self, size: int, wait_s: float, idle_s: float) -> list[Delivery]:
        """Return the next batch: up to `size` deliveries, gathered for at most `wait_s` after the first arrived.

        Wait up to `idle_s` for the first. Return [] if none arrives, on `wake`, and when the consumer is inactive.
        """
        subscription = self._current
        if subscription is None:
            return self._arrivals.take(Line(), size, wait_s, idle_s, is_lost=lambda: True)
        return self._arrivals.take(
            subscription.handed,
            size,
            wait_s,
            idle_s,
            is_lost=lambda: self._cancelled or self._current is not subscription,
            most=lambda: subscription.most_waiting,
        )

    def wake(self) -> None:
        """Make the `take` that waits now, or the next one, return [] at once. May be called from any thread."""
        self._arrivals.wake()

    def join(self, arrivals: Arrivals, line: Line, label: Callable[[Delivery], None]) -> None:
        """Append the deliveries of the next subscription to this line, each labelled before."""
        self._arrivals, self._line, self._label = arrivals, line, label

    def settle(self, generation: int, tags: Iterable[int]) -> None:
        """Acknowledge these tags of a subscription; do nothing if it is gone, because its messages come again."""
        self._io.post(partial(self._settle, generation, list(tags)))

    def reject(self, generation: int, tags: Iterable[int]) -> None:
        """Let the broker dead-letter these; as `settle` in all else."""
        self._io.post(partial(self._reject, generation, list(tags)))

    def change_prefetch(self, prefetch: int) -> None:
        """Change the prefetch soon, without requeueing anything for it."""
        self._io.post(partial(self._change_prefetch, prefetch))

    def cancel(self, timeout: float = 10.0) -> None:
        """Stop delivering but keep the subscription, so that work in progress can be settled before `requeue`."""
        if self._current is not None and not self._cancelled:
            self._io.ask(self._cancel, timeout, what=f"cancelling the consumer of {self.queue!r}")

    def requeue(self, timeout: float = 10.0) -> bool:
        """End the subscription and return everything unsettled to the queue, in order.

        Return whether the broker confirmed that in time; if not, the end of the channel does the same later.
        """
        subscription = self._current
        if subscription is None:
            return True
        deadline = time.monotonic() + timeout
        try:
            self.cancel(timeout)
            self._io.ask(partial(self._requeue_all, subscription), max(deadline - time.monotonic(), 0.1), what="close")
        except Failed as error:
            logger.warning("messages of %s requeued by closing the channel: %s", self.queue, error)
            self._io.post(partial(self._abandon, subscription))
            self._end(subscription, None)
            return False
        return True

    # In the I/O thread

    def connection_up(self, connection: Any) -> None:
        if self._opening is not None:
            self._begin(connection, self._opening)

    def connection_down(self, failure: Failure) -> None:
        if self._current is not None:
            succeed(self._current.closed)
            self._end(self._current, failure)

    def _open(self, future: "Future[None]") -> None:
        self._abandon_opening()
        self._opening = future
        if self._connection.pika is not None:
            self._begin(self._connection.pika, future)

    def _abandon_opening(self) -> None:
        self._opening = None
        if self._current is not None:
            self._abandon(self._current)
            self._end(self._current, None)

    def _begin(self, connection: Any, future: "Future[None]") -> None:
        """Open a channel, then set the prefetch, then consume; each step in the callback of the one before."""
        self._opening = None
        refused_above = self.body_bytes if self.may_reject else None
        window = ReceiveWindow(self.prefetch_bytes, refused_above)
        subscription = Subscription(self.prefetch, window, handed=Line() if self._line is None else self._line)
        subscription.channel = connection.channel(on_open_callback=partial(self._opened, subscription, future))
        subscription.channel.add_on_close_callback(partial(self._closed, subscription, future))

    def _opened(self, subscription: Subscription, future: "Future[None]", channel: Any) -> None:
        channel.add_on_cancel_callback(partial(self._cancelled_by_broker, subscription))
        consume = partial(self._consume, subscription, future)
        channel.basic_qos(prefetch_count=subscription.prefetch, callback=consume)

    def _consume(self, subscription: Subscription, future: "Future[None]", _frame: Any) -> None:
        if future.cancelled():  # nobody waits for it any more
            subscription.channel.close()
            return
        # Before the first message can arrive.
        self._cancelled = False
        self._current = subscription
        self._subscribe(subscription, lambda _frame: succeed(future))

    def _subscribe(self, subscription: Subscription, callback: Callable[[Any], None] = lambda _frame: None) -> None:
        if not self._is_consuming(subscription):
            return
        channel, subscription.window.fewest = subscription.channel, self.fewest_bodies
        from_pika = channel.connection.deliveries.listen(
            channel.channel_number,
            self.queue,
            subscription.number,
            self._receiver(subscription),
            lambda tag, size: not subscription.cut_at and subscription.window.admit(tag, size),
            partial(self._skipped, subscription),
        )
        subscription.consumers, subscription.begun = subscription.consumers + 1, subscription.delivered
        # The broker requeues consumers in the order of their tags: first what was in hand before the prefetch changed.
        tag = f"{self.name}-{subscription.consumers:04d}"
        arguments: dict[str, Any] = {} if self.priority is None else {"x-priority": self.priority}
        if self.stream_offset != "":
            arguments["x-stream-offset"] = self.stream_offset
        subscription.consumer_tag = channel.basic_consume(
            self.queue, from_pika, consumer_tag=tag, arguments=arguments, callback=callback
        )

    def _receiver(self, subscription: Subscription) -> Callable[[Delivery], None]:
        """Return what takes a delivery. This is the hot path: some 30,000 calls a second."""
        handed, arrivals, label = subscription.handed, self._arrivals, self._label
        append = handed.append

        def receive(delivery: Delivery) -> None:
            subscription.delivered = delivery.tag
            if subscription.cut_at:  # what comes after one that was not read comes again after it
                subscription.unread.append(len(delivery.body))
                return
            if label is not None:
                label(delivery)
            append(delivery)
            if len(handed) >= arrivals.wanted:
                arrivals.notify()

        return receive

    def _skipped(self, subscription: Subscription, delivery: Delivery, size: int) -> None:
        """Note a delivery whose body is not read: too large in itself, or for the room that is left."""
        in_hand = subscription.delivered - subscription.acks.settled
        subscription.delivered = delivery.tag
        if subscription.window.refuses(size) and not subscription.cut_at:
            subscription.too_large.append((delivery, size))
            self.wake()
            return
        if not subscription.cut_at:
            subscription.cut_at, subscription.fitted = delivery.tag, in_hand
        subscription.unread.append(size)

    def _reject(self, number: int, tags: list[int]) -> None:
        subscription = self._current
        if subscription is None or subscription.number != number or not subscription.channel.is_open:
            return
        channel = subscription.channel
        rejects = [frame.Method(channel.channel_number, spec.Basic.Reject(tag, False)).marshal() for tag in tags]
        channel.connection.write(b"".join(rejects))
        subscription.busy_until = time.monotonic() + BUSY_S
        subscription.acks.reject(tags)
        self._go_on(subscription)

    def _settle(self, number: int, tags: list[int]) -> None:
        subscription = self._current
        if subscription is None or subscription.number != number or not subscription.channel.is_open:
            return
        subscription.acks.settle(tags)
        subscription.window.settle(tags)
        self._go_on(subscription)

    def _go_on(self, subscription: Subscription) -> None:
        """Do what was waiting for something to be settled."""
        if subscription.is_cut:
            self.wake()
        if not subscription.next_prefetch:
            self._ack(subscription)
        elif subscription.is_full and subscription.is_done:
            self._consume_more(subscription)

    def _ack(self, subscription: Subscription) -> None:
        self._ack_due(subscription)
        if subscription.acks.waiting and not subscription.ack_scheduled:
            subscription.ack_scheduled = True
            self._io.call_later(SINGLES_S, partial(self._ack_waiting, subscription))

    def _ack_due(self, subscription: Subscription) -> None:
        up_to = subscription.acks.due()
        if up_to:
            subscription.channel.basic_ack(up_to, multiple=True)

    def _ack_waiting(self, subscription: Subscription) -> None:
        subscription.ack_scheduled = False
        if not subscription.next_prefetch:
            self._ack_all(subscription)

    def _ack_all(self, subscription: Subscription) -> None:
        """Acknowledge also what is settled above something unsettled, one by one, so that it does not come again."""
        if not subscription.channel.is_open or not subscription.acks.waiting:
            return
        self._ack_due(subscription)
        number = subscription.channel.channel_number
        acks = [frame.Method(number, spec.Basic.Ack(tag)).marshal() for tag in subscription.acks.singles()]
        if acks:
            subscription.channel.connection.write(b"".join(acks))
            subscription.busy_until = time.monotonic() + BUSY_S

    def _change_prefetch(self, prefetch: int) -> None:
        subscription = self._current
        if subscription is not None and not subscription.next_prefetch and prefetch != subscription.prefetch:
            subscription.next_prefetch = prefetch
            self._check_idle(subscription, -1, -1)

    def _check_idle(self, subscription: Subscription, delivered: int, settled: int) -> None:
        """Change the prefetch once nothing is on its way: the queue is empty, or the prefetch used up and stuck."""
        if not subscription.next_prefetch or not self._is_consuming(subscription):
            return
        now = subscription.delivered, subscription.acks.settled
        idle = now == (delivered, settled)
        if idle and (subscription.is_done or (subscription.is_full and not self.stand_by)):
            self._consume_more(subscription)
        elif idle and subscription.is_full:  # until it is asked for again: what is in hand may wait for what is not
            subscription.next_prefetch = 0
            self._ack(subscription)
        else:
            self._io.call_later(LOOK_S, partial(self._check_idle, subscription, *now))

    def _is_consuming(self, subscription: Subscription) -> bool:
        return self._current is subscription and not self._cancelled and bool(subscription.channel.is_open)

    def _consume_more(self, subscription: Subscription) -> None:
        """Replace the consumer on the same channel while nothing is on its way: a cancel would return that, and a
        quorum queue would put it behind what came back before it. What a stand-by may begin with after the cancel comes
        after all that was written here."""
        channel, tag = subscription.channel, subscription.consumer_tag
        if not self._is_consuming(subscription) or tag is None:
            return
        subscription.prefetch = prefetch = subscription.next_prefetch
        subscription.next_prefetch, subscription.consumer_tag = 0, None
        channel.basic_cancel(tag)
        self._ack(subscription)

        def changed(_frame: Any) -> None:
            self.prefetch = prefetch

        channel.basic_qos(prefetch_count=prefetch, callback=lambda _frame: self._subscribe(subscription, changed))

    def _cancel(self, future: "Future[None]") -> None:
        subscription = self._current
        self._cancelled = True
        self._arrivals.notify()
        if subscription is None or not self._may_cancel(subscription):
            succeed(future)
            return
        tag, subscription.consumer_tag = subscription.consumer_tag, None
        succeed_after(subscription.closed, future)
        subscription.channel.basic_cancel(tag, callback=lambda _frame: succeed(future))

    def _may_cancel(self, subscription: Subscription) -> bool:
        """Whether a cancel keeps the order, and the requeue after it costs no delivery."""
        if self.stand_by or not subscription.is_full or subscription.consumer_tag is None:
            return False
        return bool(subscription.channel.is_open) and requeues_by_nack(subscription.channel)

    def _requeue_all(self, subscription: Subscription, future: "Future[None]") -> None:
        channel = subscription.channel
        if self._current is not subscription or not channel.is_open:
            succeed(future)
            return
        self._ack_all(subscription)
        left = subscription.busy_until - time.monotonic()
        if left > 0:
            self._io.call_later(left, partial(self._requeue_all, subscription, future))
            return
        succeed_after(subscription.closed, future)
        by_nack = subscription.consumer_tag is None and requeues_by_nack(channel)
        if by_nack and not subscription.is_done:
            channel.basic_nack(0, multiple=True, requeue=True)  # 0: all of this channel
        close_without_cancel(channel)
        self._end(subscription, None)
        self.counted = not by_nack

    def _closed(self, subscription: Subscription, opening: "Future[None]", _channel: Any, reason: Exception) -> None:
        subscription.channel.connection.deliveries.forget(subscription.channel.channel_number)
        succeed(subscription.closed)
        failure = reply_codes.from_error(reason, place=f"queue {self.queue!r}")
        fail(opening, Failed(failure))
        self._end(subscription, failure)

    def _cancelled_by_broker(self, subscription: Subscription, _frame: Any) -> None:
        text = "by the broker: the queue was deleted or moved, or a message was held too long"
        failure = Failure(Kind.UNAVAILABLE, "cancelled", text, f"queue {self.queue!r}")
        self._end(subscription, failure)
        self._abandon(subscription)

    def _abandon(self, subscription: Subscription) -> None:
        """Close the channel of a subscription that has ended, which requeues what it holds."""
        self._ack_all(subscription)
        close_without_cancel(subscription.channel)

    def _end(self, subscription: Subscription, failure: Failure | None) -> None:
        if self._current is not subscription:
            return
        if failure is not None:
            self.failure = failure
            logger.warning("stopped consuming from %s: %s %s", self.queue, failure.code, failure.text)
        self._current = None
        self.counted = True
        self._arrivals.notify()
