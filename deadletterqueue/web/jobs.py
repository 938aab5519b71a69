"""Jobs on the queue, one at a time and in the background: a browser does not wait for minutes."""

import itertools
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from contextlib import closing, suppress
from dataclasses import field, replace
from datetime import UTC, datetime
from pathlib import Path

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed
from connectorlib.shared_settings import Journal
from deadletterqueue import trace
from deadletterqueue.connector_check import Check
from deadletterqueue.filter import Chosen
from deadletterqueue.letter import Letter
from deadletterqueue.originals import Originals, new_name
from deadletterqueue.purge_command import purge_letters
from deadletterqueue.replay import Change, Options, Replay, Report
from deadletterqueue.session import Session, failure_text, letters
from deadletterqueue.target import Route
from deadletterqueue.web.message_form import ChangeTexts
from deadletterqueue.web.preview import Examples, Preview, staying
from deadletterqueue.web.snapshot import Row, Snapshot, identity, look

logger = logging.getLogger(__name__)

#: How many jobs are remembered, so that the page of one can be loaded again.
KEPT = 50
#: How long a request waits for a job that may be quick.
PATIENCE_S = 1.5
#: Bodies of opened letters that are kept, so that a page can be loaded again without browsing the queue; journeys too.
OPEN_BYTES, OPEN_MOST = 16 * 1024 * 1024, 50


@dataclass(frozen=True, slots=True)
class Outcome:
    title: str
    #: How many letters, and what became of them.
    lines: tuple[tuple[int, str], ...] = ()
    #: Message ids of those that may be in two queues.
    in_doubt: tuple[str, ...] = ()
    #: Why it ended before all was done.
    failure: str = ""
    #: The path of the next page, when there is nothing more to say.
    onward: str = ""
    #: What a change would do.
    preview: Preview | None = None


def replay_outcome(report: Report, asked: int, failure: str, originals: str = "") -> Outcome:
    """Return the outcome of a replay of `asked` letters; `originals` is the file with those that were changed."""
    lines = [(count, f"sent to {target}") for target, count in report.sent.most_common()]
    lines += [(count, f"left: {reason}") for reason, count in report.left.most_common()]
    if report.stopped:
        failure = "It was stopped early."
    elif (gone := asked - report.chosen) > 0 and not failure:
        lines.append((gone, "no longer in the queue"))
    if originals:
        lines.append((report.sent.total(), f"originals in {originals}, which `deadletter-queue import` reads"))
    doubt = (each.properties.message_id or "(without a message id)" for each in report.in_doubt)
    return Outcome(f"{report.sent.total():,} of {asked:,} sent back", tuple(lines), tuple(doubt), failure)


def purge_outcome(done: int, asked: int) -> Outcome:
    lines = [(done, "removed for good")]
    if done < asked:
        lines.append((asked - done, "no longer in the queue"))
    return Outcome(f"{done:,} of {asked:,} purged", tuple(lines))


@dataclass(frozen=True, slots=True)
class Journey:
    """What the journal has about a message; `note` says what there is to know besides."""

    lines: tuple[trace.Line, ...]
    note: str
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


class Busy(Exception):
    """Another job is running, and only one can hold the messages of the queue."""

    def __init__(self, job: "Job") -> None:
        super().__init__(job.title)
        self.job = job


class Job:
    """One job: its progress, then its outcome."""

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
        """Note how far it is."""
        self.done, self.total = done, total

    def wait(self, seconds: float = PATIENCE_S) -> bool:
        """Return whether it has ended, after waiting for a while."""
        return self._ended.wait(seconds)

    def run(self, work: "Work") -> None:
        try:
            self.outcome = work(self)
        except Failed as failed:
            self.outcome = Outcome(f"{self.title} failed", failure=failure_text(failed))
        except KeyboardInterrupt:
            self.outcome = Outcome(f"{self.title} was stopped", failure="What was not done is in the queue as before.")
        except Exception:  # a bug of ours: the log knows what must not be shown
            logger.exception("bug", extra={"event": "bug"})
            self.outcome = Outcome(f"{self.title} failed", failure="A bug; the log of deadletter-queue says more.")
        finally:
            self._ended.set()


Work = Callable[[Job], Outcome]


