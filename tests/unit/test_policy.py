"""The blame rule and the waits, as tables: no clock, no broker, no database."""

import pytest

from connectorlib.errors import Failure, Kind
from connectorlib.messages import Delivery
from connectorlib.pipeline import blame
from connectorlib.shared_settings import Retry

LOCKED = Failure(Kind.RETRY, "55P03", "canceling statement due to lock timeout", "write[0]")
NO_TABLE = Failure(Kind.CONFIGURATION, "42P01", 'relation "reading" does not exist', "write[0]")
STRANGE = Failure(Kind.UNKNOWN, "HY000", "something", "write[0]")


RETRY = Retry(attempts=1, breaker=10)


def delivery(tag: int) -> Delivery:
    return Delivery(tag, 1, "q", "", "q", False, None, b"", 0.0)  # type: ignore[arg-type]  # properties are not looked at


def passed(count: int) -> dict[str, int]:
    return {"write[0]": count, blame.ALL: count}


def suspect(line: blame.Line, tag: int, failure: Failure, *, passed: int = 0, now: float = 0.0) -> None:
    line.suspect(delivery(tag), failure, {"write[0]": passed, blame.ALL: passed}, now, 0.5)


def line_with(failure: Failure, count: int, *, passed: int = 0, retry: Retry = RETRY) -> blame.Line:
    line = blame.Line(retry)
    for tag in range(1, count + 1):
        suspect(line, tag, failure, passed=passed)
    return line


@pytest.mark.parametrize("failure", [LOCKED, NO_TABLE, STRANGE])
def test_a_suspect_is_guilty_if_it_fails_again_after_another_message_passed_the_same_place(failure: Failure) -> None:
    line = line_with(failure, 2, passed=7)
    assert line.due(0.0, passed(7)) == []
    assert [s.delivery.tag for s in line.due(0.0, passed(8))] == [1, 2]
    assert line.guilty() == []
    suspect(line, 1, failure, passed=8)
    assert [s.delivery.tag for s in line.guilty()] == [1]
    assert line.suspects == []


def test_a_suspect_that_passes_at_its_last_attempt_was_no_one_s_fault() -> None:
    line = line_with(NO_TABLE, 1, passed=0)
    assert len(line.due(0.0, passed(1))) == 1  # it is tried, and passes: nobody puts it back
    assert line.guilty() == []
    assert not line.exhausted(passed(2))


@pytest.mark.parametrize("failure", [LOCKED, NO_TABLE, STRANGE])
def test_success_elsewhere_proves_nothing(failure: Failure) -> None:
    line = line_with(failure, 1)
    assert line.due(0.0, {"write[0]": 0, "write[1]": 5, "commit": 9, blame.ALL: 9}) == []
    assert line.exhausted({"write[0]": 0, blame.ALL: 9})


@pytest.mark.parametrize(("failure", "blamed"), [(LOCKED, 0), (NO_TABLE, 0), (STRANGE, 3)])
def test_without_another_message_only_an_unknown_failure_is_blamed(failure: Failure, blamed: int) -> None:
    assert len(line_with(failure, 3).lone(passed(0))) == blamed


def test_the_breaker_trips_after_that_many_failed_in_a_row() -> None:
    assert not line_with(STRANGE, 9).tripped(passed(0))
    line = line_with(STRANGE, 10)
    assert line.tripped(passed(0))
    assert not line.tripped(passed(1))
    assert line.lone(passed(0)) == []
    assert len(line.release()) == 10


def test_unknown_failures_one_at_a_time_trip_the_breaker_too() -> None:
    line = blame.Line(Retry(breaker=3))
    blamed = 0
    for tag in range(1, 8):
        suspect(line, tag, STRANGE)
        blamed += len(line.lone(passed(0)))
        line.release()
    assert blamed == 2
    line.success()
    suspect(line, 9, STRANGE)
    assert len(line.lone(passed(0))) == 1


def test_a_bug_is_proven_by_any_message_that_passed_since() -> None:
    line = line_with(Failure(Kind.UNKNOWN, "bug", "TypeError: …", "bug"), 1, passed=3)
    assert line.due(0.0, passed(3)) == []
    assert len(line.due(0.0, passed(4))) == 1


def test_what_another_attempt_may_mend_gets_all_its_attempts_alone_before_it_is_blamed() -> None:
    line = blame.Line(Retry(attempts=3, first_ms=1000))
    now, count = 0.0, 0
    for attempt in (1, 2):
        suspect(line, 1, LOCKED, passed=count, now=now)
        count += 5  # its neighbours pass meanwhile
        assert line.due(now, passed(count)) == []
        assert not line.exhausted(passed(count))
        now += 10
        assert [s.attempts for s in line.due(now, passed(count))] == [attempt]
        assert line.suspects == []
    suspect(line, 1, LOCKED, passed=count, now=now)
    assert line.guilty() == []
    assert len(line.due(now, passed(count))) == 1
    suspect(line, 1, LOCKED, passed=count, now=now)
    (guilty,) = line.guilty()
    assert guilty.attempts == 4


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (LOCKED, "retries-exhausted"),
        (NO_TABLE, "reject"),
        (STRANGE, "unknown"),
        (Failure(Kind.UNKNOWN, "bug", "TypeError: …", "bug"), "bug"),
    ],
)
def test_a_blamed_message_says_why(failure: Failure, reason: str) -> None:
    assert blame.reason(failure) == reason


def test_retries_double_and_keep_below_their_maximum() -> None:
    retry = Retry(attempts=5, first_ms=200, max_s=1.0)
    assert [retry.backoff.delay(n, 1.0) for n in range(5)] == [0.2, 0.4, 0.8, 1.0, 1.0]
    assert retry.backoff.delay(0, 0.0) == pytest.approx(0.1)


def test_probes_slow_down_to_a_minute_and_refused_log_ins_to_five() -> None:
    assert blame.probe_delay(0, Kind.UNAVAILABLE, 1.0) == pytest.approx(1.0)
    assert blame.probe_delay(50, Kind.UNAVAILABLE, 1.0) == pytest.approx(60.0)
    assert blame.probe_delay(0, Kind.REFUSED, 1.0) == pytest.approx(5.0)
    assert blame.probe_delay(50, Kind.REFUSED, 1.0) == pytest.approx(300.0)
    assert blame.probe_delay(50, Kind.CONFIGURATION, 1.0) == pytest.approx(60.0)
    assert blame.probe_delay(50, Kind.CONFIGURATION, 1.0, longest=300.0) == pytest.approx(300.0)


def test_a_pause_is_told_at_the_change_and_every_15_minutes() -> None:
    pause = blame.Pause(LOCKED, since=0.0)
    assert pause.tell(0.0)
    assert not pause.tell(899.0)
    assert pause.tell(900.0)
    assert not pause.changed(LOCKED)
    assert not pause.tell(901.0)
    assert pause.changed(NO_TABLE)
    assert pause.tell(902.0)
