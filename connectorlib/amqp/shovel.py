"""Publishes what a browser holds, and acknowledges each message once the broker has confirmed the new one.

Rule: publish, confirm, ack, all on the connection that holds the message, which the broker reads in order. So when the
process is killed, at most `window` messages are in doubt: they are in both places, and none is in neither.
An AMQP transaction of publish and ack would leave none in doubt and is four times as fast, but what it publishes to a
full or missing queue is lost, and the acks hold all the same (seen with RabbitMQ 3.10).
"""

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from connectorlib.amqp import reply_codes
from connectorlib.amqp.confirm_channel import ConfirmChannel
from connectorlib.amqp.frame_writer import encode_properties
from connectorlib.amqp.io_thread import IOThread
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import Delivery, Outgoing


class Moved(NamedTuple):
    """The result for one message: without a failure it has been moved, otherwise it is still held."""

    delivery: Delivery
    #: What was passed to `send` with it.
    mark: Any
    failure: Failure | None


class _Move(NamedTuple):
    delivery: Delivery
    message: Outgoing
    mark: Any
    #: How many acks were sent before it: its confirm proves that they have arrived.
    acks: int


class Shovel:
    """For the worker of a browser: call `room` before each `send`, and `finish` at the end."""

    def __init__(
        self, io: IOThread, connection: Callable[[], Any], ack: Callable[[Delivery], None], window: int
    ) -> None:
        """`connection` returns the one on which everything is held, or raises Failed if it no longer is; it and `ack`
        are called in the I/O thread. `window` is how many messages may be in doubt."""
        self._io = io
        self._held_connection = connection
        self._ack = ack
        self._window = window
        self._changed = threading.Condition()
        self._confirm_channel: ConfirmChannel[_Move] = ConfirmChannel(
            on_settled=self._confirmed, on_ready=self._publish, on_lost=lambda _moves, reason: self._closed(reason)
        )
        #: Sent, and not published yet.
        self._waiting: deque[tuple[Delivery, Outgoing, Any]] = deque()
        #: Sent, and neither confirmed nor refused.
        self._open: dict[tuple[int, int], Delivery] = {}
        #: Acked, by number, and not known to be gone from the queue.
        self._acked: deque[tuple[int, Delivery]] = deque()
        self._acks = 0
        self._settled: list[Moved] = []
        self._failure: Failure | None = None

    # For the worker

    def room(self, timeout: float) -> list[Moved] | None:
        """Wait until one more may be sent and return what is settled by then; None if that takes too long. Raise Failed
        if the channel is lost."""
        return self._wait(self._window - 1, timeout)

    def finish(self, timeout: float) -> list[Moved] | None:
        """Wait until everything is settled and return it, like `room`."""
        return self._wait(0, timeout)

    def send(self, delivery: Delivery, message: Outgoing, mark: Any = None) -> None:
        """Publish the message, and acknowledge the delivery once it is confirmed. To be called after `room`, and after
        the browser's `end_window`."""
        with self._changed:
            self._open[delivery.identity] = delivery
        self._io.post(partial(self._accept, delivery, message, mark))

    @property
    def unsettled(self) -> int:
        """How many were sent and not returned yet by `room` or `finish`."""
        with self._changed:
            return len(self._open) + len(self._settled)

    @property
    def in_doubt(self) -> list[Delivery]:
        """What was sent and neither confirmed nor refused. Once the channel is lost, also what was confirmed and whose
        ack may not have arrived: at most `window` of them all are back in the queue and also at their new place."""
        with self._changed:
            doubtful = list(self._open.values())
            return [delivery for _, delivery in self._acked] + doubtful if self._failure is not None else doubtful

    def _wait(self, most: int, timeout: float) -> list[Moved] | None:
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._open) <= most or self._failure is not None, timeout):
                return None
            settled, self._settled = self._settled, []
            if self._failure is not None and not settled:
                raise Failed(self._failure)
            return settled

    # In the I/O thread

    def _accept(self, delivery: Delivery, message: Outgoing, mark: Any) -> None:
        self._waiting.append((delivery, message, mark))
        self._publish()

    def _publish(self) -> None:
        """Publish what waits, as far as there is a channel for it."""
        while self._waiting:
            try:
                connection = self._held_connection()
                if self._failure is not None:
                    raise Failed(self._failure)
            except Failed as error:  # nothing was sent; what was held is back in the queue, or will be soon
                self._forget_waiting()
                self._lose(error.failure)
                return
            if self._confirm_channel.is_missing:
                self._confirm_channel.open(connection)
            channel = self._confirm_channel.usable()
            if channel is None:
                return
            delivery, message, mark = self._waiting.popleft()
            move = _Move(delivery, message, mark, self._acks)
            try:
                properties = encode_properties(message)
                channel.basic_publish(message.exchange, message.routing_key, message.body, properties, mandatory=True)
            except Exception as error:  # pika raises half a dozen types for what it cannot encode; nothing was sent
                self._settle(move, Failure(Kind.REJECT, "bad-property", reply_codes.describe(error), "publish"))
            else:
                self._confirm_channel.unconfirmed.add(move)

    def _confirmed(self, move: _Move, failure: Failure | None) -> None:
        try:
            if failure is None:
                self._ack(move.delivery)
        except Failed as error:  # everything that was held is back in the queue
            self._lose(error.failure)
        else:
            self._note_acks(move, acked=failure is None)
            self._settle(move, failure)

    def end(self, failure: Failure | None) -> None:
        """Publish nothing more and ignore further confirms; `failure` is why the messages are no longer held."""
        self._confirm_channel.close()
        self._forget_waiting()
        if failure is not None:
            self._lose(failure)

    def _note_acks(self, move: _Move, *, acked: bool) -> None:
        with self._changed:
            while self._acked and self._acked[0][0] <= move.acks:
                self._acked.popleft()
            if acked:
                self._acks += 1
                self._acked.append((self._acks, move.delivery))

    def _closed(self, reason: Exception) -> None:
        """Handle a close by the broker, or of the whole connection."""
        self._forget_waiting()
        self._lose(reply_codes.from_error(reason, place="publish"))

    def _forget_waiting(self) -> None:
        with self._changed:
            for delivery, _, _ in self._waiting:
                self._open.pop(delivery.identity)
        self._waiting.clear()

    def _lose(self, failure: Failure) -> None:
        with self._changed:
            self._failure = self._failure or failure
            self._changed.notify_all()

    def _settle(self, move: _Move, failure: Failure | None) -> None:
        with self._changed:
            self._open.pop(move.delivery.identity)
            self._settled.append(Moved(move.delivery, move.mark, failure))
            self._changed.notify_all()
