"""The blame rule and the waits, as tables: no clock, no broker, no database."""

from collections.abc import Iterable

import pytest

from connectorlib.errors import Failure, Kind
from connectorlib.messages import Delivery
from connectorlib.pipeline import blame
from connectorlib.pipeline.blame import Suspect, Suspects
from connectorlib.shared_settings import Retry

LOCKED = Failure(Kind.RETRY, "55P03", "canceling statement due to lock timeout", "write[0]")
NO_TABLE = Failure(Kind.CONFIGURATION, "42P01", 'relation "reading" does not exist', "write[0]")
STRANGE = Failure(Kind.UNKNOWN, "HY000", "something", "write[0]")


RETRY = Retry(attempts=1, breaker=10)


def delivery(tag: int) -> Delivery:
    return Delivery(tag, 1, "q", "", "q", False, None, b"", 0.0)  # type: ignore[arg-type]  # properties are not looked at


DELIVERIES = {tag: delivery(tag) for tag in range(1, 20)}


def passed(count: int) -> dict[str, int]:
    return {"write[0]": count, blame.ALL: count}


def add(
    suspects: Suspects, tag: int, failure: Failure, *, passed: int = 0, now: float = 0.0, retry: Retry = RETRY
) -> Suspects:
    return suspects.add(DELIVERIES[tag], failure, {"write[0]": passed, blame.ALL: passed}, retry, now, 0.5)


def suspects_of(failure: Failure, count: int, *, passed: int = 0) -> Suspects:
    suspects = Suspects()
    for tag in range(1, count + 1):
        suspects = add(suspects, tag, failure, passed=passed)
    return suspects


def tags(suspects: Iterable[Suspect]) -> list[int]:
    return [suspect.delivery.tag for suspect in suspects]


@pytest.mark.parametrize("failure", [LOCKED, NO_TABLE, STRANGE])
def test_a_suspect_is_convicted_if_it_fails_again_after_another_message_passed_the_same_place(failure: Failure) -> None:
    suspects = suspects_of(failure, 2, passed=7)
    assert suspects.due(0.0, passed(7))[0] == []
    due, suspects = suspects.due(0.0, passed(8))
    assert tags(due) == [1, 2]
    assert suspects.convicted()[0] == []
    suspects = add(suspects, 1, failure, passed=8)
    convicted, suspects = suspects.convicted()
    assert tags(convicted) == [1]
    assert suspects.all == ()


def test_a_suspect_that_passes_at_its_last_attempt_is_not_blamed() -> None:
    due, suspects = suspects_of(NO_TABLE, 1).due(0.0, passed(1))
    assert tags(due) == [1]
    suspects = suspects.passed([DELIVERIES[1]])
    assert suspects == Suspects()
    assert not suspects.exhausted(passed(2))


@pytest.mark.parametrize("failure", [LOCKED, NO_TABLE, STRANGE])
def test_success_elsewhere_proves_nothing(failure: Failure) -> None:
    suspects = suspects_of(failure, 1)
    assert suspects.due(0.0, {"write[0]": 0, "write[1]": 5, "commit": 9, blame.ALL: 9})[0] == []
    assert suspects.exhausted({"write[0]": 0, blame.ALL: 9})


@pytest.mark.parametrize(("failure", "blamed"), [(LOCKED, 0), (NO_TABLE, 0), (STRANGE, 3)])
def test_without_another_message_only_an_unknown_failure_is_blamed(failure: Failure, blamed: int) -> None:
    sole, left = suspects_of(failure, 3).sole(RETRY, passed(0))
    assert (len(sole), len(left.all)) == (blamed, 3 - blamed)


def test_the_breaker_trips_after_that_many_failed_in_a_row() -> None:
    assert not suspects_of(STRANGE, 9).tripped(RETRY, passed(0))
    suspects = suspects_of(STRANGE, 10)
    assert suspects.tripped(RETRY, passed(0))
    assert not suspects.tripped(RETRY, passed(1))
    assert suspects.sole(RETRY, passed(0)) == ([], suspects)
    assert suspects.dropped().all == ()


