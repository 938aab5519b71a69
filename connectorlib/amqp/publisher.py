"""Publishes mandatory, persistent messages with pipelined confirms; a ticket per batch collects the results.

Rule: a message is done when the broker confirms it. What was not confirmed when the connection was lost is published
again with the same message id, so a message may arrive twice and is never lost.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from pika import exceptions

from connectorlib.amqp import reply_codes
from connectorlib.amqp.confirm_channel import ConfirmChannel
from connectorlib.amqp.connection import Connection, ConnectionListener
from connectorlib.amqp.frame_writer import encode_message
from connectorlib.amqp.io_thread import STOPPED, IOThread
from connectorlib.amqp.unconfirmed import assign_blame
from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import Outgoing

logger = logging.getLogger(__name__)

WINDOW = 4000
#: Limit of the unconfirmed bodies, which stay in memory, and until they are sent a second time in pika.
WINDOW_BYTES = 32 * 1024 * 1024
#: How many to publish before the loop may send them and read confirms.
SLICE = 200
#: And how many bytes to write at once.
WRITE_BYTES = 1024 * 1024
REOPEN_SECONDS = 1.0
#: Reply codes with which one malformed message closes the whole connection.
_POISON = {"501", "502", "503", "505", "506"}


class Ticket:
    """The results of one batch: None for each confirmed message, else why it failed."""

    def __init__(self, messages: Sequence[Outgoing], on_done: Callable[["Ticket"], None] | None) -> None:
        self.messages = messages
        self.results: list[Failure | None] = [None] * len(messages)
        self._on_done = on_done
        self._left = len(messages)
        self._next = 0
        self._done = threading.Event()
        self._abandoned = False

    @property
    def done(self) -> bool:
        return self._done.is_set()

    def wait(self, timeout: float, stop: threading.Event | None = None) -> bool:
        """Return True once every message is confirmed or has failed; False at the timeout or when `stop` is set."""
        if stop is None:
            return self._done.wait(timeout)
        deadline = time.monotonic() + timeout
        while not self._done.wait(min(0.05, max(deadline - time.monotonic(), 0.0))):
            if stop.is_set() or time.monotonic() >= deadline:
                return self.done
        return True

    def abandon(self) -> None:
        """Do not publish the rest of the batch; what is unconfirmed may still arrive."""
        self._abandoned = True

    # In the I/O thread

    def next_publish(self) -> "Publish | None":
        """Return the next message to publish, or None if there is none left."""
        index = self._next
        if self._abandoned or index >= len(self.messages):
            return None
        self._next = index + 1
        return Publish(self, index, self.messages[index])

    def settle(self, index: int, failure: Failure | None) -> None:
        if failure is not None:
            self.results[index] = failure
        self._left -= 1
        if self._left == 0:
            self.finish()

    def fail_rest(self, failure: Failure) -> None:
        """Fail what has not been published."""
        while (publish := self.next_publish()) is not None:
            self.settle(publish.index, failure)

    def finish(self) -> None:
        self._done.set()
        if self._on_done is not None:
            try:
                self._on_done(self)
            except Exception:  # foreign code in a callback of pika's, where an exception would cost the connection
                logger.exception("error in what was to be done after publishing")


@dataclass(slots=True, eq=False)
class Publish:
    """One message of a ticket."""

    ticket: Ticket
    index: int
    message: Outgoing

    def settle(self, failure: Failure | None) -> None:
        self.ticket.settle(self.index, failure)


class Publisher(ConnectionListener):
    """`submit` may be called from any thread, connected or not; everything else happens in the I/O thread."""

    def __init__(self, io: IOThread, connection: Connection, *, window: int = WINDOW) -> None:
        self._io = io
        self._connection = connection
        self._window = window
        self._confirm_channel: ConfirmChannel[Publish] = ConfirmChannel(
            on_settled=Publish.settle, on_ready=self._feed_unless_feeding, on_lost=self._closed
        )
        self._tickets: deque[Ticket] = deque()
        self._again: deque[Publish] = deque()
        self._suspects: deque[Publish] = deque()
        self._feeding = False
        self._stopped = False
        connection.on_unblocked.append(self._feed)
        io.post(partial(connection.listen, self))

    def submit(self, messages: Sequence[Outgoing], on_done: Callable[[Ticket], None] | None = None) -> Ticket:
        """Publish these in order. `on_done` is called in the I/O thread and must not block."""
        if self._stopped or not self._io.is_running():
            raise Failed(STOPPED)
        ticket = Ticket(messages, on_done)
        self._io.post(partial(self._accept, ticket))
        return ticket

    @property
    def unconfirmed(self) -> int:
        """How many messages are not confirmed; may be read from any thread."""
        return len(self._confirm_channel.unconfirmed) + len(self._again) + len(self._suspects)

    # In the I/O thread

    def connection_up(self, connection: Any) -> None:
        self._confirm_channel.open(connection)

    def connection_down(self, failure: Failure) -> None:
        self._lose(self._confirm_channel.leave(), failure, blame=failure.code in _POISON)

    def stop(self) -> None:
        """Publish nothing more and settle every open ticket."""
        self._stopped = True
        for publish in (*self._confirm_channel.leave(), *self._suspects, *self._again):
            publish.settle(STOPPED)
        self._again, self._suspects = deque(), deque()
        while self._tickets:
            self._tickets.popleft().fail_rest(STOPPED)

    def _accept(self, ticket: Ticket) -> None:
        if not ticket.messages:
            ticket.finish()
        elif self._stopped:
            ticket.fail_rest(STOPPED)
        else:
            self._tickets.append(ticket)
            self._feed()

    def _feed(self) -> None:
        """Publish until the window is full, one slice at a time."""
        channel = self._confirm_channel.usable()
        if channel is None:
            return
        frames, more = self._slice(channel)
        if frames:
            channel.connection.write(frames)
        if more and not self._feeding and self._room() > 0:
            self._feeding = True
            self._io.post(self._feed_on)

    def _slice(self, channel: Any) -> tuple[bytes, bool]:
        """Return the frames of the next few messages, and whether there may be more."""
        unconfirmed = self._confirm_channel.unconfirmed
        frames: list[bytes] = []
        size = 0
        for _ in range(self._room()):
            publish = self._next()
            if publish is None:
                return b"".join(frames), False
            encoded = self._encoded(channel, publish)
            if encoded is not None:
                unconfirmed.add(publish)
                frames.append(encoded)
                size += len(encoded)
            if size >= WRITE_BYTES or unconfirmed.bytes >= WINDOW_BYTES:
                break
        return b"".join(frames), True

    def _feed_on(self) -> None:
        self._feeding = False
        self._feed()

    def _feed_unless_feeding(self) -> None:
        if not self._feeding:
            self._feed()

    def _room(self) -> int:
        """Return how many messages may be published now."""
        unconfirmed = self._confirm_channel.unconfirmed
        count = len(unconfirmed)
        if self._connection.blocked:
            return 0
        if self._suspects:
            return 0 if count else 1
        return min(SLICE, self._window - count) if unconfirmed.bytes < WINDOW_BYTES else 0

    def _next(self) -> Publish | None:
        if self._suspects:
            return self._suspects.popleft()
        if self._again:
            return self._again.popleft()
        while self._tickets:
            publish = self._tickets[0].next_publish()
            if publish is not None:
                return publish
            self._tickets.popleft()
        return None

    def _encoded(self, channel: Any, publish: Publish) -> bytes | None:
        try:
            return encode_message(channel.channel_number, publish.message, channel.connection.params.frame_max)
        except Exception as error:  # pika raises half a dozen types for what it cannot encode; nothing was sent
            publish.settle(Failure(Kind.REJECT, "bad-property", reply_codes.describe(error), "publish"))
            return None

    def _closed(self, unconfirmed: list[Publish], reason: Exception) -> None:
        """Handle a close by the broker, or of the whole connection (`connection_down` comes after it)."""
        failure = reply_codes.from_error(reason, place="publish")
        only_channel = isinstance(reason, exceptions.ChannelClosedByBroker)
        self._lose(unconfirmed, failure, blame=only_channel or failure.code in _POISON)
        if only_channel and not self._stopped:
            # With nothing unconfirmed no message has caused it, and it would happen again at once.
            self._io.call_later(0.0 if unconfirmed else REOPEN_SECONDS, self._reopen)

    def _reopen(self) -> None:
        connection = self._connection.pika
        if connection is not None and self._confirm_channel.is_missing:
            self._confirm_channel.open(connection)

    def _lose(self, unconfirmed: list[Publish], failure: Failure, *, blame: bool) -> None:
        """Fail the messages that caused the loss, and publish the others again."""
        if not blame:
            (self._suspects or self._again).extendleft(reversed(unconfirmed))
        elif unconfirmed:
            found = assign_blame(unconfirmed, failure)
            logger.warning("publishing channel closed: %s (%d failed)", found.failure, len(found.culprits))
            self._suspects.extendleft(reversed(found.suspects))
            self._again.extendleft(reversed(found.others))
            for publish in found.culprits:
                publish.settle(found.failure)
