"""What the commands require of the configuration, and what they share at their start."""

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.monitoring.monitor import ConnectionFacts
from connectorlib.pipeline.run_sink import Program
from connectorlib.service import logs
from connectorlib.version import VERSION
from dbconnector.settings import DbConfig

if TYPE_CHECKING:
    from dbconnector.odbc.database import Database

logger = logging.getLogger(__name__)

#: Seconds that a one-shot command waits for the broker.
CONNECT_S = 10.0

Load = Callable[[str], DbConfig]

#: What a command may require, by its path in the configuration.
_SECTIONS: Mapping[str, Callable[[DbConfig], object]] = {
    "broker.source": lambda config: config.source,
    "broker.destination": lambda config: config.destination,
    "database.select": lambda config: config.database.select,
    "database.select.every": lambda config: (
        config.database.select and (config.database.select.every or config.database.select.cron)
    ),
    "idempotency": lambda config: config.idempotency,
}


def requiring(load: Load, command: str, *required: str) -> Load:
    """Return `load`, which also refuses a configuration without what the command requires."""

    def load_checked(file: str) -> DbConfig:
        config = load(file)
        for path in required:
            if not _SECTIONS[path](config):
                text = f"{file}: {path} is missing: `dbconnector {command}` needs it"
                raise Failed(Failure(Kind.CONFIGURATION, "configuration", text))
        return config

    return load_checked


def program(config: DbConfig) -> Program:
    """Return what this process is called by the broker, the status and traces."""
    return Program("dbconnector", config.name, f"dbconnector {config.name}")


def connection_of(database: "Database", number: int = 1) -> ConnectionFacts:
    """Return what the status and the watchdog ask about the database, through one of its connections."""
    return ConnectionFacts(
        "database" if number == 1 else f"database, lane {number}",
        lambda: database.connected_since,
        lambda: database.opened,
        lambda: database.server.versions,
        stuck=database.guard.stuck,
    )


def log_start(config: DbConfig, command: str) -> None:
    logs.event(
        logger,
        logging.INFO,
        "started",
        command=command,
        version=VERSION,
        name=config.name,
        queue=config.source.queue if config.source else None,
    )
