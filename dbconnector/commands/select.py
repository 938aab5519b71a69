"""`select`, selectNSend: the rows of a query as messages, once or at an interval."""

import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import Any

import click

from connectorlib.amqp import Broker
from connectorlib.dataclass import dataclass
from connectorlib.monitoring.counters import SinkMetric
from connectorlib.monitoring.monitor import ConnectionFacts
from connectorlib.pipeline.pause import CONNECT_PATIENCE_S, PauseNotice, PauseWait, is_of_broker
from connectorlib.pipeline.run_sink import make_monitor, running_broker, supervised
from connectorlib.service import logs
from connectorlib.service.bootstrap import loading_logs, running
from connectorlib.service.cli_options import Duration, config_option
from connectorlib.service.exit_codes import ExitCode
from connectorlib.service.process import Life, reported
from connectorlib.service.reload import Reloading, Term, loaded
from connectorlib.values.text import printable
from dbconnector import config as configuration
from dbconnector.cli import EXIT_CODES
from dbconnector.commands.requirements import CONNECT_S, Load, connection_of, log_start, program, requiring
from dbconnector.follow_run import Follower
from dbconnector.lease_table import LeaseTable, process_name
from dbconnector.odbc.database import Database
from dbconnector.poll import Poll, Progress, advice
from dbconnector.schedule import IntervalSchedule, Schedule
from dbconnector.select_run import SelectResult, select
from dbconnector.settings import DbConfig

logger = logging.getLogger(__name__)

#: Rows that a dry run shows, if --limit does not say.
DRY_ROWS = 5


@click.command("select", epilog=EXIT_CODES)
@config_option()
@click.option("--every", type=Duration(), help="Run the query repeatedly, e.g. every 30s, 5m, 1h.")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="The value of :NAME in the query.")
@click.option("--dry-run", is_flag=True, help="Print the messages of the first rows; publish and mark nothing.")
@click.option("--limit", type=click.IntRange(1, 10_000), help="Rows of a dry run (5 by default).")
@click.option("--json", "as_json", is_flag=True, help="A dry run as JSON, for programs.")
@click.pass_context
def command(
    ctx: click.Context,
    file: str,
    every: float | None,
    params: tuple[str, ...],
    dry_run: bool,
    limit: int | None,
    as_json: bool,
) -> None:
    """Run the query and send one message per row, or for many; done when the broker has confirmed all.

    \b
    dbconnector select -c db.config
    dbconnector select -c db.config --param site=plant-7
    dbconnector select -c db.config --every 30s
    dbconnector select -c db.config --dry-run --limit 3

    With --every, or with `follow` in the configuration, it runs until SIGTERM: a failure pauses it, and it
    retries; SIGHUP reloads the configuration. Without, it exits with 3 if there is no row.

    With --dry-run the first rows are read and rolled back, and what would be published is printed. No broker is needed.
    It exits with 1 if one of these rows could not be published.
    """
    if not dry_run and (limit is not None or as_json):
        raise click.UsageError("--limit and --json are for --dry-run")
    if dry_run and every is not None:
        raise click.UsageError("--dry-run runs once: leave --every out")
    given = dict(_name_and_value(param) for param in params)
    if dry_run:
        with running("dbconnector"):
            ctx.exit(_dry_run(file, given, limit or DRY_ROWS, json=as_json))
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


def _dry_run(file: str, params: Mapping[str, Any], limit: int, *, json: bool) -> ExitCode:
    from dbconnector.dry_run import dry_run  # late: only this option needs it

    def load_database(file: str) -> DbConfig:
        """Load the configuration; the password of the broker may be missing."""
        return configuration.load(file, resolve_secrets=("database", "logging"))

    load = requiring(loading_logs(load_database, "dbconnector"), "select", "database.select", "broker.destination")

    def run() -> ExitCode:
        found = dry_run(loaded(file, load), params, limit)
        click.echo(printable(found.as_json() if json else found.as_text(limit), lines=True))
        if not found.rows:
            return ExitCode.NOTHING
        return ExitCode.FAILED if any(row.rejection for row in found.rows) else ExitCode.DONE

    return reported(run)


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
        if not _is_repeated(config, every):
            return _select_once(config, life, params, progress, stopped)
        repeated = complete if every else requiring(complete, "select", "database.select.every")
        return Reloading(file, life, repeated, config).run(
            lambda config, term: _select_repeatedly(config, term, params, every, progress)
        )

    return reported(run)


def _is_repeated(config: DbConfig, every: float | None) -> bool:
    """`every` is that of the command line."""
    settings = config.database.select
    return bool(every or (settings and (settings.every or settings.cron)))


def _select_once(
    config: DbConfig, life: Life, params: Mapping[str, Any], progress: Progress | None, stopped: ExitCode
) -> ExitCode:
    with _connected(config) as (database, broker):
        if not broker.wait_connected(CONNECT_S, life.stop, give_up_on_refused=True):
            return stopped
        result = select(config, database, broker, life.stop, params, progress)
    life.counts.update(done=result.sent, failed=result.failed)
    if result.sent or result.failed or result.stopped:
        _log_sent(result)
        return stopped if result.stopped else ExitCode.DONE
    logs.event(logger, logging.INFO, "no rows to send", name=config.name)
    return ExitCode.NOTHING


