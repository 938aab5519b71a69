"""The failure policy: who is to blame, how long to wait, what to say. Pure: no clock, socket or logger of its own.

The rule (docs/guarantees.md): only a *reject* is dead-lettered at once. Every other failure puts the message among the
suspects once it has failed alone, and a suspect is blamed only if it fails once more after others have passed the same
place; or, for an unknown failure with nothing else at hand, while the target answers a probe, and then at most
`breaker` in a row. Otherwise the flow pauses, and nothing is dead-lettered.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from connectorlib.dataclass import dataclass
from connectorlib.errors import NEVER, Failure, Kind
from connectorlib.messages import Delivery
from connectorlib.shared_settings import Retry
from connectorlib.values.backoff import Backoff

#: Kinds that stop the whole flow at once: trying other messages would tell nothing.
PAUSING = frozenset({Kind.UNAVAILABLE, Kind.REFUSED})
#: Kinds whose pauses are probed on schedule even after what was in hand has been requeued: a log-in, or in a flood one
#: message, which does not come again. Whatever else is tried would fail again, and count as a delivery each time.
PROBED_ON_SCHEDULE = PAUSING | {Kind.FLOOD}

#: How a blamed message's failure is named in its dead letter.
REASONS = {Kind.RETRY: "retries-exhausted", Kind.CONFIGURATION: "reject", Kind.UNKNOWN: "unknown"}

#: The name under which a handler counts all messages that passed, whatever statements they had.
ALL = ""

#: How much of a lane's time the attempts of its suspects may take.
SUSPECTS_SHARE = 0.25

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


@dataclass(frozen=True, slots=True)
class Suspect:
    """A message that failed alone. `passed` is how many had passed its failure's place when it first did."""

    delivery: Delivery
    failure: Failure
    passed: int
    attempts: int
    #: When it first did (monotonic).
    since: float
    #: Whether it is to be tried again without proof against it, and when (monotonic).
    may_pass: bool
    next_try: float
    #: Whether its next attempt is the last: others have passed since it failed.
    last: bool = False
    #: Whether it failed at its last attempt too.
    convicted: bool = False

    def passed_since(self, passed: Mapping[str, int]) -> bool:
        """Whether other messages have passed the same place since it failed."""
        return _passed_by(passed, self.failure.place) > self.passed


@dataclass(frozen=True, slots=True)
class Suspects:
    """The suspects of one lane, and when they are to be blamed."""

    all: tuple[Suspect, ...] = ()
    #: Those that are being tried again.
    retried: tuple[Suspect, ...] = ()
    #: How many unknown failures were dead-lettered without a success since.
    blamed: int = 0

    def passed(self, done: Iterable[Delivery]) -> "Suspects":
        """Return them after these messages have passed."""
        return replace(self.settled(done), blamed=0) if self.retried or self.blamed else self

    def settled(self, settled: Iterable[Delivery]) -> "Suspects":
        """Return them without those of these that were being tried again."""
        if not self.retried:
            return self
        gone = {delivery.identity for delivery in settled}
        return replace(self, retried=tuple(s for s in self.retried if s.delivery.identity not in gone))

    def add(
        self,
        delivery: Delivery,
        failure: Failure,
        passed: Mapping[str, int],
        retry: Retry,
        now: float,
        random: float,
        cost: float = 0.0,
    ) -> "Suspects":
        """Return them with a message that failed alone, for the first time or again. `cost` is how many seconds that
        took: all suspects together are given a quarter of the time."""
        before = next((s for s in self.retried if s.delivery is delivery), None)
        attempts = before.attempts + 1 if before else 1
        since = before.since if before else now
        others_time = min((1 + len(self.all)) * cost * (1 / SUSPECTS_SHARE - 1), retry.max_s)
        suspect = Suspect(
            delivery,
            failure,
            passed=before.passed if before else _passed_by(passed, failure.place),
            attempts=attempts,
            since=since,
            may_pass=failure.kind is Kind.RETRY and (attempts < retry.attempts or now - since < retry.patience_s),
            next_try=now + max(retry.backoff.delay(attempts - 1, random), others_time),
            convicted=before is not None and before.last,
        )
        retried = tuple(s for s in self.retried if s is not before)
        return replace(self, all=(*self.all, suspect), retried=retried)

    def due(self, now: float, passed: Mapping[str, int]) -> tuple[list[Suspect], "Suspects"]:
        """Return those to be tried again, and the rest: whose failure another attempt may cure, when its time has
        come; and, for the last time, those whose place has let other messages pass since. What has passed since may
        also show that the cause is gone."""
        found: list[Suspect] = []
        left: list[Suspect] = []
        for suspect in self.all:
            if suspect.may_pass:
                (found if suspect.next_try <= now else left).append(suspect)
            elif not suspect.convicted and suspect.passed_since(passed):
                found.append(replace(suspect, last=True))
            else:
                left.append(suspect)
        return found, replace(self, all=tuple(left), retried=(*self.retried, *found)) if found else self

    def convicted(self) -> tuple[list[Suspect], "Suspects"]:
        """Return those that failed again after others had passed, and the rest."""
        found = [suspect for suspect in self.all if suspect.convicted]
        return found, replace(self, all=tuple(s for s in self.all if not s.convicted)) if found else self

    def exhausted(self, passed: Mapping[str, int]) -> bool:
        """Whether there are suspects, and none of them is to be tried again by itself."""
        return bool(self.all) and not any(s.may_pass or s.passed_since(passed) for s in self.all)

    def tripped(self, retry: Retry, passed: Mapping[str, int]) -> bool:
        """Whether so many failed alone, without one success between, that the messages are not the cause."""
        unproven = sum(1 for suspect in self.all if not suspect.passed_since(passed))
        return bool(self.all) and unproven + self.blamed >= retry.breaker

    def sole(self, retry: Retry, passed: Mapping[str, int]) -> tuple[list[Suspect], "Suspects"]:
        """Return those that may be blamed although nothing else was at hand to compare them with, and the rest.

        Only unknown failures, only below the breaker, and only if the caller has just had an answer of the target.
        A lock, or a statement that the database does not understand, is never the message's fault without proof.
        """
        if self.tripped(retry, passed):
            return [], self
        found = [suspect for suspect in self.all if suspect.failure.kind is Kind.UNKNOWN]
        left = tuple(suspect for suspect in self.all if suspect.failure.kind is not Kind.UNKNOWN)
        return found, replace(self, all=left, blamed=self.blamed + len(found)) if found else self

    def dropped(self) -> "Suspects":
        """Return them without any: all are released, or are not ours any more. `blamed` stays."""
        return Suspects(blamed=self.blamed)


