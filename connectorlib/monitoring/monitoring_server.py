"""The monitoring port: HTTP in a few threads of its own, which the work never waits for.

The standard library's server, one request to a connection. What could go wrong with it is bounded here: how many
requests are answered at a time, how long any connection may last, how much of a request is read. Whatever goes wrong
all the same, a taken port included, is told in the log and costs the connector nothing.
"""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

from connectorlib.monitoring.monitor import Monitor
from connectorlib.monitoring.routes import HEADERS, TEXT, Answer, Answers
from connectorlib.service import logs
from connectorlib.shared_settings import Monitoring

logger = logging.getLogger(__name__)

#: Requests that are answered at a time; who comes beyond gets a 503.
THREADS = 8
#: Seconds from the first byte to the last, whatever the client does.
CONNECTION_S = 10.0
#: How often the counts are taken over, and connections looked at that last too long.
TICK_S = 0.25
#: Seconds between two tries to have a port that somebody else has.
AGAIN_S = 10.0

WORKER = "monitoring request"
_BUSY = b"HTTP/1.0 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 5\r\n\r\nbusy\n"


class _Handler(BaseHTTPRequestHandler):
    server_version = "amqp-connectors"
    timeout = CONNECTION_S
    #: Nothing but GET and HEAD: nobody can change anything here.
    answers: ClassVar[Answers]

    def do_GET(self) -> None:
        try:
            answer = self.answers.answer(self.path, self.headers.get("Accept", ""))
        except Exception:  # a bug of ours must be seen, here as well as in the log
            logger.exception("bug", extra={"event": "bug"})
            answer = Answer(500, TEXT, b"a bug: see the log\n")
        self._send(answer)

    do_HEAD = do_GET

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        headers = {**HEADERS, **answer.headers, "Content-Type": answer.content_type, "Connection": "close"}
        for name, value in {**headers, "Content-Length": str(len(answer.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def version_string(self) -> str:
        return self.server_version

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug("monitoring: %s", format % args)


class _Server(HTTPServer):
    allow_reuse_address = True
    request_queue_size = 32

    def __init__(self, address: tuple[str, int], answers: Answers) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._monitor = answers.monitor
        self._free = threading.BoundedSemaphore(THREADS)
        self._lock = threading.Lock()
        self._since: dict[socket.socket, float] = {}
        super().__init__(address, type("Handler", (_Handler,), {"answers": answers}))
        self.timeout = TICK_S

    def server_bind(self) -> None:
        """Bind, without the look-up of the host's name that the library makes, which may take half a minute."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, if one is free."""
        if not self._free.acquire(blocking=False):
            with contextlib.suppress(OSError):
                request.settimeout(0)
                request.send(_BUSY)
            self.shutdown_request(request)
            return
        with self._lock:
            self._since[request] = time.monotonic()
        try:
            threading.Thread(target=self._work, args=(request, client_address), name=WORKER, daemon=True).start()
        except BaseException:  # no thread, whatever the reason: nobody else would free its place
            self._done(request)
            raise

    def _work(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError:
            logger.debug("monitoring: the client went away, or took too long")
        except Exception:  # any: a thread that ends in a traceback would tell it past the log
            logger.exception("bug", extra={"event": "bug"})
        finally:
            self._done(request)

    def _done(self, request: socket.socket) -> None:
        with self._lock:
            self._since.pop(request, None)
        self.shutdown_request(request)
        self._free.release()

    def service_actions(self) -> None:
        """Called every TICK_S, and after each request."""
        self._monitor.tick()
        late = time.monotonic() - CONNECTION_S
        with self._lock:
            # Its thread may be reading or writing, one byte now and then; this ends both.
            for request in [each for each, since in self._since.items() if since < late]:
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("monitoring: a request failed", exc_info=True)


class _Thread(threading.Thread):
    """Binds, as soon as the port is free, and serves until told to stop."""

    def __init__(self, settings: Monitoring, answers: Answers) -> None:
        super().__init__(name="monitoring", daemon=True)
        self._settings = settings
        self._answers = answers
        self._stop_asked = threading.Event()

    def run(self) -> None:
        try:
            while not self._stop_asked.is_set():
                if (server := self._bound()) is not None:
                    with server:
                        while not self._stop_asked.is_set():
                            server.handle_request()
                            server.service_actions()
                    return
                self._stop_asked.wait(AGAIN_S)
        except Exception:  # any: the connector goes on without it
            logger.exception("bug: the monitoring port has ended", extra={"event": "bug"})

    def _bound(self) -> _Server | None:
        host, port = self._settings.host, self._settings.port
        try:
            server = _Server((host, port), self._answers)
        except OSError as error:
            text = f"{error.strerror or error}: nobody can ask, all else goes on"
            logs.event(logger, logging.WARNING, "no monitoring", host=host, port=port, text=text)
            return None
        shown = f"[{host}]" if ":" in host else host
        logs.event(logger, logging.INFO, "monitoring", url=f"http://{shown}:{server.server_port}/")
        return server

    def end(self) -> None:
        """Stop serving; the port is free then. Who is being answered may lose the answer."""
        self._stop_asked.set()
        self.join(2.0)


@contextmanager
def serving(settings: Monitoring, monitor: Monitor) -> Iterator[None]:
    """Answer on the monitoring port until the end of the block. Never raises: without the port all else goes on."""
    thread = _Thread(settings, Answers(monitor))
    thread.start()
    try:
        yield
    finally:
        thread.end()
