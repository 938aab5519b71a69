"""What is counted of a division's alarms, for the status and the metrics.

An event is counted once, when its message is settled, by what it did in the first try that Salesforce took: a call
whose answer is lost may have done all of it, and then the next try finds nothing to do. How many alarms there are in
each state is asked of the org now and then, and follows what this process writes in between.
"""

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from connectorlib.monitoring.counters import LastHour, SinkDetail, SinkMetric
from sfconnector.alarms.alarm import Alarm, Effect, Event, State

#: Raises of an alarm whose Case is never reopened; events whose time was replaced by that of their arrival.
MUTED, CLOCK_REPLACED = "muted", "clock_replaced"
#: The states of alarms that are open: their Case is, unless an agent has closed it.
OPEN = (State.ACTIVE, State.CLEARING, State.FLAPPING)
#: Events whose effect is remembered until their message is settled, or that left nothing in their alarm's record.
MOST_NOTED = 10_000
#: Muted alarms that are remembered, and those that the status names.
MOST_MUTED, MOST_NAMED = 10_000, 10

#: The counters: name of the metric and help text, by what is counted.
_COUNTERS = {
    Effect.RAISED: ("alarms_raised", "Raises of alarms that were not active."),
    Effect.REPEATED: ("alarms_repeated", "Raises of alarms that were active already."),
    Effect.CLEARED: ("alarms_cleared", "Clears of alarms."),
    Effect.UNMATCHED: ("alarm_clears_unmatched", "Clears without an alarm."),
    Effect.SILENCED: ("alarm_raises_silenced", "Raises that only counted: they were silenced."),
    Effect.TOO_OLD: ("alarm_raises_too_old", "Raises that only counted: they were older than max_age."),
    Effect.LATE: ("alarm_events_late", "Events that only counted: they came again after newer ones."),
    MUTED: ("alarm_raises_muted", "Raises of alarms whose Case is never reopened."),
    CLOCK_REPLACED: ("alarm_clocks_replaced", "Events whose time was replaced by that of their arrival."),
}


