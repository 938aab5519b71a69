"""A private PostgreSQL server and fresh databases in it."""

import itertools
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.services.database import Connection, Database
from tests.services.server import Run, Server, binary

USERNAME = "app"
PASSWORD = "db-pass;wo}rd"  # needs brace quoting in a connection string


class PostgreSQL(Server):
    name = "postgresql"
    user = "postgres"  # PostgreSQL refuses to run as root
    # SIGINT is the fast shutdown: sessions are ended. SIGTERM would wait for them.
    stop_signal = signal.SIGINT

    def __init__(self, run: Run, *, synced: bool = True) -> None:
        """`synced`: what is committed is on the disk, and outlives the machine; without, it outlives the server."""
        super().__init__(run)
        self._synced = synced
        self._numbers = itertools.count(1)
        self._bin = _newest_bin()
        self._data = self.folder / "data"
        self._admin: psycopg.Connection[tuple[Any, ...]] | None = None

    def commands(self) -> Sequence[Sequence[str]]:
        settings = {
            "port": self.port,
            "listen_addresses": self.host,
            "unix_socket_directories": self.folder,
            "max_connections": 100,
            "max_prepared_transactions": 10,
            "timezone": "UTC",
            "track_commit_timestamp": "on",  # tests.bench.latency
            "log_line_prefix": "%m %d ",
            "fsync": "on" if self._synced else "off",
        }
        options = itertools.chain.from_iterable(("-c", f"{key}={value}") for key, value in settings.items())
        return [[f"{self._bin}/postgres", "-D", str(self._data), *options]]

    def environment(self) -> Mapping[str, str]:
        return {"HOME": str(self.folder), "LC_ALL": "C.UTF-8"}

    def start(self) -> None:
        first = not self._data.exists()
        if first:
            self._make()
        super().start()
        if first:
            self.execute(f"CREATE ROLE {USERNAME} LOGIN PASSWORD '{PASSWORD}'")

    def stop(self, timeout: float = 60.0) -> None:
        self._disconnect()
        super().stop(timeout)

    def discard(self) -> None:
        self._disconnect()
        super().discard()

    def is_ready(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def connect(self, database: str = "postgres", user: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """Open a connection that is not ODBC, in autocommit mode."""
        return psycopg.connect(
            host=self.host,
            port=self.port,
            dbname=database,
            user=user,
            password=PASSWORD,
            autocommit=True,
            connect_timeout=5,
        )

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement as the super-user, in the database `postgres`; return its rows if it has any."""
        if self._admin is None or self._admin.closed or self._admin.broken:
            self._admin = self.connect()
        cursor = self._admin.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []

    @contextmanager
    def database(self, driver: str = "PostgreSQL Unicode") -> Iterator["PostgresDatabase"]:
        """Make a fresh database and drop it afterwards."""
        self.start()
        database = PostgresDatabase(self, f"test_{next(self._numbers)}", driver)
        self.execute(f"CREATE DATABASE {database.name} OWNER {USERNAME} TEMPLATE template0 STRATEGY wal_log")
        try:
            yield database
        finally:
            database.close()
            if self.running:
                self.execute(f"DROP DATABASE {database.name} WITH (FORCE)")

    def _make(self) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        self.give(secret)
        options = ["--username=postgres", f"--pwfile={secret}", "--auth=scram-sha-256"]
        locale = ["--encoding=UTF8", "--locale=C.UTF-8"]
        self.prepare([f"{self._bin}/initdb", "--no-sync", f"--pgdata={self._data}", *options, *locale])

    def _disconnect(self) -> None:
        if self._admin is not None:
            self._admin.close()
            self._admin = None


class PostgresDatabase(Database):
    def __init__(self, server: PostgreSQL, name: str, driver: str) -> None:
        connection = {
            "Driver": driver,
            "Server": server.host,
            "Port": str(server.port),
            "Database": name,
            "Uid": USERNAME,
            "Pwd": PASSWORD,
        }
        variant = "postgresql-ansi" if "ANSI" in driver else "postgresql"
        super().__init__("postgresql", variant, name, connection, server)

    def connect(self) -> Connection:
        connection: Connection = self.server.connect(self.name, USERNAME)
        return connection


def _newest_bin() -> Path:
    """Return the folder of the newest installed server's programs."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if found:
        return max(found, key=lambda path: float(path.parent.name))
    return Path(binary("postgres")).parent
