"""A private MariaDB server and fresh databases in it."""

import itertools
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pymysql

from tests.services.database import Connection, Database
from tests.services.server import Run, Server, binary

USERNAME = "app"
PASSWORD = "db-pass;wo}rd"  # needs brace quoting in a connection string


class MariaDB(Server):
    name = "mariadb"
    user = "mysql"

    def __init__(self, run: Run, *, synced: bool = True) -> None:
        """`synced`: what is committed is on the disk, and outlives the machine; without, it outlives the server."""
        super().__init__(run)
        self._synced = synced
        self._numbers = itertools.count(1)
        self._data = self.folder / "data"
        self._socket = self.folder / "socket"

    def commands(self) -> Sequence[Sequence[str]]:
        options = {
            "datadir": self._data,
            "socket": self._socket,
            "pid-file": self.folder / "pid",
            "tmpdir": self.folder,
            "bind-address": self.host,
            "port": self.port,
            "character-set-server": "utf8mb4",
            "collation-server": "utf8mb4_general_ci",
            "innodb-buffer-pool-size": "64M",
            "innodb-lock-wait-timeout": "5",
            "innodb-flush-log-at-trx-commit": "1" if self._synced else "2",
            "default-time-zone": "+00:00",
        }
        settings = [f"--{key}={value}" for key, value in options.items()]
        return [[binary("mariadbd"), "--no-defaults", "--skip-name-resolve", "--skip-log-bin", *settings]]

    def start(self) -> None:
        first = not self._data.exists()
        if first:
            self._make()
        super().start()
        if first:
            self.execute(f"CREATE USER '{USERNAME}'@'%' IDENTIFIED BY '{PASSWORD}'")
            self.execute(f"GRANT ALL ON `test\\_%`.* TO '{USERNAME}'@'%'")

    def is_ready(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as probe:  # PyMySQL would leak its own when nobody listens yet
                probe.connect(str(self._socket))
            self.connect().close()
        except (OSError, pymysql.OperationalError):
            return False
        return True

    def connect(self, database: str | None = None, user: str = "root") -> Any:
        """Open a connection that is not ODBC, in autocommit mode; root comes through the socket, without a password."""
        way: dict[str, Any] = {"host": self.host, "port": self.port, "password": PASSWORD}
        if user == "root":
            way = {"unix_socket": str(self._socket)}
        return pymysql.connect(
            user=user, database=database, charset="utf8mb4", autocommit=True, connect_timeout=5, **way
        )

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement as root and return its rows."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return list(cursor.fetchall())
        finally:
            connection.close()

    @contextmanager
    def database(self) -> Iterator["MariaDatabase"]:
        """Make a fresh database and drop it afterwards."""
        self.start()
        database = MariaDatabase(self, f"test_{next(self._numbers)}")
        self.execute(f"CREATE DATABASE {database.name}")
        try:
            yield database
        finally:
            database.close()
            if self.running:
                self._drop(database.name)

    def _drop(self, name: str) -> None:
        """Drop a database; what a test left open would hold its tables locked, so that is ended first."""
        for (session,) in self.execute(f"SELECT id FROM information_schema.processlist WHERE db = '{name}'"):
            try:
                self.execute(f"KILL {session}")
            except pymysql.OperationalError as error:
                if error.args[0] != 1094:  # gone by itself
                    raise
        self.execute(f"DROP DATABASE {name}")

    def _make(self) -> None:
        self.prepare(
            [
                binary("mariadb-install-db"),
                "--no-defaults",
                f"--datadir={self._data}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                # In /tmp a server of another run that is just starting would clear away this one's temporary tables.
                f"--tmpdir={self.folder}",
            ]
        )


class MariaDatabase(Database):
    def __init__(self, server: MariaDB, name: str) -> None:
        connection = {
            "Driver": "MariaDB Unicode",
            "Server": server.host,
            "Port": str(server.port),
            "Database": name,
            "Uid": USERNAME,
            "Pwd": PASSWORD,
        }
        super().__init__("mariadb", "mariadb", name, connection, server)

    def connect(self) -> Connection:
        connection: Connection = self.server.connect(self.name, USERNAME)
        return connection
