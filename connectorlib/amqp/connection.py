"""One AMQP connection that reconnects by itself, over all hosts, without end. Lives in the I/O thread."""

import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import SystemRandom
from typing import Any

from connectorlib.amqp import reply_codes
from connectorlib.amqp.connection_parameters import connection_parameters
from connectorlib.amqp.frame_reader import PikaConnection
from connectorlib.amqp.io_thread import IOThread
from connectorlib.amqp.reconnect import ReconnectSchedule
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.shared_settings import BrokerSettings

logger = logging.getLogger(__name__)

#: Limit of one attempt at one host. pika limits TCP and the handshake, but not the name look-up.
ATTEMPT_SECONDS = 25.0
#: How long a stop lets a handshake end by itself: pika, closed in the middle of one, fails with an assertion.
HANDSHAKE_SECONDS = 1.0
BROKER = "broker"

#: Calls the first with pika's credentials, or the second with why there are none; now or later.
Obtain = Callable[[Callable[[Any], None], Callable[[Failure], None]], None]


class ConnectionListener:
    """Depends on a connection; called in the I/O thread. Nothing comes back by itself with a new connection."""

    def connection_up(self, connection: Any) -> None:
        """Handle a connection that has opened."""

    def connection_down(self, failure: Failure) -> None:
        """Handle a connection that is lost, or an attempt that has failed."""


