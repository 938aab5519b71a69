"""Each invariant of the fault suite goes red over a wrong history, and over that alone."""

from dataclasses import replace

import pytest

from tests.faults import alarm_checker, checker
from tests.faults.alarm_checker import AlarmHistory, AlarmSeen, CaseSeen
from tests.faults.checker import History, Letter, Row, Sent, Usage

GOOD = History(
    attempted={
        1: Sent("one", parts=2, key="a"),
        2: Sent("two", parts=0, key="b"),
        3: Sent("three", parts=1, key="a"),
        4: Sent("four", bad=True),
        5: Sent("five", parts=1, key="b"),
        6: Sent("six", parts=1, key="b"),
    },
    confirmed=frozenset({1, 2, 3, 4, 5}),  # of 6 nobody knows
    rows=[Row(1, "one"), Row(2, "two"), Row(3, "three")],
    parts={1: 2, 3: 1},
    dead=[Letter(4, "reject", "22003")],
    queued=[5],
)

WRONG = {
    "a row is missing": (replace(GOOD, rows=GOOD.rows[1:], parts={3: 1}), "lost"),
    "a dead letter is missing": (replace(GOOD, dead=[]), "lost misjudged"),
    "a message has left the queue": (replace(GOOD, queued=[]), "lost"),
    "a row of nobody": (replace(GOOD, rows=[*GOOD.rows, Row(99, "?")]), "unexpected"),
    "a part of nobody": (replace(GOOD, parts={**GOOD.parts, 99: 1}), "unexpected"),
    "a dead letter of nobody": (replace(GOOD, dead=[*GOOD.dead, Letter(99, "reject")]), "unexpected misjudged"),
    "a message of nobody": (replace(GOOD, queued=[5, 99]), "unexpected"),
    "written twice": (
        replace(GOOD, rows=[*GOOD.rows, Row(1, "one")], parts={1: 4, 3: 1}),
        "duplicated",
    ),
    "written and in the queue": (replace(GOOD, queued=[5, 3]), "in_two_places"),
    "written and dead": (replace(GOOD, dead=[*GOOD.dead, Letter(3, "unknown")]), "in_two_places misjudged"),
    "written and dead without the inbox": (
        replace(GOOD, once=False, dead=[*GOOD.dead, Letter(3, "unknown")]),
        "in_two_places misjudged",
    ),
    "dead twice": (replace(GOOD, dead=[*GOOD.dead, *GOOD.dead]), "in_two_places"),
    "another text": (replace(GOOD, rows=[Row(1, "0ne"), *GOOD.rows[1:]]), "garbled"),
    "a bad one written": (replace(GOOD, dead=[], rows=[*GOOD.rows, Row(4, "four")]), "misjudged"),
    "a good one dead": (replace(GOOD, queued=[], dead=[*GOOD.dead, Letter(5, "unknown")]), "misjudged"),
    "dead without a reason": (replace(GOOD, dead=[Letter(4, "")]), "misjudged"),
    "a part too few": (replace(GOOD, parts={1: 1, 3: 1}), "torn"),
    "a part too many": (replace(GOOD, parts={1: 2, 2: 1, 3: 1}), "torn"),
    "parts without their row": (replace(GOOD, parts={**GOOD.parts, 5: 1}), "torn"),
    "doubled in part": (replace(GOOD, once=False, rows=[*GOOD.rows, Row(1, "one")]), "torn"),
}


def red(history: History) -> set[str]:
    return {check.__name__ for check in (*checker.INVARIANTS, checker.disordered) if check(history)}


def test_a_good_history_has_no_violations() -> None:
    assert checker.violations(GOOD, ordered=True) == []


@pytest.mark.parametrize(("history", "expected"), WRONG.values(), ids=WRONG)
def test_a_wrong_history_is_told(history: History, expected: str) -> None:
    assert red(history) == set(expected.split())


def test_what_is_allowed_without_the_inbox() -> None:
    twice = replace(GOOD, once=False, rows=[*GOOD.rows, Row(1, "one")], parts={1: 4, 3: 1}, queued=[5, 3])
    assert checker.violations(twice, ordered=True) == []
    assert checker.counts(twice).duplicated == 1


def test_a_crash_may_double_a_dead_letter() -> None:
    assert checker.violations(replace(GOOD, dead=[*GOOD.dead, *GOOD.dead], dead_twice=1)) == []
    assert checker.violations(replace(GOOD, dead=[*GOOD.dead, *GOOD.dead, *GOOD.dead], dead_twice=1)) != []


def test_what_was_not_confirmed_may_be_there_and_may_not() -> None:
    there = replace(GOOD, rows=[*GOOD.rows, Row(6, "six")], parts={**GOOD.parts, 6: 1})
    assert checker.violations(there, ordered=True) == []
    assert checker.counts(there).recovered == 1