def _passed_by(passed: Mapping[str, int], place: str) -> int:
    """Return the count that proves something about a place: its own, or that of all messages for a place that none
    passes as such (a bug, the inbox, a savepoint)."""
    return passed[place] if place in passed else passed.get(ALL, 0)


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause from its first failure to the next success. Times are monotonic seconds given by the caller."""

    failure: Failure
    since: float
    attempt: int = 0
    #: When the target is asked again; None: it has answered, and one message is tried at a time.
    next_try: float | None = None
    announced_at: float | None = None

    def scheduled(self, now: float, random: float, longest: float | None = None) -> "Pause":
        """Return it with the time of the next probe. What must not be tried again is only announced again."""
        delay = max(probe_delay(self.attempt, self.failure.kind, random, longest), self.failure.retry_after)
        if self.never:
            delay = REPEAT_PAUSE_LINE_S
        return replace(self, next_try=now + delay, attempt=self.attempt + 1)

    def postponed(self, until: float) -> "Pause":
        """Return it with no try before that time."""
        return replace(self, next_try=max(self.next_try or until, until))

    def answered(self) -> "Pause":
        """Return it after a sign of life."""
        return replace(self, next_try=None)

    def nudged(self, now: float) -> "Pause":
        """Return it with the next try now; it is announced again if that fails."""
        return replace(self, next_try=now if self.next_try is not None else None, announced_at=None)

    def caused_by(self, failure: Failure) -> "Pause":
        """Return it with a new cause, which is announced if it is another one."""
        if self.is_for(failure):
            return replace(self, failure=failure)  # how long to wait, and the text, are those of the latest answer
        return replace(self, failure=failure, announced_at=None)

    def prolonged(self, other: "Pause") -> "Pause":
        """Return it with the schedule of another."""
        return replace(self, attempt=other.attempt, next_try=other.next_try)

    @property
    def never(self) -> bool:
        """Whether it goes on only when somebody asks for it."""
        return self.failure.retry_after == NEVER

    def is_for(self, failure: Failure) -> bool:
        return (failure.kind, failure.code) == (self.failure.kind, self.failure.code)

    def is_to_announce(self, now: float) -> bool:
        """Whether the pause line is due: at the change and every 15 minutes."""
        return self.announced_at is None or now - self.announced_at >= REPEAT_PAUSE_LINE_S

    def announced(self, now: float) -> "Pause":
        return replace(self, announced_at=now)
