"""The HTTP server of the pages: who says nothing, or never comes to an end, keeps nobody else out."""

import http.client
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from connectorlib.service.http_server import CONNECTION, Server


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


def answered(port: int, request: bytes) -> bytes:
    """Send these bytes; return all that comes back until the connection ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST / HTTP/1.1\r\nContent-Length: 1001", b"413"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: +1", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000, b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 9", b"400"),  # a proxy may read the other one
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked", b"501"),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1", b"414"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, b"431"),
        (b"GET / HTTP/7.0", b"505"),
        (b"nonsense", b"400"),
    ],
)
def test_a_request_that_is_too_large_or_ambiguous_is_refused(head: bytes, status: bytes) -> None:
    with serving() as port:
        found = answered(port, head + b"\r\n\r\n")
        assert found.split()[1] == status
        assert found.count(b"HTTP/1.1 ") == 1  # and the connection has ended
        assert posted(port, b"hello") == b"hello"


def test_requests_that_are_sent_at_once_are_answered_in_turn() -> None:
    request = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi"
    with serving() as port:
        assert answered(port, request * 3).count(b"\r\n\r\nhi") == 3


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked() -> None:
    with serving() as port, socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert client.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"hi")
        assert client.recv(4096).endswith(b"\r\n\r\nhi")


def test_a_header_cannot_pass_for_another_and_a_head_has_no_body() -> None:
    seen: list[dict[str, Any]] = []

    def remembering(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        seen.append(environ)
        return application(environ, start_response)

    server = Server(remembering, "127.0.0.1", 0, threads=1, largest_body=1000)
    port = urlsplit(server.bind()).port or 0
    with server.serving():
        head = answered(
            port, b"HEAD /a%20b?c=d HTTP/1.1\r\nX_Forwarded: 1\r\nX-Forwarded: 2\r\nContent-Length: 2\r\n\r\nhi"
        )
    assert head.endswith(b"\r\n\r\n")
    assert b"Content-Length: 2" in head
    (environ,) = seen
    assert (environ["PATH_INFO"], environ["QUERY_STRING"], environ["REQUEST_URI"]) == ("/a b", "c=d", "/a%20b?c=d")
    assert environ["HTTP_X_FORWARDED"] == "2"


@pytest.mark.parametrize("reset", [False, True])
def test_an_application_may_cut_the_connection_and_the_server_stays(reset: bool) -> None:
    def cutting(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/cut":
            environ[CONNECTION].close(reset=reset)
            raise ConnectionError
        return application(environ, start_response)

    server = Server(cutting, "127.0.0.1", 0, threads=1, largest_body=1000)
    port = urlsplit(server.bind()).port or 0
    with server.serving():
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
                client.sendall(b"GET /cut HTTP/1.1\r\n\r\n")
                if reset:
                    with pytest.raises(ConnectionResetError):
                        client.recv(1)
                else:
                    assert client.recv(1) == b""
            assert posted(port, b"hello") == b"hello"


def test_a_bug_of_the_application_is_seen_and_the_server_stays(caplog: pytest.LogCaptureFixture) -> None:
    def broken(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        raise ZeroDivisionError

    server = Server(broken, "127.0.0.1", 0, threads=1, largest_body=1000)
    port = urlsplit(server.bind()).port or 0
    with server.serving():
        for _ in range(2):
            assert posted(port, b"hello") == b"a bug: see the log\n"
    assert "ZeroDivisionError" in caplog.text
