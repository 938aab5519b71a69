"""A server whose answer may also be the end of the connection, as that of a far side on a bad day."""

import contextlib
import socket
import struct
from typing import Any

from connectorlib.service import http_server

THREADS = 48  # calls at a time; most of them wait for their latency
LARGEST_BODY = 50 * 1024 * 1024
#: Where a WSGI environment holds the connection's `ClientConnection`.
LINE = "sandbox.line"


class Cut(Exception):
    """Raised instead of an answer, or in the middle of one: nothing more is to be sent."""


class ClientConnection:
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


class CuttingGateway(http_server.Gateway):
    """Gives the application the connection's `ClientConnection`."""

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