class Connection:
    """Public attributes, except `on_unblocked`, may be read from any thread; the rest is for the I/O thread."""

    def __init__(
        self,
        io: IOThread,
        settings: BrokerSettings,
        *,
        name: str,
        context: ssl.SSLContext | None,
        obtain: Obtain,
        publishing: bool,
        on_change: Callable[[], None],
    ) -> None:
        self._io = io
        self._settings = settings
        self._name = name
        self._context = context
        self._obtain = obtain
        self._publishing = publishing
        self._on_change = on_change
        self._schedule = ReconnectSchedule(settings.hosts, SystemRandom())
        self._attempt = 0
        self._address = ("", 0)
        self._pika: Any = None
        self._timer: object = None
        self._stopping = False
        #: Whether the last attempt failed, rather than an open connection.
        self._unreached = False
        self._listeners: list[ConnectionListener] = []
        self.failure: Failure | None = None
        self.connected_since: float | None = None
        #: How many times it was opened.
        self.opened = 0
        #: time.monotonic() of the next attempt; None while there is a connection or an attempt.
        self.next_try: float | None = None
        #: Why the broker blocks publishers: `low on disk`, `low on memory`; "" while it does.
        self.alarm = ""
        self.on_unblocked: list[Callable[[], None]] = []

    @property
    def blocked(self) -> bool:
        """Whether the broker has said that it takes no messages."""
        return bool(self.alarm)

    @property
    def pika(self) -> Any:
        """pika's open connection, or None."""
        return self._pika if self.connected_since is not None else None

    @property
    def received(self) -> int:
        """How many bytes have come through the present connection."""
        return self._pika.bytes_received if self._pika is not None else 0

    def require(self) -> Any:
        """Return pika's open connection; raise Failed if there is none."""
        if self.pika is None:
            text = "there is no connection to the broker"
            raise Failed(self.failure or Failure(Kind.UNAVAILABLE, "unreachable", text, BROKER))
        return self.pika

    def listen(self, listener: ConnectionListener) -> None:
        self._listeners.append(listener)
        if self.pika is not None:
            listener.connection_up(self.pika)

    def forget(self, listener: ConnectionListener) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)

    def connect(self) -> None:
        """Begin an attempt at the next host."""
        self._io.cancel(self._timer)
        self.next_try = None
        self._attempt += 1
        attempt = self._attempt
        self._address = self._schedule.next_host()
        self._timer = self._io.call_later(ATTEMPT_SECONDS, partial(self._out_of_time, attempt))
        self._obtain(partial(self._log_in, attempt), lambda failure: self._ended(attempt, None, Failed(failure)))

    def _log_in(self, attempt: int, credentials: Any) -> None:
        if attempt != self._attempt or self._stopping:
            return
        try:
            self._pika = PikaConnection(
                connection_parameters(
                    self._settings,
                    self._address,
                    credentials,
                    name=self._name,
                    context=self._context,
                    user_timeout=not self._publishing,
                ),
                on_open_callback=partial(self._opened, attempt),
                on_open_error_callback=partial(self._ended, attempt),
                on_close_callback=partial(self._ended, attempt),
                custom_ioloop=self._io.loop,
            )
        except Exception as error:  # whatever pika finds wrong with a setting, the retry loop must go on
            self._ended(attempt, None, error)

    def reconnect_now(self) -> None:
        """Try now instead of at the end of the back-off, and start the back-off again."""
        if self._pika is None and not self._stopping:
            self._schedule.reset()
            self.connect()

    def hurry(self) -> None:
        """Try now if all that was wrong is that the broker did not answer; it answers another connection."""
        if self._pika is None and self._unreached and not self._stopping:
            self.connect()

    def reset(self) -> None:
        """Drop the connection, whatever state it is in, and connect again."""
        if not self._stopping:
            self._ended(self._attempt, None, RuntimeError("connection reset after an internal error"))

    def stop(self) -> None:
        self._stopping = True
        self._io.cancel(self._timer)
        connection = self._pika
        if connection is not None and self.connected_since is None:
            self._timer = self._io.call_later(HANDSHAKE_SECONDS, self._abandon)
        elif connection is not None and not (connection.is_closing or connection.is_closed):
            connection.close()
        self._on_change()

    def _abandon(self) -> None:
        """Abandon an attempt that does not end."""
        handshake = getattr(getattr(self._pika, "_transport", None), "_sock", None)
        if handshake is not None:
            # As if the broker had hung up: closed in the middle of a handshake, pika fails with an assertion and leaves
            # the socket open; it offers no other way.
            with contextlib.suppress(OSError):
                handshake.shutdown(socket.SHUT_RDWR)
                return
        self._attempt += 1
        self._drop()
        self._on_change()

    @property
    def is_stopped(self) -> bool:
        """Whether it is closed, or cannot be closed properly: in an alarm the broker does not read the request."""
        return self._stopping and (self._pika is None or self.blocked)

    def _opened(self, attempt: int, connection: Any) -> None:
        if attempt != self._attempt or self._stopping:
            connection.close()
            return
        self._io.cancel(self._timer)
        self.failure = None
        self.alarm = ""
        self.connected_since = time.monotonic()
        self.opened += 1
        connection.add_on_connection_blocked_callback(partial(self._set_blocked, True))
        connection.add_on_connection_unblocked_callback(partial(self._set_blocked, False))
        logger.info("connected to %s:%d as %s", *self._address, self._name)
        for listener in list(self._listeners):
            self._io.guard(partial(listener.connection_up, connection))
        self._on_change()

    def _ended(self, attempt: int, _connection: Any, error: BaseException | None = None) -> None:
        """Handle a failed attempt, or the loss of an open connection."""
        if attempt != self._attempt:
            return  # an attempt that was abandoned before
        self._attempt += 1
        lasted = time.monotonic() - self.connected_since if self.connected_since is not None else 0.0
        self._unreached = self.connected_since is None
        # A failed attempt is reported by whoever waits for it: a command that ends, or a flow that pauses.
        level = logging.DEBUG if self.connected_since is None else logging.WARNING
        self._drop()
        if not self._stopping:
            failure = reply_codes.from_error(error, place=BROKER, tls=self._context is not None)
            if failure.place == BROKER:
                failure = replace(failure, text=f"{self._address[0]}:{self._address[1]}: {failure.text}")
            self.failure = failure
            delay = max(self._schedule.delay_after(failure.kind, lasted), failure.retry_after)
            self.next_try = time.monotonic() + delay
            self._timer = self._io.call_later(delay, self.connect)
            logger.log(level, "no connection as %s: %s; next try in %.1f s", self._name, self.failure, delay)
        self._notify_down(self.failure or reply_codes.from_error(error))

    def _drop(self) -> None:
        """Forget the connection object; close it if it is still open, on a best-effort basis."""
        self._io.cancel(self._timer)
        connection, self._pika = self._pika, None
        self.connected_since = None
        self.alarm = ""
        if connection is not None and not (connection.is_closing or connection.is_closed):
            try:
                connection.close()
            except Exception:  # its state is unknown
                logger.debug("closing a dropped connection failed", exc_info=True)

    def _notify_down(self, failure: Failure) -> None:
        for listener in list(self._listeners):
            try:
                listener.connection_down(failure)
            except Exception:  # a reset would recurse; the other listeners have to be notified too
                logger.exception("error while a lost connection was told")
        self._on_change()

    def _out_of_time(self, attempt: int) -> None:
        self._ended(attempt, None, TimeoutError())

    def _set_blocked(self, blocked: bool, _connection: Any, method: Any) -> None:
        self.alarm = (method.method.reason or "short of something") if blocked else ""
        if blocked:
            logger.warning("the broker blocks publishers from %s: %s", self._name, self.alarm)
        else:
            logger.info("the broker accepts messages from %s again", self._name)
            for action in self.on_unblocked:
                self._io.guard(action)
        self._on_change()
