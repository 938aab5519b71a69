"""HTTP with time limits that hold. The only module that imports requests; its exceptions end here.

Two things can go wrong with a request, and they are told apart: `NotSent`, nothing reached the server, or `Lost`, it
may have done what was asked. requests limits the time between two bytes; here the whole exchange has a limit, after
which its socket is shut.
"""

import contextlib
import http.client
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from http.cookiejar import DefaultCookiePolicy
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

# At level debug it logs every address, and with it the query: e-mail addresses of contacts.
logging.getLogger("urllib3").setLevel(logging.ERROR)

CONNECT_TIMEOUT = 10.0
USER_AGENT = "sfconnector"

#: Finds out that the other machine is gone while an answer is waited for; Linux counts the same in seconds.
_KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *[
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ],
]
_NO_PROXY: dict[str, Any] = {"http": None, "https": None, "all": None}


#: The request cannot be written: what it is made of comes from the configuration.
NOT_SENT = "not-sent"


class NotSent(Exception):
    """Nothing was asked: no connection was made (`code` is `unreachable` or `tls`), or `NOT_SENT`."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Lost(Exception):
    """The request was sent, wholly or in part, and no whole answer came."""

    def __init__(self, text: str, *, timed_out: bool) -> None:
        super().__init__(text)
        self.text = text
        self.timed_out = timed_out


class HttpExchange:
    """One request and its answer."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.sent = False
        self.timed_out = False
        self._until = time.monotonic() + seconds
        self._socket: socket.socket | None = None

    def left(self) -> float:
        return max(0.001, self._until - time.monotonic())

    def start(self, connected: socket.socket | None) -> None:
        self._socket = connected
        self.sent = True

    def cut(self) -> None:
        """End the exchange from another thread: whoever reads or writes gets an error, or the end of the data."""
        self.timed_out = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Not the method of an SSLSocket, which would let the reader go on without TLS.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


_current: ContextVar[HttpExchange | None] = ContextVar("exchange", default=None)


class _Http(HTTPConnection):
    def request(self, *args: Any, **kwargs: Any) -> None:
        _start(self)
        super().request(*args, **kwargs)


class _Https(HTTPSConnection):
    def request(self, *args: Any, **kwargs: Any) -> None:
        _start(self)
        super().request(*args, **kwargs)


def _start(connection: HTTPConnection) -> None:
    """Connect before sending, which is how the two are told apart."""
    if connection.sock is None:
        connection.connect()
    if (exchange := _current.get()) is not None:
        if exchange.timed_out:  # connecting may take longer than its limit: a host has several addresses
            raise TimeoutError
        # Without this, sending a big body would have to be over within the time limit for connecting.
        connection.timeout = exchange.left()
        exchange.start(connection.sock)


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, socket_options=[*HTTPConnection.default_socket_options, *_KEEPALIVE])

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        ours: dict[Any, Any] = {HTTPConnection: _Http, HTTPSConnection: _Https}
        pool.ConnectionCls = ours.get(pool.ConnectionCls, pool.ConnectionCls)
        return pool


