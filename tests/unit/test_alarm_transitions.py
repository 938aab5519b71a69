"""The life-cycle of an alarm as a table: what devices and agents do, and what the connector does to Cases for it."""

from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from connectorlib.errors import Failed, Kind, reject
from connectorlib.messages import ALREADY, DONE, LATER, Again, Dead
from sfconnector.alarms.alarm import (
    CLEARED,
    FLAPPED,
    ID_BYTES,
    MOST_IDS,
    REOPENED,
    REPEATED,
    STALE,
    Alarm,
    AlarmRules,
    Effect,
    Event,
    State,
)
from sfconnector.alarms.register import AlarmRegister, Arrival
from sfconnector.alarms.transitions import fold
from tests.unit.alarm_org import Crash, MemoryOrg, lost

RULES = AlarmRules(
    severities=("Low", None, "High"),
    reopen_within=3600.0,
    clear_after=120.0,
    comments_on=frozenset({REPEATED, REOPENED, CLEARED, FLAPPED, STALE}),
    comment_every=600.0,
    comments=5,
)
SILENT = replace(RULES, comments_on=frozenset())
FLAPPING = replace(SILENT, flapping_changes=3, comments_on=frozenset({FLAPPED}))
BEGIN = 1_000_000.0

#: What happens, and what is written on Cases. `raise` may have a severity, `@-90` a time before now, `again` is the
#: first event once more; `+90` lets seconds pass. Events that are joined by `&` are one batch.
TABLE: dict[str, tuple[AlarmRules, str, list[str]]] = {
    "a raise without an alarm": (RULES, "raise", ["a#1: new"]),
    "a repeat": (RULES, "raise +9 raise", ["a#1: new"]),
    "a repeat, long after the last comment": (
        RULES,
        "raise +601 raise +9 raise",
        ["a#1: new", "a#1: comment: repeated"],
    ),
    "no more comments than allowed": (
        RULES,
        "raise " + "+601 raise " * 9,
        ["a#1: new", *["a#1: comment: repeated"] * 5],
    ),
    "a clear": (RULES, "raise +9 clear", ["a#1: new", "a#1: comment: cleared"]),
    "a clear, and nothing for a while": (
        RULES,
        "raise +9 clear +121",
        ["a#1: new", "a#1: comment: cleared", "a#1: Closed"],
    ),
    "a second clear": (SILENT, "raise +9 clear +100 clear +21", ["a#1: new", "a#1: Closed"]),
    "a clear without an alarm": (RULES, "clear +121 clear", []),
    "a raise while the clear waits": (SILENT, "raise +9 clear +60 raise +121", ["a#1: new"]),
    "a raise and its clear in one batch": (SILENT, "raise&clear +121", ["a#1: new", "a#1: Closed"]),
    "a raise soon after it was closed": (
        RULES,
        "raise +9 clear +121 +9 raise",
        ["a#1: new", "a#1: comment: cleared", "a#1: Closed", "a#1: New, comment: reopened"],
    ),
    "a raise long after it was closed": (
        SILENT,
        "raise +9 clear +121 +3601 raise",
        ["a#1: new", "a#1: Closed", "a#2: new after case 1"],
    ),
    "reopening is off": (
        replace(SILENT, reopen_within=0.0),
        "raise +9 clear +121 +9 raise",
        ["a#1: new", "a#1: Closed", "a#2: new after case 1"],
    ),
    "what an agent has closed is reopened, too": (SILENT, "raise +9 agent:closes +9 raise", ["a#1: new", "a#1: New"]),
    "a raise from before the agent closed the Case": (SILENT, "raise +9 agent:closes +9 raise@-12", ["a#1: new"]),
    "a raise from before the connector closed the Case": (
        SILENT,
        "raise +9 clear +121 +9 raise@-12",
        ["a#1: new", "a#1: Closed", "a#1: New"],
    ),
    "an agent has reopened and closed what the connector had closed": (
        SILENT,
        "raise +9 clear +121 agent:works +9 raise +1 agent:closes +9 raise@-12",
        ["a#1: new", "a#1: Closed"],
    ),
    "what is not to be reopened": (SILENT, "raise +9 agent:finishes +9 raise +3601 raise", ["a#1: new"]),
    "a Case that was deleted": (SILENT, "raise +9 agent:deletes +9 raise", ["a#1: new", "a#2: new"]),
    "a clear of a deleted Case": (SILENT, "raise +9 agent:deletes +9 clear +121 +9 raise", ["a#1: new", "a#2: new"]),
    "an agent has merged the Case into another, which is open": (
        SILENT,
        "raise:0 +9 agent:merges +9 raise:2 +9 clear +121 raise",
        ["a#1: new"],
    ),
    "an agent has merged the Case and nothing is left to the agent": (
        replace(RULES, close="always"),
        "raise +9 agent:merges +9 clear +121 +9 raise",
        ["a#1: new", "agent's 2: comment: cleared", "agent's 2: Closed", "agent's 2: New, comment: reopened"],
    ),
    "an agent has taken the Case": (SILENT, "raise +9 agent:takes +9 clear +121", ["a#1: new"]),
    "an agent works on the Case": (SILENT, "raise +9 agent:works +9 clear +121", ["a#1: new"]),
    "an agent has taken the Case before a crash": (
        SILENT,
        "raise:crash=3 agent:takes again-raise@0 +9 clear +121",
        ["a#1: new"],
    ),
    "nobody has touched the Case before a crash": (
        SILENT,
        "raise:crash=3 again-raise@0 +9 clear +121",
        ["a#1: new", "a#1: Closed"],
    ),
    "always close": (
        replace(SILENT, close="always"),
        "raise +9 agent:takes +9 clear +121",
        ["a#1: new", "a#1: Closed"],
    ),
    "never close": (replace(SILENT, close="never"), "raise +9 clear +121", ["a#1: new"]),
    "the same event again": (SILENT, "raise +9 clear +121 again-raise@-130", ["a#1: new", "a#1: Closed"]),
    "an older raise that is replayed": (SILENT, "raise +9 clear +121 replay@-125", ["a#1: new", "a#1: Closed"]),
    "a newer raise that is replayed": (
        SILENT,
        "raise +9 clear +121 replay@-1",
        ["a#1: new", "a#1: Closed", "a#1: New"],
    ),
    "a severity that rises": (SILENT, "raise:0 +9 raise:2 +9 raise:0", ["a#1: new", "a#1: High"]),
    "a severity without a value": (SILENT, "raise:0 +9 raise:1", ["a#1: new"]),
    "an agent has set the priority": (SILENT, "raise:0 +9 agent:prioritises +9 raise:2", ["a#1: new"]),
    "a lower severity, the next time": (
        SILENT,
        "raise:2 +9 clear +121 raise:0 +9 raise:2",
        ["a#1: new", "a#1: Closed", "a#1: New"],
    ),
    "flapping": (
        FLAPPING,
        "raise +9 clear +9 raise +9 clear +9 raise +9 clear +9 raise +9 clear +1801",
        ["a#1: new", "a#1: comment: flapping", "a#1: Closed"],
    ),
    "flapping, and on in the end": (
        FLAPPING,
        "raise +9 clear +9 raise +9 clear +9 raise +9 clear +9 raise +1801 clear +121",
        ["a#1: new", "a#1: comment: flapping", "a#1: Closed"],
    ),
    "flapping goes on as long as it changes": (
        FLAPPING,
        "raise +9 clear +9 raise +9 clear +9 raise +9 clear +9 raise " + "+1000 clear +1000 raise " * 3,
        ["a#1: new", "a#1: comment: flapping"],
    ),
    "flapping twice": (
        FLAPPING,
        "raise " + "+9 clear +9 raise " * 3 + "+1801 " + "+9 clear +9 raise " * 3,
        ["a#1: new", "a#1: comment: flapping", "a#1: comment: flapping"],
    ),
    "flapping while its Case is closed, and cleared in the end": (
        replace(FLAPPING, clear_after=0.0, reopen_within=0.0),
        "raise clear@1 raise@2 clear@3 raise@4 clear@5 raise@6&clear@7 +1801 +1801",
        ["a#1: new", "a#1: Closed", "a#2: new after case 1", "a#2: Closed", "a#3: new after case 2", "a#3: Closed"],
    ),
    "changes that are far apart": (SILENT, "raise " + "+60 clear +60 raise " * 9, ["a#1: new"]),
    "stale": (
        replace(RULES, stale=5000.0),
        "raise +4000 raise +5001",
        ["a#1: new", "a#1: comment: repeated", "a#1: Closed, comment: stale"],
    ),
    "silenced": (SILENT, "silenced +9 silenced +9 raise", ["a#1: new"]),
    "silenced while it is cleared": (SILENT, "raise +9 clear +60 silenced +61", ["a#1: new", "a#1: Closed"]),
}


