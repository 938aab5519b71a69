"""The alarms that this process writes: what a batch of events does to them, in as few calls as it takes.

In memory are only the alarms' own records, for as long as this process alone writes them; what a Case is like is asked
each time, since agents change it. After a call whose outcome is unknown its alarms are read before they are written.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, Protocol

from connectorlib.dataclass import dataclass, replace
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import ALREADY, DONE, LATER, Again, Dead, Delivery, Done, Outcome
from sfconnector.alarms.alarm import Alarm, AlarmRules, CaseSeen, Create, Effect, Event, State, Update
from sfconnector.alarms.alarm_counts import AlarmCounts, Tally
from sfconnector.alarms.transitions import expire, fold, plan
from sfconnector.record_outcome import LeaveOut

#: Alarms that are kept in memory.
MOST_KNOWN = 20_000
#: Events of one alarm in a batch: as many ids as its record holds.
MOST_EVENTS = 256
#: Seconds after which something is tried again that Salesforce has refused to do without an event: at first, at most.
FIRST_REST, LONGEST_REST = 60.0, 3600.0
#: Rounds of calls for one batch: saved, its Case found closed, succeeded, the new one looked at; and some more, because
#: an agent may do something between any two.
MOST_ROUNDS = 8

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """An event, and what its message says about the Case."""

    key: str
    event: Event
    #: The fields of a new Case. Raises Failed if the message cannot be mapped.
    fields: Callable[[], Fields]
    #: What `prepare` knows it by.
    record: Any = None
    #: Its message.
    delivery: Delivery | None = None
    #: Whether the time of the event is not the one that its message says.
    moved: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """A Case to be changed, and the alarm's record as it is now and then."""

    #: The message that it is changed for; None: it was due without one.
    delivery: Delivery | None
    update: Update
    before: Alarm
    alarm: Alarm


@dataclass(frozen=True, slots=True)
class Opening:
    """A Case to be created, and the alarm's record as it is then, but for the id of the Case."""

    #: Whose message says what the Case is like.
    arrival: Arrival
    create: Create
    fields: Fields
    alarm: Alarm


class AlarmOrg(Protocol):
    """The calls. Each raises Failed if it fails as a whole; a failure of one key is that key's answer."""

    def load(self, keys: Sequence[str]) -> Mapping[str, Alarm]:
        """Return the records that there are."""

    def save(self, alarms: Mapping[str, Alarm]) -> Mapping[str, CaseSeen | Failure | None]:
        """Write records that there are, then return their Cases; None: there is none."""

    def change(self, changes: Mapping[str, Change]) -> Mapping[str, Failure | None]:
        """Change Cases, then write their alarms' records."""

    def open(self, openings: Mapping[str, Opening]) -> Mapping[str, CaseSeen | Failure | LeaveOut]:
        """Make the records that there are not, create Cases, write the records, return the Cases. A Case that has
        the number already is not created again, and is the answer. LeaveOut: without these fields it will be."""


