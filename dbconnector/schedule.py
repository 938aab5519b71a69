"""When a query is run."""

import time
from typing import Protocol


class Schedule(Protocol):
    """When the next run begins, for one loop."""

    def log_start(self) -> None:
        """Log when it will run, where that is not at once."""

    def due_in(self) -> float:
        """Return the seconds to sleep before asking again; 0: a run is due."""

    def begin(self) -> bool:
        """A run begins, whether it is due or was asked for; return False if it is not needed, or is another process's.
        Raise Failed if that cannot be found out."""

    def finish(self, *, complete: bool) -> None:
        """The run that has begun ends. Raise Failed if it is complete and that cannot be recorded."""

    def next_in(self) -> float:
        """Return the seconds from now to the run after the one that has begun."""


class IntervalSchedule:
    """Runs so many seconds from the beginning of one to that of the next; the first at once."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0

    def log_start(self) -> None:
        pass

    def due_in(self) -> float:
        return max(0.0, self._next - time.monotonic())

    def begin(self) -> bool:
        self._next = time.monotonic() + self._seconds
        return True

    def finish(self, *, complete: bool) -> None:
        pass

    next_in = due_in
