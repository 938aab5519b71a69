"""`select`, selectNSend: one message per row of a query, once or at an interval.

Without `on_sent` the rows are streamed. With it they are read in pages: read, publish, wait for the confirms,
mark, commit. The order that loses nothing: the confirm first, then the mark.
"""

import logging
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any, TypeVar

import click

from connectorlib.amqp import Broker, topology
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.expressions import shorten
from connectorlib.formats import compile_format
from connectorlib.messages import Outgoing
from connectorlib.pipeline.run_sink import make_monitor, running_broker, supervised
from connectorlib.service import logs
from connectorlib.service.bootstrap import loading_logs, running
from connectorlib.service.cli_options import Duration, config_option
from connectorlib.service.process import ExitCode, Life, reported
from connectorlib.service.reload import Reloading, Term, loaded
from dbconnector import config as configuration
from dbconnector.cli import EXIT_CODES
from dbconnector.commands.requirements import CONNECT_S, Load, connection_of, log_start, program, requiring
from dbconnector.mark_rows import Mark
from dbconnector.odbc.database import Database
from dbconnector.poll import Progress, Turns
from dbconnector.publish_window import Row, Sender
from dbconnector.row_message import Maker, Rows
from dbconnector.row_source import Batch, Reader
from dbconnector.settings import DbConfig, Select

logger = logging.getLogger(__name__)

#: Messages, and bytes of their bodies, that are handed to the publisher at once.
BATCH_MESSAGES = 200
BATCH_BYTES = 1024 * 1024

#: Rows that a stream leaves to on_failed, which runs when it is over; more, and it ends there.
MAX_FAILED = 10_000

#: Characters of `:error`.
ERROR_TEXT = 500

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class SelectResult:
    """`sent` rows are confirmed by the broker, `failed` ones were given to on_failed."""

    sent: int
    failed: int
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class _Page:
    """What is remembered of a page: the rows, and what on_sent was asked to mark if it changed nothing."""

    rows: Sequence[Row]
    marks: Sequence[Sequence[Any]] | None

    def is_again(self, rows: Sequence[Row], marks: Callable[[], Sequence[Sequence[Any]]]) -> bool:
        return rows == self.rows or (self.marks is not None and marks() == self.marks)


@click.command("select", epilog=EXIT_CODES)
@config_option()
@click.option("--every", type=Duration(), help="Run the query again and again, e.g. every 30s, 5m, 1h.")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="The value of :NAME in the query.")
@click.pass_context
def command(ctx: click.Context, file: str, every: float | None, params: tuple[str, ...]) -> None:
    """Run the query and send one message per row; done when the broker has confirmed all.

    \b
    dbconnector select -c db.config
    dbconnector select -c db.config --param site=plant-7
    dbconnector select -c db.config --every 30s

    With --every it goes on until SIGTERM: a turn that fails is told, and the next one tries again; SIGHUP loads the
    configuration anew. Without, it exits with 3 if there is no row.
    """
    given = dict(_name_and_value(param) for param in params)
    with running("dbconnector") as life, _progress() as progress:
        ctx.exit(
            run_select(
                file,
                life,
                params=given,
                every=every,
                progress=progress,
                load=loading_logs(configuration.load, "dbconnector"),
            )
        )


