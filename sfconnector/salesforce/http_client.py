"""HTTP with strict time limits. The only module that imports requests; translates the exceptions.

A request fails either with `NotSent`, nothing reached the server, or with `Lost`, it may have been processed. requests
limits the time between two bytes; here the whole exchange has a limit, after which the socket is shut down.
"""

import contextlib
import http.client
import logging
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from connectorlib.config.hosts import is_loopback

# At level debug it logs every address, and with it the query: e-mail addresses of contacts.
logging.getLogger("urllib3").setLevel(logging.ERROR)

CONNECT_TIMEOUT = 10.0
USER_AGENT = "sfconnector"
#: Bytes of an answer, unpacked: more than a page of 2,000 records, or the description of a large object, has.
MOST_BYTES = 32 * 1024 * 1024
PIECE = 64 * 1024  # bytes that are unpacked at a time

#: Detects a dead peer while waiting for an answer; Linux counts these in seconds.
_KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *[
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ],
]
_NO_PROXY: dict[str, Any] = {"http": None, "https": None, "all": None}


#: The request cannot be written, because of a value in the configuration.
NOT_SENT = "not-sent"


class NotSent(Exception):
    """No request was sent: no connection was made (`code` is `unreachable`, `proxy` or `tls`), or `NOT_SENT`."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Lost(Exception):
    """The request was sent at least in part, and no complete answer came."""

    def __init__(self, text: str, *, timed_out: bool) -> None:
        super().__init__(text)
        self.text = text
        self.timed_out = timed_out


class HttpExchange:
    """A request and the answer, with a time limit for both."""

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
        """End the exchange from another thread: reading and writing fail, or reach the end of the data."""
        self.timed_out = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket.shutdown, which would let the reader continue without TLS.
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
    """Connect before sending, to distinguish NotSent from Lost."""
    if connection.sock is None:
        connection.connect()
    if (exchange := _current.get()) is not None:
        if exchange.timed_out:  # connecting may exceed the limit, since a host has several addresses
            raise TimeoutError
        # Otherwise the time limit for connecting would apply to sending a large body.
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

    It does not follow redirects, which could send a token to another host, nor read `.netrc`, which would replace the
    token, nor keep cookies. No proxy is used for a loopback address.
    """

    def __init__(self) -> None:
        super().__init__()
        self.auth = _keep
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.headers["User-Agent"] = USER_AGENT
        self.verify = os.environ.get("SSL_CERT_FILE") or True  # requests itself reads REQUESTS_CA_BUNDLE, which wins
        for scheme in ("https://", "http://"):
            self.mount(scheme, _Adapter())
        self._used = time.monotonic()
        #: The latest answer, and whether the latest request was sent at all.
        self.answer: requests.Response | None = None
        self.sent = False

    def freshen(self, idle: float) -> None:
        """Close the connections if they were idle for that many seconds: the server may have closed them too."""
        if time.monotonic() - self._used > idle:
            self.drop()

    def drop(self) -> None:
        """Close the connections; the next request makes a new one."""
        for adapter in self.adapters.values():
            adapter.close()

    def request(  # type: ignore[override]
        self, method: str, url: str, *, timeout: float, most: int = MOST_BYTES, **kwargs: Any
    ) -> requests.Response:
        """Send a request and return the complete answer, both within `timeout` seconds and the answer within `most`
        bytes. Raise NotSent or Lost."""
        self.answer = None
        if is_loopback(urlsplit(url).hostname or ""):
            kwargs["proxies"] = _NO_PROXY
        exchange = HttpExchange(timeout)
        try:
            with _limited(exchange):
                limits = (min(CONNECT_TIMEOUT, timeout), timeout)
                answer = super().request(method, url, **kwargs, timeout=limits, allow_redirects=False, stream=True)
                _read(answer, most)
        except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            raise _translated(error, exchange) from None  # the original text contains the address with the query
        finally:
            self._used = time.monotonic()
            self.sent = exchange.sent
        if exchange.timed_out:  # an answer without a length seems complete when the connection is cut
            self.drop()
            raise _translated(TimeoutError(), exchange)
        # Otherwise requests guesses it from the whole body, which takes seconds for a large one.
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


def _read(answer: requests.Response, most: int) -> None:
    """Read the body. Raise Lost if it is too large: a few compressed bytes may unpack to gigabytes."""
    pieces, size = [], 0
    for piece in answer.iter_content(PIECE):
        size += len(piece)
        if size > most:
            answer.close()
            raise Lost(f"the answer has more than {most:,} bytes", timed_out=False)
        pieces.append(piece)
    answer._content = b"".join(pieces)  # where requests itself would have put it


def host_of(address: str | None) -> str:
    """Return the host of a foreign address, for a message; without user and password."""
    try:
        return urlsplit(address or "").netloc.rpartition("@")[2] or "nowhere"
    except ValueError:
        return "nowhere"


def _keep(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


# -- what went wrong, in words


#: How http.client tells the answer of a proxy to CONNECT.
_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3}[^)'\"\r\n]*)")


def malformed() -> NotSent:
    return NotSent(NOT_SENT, "the request cannot be written: a header or an address is malformed")


def _translated(error: BaseException, exchange: HttpExchange) -> NotSent | Lost:
    causes = list(_unfold(error))
    timeouts = (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)
    # To urllib3, a refused connection is a kind of timeout.
    relevant = [cause for cause in causes if not isinstance(cause, urllib3.exceptions.NewConnectionError)]
    timed_out = exchange.timed_out or any(isinstance(cause, timeouts) for cause in relevant)
    if exchange.sent:
        if timed_out:
            return Lost(f"no whole answer within {exchange.seconds:.3g} s", timed_out=True)
        return Lost(f"the connection was lost before the whole answer came ({_words(causes)})", timed_out=False)
    through = "the proxy of HTTPS_PROXY: " if isinstance(error, requests.exceptions.ProxyError) else ""
    if isinstance(error, ValueError):  # how requests reports a malformed header or address
        return malformed()
    refusal = next((found for cause in causes if (found := _TUNNEL.search(str(cause)))), None)
    if refusal:
        return NotSent("proxy", f"the proxy of HTTPS_PROXY refuses the way: {refusal[1]}")
    if any("TLS CA certificate bundle" in str(cause) for cause in causes):
        return NotSent("tls", "the file of certificates that REQUESTS_CA_BUNDLE or SSL_CERT_FILE names is not there")
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return NotSent("tls", f"certificate not accepted: {cause.verify_message}")
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return NotSent("tls", f"no TLS connection: {cause.reason or _words([cause])}")
        if isinstance(cause, socket.gaierror):
            return NotSent("unreachable", f"{through}host name unknown ({cause.strerror})")
    if timed_out:
        return NotSent("unreachable", f"{through}no connection within {min(CONNECT_TIMEOUT, exchange.seconds):.3g} s")
    return NotSent("unreachable", through + _words(causes))


def _unfold(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and those nested in it: requests and urllib3 use arguments, `reason` and `__cause__`."""
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
    # Only the type: the text may contain the address, and with it the query.
    return type(causes[-1]).__name__ if causes else "connection lost"
