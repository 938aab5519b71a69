"""HTTP with strict time limits, through the proxies of the environment. The only module that imports requests;
translates the exceptions.

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
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import (
    DEFAULT_CA_BUNDLE_PATH,
    get_auth_from_url,
    get_environ_proxies,
    select_proxy,
)
from urllib3.connection import HTTPConnection, HTTPSConnection

from connectorlib.errors import Kind
from connectorlib.service.http_exchange import Deadlines, HttpExchange, Meanwhile
from connectorlib.service.redaction import secrets
from connectorlib.values.hosts import is_loopback

# At level debug it logs every address, and with it the query: e-mail addresses of contacts.
logging.getLogger("urllib3").setLevel(logging.ERROR)

CONNECT_TIMEOUT = 10.0
#: Bytes of an answer, unpacked: more than a page of 2,000 records, or the description of a large object, has.
MOST_BYTES = 32 * 1024 * 1024
PIECE = 64 * 1024  # bytes that are unpacked at a time

#: Those of urllib3, and what detects a dead peer while waiting for an answer; Linux counts these in seconds.
_OPTIONS = [
    *HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *[
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ],
]
#: The variables that name a file or folder of certificate authorities instead of the system's; the first wins.
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
#: Seconds between two tries of a proxy's password: it is often that of an account which too many wrong ones lock.
PROXY_LOGIN_S = 300.0

_PROXY_LOGIN = "put the proxy's user and password into HTTPS_PROXY, http://user:password@host:port, and restart"
_ADVICE = {
    "proxy": "start the proxy, or correct HTTPS_PROXY and restart",
    "proxy-address": "correct HTTPS_PROXY and restart",
    "proxy-403": "have the proxy allow the host, or name the host in NO_PROXY and restart",
    "proxy-407": _PROXY_LOGIN,
    "http-407": _PROXY_LOGIN,
    "tls": "if a proxy opens TLS on the way, name the file of its CA in tls.ca",
}


def advice(code: str) -> str:
    """Return what a person can do about a code of `NotSent`, or about an answer that comes from a proxy; "" for any
    other code."""
    return _ADVICE.get(code, "the log of the proxy has the reason" if code.startswith("proxy-") else "")


class NotSent(Exception):
    """No request was sent: `code` is `unreachable`, `proxy` (unreachable), `proxy-403` (its status), `tls`, or, for a
    value to be corrected, `proxy-address`, `ca` or `not-sent`; `retry_after` is the shortest wait in seconds."""

    def __init__(self, code: str, text: str, kind: Kind = Kind.UNAVAILABLE, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.kind = kind
        self.retry_after = retry_after


class Lost(Exception):
    """The request was sent at least in part, and no complete answer came."""

    def __init__(self, text: str, *, timed_out: bool) -> None:
        super().__init__(text)
        self.text = text
        self.timed_out = timed_out


_current: ContextVar[HttpExchange | None] = ContextVar("exchange", default=None)
_deadlines = Deadlines()


class _Http(HTTPConnection):
    """Sends headers and body at once; http.client would send a packet of each."""

    _pieces: list[bytes] | None = None

    def request(self, *args: Any, **kwargs: Any) -> None:
        _start(self)
        pieces = self._pieces = []
        try:
            super().request(*args, **kwargs)
        finally:
            self._pieces = None
        super().send(b"".join(pieces))

    def send(self, data: Any) -> None:
        if self._pieces is None:  # to a proxy, while connecting
            super().send(data)
        else:
            self._pieces.append(data)

    def getresponse(self) -> Any:
        if (exchange := _current.get()) is not None:
            exchange.work_meanwhile()
        return super().getresponse()


class _Https(_Http, HTTPSConnection):
    pass


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
    """Has one TLS context for all servers and proxies, and leaves the choice of the authorities to it."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context, socket_options=_OPTIONS)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        tls = {"ssl_context": self._context, "proxy_ssl_context": self._context}
        return super().proxy_manager_for(proxy, **kwargs, **tls, socket_options=_OPTIONS)

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        pass  # it would add the authorities that come with requests

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        ours: dict[Any, Any] = {HTTPConnection: _Http, HTTPSConnection: _Https}
        pool.ConnectionCls = ours.get(pool.ConnectionCls, pool.ConnectionCls)
        return pool


