"""A journal of the latest requests, and counters of all of them. Holds no secrets."""

import itertools
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import field, fields
from datetime import UTC, datetime
from typing import Any

from connectorlib.dataclass import dataclass

KEPT = 5_000
BODIES = 300  # of the latest entries; each may hold 200 records
#: Headers that hold secrets or nothing of interest.
LEFT_OUT = {"Authorization", "Cookie", "Host", "Connection", "Accept", "Accept-Encoding", "User-Agent"}


@dataclass(slots=True)
class JournalEntry:
    """One request. `body` is the JSON of a data call; of a log-in only the user and the flow."""

    number: int
    method: str
    path: str
    query: str = ""
    user: str = ""
    session: int = 0  # number of the session, from 1; 0: none
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    records: int = 0
    fault: int = 0  # number of the fault rule that was applied
    status: int = 0  # 0: not answered
    at: str = ""
    ms: float = 0.0
    started: float = 0.0


_EXPORTED = [each.name for each in fields(JournalEntry) if each.name != "started"]


class Journal:
    """Thread-safe. Counters are complete; only the latest entries are kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[JournalEntry] = deque(maxlen=KEPT)
        self._numbers = itertools.count(1)
        self._calls: Counter[str] = Counter()
        self._logins: dict[str, Counter[str]] = {}
        self._now: Counter[str] = Counter()
        self._most: Counter[str] = Counter()

    def begin(self, method: str, path: str, **more: Any) -> JournalEntry:
        with self._lock:
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            entry = JournalEntry(next(self._numbers), method, path, at=at, started=time.monotonic(), **more)
            self._entries.append(entry)
            if len(self._entries) > BODIES:
                self._entries[-BODIES - 1].body = None
            self._now[entry.user] += 1
            self._most[entry.user] = max(self._most[entry.user], self._now[entry.user])
            return entry

    def end(self, entry: JournalEntry) -> None:
        with self._lock:
            entry.ms = round((time.monotonic() - entry.started) * 1000, 1)
            self._now[entry.user] -= 1

    def count_call(self, user: str) -> None:
        """Count an API call."""
        with self._lock:
            self._calls[user] += 1

    def count_login(self, user: str, answer: str) -> None:
        """Count a log-in: `granted`, or the OAuth error."""
        with self._lock:
            self._logins.setdefault(user, Counter())[answer] += 1

    def entries(self) -> list[dict[str, Any]]:
        with self._lock:
            return [{name: getattr(entry, name) for name in _EXPORTED} for entry in self._entries]

    def counts(self) -> dict[str, Any]:
        """Return the calls, the log-ins and the highest number of concurrent requests, by user."""
        with self._lock:
            return {
                "calls": dict(self._calls),
                "logins": {user: dict(answers) for user, answers in self._logins.items()},
                "most_at_a_time": dict(self._most),
            }

    def clear(self) -> None:
        """Forget everything except requests in progress."""
        with self._lock:
            self._entries.clear()
            self._calls.clear()
            self._logins.clear()
            self._most.clear()


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers except those in LEFT_OUT."""
    return {name: value for name, value in headers.items() if name.title() not in LEFT_OUT}
