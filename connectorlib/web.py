"""HTTP/1.1 with keep-alive in threads, for the pages that commands serve.

The only module that imports cheroot. It comes with the extras `web` and `sandbox`; what needs it imports this late.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cheroot import wsgi

logger = logging.getLogger(__name__)

IDLE_SECONDS = 120.0
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


class _HTTPServer(wsgi.Server):
    keep_alive_conn_limit = None  # type: ignore[assignment]  # cheroot's 10 would end keep-alive under load

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
    ) -> None:
        """`threads` is how many requests are answered at a time, `largest_body` in bytes."""
        self._host = host
        self._server = _HTTPServer((host, port), application, numthreads=threads, request_queue_size=128)
        self._server.gateway = gateway  # __init__ has set cheroot's
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
