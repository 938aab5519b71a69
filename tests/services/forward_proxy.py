"""A proxy as companies have one: it takes CONNECT, may want a log-in, finds the hosts itself, may open TLS, and may be
spoken to by TLS."""

import contextlib
import select
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any

from tests.services.certificates import Certificate

Address = tuple[str, int]


class ForwardProxy:
    """`servers` says where the hosts are that it lets pass, which may change at any time; so may `login`, which is
    `user:password` or nothing. With `opens`, a certificate for those hosts, it opens TLS and talks to the server
    without; with `own` it is reached by TLS itself."""

    def __init__(
        self, servers: Mapping[str, Address], *, opens: Certificate | None = None, own: Certificate | None = None
    ) -> None:
        self.servers = dict(servers)
        self.login = ""
        #: The hosts that it was asked for, refused ones too.
        self.asked: list[str] = []
        self._opens, self._own = _context(opens), _context(own)
        self._open: list[socket.socket] = []
        self._port = 0
        self.start()

    @property
    def address(self) -> str:
        return f"{'localhost' if self._own else '127.0.0.1'}:{self._port}"

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more, and end all that is under way."""
        _end(self._listener)
        self.cut()

    def cut(self) -> None:
        """End all tunnels."""
        while self._open:
            _end(self._open.pop())

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = listener.accept()[0]
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), _secured(client, self._own) as client:
            host, headers = _request(client)
            self.asked.append(host)
            wanted = f"Basic {b64encode(self.login.encode()).decode()}"
            if self.login and headers.get("proxy-authorization") != wanted:
                client.sendall(_answer("407 Proxy Authentication Required", 'Proxy-Authenticate: Basic realm="plant"'))
            elif host not in self.servers:
                client.sendall(_answer("403 Forbidden"))
            else:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                self._tunnel(client, self.servers[host])

    def _tunnel(self, client: socket.socket, address: Address) -> None:
        with socket.create_connection(address) as server, _secured(client, self._opens) as client:
            self._open += (client, server)
            _relay(client, server)


def _context(certificate: Certificate | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)
    return context


def _secured(client: socket.socket, context: ssl.SSLContext | None) -> socket.socket:
    return client if context is None else context.wrap_socket(client, server_side=True)


def _request(client: socket.socket) -> tuple[str, dict[str, str]]:
    """Return the host that a client wants to reach, and the headers in lower case."""
    text = b""
    while b"\r\n\r\n" not in text:
        text += client.recv(1)  # what follows is TLS
    line, *lines = text.decode("latin-1").strip().split("\r\n")
    assert line.startswith("CONNECT "), line
    headers = (each.partition(":") for each in lines)
    return line.split()[1].rpartition(":")[0], {name.lower(): value.strip() for name, _, value in headers}


def _answer(status: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", "Content-Length: 0", "Connection: close", *headers, "", ""]).encode()


def _relay(client: Any, server: socket.socket) -> None:
    """Pass on what comes from either, until one of them ends. One thread, as TLS wants it."""
    while True:
        buffered = isinstance(client, ssl.SSLSocket) and client.pending()
        ready = [client] if buffered else select.select([client, server], [], [])[0]
        for source in ready:
            data = source.recv(65536)
            if not data:
                return
            (server if source is client else client).sendall(data)


def _end(each: socket.socket) -> None:
    # A thread that waits in accept() or recv() is woken by shutdown, not by close.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(each, socket.SHUT_RDWR)
    each.close()


@contextlib.contextmanager
def forward_proxy(
    servers: Mapping[str, Address], *, opens: Certificate | None = None, own: Certificate | None = None
) -> Iterator[ForwardProxy]:
    proxy = ForwardProxy(servers, opens=opens, own=own)
    try:
        yield proxy
    finally:
        proxy.stop()
