"""Two limits: the org's API calls in 24 hours, which Salesforce counts, and a division's Cases per minute.

An org may have more calls than it is said to have: calls are made until Salesforce refuses one. The usage in each
answer (Sforce-Limit-Info) is kept per org, because all divisions of an org share the calls.
"""

import threading
from math import inf

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failure, Kind

#: Age at which a usage is outdated: the window rolls on, so calls come back. Asking costs a call.
STALE_S = 300.0

#: With so much left calls need not be saved; with less in proportion, up to a limit.
AMPLE_PERCENT, MOST_STRETCH = 50.0, 12.0

PLACE = "API calls"
RATE_PLACE = "rate"


@dataclass(frozen=True, slots=True)
class Usage:
    """The used API calls of an org and the limit; `at` is monotonic seconds."""

    used: int
    maximum: int
    at: float

    @property
    def left_percent(self) -> float:
        return 100.0 * max(0, self.maximum - self.used) / self.maximum if self.maximum > 0 else 0.0


class Budgets:
    """The latest known usage of every org. Thread-safe."""

    def __init__(self, reserve_percent: float) -> None:
        self._reserve_percent = reserve_percent
        self._lock = threading.Lock()
        self._usages: dict[str, Usage] = {}
        #: When Salesforce last refused a call because none is left, by org.
        self._refusals: dict[str, float] = {}

    def note(self, org: str, usage: Usage | None) -> None:
        """Take note of the usage in an answer, unless a newer one is known."""
        if usage is None:
            return
        with self._lock:
            before = self._usages.get(org)
            if before is None or before.at <= usage.at:
                self._usages[org] = usage
            if usage.at > self._refusals.get(org, usage.at):  # a later call was answered
                del self._refusals[org]

    def note_refusal(self, org: str, usage: Usage | None, at: float) -> None:
        """Take note that Salesforce has refused a call: none is left. If the usage says otherwise, that is so for
        this caller only: its app may have a limit of its own."""
        if usage is not None and usage.left_percent <= 0:
            with self._lock:
                self._refusals[org] = at

    def forget(self, org: str) -> None:
        """Forget the usage of an org, so that it is tried."""
        with self._lock:
            self._usages.pop(org, None)
            self._refusals.pop(org, None)

    def stretch(self, org: str, now: float) -> float:
        """Return how many times as long messages may be collected, as far as the usage is known."""
        with self._lock:
            usage = self._usages.get(org)
        return 1.0 if usage is None or now - usage.at > STALE_S else stretch(usage)

    def lack(self, org: str, priority: str, now: float) -> Failure | None:
        """Return why a division of this priority has to wait, None if it need not or the usage is unknown."""
        with self._lock:
            usage, refused = self._usages.get(org), self._refusals.get(org)
        if refused is not None and now - refused <= STALE_S:
            return Failure(Kind.UNAVAILABLE, "api-limit", "Salesforce has refused a call: the org has none left", PLACE)
        if usage is None or now - usage.at > STALE_S:
            return None
        return shortage(usage, priority, self._reserve_percent)


def stretch(usage: Usage) -> float:
    """Return how many times as long messages may be collected for a call, so that the calls that are left last."""
    if usage.maximum <= 0:
        return 1.0
    return max(1.0, min(MOST_STRETCH, AMPLE_PERCENT / max(usage.left_percent, 1.0)))


def shortage(usage: Usage, priority: str, reserve_percent: float) -> Failure | None:
    """Return why a division of this priority has to wait: `low` does below the reserve."""
    count = f"{usage.used} of {usage.maximum} in the last 24 hours are used"
    if priority == "low" and usage.left_percent < reserve_percent:
        text = f"{count}; the last {reserve_percent:g} % are kept from divisions of low priority"
        return Failure(Kind.UNAVAILABLE, "api-reserve", text, PLACE)
    return None


class Rate:
    """A token bucket: so many Cases a minute, all of them at once after a quiet minute. Thread-safe."""

    def __init__(self, per_minute: int, now: float) -> None:
        self._per_minute = per_minute
        self._left = float(per_minute)
        self._at = now
        self._lock = threading.Lock()

    def lack(self, count: int, now: float) -> Failure:
        """Return why so many have to wait longer than a message is held."""
        text = f"at {self._per_minute} Cases a minute the next may be created in {self.delay(count, now):.0f} s"
        return Failure(Kind.UNAVAILABLE, "rate", f"{text}, because this many were created at once", RATE_PLACE)

    def delay(self, count: int, now: float) -> float:
        """Return the seconds until so many may be sent; more than a minute's worth are sent when the bucket is full."""
        with self._lock:
            return self._delay(count, now)

    def take(self, count: int, now: float, longest: float = inf) -> float:
        """Return the seconds until so many may be sent, and count them: others come behind them. If those are more
        than `longest`, count nothing."""
        with self._lock:
            delay = self._delay(count, now)
            if delay <= max(0.0, longest):
                self._left -= count
            return delay

    def give_back(self, count: int, now: float) -> None:
        """Return what was counted for Cases that were not created."""
        with self._lock:
            self._refill(now)
            self._left = min(float(self._per_minute), self._left + count)

    def _delay(self, count: int, now: float) -> float:
        self._refill(now)
        missing = min(count, self._per_minute) - self._left
        return max(0.0, missing * 60.0 / self._per_minute)

    def _refill(self, now: float) -> None:
        self._left = min(float(self._per_minute), self._left + (now - self._at) * self._per_minute / 60.0)
        self._at = now
