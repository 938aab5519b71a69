"""The three things dbconnector does, each from its configuration file to its exit code. Shared by commands and API."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from connectorlib import logs
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import Dead, Done, Later
from connectorlib.process import ExitCode, Life, Watchdog, exit_code, notify
from connectorlib.reloading import Reloading, Term
from connectorlib.running import answering, loaded, reported, running_broker, ticking
from dbconnector import config as configuration
from dbconnector.settings import DbConfig
from dbconnector.turns import Turns

if TYPE_CHECKING:
    from connectorlib.broker import Broker
    from connectorlib.monitoring.monitor import Monitor
    from dbconnector.database import Database
    from dbconnector.select import SelectResult

logger = logging.getLogger(__name__)

CONNECT_S = 10.0  # how long a one-shot command tries to reach the broker

Progress = Callable[[int], None]
Load = Callable[[str], DbConfig]


def run_subscribe(file: str, life: Life, load: Load = configuration.load) -> ExitCode:
    """Write what comes into the source queue until the life ends; a SIGHUP reloads the configuration."""
    return reported(lambda: Reloading(file, life, load).run(_subscribe))


def run_receive(
    file: str,
    life: Life,
    *,
    wait_s: float = 1.0,
    stopped: ExitCode = ExitCode.DONE,
    load: Load = configuration.load,
) -> ExitCode:
    """Write one message of the source queue. `stopped`: what to return when a stop comes before there is one."""
    return reported(lambda: _receive(loaded(file, load), life, wait_s, stopped))


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
    """Send one message per row of the query, once or every so many seconds. `stopped`: what to return when a stop
    comes before the rows of the only run are sent."""
    return reported(lambda: _select(loaded(file, load), life, params, every, progress, stopped))


def run_inbox(
    file: str,
    *,
    create: bool,
    purge_older: float | None,
    load: Load = configuration.load,
) -> ExitCode:
    """Print the inbox table's DDL, run it, or delete the keys that are older than so many seconds."""
    return reported(lambda: _inbox(loaded(file, load), create, purge_older))


def _inbox(config: DbConfig, create: bool, purge_older: float | None) -> ExitCode:
    from dbconnector.database import Database  # late: pyodbc is not needed for --help
    from dbconnector.inbox import Inbox, ddl

    settings = config.idempotency
    _need(settings, config, "idempotency", "inbox")
    assert settings is not None
    if not create and purge_older is None:
        print(f"{ddl(settings.table)};")
        return ExitCode.DONE
    with closing(Database(config.database)) as database:
        database.connect()
        if create:
            database.execute(ddl(settings.table), place="inbox")
            logs.event(logger, logging.INFO, "inbox table made", table=settings.table)
        if purge_older is not None:
            count = Inbox(settings, config.name).delete_older(database, purge_older)
            logs.event(logger, logging.INFO, "keys deleted", table=settings.table, keys=count)
        database.commit()
    return ExitCode.DONE


def _subscribe(config: DbConfig, life: Term) -> ExitCode:
    from dbconnector.database import Database  # late: pyodbc is not needed for --help
    from dbconnector.subscribe import make_pump

    _need(config.source, config, "broker.source", "subscribe")
    with (
        closing(Database(config.database)) as database,
        _broker(config) as broker,
        _watchdog(broker, database) as watchdog,
    ):
        life.on_nudge(broker.nudge)
        _log_start(config, "subscribe")
        notify("READY=1")

        monitor = _monitor(config, broker, database, life)
        watch = monitor.watch(config.name)
        pump = make_pump(config, broker, database, stop=life.stop, nudge=life.nudge, watch=watch)
        watchdog.status = monitor.summary
        life.on_stop(pump.wake)
        with answering(config.monitoring, monitor), ThreadPoolExecutor(1, thread_name_prefix="worker") as worker:
            worker.submit(pump.run).result()  # a bug that ends the worker is raised here, and ends the process
        if not life.replaced:
            notify("STOPPING=1")
    logs.event(logger, logging.INFO, "stopped", name=config.name, **pump.counts)
    return ExitCode.DONE


