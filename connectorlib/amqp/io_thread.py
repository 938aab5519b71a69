"""The thread that owns pika's event loop. What is posted to it runs there in order, and must not block."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from typing import Any

from pika.adapters.select_connection import IOLoop

from connectorlib.errors import Failed, Failure, Kind

logger = logging.getLogger(__name__)

TICK_SECONDS = 1.0
#: What the names of these threads begin with, by which a log knows what pika says there.
THREADS = "amqp"
STOPPED = Failure(Kind.UNAVAILABLE, "stopped", "the connector is stopping", "broker")


class IOThread:
    """Runs the loop until `stop`. An exception in it is logged and followed by `on_error`; the thread goes on."""

    def __init__(self, name: str, on_error: Callable[[], None]) -> None:
        self.loop = IOLoop()
        self._on_error = on_error
        self._ended = False
        self._ticker: object = None
        self._thread = threading.Thread(target=self._run, name=f"{THREADS} {name}", daemon=True)
        #: time.monotonic() of the last sign of life, for a watchdog.
        self.ticked = time.monotonic()

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """End the loop and wait for the thread; return whether it has ended."""
        self._ended = True
        if self._thread.ident is None:  # never started
            self.loop.close()
            return True
        self.loop.add_callback_threadsafe(self.loop.stop)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def is_running(self) -> bool:
        return self._thread.is_alive() and not self._ended

    def post(self, action: Callable[[], None]) -> None:
        """Run `action` in the I/O thread, soon. May be called from any thread."""
        self.loop.add_callback_threadsafe(partial(self.guard, action))

    def call_later(self, delay: float, action: Callable[[], None]) -> object:
        """Run `action` after `delay` seconds, unless it is cancelled. To be called in the I/O thread only."""
        return self.loop.call_later(delay, partial(self.guard, action))

    def cancel(self, timer: object) -> None:
        if timer is not None:
            self.loop.remove_timeout(timer)

    def ask(
        self,
        action: Callable[["Future[Any]"], None],
        timeout: float,
        *,
        what: str,
        progress: Callable[[], object] = lambda: None,
    ) -> Any:
        """Run `action` in the I/O thread with a future that it settles now or later; return or raise the result.
        `timeout` begins again whenever `progress` has changed at its end: the answer may come behind a large body."""
        if not self.is_running():
            raise Failed(STOPPED)
        future: Future[Any] = Future()
        self.post(partial(self._answer, action, future))
        seen = progress()
        while not future.done() and not _settled(future, timeout):
            before, seen = seen, progress()
            if seen == before and future.cancel():
                text = f"no answer to {what} within {timeout:g} s"
                raise Failed(Failure(Kind.UNAVAILABLE, "timeout", text, "broker"))
        return future.result()

    def guard(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:  # one bad callback must not end the thread that keeps every connection alive
            logger.exception("error in the I/O thread, connections are reset")
            self._on_error()

    @staticmethod
    def _answer(action: Callable[["Future[Any]"], None], future: "Future[Any]") -> None:
        try:
            action(future)
        except Exception as error:  # for the thread that asked
            fail(future, error)

    def _run(self) -> None:
        self._tick()
        while not self._ended:
            try:
                self.loop.start()
            except Exception:  # pika's own timers and handlers are not guarded by us
                level = logging.DEBUG if self._ended else logging.ERROR
                logger.log(level, "error in the event loop, connections are reset", exc_info=True)
                self.guard(self._restart)
        self.loop.close()

    def _restart(self) -> None:
        """Start the ticker again: pika loses the timers that were due when one of them raised."""
        self.cancel(self._ticker)
        self._tick()
        self._on_error()

    def _tick(self) -> None:
        self.ticked = time.monotonic()
        self._ticker = self.loop.call_later(TICK_SECONDS, self._tick)


def _settled(future: "Future[Any]", timeout: float) -> bool:
    """Wait for a future; return whether it was settled in time."""
    return bool(wait([future], timeout).done)


def succeed(future: "Future[Any]", value: object = None) -> None:
    """Settle `future`, unless it is settled or nobody waits for it any more."""
    if not future.done():
        future.set_result(value)


def succeed_after(first: "Future[Any]", future: "Future[Any]") -> None:
    """Settle `future` once the first one is done."""
    first.add_done_callback(lambda _first: succeed(future))


def fail(future: "Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