class AlarmCounts:
    """Shared by the sinks of a division. Any thread may use it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._totals: Counter[str] = Counter()
        self._hour = LastHour()
        self._muted: OrderedDict[str, None] = OrderedDict()
        #: None: not asked yet.
        self._states: Counter[State] | None = None
        self._moves = 0
        #: Whether the states may differ from those in the org.
        self.is_in_doubt = True

    # -- written by the sinks

    def add(self, names: Sequence[str]) -> None:
        """Count what a message did."""
        with self._lock:
            self._totals.update(names)
            for name, count in Counter(names).items():
                self._hour.add(name, count, self._clock())

    def mute(self, key: str, muted: bool) -> None:
        """Note whether an alarm fires and its Case is never reopened."""
        with self._lock:
            if not muted:
                self._muted.pop(key, None)
            elif key in self._muted or len(self._muted) < MOST_MUTED:
                self._muted[key] = None

    def is_muted(self, key: str) -> bool:
        """Whether an alarm was muted when its Case was last looked at."""
        with self._lock:
            return key in self._muted

    def move(self, before: Alarm | None, after: Alarm | None) -> None:
        """Note the state of an alarm before and after it was written; None: it has no record."""
        left, entered = before and before.state, after and after.state
        if left == entered:
            return
        with self._lock:
            self._moves += 1
            if self._states is not None:
                self._states.subtract([left] if left else [])
                self._states.update([entered] if entered else [])

    def doubt(self) -> None:
        """Note that it is not known what was written."""
        with self._lock:
            self._moves += 1
            self.is_in_doubt = True

    def recount(self, ask: Callable[[], Mapping[State, int]]) -> None:
        """Take the states from the org; what is written meanwhile leaves a doubt. Raise what `ask` does."""
        before = self._moves
        found = ask()
        with self._lock:
            self._states = Counter(found)
            self.is_in_doubt = self._moves != before

    # -- read by the status and the metrics

    def total(self, name: str) -> int:
        """Return how often something was counted since the start."""
        return self._totals[name]

    def last_hour(self) -> dict[str, int]:
        """Return what was counted within the last hour, by name."""
        with self._lock:
            totals = self._hour.totals(self._clock())
        return {str(name): totals[name] for name in _COUNTERS}

    def state(self, state: State) -> int | None:
        """Return how many alarms are in a state; None: the org was not asked yet."""
        with self._lock:
            return None if self._states is None else self._states[state]

    @property
    def muted(self) -> list[str]:
        """The keys of the muted alarms."""
        with self._lock:
            return list(self._muted)


#: What left nothing in the record of an alarm, or may have, so that another try does not find it there.
_TRACELESS = (Effect.UNMATCHED, Effect.SILENCED, Effect.TOO_OLD, Effect.LATE)


class _Noted(NamedTuple):
    """`KNOWN` if it is counted already."""

    effect: Effect
    muted: bool


class Tally:
    """What the events of one register do, until their messages are settled. Used by one thread."""

    def __init__(self, counts: AlarmCounts) -> None:
        self.counts = counts
        #: Cases that were created.
        self.created = 0
        self._noted: OrderedDict[tuple[str, bytes], _Noted] = OrderedDict()
        #: Cases whose creation was not answered: the number of each, by key.
        self._creating: OrderedDict[str, int] = OrderedDict()

    def note(self, key: str, event: Event, effect: Effect, *, muted: bool) -> None:
        """Note what a try at an event did; an earlier one may have done it."""
        name = key, event.digest
        noted = self._noted.pop(name, None)
        if noted is not None and (
            effect is Effect.KNOWN or (effect in _TRACELESS and noted.effect in (Effect.KNOWN, *_TRACELESS))
        ):
            effect, muted = noted.effect, muted or noted.muted
        self._noted[name] = _Noted(effect, muted)
        while len(self._noted) > MOST_NOTED:
            self._noted.popitem(last=False)

    def settle(self, key: str, event: Event, *, moved: bool) -> list[str]:
        """Return what counts of an event now that its message is settled; `moved`: its time was replaced."""
        name = key, event.digest
        noted = self._noted.get(name)
        if noted is None or noted.effect is Effect.KNOWN:
            return []
        self._noted[name] = _Noted(Effect.KNOWN, muted=False)
        names: list[str] = [noted.effect]
        names += [MUTED] if noted.muted and noted.effect in (Effect.RAISED, Effect.REPEATED) else []
        names += [CLOCK_REPLACED] if moved else []
        return names

    def loaded(self, key: str, alarm: Alarm | None) -> None:
        """Note what the org has of an alarm: a Case whose creation was not answered may be there."""
        if alarm is not None and self._creating.get(key) == alarm.number:
            self.opened(key)

    def opening(self, key: str, number: int) -> None:
        """Note that a Case is about to be created."""
        self._creating[key] = number
        while len(self._creating) > MOST_NOTED:
            self._creating.popitem(last=False)

    def opened(self, key: str) -> None:
        """Note that it is there."""
        self.created += self._creating.pop(key, None) is not None

    def refused(self, key: str) -> None:
        """Note that it was not created."""
        self._creating.pop(key, None)


def alarm_metrics(divisions: Sequence[AlarmCounts]) -> list[SinkMetric]:
    """Return the metrics of divisions that share a queue; none without a division."""
    if not divisions:
        return []
    metrics = [
        SinkMetric(f"alarms_{state}", f"Alarms that are {state}, in Salesforce.", "gauge", _of(divisions, state))
        for state in OPEN
    ]
    metrics.append(
        SinkMetric(
            "alarms_muted",
            "Alarms that fire, and whose Case is never reopened.",
            "gauge",
            lambda: sum(len(each.muted) for each in divisions),
        )
    )
    return metrics + [
        SinkMetric(name, about, "counter", _total(divisions, what)) for what, (name, about) in _COUNTERS.items()
    ]


def _of(divisions: Sequence[AlarmCounts], state: State) -> Callable[[], float | None]:
    return lambda: _states(divisions, state)


def _states(divisions: Sequence[AlarmCounts], state: State) -> int | None:
    known = [count for each in divisions if (count := each.state(state)) is not None]
    return sum(known) if len(known) == len(divisions) else None


def _total(divisions: Sequence[AlarmCounts], name: str) -> Callable[[], float]:
    return lambda: sum(each.total(name) for each in divisions)


def alarm_details(divisions: Sequence[AlarmCounts]) -> list[SinkDetail]:
    """Return what the status says of the alarms of divisions that share a queue; nothing without a division."""
    if not divisions:
        return []
    states = {str(state): count for state in OPEN if (count := _states(divisions, state)) is not None}
    muted = [key for each in divisions for key in each.muted]
    hour: Counter[str] = Counter()
    for each in divisions:
        hour.update(each.last_hour())
    found = [SinkDetail("open alarms", states)] if states else []
    found += [SinkDetail("muted alarms", {MUTED: len(muted)}, muted[:MOST_NAMED])] if muted else []
    return [*found, SinkDetail("alarms last hour", {str(name): hour[name] for name in _COUNTERS})]
