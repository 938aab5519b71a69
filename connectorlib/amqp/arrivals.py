"""Where the worker waits for deliveries that the I/O thread appends to a line, of one consumer or of several."""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from connectorlib.messages import Delivery

NEVER = sys.maxsize
#: Deliveries for the worker.
Line = deque[Delivery]


class Arrivals:
    def __init__(self) -> None:
        self._ready = threading.Event()
        self._woken = False
        #: The I/O thread calls `notify` once this many deliveries wait: one comparison per message instead of a lock.
        self.wanted = NEVER

    def notify(self) -> None:
        """Let the worker look: what it wants has come, or no more will."""
        self.wanted = NEVER
        self._ready.set()

    def wake(self) -> None:
        """Make the `take` that waits now, or the next one, return [] at once. May be called from any thread."""
        self._woken = True
        self._ready.set()

    def take(
        self,
        line: Line,
        size: int,
        wait_s: float,
        idle_s: float,
        *,
        is_lost: Callable[[], bool],
        most: Callable[[], int] = lambda: NEVER,
    ) -> list[Delivery]:
        """Take up to `size` deliveries off a line, gathered for at most `wait_s` after the first arrived, or until
        there are as many as `most` says there can be.

        Wait up to `idle_s` for the first. Return [] if none arrives, on `wake`, and when the line is lost.
        """
        batch = self._take(line, size, wait_s, idle_s, is_lost, most)
        if not batch:
            self._woken = False
        return batch

    def _take(
        self,
        line: Line,
        size: int,
        wait_s: float,
        idle_s: float,
        is_lost: Callable[[], bool],
        most: Callable[[], int],
    ) -> list[Delivery]:
        if is_lost() or not self._await(line, 1, time.monotonic() + idle_s, is_lost):
            return []
        self._await(line, min(size, most()), line[0].received + wait_s, is_lost)
        if self._woken or is_lost():
            return []
        return [line.popleft() for _ in range(min(size, len(line)))]

    def _await(self, line: Line, size: int, deadline: float, is_lost: Callable[[], bool]) -> bool:
        """Return True once `size` deliveries wait; False on wake, on loss and at the deadline."""
        while len(line) < size:
            self._ready.clear()
            if self._woken or is_lost():
                return False
            self.wanted = size
            if len(line) >= size:  # arrived meanwhile
                break
            if not self._ready.wait(max(deadline - time.monotonic(), 0.0)):
                self.wanted = NEVER
                return len(line) >= size
        return not self._woken


def first_of(line: Line, most: int) -> list[Delivery]:
    """Return the first deliveries of a line, so many at most. For the worker, as `arrived_first`."""
    found: list[Delivery] = []
    with suppress(IndexError):  # no iterator, which raises if the line grows meanwhile
        found.extend(line[at] for at in range(most))
    return found


def arrived_first(line: Line) -> float | None:
    """Return when the first delivery of a line came (monotonic), None if there is none. For the worker, while the I/O
    thread may append or clear."""
    try:
        return line[0].received
    except IndexError:
        return None
