"""An HTTP server that does what a test tells it, byte by byte: for what a well-behaved server never does.

An answer is the bytes to send, or a function that gets the connection and may do anything with it. The last answer of
a script goes on for ever.
"""

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

FRESH = "00D!token"

Answer = bytes | Callable[[socket.socket], None]


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    connection: int

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Scripted:
    """Log-ins follow one script, everything else another. Without a script for log-ins each gives a fresh token."""

    def __init__(
        self, api: Sequence[Answer] = (), logins: Sequence[Answer] = (), tls: ssl.SSLContext | None = None
    ) -> None:
        self._tls = tls
        self.api = list(api)
        self.logins = list(logins)
        self.requests: list[Request] = []
        #: Seconds after which it begins to read the body of a request.
        self.hesitation = 0.0
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"https://localhost:{self.port}" if tls else f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Scripted":
        return self

    def __exit__(self, *_: object) -> None:
        # A thread that waits in accept() or recv() is woken by shutdown, not by close.
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    @property
    def log_ins(self) -> list[Request]:
        return [request for request in self.requests if request.path.endswith("/oauth2/token")]

    @property
    def calls(self) -> list[Request]:
        return [request for request in self.requests if not request.path.endswith("/oauth2/token")]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = self._listener.accept()[0]
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection, len(self._open)), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), self._secured(connection) as connection, connection.makefile("rb") as reader:
            while (request := self._read(reader, number)) is not None:
                answer = self._next(request)
                if isinstance(answer, bytes):
                    connection.sendall(answer)
                else:
                    answer(connection)

    def _secured(self, connection: socket.socket) -> socket.socket:
        return self._tls.wrap_socket(connection, server_side=True) if self._tls else connection

    def _read(self, reader: Any, number: int) -> Request | None:
        line = reader.readline().decode("latin-1").split()
        if len(line) < 3:
            return None
        headers = {}
        while text := reader.readline().decode("latin-1").strip():
            name, _, value = text.partition(":")
            headers[name.lower()] = value.strip()
        time.sleep(self.hesitation)
        body = reader.read(int(headers.get("content-length", 0)))
        return Request(line[0], line[1], headers, body, number)

    def _next(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            if not request.path.endswith("/oauth2/token"):
                return self.api.pop(0) if len(self.api) > 1 else self.api[0]
            if self.logins:
                return self.logins.pop(0) if len(self.logins) > 1 else self.logins[0]
            return logged_in(self.url, f"00D!token-{len(self.log_ins)}")


# -- answers


def answer(status: int, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    """Return an answer; `length` is what Content-Length says, if not the truth."""
    told = [f"HTTP/1.1 {status} Reason", f"Content-Length: {len(body) if length is None else length}", *headers]
    return ("\r\n".join(told) + "\r\n\r\n").encode() + body


def as_json(status: int, value: Any, *headers: str) -> bytes:
    return answer(status, json.dumps(value).encode(), "Content-Type: application/json", *headers)


def page(status: int, title: str = "Down for maintenance") -> bytes:
    html = f"<html><head><title>{title}</title></head><body><h1>Sorry</h1></body></html>"
    return answer(status, html.encode(), "Content-Type: text/html")


def logged_in(instance_url: str, token: str = FRESH) -> bytes:
    return as_json(
        200,
        {
            "access_token": token,
            "instance_url": instance_url,
            "id": "https://login.salesforce.com/id/00Dx0000000BV7z/005x00000012Q9P",
            "token_type": "Bearer",
        },
    )


def errors(status: int, code: str, message: str = "", **more: Any) -> bytes:
    return as_json(status, [{"message": message, "errorCode": code, **more}])


def reset(connection: socket.socket) -> None:
    """End the connection as a crashed machine does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise ConnectionAbortedError  # whoever serves it closes it, and all that refers to it


def hang_up(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def then_hang_up(first: bytes) -> Callable[[socket.socket], None]:
    """Send this, then close the connection without having announced it."""

    def both(connection: socket.socket) -> None:
        # In one packet with the end, or whoever has read the answer may send again before the end is there.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        connection.sendall(first)
        hang_up(connection)

    return both


class Trickle:
    """Sends the first bytes at once and the others one by one, so that all are there only after so many seconds."""

    def __init__(self, whole: bytes, *, fast: int, seconds: float = 20.0) -> None:
        self._whole = whole
        self._fast = fast
        self._pause = seconds / len(whole[fast:])
        #: Whether anybody waited for the last byte.
        self.finished = False

    def __call__(self, connection: socket.socket) -> None:
        connection.sendall(self._whole[: self._fast])
        for byte in self._whole[self._fast :]:
            time.sleep(self._pause)
            connection.sendall(bytes([byte]))
        self.finished = True


def say_nothing(connection: socket.socket) -> None:
    """Leave the request without an answer."""
    connection.recv(1)