def _name_and_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"expected NAME=VALUE, not {text!r}", param_hint="--param")
    return name, value


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """Show the number of confirmed rows on a terminal; None where standard error is none."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress  # late: only a terminal needs it
    from rich.console import Console

    columns = (
        progress.SpinnerColumn(),
        progress.TextColumn("{task.completed:,} rows confirmed"),
        progress.TimeElapsedColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("sent", total=None)
        yield lambda rows: bar.update(task, completed=rows)


def run_select(
    file: str,
    life: Life,
    *,
    params: Mapping[str, Any],
    every: float | None = None,
    progress: Progress | None = None,
    stopped: ExitCode = ExitCode.DONE,
    load: Load = configuration.load,
) -> ExitCode:
    """Send one message per row of the query, once or every so many seconds; in that case SIGHUP reloads the
    configuration. Return `stopped` if a stop comes before all rows of a single run are sent."""
    complete = requiring(load, "select", "database.select", "broker.destination")

    def run() -> ExitCode:
        config = loaded(file, complete)
        if not _interval(config, every):
            return _select_once(config, life, params, progress, stopped)
        repeated = complete if every else requiring(complete, "select", "database.select.every")
        return Reloading(file, life, repeated, config).run(
            lambda config, term: _select_repeatedly(config, term, params, _interval(config, every), progress)
        )

    return reported(run)


def _interval(config: DbConfig, every: float | None) -> float:
    """Return the seconds from one run of the query to the next, 0 to run it once."""
    return every or (config.database.select and config.database.select.every) or 0.0


def _select_once(
    config: DbConfig, life: Life, params: Mapping[str, Any], progress: Progress | None, stopped: ExitCode
) -> ExitCode:
    with _connected(config) as (database, broker):
        if not broker.wait_connected(CONNECT_S, life.stop, give_up_on_refused=True):
            return stopped
        result = select(config, database, broker, life.stop, params, progress)
    _log_sent(result)
    if result.stopped:
        return stopped
    return ExitCode.DONE if result.sent or result.failed else ExitCode.NOTHING


def _select_repeatedly(
    config: DbConfig, term: Term, params: Mapping[str, Any], every: float, progress: Progress | None
) -> ExitCode:
    """Run the query every so many seconds. A failure is logged, and the next run tries again."""
    turns = Turns(config.name, progress, every)
    with _connected(config) as (database, broker):
        log_start(config, "select")
        monitor = make_monitor(config, program(config), broker, [connection_of(database)], term)
        monitor.flow(config.name).attach(turns.counts, turns, turns)

        def send() -> None:
            if broker.wait_connected(CONNECT_S, term.stop, give_up_on_refused=True):
                _log_sent(select(config, database, broker, term.stop, params, turns.progress))

        with supervised(config.monitoring, monitor, term):
            turns.run(send, term)
    return ExitCode.DONE


@contextmanager
def _connected(config: DbConfig) -> Iterator[tuple[Database, Broker]]:
    with (
        closing(Database(config.database, reading=True)) as database,
        running_broker(config.broker, program(config).connection, consuming=False) as broker,
    ):
        yield database, broker


def _log_sent(result: SelectResult) -> None:
    logs.event(logger, logging.INFO, "sent", rows=result.sent, failed=result.failed)


def select(
    config: DbConfig,
    database: Database,
    broker: Broker,
    stop: Event,
    params: Mapping[str, Any],
    progress: Progress | None = None,
) -> SelectResult:
    """Run the query once and send its rows; return how many, when all are confirmed or `stop` is set.

    `progress` is told how many are confirmed so far. Raise Failed for a database failure, a mistake in the
    configuration, or a row that cannot be sent while there is no on_failed; what was confirmed until then is marked.
    """
    assert config.destination is not None
    database.connect()
    run = _compiled(lambda: _Run(config, database, broker, stop, params, progress))
    topology.ensure(broker, config.broker, None, config.destination)
    try:
        run.pages() if run.on_sent else run.stream()
    finally:
        run.close()
    return SelectResult(run.sent, run.failed, stop.is_set())


def _compiled(build: Callable[[], Value]) -> Value:
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
        self.on_sent = Mark(settings.on_sent, "on_sent", database) if settings.on_sent else None
        self._on_failed = Mark(settings.on_failed, "on_failed", database) if settings.on_failed else None
        self._rows = Rows(config.destination, compile_format(config.format, config.limits))
        self._retry = config.retry
        self._database = database
        self._stop = stop
        self._progress = progress
        self._reader = Reader(settings, database, _values(settings, params))
        self._sender = Sender(broker, stop, self._settled)
        self._make: Maker | None = None
        self._read = 0
        self._confirmed: list[Row] = []
        #: The parameters of on_failed for each row that could not be sent.
        self._unsent: list[Sequence[Any]] = []
        #: Why reading has to end.
        self._failure: Failure | None = None

    def close(self) -> None:
        """End the transaction; what has not been committed by now must not be."""
        self._sender.abandon()
        self._database.rollback()

    # --- without on_sent: streamed ----------------------------------------------------------------------------------

    def stream(self) -> None:
        with closing(self._reader.all()) as batches:
            for batch in batches:
                if not self._send(batch):
                    break
        self._sender.drain()
        # Not before the query is closed: sqliteodbc ends a stream, as if there were no more rows, when another
        # statement is run beside it.
        if self._on_failed and self._unsent:
            self._again_and_again(self._mark)
        self._raise_failure()

    # --- with on_sent: in pages -------------------------------------------------------------------------------------

    def pages(self) -> None:
        before: _Page | None = None
        while not self._stop.is_set():
            page = self._again_and_again(self._reader.page)
            if page is None:
                return
            self._bind(page)
            if before and before.is_again(page[1], lambda: self._marks(page[1])):  # noqa: B023 - called at once
                raise _same_page(len(page[1]))
            self._send(page)
            self._sender.drain()
            # Only now: everything in `_confirmed` is in a queue. A crash here sends the rows again, and loses none.
            changed = self._again_and_again(self._mark)
            before = _Page(page[1], None if changed else self._marks(page[1]))
            self._confirmed, self._unsent = [], []
            self._raise_failure()

    def _mark(self) -> int:
        changed = 0
        if self.on_sent:
            changed = self.on_sent.run(self._database, [self.on_sent.parameters(row) for row in self._confirmed])
        if self._on_failed:
            self._on_failed.run(self._database, self._unsent)
        self._database.commit()
        return changed

    def _marks(self, rows: Sequence[Row]) -> Sequence[Sequence[Any]]:
        assert self.on_sent is not None
        return [self.on_sent.parameters(row) for row in rows]

    def _again_and_again(self, work: Callable[[], Value]) -> Value:
        """Do this; after a deadlock or a lock's time limit, do it again in a new transaction. Publishes nothing."""
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
        """Find the columns that the expressions and statements ask for; all batches have the same."""
        if self._make is None:
            self._make = _compiled(lambda: self._rows.maker(batch[0]))
            for mark in (self.on_sent, self._on_failed):
                if mark is not None:
                    mark.bind(batch[0])

    def _send(self, batch: Batch) -> bool:
        """Publish the rows; return False if reading must end: a stop, or a failure."""
        self._bind(batch)
        make = self._make
        assert make is not None
        messages: list[Outgoing] = []
        rows: list[Row] = []
        size = 0
        for row in batch[1]:
            self._read += 1
            try:
                message = make(row)
            except Failed as failed:
                self._fail(row, failed.failure)
                if self._failure:
                    break
                continue
            messages.append(message)
            rows.append(row)
            size += len(message.body)
            if len(rows) >= BATCH_MESSAGES or size >= BATCH_BYTES:
                if not self._submit(messages, rows):
                    return False
                messages, rows, size = [], [], 0
        if rows and not self._submit(messages, rows):
            return False
        return self._failure is None

    def _submit(self, messages: Sequence[Outgoing], rows: Sequence[Row]) -> bool:
        going = self._sender.send(messages, rows)
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
        """Leave a row that cannot be sent to on_failed; without that, and for any other failure, reading ends."""
        if failure.kind is not Kind.REJECT or self._on_failed is None:
            self._failure = self._failure or failure
            return
        self.failed += 1
        self._unsent.append(self._on_failed.parameters(row, shorten(str(failure), ERROR_TEXT)))
        if len(self._unsent) >= MAX_FAILED and not self.on_sent:
            text = f"{len(self._unsent)} rows could not be sent, the last: {failure}"
            self._failure = Failure(Kind.REJECT, "too-many-failed", text, failure.place)
        logs.event(logger, logging.WARNING, "row failed", place=failure.place, code=failure.code, text=failure.text)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            if self.sent or self.failed:
                logs.event(logger, logging.INFO, "sent", rows=self.sent, failed=self.failed)
            raise Failed(self._failure)


def _values(settings: Select, params: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**settings.params, **params}


def _same_page(rows: int) -> Failed:
    text = f"on_sent does not take rows out of the query: the same {rows} rows came again after they were marked"
    return Failed(Failure(Kind.CONFIGURATION, "same-page", text, "on_sent"))