class Jobs:
    """Runs one job at a time in a thread of its own, and remembers the latest."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._jobs: dict[int, Job] = {}
        self._thread: threading.Thread | None = None
        self._closed = False

    def start(self, title: str, work: Work) -> Job:
        """Start a job. Raise Busy while another one is running."""
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
        """Stop the job that is running, wait for its end, and start no more."""
        with self._lock:
            self._closed = True
            current, thread = self._current(), self._thread
        if current is not None:
            current.stop.set()
        if thread is not None:
            thread.join()

    def _current(self) -> Job | None:
        return next((job for job in self._jobs.values() if not job.ended), None)


class Workspace:
    """What all who have the page open share: the latest snapshot, opened letters, and the job that is running.

    Every job that changes the queue takes a new snapshot at its end, so that the page shows what is in the queue.
    """

    def __init__(
        self,
        session: Session,
        check: Check | None = None,
        journal: str = Journal().stream,
        *,
        originals: str = ".",
    ) -> None:
        """`check` says whether the connector could process a changed message; `journal` is the name of the stream;
        `originals` is the folder in which the originals of changed messages are kept."""
        self.session = session
        self.check = check
        self.journal = journal
        self._originals = Path(originals)
        self.jobs = Jobs()
        self.snapshot: Snapshot | None = None
        self._opened: OrderedDict[str, Letter] = OrderedDict()
        self._journeys: OrderedDict[str, Journey] = OrderedDict()
        self._lock = threading.Lock()

    def look(self, onward: str = "/") -> Job:
        """Take a snapshot of the queue; then the page of the job leads on to a path. Raise Busy."""

        def work(job: Job) -> Outcome:
            self.snapshot = look(self._session(job), job.show)
            return Outcome("Looked", onward=onward)

        return self.jobs.start("Looking", work)

    def opened(self, identity: str) -> Letter | None:
        """Return a letter whose body has been fetched."""
        with self._lock:
            return self._opened.get(identity)

    def open(self, row: Row, onward: str) -> Job:
        """Fetch one letter with its body, by browsing up to its position; then the page of the job leads on to a path.
        Raise Busy."""
        return self.jobs.start("Opening a dead letter", lambda job: self._open(job, row, onward))

    def journey(self, identity: str) -> Journey | None:
        """Return what was read of the journal about a letter."""
        with self._lock:
            return self._journeys.get(identity)

    def trace(self, identity: str, message_id: str) -> Job:
        """Read what the journal has about a letter. Raise Busy."""
        return self.jobs.start("Reading the journal", lambda job: self._trace(job, identity, message_id))

    def replay(self, rows: Sequence[Row], route: Route, change: Change | None = None) -> Job:
        """Send these back, changed or as they are; the originals of changed ones are kept in a file. Raise Busy."""
        chosen, options = _these(rows), Options(route, limit=len(rows))

        def work(job: Job) -> Outcome:
            with closing(Originals(str(self._originals / new_name()))) as originals:
                replay = Replay(
                    self._session(job),
                    chosen,
                    options,
                    change=change or (lambda letter: letter),
                    save=originals.keep if change is not None else (lambda letter: None),
                    show=job.show,
                )
                failure = ""
                self._invalidate()
                try:
                    replay.run()
                except Failed as failed:
                    failure = failure_text(failed)
            self._look_again(job)
            return replay_outcome(replay.report, len(rows), failure, originals.name if originals.written else "")

        return self.jobs.start("Sending back", work)

    def rehearse(
        self,
        rows: Sequence[Row],
        route: Route,
        change: Change,
        fields: Sequence[tuple[str, str]],
        texts: ChangeTexts,
    ) -> Job:
        """Try a change without sending anything; then the page of the job leads on to the preview. The fields of the
        form and the texts come back in it. Raise Busy."""
        chosen, options = _these(rows), Options(route, limit=len(rows), dry_run=True)

        def work(job: Job) -> Outcome:
            examples = Examples(change)
            report = Replay(self._session(job), chosen, options, change=examples, show=job.show).run()
            if report.stopped:
                raise KeyboardInterrupt
            going = tuple((count, f"changed, to {target}") for target, count in report.sent.most_common())
            left = staying(report, len(rows))
            preview = Preview(tuple(fields), texts, report.sent.total(), going, left, tuple(examples.found))
            return Outcome("Checked", onward=f"/edit/{job.number}", preview=preview)

        return self.jobs.start("Checking the change", work)

    def purge(self, rows: Sequence[Row]) -> Job:
        """Remove these for good. Raise Busy."""
        chosen = _these(rows)

        def work(job: Job) -> Outcome:
            self._invalidate()
            done = purge_letters(self._session(job), chosen, len(rows), depth=None, show=job.show)
            self._look_again(job)
            return purge_outcome(done, len(rows))

        return self.jobs.start("Purging", work)

    def _session(self, job: Job) -> Session:
        return replace(self.session, stop=job.stop)

    def _open(self, job: Job, row: Row, onward: str) -> Outcome:
        with self._session(job).browse(limit=row.position) as walk:
            for letter in letters(walk):
                job.show(walk.looked, walk.total)
                if identity(letter) == row.identity:
                    self._keep(row.identity, letter)
                    return Outcome("Opened", onward=onward)
        self._invalidate()
        text = "It is no longer where it was: sent back, purged, or moved by another program. Scan again."
        return Outcome("This dead letter is gone", failure=text)

    def _trace(self, job: Job, identity: str, message_id: str) -> Outcome:
        try:
            found = trace.read(self._session(job), self.journal, message_id, job.show)
            journey = Journey(tuple(map(trace.line, found)), trace.summary(found, message_id, self.journal))
        except Failed as failed:
            journey = Journey((), failure_text(failed))
        with self._lock:
            self._journeys[identity] = journey
            while len(self._journeys) > OPEN_MOST:
                self._journeys.popitem(last=False)
        return Outcome("Read", onward=f"/letter/{identity}#journey")

    def _keep(self, identity: str, letter: Letter) -> None:
        with self._lock:
            self._opened[identity] = letter
            while len(self._opened) > 1 and (len(self._opened) > OPEN_MOST or self._open_bytes > OPEN_BYTES):
                self._opened.popitem(last=False)

    @property
    def _open_bytes(self) -> int:
        return sum(len(letter.delivery.body) for letter in self._opened.values())

    def _invalidate(self) -> None:
        """Mark the snapshot as outdated, and forget the opened letters with their journeys."""
        if self.snapshot is not None:
            self.snapshot.outdated = True
        with self._lock:
            self._opened.clear()
            self._journeys.clear()

    def _look_again(self, job: Job) -> None:
        """Take a new snapshot, unless the job was ended early."""
        if not job.stop.is_set():
            job.show(0, 0)
            job.title += ", then looking"
            with suppress(Failed):  # the page says that the snapshot is outdated
                self.snapshot = look(self._session(job), job.show)


def _these(rows: Collection[Row]) -> Chosen:
    wanted = frozenset(row.identity for row in rows)
    return lambda letter: identity(letter) in wanted