def _receive(config: DbConfig, life: Life, wait_s: float, stopped: ExitCode) -> ExitCode:
    from dbconnector.database import Database  # late: pyodbc is not needed for --help
    from dbconnector.receive import receive

    _need(config.source, config, "broker.source", "receive")
    with closing(Database(config.database)) as database, _broker(config) as broker:
        if not broker.wait_connected(CONNECT_S, life.stop, give_up_on_refused=True):
            return stopped
        outcome = receive(config, broker, database, life=life, wait_s=wait_s)
    if outcome is None:
        if life.stop.is_set():
            return stopped
        logs.event(logger, logging.INFO, "the queue is empty", queue=config.source and config.source.queue)
        return ExitCode.NOTHING
    if isinstance(outcome, Done):
        logs.event(logger, logging.INFO, "already there" if outcome.already else "written", name=config.name)
        return ExitCode.DONE
    if isinstance(outcome, Dead):
        return ExitCode.FAILED
    assert not isinstance(outcome, Later), "there is nothing to put it off for"
    logger.error("given back: %s", outcome.failure, extra={"event": "given-back"})
    return exit_code(outcome.failure)


def _select(
    config: DbConfig,
    life: Life,
    params: Mapping[str, Any],
    every: float | None,
    progress: Progress | None,
    stopped: ExitCode,
) -> ExitCode:
    from dbconnector.database import Database  # late: pyodbc is not needed for --help
    from dbconnector.select import select

    _need(config.database.select, config, "database.select", "select")
    _need(config.destination, config, "broker.destination", "select")
    if every is None and config.database.select is not None:
        every = config.database.select.every
    with closing(Database(config.database, reading=True)) as database, _broker(config, consuming=False) as broker:
        if not broker.wait_connected(CONNECT_S, life.stop, give_up_on_refused=True):
            return stopped
        turns = Turns(config.name, progress, every)
        run = partial(select, config, database, broker, life.stop, params, turns.progress)
        monitor = _monitor(config, broker, database, life)
        turns.watched_by(monitor.watch(config.name))
        with answering(config.monitoring if every else None, monitor):  # nobody asks what is over in a moment
            while True:
                started = time.monotonic()
                code = _select_once(run, turns, stopped)
                if not every or life.stop.wait(max(0.0, started + every - time.monotonic())):
                    break
    return ExitCode.DONE if every else code


def _select_once(select: "Callable[[], SelectResult]", turns: Turns, stopped: ExitCode) -> ExitCode:
    """Run the query once. When it is repeated a failure is told, and the next turn tries again."""
    turns.begin()
    try:
        result = select()
    except Failed as failed:
        if not turns.every:
            raise
        logger.error("%s", failed, extra={"event": "failed"})
        turns.failed(failed.failure)
        return exit_code(failed.failure)
    turns.succeeded()
    logs.event(logger, logging.INFO, "sent", rows=result.sent, failed=result.failed)
    if result.stopped:
        return stopped
    return ExitCode.DONE if result.sent or result.failed else ExitCode.NOTHING


def _broker(config: DbConfig, *, consuming: bool = True) -> AbstractContextManager["Broker"]:
    return running_broker(config.broker, f"dbconnector {config.name}", consuming=consuming)


@contextmanager
def _watchdog(broker: "Broker", database: "Database") -> Iterator[Watchdog]:
    """Watch for a hung database call and a hung I/O thread: the process ends with 75 and is started again."""
    watchdog = Watchdog()
    watchdog.register("database", database.stuck)
    watchdog.register("broker", ticking(broker))
    with watchdog:
        yield watchdog


def _monitor(config: DbConfig, broker: "Broker", database: "Database", life: Life) -> "Monitor":
    """Return what is known of the process, for whoever asks."""
    from connectorlib.monitoring.monitor import Monitor, Side  # late: --help does without

    monitor = Monitor("dbconnector", config.name, config.file, broker, config.broker.dead_letter.queue)
    monitor.sides.append(
        Side("database", lambda: database.connected_since, lambda: database.opened, lambda: database.versions)
    )
    monitor.up_since = life.started
    monitor.checks = {"database": database.stuck, "broker": ticking(broker)}
    return monitor


def _need(part: object, config: DbConfig, path: str, command: str) -> None:
    if part is None:
        text = f"{config.file}: {path} is missing: `dbconnector {command}` needs it"
        raise Failed(Failure(Kind.CONFIGURATION, "configuration", text))


def _log_start(config: DbConfig, command: str) -> None:
    source = config.source
    logs.event(
        logger,
        logging.INFO,
        "started",
        command=command,
        version=version("amqp-connectors"),
        name=config.name,
        queue=source.queue if source else None,
    )
