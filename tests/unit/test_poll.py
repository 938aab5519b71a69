"""A query that is run at an interval is paused like any flow, and repeated only when that may help."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.pipeline.pause import PauseNotice, PauseWait
from connectorlib.service.process import Life
from dbconnector.poll import Poll, advice, not_before
from dbconnector.schedule import IntervalSchedule

DOWN = Failure(Kind.UNAVAILABLE, "08001", "connection refused", "database")
DUE = 3600.0


class Flow:
    """A query that is run every hour, until the answers that it is given are at their end."""

    def __init__(
        self,
        *answers: Failure | bool | int,
        marks: bool = True,
        nudging: bool = True,
        schedule: IntervalSchedule | None = None,
    ) -> None:
        self.life = Life(install=False)
        self.poll = Poll(None, schedule or IntervalSchedule(DUE), marks=marks)
        broker: Any = SimpleNamespace(connected=True, next_try=None, alarm="")
        self.notice = PauseNotice("readings", self.poll, broker, label="select", hints=advice)
        self.wait = PauseWait(self.notice, self.life.stop, threading.Event())
        self.answers = list(answers)
        self.waits: list[float] = []
        self.nudging = nudging

    def query(self) -> bool:
        if self.notice.pause is not None:
            self.waits.append((self.notice.pause.next_try or 0.0) - time.monotonic())
        if not self.answers:
            self.life.request_stop()
            return False
        if self.nudging:
            self.life.request_nudge()  # so that nobody waits here
        answer = self.answers.pop(0)
        if isinstance(answer, Failure):
            raise Failed(answer)
        self.poll.progress(int(answer))
        return bool(answer)

    def run(self) -> "Flow":
        thread = threading.Thread(target=self.poll.run, args=(self.query, self.wait, self.life))
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
        return self


@pytest.mark.parametrize(
    ("kind", "sent", "marks", "at_once"),
    [
        (Kind.UNAVAILABLE, 0, False, True),
        (Kind.UNAVAILABLE, 5, True, True),
        (Kind.UNAVAILABLE, 5, False, False),
        (Kind.REFUSED, 0, False, True),
        (Kind.RETRY, 0, True, True),
        (Kind.REJECT, 0, True, False),
        (Kind.CONFIGURATION, 0, True, False),
        (Kind.UNKNOWN, 0, True, False),
    ],
)
def test_only_an_outage_is_repeated_before_its_time_and_not_what_was_sent_without_a_mark(
    kind: Kind, sent: int, marks: bool, at_once: bool
) -> None:
    found = not_before(replace(DOWN, kind=kind), DUE, sent=sent, marks=marks)
    assert found == (None if at_once else DUE)


def test_a_query_that_has_found_something_is_run_again_at_once() -> None:
    flow = Flow(True, True, nudging=False).run()
    assert flow.answers == []


def test_a_turn_without_rows_ends_a_pause_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    Flow(DOWN, False).run()
    assert [record.getMessage().split()[0] for record in caplog.records] == ["PAUSED", "RESUMED"]


def test_an_outage_is_one_pause_and_one_resume(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    flow = Flow(DOWN, DOWN, 5, nudging=False).run()
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split()[0] for line in lines] == ["PAUSED", "RESUMED"], lines
    assert lines[0].startswith("PAUSED select=readings since=")
    assert 'cause=08001 "database: connection refused" next_try=' in lines[0].replace('text="', '"')
    assert "start the database" in lines[0]
    assert "held=" not in lines[0]
    assert "waiting=" not in lines[0]
    assert flow.poll.counts["done"] == 5


class Shared(IntervalSchedule):
    """A schedule that says at each look whether to run, and keeps how each run ended."""

    def __init__(self, *looks: bool, unrecorded: int = 0) -> None:
        super().__init__(0.0)
        self.looks = list(looks)
        self.ends: list[bool] = []
        self._unrecorded = unrecorded

    def begin(self) -> bool:
        return self.looks.pop(0) if self.looks else True

    def finish(self, *, complete: bool) -> None:
        self.ends.append(complete)
        if complete and self._unrecorded:
            self._unrecorded -= 1
            raise Failed(DOWN)


def test_a_run_that_another_process_does_is_not_done_and_each_end_is_told() -> None:
    schedule = Shared(False, True, False, True)
    flow = Flow(5, DOWN, nudging=False, schedule=schedule).run()
    assert flow.answers == []
    assert schedule.looks == []
    assert schedule.ends == [True, False, False]  # the last one is stopped
    assert flow.poll.counts["done"] == 5


def test_a_run_that_another_process_does_ends_a_pause(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    Flow(DOWN, schedule=Shared(True, False)).run()
    assert [record.getMessage().split()[0] for record in caplog.records] == ["PAUSED", "RESUMED"]


def test_a_complete_run_that_could_not_be_recorded_does_not_wait_for_the_next_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Although rows were sent that nothing marks: recording it sends none again."""
    caplog.set_level(logging.INFO)
    schedule = Shared(True, False, unrecorded=1)
    schedule.next_in = lambda: DUE  # type: ignore[method-assign]
    flow = Flow(5, marks=False, nudging=False, schedule=schedule).run()
    assert flow.poll.counts["done"] == 5
    assert [record.getMessage().split()[0] for record in caplog.records] == ["PAUSED", "RESUMED"]


@pytest.mark.parametrize(("kind", "shortest", "longest"), [(Kind.UNAVAILABLE, 0.0, 61.0), (Kind.REFUSED, 40.0, 301.0)])
def test_what_fails_is_repeated_ever_more_slowly(kind: Kind, shortest: float, longest: float) -> None:
    waits = Flow(*[replace(DOWN, kind=kind)] * 6).run().waits
    assert waits[0] < 6
    assert shortest < waits[-1] < longest
    assert waits[-1] > waits[0]


def test_a_mistake_is_repeated_at_the_next_interval() -> None:
    waits = Flow(*[replace(DOWN, kind=Kind.CONFIGURATION)] * 2).run().waits
    assert waits == pytest.approx([DUE] * 2, abs=20)


def test_a_stop_ends_a_pause() -> None:
    flow = Flow(replace(DOWN, kind=Kind.CONFIGURATION), nudging=False)
    threading.Timer(0.2, flow.life.request_stop).start()
    flow.run()


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (DOWN, "start the database"),
        (replace(DOWN, code="nacked", place="publish"), "make room in the queue"),
        (replace(DOWN, code="unroutable", kind=Kind.REJECT, place="publish"), "bind a queue"),
        (replace(DOWN, code="404", kind=Kind.CONFIGURATION, place="publish"), "create the exchange"),
        (replace(DOWN, code="403", kind=Kind.REFUSED, place="publish"), "permissions in the broker"),
        (replace(DOWN, code="406", kind=Kind.REJECT, place="publish"), "fix the reported error"),
        (replace(DOWN, code="timeout", place="broker"), "start the broker"),
    ],
)
def test_a_pause_says_what_to_do(failure: Failure, words: str) -> None:
    say: Callable[[Failure], str] = advice
    assert words in say(failure)