def test_order_is_that_of_each_key() -> None:
    two_before_one = replace(GOOD, rows=[GOOD.rows[1], GOOD.rows[0], GOOD.rows[2]])
    assert checker.violations(two_before_one, ordered=True) == []
    three_before_one = replace(GOOD, rows=[GOOD.rows[2], GOOD.rows[1], GOOD.rows[0]])
    assert checker.violations(three_before_one) == []
    assert checker.violations(three_before_one, ordered=True) == ["written after a later one: 1"]


def test_a_row_marked_before_it_arrived() -> None:
    assert checker.skipped([1, 2], [1, 2, 3]) == []
    assert checker.skipped([1, 2], [1]) == ["marked as sent, and never arrived: 2"]


def test_a_process_that_grows() -> None:
    flat = [Usage(50_000, 12, 5), Usage(60_000, 14, 6)] * 10
    assert checker.growing(flat) == []
    for name, most in (("rss", 90_000), ("files", 30), ("threads", 20)):
        (problem,) = checker.growing([*flat, replace(flat[0], **{name: most})])
        assert problem.startswith(name)


def test_a_secret_in_a_log_is_told_by_its_number() -> None:
    assert checker.told("password=hunter2", ["swordfish"]) == []
    assert checker.told("password=hunter2", ["swordfish", "hunter2"]) == ["secret number 1 is in the log"]


def test_the_numbers_of_a_history() -> None:
    assert str(checker.counts(GOOD)) == (
        "attempted 6 confirmed 5 written 3 dead-lettered 1 in-queue 1 recovered 0 duplicated 0 lost 0 unexpected 0"
    )


def test_many_ids_are_counted_rather_than_named() -> None:
    many = replace(GOOD, confirmed=frozenset(range(1, 100)), attempted=dict.fromkeys(range(1, 100), Sent("x")), rows=[])
    assert checker.lost(many)[0].endswith(" and 87 more")


ALARMS = AlarmHistory(
    attempted={
        1: Sent("active", key="a"),
        2: Sent("active", key="a"),
        3: Sent("ok", key="b"),
        4: Sent("active", key="b"),
        5: Sent("ok", key="b"),
        6: Sent("active", bad=True),
        7: Sent("active", key="c"),
    },
    confirmed=frozenset({1, 2, 3, 4, 5, 6}),  # of 7 nobody knows
    alarms={"a": AlarmSeen("active", 2, 1), "b": AlarmSeen("cleared", 1, 1)},
    cases={
        "a": [CaseSeen("5A", 1, closed=False, fields={"OwnerId": "queue"})],
        "b": [CaseSeen("5B", 1, closed=True, fields={"OwnerId": "agent"})],
    },
    dead=[6],
    expected={"5A": {"OwnerId": "queue"}, "5B": {"OwnerId": "agent"}},
)
SECOND = CaseSeen("5C", 2, closed=False, fields={})

WRONG_ALARMS = {
    "two open Cases": (
        replace(
            ALARMS,
            cases={**ALARMS.cases, "a": [*ALARMS.cases["a"], SECOND]},
            alarms={**ALARMS.alarms, "a": AlarmSeen("active", 1, 2)},
        ),
        "numbers",
    ),
    "a number is missing": (replace(ALARMS, cases={**ALARMS.cases, "a": [replace(SECOND, closed=True)]}), "numbers"),
    "a Case without a record": (replace(ALARMS, cases={**ALARMS.cases, "d": [replace(SECOND, number=1)]}), "numbers"),
    "a raise is not counted": (replace(ALARMS, alarms={**ALARMS.alarms, "a": AlarmSeen("active", 1, 1)}), "counts"),
    "a raise counts twice": (replace(ALARMS, alarms={**ALARMS.alarms, "a": AlarmSeen("active", 3, 1)}), "counts"),
    "it fires, and is cleared": (replace(ALARMS, alarms={**ALARMS.alarms, "a": AlarmSeen("cleared", 2, 1)}), "states"),
    "it is cleared, and fires": (replace(ALARMS, alarms={**ALARMS.alarms, "b": AlarmSeen("active", 1, 1)}), "states"),
    "another owner": (replace(ALARMS, expected={"5B": {"OwnerId": "queue"}}), "altered"),
    "a good message is dead": (replace(ALARMS, dead=[6, 1]), "misjudged"),
    "a bad message is not dead": (replace(ALARMS, dead=[]), "misjudged"),
}


def test_good_alarms_are_good() -> None:
    assert alarm_checker.violations(ALARMS) == []


@pytest.mark.parametrize("what", WRONG_ALARMS)
def test_wrong_alarms_are_found(what: str) -> None:
    history, expected = WRONG_ALARMS[what]
    assert [each.__name__ for each in alarm_checker.INVARIANTS if [*each(history)]] == expected.split()
