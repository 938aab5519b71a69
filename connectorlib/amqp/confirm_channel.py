"""A channel with publisher confirms, what is unconfirmed on it, and its replacement when it can no longer be used.

Rule: a quorum queue tells each channel when it is full and when it is no longer; but not the latter if its limit was
lifted, and the channel would go on refusing without end (seen with RabbitMQ 3.10). So a channel that has refused
something is replaced as soon as nothing is unconfirmed on it.
"""

import logging
from collections.abc import Callable
from typing import Any, Generic

from pika import spec

from connectorlib.amqp import reply_codes
from connectorlib.amqp.requeue import close_without_cancel
from connectorlib.amqp.unconfirmed import E, Identity, Unconfirmed
from connectorlib.errors import Failure, Kind

logger = logging.getLogger(__name__)

_NACKED = Failure(
    Kind.UNAVAILABLE, "nacked", "the broker did not take the message: a queue is full or failing", "publish"
)


class ConfirmChannel(Generic[E]):
    """Lives in the I/O thread. Whoever publishes adds to `unconfirmed` what it writes, in the order of writing."""

    def __init__(
        self,
        *,
        on_settled: Callable[[E, Failure | None], None],
        on_ready: Callable[[], None],
        on_lost: Callable[[list[E], Exception], None],
    ) -> None:
        """`on_settled` gets the result of each entry, `on_ready` is called when there may be room for more, and
        `on_lost` gets what was unconfirmed on a channel that is closed, and why it is."""
        self._on_settled = on_settled
        self._on_ready = on_ready
        self._on_lost = on_lost
        #: The newest channel; `_channel` is the same once it confirms.
        self._newest: Any = None
        self._channel: Any = None
        self._refused = False
        self.unconfirmed: Unconfirmed[E] = Unconfirmed()

    @property
    def is_missing(self) -> bool:
        """Whether there is no channel, and none that is being opened."""
        return self._newest is None

    def open(self, connection: Any) -> None:
        self._newest = connection.channel(on_open_callback=self._opened)
        self._newest.add_on_close_callback(self._closed)

    def usable(self) -> Any:
        """Return the channel to publish on, or None if there is none yet; `on_ready` is called when there is."""
        channel = self._channel
        if channel is None or not channel.is_open:
            return None
        if not self._refused:
            return channel
        if not len(self.unconfirmed):
            self.leave()
            self.open(channel.connection)
            close_without_cancel(channel)
        return None

    def leave(self) -> list[E]:
        """Forget the channel; return what was unconfirmed on it."""
        self._newest = self._channel = None
        self._refused = False
        entries, self.unconfirmed = self.unconfirmed.entries(), Unconfirmed()
        return entries

    def close(self) -> None:
        channel = self._newest
        self.leave()
        if channel is not None:
            close_without_cancel(channel)

    def _opened(self, channel: Any) -> None:
        if channel is not self._newest:  # replaced before it was open
            channel.close()
            return
        channel.add_on_return_callback(self._returned)
        channel.confirm_delivery(self._confirmed, callback=lambda _frame: self._use(channel))

    def _use(self, channel: Any) -> None:
        if channel is self._newest:
            self._channel = channel
            self._on_ready()

    def _confirmed(self, frame: Any) -> None:
        method = frame.method
        nacked = None if isinstance(method, spec.Basic.Ack) else _NACKED
        self._refused = self._refused or nacked is not None
        for entry, returned in self.unconfirmed.confirm(method.delivery_tag, method.multiple):
            self._on_settled(entry, returned or nacked)
        self._on_ready()

    def _returned(self, _channel: Any, method: Any, properties: Any, _body: bytes) -> None:
        where = f"exchange {method.exchange!r}, routing key {method.routing_key!r}"
        reply = reply_codes.from_reply(
            method.reply_code, f"{method.reply_code} {method.reply_text}: {where}", place="publish"
        )
        failure = Failure(reply.kind, "unroutable", reply.text, reply.place)
        identity = Identity(properties.message_id, method.exchange, method.routing_key)
        if not self.unconfirmed.mark_returned(identity, failure):
            logger.error("a message came back that is not under way: %s", where)

    def _closed(self, channel: Any, reason: Exception) -> None:
        """Handle a close by the broker, or of the whole connection."""
        if channel is self._newest:
            self._on_lost(self.leave(), reason)
