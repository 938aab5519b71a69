"""Opens connections to a database and prepares their sessions. What the server does not know costs a line, not the
connection."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyodbc

from connectorlib.errors import Failed, Failure, Kind
from dbconnector.dialects import UNKNOWN_DRIVER, Dialect
from dbconnector.odbc import connection_string
from dbconnector.odbc.call_guard import CallGuard
from dbconnector.odbc.connection_string import TimeLimits
from dbconnector.odbc.cursors import Cursors
from dbconnector.odbc.server import QUESTIONS, Server, answer
from dbconnector.settings import DatabaseSettings

# With pooling a session that was discarded would come back, dead or in the middle of a transaction.
pyodbc.pooling = False


class ConnectionFactory:
    """Opens connections with the settings of a configuration."""

    def __init__(self, settings: DatabaseSettings, limits: TimeLimits, *, reading: bool) -> None:
        """Raise Failed if the connection string cannot be read."""
        self._settings = settings
        self._limits = limits
        self._reading = reading
        self._given = _given_keywords(settings)
        self.server = Server(_driver_name(self._given))
        self.guard = CallGuard(self.server, settings, self._given)

    @property
    def keywords(self) -> Mapping[str, str]:
        """The connection's keywords, defaults included; holds the password: see `connection_string.hide_secrets`."""
        return connection_string.merge_defaults(self.server.driver, self._given, self._limits, reading=self._reading)

    def open(self) -> pyodbc.Connection:
        """Open another connection and prepare its session. Raise Failed."""
        used = self.keywords
        connection = self._log_in(used)
        try:
            with self.guard.call("database", self._limits.statement):
                self.server.identify(connection)
            if self.keywords != used:  # another server than the driver is named for
                Cursors(connection).close()
                connection = self._log_in(self.keywords)
            with self.guard.call("database.on_connect", self._limits.statement):
                self._prepare(connection)
        except Failed:
            Cursors(connection).close()
            raise
        return connection

    def _log_in(self, keywords: Mapping[str, str]) -> pyodbc.Connection:
        with self.guard.call("database", self._limits.login + self._limits.socket, connecting=True):
            text = connection_string.join_connection(keywords, self.server.driver.braced)
            return pyodbc.connect(text, autocommit=True, timeout=self._limits.login)

    def _prepare(self, connection: pyodbc.Connection) -> None:
        """Set up a new connection. Each statement runs in a transaction of its own: some of `on_connect`, such as
        SQLite's `PRAGMA journal_mode`, are refused inside one."""
        self._set_types(connection)
        if self.server.driver.query_timeout:
            connection.timeout = self._limits.statement
        for statement in self.server.driver.session:
            connection.execute(statement).close()
        lacks = list(self._try_settings(connection))
        for statement in (*self._settings.on_connect, *self.server.dialect.session_forced):
            connection.execute(statement).close()
        for demand in self.server.dialect.demands:
            found = answer(connection, demand.query)
            if not re.search(demand.pattern, found):
                text = demand.why.format(found or "empty")
                raise Failed(Failure(Kind.CONFIGURATION, "session", text, "database.on_connect"))
        if self.server.driver is UNKNOWN_DRIVER:
            lacks += self._try_driver(connection)
        lacks += self._try_questions(connection)
        lacks += self._begin(connection)
        self.server.lacks = tuple(lacks)

    def _set_types(self, connection: pyodbc.Connection) -> None:
        if self.server.driver.utf8:
            _use_utf8(connection)
        for sqltype, convert in self.server.driver.converters.items():
            connection.add_output_converter(sqltype, convert)
        if hasattr(connection, "decimal_mode"):  # `binary` of pyodbc 5.5 leaks 48 bytes a value, and ends at 38 digits
            connection.decimal_mode = "text"

    def _try_settings(self, connection: pyodbc.Connection) -> Iterator[str]:
        """Give the session its settings; yield what there is not, because the server does not know the setting."""
        clock = self._settings.clock
        words = {**self._limits.words(), "zone": "UTC" if clock is None else str(clock.zone)}
        for setting in self.server.dialect.session:
            if why := self._refused(connection, setting.statement.format(**words)):
                self.server.dialect = replace(self.server.dialect, **setting.without)
                yield f"{setting.lost}: {why}"

    def _try_driver(self, connection: pyodbc.Connection) -> Iterator[str]:
        from dbconnector.odbc.driver_trial import try_driver  # late: most drivers are known

        def ask(sql: str, value: Any) -> Any:
            with contextlib.closing(connection.cursor()) as cursor:
                return cursor.execute(sql, (value,)).fetchall()[0][0]

        trial = try_driver(ask, lambda: _use_utf8(connection), self.server.versions)
        self.server.proven = trial.understood
        self.server.dialect = replace(
            self.server.dialect, checks=tuple((limit.type, limit.refuse) for limit in trial.limits)
        )
        yield from (f"the driver alters {limit.what}, so they are refused" for limit in trial.limits)

    def _try_questions(self, connection: pyodbc.Connection) -> Iterator[str]:
        """Ask the catalogue about a table that need not be there; yield what cannot be known."""
        for name in QUESTIONS:
            question = getattr(self.server.dialect, name)("connector")
            why = self._refused(connection, *question) if question is not None else ""
            if why and not re.search(self.server.dialect.no_table, why):
                yield self.server.without(name, why)

    def _begin(self, connection: pyodbc.Connection) -> Iterator[str]:
        """Turn transactions on; yield what there is not, because they or savepoints are unknown."""
        try:
            connection.autocommit = False
        except pyodbc.Error as error:
            self.server.transactions = False
            self.server.dialect = replace(self.server.dialect, savepoints=None)
            yield f"nothing can be written, because there are no transactions: {self._refusal(error)}"
            return
        self.server.transactions = True
        words = self.server.dialect.savepoints
        if words is not None:
            why = self._refused(connection, words.set.format("connector"))
            if why := why or self._refused(connection, words.back.format("connector")):
                self.server.dialect = replace(self.server.dialect, savepoints=None)
                yield f"a refused message costs its batch more transactions, because there are no savepoints: {why}"
        connection.rollback()

    def _refused(self, connection: pyodbc.Connection, sql: str, parameters: Sequence[str] = ()) -> str:
        """Try a statement; return why the server refuses it, "" if it does not. Raise pyodbc.Error for an outage."""
        try:
            with contextlib.closing(connection.cursor()) as cursor:
                cursor.execute(sql, *([parameters] if parameters else []))
        except pyodbc.Error as error:
            return self._refusal(error)
        return ""

    def _refusal(self, error: pyodbc.Error) -> str:
        """Return the text of a refusal; raise an error that is none."""
        failure = self.guard.failed(error, "").failure
        if failure.kind in (Kind.UNAVAILABLE, Kind.RETRY):
            raise error
        return failure.text