class Scenario:
    def __init__(self, rules: AlarmRules) -> None:
        self.rules = rules
        self.org = MemoryOrg()
        self.org.now = BEGIN
        self.ids = count(1)
        self.first_at: float | None = None
        self.register = AlarmRegister(self.org, rules)

    def run(self, steps: str) -> list[str]:
        for step in steps.split():
            if step.startswith("+"):
                self.org.now += float(step[1:])
                self.register.expire(self.register.due(self.org.now), self.org.now)
            elif step.startswith("agent:"):
                self.agent(step.removeprefix("agent:"))
            else:
                self.send(step)
        return self.org.log

    def send(self, step: str) -> None:
        step, _, crash = step.partition(":crash=")
        self.org.cut_after = int(crash or -1)
        try:
            self.register.work([arrival(self.event(each)) for each in step.split("&")], self.org.now)
        except Crash:
            self.register = AlarmRegister(self.org, self.rules)

    def event(self, word: str) -> Event:
        word, _, at = word.partition("@")
        name, _, severity = word.partition(":")
        new = f"e{next(self.ids)}"
        return Event(
            "e1" if name == "again-raise" else new,
            clears=name == "clear",
            at=self.org.now + float(at or 0),
            severity=int(severity or -1),
            again=name in ("again-raise", "replay"),
            only_counts=Effect.SILENCED if name == "silenced" else None,
        )

    def agent(self, what: str) -> None:
        case = self.org.current("a") or self.org.cases_of("a")[-1]
        case.changed_by_agent = True
        if what == "merges":
            self.org.merge(case)
        elif what == "deletes":
            case.deleted_at = self.org.now
        elif what == "takes":
            case.owner = "agent"
        elif what == "prioritises":
            case.severity = "Agent"
        else:
            case.status = {"closes": "Closed", "finishes": "Closed - will not fix", "works": "Working"}[what]
            case.closed_at = self.org.now if case.closed else 0.0


