"""One run of a query for `select`: one message per row.

Without `on_sent` the rows are streamed. With it they are read in pages: read, publish, wait for the confirms,
mark, commit. The order that loses nothing: the confirm first, then the mark.
"""

import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from threading import Event
from typing import Any, TypeVar

from connectorlib.amqp import Broker, topology
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.expressions import shorten
from connectorlib.formats import compile_format
from connectorlib.messages import Outgoing
from connectorlib.service import logs
from dbconnector.mark_rows import RowMark
from dbconnector.odbc.database import Database
from dbconnector.poll import Progress
from dbconnector.publish_window import PublishWindow
from dbconnector.row_message import Make, MessageMapping
from dbconnector.row_source import Batch, Row, RowSource
from dbconnector.settings import DbConfig

logger = logging.getLogger(__name__)

#: Messages, and bytes of their bodies, that are handed to the publisher at once.
BATCH_MESSAGES = 200
BATCH_BYTES = 1024 * 1024

#: Failed rows that a stream collects for on_failed, which runs at its end; so many end it.
MAX_FAILED = 10_000

#: Characters of `:error`.
ERROR_TEXT = 500


Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class SelectResult:
    """How many rows are confirmed by the broker, and how many were passed to on_failed."""

    sent: int
    failed: int
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class _Page:
    """What is remembered of a page: its rows, and the parameters of an on_sent that changed nothing."""

    rows: Sequence[Row]
    marks: Sequence[Sequence[Any]] | None


def select(
    config: DbConfig,
    database: Database,
    broker: Broker,
    stop: Event,
    params: Mapping[str, Any],
    progress: Progress | None = None,
) -> SelectResult:
    """Run the query once and send its rows; return how many, when all are confirmed or `stop` is set.

    `progress` is called with the number confirmed so far. Raise Failed for a database failure, a mistake in the
    configuration, or a row that cannot be sent if there is no on_failed; what is confirmed by then is marked.
    """
    assert config.destination is not None
    database.connect()
    if database.outdated():  # since the last run
        database.connect()
    database.log_connected(logger)
    run = _compiled(lambda: _Run(config, database, broker, stop, params, progress))
    topology.ensure(broker, config.broker, None, config.destination)
    try:
        run.pages() if run.on_sent else run.stream()
    finally:
        run.close()
    return SelectResult(run.sent, run.failed, stop.is_set())


