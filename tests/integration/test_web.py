"""The HTTP server of the pages: who says nothing, or never comes to an end, keeps nobody else out."""

import http.client
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from connectorlib.service.http_server import Server


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


@contextmanager
def serving(**options: Any) -> Iterator[int]:
    """Serve with one thread; return the port."""
    server = Server(application, "127.0.0.1", 0, threads=1, largest_body=1000, **options)
    port = urlsplit(server.bind()).port
    assert port
    with server.serving():
        yield port


def posted(port: int, body: bytes) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/", body)
        return connection.getresponse().read()
    finally:
        connection.close()


def test_connections_that_say_nothing_keep_nobody_out() -> None:
    with serving() as port, ExitStack() as idle:
        for _ in range(5):
            idle.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert posted(port, b"hello") == b"hello"


@pytest.mark.parametrize(
    "beginning",
    [b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\nX-", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx"],
)
def test_a_request_that_does_not_end_is_given_up(beginning: bytes) -> None:
    with serving(request_seconds=0.2) as port, socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(beginning)
        assert posted(port, b"hello") == b"hello"


def test_a_connection_is_kept_for_the_next_request_however_late() -> None:
    with serving(request_seconds=0.2) as port, socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        for _ in range(3):
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
            answer = b""
            while not answer.endswith(b"\r\n\r\nhi"):
                answer += client.recv(4096)
            assert answer.startswith(b"HTTP/1.1 200")
            assert posted(port, b"between") == b"between"
