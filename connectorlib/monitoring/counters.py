"""Distributions, counts of the last hour, and the metrics of a sink. Pure: callers pass the time."""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import field
from itertools import accumulate
from typing import Literal

from connectorlib.dataclass import dataclass

MINUTE_S = 60.0
MINUTES = 60


@dataclass(frozen=True, slots=True)
class SinkMetric:
    """A metric that a sink brings, with one series for each of its flows or connections."""

    name: str  # without the prefix
    about: str
    kind: Literal["counter", "gauge"]
    #: Returns None while the value is unknown.
    value: Callable[[], float | None]


@dataclass(frozen=True, slots=True)
class SinkDetail:
    """A line that a sink brings to the status of its flow: `open alarms  3 active, 1 flapping`."""

    name: str
    counts: Mapping[str, int]
    #: What is named behind the counts; at most ten.
    names: Sequence[str] = field(default=())


class Histogram:
    """Counts values by upper bound, as Prometheus expects."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return each bound with the number of values not above it, `+Inf` last."""
        names = [f"{bound:g}" for bound in self._bounds] + ["+Inf"]
        return [(name, float(count)) for name, count in zip(names, accumulate(self._counts), strict=True)]


class LastHour:
    """Counts by name and minute; forgets what is older than an hour."""

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
