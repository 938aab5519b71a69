"""HTTP/1.1 for a WSGI application in a few threads: the monitoring port, the page of the dead letters, the sandbox.

The standard library's `http.server` parses the requests. What it lacks is added: bounds on threads, time and sizes,
and connections that are kept alive without holding a thread.
"""

import logging
import queue
import re
import select
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from math import inf
from typing import Any
from urllib.parse import unquote_to_bytes

logger = logging.getLogger(__name__)

#: How long a connection may wait for its next request, and a response for a client that does not read it.
IDLE_SECONDS = 120.0
#: How long a request may take to arrive, from its first byte to the last of its body.
REQUEST_SECONDS = 30.0
LONGEST_LINE = 65_536
#: How often time limits are checked.
TICK_SECONDS = 0.25
#: How long a thread waits for more work before it ends.
SPARE_SECONDS = 1.0
#: How long a thread stays with the connection that it has answered: many clients send their next request at once.
NEXT_MILLISECONDS = 2
#: How long requests in progress may take when the server stops.
STOP_SECONDS = 2.0
#: The name of the threads that answer requests.
WORKER = "http request"
#: The key of the WSGI environment that holds the `ClientConnection`.
CONNECTION = "connectorlib.connection"
#: Connections without `keep_alive` that may wait for their request; a further one ends the oldest.
MOST_CONNECTIONS = 256
_BUSY = b"HTTP/1.0 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 5\r\n\r\nbusy\n"

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class ClientConnection(BaseHTTPRequestHandler):
    """The connection of one client: reads requests and writes responses."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # a response to HTTP/0.9, which is the base class's, would have no head
    server_version = "amqp-connectors"
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True
    wbufsize = -1
    error_message_format = "%(message)s\n"
    error_content_type = "text/plain; charset=utf-8"

    def __init__(self, request: socket.socket, client_address: Any) -> None:
        # Without a call of the base class, which would answer at once.
        self.request, self.client_address = request, client_address
        self.close_connection = False
        #: time.monotonic() when the connection has to end, and when what it is doing has to.
        self.end = self.deadline = inf
        #: Since when a thread waits for the rest of its request; None: no thread does.
        self.reading_since: float | None = None
        self.setup()

    def read_request(self, largest_body: int) -> Environ | None:
        """Return the next request; None after an error response, or when the client has gone."""
        self.requestline = self.request_version = self.command = ""  # for the log, before there is one
        self.raw_requestline = self.rfile.readline(LONGEST_LINE + 1)
        if len(self.raw_requestline) > LONGEST_LINE:
            self.send_error(414)
        elif self.raw_requestline and self.parse_request():
            self.headers = self.headers or Message()  # of HTTP/0.9 Python 3.14 makes a plain dict
            body = self._read_body(largest_body)
            return None if body is None else self._environ(body)
        return None

    def handle_expect_100(self) -> bool:
        """Send nothing yet: the body may be too large."""
        return True

    def _read_body(self, largest: int) -> bytes | None:
        lengths = self.headers.get_all("Content-Length", ["0"])
        length = int(lengths[0]) if re.fullmatch("[0-9]{1,15}", lengths[0]) else -1
        if "Transfer-Encoding" in self.headers:
            self.send_error(501, "a body needs a Content-Length")
            return None
        if length < 0 or len(lengths) > 1:
            self.send_error(400, "bad Content-Length")
            return None
        if length > largest:
            self.send_error(413, f"a body may have {largest} bytes")
            return None
        if length and self.headers.get("Expect", "").lower() == "100-continue":
            self.request.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self.rfile.read(length)
        return body if len(body) == length else None

    def _environ(self, body: bytes) -> Environ:
        path, _, query = self.path.partition("?")
        host, port = self.request.getsockname()[:2]
        environ: Environ = {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "REQUEST_URI": self.path,
            "CONTENT_LENGTH": str(len(body)),
            "SERVER_NAME": host,
            "SERVER_PORT": str(port),
            "SERVER_PROTOCOL": self.request_version,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(body),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            CONNECTION: self,
        }
        for name, value in self.headers.items():
            key = "HTTP_" + name.upper().replace("-", "_")
            if "_" not in name:  # X_Y would pass for X-Y
                environ[key] = f"{environ[key]},{value}" if key in environ else value
        environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE", "")
        environ.pop("HTTP_CONTENT_LENGTH", None)
        return environ

    def respond(self, application: Application, environ: Environ) -> None:
        """Write the application's response. Raise ConnectionError if the application does, to end the connection."""
        head: list[bytes] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: object = None) -> None:
            head[:] = [self._head(status, headers)]

        try:
            pieces = application(environ, start_response)
        except ConnectionError:
            raise
        except Exception:  # a bug of ours must be seen, by the client as well as in the log
            logger.exception("bug", extra={"event": "bug"})
            self.send_error(500, "a bug: see the log")
            return
        try:
            for piece in pieces:
                self._write(b"".join(head), piece)
                head.clear()
            self._write(b"".join(head), b"")
        finally:
            getattr(pieces, "close", bool)()

    def _write(self, head: bytes, piece: bytes) -> None:
        self.wfile.write(head if self.command == "HEAD" else head + piece)
        self.wfile.flush()

    def _head(self, status: str, headers: list[tuple[str, str]]) -> bytes:
        if all(name.lower() != "content-length" for name, _ in headers):
            self.close_connection = True  # which is the end of the body then
        connection = "close" if self.close_connection else "keep-alive"
        own = [("Server", self.server_version), ("Date", self.date_time_string()), ("Connection", connection)]
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in (*own, *headers))]
        return "\r\n".join((*lines, "", "")).encode("latin-1")

    def has_more(self) -> bool:
        """Return whether the next request has begun, now or within a moment."""
        self.request.setblocking(False)
        buffered = self.rfile.peek(1)  # type: ignore[attr-defined]  # a BufferedReader
        self.request.settimeout(IDLE_SECONDS)
        if buffered:
            return True
        poll = select.poll()
        poll.register(self.request, select.POLLIN)
        return bool(poll.poll(NEXT_MILLISECONDS))

    def refuse(self) -> None:
        """Tell the client to come again, as far as that takes no time."""
        with suppress(OSError):
            self.request.setblocking(False)
            self.request.send(_BUSY)
        self.close()

    def abort(self) -> None:
        """End the connection from another thread, which interrupts a read or write."""
        with suppress(OSError):
            self.request.shutdown(socket.SHUT_RDWR)

    def close(self, *, reset: bool = False) -> None:
        """Close it, unless the application has; with `reset` the client gets RST instead of FIN."""
        if self.wfile.closed:
            return
        with suppress(OSError):
            if reset:  # a close that lingers for 0 s sends RST
                self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                self.wfile.flush()
                self.request.shutdown(socket.SHUT_WR)
        for each in (self.wfile, self.rfile, self.request):
            with suppress(OSError):
                each.close()

    def version_string(self) -> str:
        return self.server_version

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug("http: %s", format % args)


