"""What lies on the desk: the latest look at the queue, the letters that were opened, and the work in hand."""

import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace

from connectorlib.errors import Failed
from deadletterqueue.connector_check import Check
from deadletterqueue.filter import Chosen
from deadletterqueue.letter import Letter
from deadletterqueue.replay import Change, Options, Replay
from deadletterqueue.session import Workbench, letters, told
from deadletterqueue.target import Route
from deadletterqueue.transfer_command import purged
from deadletterqueue.web import job_outcome
from deadletterqueue.web.job_outcome import Outcome
from deadletterqueue.web.jobs import Job, Jobs
from deadletterqueue.web.snapshot import Row, Snapshot, identity, look

#: Bodies of opened letters that are kept, so that a page can be loaded again without a walk through the queue.
OPEN_BYTES, OPEN_MOST = 16 * 1024 * 1024, 50


class Desk:
    """For all who have the page open. Every work looks again at its end, so that what is shown is what is there."""

    def __init__(self, bench: Workbench, check: Check | None = None) -> None:
        """`check` says whether the connector could read a changed message."""
        self.bench = bench
        self.check = check
        self.jobs = Jobs()
        self.snapshot: Snapshot | None = None
        self._opened: OrderedDict[str, Letter] = OrderedDict()
        self._lock = threading.Lock()

    def look(self) -> Job:
        """Walk through the queue. Raise Busy."""
        return self.jobs.start("Looking", self._look)

    def opened(self, identity: str) -> Letter | None:
        """Return a letter whose body is here."""
        with self._lock:
            return self._opened.get(identity)

    def open(self, row: Row) -> Job:
        """Fetch one letter with its body: a walk to its place. Raise Busy."""
        return self.jobs.start("Opening a dead letter", lambda job: self._open(job, row))

    def replay(self, rows: Sequence[Row], route: Route, change: Change = lambda letter: letter) -> Job:
        """Send these back. Raise Busy."""
        meant, options = _these(rows), Options(route, limit=len(rows))

        def work(job: Job) -> Outcome:
            replay = Replay(self._bench(job), meant, options, change=change, show=job.show)
            failure = ""
            self._touch()
            try:
                replay.run()
            except Failed as failed:
                failure = told(failed)
            return self._renewed(job, job_outcome.replayed(replay.report, len(rows), failure))

        return self.jobs.start("Sending back", work)

    def purge(self, rows: Sequence[Row]) -> Job:
        """Remove these for good. Raise Busy."""
        meant = _these(rows)

        def work(job: Job) -> Outcome:
            self._touch()
            done = purged(self._bench(job), meant, len(rows), walk=None, show=job.show)
            return self._renewed(job, job_outcome.purged(done, len(rows)))

        return self.jobs.start("Purging", work)

    def _bench(self, job: Job) -> Workbench:
        return replace(self.bench, stop=job.stop)

    def _look(self, job: Job) -> Outcome:
        self.snapshot = look(self._bench(job), job.show)
        return Outcome("Looked", onward="/")

    def _open(self, job: Job, row: Row) -> Outcome:
        with self._bench(job).looker(limit=row.position) as looker:
            for letter in letters(looker):
                job.show(looker.looked, looker.total)
                if identity(letter) == row.identity:
                    self._keep(row.identity, letter)
                    return Outcome("Opened", onward=f"/letter/{row.identity}")
        self._touch()
        text = "It is no longer where it was: sent back, purged, or moved by somebody else. Look again."
        return Outcome("This dead letter is gone", failure=text)

    def _keep(self, identity: str, letter: Letter) -> None:
        with self._lock:
            self._opened[identity] = letter
            while len(self._opened) > 1 and (len(self._opened) > OPEN_MOST or self._open_bytes > OPEN_BYTES):
                self._opened.popitem(last=False)

    @property
    def _open_bytes(self) -> int:
        return sum(len(letter.delivery.body) for letter in self._opened.values())

    def _touch(self) -> None:
        """What the last look saw may not be so any more."""
        if self.snapshot is not None:
            self.snapshot.outdated = True
        with self._lock:
            self._opened.clear()

    def _renewed(self, job: Job, outcome: Outcome) -> Outcome:
        """Look again behind a work, unless it was ended early."""
        if not job.stop.is_set():
            job.show(0, 0)
            job.title += ", then looking"
            with suppress(Failed):  # the page says that the look is old
                self.snapshot = look(self._bench(job), job.show)
        return outcome


def _these(rows: Collection[Row]) -> Chosen:
    wanted = frozenset(row.identity for row in rows)
    return lambda letter: identity(letter) in wanted
