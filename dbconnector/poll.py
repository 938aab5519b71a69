"""A query that is run by a schedule: a flow that a failure pauses, as it pauses those that consume."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.pipeline.pause import HINTS, PUBLISHING, PauseWait, hint
from connectorlib.service.process import Life
from dbconnector.schedule import Schedule

Progress = Callable[[int], None]

#: What passes by itself: the next run need not wait for its time.
OUTAGES = frozenset({Kind.UNAVAILABLE, Kind.REFUSED, Kind.RETRY})


#: What helps if the broker does not take a message, by the code.
PUBLISHING_ADVICE = {
    "nacked": "make room in the queue, or raise its limit; the connector resumes automatically",
    "unroutable": "bind a queue to the exchange for this routing key; the connector resumes automatically (SIGUSR1 "
    "retries immediately)",
    "404": "create the exchange, or correct its name here and restart; the connector resumes automatically (SIGUSR1 "
    "retries immediately)",
}


def advice(failure: Failure) -> str:
    """Return what a person can do about a run that failed."""
    from dbconnector.dialects import sqlstate  # late: only a failure needs it

    if failure.place == PUBLISHING:
        return PUBLISHING_ADVICE.get(failure.code, HINTS[failure.kind].format(target="broker"))
    return sqlstate.advice(failure.code) or hint(failure, target="database")


def not_before(failure: Failure, due: float, *, sent: int, marks: bool) -> float | None:
    """Return the time before which a failed run is not repeated; None if as soon as the back-off says.

    Only an outage passes by itself. What was sent and is not marked would be sent again each time.
    """
    return None if failure.kind in OUTAGES and (marks or not sent) else due


class Poll:
    """Runs a query by a schedule. It has the counts that the monitoring shows, and no queue."""

    queue = ""
    queues: Sequence[str] = ()
    held = 0

    def __init__(self, progress: Progress | None, schedule: Schedule, *, marks: bool) -> None:
        """`marks`: whether rows that have been sent are not read again."""
        self._schedule = schedule
        self.counts: Counter[str] = Counter()
        self.active = False
        self._marks = marks
        self._progress = progress
        self._before = 0
        self._wait: PauseWait | None = None

    def progress(self, sent: int) -> None:
        """Take note of how many rows of the present run are confirmed."""
        self.counts["done"] = self._before + sent
        if sent and self._wait is not None:
            self._wait.over()
        if self._progress is not None:
            self._progress(sent)

    def run(
        self, query: Callable[[], bool], wait: PauseWait, life: Life, until: Callable[[Failure], bool] = lambda _: False
    ) -> None:
        """Run the query when it is due, and at once after a nudge or while it returns that there is more, until the
        life ends. A run that fails is repeated when the pause ends, or `until` holds of its failure."""
        self._wait, wake, at_once = wait, threading.Event(), False
        life.on_stop(wake.set)
        life.on_nudge(wake.set)
        life.on_nudge(wait.nudge.set)
        self._schedule.log_start()  # not before: who reads that line may ask for a run
        while not life.stop.is_set():
            self._before = self.counts["done"]
            try:
                sleep = 0.0 if at_once else self._schedule.due_in()
                if sleep and not wake.wait(sleep):
                    continue
                wake.clear()
                wait.nudge.clear()
                at_once = not life.stop.is_set() and self._run(query, wait, life)
            except Failed as failed:
                failure, sent, at_once = failed.failure, self.counts["done"] - self._before, True
                due = time.monotonic() + self._schedule.next_in()
                earliest = not_before(failure, due, sent=sent, marks=self._marks)
                wait.wait(failure, partial(until, failure), not_before=earliest)

    def _run(self, query: Callable[[], bool], wait: PauseWait, life: Life) -> bool:
        """Run the query once, unless that is not needed; return whether there is more."""
        more = complete = False
        if self._schedule.begin():
            try:
                more = query()
                self._before = self.counts["done"]  # what fails from here on sends nothing again
                complete = not life.stop.is_set()
            finally:
                self._schedule.finish(complete=complete)
        if not life.stop.is_set():
            self.active = True
            wait.over()
        return more
