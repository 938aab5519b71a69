"""One AMQP connection that comes back by itself, over all hosts, for ever. Lives in the I/O thread."""

import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import SystemRandom
from typing import Any, Protocol

from connectorlib.amqp import reply_codes
from connectorlib.amqp.connection_parameters import connection_parameters
from connectorlib.amqp.frame_reader import PikaConnection
from connectorlib.amqp.io_thread import IOThread
from connectorlib.amqp.reconnect import ReconnectSchedule
from connectorlib.errors import Failure
from connectorlib.shared_settings import BrokerSettings

logger = logging.getLogger(__name__)

#: One attempt at one host in all. pika limits TCP and the handshake, but not the name look-up.
ATTEMPT_SECONDS = 25.0
#: How long a stop lets a handshake end by itself: pika, closed in the middle of one, fails over an assertion.
HANDSHAKE_SECONDS = 1.0


class ConnectionListener(Protocol):
    """Something that lives on a link; called in the I/O thread."""

    def connection_up(self, connection: Any) -> None: ...
    def connection_down(self, failure: Failure) -> None: ...


class Connection:
    """Its public attributes, all but `on_unblocked`, may be read from any thread; the rest is for the I/O thread."""

    def __init__(
        self,
        io: IOThread,
        settings: BrokerSettings,
        *,
        name: str,
        context: ssl.SSLContext | None,
        publishing: bool,
        on_change: Callable[[], None],
    ) -> None:
        self._io = io
        self._settings = settings
        self._name = name
        self._context = context
        self._publishing = publishing
        self._on_change = on_change
        self._schedule = ReconnectSchedule(settings.hosts, SystemRandom())
        self._attempt = 0
        self._address = ("", 0)
        self._pika: Any = None
        self._timer: object = None
        self._stopping = False
        #: Whether the last attempt found no broker at all, rather than one that hung up.
        self._unreached = False
        self._listeners: list[ConnectionListener] = []
        self.failure: Failure | None = None
        self.connected_since: float | None = None
        #: How often it was opened.
        self.opened = 0
        #: time.monotonic() of the next attempt; None while there is a connection or an attempt.
        self.next_try: float | None = None
        self.blocked = False
        self.on_unblocked: list[Callable[[], None]] = []

    @property
    def pika(self) -> Any:
        """The open connection, or None."""
        return self._pika if self.connected_since is not None else None

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
        try:
            self._pika = PikaConnection(
                connection_parameters(
                    self._settings,
                    self._address,
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
        """Try now instead of at the end of the back-off."""
        if self._pika is None and not self._stopping:
            self._schedule.reset()
            self.connect()

    def hurry(self) -> None:
        """The broker answers elsewhere: try now, if all that was wrong is that it did not answer here."""
        if self._pika is None and self._unreached and not self._stopping:
            self.connect()

    def reset(self) -> None:
        """Throw the connection away, whatever state it is in, and begin anew."""
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
        """Leave an attempt that does not end."""
        handshake = getattr(getattr(self._pika, "_transport", None), "_sock", None)
        if handshake is not None:
            # As if the broker had hung up. Closed in the middle of a handshake, pika fails over an assertion and leaves
            # the socket open; it offers no other way out.
            with contextlib.suppress(OSError):
                handshake.shutdown(socket.SHUT_RDWR)
                return
        self._attempt += 1
        self._drop()
        self._on_change()

    @property
    def is_stopped(self) -> bool:
        """Closed, or not to be closed in order: in an alarm the broker does not read that we wish to."""
        return self._stopping and (self._pika is None or self.blocked)

    def _opened(self, attempt: int, connection: Any) -> None:
        if attempt != self._attempt or self._stopping:
            connection.close()
            return
        self._io.cancel(self._timer)
        self.failure = None
        self.blocked = False
        self.connected_since = time.monotonic()
        self.opened += 1
        connection.add_on_connection_blocked_callback(partial(self._set_blocked, True))
        connection.add_on_connection_unblocked_callback(partial(self._set_blocked, False))
        logger.info("connected to %s:%d as %s", *self._address, self._name)
        for listener in list(self._listeners):
            self._io.guard(partial(listener.connection_up, connection))
        self._on_change()

    def _ended(self, attempt: int, _connection: Any, error: BaseException | None = None) -> None:
        """An attempt failed, or an open connection was lost."""
        if attempt != self._attempt:
            return  # an attempt that was given up before
        self._attempt += 1
        lasted = time.monotonic() - self.connected_since if self.connected_since is not None else 0.0
        self._unreached = self.connected_since is None
        # Whoever waits for a connection tells why there is none: a command that ends, or a flow that pauses.
        level = logging.DEBUG if self.connected_since is None else logging.WARNING
        self._drop()
        if not self._stopping:
            failure = reply_codes.from_error(error, tls=self._context is not None)
            self.failure = replace(failure, text=f"{self._address[0]}:{self._address[1]}: {failure.text}")
            delay = self._schedule.delay_after(failure.kind, lasted)
            self.next_try = time.monotonic() + delay
            self._timer = self._io.call_later(delay, self.connect)
            logger.log(level, "no connection as %s: %s; next try in %.1f s", self._name, self.failure, delay)
        self._tell_down(self.failure or reply_codes.from_error(error))

    def _drop(self) -> None:
        """Let go of the connection object; close it if it is still open, best effort."""
        self._io.cancel(self._timer)
        connection, self._pika = self._pika, None
        self.connected_since = None
        self.blocked = False
        if connection is not None and not (connection.is_closing or connection.is_closed):
            try:
                connection.close()
            except Exception:  # it is in an unknown state and not ours any more
                logger.debug("closing a dropped connection failed", exc_info=True)

    def _tell_down(self, failure: Failure) -> None:
        for listener in list(self._listeners):
            try:
                listener.connection_down(failure)
            except Exception:  # resetting the link from here would recurse; the others must hear of it too
                logger.exception("error while a lost connection was told")
        self._on_change()

    def _out_of_time(self, attempt: int) -> None:
        self._ended(attempt, None, TimeoutError())

    def _set_blocked(self, blocked: bool, _connection: Any, method: Any) -> None:
        self.blocked = blocked
        if blocked:
            logger.warning("the broker takes no messages from %s: %s", self._name, method.method.reason)
        else:
            logger.info("the broker takes messages from %s again", self._name)
            for action in self.on_unblocked:
                self._io.guard(action)
        self._on_change()
