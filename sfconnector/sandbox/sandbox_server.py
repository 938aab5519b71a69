"""An HTTP server that can cut a connection instead of answering."""

import contextlib
import socket
import struct
from typing import Any

from connectorlib.service import http_server

THREADS = 48  # concurrent calls; most of them wait for the latency
LARGEST_BODY = 50 * 1024 * 1024
#: The key of the `ClientConnection` in a WSGI environment.
LINE = "sandbox.line"


class Cut(Exception):
    """Raised instead of an answer, or during one: nothing more is sent."""


class ClientConnection:
    """The connection of a request."""

    def __init__(self, request: Any) -> None:
        self._request = request

    def close_after_answer(self) -> None:
        self._request.close_connection = True

    def cut(self, *, reset: bool = False) -> Cut:
        """End the connection now, with RST if asked; return what to raise."""
        connection = self._request.conn
        with contextlib.suppress(OSError):
            if reset:  # closing with SO_LINGER 0 sends RST; cheroot's own close would send FIN first
                connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.socket.close()
                connection.socket = socket.socket()
            else:
                connection.socket.shutdown(socket.SHUT_RDWR)
        return Cut()


class CuttingGateway(http_server.Gateway):
    """Passes the `ClientConnection` to the application."""

    # cheroot's types say that this returns None
    def get_environ(self) -> dict[str, Any]:  # type: ignore[override]
        environ: dict[str, Any] = super().get_environ()  # type: ignore[no-untyped-call]
        environ[LINE] = ClientConnection(self.req)
        return environ

    def respond(self) -> None:
        try:
            super().respond()
        except Cut:
            self.end()
