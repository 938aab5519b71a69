"""A query that is run at an interval. For the monitoring it is a flow that a failed run pauses until the next run."""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.pipeline.blame import Pause
from connectorlib.service.process import Life

logger = logging.getLogger(__name__)

Progress = Callable[[int], None]


class Poll:
    """Runs a query every `every` seconds, and keeps the counts and the pause that the monitoring shows."""

    queue = ""
    held = 0

    def __init__(self, name: str, progress: Progress | None, every: float) -> None:
        self.name = name
        self.every = every
        self.counts: Counter[str] = Counter()
        self.active = False
        self.pause: Pause | None = None
        self.on_pause: Callable[[Pause], object] = lambda pause: None
        self._progress = progress
        self._before = 0
        #: When the next run begins (monotonic).
        self._due = time.monotonic() + every
        self._since_text = ""

    def progress(self, sent: int) -> None:
        """Take note of how many rows of the present run are confirmed."""
        self.counts["done"] = self._before + sent
        if self._progress is not None:
            self._progress(sent)

    def run(self, query: Callable[[], bool], life: Life) -> None:
        """Run the query at the interval, and at once after a nudge or while it returns that there is more, until the
        life ends."""
        wake = threading.Event()
        life.on_stop(wake.set)
        life.on_nudge(wake.set)
        while not life.stop.is_set():
            wake.clear()
            self._due = time.monotonic() + self.every
            self._before, more = self.counts["done"], False
            try:
                more = query()
            except Failed as failed:
                logger.error("%s", failed, extra={"event": "failed"})
                self.failed(failed.failure)
            else:
                self.succeeded()
            if not more and not life.stop.is_set():
                wake.wait(max(0.0, self._due - time.monotonic()))

    def succeeded(self) -> None:
        self.active, self.pause = True, None

    def failed(self, failure: Failure) -> None:
        now = time.monotonic()
        before = self.pause
        if before is None:
            self._since_text = datetime.now().astimezone().strftime("%H:%M:%S")
        pause = (before or Pause(failure, now)).caused_by(failure)
        if failure.kind is Kind.REFUSED:  # asked at every turn, the server would lock the user out
            pause = pause.scheduled(now, random.random())  # noqa: S311 - jitter
        self.pause = pause.postponed(self._due)
        self._due = self.pause.next_try or self._due
        if before is None or not before.is_for(failure):
            self.on_pause(self.pause)

    def advice(self, pause: Pause) -> str:
        """Return what a person can do about a run that failed."""
        from connectorlib.pipeline.pause import hint
        from dbconnector.dialects.sqlstate import advice

        return advice(pause.failure.code) or hint(pause.failure, target="database")

    def line(self, pause: Pause, waiting: object) -> dict[str, object]:
        """Return the fields of the pause line. Nothing waits in a queue."""
        failure = pause.failure
        return {
            "select": self.name,
            "since": self._since_text,
            "cause": failure.code,
            "text": f"{failure.place}: {failure.text}" if failure.place else failure.text,
            "next_try": f"{max(0.0, (pause.next_try or 0.0) - time.monotonic()):.0f}s",
        }
