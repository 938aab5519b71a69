"""A request and its answer with a time limit for both, after which the socket is shut down.

One thread watches all exchanges of the process: to start one for each request takes longer than to send the request.
"""

import contextlib
import math
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

#: Work for the time in which an answer is awaited, piece by piece until it is there, as the argument says.
Meanwhile = Callable[[Callable[[], bool]], object]


class HttpExchange:
    """A request to a host and the answer, with a time limit for both; `proxy` is the address of the one that is
    used."""

    def __init__(self, seconds: float, host: str, proxy: str | None, meanwhile: Meanwhile | None = None) -> None:
        self.seconds = seconds
        self._meanwhile = meanwhile
        self.host = host
        self.proxy = proxy
        self.sent = False
        self.timed_out = False
        #: Monotonic.
        self.until = time.monotonic() + seconds
        self._socket: socket.socket | None = None

    def left(self) -> float:
        return max(0.001, self.until - time.monotonic())

    def start(self, connected: Any) -> None:
        # TLS within the TLS of a proxy is an object of urllib3's, which has the socket.
        self._socket = connected if isinstance(connected, socket.socket) else getattr(connected, "socket", None)
        self.sent = True

    def work_meanwhile(self) -> None:
        """Do what there is to do before the answer comes. What fails is left to whoever needs it later."""
        if self._meanwhile is not None and self._socket is not None:
            with contextlib.suppress(Exception):
                answer = select.poll()
                answer.register(self._socket, select.POLLIN)
                self._meanwhile(lambda: self.timed_out or bool(answer.poll(0)))

    def cut(self) -> None:
        """End the exchange from another thread: reading and writing fail, or reach the end of the data."""
        self.timed_out = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket.shutdown, which would let the reader continue without TLS.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class Deadlines:
    """Cuts exchanges that exceed their time limits. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running: set[HttpExchange] = set()
        self._thread: threading.Thread | None = None
        #: When the thread looks next (monotonic). It is not woken for what ends later, nor for what has ended.
        self._next = math.inf

    @contextlib.contextmanager
    def limiting(self, exchange: HttpExchange) -> Iterator[None]:
        """Cut the exchange if it has not ended when its time is over."""
        with self._changed:
            self._running.add(exchange)
            if self._thread is None or not self._thread.is_alive():  # as in a forked process
                self._thread = threading.Thread(target=self._watch, name="HTTP deadlines", daemon=True)
                self._thread.start()
            elif exchange.until < self._next:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._running.discard(exchange)

    def _watch(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                over = [each for each in self._running if each.until <= now]
                for each in over:
                    each.cut()
                self._running.difference_update(over)
                self._next = min((each.until for each in self._running), default=math.inf)
                self._changed.wait(None if self._next == math.inf else self._next - now)