def missing_file(dialect: Dialect, keywords: Mapping[str, str]) -> str:
    """Return the missing file of a database that is a file, "" if it is there: connecting would make it."""
    wanted = dialect.file_keyword.lower()
    name = next((value for key, value in keywords.items() if wanted and key.lower() == wanted), "")
    return "" if not name or name.startswith((":", "file:")) or Path(name).exists() else name


def _given_keywords(settings: DatabaseSettings) -> dict[str, str]:
    connection = settings.connection
    if not isinstance(connection, str):
        return {key: str(value) for key, value in connection.items()}
    try:
        return connection_string.split_connection(connection)
    except ValueError as error:
        raise Failed(Failure(Kind.CONFIGURATION, "connection", str(error), "database.connection")) from None


def _driver_name(given: Mapping[str, str]) -> str:
    """Return the name of the driver that the keywords name, through the data source if they name that."""
    keys = {key.lower(): value for key, value in given.items()}
    if "driver" in keys:
        return keys["driver"]
    return str(pyodbc.dataSources().get(keys.get("dsn", ""), ""))


def _use_utf8(connection: pyodbc.Connection) -> None:
    connection.setencoding(encoding="utf-8", ctype=pyodbc.SQL_CHAR)
    for sqltype in (pyodbc.SQL_CHAR, pyodbc.SQL_WCHAR):
        connection.setdecoding(sqltype, encoding="utf-8", ctype=pyodbc.SQL_CHAR)
