"""HTTP/1.1 with keep-alive on cheroot, where an answer may also be the end of the connection.

The only module that knows cheroot.
"""

import contextlib
import logging
import socket
import struct
from collections.abc import Callable
from typing import Any

from cheroot import wsgi

logger = logging.getLogger(__name__)

THREADS = 48  # calls at a time; most of them wait for their latency
IDLE_SECONDS = 120.0
LARGEST_BODY = 50 * 1024 * 1024
#: Where a WSGI environment holds the connection's `Line`.
LINE = "sandbox.line"


class Cut(Exception):
    """Raised instead of an answer, or in the middle of one: nothing more is to be sent."""


class Line:
    """The connection a request came on."""

    def __init__(self, request: Any) -> None:
        self._request = request

    def close_after_answer(self) -> None:
        self._request.close_connection = True

    def cut(self, *, reset: bool = False) -> Cut:
        """End the connection now, with RST if asked; return what to raise."""
        connection = self._request.conn
        with contextlib.suppress(OSError):
            if reset:  # a close that lingers for 0 s sends RST; cheroot's own close would send FIN before it
                connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.socket.close()
                connection.socket = socket.socket()
            else:
                connection.socket.shutdown(socket.SHUT_RDWR)
        return Cut()


class _Gateway(wsgi.Gateway_10):
    # cheroot's types say that this returns None
    def get_environ(self) -> dict[str, Any]:  # type: ignore[override]
        environ: dict[str, Any] = super().get_environ()  # type: ignore[no-untyped-call]
        environ[LINE] = Line(self.req)
        return environ

    def respond(self) -> None:
        try:
            super().respond()
        except Cut:
            pass
        except (BrokenPipeError, ConnectionError):
            logger.debug("the client went away")
        else:
            return
        self.req.sent_headers = True  # or cheroot would send them now
        self.req.chunked_write = False
        self.req.close_connection = True


class _HTTPServer(wsgi.Server):
    keep_alive_conn_limit = None  # type: ignore[assignment]  # cheroot's 10 would end keep-alive under load
    max_request_body_size = LARGEST_BODY

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        logger.log(level, "%s", msg, exc_info=traceback)


class Server:
    """Serves a WSGI application in threads, from `start` to `stop`."""

    def __init__(self, application: Callable[..., Any], host: str, port: int) -> None:
        self._server = _HTTPServer((host, port), application, numthreads=THREADS, request_queue_size=128)
        self._server.gateway = _Gateway  # __init__ has set cheroot's
        self._server.timeout = IDLE_SECONDS
        self._server.shutdown_timeout = 2

    def bind(self) -> int:
        """Listen; return the port. Raise OSError if it is taken."""
        self._server.prepare()
        return int(self._server.bind_addr[1])

    def serve(self) -> None:
        """Return when `stop` was called, from another thread."""
        self._server.serve()

    def stop(self) -> None:
        self._server.stop()
