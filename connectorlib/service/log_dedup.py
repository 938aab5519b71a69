"""Counts identical warnings instead of logging each: the first is logged, the others as a number once a minute.

`Repeats` is pure (callers pass the time); connectorlib/service/logs.py gives it records and a timer.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

from connectorlib.dataclass import dataclass

T = TypeVar("T")

WINDOW_S = 60.0
MAX_KEYS = 1000


@dataclass(slots=True)
class Summary(Generic[T]):
    """`count` suppressed items within `seconds`, the last of which is `item`."""

    item: T
    count: int
    seconds: float


@dataclass(slots=True)
class _Entry(Generic[T]):
    since: float
    last: T
    suppressed: int = 0


class Repeats(Generic[T]):
    def __init__(self, window: float = WINDOW_S, max_keys: int = MAX_KEYS) -> None:
        self._window = window
        self._max_keys = max_keys
        self._entries: dict[Hashable, _Entry[T]] = {}

    def offer(self, key: Hashable, item: T, now: float) -> bool:
        """Return whether to log it now; if not, it is counted. Call `due` first."""
        entry = self._entries.get(key)
        if entry is None:
            # With the table full everything is logged: losing facts is worse than logging them twice.
            if len(self._entries) < self._max_keys:
                self._entries[key] = _Entry(now, item)
            return True
        entry.suppressed += 1
        entry.last = item
        return False

    def due(self, now: float, *, everything: bool = False) -> list[Summary[T]]:
        """Return the summaries of the windows that are over. After a window without repeats the key is forgotten."""
        over = [(key, entry) for key, entry in self._entries.items() if everything or now - entry.since >= self._window]
        summaries: list[Summary[T]] = []
        for key, entry in over:
            if entry.suppressed:
                summaries.append(Summary(entry.last, entry.suppressed, now - entry.since))
                entry.since, entry.suppressed = now, 0
            else:
                del self._entries[key]
        return summaries

    def next_due(self) -> float | None:
        """Return when the next window with repeats ends, None if there is none."""
        return min((entry.since + self._window for entry in self._entries.values() if entry.suppressed), default=None)
