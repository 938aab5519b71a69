"""A link between a client and a server that a test can spoil: what the client says gets lost while all looks well."""

import contextlib
import socket
import threading
from collections.abc import Iterator


class Proxy:
    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._listener.getsockname()
        self._muted = threading.Event()
        self._lock = threading.Lock()
        self._closed = False
        self._open: list[socket.socket] = []
        #: How many connections were made through it so far.
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def mute(self) -> None:
        """From now on nothing that a client says reaches the server; answers still come."""
        self._muted.set()

    def close(self) -> None:
        with self._lock:
            self._closed = True
        for link in (self._listener, *self._open):
            _end(link)

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
        with self._lock:
            if self._closed:
                _end(client)
                _end(server)
                return
            self.connections += 1
            self._open += [client, server]
        threading.Thread(target=self._copy, args=(client, server, self._muted), daemon=True).start()
        threading.Thread(target=self._copy, args=(server, client, threading.Event()), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket, muted: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not muted.is_set():
                    sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


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