class Session(requests.Session):
    """The connections of one thread, kept open between requests.

    It does not follow redirects, which could send a token to another host, nor read `.netrc`, which would replace the
    token, nor keep cookies. The environment names proxies; `ca` is a file of certificate authorities to trust besides
    those of the system.
    """

    def __init__(self, user_agent: str, ca: str | None = None) -> None:
        super().__init__()
        self.headers["User-Agent"] = user_agent
        self._ca = ca
        self.adapters.clear()  # that for https comes with the first request, which may fail where authorities are read
        self.mount("http://", _Adapter(None))
        self._used = time.monotonic()
        _hide_proxy_passwords()
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
        self,
        method: str,
        url: str,
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
        data: bytes | Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        most: int = MOST_BYTES,
        meanwhile: Meanwhile | None = None,
    ) -> requests.Response:
        """Send a request and return the complete answer, both within `timeout` seconds and the answer within `most`
        bytes. `meanwhile` is called before the answer is read. Raise NotSent or Lost."""
        self.answer = None
        proxy = proxy_of(url)
        exchange = HttpExchange(timeout, host_of(url), proxy, meanwhile)
        try:
            self._read_authorities(url)
            request = requests.PreparedRequest()
            named = {**self.headers, **(headers or {})}
            request.prepare(method, url, named, data=data, params=params, json=json, auth=_keep)
            with _limited(exchange):
                answer = self._sent(request, (min(CONNECT_TIMEOUT, timeout), timeout), proxy)
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

    def _sent(
        self, request: requests.PreparedRequest, limits: tuple[float, float], proxy: str | None
    ) -> requests.Response:
        # Not by Session.send, which would take care of cookies, redirects and hooks.
        proxies = {"http": proxy, "https": proxy} if proxy else {}
        return self.get_adapter(request.url or "").send(request, stream=True, timeout=limits, proxies=proxies)

    def _read_authorities(self, url: str) -> None:
        """Read the certificate authorities when they are needed, once: it takes some 30 ms. Raise NotSent."""
        if "https://" not in self.adapters and url.lower().startswith("https://"):
            self.mount("https://", _Adapter(tls_context(self._ca)))


def direct_session() -> requests.Session:
    """Return a plain session without proxies and `.netrc`, for a library that asks another process of this machine."""
    session = requests.Session()
    session.trust_env = False
    return session


def proxy_of(url: str) -> str | None:
    """Return the address of the proxy through which the environment wants a URL to be reached: HTTPS_PROXY, HTTP_PROXY
    or ALL_PROXY, where NO_PROXY does not name the host; None for this machine itself. Raise NotSent if it is no
    address of an HTTP proxy."""
    if is_loopback(urlsplit(url).hostname or ""):
        return None
    given = select_proxy(url, get_environ_proxies(url))
    if not given:
        return None
    with contextlib.suppress(ValueError):
        proxy = _with_scheme(given)
        parts = urllib3.util.parse_url(proxy)
        if parts.scheme in ("http", "https") and parts.host:
            return proxy
    text = "HTTPS_PROXY: expected the address of an HTTP proxy, such as http://proxy:3128"
    raise NotSent("proxy-address", text, Kind.CONFIGURATION)


def _hide_proxy_passwords() -> None:
    for proxy in getproxies().values():
        with contextlib.suppress(ValueError):
            secrets.add(get_auth_from_url(_with_scheme(proxy))[1])


def _with_scheme(proxy: str) -> str:
    # Not as requests does it, which takes the host of `proxy:3128` for a scheme.
    return proxy if "://" in proxy else f"http://{proxy}"


