"""Figures kept as they come: distributions, and what happened within the last hour. Pure: the time is given."""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Hashable, Sequence
from itertools import accumulate

MINUTE_S = 60.0
MINUTES = 60


class Histogram:
    """How many values lay up to each bound, as Prometheus wants them."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return each bound with how many values are not above it, `+Inf` last."""
        names = [f"{bound:g}" for bound in self._bounds] + ["+Inf"]
        return [(name, float(count)) for name, count in zip(names, accumulate(self._counts), strict=True)]


class LastHour:
    """Counts by name, minute by minute; what is older than an hour is forgotten."""

    def __init__(self) -> None:
        self._minutes: deque[tuple[int, Counter[Hashable]]] = deque()

    def add(self, name: Hashable, count: int, now: float) -> None:
        """Count something; `now` in monotonic seconds, never less than before."""
        minute = int(now // MINUTE_S)
        if not self._minutes or self._minutes[-1][0] != minute:
            self._forget(minute)
            self._minutes.append((minute, Counter()))
        self._minutes[-1][1][name] += count

    def totals(self, now: float) -> Counter[Hashable]:
        """Return what was counted within the last hour, to the minute."""
        self._forget(int(now // MINUTE_S))
        total: Counter[Hashable] = Counter()
        for _, counts in self._minutes:
            total.update(counts)
        return total

    def _forget(self, minute: int) -> None:
        while self._minutes and self._minutes[0][0] <= minute - MINUTES:
            self._minutes.popleft()
