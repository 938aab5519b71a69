"""The link that tests spoil does what its names say."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.services.proxy import End, Proxy, proxy
from tests.services.waiting import eventually


class Echo:
    """A server that gives back what it is told, in capitals, and remembers it."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._listener.getsockname()
        self.heard = b""
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._answer, args=(self._listener.accept()[0],), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            while data := client.recv(65536):
                self.heard += data
                client.sendall(data.upper())


@pytest.fixture
def server() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.close()


@pytest.fixture
def link(server: Echo) -> Iterator[Proxy]:
    with proxy(server.host, server.port) as it:
        yield it


@pytest.fixture
def client(link: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection((link.host, link.port), timeout=10) as it:
        yield it


def said(client: socket.socket, text: bytes) -> bytes:
    client.sendall(text)
    return client.recv(100)


def is_silent(client: socket.socket) -> bool:
    client.settimeout(0.2)
    try:
        client.recv(100)
    except TimeoutError:
        return True
    finally:
        client.settimeout(10)
    return False


def ask_anew(link: Proxy) -> bytes:
    with socket.create_connection((link.host, link.port), timeout=10) as client:
        answer = said(client, b"one")
        if not answer:
            raise ConnectionError("hung up")
        return answer


def test_it_passes_on_what_both_say(client: socket.socket) -> None:
    assert said(client, b"one") == b"ONE"
    assert said(client, b"two") == b"TWO"


def test_an_orderly_end(link: Proxy, client: socket.socket) -> None:
    assert said(client, b"one") == b"ONE"
    assert link.cut() == 1
    assert client.recv(1) == b""


def test_a_reset(link: Proxy, client: socket.socket) -> None:
    assert said(client, b"one") == b"ONE"
    assert link.cut(End.RST) == 1
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_what_a_black_hole_held_back_arrives_when_it_is_healed(
    server: Echo, link: Proxy, client: socket.socket
) -> None:
    link.black_hole()
    client.sendall(b"one")
    assert is_silent(client)
    assert server.heard == b""
    link.heal()
    assert client.recv(100) == b"ONE"


def test_a_hole_in_one_direction(server: Echo, link: Proxy, client: socket.socket) -> None:
    link.to_client.block()
    client.sendall(b"one")
    eventually(lambda: server.heard == b"one")
    assert is_silent(client)
    link.heal()
    assert client.recv(100) == b"ONE"
    link.mute()
    client.sendall(b"two")
    assert is_silent(client)
    assert server.heard == b"one"


def test_a_dropped_reply_is_to_something_that_was_done(server: Echo, link: Proxy, client: socket.socket) -> None:
    answered = link.drop_reply(b"commit")
    assert said(client, b"insert") == b"INSERT"
    client.sendall(b"commit")
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert answered.is_set()
    assert server.heard == b"insertcommit"
    with socket.create_connection((link.host, link.port), timeout=10) as other:
        assert said(other, b"commit") == b"COMMIT"  # once only


def test_a_reply_that_never_comes(link: Proxy, client: socket.socket) -> None:
    answered = link.drop_reply(b"commit", how=None)
    client.sendall(b"commit")
    assert answered.wait(10)
    assert is_silent(client)


def test_an_answer_is_waited_for_before_the_link_ends(link: Proxy, client: socket.socket) -> None:
    answered = link.drop_reply(b"publish", answer=b"ACK")
    client.sendall(b"publish")
    assert is_silent(client)
    assert not answered.is_set()
    client.sendall(b"ack")
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_something_may_happen_just_before_the_server_hears_of_it(
    server: Echo, link: Proxy, client: socket.socket
) -> None:
    heard: list[bytes] = []
    called = link.before(b"commit", lambda: heard.append(server.heard))
    assert said(client, b"insert") == b"INSERT"
    assert said(client, b"commit") == b"COMMIT"
    assert called.is_set()
    assert heard == [b"insert"]


def test_an_answer_cut_short(link: Proxy, client: socket.socket) -> None:
    link.to_client.left = 2
    assert said(client, b"one") == b"ON"
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_nobody_is_let_in_while_it_refuses(link: Proxy, client: socket.socket) -> None:
    link.refuse()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionError):
        ask_anew(link)
    link.heal()
    assert ask_anew(link) == b"ONE"
