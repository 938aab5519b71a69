"""One Case per alarm, whatever happens: hypothesis chooses what devices send, what agents do, where calls are cut.

The model knows nothing of the life-cycle's rules; it keeps what must hold.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import count

from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from connectorlib.errors import Failed
from connectorlib.messages import Done
from sfconnector.alarms.alarm import CLEARED, FLAPPED, REOPENED, REPEATED, Alarm, AlarmRules, Effect, Event, State
from sfconnector.alarms.register import AlarmRegister, Arrival
from tests.unit.alarm_org import Crash, MemoryOrg, lost

KEYS = strategies.sampled_from("aaab")
#: Whether it clears, a severity, and whether it is silenced.
EVENTS = strategies.tuples(strategies.booleans(), strategies.integers(-1, 2), strategies.sampled_from([0, 0, 0, 1]))
PRIORITIES = ("Low", "Medium", "High")


class AlarmMachine(RuleBasedStateMachine):
    @initialize(
        after=strategies.sampled_from([0.0, 60.0]),
        within=strategies.sampled_from([0.0, 300.0]),
        close=strategies.sampled_from(["untouched", "always", "never"]),
        changes=strategies.sampled_from([0, 3]),
        stale=strategies.sampled_from([0.0, 2000.0]),
    )
    def begin(self, after: float, within: float, close: str, changes: int, stale: float) -> None:
        self.rules_ = AlarmRules(
            severities=PRIORITIES,
            reopen_within=within,
            clear_after=after,
            close=close,
            comments_on=frozenset({REPEATED, REOPENED, CLEARED, FLAPPED}),
            comment_every=120.0,
            comments=4,
            flapping_changes=changes,
            flapping_quiet=400.0,
            stale=stale,
        )
        self.org = MemoryOrg()
        self.org.now = 10_000.0
        self.cuts = 0
        self.ids = count(1)
        self.queue: list[tuple[str, Event]] = []
        self.done: list[tuple[str, Event]] = []
        self.owners: dict[str, str] = {}
        self.agent_set: dict[str, set[str]] = defaultdict(set)
        #: Alarms whose messages were not worked on in the order of the queue.
        self.reordered: set[str] = set()
        self.standby = AlarmRegister(self.org, self.rules_)
        self.start()

    def start(self) -> None:
        self.register = AlarmRegister(self.org, self.rules_)

    # What happens

    @rule(key=KEYS, sent=strategies.lists(EVENTS, min_size=1, max_size=5), seconds=strategies.sampled_from([0, 5, 90]))
    def a_device_sends(self, key: str, sent: list[tuple[bool, int, int]], seconds: int) -> None:
        for clears, severity, silenced in sent:
            self.org.now += 1 + seconds
            only = Effect.SILENCED if silenced and not clears else None
            self.queue.append((key, Event(f"e{next(self.ids)}", clears, self.org.now, severity, only_counts=only)))

    @precondition(lambda self: self.queue)
    @rule(most=strategies.integers(1, 9), cut=strategies.integers(-6, 12), crash=strategies.booleans())
    def a_batch_is_worked_on(self, most: int, cut: int, crash: bool) -> None:
        with self.cut(cut, crash=crash):
            self.work(most)
        self.check()

    @contextmanager
    def cut(self, after: int, *, crash: bool) -> Iterator[None]:
        """Cut the work somewhere, if `after` is not negative: the process ends, or an answer is lost."""
        self.org.cut_after, self.org.cut_by = max(after, -1), Crash() if crash else lost()
        yield
        self.cuts += after >= 0 and self.org.cut_after < 0
        self.org.cut_after = -1

    def work(self, most: int) -> None:
        batch, rest = self.queue[:most], self.queue[most:]
        arrivals = [Arrival(key, event, partial(fields_of, event)) for key, event in batch]
        try:
            outcomes = self.register.work(arrivals, self.org.now)
        except Crash:
            self.start()
            self.queue = [(key, again(event)) for key, event in batch] + rest
            return
        kept = [(key, again(e)) for (key, e), o in zip(batch, outcomes, strict=True) if not isinstance(o, Done)]
        self.done += [each for each, o in zip(batch, outcomes, strict=True) if isinstance(o, Done)]
        self.queue = kept + rest

    @rule()
    def all_is_worked_on(self) -> None:
        while self.queue:
            self.work(4)
            self.check()

    @precondition(lambda self: self.done)
    @rule(which=strategies.integers(0, 40))
    def an_event_is_replayed(self, which: int) -> None:
        key, event = self.done[-1 - which % len(self.done)]
        self.queue.append((key, again(event)))

    @precondition(lambda self: any(event.again for _, event in self.queue))
    @rule()
    def what_is_redelivered_falls_behind(self) -> None:
        """As after a replay of dead letters."""
        behind = [each for each in self.queue if each[1].again]
        self.queue = [each for each in self.queue if not each[1].again] + behind
        self.reordered.update(key for key, _ in behind)

    @rule(
        seconds=strategies.sampled_from([1, 30, 61, 130, 301, 401, 2500]),
        cut=strategies.integers(-6, 9),
        crash=strategies.booleans(),
    )
    def time_passes(self, seconds: int, cut: int = -1, crash: bool = False) -> None:
        self.org.now += seconds
        due = [key for key, alarm in self.org.alarms.items() if alarm.due and alarm.due <= self.org.now]
        with self.cut(cut, crash=crash):
            try:
                self.register.expire(due, self.org.now)
            except Crash:
                self.start()
            except Failed:
                pass
        self.check()

    @rule(key=KEYS, what=strategies.sampled_from(["takes", "works", "closes", "prioritises"]))
    def an_agent(self, key: str, what: str) -> None:
        case = self.org.current(key)
        if case is None or (case.closed and what != "prioritises"):
            return
        self.org.now += 1
        case.changed_by_agent = True
        if what == "takes":
            case.owner = "agent"
        elif what == "prioritises":
            case.severity = "Agent"
        else:
            case.status = "Working" if what == "works" else "Closed"
            case.closed_at = self.org.now if what == "closes" else 0.0
        if what in ("takes", "works"):
            self.agent_set[case.id].add(what)

    @rule(key=KEYS)
    def a_case_is_deleted(self, key: str) -> None:
        case = self.org.current(key)
        if case is not None:
            self.org.now += 1
            case.deleted_at = self.org.now

    @rule(key=KEYS, own=strategies.booleans())
    def a_case_is_merged(self, key: str, own: bool) -> None:
        """Into the Case of the other alarm, or into one that an agent has made."""
        case, other = self.org.current(key), self.org.current("b" if key == "a" else "a")
        if case is None or case is other or (other is None and not own):
            return
        self.org.now += 1
        self.org.merge(case, None if own else other)

    @rule()
    def the_process_is_started_again(self) -> None:
        self.start()

    @rule(key=KEYS, sent=strategies.lists(EVENTS, min_size=1, max_size=4))
    def two_processes_take_turns(self, key: str, sent: list[tuple[bool, int, int]]) -> None:
        """Each has worked on the queue before, so that its memory is old when it takes over."""
        for each in sent:
            self.a_device_sends(key, [each], 0)
            self.all_is_worked_on()
            self.register, self.standby = self.standby, self.register
            self.register.forget()

    # What must hold

    def check(self) -> None:
        for key in "ab":
            cases = self.org.cases_of(key)
            assert sum(not case.closed for case in cases) <= 1, "two open Cases for one alarm"
        numbers = [case.key for case in self.org.cases.values()]
        assert len(numbers) == len(set(numbers))
        for key in "ab":
            mine = [case.key for case in self.org.cases.values() if case.key.startswith(f"{key}#")]
            assert mine == [f"{key}#{number}" for number in range(1, len(mine) + 1)], "a gap in the numbers"
        self.check_what_was_set()
        for case in self.org.cases.values():
            # A comment whose record was not written after it is not known of.
            assert case.comments <= 4 + self.cuts
            assert case.owner == ("agent" if "takes" in self.agent_set[case.id] else "queue")

    def check_what_was_set(self) -> None:
        for each in self.org.set:
            if each.field == "severity":
                assert each.before != "Agent"
                assert each.before is None or PRIORITIES.index(each.before) < PRIORITIES.index(each.after)
            elif each.after == "Closed":
                assert self.rules_.close != "never"
                assert self.rules_.close == "always" or each.untouched, "an agent's Case was closed"
            else:
                assert (each.before, each.after) == ("Closed", "New")
        self.org.set.clear()

    def teardown(self) -> None:
        """Once the faults are over, the alarm is as the last event of the queue has it."""
        if not hasattr(self, "org"):
            return
        self.all_is_worked_on()
        for key in "ab":
            self.check_end(key)
        for _ in range(3):
            self.time_passes(2500)
        for alarm in self.org.alarms.values():
            assert alarm.state not in (State.CLEARING, State.FLAPPING)
        for key in "ab":
            self.check_closed(key)

    def check_end(self, key: str) -> None:
        events = [event for each, event in self.done if each == key]
        alarm = self.org.alarms.get(key)
        if alarm is None:
            assert all(event.clears or event.only_counts for event in events)
            return
        self.check_count(key, alarm, events)
        last = max((event for event in events if not event.only_counts), key=lambda event: event.at)
        if key in self.reordered and last.clears and alarm.cleared < last.at:
            return  # it came while there was no alarm, and nothing is written then
        if alarm.state is State.FLAPPING:
            assert alarm.firing is not last.clears
        elif last.clears:
            assert alarm.state in (State.CLEARING, State.CLEARED)
        elif alarm.state is State.ACTIVE:
            latest = self.org.cases[alarm.case_id]
            ended = latest.deleted_at or latest.closed_at
            assert not ended or ended >= last.at, "it fires, and its Case is closed"
        elif not self.rules_.stale:
            raise AssertionError("the last event raised it")

    def check_count(self, key: str, alarm: Alarm, events: list[Event]) -> None:
        raises = {event.id for event in events if not event.clears}
        silenced = {event.id for event in events if event.only_counts}
        if alarm.number == 1 and self.org.current(key) is not None:
            # Those that are silenced before there is an alarm are written nowhere.
            assert len(raises - silenced) <= alarm.count <= len(raises)

    def check_closed(self, key: str) -> None:
        """What is cleared is closed, unless an agent has it, deleted it, or merged it with another."""
        alarm, case = self.org.alarms.get(key), self.org.current(key)
        if alarm is None or case is None or case.key != f"{key}#{alarm.number}":
            return
        if alarm.state is State.CLEARED and self.rules_.close == "always":
            assert case.closed


def fields_of(event: Event) -> dict[str, str | None]:
    return {"Priority": None if event.severity < 0 else PRIORITIES[event.severity]}


def again(event: Event) -> Event:
    return replace(event, again=True)


TestAlarm = AlarmMachine.TestCase
TestAlarm.settings = settings(max_examples=150, stateful_step_count=30, deadline=None, derandomize=True)
