"""The private services of one run of the benchmark, each started when the first contender needs it."""

import contextlib
import subprocess
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from dbconnector import dialects
from dbconnector.odbc import connection_string
from tests.services.database import Database
from tests.services.mariadb import MariaDB
from tests.services.postgresql import PostgreSQL
from tests.services.rabbitmq import RabbitMQ, Vhost
from tests.services.salesforce import Org, Salesforce
from tests.services.server import Run
from tests.services.sqlite import SqliteDatabase

NODE_PACKAGES = ("amqplib@0.10", "pg@8")
TITLES = {"postgresql": "PostgreSQL", "mariadb": "MariaDB", "sqlite": "SQLite"}


class Services:
    """A context manager; at its end all servers are gone."""

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()
        self._run = self._open.enter_context(Run())
        self._databases: dict[str, Database] = {}

    def __enter__(self) -> "Services":
        return self

    def __exit__(self, *error: "type[BaseException] | BaseException | TracebackType | None") -> None:
        self._open.close()

    @property
    def folder(self) -> Path:
        return self._run.folder

    @cached_property
    def vhost(self) -> Vhost:
        node = RabbitMQ(self._run)
        node.start()
        self._open.callback(node.discard)
        return self._open.enter_context(node.vhost())

    @cached_property
    def org(self) -> Org:
        server = Salesforce(self._run)
        server.start()
        self._open.callback(server.discard)
        return Org(server)

    @cached_property
    def node_modules(self) -> Path:
        """The packages of the loop by hand in Node.js, from the registry."""
        folder = self.folder / "node"
        folder.mkdir()
        install = ["npm", "install", "--no-audit", "--no-fund", "--silent", *NODE_PACKAGES]
        subprocess.run(install, cwd=folder, check=True, timeout=300)
        return folder / "node_modules"

    def database(self, kind: str) -> Database:
        """Return the database of this run on `postgresql`, `mariadb` or `sqlite`."""
        if kind not in self._databases:
            self._databases[kind] = self._made(kind)
        return self._databases[kind]

    def versions(self) -> dict[str, str]:
        """Return the versions of those that were started."""
        found = {}
        if "vhost" in self.__dict__:
            found["RabbitMQ"] = str(self.vhost.node.api("GET", "/api/overview")["rabbitmq_version"])
        for kind, database in self._databases.items():
            query = "SELECT sqlite_version()" if kind == "sqlite" else "SELECT version()"
            found[TITLES[kind]] = str(database.value(query)).removeprefix("PostgreSQL ").split(" ")[0]
        return found

    def _made(self, kind: str) -> Database:
        if kind == "sqlite":
            file = SqliteDatabase(self.folder / "bench.sqlite")
            file.execute("PRAGMA journal_mode = WAL")  # whoever looks how far it is would else keep the writer waiting
            self._open.callback(file.close)
            return file
        server: PostgreSQL | MariaDB = PostgreSQL(self._run) if kind == "postgresql" else MariaDB(self._run)
        server.start()
        self._open.callback(server.discard)
        return self._open.enter_context(server.database())


def odbc(database: Database) -> str:
    """Return the connection string with which the connector itself reaches a database."""
    own: dict[str, Any] = database.connection
    _, driver = dialects.find_driver(own["Driver"])
    return connection_string.join_connection(connection_string.merge_defaults(driver, own))
