"""What must be true of alarms and their Cases when the day is over. Pure, as checker.py."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile

from tests.faults.checker import Sent

CLEARED = ("clearing", "cleared")


@dataclass(frozen=True)
class AlarmSeen:
    """The record of an alarm."""

    state: str
    count: int
    number: int


@dataclass(frozen=True)
class CaseSeen:
    """A Case of ours: which of its alarm's it is, and the values of the fields that people change."""

    id: str
    number: int
    closed: bool
    fields: Mapping[str, str | None]


@dataclass(frozen=True)
class AlarmHistory:
    #: The text of each is `active` or `ok`, and the key its alarm's.
    attempted: Mapping[int, Sent]
    confirmed: frozenset[int]
    alarms: Mapping[str, AlarmSeen]
    cases: Mapping[str, Sequence[CaseSeen]]
    dead: Sequence[int] = ()
    #: What each Case has to be like, by its id; a field of which nobody knows whether it was written is missing.
    expected: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)

    @cached_property
    def events(self) -> Mapping[str, list[tuple[int, Sent]]]:
        """The messages of each alarm, in their order."""
        found: dict[str, list[tuple[int, Sent]]] = defaultdict(list)
        for id, sent in self.attempted.items():
            if not sent.bad:
                found[sent.key].append((id, sent))
        return found


def numbers(history: AlarmHistory) -> Iterator[str]:
    """The Cases of an alarm are numbered without a gap, and at most one is open."""
    for key, cases in history.cases.items():
        found = sorted(case.number for case in cases)
        if found != list(range(1, len(cases) + 1)):
            yield f"{key} has the Cases {found}"
        if key not in history.alarms or history.alarms[key].number != len(cases):
            yield f"{key} has {len(cases)} Cases, and its record says otherwise"
        if sum(not case.closed for case in cases) > 1:
            yield f"{key} has two open Cases"


def counts(history: AlarmHistory) -> Iterator[str]:
    """An alarm with one Case counts every raise once."""
    for key, alarm in history.alarms.items():
        raises = [id for id, sent in history.events.get(key, ()) if sent.text == "active"]
        least = len(history.confirmed.intersection(raises))
        if alarm.number == 1 and not least <= alarm.count <= len(raises):
            yield f"{key} counts {alarm.count} of {least} raises"


def states(history: AlarmHistory) -> Iterator[str]:
    """An alarm is as its last event says, if nobody doubts which that is."""
    for key, events in history.events.items():
        doubtful = list(takewhile(lambda event: event[0] not in history.confirmed, reversed(events)))
        last = {sent.text for _, sent in events[-len(doubtful) - 1 :]}
        if len(last) != 1 or len(doubtful) == len(events):
            continue
        alarm, fires = history.alarms.get(key), last == {"active"}
        if fires and (alarm is None or alarm.state != "active"):
            yield f"{key} was raised and is {alarm}"
        if not fires and alarm is not None and alarm.state not in CLEARED:
            yield f"{key} was cleared and is {alarm}"


def altered(history: AlarmHistory) -> Iterator[str]:
    """No field of a Case is other than it was created or an agent has set it."""
    for cases in history.cases.values():
        for case in cases:
            for name, value in history.expected.get(case.id, {}).items():
                if case.fields[name] != value:
                    yield f"{name} of Case {case.id} is {case.fields[name]!r}, not {value!r}"


def misjudged(history: AlarmHistory) -> Iterator[str]:
    """What is no alarm is a dead letter, and nothing else is."""
    bad = {id for id, sent in history.attempted.items() if sent.bad}
    for id in bad.intersection(history.confirmed).difference(history.dead):
        yield f"{id} is bad, and not dead"
    for id in set(history.dead) - bad:
        yield f"{id} is good, and dead"


INVARIANTS: tuple[Callable[[AlarmHistory], Iterator[str]], ...] = (numbers, counts, states, altered, misjudged)


def violations(history: AlarmHistory) -> list[str]:
    """Return all that is wrong with a history."""
    return [problem for check in INVARIANTS for problem in check(history)]
