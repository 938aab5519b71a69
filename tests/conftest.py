"""Fixtures: real services, started when the first test asks, once per run; something fresh in them for every test.

A missing program is a failure, not a skip: scripts/setup installs them.
"""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import hypothesis
import pytest

from connectorlib.service.logs import Output
from tests.running_order import running_order
from tests.services.database import Database
from tests.services.mariadb import MariaDatabase, MariaDB
from tests.services.postgresql import PostgresDatabase, PostgreSQL
from tests.services.rabbitmq import RabbitMQ, Vhost
from tests.services.salesforce import Org, Salesforce
from tests.services.server import Run, Server
from tests.services.sqlite import SqliteDatabase

AnyServer = TypeVar("AnyServer", bound=Server)
VARIANTS = ["postgresql", "postgresql-ansi", "mariadb", "sqlite"]

#: From the slowest tests to the quickest ones.
FOLDERS = ("faults", "e2e", "integration", "unit")

# The suite starts hundreds of processes. Where the environment keeps Python from writing bytecode, each would compile
# all its modules again: a third of the time of a start. An installed connector has its bytecode.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


# A busy machine is slow; that is no failure of a test.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")


def pytest_configure() -> None:
    # By default SIGTERM ends the run without its clean-up; as a KeyboardInterrupt it ends it in an orderly way.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes minutes, unless it is asked for: `pytest -m soak`, `-m package`. Put the tests of several
    workers into the order in which none of them waits for another at the end."""
    unasked = [mark for mark in ("soak", "package") if mark not in config.getoption("markexpr")]
    left_out = [item for item in items if any(map(item.get_closest_marker, unasked))]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)
    if workers := getattr(config, "workerinput", {}).get("workercount"):
        items[:] = running_order(items, _effort, workers)


def _effort(item: pytest.Item) -> int:
    """Return 0 for a slow test, else more the less a test of its folder takes."""
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    return 0 if item.get_closest_marker("slow") else 1 + FOLDERS.index(folder) if folder in FOLDERS else len(FOLDERS)


@pytest.fixture(autouse=True)
def _logs() -> Iterator[None]:
    """Undo what a command that a test runs in its own process does to the logs of that process."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in [each for each in root.handlers if isinstance(each, Output)]:
        root.removeHandler(handler)
        handler.close()


@pytest.fixture(scope="session")
def services() -> Iterator[Run]:
    with Run() as run:
        yield run


def started(server: AnyServer) -> Iterator[AnyServer]:
    server.start()
    yield server
    server.discard()


def fit(server: AnyServer) -> AnyServer:
    """Return the server, running whatever the test before did to it."""
    server.resume()
    server.start()
    return server


@pytest.fixture(scope="session")
def _rabbitmq(services: Run) -> Iterator[RabbitMQ]:
    yield from started(RabbitMQ(services))


@pytest.fixture(scope="session")
def _postgresql(services: Run) -> Iterator[PostgreSQL]:
    yield from started(PostgreSQL(services, synced=False))


@pytest.fixture(scope="session")
def _mariadb(services: Run) -> Iterator[MariaDB]:
    yield from started(MariaDB(services, synced=False))


@pytest.fixture(scope="session")
def _salesforce(services: Run) -> Iterator[Salesforce]:
    yield from started(Salesforce(services))


@pytest.fixture
def rabbitmq(_rabbitmq: RabbitMQ) -> RabbitMQ:
    return fit(_rabbitmq)


@pytest.fixture
def postgresql(_postgresql: PostgreSQL) -> PostgreSQL:
    return fit(_postgresql)


@pytest.fixture
def mariadb(_mariadb: MariaDB) -> MariaDB:
    return fit(_mariadb)


@pytest.fixture
def vhost(rabbitmq: RabbitMQ) -> Iterator[Vhost]:
    with rabbitmq.vhost() as vhost:
        yield vhost


@pytest.fixture
def salesforce(_salesforce: Salesforce) -> Org:
    """A fresh org on the sandbox of this run."""
    return Org(fit(_salesforce))


@pytest.fixture
def postgres_db(postgresql: PostgreSQL) -> Iterator[PostgresDatabase]:
    with postgresql.database() as database:
        yield database


@pytest.fixture
def postgres_ansi_db(postgresql: PostgreSQL) -> Iterator[PostgresDatabase]:
    with postgresql.database("PostgreSQL ANSI") as database:
        yield database


@pytest.fixture
def maria_db(mariadb: MariaDB) -> Iterator[MariaDatabase]:
    with mariadb.database() as database:
        yield database


@pytest.fixture
def sqlite_db(tmp_path: Path) -> Iterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "test.sqlite")
    yield database
    database.close()


@pytest.fixture(params=VARIANTS)
def database(request: pytest.FixtureRequest) -> Database:
    """A fresh database, once for each driver."""
    return fresh(request)


def fresh(request: pytest.FixtureRequest) -> Database:
    """Return a fresh database of the variant that is the parameter."""
    names = dict(zip(VARIANTS, ["postgres_db", "postgres_ansi_db", "maria_db", "sqlite_db"], strict=True))
    found: Database = request.getfixturevalue(names[request.param])
    return found