class Server:
    """Serves a WSGI application in daemon threads, which are started when they are needed."""

    def __init__(
        self,
        application: Application,
        host: str,
        port: int,
        *,
        threads: int,
        largest_body: int,
        keep_alive: bool = True,
        request_seconds: float = REQUEST_SECONDS,
        connection_seconds: float = inf,
        on_tick: Callable[[], None] = lambda: None,
    ) -> None:
        """`threads` is how many requests are answered at a time, `largest_body` in bytes; a request has to arrive
        within `request_seconds`, and a connection ends after `connection_seconds`.

        A connection takes a thread only from the first byte of a request to the end of its response. With `keep_alive`
        it waits for a free one. Without, it has one request, and if no thread is free, the connection that has waited
        longest for the rest of its request gives way; if there is none, it gets a 503.
        """
        self._application = application
        self._address = (host, port)
        self._most_threads = threads
        self._largest_body = largest_body
        self._keep_alive = keep_alive
        self._request_seconds = request_seconds
        self._connection_seconds = connection_seconds
        self._on_tick = on_tick
        #: Guards what follows.
        self._changed = threading.Condition()
        self._connections: set[ClientConnection] = set()
        #: Connections that wait for a thread, and how many wait for one or have one.
        self._ready: queue.SimpleQueue[ClientConnection] = queue.SimpleQueue()
        self._in_progress = 0
        self._threads = 0
        self._stopping = False

    def bind(self) -> str:
        """Listen; return the address for a browser. Raise OSError if the port is taken, or the host not ours."""
        host, port = self._address
        self._listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((host, port))
            self._listener.listen(128)
        except OSError:
            self._listener.close()
            raise
        self._listener.setblocking(False)
        return f"http://{f'[{host}]' if ':' in host else host}:{self._listener.getsockname()[1]}"

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer requests until the end of the block. Only after `bind`."""
        stop = threading.Event()
        thread = threading.Thread(target=self.serve, args=(stop,), name="serving", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def serve(self, stop: threading.Event) -> None:
        """Answer requests until `stop` is set. Only after `bind`."""
        with selectors.DefaultSelector() as self._idle, self._listener:
            self._idle.register(self._listener, selectors.EVENT_READ)
            next_tick = 0.0
            while not stop.is_set():
                for key, _ in self._idle.select(TICK_SECONDS):
                    if key.data is None:
                        self._accept(stop)
                    else:
                        self._idle.unregister(key.fileobj)
                        self._hand_over(key.data)
                if (now := time.monotonic()) >= next_tick:
                    next_tick = now + TICK_SECONDS
                    self._on_tick()
                    self._abort_before(now)
            self._listener.close()
            self._finish()

    def _finish(self) -> None:
        """Let the requests in progress come to their end, for a while, and end all connections."""
        with self._changed:
            self._stopping = True
            self._changed.wait_for(lambda: not self._in_progress, STOP_SECONDS)
            idle = [key.data for key in self._idle.get_map().values() if key.data is not None]
            self._connections.difference_update(idle)
        for connection in idle:
            connection.close()
        self._abort_before(inf)

    def _accept(self, stop: threading.Event) -> None:
        try:
            connection = ClientConnection(*self._listener.accept())
        except (BlockingIOError, ConnectionError):  # the client has gone
            return
        except OSError as error:  # too many files are open: some are closed in a while
            logger.warning("http: no connection is accepted: %s", error)
            stop.wait(TICK_SECONDS)
            return
        connection.end = time.monotonic() + self._connection_seconds
        with self._changed:
            if not self._keep_alive and len(self._connections) >= MOST_CONNECTIONS:
                min(self._connections, key=lambda each: each.end).abort()
            self._connections.add(connection)
            self._wait_for_request(connection)

    def _wait_for_request(self, connection: ClientConnection) -> None:
        connection.deadline = min(time.monotonic() + IDLE_SECONDS, connection.end)
        # Takes effect at once, also while another thread waits in `select`.
        self._idle.register(connection.request, selectors.EVENT_READ, connection)

    def _hand_over(self, connection: ClientConnection) -> None:
        """Have a thread answer, and start one unless there are enough."""
        with self._changed:
            if self._in_progress >= self._most_threads and not (self._keep_alive or self._make_room()):
                self._connections.discard(connection)
                connection.refuse()
                return
            self._in_progress += 1
            self._ready.put(connection)
            if self._threads < min(self._in_progress, self._most_threads):
                with suppress(RuntimeError):  # no more threads: the next connection tries again
                    threading.Thread(target=self._work, name=WORKER, daemon=True).start()
                    self._threads += 1

    def _make_room(self) -> bool:
        """End the connection that has waited longest for the rest of its request; return whether there was one."""
        slow = [(each.reading_since, each) for each in self._connections if each.reading_since is not None]
        if not slow:
            return False
        _, slowest = min(slow, key=lambda each: each[0])
        slowest.reading_since = None
        slowest.abort()
        return True

    def _abort_before(self, moment: float) -> None:
        """End the connections whose deadline has passed, even if they send or take a byte now and then."""
        with self._changed:
            for connection in self._connections:
                if connection.deadline <= moment:
                    connection.abort()

    def _work(self) -> None:
        while (connection := self._next()) is not None:
            keep = False
            try:
                keep = self._answer(connection)
                if keep and connection.has_more():
                    self._ready.put(connection)
                    continue
            except OSError:
                logger.debug("http: the client has gone, or took too long")
            except Exception:  # any: a thread that ends in a traceback would bypass the log
                logger.exception("bug", extra={"event": "bug"})
                keep = False
            self._release(connection, keep=keep)

    def _next(self) -> ClientConnection | None:
        """Return a connection that waits for a thread; None when there was none for a while."""
        while True:
            try:
                return self._ready.get(timeout=SPARE_SECONDS)
            except queue.Empty:
                with self._changed:
                    if self._ready.empty():
                        self._threads -= 1
                        return None

    def _answer(self, connection: ClientConnection) -> bool:
        """Answer one request; return whether the connection may be used for another."""
        connection.reading_since = now = time.monotonic()
        connection.deadline = min(now + self._request_seconds, connection.end)
        try:
            environ = connection.read_request(self._largest_body)
        finally:
            connection.reading_since = None
        if environ is None:
            return False
        connection.deadline = connection.end
        connection.close_connection |= not self._keep_alive or self._stopping
        connection.respond(self._application, environ)
        return not connection.close_connection

    def _release(self, connection: ClientConnection, *, keep: bool) -> None:
        with self._changed:
            self._in_progress -= 1
            self._changed.notify_all()
            if keep and not self._stopping:
                self._wait_for_request(connection)
                return
            self._connections.discard(connection)
        connection.close()
