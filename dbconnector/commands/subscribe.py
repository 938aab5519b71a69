"""`subscribe`, subscribeNInsert: writes everything that comes into the source queue, in batches, until stopped."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace

import click

from connectorlib.errors import Failure, Kind
from connectorlib.pipeline.admission import admitting, with_admission
from connectorlib.pipeline.flood import Brake
from connectorlib.pipeline.lane_key import LaneKey
from connectorlib.pipeline.pause import hint
from connectorlib.pipeline.run_sink import SinkFlow, run_sink
from connectorlib.service import logs
from connectorlib.service.bootstrap import loading_logs, running
from connectorlib.service.cli_options import config_option
from connectorlib.service.exit_codes import ExitCode
from connectorlib.service.process import Life, reported
from connectorlib.service.reload import Reloading, Term
from dbconnector import config as configuration
from dbconnector.cli import EXIT_CODES
from dbconnector.commands.requirements import Load, connection_of, log_start, program, requiring
from dbconnector.dialects.sqlstate import advice
from dbconnector.inbox_table import PLACE as INBOX
from dbconnector.odbc.connection_string import TimeLimits
from dbconnector.odbc.database import Database
from dbconnector.parameters import compile_plan
from dbconnector.settings import DbConfig
from dbconnector.sink import SHORT_LOCK_S, DatabaseSink

logger = logging.getLogger(__name__)


@click.command("subscribe", epilog=EXIT_CODES)
@config_option()
@click.pass_context
def command(ctx: click.Context, file: str) -> None:
    """Write every message of the queue into the database, in batches, until SIGTERM.

    \b
    dbconnector subscribe -c db.config

    An outage pauses it; it resumes automatically. SIGUSR1 retries immediately while paused. SIGHUP reloads the
    configuration. The first SIGTERM or Ctrl-C finishes the work in progress, the second quits immediately.
    """
    with running("dbconnector") as life:
        ctx.exit(run_subscribe(file, life, load=loading_logs(configuration.load, "dbconnector")))


def run_subscribe(file: str, life: Life, load: Load = configuration.load) -> ExitCode:
    """Write what comes into the source queue until the life ends; SIGHUP reloads the configuration.

    Nothing else ends it: an outage, a refused log-in or a wrong statement pauses it.
    """
    complete = requiring(load, "subscribe", "broker.source")
    return reported(lambda: Reloading(file, life, complete).run(_subscribe))


def _subscribe(config: DbConfig, term: Term) -> ExitCode:
    counts = run_sink(config, program(config), lambda broker: _flows(config), term)
    term.counts.update(counts[config.name])
    logs.event(logger, logging.INFO, "stopped", name=config.name, **counts[config.name])
    return ExitCode.DONE


@contextmanager
def _flows(config: DbConfig) -> Iterator[Sequence[SinkFlow]]:
    assert config.source is not None  # required
    with ExitStack() as stack:
        ordered = config.lanes.key is not None
        # A message that waits for a lock in the database holds its lane: rather it waits here, and for as long.
        limits = replace(TimeLimits(), lock=SHORT_LOCK_S) if ordered else TimeLimits()
        patience_s = config.retry.attempts * TimeLimits().lock if ordered else 0.0
        lanes = range(config.lanes.count)
        databases = [stack.enter_context(closing(Database(config.database, limits=limits))) for _ in lanes]
        plan = compile_plan(config)
        brake = Brake(config.retry.flood)
        log_start(config, "subscribe")
        flow = SinkFlow(
            name=config.name,
            sinks=[DatabaseSink(plan, database, brake, names=ordered) for database in databases],
            route=with_admission(
                admitting(config.conditions, config.format, config.limits),
                LaneKey(config.lanes, config.format, config.limits) if ordered else None,
                config.lanes.count,
            ),
            ordered=ordered,
            source=config.source,
            batch=config.batch,
            retry=replace(config.retry, patience_s=patience_s),
            hold_seconds=config.hold_seconds,
            body_bytes=config.limits.body_bytes,
            connections=[connection_of(database, number) for number, database in enumerate(databases, 1)],
            hints=_hint,
        )
        yield (flow,)


def _hint(failure: Failure) -> str:
    """Return what a person can do about a failure."""
    if failure.place == INBOX and failure.kind is Kind.CONFIGURATION:
        return (
            "create the inbox table with `dbconnector inbox --create`; the connector resumes automatically "
            "(SIGUSR1 retries immediately)"
        )
    return advice(failure.code) or hint(failure, target="database")