def arrival(event: Event, fields: Any = None) -> Arrival:
    priority = {0: "Low", 2: "High"}.get(event.severity)
    return Arrival("a", event, lambda: {"Priority": priority} if fields is None else fields())


@pytest.mark.parametrize("name", TABLE)
def test_the_table(name: str) -> None:
    rules, steps, written = TABLE[name]
    assert Scenario(rules).run(steps) == written


#: What happens, and state and count of the alarm in the end.
COUNTS = {
    "raise +9 raise +9 raise": (State.ACTIVE, 3),
    "raise&raise&raise": (State.ACTIVE, 3),
    "raise +9 again-raise@-9": (State.ACTIVE, 1),
    "raise +9 clear +121 raise": (State.ACTIVE, 2),
    "raise +9 raise +9 clear +121 +3601 raise": (State.ACTIVE, 1),
    "raise +9 raise +9 agent:closes +3601 raise&raise": (State.ACTIVE, 2),
    "raise +9 agent:closes +9 raise@-12": (State.ACTIVE, 2),
    "raise +9 silenced": (State.ACTIVE, 2),
    "raise +9 clear": (State.CLEARING, 1),
    "raise +9 clear +121 replay@-125": (State.CLEARED, 2),
    "raise:crash=3 again-raise&raise": (State.ACTIVE, 2),
    "raise +9 agent:closes +3601 raise:crash=2 raise": (State.ACTIVE, 2),
}


@pytest.mark.parametrize("steps", COUNTS)
def test_what_is_counted(steps: str) -> None:
    scenario = Scenario(SILENT)
    scenario.run(steps)
    alarm = scenario.org.alarms["a"]
    assert (alarm.state, alarm.count) == COUNTS[steps]


def test_the_severity_is_the_highest_since_the_alarm_was_last_cleared() -> None:
    scenario = Scenario(SILENT)
    scenario.run("raise:2 +9 raise:0")
    assert scenario.org.alarms["a"].severity == 2
    scenario.run("+9 clear +121 raise:0")
    assert scenario.org.alarms["a"].severity == 0


def test_a_repeat_costs_one_call_a_clear_without_an_alarm_none_and_an_event_that_is_known_none() -> None:
    scenario = Scenario(SILENT)
    scenario.run("raise")
    scenario.org.calls.clear()
    scenario.run("raise again-raise")
    assert scenario.org.calls == ["save"]