@dataclass(slots=True, eq=False)
class _Work:
    """The events of one alarm in a batch, and how far they have come."""

    key: str
    arrivals: list[Arrival]
    #: The record as it is in Salesforce; None: there is none.
    stored: Alarm | None = None
    alarm: Alarm = field(default_factory=Alarm)
    effects: dict[Arrival, Effect] = field(default_factory=dict)
    outcomes: dict[Arrival, Outcome] = field(default_factory=dict)
    #: Its Case as it was seen in this batch.
    case: CaseSeen | None = None
    is_looked_at: bool = False
    is_finished: bool = False
    #: Why it was refused.
    failure: Failure | None = None
    #: The record as it was before the batch.
    before: Alarm | None = None
    #: Whether the alarm fires and its Case is never reopened; None: its Case was not looked at.
    is_muted: bool | None = None

    @property
    def live(self) -> list[Arrival]:
        """The events without an outcome."""
        return [each for each in self.arrivals if each not in self.outcomes]

    @property
    def raises(self) -> list[Arrival]:
        return [each for each in self.live if not each.event.clears]

    def fold(self, now: float, rules: AlarmRules) -> None:
        self.alarm = expire(self.stored or Alarm(), now, rules)
        for arrival in self.live:
            self.alarm, self.effects[arrival] = fold(self.alarm, arrival.event, now, rules)

    def fail(self, failure: Failure) -> None:
        """Finish after a call was refused, or was not answered."""
        self.failure = failure
        self.finish(_outcome(failure))

    def finish(self, outcome: Outcome | None = None) -> None:
        """Give every event its outcome; None: as its effect was."""
        self.is_finished = True
        for arrival in self.live:
            already = self.effects.get(arrival) is Effect.KNOWN
            self.outcomes[arrival] = outcome or (ALREADY if already else DONE)

    def refuse(self, arrival: Arrival, failure: Failure) -> None:
        """Finish after the Case of this event was refused; its neighbours come again, and have a Case of their own."""
        self.outcomes[arrival] = _outcome(failure)
        self.finish(LATER if failure.kind is Kind.REJECT else Again(failure))