def tls_context(ca: str | None = None) -> ssl.SSLContext:
    """Return a context that trusts the authorities of the system, or those that the environment names instead, and
    those in the file `ca`. Raise NotSent if a file cannot be used."""
    variable = next((name for name in _BUNDLES if os.environ.get(name)), None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # An intermediate authority may be the one to trust. Not VERIFY_X509_STRICT, which Python 3.13 has by default: it
    # refuses the authorities of many proxies for what they lack in form.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if variable:
        _load(context, os.environ[variable], variable)
    else:
        context.load_default_certs()
        if not _system_has_authorities():
            context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    if ca:
        _load(context, ca, "tls.ca")
    return context


def _load(context: ssl.SSLContext, path: str, name: str) -> None:
    folder = os.path.isdir(path)
    try:
        context.load_verify_locations(None if folder else path, path if folder else None)
    except OSError as error:  # SSLError, for a file without certificates, is one
        text = f"{name}: {path} cannot be used as a file of certificate authorities: {error.strerror}"
        raise NotSent("ca", text, Kind.CONFIGURATION) from error


def _system_has_authorities() -> bool:
    """Return whether the system has any: small images of containers come without."""
    paths = ssl.get_default_verify_paths()
    return bool(paths.cafile) or bool(paths.capath and any(os.scandir(paths.capath)))


@contextlib.contextmanager
def _limited(exchange: HttpExchange) -> Iterator[None]:
    token = _current.set(exchange)
    try:
        with _deadlines.limiting(exchange):
            yield
    finally:
        _current.reset(token)


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
_TUNNEL = re.compile(r"Tunnel connection failed: ((\d{3})[^)'\"\r\n]*)")
#: OpenSSL's X509_V_ERR codes of a chain that ends at no authority that is trusted.
_UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21})


def malformed() -> NotSent:
    return NotSent("not-sent", "the request cannot be written: a header or an address is malformed", Kind.CONFIGURATION)


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
    if isinstance(error, ValueError):  # how requests reports a malformed header or address
        return malformed()
    return _proxy_refusal(causes, exchange) or _tls_failure(causes) or _unreachable(causes, exchange, timed_out)


def _proxy_refusal(causes: list[BaseException], exchange: HttpExchange) -> NotSent | None:
    """Return what is wrong if a proxy has answered, and not with a way to the server."""
    refusal = next((found for cause in causes if (found := _TUNNEL.search(str(cause)))), None)
    if refusal is None:
        return None
    proxy = exchange.proxy or ""
    wait = PROXY_LOGIN_S if refusal[2] == "407" and get_auth_from_url(proxy)[1] else 0.0
    text = f"the proxy {host_of(proxy)} refuses the way to {exchange.host}: {refusal[1]}"
    return NotSent(f"proxy-{refusal[2]}", text, retry_after=wait)


def _tls_failure(causes: list[BaseException]) -> NotSent | None:
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            text = f"certificate not accepted: {cause.verify_message}"
            if cause.verify_code in _UNKNOWN_AUTHORITY:
                text += "; no authority that is trusted here has signed it (see tls.ca)"
            return NotSent("tls", text)
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return NotSent("tls", f"no TLS connection: {cause.reason or _words([cause])}")
    return None


def _unreachable(causes: list[BaseException], exchange: HttpExchange, timed_out: bool) -> NotSent:
    through = f"the proxy {host_of(exchange.proxy)}: " if exchange.proxy else ""
    code = "proxy" if exchange.proxy else "unreachable"
    unknown = next((cause for cause in causes if isinstance(cause, socket.gaierror)), None)
    if unknown is not None:
        return NotSent(code, f"{through}host name unknown ({unknown.strerror})")
    if timed_out:
        return NotSent(code, f"{through}no connection within {min(CONNECT_TIMEOUT, exchange.seconds):.3g} s")
    return NotSent(code, through + _words(causes))


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
