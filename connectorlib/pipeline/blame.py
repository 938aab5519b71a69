"""The failure policy: who is to blame, how long to wait, what to say. Pure: no clock, socket or logger of its own.

The rule (docs/guarantees.md): only a *reject* is dead-lettered at once. Every other failure puts the message among the
suspects once it has failed alone, and a suspect is blamed only if it fails once more after others have passed the same
place; or, for an unknown failure with nothing else at hand, while the far side answers a probe, and then at most
`breaker` in a row. Otherwise the flow pauses, and nothing is dead-lettered.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from connectorlib.errors import Failure, Kind
from connectorlib.messages import Delivery
from connectorlib.shared_settings import Retry
from connectorlib.values.backoff import Backoff

#: Kinds that stop the whole flow at once: trying other messages would tell nothing.
PAUSING = frozenset({Kind.UNAVAILABLE, Kind.REFUSED})

#: How a blamed message's failure is named in its dead letter.
REASONS = {Kind.RETRY: "retries-exhausted", Kind.CONFIGURATION: "reject", Kind.UNKNOWN: "unknown"}

#: The name under which a handler counts all messages that passed, whatever statements they had.
ALL = ""

PROBES = Backoff(1.0, 60.0, jitter=0.25)
#: A refused log-in is probed slowly: every attempt may count towards locking the user.
REFUSED_PROBES = Backoff(5.0, 300.0, jitter=0.25)
REPEAT_PAUSE_LINE_S = 15 * 60.0


def probe_delay(attempt: int, kind: Kind, chance: float, longest: float | None = None) -> float:
    """Return the seconds before a probe of a paused flow, the first being 0; `longest` replaces the usual limit."""
    backoff = REFUSED_PROBES if kind is Kind.REFUSED else PROBES
    return (backoff if longest is None else replace(backoff, longest=longest)).delay(attempt, chance)


def reason(failure: Failure) -> str:
    """Return the `dead-reason` of a message that is blamed for this failure."""
    return "bug" if failure.code == "bug" else REASONS.get(failure.kind, "reject")


@dataclass(slots=True)
class Suspect:
    """A message that failed alone. `passed` is how many had passed its failure's place when it first did."""

    delivery: Delivery
    failure: Failure
    passed: int
    attempts: int
    #: Monotonic time of its next attempt, for a failure that another attempt may mend.
    next_try: float
    #: Whether its next attempt is the last: others have passed since it failed.
    last: bool = False
    #: Whether it failed at its last attempt too.
    guilty: bool = False


@dataclass(slots=True)
class Line:
    """The suspects of one flow, and when they are to be blamed. Lives as long as the flow: `blamed` counts across
    batches the unknown failures that were dead-lettered without a success between."""

    retry: Retry
    suspects: list[Suspect] = field(default_factory=list)
    blamed: int = 0
    #: Suspects that are being tried again, by delivery tag.
    retried: dict[int, Suspect] = field(default_factory=dict)

    def success(self) -> None:
        self.blamed = 0

    def suspect(
        self, delivery: Delivery, failure: Failure, passed: Mapping[str, int], now: float, random: float
    ) -> None:
        """Put a message that failed alone among the suspects, or back among them."""
        before = self.retried.pop(delivery.tag, None)
        attempts = before.attempts + 1 if before else 1
        count = before.passed if before else _passed_by(passed, failure.place)
        next_try = now + self.retry.backoff.delay(attempts - 1, random)
        guilty = before is not None and before.last
        self.suspects.append(Suspect(delivery, failure, count, attempts, next_try, guilty=guilty))

    def due(self, now: float, passed: Mapping[str, int]) -> list[Suspect]:
        """Take out and return those to be tried again: whose failure another attempt may mend, when its time has come;
        and, for the last time, those whose place has let other messages pass since. What has passed since may also show
        that what was wrong has been mended meanwhile."""
        found = []
        for suspect in self.suspects:
            if self._may_pass(suspect):
                due = suspect.next_try <= now
            else:
                due = suspect.last = not suspect.guilty and _passed_since(suspect, passed)
            if due:
                found.append(suspect)
        if found:
            self.suspects = [s for s in self.suspects if s not in found]
            self.retried.update((s.delivery.tag, s) for s in found)
        return found

    def guilty(self) -> list[Suspect]:
        """Take out and return those that failed again after others had passed."""
        found = [s for s in self.suspects if s.guilty]
        if found:
            self.suspects = [s for s in self.suspects if not s.guilty]
        return found

    def exhausted(self, passed: Mapping[str, int]) -> bool:
        """Whether there are suspects, and none of them is to be tried again by itself."""
        waiting = any(self._may_pass(s) or _passed_since(s, passed) for s in self.suspects)
        return bool(self.suspects) and not waiting

    def tripped(self, passed: Mapping[str, int]) -> bool:
        """Whether so many failed alone, without one success between, that the messages are not the cause."""
        unproven = sum(1 for s in self.suspects if not _passed_since(s, passed))
        return unproven + self.blamed >= self.retry.breaker

    def lone(self, passed: Mapping[str, int]) -> list[Suspect]:
        """Take out and return the suspects that may be blamed although nothing else was there to compare them with.

        Only unknown failures, only below the breaker, and only if the caller has just had an answer from the far side.
        A lock, or a statement that the database does not understand, is never the message's fault without proof.
        """
        if self.tripped(passed):
            return []
        guilty = [s for s in self.suspects if s.failure.kind is Kind.UNKNOWN]
        self.suspects = [s for s in self.suspects if s.failure.kind is not Kind.UNKNOWN]
        self.blamed += len(guilty)
        return guilty

    def release(self) -> list[Suspect]:
        """Take out and return all suspects unblamed: they are tried again after a pause."""
        released, self.suspects = self.suspects, []
        self.retried.clear()
        return released

    def _may_pass(self, suspect: Suspect) -> bool:
        return suspect.failure.kind is Kind.RETRY and suspect.attempts < self.retry.attempts


def _passed_since(suspect: Suspect, passed: Mapping[str, int]) -> bool:
    return _passed_by(passed, suspect.failure.place) > suspect.passed


def _passed_by(passed: Mapping[str, int], place: str) -> int:
    """Return the count that proves something about a place: its own, or that of all messages for a place that none
    passes as such (a bug, the inbox, a savepoint)."""
    return passed[place] if place in passed else passed.get(ALL, 0)


@dataclass(slots=True)
class Pause:
    """A pause from its first failure to the next success. Times are monotonic seconds given by the caller."""

    failure: Failure
    since: float
    attempt: int = 0
    next_try: float = 0.0
    told: float | None = None
    #: Whether the broker itself is what is waited for: then a reconnect ends the pause, else only a success.
    of_broker: bool = False

    def schedule(self, now: float, random: float, longest: float | None = None) -> float:
        """Set and return the time of the next probe."""
        self.next_try = now + probe_delay(self.attempt, self.failure.kind, random, longest)
        self.attempt += 1
        return self.next_try

    def tell(self, now: float) -> bool:
        """Return whether the pause line is due: at the change and every 15 minutes."""
        if self.told is not None and now - self.told < REPEAT_PAUSE_LINE_S:
            return False
        self.told = now
        return True

    def changed(self, failure: Failure) -> bool:
        """Take over a new cause; return whether it differs from the one last told."""
        if (failure.kind, failure.code) == (self.failure.kind, self.failure.code):
            return False
        self.failure, self.told = failure, None
        return True