class AlarmRegister:
    """Used by one thread. `prepare` is called with the raises whose fields are asked for next; `counts` gets what
    becomes of alarms, and of events once `settle` is called with them."""

    def __init__(
        self,
        org: AlarmOrg,
        rules: AlarmRules,
        prepare: Callable[[Sequence[Arrival]], None] = lambda arrivals: None,
        counts: AlarmCounts | None = None,
    ) -> None:
        self._prepare = prepare
        self._tally = Tally(counts or AlarmCounts())
        self._org = org
        self._rules = rules
        self._known: OrderedDict[str, Alarm] = OrderedDict()
        #: Those whose records may not be as they are in memory.
        self._doubted: set[str] = set()
        #: Until when what is due for an alarm is let alone, because it was refused, and for how many seconds.
        self._resting: dict[str, tuple[float, float]] = {}

    def work(self, arrivals: Sequence[Arrival], now: float) -> list[Outcome]:
        """Return one outcome for each event, in their order; what a call did not answer is to be tried again."""
        by_key: dict[str, list[Arrival]] = {}
        for arrival in arrivals:
            by_key.setdefault(arrival.key, []).append(arrival)
        works = [_Work(key, group[:MOST_EVENTS]) for key, group in by_key.items()]
        self._run(works, now)
        outcomes = {arrival: outcome for work in works for arrival, outcome in work.outcomes.items()}
        return [outcomes.get(arrival, LATER) for arrival in arrivals]

    def settle(self, arrivals: Iterable[Arrival]) -> None:
        """Count events whose message is settled, so that none of them comes again for another try."""
        settled = [self._tally.settle(each.key, each.event, moved=each.moved) for each in arrivals]
        self._tally.counts.add([name for names in settled for name in names])

    def take_created(self) -> int:
        """Return how many Cases were created since the last time."""
        created, self._tally.created = self._tally.created, 0
        return created

    def expire(self, keys: Iterable[str], now: float) -> dict[str, Failure]:
        """Do what is due for these alarms without an event. Return what was refused; it is not due again for a while.
        Raise Failed if a call fails."""
        works = [_Work(key, []) for key in keys]
        failure = self._run(works, now)
        if failure is not None:
            raise Failed(failure)
        refused = {work.key: work.failure for work in works if work.failure is not None}
        for work in works:
            _, before = self._resting.pop(work.key, (0.0, 0.0))
            if work.key in refused:
                seconds = min(max(2 * before, FIRST_REST), LONGEST_REST)
                self._resting[work.key] = (now + seconds, seconds)
        return refused

    def due(self, now: float) -> list[str]:
        """Return those in memory for which something is due."""
        due = [key for key, alarm in self._known.items() if alarm.due and alarm.due <= now]
        return [key for key in due if self._resting.get(key, (0.0, 0.0))[0] <= now]

    def case_id(self, key: str) -> str:
        """Return the Case of an alarm, as far as it is in memory; "" if it is not, or if there is none."""
        alarm = self._known.get(key)
        return alarm.case_id if alarm else ""

    def forget(self) -> None:
        """Forget what is in memory: from now on somebody else may write it."""
        self._known.clear()
        self._doubted.clear()
        self._resting.clear()

    def _run(self, works: Sequence[_Work], now: float) -> Failure | None:
        """Work on all; return why some of it is to be tried again."""
        failure: Failure | None = None
        try:
            self._load(works)
            for work in works:
                work.fold(now, self._rules)
                if self._is_settled(work):
                    work.finish()
            for _ in range(MOST_ROUNDS):
                if not self._round([work for work in works if not work.is_finished], now):
                    break
            else:
                text = "the Case of an alarm changes each time that it is looked at"
                failure = Failure(Kind.RETRY, "unsettled", text, "alarm")
        except Failed as failed:
            failure = failed.failure
        except BaseException:  # a bug as well: what the org has of these alarms is not known any more
            self.forget()
            for work in works:
                self._count(work, known=False)
            raise
        for work in works:
            self._conclude(work, failure)
        while len(self._known) > MOST_KNOWN:
            key, _ = self._known.popitem(last=False)
            self._resting.pop(key, None)
        self._doubted &= self._known.keys()
        return failure

    def _conclude(self, work: _Work, failure: Failure | None) -> None:
        if not work.is_finished and failure is not None:
            work.fail(failure)
        is_done = work.failure is None and all(isinstance(outcome, Done) for outcome in work.outcomes.values())
        if not is_done:
            self._doubted.add(work.key)
        self._count(work, known=is_done)

    def _count(self, work: _Work, *, known: bool) -> None:
        """Count what became of an alarm; `known`: whether that is known."""
        counts = self._tally.counts
        muted = counts.is_muted(work.key) if work.is_muted is None else work.is_muted
        for arrival, effect in work.effects.items():
            self._tally.note(work.key, arrival.event, effect, muted=muted)
        if known:
            counts.move(work.before, self._known[work.key] if self._is_known(work.key) else work.before)
            if work.is_muted is not None:
                counts.mute(work.key, work.is_muted)
        else:
            counts.doubt()

    def _load(self, works: Sequence[_Work]) -> None:
        unknown = [work.key for work in works if not self._is_known(work.key)]
        loaded = self._org.load(unknown) if unknown else {}
        for work in works:
            work.before = work.stored = self._known[work.key] if self._is_known(work.key) else loaded.get(work.key)
            self._tally.loaded(work.key, work.stored)

    def _is_known(self, key: str) -> bool:
        return key in self._known and key not in self._doubted

    def _is_settled(self, work: _Work) -> bool:
        """Return whether the events change nothing, and their alarm owes nothing to its Case."""
        nothing = {Effect.UNMATCHED, Effect.KNOWN} if self._is_known(work.key) else {Effect.UNMATCHED}
        return bool(work.arrivals) and nothing.issuperset(work.effects.values())

    def _round(self, works: Sequence[_Work], now: float) -> bool:
        """Make the calls that are next; return whether there may be more."""
        self._save([work for work in works if work.stored is not None and not work.is_looked_at])
        changes: list[tuple[_Work, Change]] = []
        openings: list[tuple[_Work, Opening]] = []
        #: Cases that are changed in this round. A call must not change one twice, as if it belonged to two alarms.
        changing: set[str] = set()
        again = False
        plans = [(work, plan(work.alarm, work.case, now, self._rules)) for work in works if not work.is_finished]
        self._prepare([raised for work, each in plans if isinstance(each.write, Create) for raised in work.raises[:1]])
        for work, planned in plans:
            work.is_muted = planned.muted
            if isinstance(planned.write, Update) and planned.write.case_id in changing:
                work.is_looked_at, again = False, True
            elif isinstance(planned.write, Update):
                changing.add(planned.write.case_id)
                newest = work.live[-1].delivery if work.live else None
                changes.append((work, Change(newest, planned.write, work.alarm, planned.alarm)))
            elif isinstance(planned.write, Create):
                opening = self._opening(work, planned.alarm, planned.write, now)
                openings += [(work, opening)] if opening is not None else []
                again = again or not work.is_finished
            elif _is_to_be_saved(work, planned.alarm):
                work.alarm, work.is_looked_at, again = planned.alarm, False, True
            else:
                self._finish(work, planned.alarm)
        self._change(changes)
        self._open(openings)
        return again or bool(openings)

    def _finish(self, work: _Work, alarm: Alarm) -> None:
        if work.stored is not None:
            self._known[work.key] = alarm
            self._known.move_to_end(work.key)
            self._doubted.discard(work.key)
        work.finish()

    def _save(self, works: Sequence[_Work]) -> None:
        answers = self._org.save({work.key: work.alarm for work in works}) if works else {}
        for work in works:
            answer = answers[work.key]
            if isinstance(answer, Failure):
                work.fail(answer)
            else:
                case_id = answer.id if answer else ""
                if work.alarm.case_id != case_id:  # rarely, and a copy takes its time
                    work.alarm = replace(work.alarm, case_id=case_id)
                work.stored, work.case, work.is_looked_at = work.alarm, answer, True

    def _change(self, changes: Sequence[tuple[_Work, Change]]) -> None:
        answers = self._org.change({work.key: change for work, change in changes}) if changes else {}
        for work, change in changes:
            failure = answers[work.key]
            if failure is not None:
                work.fail(failure)
            else:
                self._finish(work, change.alarm)

    def _opening(self, work: _Work, alarm: Alarm, create: Create, now: float) -> Opening | None:
        """Return the Case to be created, made of the first raise that can be mapped; None: there is none now."""
        refused = len(work.outcomes)
        for arrival in work.raises:
            try:
                fields = arrival.fields()
            except Failed as failed:
                work.outcomes[arrival] = _outcome(failed.failure)
                continue
            if len(work.outcomes) == refused or work.stored is not None:
                return Opening(arrival, create, fields, alarm)
            break
        if not work.arrivals and work.alarm.state is State.CLEARING:
            work.alarm = replace(work.alarm, wanted=False)  # it is over, and no message says what a Case would be like
        elif len(work.outcomes) == refused or work.stored is not None:
            work.finish()  # no event says what the Case would be like; the next raise does
        else:
            work.fold(now, self._rules)  # nothing is stored yet: what cannot be mapped was no event of the alarm
        return None

    def _open(self, openings: Sequence[tuple[_Work, Opening]]) -> None:
        for work, opening in openings:
            self._tally.opening(work.key, opening.create.number)
        answers = self._org.open({work.key: opening for work, opening in openings}) if openings else {}
        for work, opening in openings:
            answer = answers[work.key]
            if isinstance(answer, Failure):
                self._tally.refused(work.key)
                work.refuse(opening.arrival, answer)
            elif isinstance(answer, LeaveOut):
                self._tally.refused(work.key)
                opening.arrival.record.leave_out(answer.reasons)  # the next round maps it again
            else:
                self._tally.opened(work.key)
                work.alarm = replace(opening.alarm, case_id=answer.id)
                work.stored, work.case, work.is_looked_at = work.alarm, answer, True


def _is_to_be_saved(work: _Work, alarm: Alarm) -> bool:
    return work.stored is not None and (alarm.state, alarm.due) != (work.alarm.state, work.alarm.due)


def _outcome(failure: Failure) -> Outcome:
    return Dead(failure) if failure.kind is Kind.REJECT else Again(failure)