class Session(requests.Session):
    """The connections of one thread to Salesforce, kept open between requests.

    It does not follow redirects, which could carry a token to another host, nor read `.netrc`, whose entry would take
    the token's place, nor keep cookies. A loopback address is never reached through a proxy.
    """

    def __init__(self) -> None:
        super().__init__()
        self.auth = _keep
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.headers["User-Agent"] = USER_AGENT
        for scheme in ("https://", "http://"):
            self.mount(scheme, _Adapter())
        self._used = time.monotonic()
        #: The latest answer, and whether the latest request was sent at all.
        self.answer: requests.Response | None = None
        self.sent = False

    def freshen(self, idle: float) -> None:
        """Close the connections if none was used for that many seconds: the other side may have closed them too."""
        if time.monotonic() - self._used > idle:
            self.drop()

    def drop(self) -> None:
        """Close the connections; the next request makes a new one."""
        for adapter in self.adapters.values():
            adapter.close()

    def request(self, method: str, url: str, *, timeout: float, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        """Send a request and return its whole answer, both within `timeout` seconds. Raise NotSent or Lost."""
        self.answer = None
        if is_loopback(url):
            kwargs["proxies"] = _NO_PROXY
        exchange = HttpExchange(timeout)
        try:
            with _limited(exchange):
                limits = (min(CONNECT_TIMEOUT, timeout), timeout)
                answer = super().request(method, url, **kwargs, timeout=limits, allow_redirects=False)
        except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            raise _translated(error, exchange) from None  # the address, in the original's text, holds the query
        finally:
            self._used = time.monotonic()
            self.sent = exchange.sent
        if exchange.timed_out:  # an answer without a length seems whole when its connection is cut
            self.drop()
            raise _translated(TimeoutError(), exchange)
        # Or requests would guess it from all of the body, which takes seconds when that is large.
        answer.encoding = answer.encoding or "utf-8"
        self.answer = answer
        return answer


@contextlib.contextmanager
def _limited(exchange: HttpExchange) -> Iterator[None]:
    timer = threading.Timer(exchange.seconds, exchange.cut)
    timer.daemon = True
    timer.start()
    token = _current.set(exchange)
    try:
        yield
    finally:
        _current.reset(token)
        timer.cancel()


def is_loopback(url: str) -> bool:
    """Return whether the address is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(address: str | None) -> str:
    """Return the host of an address that somebody else gave, for a message; never the user or password in it."""
    try:
        return urlsplit(address or "").netloc.rpartition("@")[2] or "nowhere"
    except ValueError:
        return "nowhere"


def _keep(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


# -- what went wrong, in words


def malformed() -> NotSent:
    return NotSent(NOT_SENT, "the request cannot be written: a header or an address is malformed")


def _translated(error: BaseException, exchange: HttpExchange) -> NotSent | Lost:
    causes = list(_unfold(error))
    timeouts = (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)
    # A connection that is refused is a kind of timeout to urllib3.
    told = [cause for cause in causes if not isinstance(cause, urllib3.exceptions.NewConnectionError)]
    timed_out = exchange.timed_out or any(isinstance(cause, timeouts) for cause in told)
    if exchange.sent:
        if timed_out:
            return Lost(f"no whole answer within {exchange.seconds:.3g} s", timed_out=True)
        return Lost(f"the connection was lost before the whole answer came ({_words(causes)})", timed_out=False)
    if isinstance(error, ValueError):  # so requests says that a header or an address cannot be
        return malformed()
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return NotSent("tls", f"certificate not accepted: {cause.verify_message}")
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return NotSent("tls", f"no TLS connection: {cause.reason or _words([cause])}")
        if isinstance(cause, socket.gaierror):
            return NotSent("unreachable", f"host name unknown ({cause.strerror})")
    if timed_out:
        return NotSent("unreachable", f"no connection within {min(CONNECT_TIMEOUT, exchange.seconds):.3g} s")
    return NotSent("unreachable", _words(causes))


def _unfold(error: BaseException | None) -> Iterator[BaseException]:
    """Errors of requests and urllib3 hold each other in arguments, `reason` and `__cause__`; the last tells most."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop(0)
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        inner = (*each.args, getattr(each, "reason", None), each.__cause__, each.__context__)
        waiting += [cause for cause in inner if isinstance(cause, BaseException)]


def _words(causes: list[BaseException]) -> str:
    for cause in reversed(causes):
        if isinstance(cause, http.client.RemoteDisconnected):
            return "the server closed it"
        if isinstance(cause, http.client.IncompleteRead | urllib3.exceptions.IncompleteRead):
            return "the answer is cut short"
        if isinstance(cause, OSError) and cause.strerror:
            return str(cause.strerror).lower()
    # The type only: the text may hold the address, and with it the query.
    return type(causes[-1]).__name__ if causes else "connection lost"
