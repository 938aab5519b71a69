"""The org's limit on API calls in 24 hours: counts calls, writes the header, refuses calls beyond the limit.

Salesforce counts over a rolling window; here it rolls by the hour.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from sfconnector.sandbox.refusals import refused

HOUR = 3600.0
WINDOW = 24 * HOUR
MAXIMUM = 15_000  # of a Developer Edition
HEADER = "Sforce-Limit-Info"
REFUSAL = ("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")


class ApiLimit:
    """The limit, and the calls that count towards it."""

    def __init__(self, maximum: int = MAXIMUM, clock: Callable[[], float] = time.monotonic) -> None:
        self.maximum = maximum
        self._clock = clock
        self._lock = threading.Lock()
        self._hours: deque[list[float]] = deque()  # [start, calls]

    def count(self) -> None:
        """Count one call. Raise ApiError (403) if none is left; a refused call is not counted."""
        with self._lock:
            if self._used() >= self.maximum:
                raise refused(*REFUSAL, None, 403)
            self._add(1)

    @property
    def used(self) -> int:
        with self._lock:
            return self._used()

    def set(self, *, maximum: int | None = None, used: int | None = None) -> None:
        """Set the limit, the calls used, or both."""
        with self._lock:
            if maximum is not None:
                self.maximum = maximum
            if used is not None:
                self._hours.clear()
                self._add(used)

    def header(self) -> str:
        return f"api-usage={self.used}/{self.maximum}"

    def answer(self) -> dict[str, Any]:
        """Return the answer to GET /limits."""
        calls = {"Max": self.maximum, "Remaining": max(0, self.maximum - self.used)}
        megabytes = {"Max": 5, "Remaining": 5}
        return {"DailyApiRequests": calls, "DataStorageMB": megabytes, "FileStorageMB": {"Max": 20, "Remaining": 20}}

    def _used(self) -> int:
        oldest = self._clock() - WINDOW
        while self._hours and self._hours[0][0] + HOUR <= oldest:
            self._hours.popleft()
        return int(sum(calls for _, calls in self._hours))

    def _add(self, calls: int) -> None:
        now = self._clock()
        if not self._hours or now - self._hours[-1][0] >= HOUR:
            self._hours.append([now, 0])
        self._hours[-1][1] += calls