def _select_repeatedly(
    config: DbConfig, term: Term, params: Mapping[str, Any], every: float | None, progress: Progress | None
) -> ExitCode:
    """Run the query by its schedule, as a flow that a failure pauses."""
    settings = config.database.select
    assert settings is not None
    marks = settings.on_sent is not None or settings.follow is not None
    turns = _query if settings.follow is None else _follower
    with running_broker(config.broker, program(config).connection, consuming=False) as broker, ExitStack() as stack:
        timing = stack.enter_context(_timing(config, every or settings.every, term))
        poll = Poll(progress, timing.schedule, marks=marks)
        notice = PauseNotice(config.name, poll, broker, label="select", hints=advice)
        wait = PauseWait(notice, term.stop, threading.Event())
        turn = stack.enter_context(turns(config, broker, timing.halt, params, _Sending(poll, wait)))
        log_start(config, "select")
        connections = [*turn.connections, *timing.connections]
        monitor = make_monitor(config, program(config), broker, connections, term)
        stats = monitor.flow(config.name)
        stats.attach(poll.counts, poll, notice)
        stats.metrics = turn.metrics

        def send() -> bool:
            connected = broker.wait_connected(CONNECT_PATIENCE_S, term.stop, give_up_on_refused=True)
            return connected and turn.run()

        with supervised(config, monitor, term):
            poll.run(send, wait, term, until=lambda failure: is_of_broker(failure) and broker.connected)
    term.counts.update(poll.counts)
    return ExitCode.DONE


@dataclass(frozen=True, slots=True)
class _Timing:
    """When the query is run, and what ends a run."""

    schedule: Schedule
    halt: threading.Event
    connections: Sequence[ConnectionFacts] = ()


@contextmanager
def _timing(config: DbConfig, every: float | None, term: Term) -> Iterator[_Timing]:
    settings = config.database.select
    if every or settings is None or settings.cron is None:
        yield _Timing(IntervalSchedule(every or 0.0), term.stop)
        return
    cron = settings.cron
    if cron.state is None:
        from dbconnector.cron_schedule import CronSchedule  # late: few configurations need it

        yield _Timing(CronSchedule(cron), term.stop)
        return
    from dbconnector.shared_schedule import STATE, SharedSchedule  # late: few configurations need it

    # A connection of its own, even to the same database: the lease is renewed while the query runs.
    with closing(Database(config.database.state)) as state:
        table = LeaseTable(cron.state.table, config.name, process_name(), state, place=STATE)
        with closing(SharedSchedule(cron, table, term)) as schedule:

            def about() -> str:
                return f"{state.server.versions}; {schedule.about()}"

            yield _Timing(schedule, schedule.halt, [replace(connection_of(state), name="state", about=about)])


@dataclass(frozen=True, slots=True)
class _Sending:
    """What a turn reports to while it publishes."""

    poll: Poll
    wait: PauseWait


@dataclass(frozen=True, slots=True)
class _Turn:
    """What is done at the interval; `run` returns whether there is at once more to do."""

    run: Callable[[], bool]
    connections: Sequence[ConnectionFacts]
    metrics: Sequence[SinkMetric] = ()


@contextmanager
def _query(
    config: DbConfig, broker: Broker, halt: threading.Event, params: Mapping[str, Any], sending: _Sending
) -> Iterator[_Turn]:
    with closing(Database(config.database, reading=True)) as database:

        def run() -> bool:
            result = select(config, database, broker, halt, params, sending.poll.progress, sending.wait)
            if result.sent or result.failed:
                _log_sent(result)
            return False

        yield _Turn(run, [connection_of(database)])


@contextmanager
def _follower(
    config: DbConfig, broker: Broker, halt: threading.Event, params: Mapping[str, Any], sending: _Sending
) -> Iterator[_Turn]:
    settings = config.database
    with ExitStack() as stack:
        table = stack.enter_context(closing(Database(settings)))
        own = settings.state is not settings
        state = stack.enter_context(closing(Database(settings.state))) if own else table
        follower = Follower(config, (table, state), broker, halt, params, sending.wait)
        stack.enter_context(closing(follower))
        facts = connection_of(table)
        connections = [replace(facts, about=lambda: f"{table.server.versions}; {follower.stats.about()}")]
        if own:
            connections.append(replace(connection_of(state), name="state"))
        yield _Turn(lambda: follower.round(sending.poll.progress), connections, follower.stats.metrics())


@contextmanager
def _connected(config: DbConfig) -> Iterator[tuple[Database, Broker]]:
    with (
        closing(Database(config.database, reading=True)) as database,
        running_broker(config.broker, program(config).connection, consuming=False) as broker,
    ):
        yield database, broker


def _log_sent(result: SelectResult) -> None:
    messages = {} if result.messages is None else {"messages": result.messages}
    logs.event(logger, logging.INFO, "sent", rows=result.sent, failed=result.failed, **messages)
