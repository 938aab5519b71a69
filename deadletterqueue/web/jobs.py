"""Work on the queue, one at a time, in the background: a browser does not wait for minutes."""

import itertools
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from connectorlib.errors import Failed
from deadletterqueue.session import told
from deadletterqueue.web.job_outcome import Outcome

logger = logging.getLogger(__name__)

#: How many are remembered, so that a page about one can be loaded again.
KEPT = 50
#: How long a request waits for one that may be quick.
PATIENCE_S = 1.5


class Busy(Exception):
    """The queue is being worked on; only one can hold its messages."""

    def __init__(self, job: "Job") -> None:
        super().__init__(job.title)
        self.job = job


class Job:
    """One piece of work: how far it is, then what came of it."""

    def __init__(self, number: int, title: str) -> None:
        self.number = number
        self.title = title
        self.started = datetime.now(UTC)
        self.stop = threading.Event()
        self.done = 0
        self.total = 0
        self.outcome: Outcome | None = None
        self._ended = threading.Event()

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    def show(self, done: int, total: int) -> None:
        """Say how far it is."""
        self.done, self.total = done, total

    def wait(self, seconds: float = PATIENCE_S) -> bool:
        """Return whether it has ended, now or soon."""
        return self._ended.wait(seconds)

    def run(self, work: "Work") -> None:
        try:
            self.outcome = work(self)
        except Failed as failed:
            self.outcome = Outcome(f"{self.title} failed", failure=told(failed))
        except KeyboardInterrupt:
            self.outcome = Outcome(f"{self.title} was stopped", failure="What was not done is in the queue as before.")
        except Exception:  # a bug of ours: the log knows what must not be shown
            logger.exception("bug", extra={"event": "bug"})
            self.outcome = Outcome(f"{self.title} failed", failure="A bug; the log of deadletter-queue says more.")
        finally:
            self._ended.set()


Work = Callable[[Job], Outcome]


class Jobs:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._jobs: dict[int, Job] = {}
        self._thread: threading.Thread | None = None
        self._closed = False

    def start(self, title: str, work: Work) -> Job:
        """Begin to work. Raise Busy when somebody else does."""
        with self._lock:
            job = Job(next(self._numbers), title)
            if (current := self._current()) is not None:
                raise Busy(current)
            if self._closed:
                raise Busy(job)
            self._jobs[job.number] = job
            for number in list(self._jobs)[:-KEPT]:
                del self._jobs[number]
            self._thread = threading.Thread(target=job.run, args=(work,), name="job")
            self._thread.start()
        return job

    @property
    def current(self) -> Job | None:
        with self._lock:
            return self._current()

    def get(self, number: int) -> Job | None:
        with self._lock:
            return self._jobs.get(number)

    def close(self) -> None:
        """Stop what is being done, in order, and take nothing more."""
        with self._lock:
            self._closed = True
            current, thread = self._current(), self._thread
        if current is not None:
            current.stop.set()
        if thread is not None:
            thread.join()

    def _current(self) -> Job | None:
        return next((job for job in self._jobs.values() if not job.ended), None)
