"""One run of a query for `select`: one message per row, or for many rows.

Without `on_sent` the rows are streamed. With it they are read in pages: read, publish, wait for the confirms, mark,
commit. The first rows of a large page are published while the others are read. What is confirmed of a page is marked
and committed while the rest is on its way, once all of it is read, unless the query claims its rows: a commit would
release those that are not marked yet. All rows in one message are streamed too, and marked at the end. The order that
loses nothing: the confirm first, then the mark.
"""

import logging
import random
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from threading import Event
from typing import Any

from connectorlib.amqp import Broker, topology
from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.pipeline.pause import PauseWait
from connectorlib.service import logs
from dbconnector.bisect import LARGEST
from dbconnector.mark_rows import RowMark
from dbconnector.mark_spool import MarkSpool
from dbconnector.odbc.database import Database
from dbconnector.poll import Progress
from dbconnector.row_group import ALL
from dbconnector.row_sender import RowSender, Value, compiled
from dbconnector.row_source import Batch, Row, RowSource
from dbconnector.settings import DbConfig

logger = logging.getLogger(__name__)

#: Rows of a page that are marked and committed while the rest is on its way: those of one statement.
MARKED_AT_ONCE = LARGEST


@dataclass(frozen=True, slots=True)
class SelectResult:
    """How many rows are confirmed by the broker, and how many were passed to on_failed; `messages`: how many there were
    where they had many rows."""

    sent: int
    failed: int
    stopped: bool = False
    messages: int | None = None


@dataclass(frozen=True, slots=True)
class _Page:
    """What is remembered of a page: its columns and first rows, and whether on_sent has changed any."""

    columns: Sequence[str]
    rows: Sequence[Row]
    changed: bool


def select(
    config: DbConfig,
    database: Database,
    broker: Broker,
    stop: Event,
    params: Mapping[str, Any],
    progress: Progress | None = None,
    pause: PauseWait | None = None,
) -> SelectResult:
    """Run the query once and send its rows; return how many, when all are confirmed or `stop` is set.

    `progress` is called with the number confirmed so far, `pause` is told of a broker that takes no messages. Raise
    Failed for a database failure, a mistake in the configuration, or a row that cannot be sent if there is no
    on_failed; what is confirmed by then is marked.
    """
    assert config.destination is not None
    database.connect()
    if database.outdated():  # since the last run
        database.connect()
    database.log_connected(logger)
    run = compiled(lambda: _Run(config, database, broker, stop, params, progress, pause))
    topology.ensure(broker, config.broker, None, config.destination)
    try:
        run.pages() if run.paged else run.stream()
    finally:
        run.close()
    messages = None if config.destination.rows is None else run.rows.messages
    return SelectResult(run.rows.sent, run.rows.failed, stop.is_set(), messages)


