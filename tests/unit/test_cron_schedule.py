"""When a query is due by a cron expression, in a zone with daylight saving, on time, late and after a change of it."""

import logging
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from dbconnector.cron_schedule import (
    CronSchedule,
    check_expression,
    check_zone,
    decide,
    following,
    last_handled,
    latest,
)
from dbconnector.settings import Cron

VIENNA = ZoneInfo("Europe/Vienna")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


#: In Vienna 02:00-03:00 does not exist on 2026-03-29, and comes twice on 2026-10-25.
CHANGES = [
    ("0 1 * * *", "2026-03-28T12:00", ["2026-03-29T00:00", "2026-03-29T23:00"]),
    ("30 2 * * *", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:30"]),  # at 03:00, at once after the gap
    ("0 3 * * *", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T01:00"]),
    ("30 * * * *", "2026-03-29T00:00", ["2026-03-29T00:30", "2026-03-29T01:30"]),
    ("*/30 2 * * *", "2026-03-28T12:00", ["2026-03-30T00:00", "2026-03-30T00:30"]),  # by the clock: not in the gap
    ("30 2 * * *", "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),  # the first of the two
    ("30 * * * *", "2026-10-25T00:00", ["2026-10-25T00:30", "2026-10-25T01:30", "2026-10-25T02:30"]),
    ("*/30 2 * * *", "2026-10-24T23:00", ["2026-10-25T00:00", "2026-10-25T00:30", "2026-10-25T01:00"]),  # both
    ("0 3 * * *", "2026-10-24T12:00", ["2026-10-25T02:00", "2026-10-26T02:00"]),
]


@pytest.mark.parametrize(("expression", "after", "expected"), CHANGES)
def test_daylight_saving_is_as_in_cron(expression: str, after: str, expected: list[str]) -> None:
    cron, found = Cron(expression, "Europe/Vienna"), [utc(after)]
    for _ in expected:
        found.append(following(cron, found[-1]))
    assert found[1:] == [utc(text) for text in expected]
    assert latest(cron, found[-1]) == found[-1]
    assert latest(cron, found[-1] - timedelta(seconds=1)) == (found[-2] if len(found) > 2 else latest(cron, found[0]))


NIGHTLY = "0 2 * * *"
#: handled, now, missed: whether to run, and what is handled then
DECISIONS = [
    ("2026-06-01T02:00", "2026-06-01T12:00", "once", False, "2026-06-01T02:00"),
    ("2026-06-01T02:00", "2026-06-02T01:59:59", "once", False, "2026-06-01T02:00"),
    ("2026-06-01T02:00", "2026-06-02T02:00", "once", True, "2026-06-02T02:00"),
    ("2026-06-01T02:00", "2026-06-02T02:00", "skip", True, "2026-06-02T02:00"),
    ("2026-06-01T02:00", "2026-06-02T02:01", "skip", True, "2026-06-02T02:00"),
    ("2026-06-01T02:00", "2026-06-02T02:01:01", "skip", False, "2026-06-02T02:00"),
    ("2026-06-01T02:00", "2026-06-02T08:00", "once", True, "2026-06-02T02:00"),
    ("2026-06-01T02:00", "2026-06-09T08:00", "once", True, "2026-06-09T02:00"),  # one run for all of them
    ("2026-06-01T02:00", "2026-06-09T02:00:30", "skip", True, "2026-06-09T02:00"),
    ("2026-06-02T02:00", "2026-06-02T01:55", "once", False, "2026-06-02T02:00"),  # the clock was set back
    ("2026-06-03T02:00", "2026-06-02T08:00", "once", False, "2026-06-02T08:00"),  # by so much that it was wrong
]


@pytest.mark.parametrize(("handled", "now", "missed", "run", "then"), DECISIONS)
def test_what_is_due(handled: str, now: str, missed: str, run: bool, then: str) -> None:
    due = decide(Cron(NIGHTLY, missed=missed), utc(handled), utc(now))
    assert (due.run, due.handled) == (run, utc(then))
    assert 0 < due.next_in <= 86_400


#: A run that has begun, here or elsewhere, is not missed: handled, now, whether it has, whether to run.
REPEATS = [
    ("2026-06-01T02:00", "2026-06-02T02:30", False, False),
    ("2026-06-01T02:00", "2026-06-02T02:30", True, True),
    ("2026-06-01T02:00", "2026-06-04T09:00", True, True),  # with all that has passed since
    ("2026-06-02T02:00", "2026-06-02T02:30", True, False),  # it was completed meanwhile
    ("2026-06-01T02:00", "2026-06-02T01:59", True, False),  # it was asked for, and nothing is due
]


@pytest.mark.parametrize(("handled", "now", "begun", "run"), REPEATS)
def test_a_run_that_has_begun_is_repeated_even_where_missed_ones_are_skipped(
    handled: str, now: str, begun: bool, run: bool
) -> None:
    assert decide(Cron(NIGHTLY, missed="skip"), utc(handled), utc(now), begun=begun).run is run


OWN, NOW = "2026-06-01T12:00", "2026-06-02T02:00:05"


@pytest.mark.parametrize(
    ("shared", "expected"),
    [
        (None, OWN),  # nobody has handled anything yet, or somebody has deleted the row
        ("2026-06-02T02:00", "2026-06-02T02:00"),
        ("2026-05-20T02:00", "2026-05-20T02:00"),  # before this process was started
        ("2026-06-02T02:05", "2026-06-02T02:05"),  # by a clock that is five minutes fast
        ("2026-06-03T02:00", OWN),  # by a clock that is a day fast
    ],
)
def test_what_is_shared_holds_unless_a_clock_is_wrong(shared: str | None, expected: str) -> None:
    """What another machine has written must not suppress the runs of this one until a time far in the future."""
    assert last_handled(utc(shared) if shared else None, utc(OWN), utc(NOW)) == utc(expected)


#: Looks of machines at one state: the time that is handled, and each look by its machine's own clock, with whether it
#: runs. Whoever runs handles the last time by its own clock.
MACHINES = [
    # the other clock is 20 s slow, then 20 s fast
    (NIGHTLY, "once", "2026-06-01T02:00", [("2026-06-02T02:00:00", True), ("2026-06-02T02:00:00", False)]),
    (NIGHTLY, "skip", "2026-06-01T02:00", [("2026-06-02T02:00:20", True), ("2026-06-02T02:00:00", False)]),
    # every minute, by a clock that is 70 s fast: each time is handled by one of them
    (
        *("* * * * *", "once", "2026-06-01T11:59"),
        [("2026-06-01T12:01:00", True), ("2026-06-01T12:00:00", False), ("2026-06-01T12:01:00", False)],
    ),
    # nobody was running for a week
    (NIGHTLY, "once", "2026-06-01T02:00", [("2026-06-08T09:00", True), ("2026-06-08T09:00:05", False)]),
    (NIGHTLY, "skip", "2026-06-01T02:00", [("2026-06-08T09:00", False), ("2026-06-09T02:00:01", True)]),
    # 02:30 comes twice in Vienna, and runs the first time
    (
        *("30 2 * * *", "once", "2026-10-24T00:30"),
        [("2026-10-25T00:30", True), ("2026-10-25T00:30:10", False), ("2026-10-25T01:30", False)],
    ),
    # hourly, it runs in both
    (
        *("30 * * * *", "once", "2026-10-24T23:30"),
        [("2026-10-25T00:30", True), ("2026-10-25T00:30", False), ("2026-10-25T01:30", True)],
    ),
    # 02:30 does not exist: it runs at the end of the gap, once
    ("30 2 * * *", "once", "2026-03-28T01:30", [("2026-03-29T01:00", True), ("2026-03-29T01:00:03", False)]),
    # nobody was running while the clocks changed
    ("30 2 * * *", "skip", "2026-10-24T00:30", [("2026-10-25T01:30", False), ("2026-10-26T01:30", True)]),
]


@pytest.mark.parametrize(("expression", "missed", "handled", "looks"), MACHINES)
def test_of_several_machines_one_runs_at_each_time(
    expression: str, missed: str, handled: str, looks: list[tuple[str, bool]]
) -> None:
    cron, shared = Cron(expression, "Europe/Vienna" if "30" in expression else "UTC", missed), utc(handled)
    for number, (clock, expected) in enumerate(looks):
        now = utc(clock)
        due = decide(cron, last_handled(shared, now, now), now)
        assert due.run is expected, number
        shared = max(shared, due.handled)


class Clock:
    def __init__(self, text: str) -> None:
        self.now = utc(text)

    def __call__(self) -> datetime:
        return self.now

    def at(self, text: str) -> None:
        self.now = utc(text)


def test_it_runs_at_its_time_and_not_at_the_start_and_what_was_asked_for_changes_nothing() -> None:
    clock = Clock("2026-06-01T12:00")
    schedule = CronSchedule(Cron(NIGHTLY), clock)
    assert schedule.due_in() == 60  # so that a clock that is set is noticed
    schedule.begin()  # SIGUSR1
    schedule.finish(complete=True)
    clock.at("2026-06-02T01:59:30")
    assert schedule.due_in() == 30
    clock.at("2026-06-02T02:00:00.000001")
    assert schedule.due_in() == 0
    schedule.begin()
    assert schedule.next_in() == pytest.approx(86_400, abs=1)
    clock.at("2026-06-02T02:20")
    schedule.finish(complete=True)
    assert schedule.due_in() == 60


@pytest.mark.parametrize(
    ("expression", "begin", "runs"),
    [
        ("30 2 * * *", "2026-10-25T00:00", ["00:30"]),
        ("30 * * * *", "2026-10-25T00:00", ["00:30", "01:30", "02:30"]),
        ("*/30 2 * * *", "2026-10-24T23:50", ["00:00", "00:30", "01:00", "01:30"]),
        ("30 2 * * *", "2026-03-29T00:00", ["01:00"]),
        ("30 * * * *", "2026-03-29T00:00", ["00:30", "01:30", "02:30"]),
    ],
)
def test_a_process_runs_through_a_change_of_the_clocks(expression: str, begin: str, runs: list[str]) -> None:
    clock, found = Clock(begin), []
    schedule = CronSchedule(Cron(expression, "Europe/Vienna"), clock)
    for _ in range(3 * 60 * 3):
        if not schedule.due_in():
            assert schedule.begin()
            schedule.finish(complete=True)
            found.append(f"{clock.now:%H:%M}")
        clock.now += timedelta(seconds=20)
    assert found == runs


def test_a_clock_that_was_fast_at_the_start_and_is_set_back_skips_no_time() -> None:
    clock = Clock("2026-06-01T03:00")
    schedule = CronSchedule(Cron(NIGHTLY), clock)
    clock.now = utc("2026-06-01T01:00")
    assert schedule.due_in() == 60
    clock.now = utc("2026-06-01T02:00")
    assert schedule.due_in() == 0


def test_a_time_that_is_skipped_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock("2026-06-01T12:00")
    schedule = CronSchedule(Cron(NIGHTLY, "Europe/Vienna", "skip"), clock)
    clock.at("2026-06-02T09:00")
    for _ in range(3):
        assert schedule.due_in() == 60
    assert caplog.messages == ["missed run skipped due=2026-06-02T02:00+02:00"]


@pytest.mark.parametrize(("missed", "due"), [("once", 0.0), ("skip", 60.0)])
def test_a_run_that_takes_longer_than_the_interval_is_followed_by_one_or_none(missed: str, due: float) -> None:
    clock = Clock("2026-06-01T12:00:30")
    schedule = CronSchedule(Cron("*/5 * * * *", missed=missed), clock)
    clock.at("2026-06-01T12:05")
    assert schedule.due_in() == 0
    schedule.begin()
    clock.at("2026-06-01T12:17")
    schedule.finish(complete=True)
    assert schedule.due_in() == due


def test_a_retry_stands_for_the_times_that_passed_until_it_began() -> None:
    clock = Clock("2026-06-01T12:00:30")
    schedule = CronSchedule(Cron("*/5 * * * *"), clock)
    clock.at("2026-06-01T12:05")
    schedule.begin()  # it fails
    clock.at("2026-06-01T12:16")
    schedule.begin()
    clock.at("2026-06-01T12:17")
    schedule.finish(complete=True)
    assert schedule.due_in() == 60


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("0 2 * *", "expected five fields"),
        ("* * * * * *", "expected five fields"),
        ("@daily", "expected five fields"),
        ("61 * * * *", "bad minute in '61"),
        ("0 0 30 2 *", "bad day-of-month in"),
    ],
)
def test_what_is_no_expression_is_refused(expression: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        check_expression(expression, "UTC")
    with pytest.raises(ValueError, match="there is no time zone"):
        check_zone("Europe/Wien")
    check_expression("0 2 * * MON-FRI", "Europe/Vienna")