def test_one_ring_a_second_for_an_hour_costs_at_most_800_calls() -> None:
    """Messages are collected for 5 s, the default of `batch.wait_ms`; each step of the register is one call."""
    scenario = Scenario(RULES)
    for _ in range(720):
        scenario.run("raise&raise&raise&raise&raise +5")
    assert len(scenario.org.calls) <= 800
    assert scenario.org.alarms["a"].count == 3600


def test_after_a_call_without_an_answer_the_record_is_read_before_it_is_written() -> None:
    scenario = Scenario(SILENT)
    scenario.run("raise")
    scenario.org.calls.clear()
    scenario.org.cut_after, scenario.org.cut_by = 1, lost()
    event = Event("e9", clears=False, at=BEGIN)
    outcomes = scenario.register.work([arrival(event)], BEGIN)
    assert isinstance(outcomes[0], Again)
    assert scenario.register.work([arrival(event)], BEGIN) == [ALREADY]
    assert scenario.org.calls == ["save", "load", "save"]
    assert scenario.org.alarms["a"].count == 2


def bad() -> Any:
    raise reject("missing-field", "nothing fills Subject")


def test_of_several_raises_the_first_that_can_be_mapped_makes_the_case() -> None:
    scenario = Scenario(SILENT)
    events = [Event(f"e{number}", clears=False, at=BEGIN) for number in range(3)]
    outcomes = scenario.register.work([arrival(events[0], bad), arrival(events[1]), arrival(events[2])], BEGIN)
    assert isinstance(outcomes[0], Dead)
    assert outcomes[1:] == [DONE, DONE]
    assert scenario.org.alarms["a"].count == 2


def test_a_raise_that_cannot_be_mapped_leaves_no_alarm() -> None:
    scenario = Scenario(SILENT)
    raised, cleared = Event("e1", clears=False, at=BEGIN), Event("e2", clears=True, at=BEGIN)
    outcomes = scenario.register.work([arrival(raised, bad), arrival(cleared)], BEGIN)
    assert isinstance(outcomes[0], Dead)
    assert outcomes[1] == DONE
    assert scenario.org.alarms == {}


def test_a_case_that_salesforce_refuses_costs_one_event_and_the_next_makes_its_own() -> None:
    scenario = Scenario(SILENT)
    scenario.org.refused["a#1"] = reject("FIELD_CUSTOM_VALIDATION_EXCEPTION", "no").failure
    events = [Event(f"e{number}", clears=False, at=BEGIN) for number in range(2)]
    outcomes = scenario.register.work([arrival(event) for event in events], BEGIN)
    assert isinstance(outcomes[0], Dead)
    assert outcomes[1] is LATER
    assert scenario.register.work([arrival(events[1])], BEGIN) == [DONE]
    assert scenario.org.log == ["a#1: new"]


def test_due_without_an_answer_raises_and_is_due_again() -> None:
    scenario = Scenario(SILENT)
    scenario.run("raise +9 clear")
    scenario.org.now += 121
    scenario.org.cut_after, scenario.org.cut_by = 0, lost()
    with pytest.raises(Failed) as failed:
        scenario.register.expire(["a"], scenario.org.now)
    assert failed.value.failure.kind is Kind.UNAVAILABLE
    scenario.register.expire(["a"], scenario.org.now)
    assert scenario.org.log == ["a#1: new", "a#1: Closed"]


def test_an_alarm_knows_its_latest_events_and_no_id_that_is_parts_of_two() -> None:
    alarm, events = Alarm(), [Event(f"e{number}", clears=False, at=BEGIN) for number in range(MOST_IDS + 1)]
    for event in events:
        alarm, _ = fold(alarm, event, BEGIN, RULES)
    known = [fold(alarm, event, BEGIN, RULES)[1] is Effect.KNOWN for event in events]
    assert known == [False] + [True] * MOST_IDS
    across = events[0].digest
    between = replace(alarm, ids=(b"x" * 4 + across + b"x" * 4).ljust(3 * ID_BYTES, b"x"))
    assert fold(between, events[0], BEGIN, RULES)[1] is Effect.REPEATED
    assert fold(replace(between, ids=between.ids + across), events[0], BEGIN, RULES)[1] is Effect.KNOWN
