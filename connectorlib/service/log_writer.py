"""Writes lines to where a log goes, in a thread of its own.

Rule: whoever logs never waits. A pipe that nobody reads, a full disk or a share that hangs must not hold the work up.
So lines wait in a queue of bounded size; what does not fit is counted, and the count is written where it is missing.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

#: Bytes of the lines that wait.
MAX_BYTES = 1 << 20
#: Seconds without a byte written after which the end of the process waits no longer.
PATIENCE_S = 1.0
#: Seconds after which it waits no longer, though bytes are written now and then.
MOST_S = 10.0


class LogWriter:
    """`put` lines from any thread; `flush` before the process ends. The thread starts with the first line."""

    def __init__(
        self,
        write: Callable[[bytes], int],
        *,
        gap: Callable[[int], bytes],
        on_failure: Callable[[Exception], object] = lambda error: None,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """`write` returns how many bytes it has written, or raises; `gap` makes the line about so many lines that are
        missing. `on_failure` is called once when writing begins to fail; what fails counts as missing."""
        self._write = write
        self._gap = gap
        self._on_failure = on_failure
        self._max_bytes = max_bytes
        #: Guards what follows.
        self._changed = threading.Condition(threading.Lock())
        self._lines: deque[bytes] = deque()
        #: Bytes of all lines that were taken, and of those that were written or lost since.
        self._taken = self._finished = 0
        #: How many bytes have been written, be it of half a line.
        self._written = 0
        #: What was written when a `flush` gave up.
        self._stuck_at = -1
        self._missing = 0
        self._idle = True
        self._closed = False
        self._failing = False
        #: Whether the last thing written is half a line.
        self._torn = False
        self._thread: threading.Thread | None = None

    def put(self, line: bytes) -> None:
        """Write a line soon, unless too many wait already."""
        with self._changed:
            waiting = self._taken - self._finished
            if waiting and waiting + len(line) > self._max_bytes:
                self._missing += 1
                return
            self._lines.append(line)
            self._taken += len(line)
            if self._idle:
                with suppress(RuntimeError):  # no thread can be started now: the next line tries it again
                    self._wake()
                    self._idle = False

    def flush(self, patience: float = PATIENCE_S) -> bool:
        """Wait until what was put so far is written, for as long as something is, but `MOST_S` at most; return whether
        it was. Where it was not, the next call waits only if something has been written since."""
        end = time.monotonic() + MOST_S
        with self._changed:
            taken = self._taken
            while not self._has_finished(taken) and self._written != self._stuck_at:
                before, left = self._written, end - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait_for(
                    lambda: self._has_finished(taken) or self._written != before,  # noqa: B023
                    min(patience, left),
                )
                if not self._has_finished(taken) and self._written == before:
                    self._stuck_at = before
            return self._has_finished(taken)

    def _has_finished(self, taken: int) -> bool:
        return self._idle or (self._finished >= taken and not self._missing)

    def close(self) -> bool:
        """Write what waits, and end the thread; return False for one that is stuck, which ends with the process."""
        done = self.flush()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        return done

    def _wake(self) -> None:
        if self._thread is None or not self._thread.is_alive():  # after a fork, the child has none
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()
        else:
            self._changed.notify_all()

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            lines, missing = batch
            failed = not self._try(b"".join([*lines, self._gap(missing)] if missing else lines))
            with self._changed:
                self._finished += sum(map(len, lines))
                self._missing += len(lines) + missing if failed else 0

    def _next(self) -> tuple[list[bytes], int] | None:
        """Return the lines that wait, and how many are missing behind them; None at the end."""
        with self._changed:
            while not self._lines and (self._failing or not self._missing):
                self._idle = True
                self._changed.notify_all()
                if self._closed:
                    return None
                self._changed.wait()
            lines, missing = list(self._lines), self._missing
            self._lines.clear()
            self._missing = 0
            return lines, missing

    def _try(self, data: bytes) -> bool:
        """Write all of it; return whether that was possible."""
        rest = b"\n" + data if self._torn else data
        try:
            while rest:
                count = self._write(rest)
                rest = rest[count:]
                with self._changed:
                    self._written += count
                    self._changed.notify_all()
        except Exception as error:  # any: a thread that ends would leave the log silent for good
            self._torn = self._torn or len(rest) < len(data)
            if not self._failing:
                self._failing = True
                self._on_failure(error)
            return False
        self._failing = self._torn = False
        return True


def flush_all() -> None:
    """Wait until everything that was logged is written, as long as something is."""
    for handler in logging.getLogger().handlers:
        handler.flush()
