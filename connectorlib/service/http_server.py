"""HTTP/1.1 with keep-alive in threads, for the pages that commands serve.

The only module that imports cheroot. It comes with the extras `web` and `sandbox`; what needs it imports this late.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

from cheroot import wsgi
from cheroot.server import HTTPConnection

logger = logging.getLogger(__name__)

IDLE_SECONDS = 120.0
#: How long a request may take to come, from its first byte to the last of its body.
REQUEST_SECONDS = 30.0
#: What every page gets, besides its Content-Security-Policy.
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # Not `no-referrer`: with that, browsers send `Origin: null` with the forms of the page itself.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def security_policy(*, forms: bool) -> str:
    """Return the Content-Security-Policy of a page that has a style sheet and no scripts, with forms or without."""
    form_action = "'self'" if forms else "'none'"
    return f"default-src 'none'; style-src 'self'; base-uri 'none'; form-action {form_action}; frame-ancestors 'none'"


class Gateway(wsgi.Gateway_10):
    """Calls the application. A client that goes away is no error."""

    def respond(self) -> None:
        try:
            super().respond()
        except (BrokenPipeError, ConnectionError):
            logger.debug("the client went away")
            self.end()

    def end(self) -> None:
        """Send nothing more, and end the connection."""
        self.req.sent_headers = True  # or cheroot would send them now
        self.req.chunked_write = False
        self.req.close_connection = True


class _Limited:
    """A socket that reads no longer than until its deadline: one byte now and then would hold a thread for ever."""

    def __init__(self, connection: Any) -> None:
        self._socket = connection
        self.deadline = inf

    def recv_into(self, buffer: Any) -> int:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(min(left, IDLE_SECONDS))
        try:
            return int(self._socket.recv_into(buffer))
        finally:
            self._socket.settimeout(IDLE_SECONDS)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


class _Connection(HTTPConnection):
    def __init__(self, server: Any, connection: Any, makefile: Any) -> None:
        super().__init__(server, connection, makefile)
        self.fresh = True
        self._limited = _Limited(connection)
        self.rfile = makefile(self._limited, "rb", self.rbufsize)

    def communicate(self) -> Any:
        self._limited.deadline = time.monotonic() + self.server.request_seconds
        parent: Any = super()  # cheroot has types for some of it
        return parent.communicate()


class _HTTPServer(wsgi.Server):
    ConnectionClass = _Connection
    _connections: Any
    request_seconds = REQUEST_SECONDS
    keep_alive_conn_limit = None  # type: ignore[assignment]  # cheroot's 10 would end keep-alive under load

    def process_conn(self, conn: Any) -> None:
        """Give a connection to a thread; not one that has said nothing yet, such as browsers open on suspicion."""
        if conn.fresh:
            conn.fresh = False
            self._connections.put(conn)  # as one that is kept alive
        else:
            super().process_conn(conn)

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        logger.log(level, "%s", msg, exc_info=traceback)


class Server:
    """Serves a WSGI application in threads."""

    def __init__(
        self,
        application: Callable[..., Any],
        host: str,
        port: int,
        *,
        threads: int,
        largest_body: int,
        gateway: type[Gateway] = Gateway,
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        """`threads` is how many requests are answered at a time, `largest_body` in bytes; a request may take
        `request_seconds` to come."""
        self._host = host
        self._server = _HTTPServer((host, port), application, numthreads=threads, request_queue_size=128)
        self._server.gateway = gateway  # __init__ has set cheroot's
        self._server.request_seconds = request_seconds
        self._server.max_request_body_size = largest_body
        self._server.timeout = IDLE_SECONDS
        self._server.shutdown_timeout = 2

    def bind(self) -> str:
        """Listen; return the address for a browser. Raise OSError if the port is taken, or the host not ours."""
        self._server.prepare()
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._server.bind_addr[1]}"

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer requests until the end of the block. Only after `bind`."""
        thread = threading.Thread(target=self._server.serve, name="serving")
        thread.start()
        try:
            yield
        finally:
            self._server.stop()
            thread.join()