def test_unknown_failures_one_at_a_time_trip_the_breaker_too() -> None:
    suspects, retry, blamed = Suspects(), Retry(breaker=3), 0
    for tag in range(1, 8):
        sole, suspects = add(suspects, tag, STRANGE).sole(retry, passed(0))
        blamed += len(sole)
        suspects = suspects.dropped()
    assert blamed == 2
    suspects = add(suspects.passed([]), 9, STRANGE)
    assert len(suspects.sole(retry, passed(0))[0]) == 1


def test_a_bug_is_proven_by_any_message_that_passed_since() -> None:
    suspects = suspects_of(Failure(Kind.UNKNOWN, "bug", "TypeError: …", "bug"), 1, passed=3)
    assert suspects.due(0.0, passed(3))[0] == []
    assert len(suspects.due(0.0, passed(4))[0]) == 1


def test_what_another_attempt_may_cure_gets_all_its_attempts_alone_before_it_is_blamed() -> None:
    retry, suspects = Retry(attempts=3, first_ms=1000), Suspects()
    now, count = 0.0, 0
    for attempt in (1, 2):
        suspects = add(suspects, 1, LOCKED, passed=count, now=now, retry=retry)
        count += 5  # its neighbours pass meanwhile
        assert suspects.due(now, passed(count))[0] == []
        assert not suspects.exhausted(passed(count))
        now += 10
        due, suspects = suspects.due(now, passed(count))
        assert [suspect.attempts for suspect in due] == [attempt]
        assert suspects.all == ()
    suspects = add(suspects, 1, LOCKED, passed=count, now=now, retry=retry)
    assert suspects.convicted()[0] == []
    due, suspects = suspects.due(now, passed(count))
    assert len(due) == 1
    suspects = add(suspects, 1, LOCKED, passed=count, now=now, retry=retry)
    (convicted,) = suspects.convicted()[0]
    assert convicted.attempts == 4


@pytest.mark.parametrize(
    ("others", "cost", "wait"),
    [(0, 0.0, 0.15), (0, 0.01, 0.15), (0, 0.5, 1.5), (3, 0.5, 6.0), (3, 9.0, 30.0)],
)
def test_the_attempts_of_all_suspects_take_a_quarter_of_the_time(others: int, cost: float, wait: float) -> None:
    suspects = suspects_of(LOCKED, others)
    added = suspects.add(DELIVERIES[10], LOCKED, passed(0), Retry(first_ms=200), 100.0, 0.5, cost)
    assert added.all[-1].next_try == pytest.approx(100.0 + wait)


@pytest.mark.parametrize(("patience", "attempts"), [(0.0, 3), (20.0, 5), (1000.0, None)])
def test_patience_gives_more_attempts(patience: float, attempts: int | None) -> None:
    """Five seconds lie between two of them."""
    retry, suspects = Retry(attempts=3, first_ms=1, patience_s=patience), Suspects()
    for attempt in range(1, 50):
        suspects = add(suspects, 1, LOCKED, now=5.0 * attempt, retry=retry)
        if suspects.exhausted(passed(0)):
            assert attempt == attempts
            return
        _, suspects = suspects.due(5.0 * attempt + 4, passed(0))
    assert attempts is None


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


def test_a_pause_is_announced_at_the_change_and_every_15_minutes() -> None:
    pause = blame.Pause(LOCKED, since=0.0)
    assert pause.is_to_announce(0.0)
    pause = pause.announced(0.0)
    assert not pause.is_to_announce(899.0)
    assert pause.is_to_announce(900.0)
    pause = pause.announced(900.0).caused_by(LOCKED)
    assert not pause.is_to_announce(901.0)
    pause = pause.caused_by(NO_TABLE)
    assert pause.is_to_announce(902.0)
