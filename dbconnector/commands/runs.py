"""The three things dbconnector does, each from its configuration file to its exit code. Shared by commands and API."""

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import Dead, Done, Later
from connectorlib.monitoring.tracing import tracing
from connectorlib.pipeline.run_sink import answering, loaded, reported, running_broker, ticking
from connectorlib.service import logs
from connectorlib.service.process import ExitCode, Life, Watchdog, exit_code, notify
from connectorlib.service.reload import Reloading, Term
from dbconnector import config as configuration
from dbconnector.poll import Turns
from dbconnector.settings import DbConfig

if TYPE_CHECKING:
    from connectorlib.amqp import Broker
    from connectorlib.monitoring.monitor import Monitor
    from dbconnector.commands.select import SelectResult
    from dbconnector.odbc.database import Database

logger = logging.getLogger(__name__)

CONNECT_S = 10.0  # how long a one-shot command tries to reach the broker

Progress = Callable[[int], None]
Load = Callable[[str], DbConfig]


def run_subscribe(file: str, life: Life, load: Load = configuration.load) -> ExitCode:
    """Write what comes into the source queue until the life ends; a SIGHUP reloads the configuration."""
    whole = _needing(load, "subscribe", "broker.source")
    return reported(lambda: Reloading(file, life, whole).run(_subscribe))


def run_receive(
    file: str,
    life: Life,
    *,
    wait_s: float = 1.0,
    stopped: ExitCode = ExitCode.DONE,
    load: Load = configuration.load,
) -> ExitCode:
    """Write one message of the source queue. `stopped`: what to return when a stop comes before there is one."""
    whole = _needing(load, "receive", "broker.source")
    return reported(lambda: _receive(loaded(file, whole), life, wait_s, stopped))


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
    """Send one message per row of the query, once or every so many seconds; then a SIGHUP reloads the configuration.
    `stopped`: what to return when a stop comes before the rows of the only run are sent."""
    whole = _needing(load, "select", "database.select", "broker.destination")

    def run() -> ExitCode:
        config = loaded(file, whole)
        if not _interval(config, every):
            return _select(config, life, params, progress, stopped)
        repeated = whole if every else _needing(whole, "select", "database.select.every")
        return Reloading(file, life, repeated, config).run(
            lambda config, term: _select_again_and_again(config, term, params, _interval(config, every), progress)
        )

    return reported(run)


def run_inbox(
    file: str,
    *,
    create: bool,
    purge_older: float | None,
    load: Load = configuration.load,
) -> ExitCode:
    """Print the inbox table's DDL, run it, or delete the keys that are older than so many seconds."""
    whole = _needing(load, "inbox", "idempotency")
    return reported(lambda: _inbox(loaded(file, whole), create, purge_older))


def _inbox(config: DbConfig, create: bool, purge_older: float | None) -> ExitCode:
    from dbconnector.inbox_table import Inbox, ddl
    from dbconnector.odbc.database import Database  # late: pyodbc is not needed for --help

    settings = config.idempotency
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
    from dbconnector.commands.subscribe import make_pump
    from dbconnector.odbc.database import Database  # late: pyodbc is not needed for --help

    with (
        closing(Database(config.database)) as database,
        _broker(config) as broker,
        _watchdog(broker, database) as watchdog,
        tracing(config.tracing, "dbconnector", config.name) as trace,
    ):
        life.on_nudge(broker.reconnect_now)
        _log_start(config, "subscribe")
        notify("READY=1")

        monitor = _monitor(config, broker, database, life)
        monitor.trace = trace
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
    from dbconnector.commands.receive import receive
    from dbconnector.odbc.database import Database  # late: pyodbc is not needed for --help

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
    config: DbConfig, life: Life, params: Mapping[str, Any], progress: Progress | None, stopped: ExitCode
) -> ExitCode:
    from dbconnector.commands.select import select
    from dbconnector.odbc.database import Database  # late: pyodbc is not needed for --help

    with closing(Database(config.database, reading=True)) as database, _broker(config, consuming=False) as broker:
        if not broker.wait_connected(CONNECT_S, life.stop, give_up_on_refused=True):
            return stopped
        result = select(config, database, broker, life.stop, params, progress)
    _log_sent(result)
    if result.stopped:
        return stopped
    return ExitCode.DONE if result.sent or result.failed else ExitCode.NOTHING


def _select_again_and_again(
    config: DbConfig, life: Term, params: Mapping[str, Any], every: float, progress: Progress | None
) -> ExitCode:
    """Run the query every so many seconds. A failure is told, and the next turn tries again."""
    from dbconnector.commands.select import select
    from dbconnector.odbc.database import Database  # late: pyodbc is not needed for --help

    turns = Turns(config.name, progress, every)

    def send() -> None:
        if broker.wait_connected(CONNECT_S, life.stop, give_up_on_refused=True):
            _log_sent(select(config, database, broker, life.stop, params, turns.progress))

    with (
        closing(Database(config.database, reading=True)) as database,
        _broker(config, consuming=False) as broker,
        _watchdog(broker, database) as watchdog,
    ):
        life.on_nudge(broker.reconnect_now)
        _log_start(config, "select")
        notify("READY=1")
        monitor = _monitor(config, broker, database, life)
        turns.watched_by(monitor.watch(config.name))
        watchdog.status = monitor.summary
        with answering(config.monitoring, monitor):
            turns.run(send, life)
        if not life.replaced:
            notify("STOPPING=1")
    return ExitCode.DONE


def _log_sent(result: "SelectResult") -> None:
    logs.event(logger, logging.INFO, "sent", rows=result.sent, failed=result.failed)


def _interval(config: DbConfig, every: float | None) -> float:
    """Return the seconds from one run of the query to the next; 0: it is run once."""
    return every or (config.database.select and config.database.select.every) or 0.0


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


#: What a command may need, by where it stands in the configuration.
_PARTS: Mapping[str, Callable[[DbConfig], object]] = {
    "broker.source": lambda config: config.source,
    "broker.destination": lambda config: config.destination,
    "database.select": lambda config: config.database.select,
    "database.select.every": lambda config: _interval(config, None),
    "idempotency": lambda config: config.idempotency,
}


def _needing(load: Load, command: str, *needed: str) -> Load:
    """Return `load`, which also refuses a configuration that the command cannot do with."""

    def load_whole(file: str) -> DbConfig:
        config = load(file)
        for path in needed:
            if not _PARTS[path](config):
                text = f"{file}: {path} is missing: `dbconnector {command}` needs it"
                raise Failed(Failure(Kind.CONFIGURATION, "configuration", text))
        return config

    return load_whole


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
