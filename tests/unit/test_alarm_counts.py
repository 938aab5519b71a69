"""What is counted of alarms is exact, however often a batch is tried."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings, strategies

from connectorlib.messages import ALREADY, DONE, Again, Done
from sfconnector.alarms.alarm import AlarmRules, Effect, Event, State
from sfconnector.alarms.alarm_counts import CLOCK_REPLACED, MUTED, OPEN, AlarmCounts, alarm_details, alarm_metrics
from sfconnector.alarms.register import AlarmRegister, Arrival
from tests.unit.alarm_org import Crash, MemoryOrg, lost

RULES = AlarmRules(clear_after=60.0, flapping_changes=3)
NOW = 1_000_000.0
NAMES = [*Effect, MUTED, CLOCK_REPLACED]


class Counted:
    """A register on an org in memory, whose messages are tried until they are done."""

    def __init__(self) -> None:
        self.org = MemoryOrg()
        self.org.now = NOW
        self.counts = AlarmCounts()
        self.register = AlarmRegister(self.org, RULES, counts=self.counts)
        self.counts.recount(self.states)

    def states(self) -> Counter[State]:
        return Counter(alarm.state for alarm in self.org.alarms.values())

    def work(self, events: list[tuple[str, Event]], cuts: list[int] = []) -> None:  # noqa: B006 - only read
        """Try a batch until all is done; each cut is after so many steps of the calls, and crashes at every second."""
        for number, cut in enumerate([*cuts, -1]):
            self.org.cut_after, self.org.cut_by = cut, Crash() if number % 2 else lost()
            arrivals = [Arrival(key, event, dict, moved=event.at < NOW) for key, event in events]
            try:
                outcomes = self.register.work(arrivals, self.org.now)
            except Crash:  # as Stale is, which leaves the process as it was
                outcomes = [Again(lost().failure)] * len(events)
            self.org.cut_after = -1
            settled = [each for each, outcome in zip(arrivals, outcomes, strict=True) if isinstance(outcome, Done)]
            self.register.settle(settled)
            left = [(each.key, each.event) for each in arrivals if each not in settled]
            events = [(key, replace(event, again=True)) for key, event in left]
        assert not events

    def numbers(self) -> dict[str, Any]:
        """Return all that is counted."""
        return {
            **{name: self.counts.total(name) for name in NAMES},
            "created": self.register.take_created(),
            "muted": self.counts.muted,
        }


WORDS = ["raise", "clear", "silenced", "old"]
BATCHES = strategies.lists(
    strategies.tuples(
        strategies.lists(strategies.tuples(strategies.sampled_from("aab"), strategies.sampled_from(WORDS)), min_size=1),
        strategies.lists(strategies.integers(0, 9), max_size=4),
        strategies.sampled_from([0, 61]),
    ),
    max_size=5,
)


def made(number: int, word: str, now: float) -> Event:
    only = {"silenced": Effect.SILENCED, "old": Effect.TOO_OLD}.get(word)
    return Event(f"e{number}", word == "clear", now, only_counts=only)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(BATCHES)
def test_numbers_are_the_same_as_if_no_call_had_been_cut(batches: list[Any]) -> None:
    cut, whole = Counted(), Counted()
    for number, (words, cuts, seconds) in enumerate(batches):
        for each in (cut, whole):
            each.org.now += 1 + seconds
        events = [(key, made(100 * number + n, word, cut.org.now + n / 100)) for n, (key, word) in enumerate(words)]
        cut.work(events, cuts)
        whole.work(events)
        assert cut.states() == whole.states()
    assert cut.numbers() == whole.numbers()
    assert {state: whole.counts.state(state) for state in OPEN} == {state: whole.states()[state] for state in OPEN}
    if cut.counts.is_in_doubt:
        cut.counts.recount(cut.states)
    assert {state: cut.counts.state(state) for state in OPEN} == {state: cut.states()[state] for state in OPEN}


def test_a_message_of_two_events_is_counted_once_when_the_other_comes_again() -> None:
    """The first event is in Salesforce, and its message comes again for the second."""
    it = Counted()
    arrival = Arrival("a", made(1, "raise", NOW), dict)
    assert [it.register.work([arrival], NOW) for _ in range(2)] == [[DONE], [ALREADY]]
    for _ in range(2):
        it.register.settle([arrival])
    assert (it.counts.total(Effect.RAISED), it.counts.total(Effect.KNOWN)) == (1, 0)


@pytest.mark.parametrize("word", ["clear", "silenced", "old"])
def test_what_leaves_no_trace_and_is_delivered_again_after_a_lost_ack_counts_once(word: str) -> None:
    it = Counted()
    for _ in range(3):
        it.work([("a", made(1, word, NOW))])
    assert sum(it.counts.total(name) for name in NAMES) == 1


def test_an_alarm_is_muted_while_it_fires_and_its_case_is_never_reopened() -> None:
    it = Counted()
    it.work([("a", made(1, "raise", NOW))])
    (case,) = it.org.cases_of("a")
    case.status, case.closed_at, it.org.now = "Closed - will not fix", NOW + 1, NOW + 2
    it.work([("a", made(2, "raise", NOW + 2)), ("a", made(3, "raise", NOW + 2))], [0, 1, 2])
    it.work([("a", made(3, "raise", NOW + 2))])  # delivered again
    assert (it.counts.muted, it.counts.total(MUTED), it.counts.total(Effect.REPEATED)) == (["a"], 2, 2)
    it.work([("a", made(4, "clear", NOW + 3))])
    assert it.counts.muted == []


def test_raises_of_a_muted_alarm_whose_answer_was_lost_are_muted_though_they_come_again_one_by_one() -> None:
    it = Counted()
    it.work([("a", made(1, "raise", NOW))])
    (case,) = it.org.cases_of("a")
    case.status, case.closed_at, it.org.now = "Closed - will not fix", NOW + 1, NOW + 2
    it.org.cut_after, it.org.cut_by = 1, lost()
    events = [("a", made(number, "raise", NOW + 2)) for number in (2, 3, 4)]
    assert all(isinstance(each, Again) for each in it.register.work([Arrival(*each, dict) for each in events], NOW + 2))
    for each in events:
        it.work([each])
    assert (it.counts.total(MUTED), it.counts.total(Effect.REPEATED)) == (3, 3)


def test_a_replaced_clock_counts_once() -> None:
    it = Counted()
    it.work([("a", made(1, "raise", NOW - 5))], [0, 3])
    assert it.counts.total(CLOCK_REPLACED) == 1


def test_without_alarms_there_are_no_metrics_and_no_lines() -> None:
    assert (alarm_metrics([]), alarm_details([])) == ([], [])


def test_divisions_of_a_queue_are_added_up_and_names_are_bounded() -> None:
    divisions = [AlarmCounts(), AlarmCounts()]
    values = {metric.name: metric.value for metric in alarm_metrics(divisions)}
    divisions[0].recount(lambda: {State.ACTIVE: 2})
    assert values["alarms_active"]() is None
    divisions[1].recount(lambda: {State.ACTIVE: 1, State.FLAPPING: 1})
    divisions[1].add([Effect.RAISED, Effect.RAISED])
    for number in range(20_000):
        divisions[0].mute(f"p-{number}", muted=True)
    assert (values["alarms_active"](), values["alarms_flapping"](), values["alarms_raised"]()) == (3, 1, 2)
    states, muted, hour = alarm_details(divisions)
    assert states.counts == {"active": 3, "clearing": 0, "flapping": 1}
    assert (muted.counts, len(muted.names)) == ({"muted": 10_000}, 10)
    assert hour.counts["raised"] == 2
