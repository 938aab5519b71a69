"""A link between a client and a server that a test can spoil, in all the ways in which networks do.

What a spoiled link holds back is not lost: as with TCP it arrives once the link is healed, unless the link was ended.
"""

import contextlib
import enum
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

#: Close sends RST instead of FIN.
_ABORT = struct.pack("ii", 1, 0)


class End(enum.Enum):
    """How a link ends."""

    FIN = "fin"
    RST = "rst"


class Way:
    """One direction: everything that goes to the servers, or everything that comes from them."""

    def __init__(self, closed: threading.Event) -> None:
        self._closed = closed
        self._open = threading.Event()
        self._open.set()
        #: Seconds that every piece takes.
        self.delay = 0.0
        #: So many bytes still pass, then the link is reset; None: all.
        self.left: int | None = None

    def block(self) -> None:
        """From now on nothing passes, and nobody is told."""
        self._open.clear()

    def heal(self) -> None:
        self.delay, self.left = 0.0, None
        self._open.set()

    def pass_on(self, data: bytes) -> tuple[bytes, bool]:
        """Wait as long as the way is blocked; return what may pass, and whether the link goes on."""
        if self.delay:
            self._closed.wait(self.delay)
        self._open.wait()
        if self.left is None:
            return data, True
        data, self.left = data[: self.left], max(0, self.left - len(data))
        return data, self.left > 0


class _Dropping(NamedTuple):
    """An answer that is on its way and must not arrive."""

    answer: bytes
    how: End | None
    answered: threading.Event


class _Link:
    """One client's connection and the one to the server that belongs to it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self._lock = threading.Lock()
        self._ended = False
        self._copying = 2
        #: What the server says from now on is swallowed.
        self.dropping: _Dropping | None = None

    @property
    def over(self) -> bool:
        return self._ended

    def end(self, how: End = End.FIN) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended = True
        for each in (self.client, self.server):
            with contextlib.suppress(OSError):
                if how is End.RST:
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
                    each.shutdown(socket.SHUT_RD)  # wakes the thread that reads, and says nothing to the other side
                else:
                    each.shutdown(socket.SHUT_RDWR)

    def drop(self, data: bytes) -> bool:
        """Swallow what the server says; return whether that was the end of the link."""
        assert self.dropping is not None
        answer, how, answered = self.dropping
        if answer not in data:
            return False
        answered.set()
        if how is None:
            return False
        self.end(how)
        return True

    def leave(self) -> None:
        """One of the two threads is done; the last one closes, for a socket that is being read would stay open."""
        with self._lock:
            self._copying -= 1
            last = self._copying == 0
        if last:
            self.client.close()
            self.server.close()


class Proxy:
    """Listens on a port of its own and passes on what comes, for as many clients at once as like."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._listener.getsockname()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._links: list[_Link] = []
        self._refusing = False
        self._triggers: list[tuple[bytes, Callable[[_Link], None]]] = []
        self.to_server = Way(self._closed)
        self.to_client = Way(self._closed)
        #: How many connections were made through it so far.
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    # What a network does

    def mute(self) -> None:
        """From now on nothing that a client says reaches the server; answers still come."""
        self.to_server.block()

    def black_hole(self) -> None:
        """Nothing passes either way, and all connections look alive."""
        self.to_server.block()
        self.to_client.block()

    def cut(self, how: End = End.FIN) -> int:
        """End all links that there are; new ones may be made. Return how many there were."""
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            link.end(how)
        return len(links)

    def refuse(self) -> None:
        """End all links, and every new one at once, until healed."""
        with self._lock:
            self._refusing = True
        self.cut(End.RST)

    def heal(self) -> None:
        """All passes again. What waits for a pattern goes on waiting."""
        self._refusing = False
        self.to_server.heal()
        self.to_client.heal()

    # What happens at one exact moment of a conversation

    def before(self, pattern: bytes, action: Callable[[], object]) -> threading.Event:
        """Once, when a client says something that holds `pattern`: call `action` before the server hears it. Return
        an event that is set after the call."""
        called = threading.Event()

        def run(_link: _Link) -> None:
            action()
            called.set()

        self._triggers.append((pattern, run))
        return called

    def drop_reply(self, pattern: bytes, answer: bytes = b"", how: End | None = End.RST) -> threading.Event:
        """Once, when a client says something that holds `pattern`: the server hears it and does it, but from then on
        its answers are swallowed, and the link ends when one of them holds `answer`. With None it does not end: the
        client waits for ever. Return an event that is set when the server has answered."""
        answered = threading.Event()

        def spoil(link: _Link) -> None:
            link.dropping = _Dropping(answer, how, answered)

        self._triggers.append((pattern, spoil))
        return answered

    def forget(self) -> None:
        """Wait for no pattern any more."""
        self._triggers.clear()

    def close(self) -> None:
        with self._lock:
            self._closed.set()
        _end(self._listener)
        self.cut()
        self.heal()  # so that no thread waits for ever

    # Within

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._join(self._listener.accept()[0])

    def _join(self, client: socket.socket) -> None:
        """Connect a client with the server; hang up if that is down, or the test has ended meanwhile."""
        try:
            server = socket.create_connection(self._server)
        except OSError:
            _end(client)
            return
        for each in (client, server):  # what is passed on at once is not held back either
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = _Link(client, server)
        with self._lock:
            if self._refusing or self._closed.is_set():
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
                client.close()
                server.close()
                return
            self.connections += 1
            self._links = [each for each in self._links if not each.over] + [link]
        threading.Thread(target=self._copy, args=(link, client, server, self.to_server), daemon=True).start()
        threading.Thread(target=self._copy, args=(link, server, client, self.to_client), daemon=True).start()

    def _copy(self, link: _Link, source: socket.socket, sink: socket.socket, way: Way) -> None:
        how = End.FIN
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if way is self.to_server:
                    self._look_at(link, data)
                elif link.dropping is not None:
                    if link.drop(data):
                        break
                    continue
                data, goes_on = way.pass_on(data)
                if not link.over:
                    sink.sendall(data)
                if not goes_on:
                    how = End.RST
                    break
        link.end(how)
        link.leave()

    def _look_at(self, link: _Link, data: bytes) -> None:
        for trigger in list(self._triggers):
            pattern, action = trigger
            if pattern in data:
                self._triggers.remove(trigger)
                action(link)


def _end(link: socket.socket) -> None:
    # A thread that waits in accept() is woken by shutdown, not by close.
    with contextlib.suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)
    link.close()


@contextlib.contextmanager
def proxy(host: str, port: int) -> Iterator[Proxy]:
    link = Proxy(host, port)
    try:
        yield link
    finally:
        link.close()