def _compiled(build: Callable[[], Value]) -> Value:
    """Return what is built; a ValueError becomes Failed."""
    try:
        return build()
    except ValueError as error:
        raise Failed(Failure(Kind.CONFIGURATION, "configuration", str(error), "select")) from error


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
    ) -> None:
        settings = config.database.select
        assert settings is not None
        assert config.destination is not None
        self.sent = 0
        self.failed = 0
        self.on_sent = RowMark(settings.on_sent, "on_sent", database) if settings.on_sent else None
        self._on_failed = RowMark(settings.on_failed, "on_failed", database) if settings.on_failed else None
        self._mapping = MessageMapping(config.destination, compile_format(config.format, config.limits))
        self._retry = config.retry
        self._database = database
        self._stop = stop
        self._progress = progress
        self._source = RowSource(settings, database, {**settings.params, **params})
        self._window = PublishWindow(broker, stop, self._settled)
        self._make: Make | None = None
        #: The columns that it is for.
        self._columns: Sequence[str] | None = None
        self._confirmed: list[Row] = []
        #: The rows that could not be sent, each with why.
        self._unsent: list[tuple[Row, str]] = []
        #: Why reading has to end.
        self._failure: Failure | None = None

    def close(self) -> None:
        """Publish nothing more, and roll back what is not committed."""
        self._window.abandon()
        self._database.rollback()

    # --- without on_sent: streamed ----------------------------------------------------------------------------------

    def stream(self) -> None:
        with closing(self._source.all()) as batches:
            for batch in batches:
                if not self._send(batch):
                    break
        self._window.drain()
        # Only when the query is closed: sqliteodbc ends a stream, as if there were no more rows, when another statement
        # is run meanwhile.
        if self._on_failed and self._unsent:
            self._with_retries(self._mark)
        self._raise_failure()

    # --- with on_sent: in pages -------------------------------------------------------------------------------------

    def pages(self) -> None:
        before: _Page | None = None
        while not self._stop.is_set():
            page = self._with_retries(self._source.page)
            if page is None:
                return
            self._bind(page)
            if before and self._repeats(before, page[1]):
                raise _same_page(len(page[1]))
            self._send(page)
            self._window.drain()
            # Only now is everything in `_confirmed` in a queue. A crash at this point sends rows twice and loses none.
            changed = self._with_retries(self._mark)
            before = _Page(page[1], None if changed else self._marks(page[1]))
            self._confirmed, self._unsent = [], []
            self._raise_failure()

    def _mark(self) -> int:
        changed = 0
        if self.on_sent:
            changed = self.on_sent.run(self._marks(self._confirmed))
        if self._on_failed:
            self._on_failed.run([self._on_failed.parameters(row, error) for row, error in self._unsent])
        if not self._database.commit_unaltered():
            raise Failed(Failure(Kind.RETRY, "columns-changed", "a table has other columns than before", "on_sent"))
        return changed

    def _repeats(self, before: _Page, rows: Sequence[Row]) -> bool:
        return rows == before.rows or (before.marks is not None and self._marks(rows) == before.marks)

    def _marks(self, rows: Sequence[Row]) -> Sequence[Sequence[Any]]:
        assert self.on_sent is not None
        return [self.on_sent.parameters(row) for row in rows]

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
                logs.event(logger, logging.WARNING, "again", code=failed.failure.code, attempt=attempt, delay=delay)
                if self._stop.wait(delay):
                    raise
                self._database.connect()

    # --- both -------------------------------------------------------------------------------------------------------

    def _bind(self, batch: Batch) -> None:
        """Find the columns that expressions and statements use. Pages are results of their own, and a table may have
        been altered since the last."""
        if self._columns != batch[0]:
            self._columns = batch[0]
            self._make = _compiled(lambda: self._mapping.maker(batch[0]))
            for mark in (self.on_sent, self._on_failed):
                if mark is not None:
                    mark.bind(batch[0])

    def _send(self, batch: Batch) -> bool:
        """Publish the rows; return False if reading must end because of a stop or a failure."""
        self._bind(batch)
        return all(self._submit(*group) for group in self._groups(batch[1])) and self._failure is None

    def _groups(self, rows: Sequence[Row]) -> Iterator[tuple[Sequence[Outgoing], Sequence[Row]]]:
        """Yield messages and their rows, as many as are handed to the publisher at once."""
        make = self._make
        assert make is not None
        messages: list[Outgoing] = []
        made: list[Row] = []
        size = 0
        for row in rows:
            try:
                message = make(row)
            except Failed as failed:
                self._fail(row, failed.failure)
                if self._failure:
                    break
                continue
            messages.append(message)
            made.append(row)
            size += len(message.body)
            if len(made) >= BATCH_MESSAGES or size >= BATCH_BYTES:
                yield messages, made
                messages, made, size = [], [], 0
        if made:
            yield messages, made

    def _submit(self, messages: Sequence[Outgoing], rows: Sequence[Row]) -> bool:
        going = self._window.send(messages, rows)
        return going and self._failure is None and not self._stop.is_set()

    def _settled(self, rows: Sequence[Row], results: Sequence[Failure | None]) -> None:
        if any(results):
            for row, failure in zip(rows, results, strict=True):
                if failure is not None:
                    self._fail(row, failure)
            rows = [row for row, failure in zip(rows, results, strict=True) if failure is None]
        self.sent += len(rows)
        if self.on_sent:
            self._confirmed.extend(rows)
        if self._progress:
            self._progress(self.sent)

    def _fail(self, row: Row, failure: Failure) -> None:
        """Keep a row that cannot be sent for on_failed. Without that, or for any other failure, reading ends."""
        if failure.kind is not Kind.REJECT or self._on_failed is None:
            self._failure = self._failure or failure
            return
        self.failed += 1
        self._unsent.append((row, shorten(str(failure), ERROR_TEXT)))
        if len(self._unsent) >= MAX_FAILED and not self.on_sent:
            text = f"{len(self._unsent)} rows could not be sent, the last: {failure}"
            self._failure = Failure(Kind.REJECT, "too-many-failed", text, failure.place)
        logs.event(logger, logging.WARNING, "row failed", place=failure.place, code=failure.code, text=failure.text)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            if self.sent or self.failed:
                logs.event(logger, logging.INFO, "sent", rows=self.sent, failed=self.failed)
            raise Failed(self._failure)


def _same_page(rows: int) -> Failed:
    text = f"on_sent does not take rows out of the query: the same {rows} rows came again after they were marked"
    return Failed(Failure(Kind.CONFIGURATION, "same-page", text, "on_sent"))
