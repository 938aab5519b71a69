"""What connections log in with. Lives in the I/O thread, which no request for a token may hold up."""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from random import SystemRandom
from typing import Any

import pika
from pika.credentials import ExternalCredentials

from connectorlib.amqp.connection import ConnectionListener
from connectorlib.amqp.io_thread import IOThread
from connectorlib.amqp.reconnect import delay
from connectorlib.amqp.token_source import PLACE, Token, TokenSource
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.shared_settings import BrokerSettings, TokenSettings

logger = logging.getLogger(__name__)

Use = Callable[[Any], None]
Fail = Callable[[Failure], None]


class Credentials(ConnectionListener):
    """User and password, or a client certificate."""

    def __init__(self, settings: BrokerSettings) -> None:
        plain = pika.PlainCredentials(settings.username, settings.password)
        self._credentials = ExternalCredentials() if settings.auth == "external" else plain

    def obtain(self, use: Use, fail: Fail) -> None:
        """Call `use` with pika's credentials, or `fail` with why there are none; now, or later in the I/O thread."""
        use(self._credentials)

    def retry_now(self) -> None:
        """Ask again now, if the last attempt failed, instead of at the end of the back-off."""


class TokenCredentials(Credentials):
    """A token instead of a password, the same for all connections. It is renewed while they are open, and they are
    given the new one, so that none is closed because its token is too old."""

    def __init__(self, io: IOThread, settings: BrokerSettings, token: TokenSettings) -> None:
        super().__init__(settings)
        self._io = io
        self._username = settings.username
        self._source = TokenSource(token)
        self._open: list[Any] = []
        self._waiting: list[tuple[Use, Fail]] = []
        self._asking = False
        self._failures = 0
        self._timer: object = None
        self._random = SystemRandom()

    def obtain(self, use: Use, fail: Fail) -> None:
        token = self._source.token
        if token is not None and time.monotonic() < token.end:
            use(self._plain(token))
        else:
            self._waiting.append((use, fail))
            self._ask()

    def retry_now(self) -> None:
        if self._failures:
            self._ask()

    def connection_up(self, connection: Any) -> None:
        self._open.append(connection)
        self._update(connection)  # it may have been renewed meanwhile

    def connection_down(self, failure: Failure) -> None:
        self._open = [each for each in self._open if each.is_open]
        if failure.kind is Kind.REFUSED:
            self._source.token = None

    def _ask(self) -> None:
        """Have a token requested, one request at a time."""
        if not self._asking:
            self._asking = True
            threading.Thread(target=self._request, name="token", daemon=True).start()

    def _request(self) -> None:
        """Request a token, in a thread of its own."""
        result: Token | Failure
        try:
            result = self._source.get()
        except Failed as failed:
            result = failed.failure
        except Exception:  # a bug; the connections must go on trying
            logger.exception("bug", extra={"event": "bug"})
            result = Failure(Kind.UNKNOWN, "bug", "the log has a traceback", PLACE)
        self._io.post(partial(self._answered, result))

    def _answered(self, result: Token | Failure) -> None:
        self._asking = False
        waiting, self._waiting = self._waiting, []
        if isinstance(result, Failure):
            self._failures += 1
            self._try_later(result)
            for _, fail in waiting:
                fail(result)
            return
        self._failures = 0
        self._ask_after(result.renewal - time.monotonic())
        for use, _ in waiting:
            use(self._plain(result))
        for connection in self._open:
            self._update(connection)

    def _try_later(self, failure: Failure) -> None:
        """Try again by itself while connections are open; whoever connects asks on a schedule of its own."""
        if self._open:
            wait = max(delay(failure.kind, self._failures, self._random.random()), failure.retry_after)
            logger.warning("the broker's token is not renewed: %s; next try in %.1f s", failure, wait)
            self._ask_after(wait)

    def _ask_after(self, seconds: float) -> None:
        self._io.cancel(self._timer)
        self._timer = self._io.call_later(seconds, self._ask) if seconds < threading.TIMEOUT_MAX else None

    def _update(self, connection: Any) -> None:
        """Give a connection the token, unless it has logged in with that."""
        token, own = self._source.token, connection.params.credentials
        if token is not None and connection.is_open and own.password != token.secret:
            own.password = token.secret
            connection.update_secret(token.secret, "renewed")

    def _plain(self, token: Token) -> pika.PlainCredentials:
        return pika.PlainCredentials(self._username, token.secret)


def credentials_of(settings: BrokerSettings, io: IOThread) -> Credentials:
    """Return what the connections of a broker log in with."""
    return TokenCredentials(io, settings, settings.token) if settings.token else Credentials(settings)