class _Run:
    """One run of the query."""

    def __init__(
        self,
        config: DbConfig,
        database: Database,
        broker: Broker,
        stop: Event,
        params: Mapping[str, Any],
        progress: Progress | None,
        pause: PauseWait | None,
    ) -> None:
        settings = config.database.select
        assert settings is not None
        assert config.destination is not None
        self.on_sent = RowMark(settings.on_sent, "on_sent", database) if settings.on_sent else None
        self._on_failed = RowMark(settings.on_failed, "on_failed", database) if settings.on_failed else None
        marks = [mark for mark in (self.on_sent, self._on_failed) if mark is not None]
        self.paged = self.on_sent is not None and config.destination.rows != ALL
        #: Of rows that are confirmed before they can be marked.
        self._spool = MarkSpool() if self.on_sent and not self.paged else None
        self.rows = RowSender(
            *(config, broker, stop),
            marks=marks,
            paged=self.paged,
            progress=progress,
            on_confirmed=self._keep,
            pause=pause,
        )
        #: How many of the rows that are confirmed of a page are marked, and whether that has changed a row.
        self._marked, self._changed = 0, False
        self._retry = config.retry
        self._database = database
        self._stop = stop
        self._source = RowSource(settings, database, {**settings.params, **params})
        #: Whether rows of a page are marked before all of them are confirmed.
        self._marks_early = self.paged and self._source.holds_nothing

    def close(self) -> None:
        """Publish nothing more, and roll back what is not committed."""
        self.rows.abandon()
        self._database.rollback()
        if self._spool:
            self._spool.close()

    # --- without on_sent, or all in one message: streamed ------------------------------------------------------------

    def stream(self) -> None:
        with closing(self._source.all()) as batches:
            for batch in batches:
                if not self.rows.send(batch):
                    break
        self.rows.drain()
        # Only when the query is closed: sqliteodbc ends a stream, as if there were no more rows, when another statement
        # is run meanwhile.
        if (self._spool and self.rows.sent) or self.rows.unsent:
            self._with_retries(self._mark)
        self.rows.raise_failure()

    # --- with on_sent: in pages -------------------------------------------------------------------------------------

    def pages(self) -> None:
        before: _Page | None = None
        while not self._stop.is_set():
            pieces, first = self._with_retries(self._begin_page)
            with closing(pieces):
                if first is None:
                    return
                self.rows.bind(first[0])
                if before and before.columns == first[0] and self._repeats(before, first[1]):
                    return
                cut = self._publish(first, pieces)
            if cut is not None:
                self._database.connect()
            self.rows.drain()
            # Only now is everything in `confirmed` in a queue. A crash at this point sends rows twice and loses none.
            self._with_retries(self._mark)
            before = _Page(*first, self._changed)
            self.rows.confirmed, self.rows.unsent = [], []
            self._marked, self._changed = 0, False
            self.rows.raise_failure()
            if cut is not None and cut.failure.kind is not Kind.RETRY:
                raise cut

    def _begin_page(self) -> tuple[Generator[Batch, None, None], Batch | None]:
        """Return the first rows of a page, and what yields the others."""
        pieces = self._source.page()
        return pieces, next(pieces, None)

    def _publish(self, first: Batch, pieces: Iterator[Batch]) -> Failed | None:
        """Publish a page; return what has cut its reading short. The next page begins with the rows that it lacks."""
        piece: Batch | None = first
        while piece is not None and self.rows.send(piece):
            try:
                piece = next(pieces, None)
            except Failed as failed:
                return failed
        return None

    def _mark(self) -> None:
        """Mark all rows that are confirmed and not yet marked, and those that could not be sent."""
        changed, confirmed = 0, len(self.rows.confirmed)
        if self.on_sent:
            changed = self.on_sent.run(self._marks(self.rows.confirmed[self._marked :]))
            for rows in self._spool or ():
                changed += self.on_sent.run([self.on_sent.bound(values) for values in rows])
        if self._on_failed:
            self._on_failed.run([self._on_failed.parameters(row, error) for row, error in self.rows.unsent])
        self._commit(confirmed, changed)

    def _mark_early(self) -> None:
        """Mark as many of the rows that are confirmed as fill a statement, or several."""
        end = len(self.rows.confirmed)
        end -= (end - self._marked) % MARKED_AT_ONCE
        if end > self._marked:
            self._with_retries(lambda: self._mark_to(end))

    def _mark_to(self, end: int) -> None:
        assert self.on_sent is not None
        self._commit(end, self.on_sent.run(self._marks(self.rows.confirmed[self._marked : end])))

    def _commit(self, marked: int, changed: int) -> None:
        if not self._database.commit_unaltered():
            raise Failed(Failure(Kind.RETRY, "columns-changed", "a table has other columns than before", "on_sent"))
        self._marked, self._changed = marked, self._changed or changed > 0

    def _keep(self, rows: Sequence[Row]) -> None:
        if self._spool is not None and self.on_sent is not None:
            self._spool.add([self.on_sent.values(row) for row in rows])
        elif self._marks_early and not self._source.reading:
            self._mark_early()

    def _repeats(self, before: _Page, rows: Sequence[Row]) -> bool:
        """Return whether the rows that have just been marked come again with other values: if on_sent itself alters
        them, that would go on for ever. Raise Failed if on_sent has no effect."""
        if rows == before.rows:
            raise _same_page(len(rows))
        if self._marks(rows[:1]) != self._marks(before.rows[:1]) or self._marks(rows) != self._marks(before.rows):
            return False
        if not before.changed:
            raise _same_page(len(rows))
        text = "the same rows came again, altered, after they were marked: the next run sends them"
        logs.event(logger, logging.WARNING, "run ended", rows=len(rows), text=text)
        return True

    def _marks(self, rows: Sequence[Row]) -> Sequence[Sequence[Any]]:
        assert self.on_sent is not None
        return self.on_sent.parameters_together(rows)

    def _with_retries(self, work: Callable[[], Value]) -> Value:
        """Do the work; after a deadlock or a lock time-out again, in a new transaction. It must not publish."""
        attempt = 0
        while True:
            try:
                return work()
            except Failed as failed:
                attempt += 1
                if failed.failure.kind is not Kind.RETRY or attempt > self._retry.attempts:
                    raise
                delay = self._retry.backoff.delay(attempt - 1, random.random())  # noqa: S311 - jitter
                logs.event(logger, logging.WARNING, "retrying", code=failed.failure.code, attempt=attempt, delay=delay)
                if self._stop.wait(delay):
                    raise
                self._database.connect()


def _same_page(rows: int) -> Failed:
    text = f"on_sent does not take rows out of the query: the same {rows} rows came again after they were marked"
    return Failed(Failure(Kind.CONFIGURATION, "same-page", text, "on_sent"))
