"""When a query is run."""

import logging
import time
from typing import Protocol


class Schedule(Protocol):
    """When the next run begins, for one loop."""

    def log_start(self, logger: logging.Logger) -> None:
        """Log when it will run, where that is not at once."""

    def due_in(self) -> float:
        """Return the seconds to sleep before asking again; 0: a run is due."""

    def begin(self) -> None:
        """A run begins, whether it is due or was asked for."""

    def finish(self) -> None:
        """The run that has begun is complete."""

    def next_in(self) -> float:
        """Return the seconds from now to the run after the one that has begun."""


class IntervalSchedule:
    """Runs so many seconds from the beginning of one to that of the next; the first at once."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0

    def log_start(self, logger: logging.Logger) -> None:
        pass

    def due_in(self) -> float:
        return max(0.0, self._next - time.monotonic())

    def begin(self) -> None:
        self._next = time.monotonic() + self._seconds

    def finish(self) -> None:
        pass

    next_in = due_in
