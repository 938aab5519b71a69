"""One connection to an ODBC database, used by one thread. The only module that imports pyodbc.

Every error is raised as `Failed`. After a *reject* the caller has to call `rollback_to` or `rollback`; any other
failure discards the connection. Until then `commit` refuses, because psqlodbc would report success although the server
has rolled back, and on a dead connection as well.
"""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyodbc

from connectorlib.errors import Failed, Failure, Kind
from dbconnector import dialects
from dbconnector.binder import make_binder
from dbconnector.columns import Column
from dbconnector.dialects import GENERIC, UNKNOWN_DRIVER, Dialect, Driver, sqlstate
from dbconnector.dialects.base import Savepoints
from dbconnector.dialects.fetch_plan import FetchPlan, describing
from dbconnector.odbc import connection_string
from dbconnector.odbc.connection_string import TimeLimits
from dbconnector.odbc.cursors import Cursors, columns_of, drain, hidden_error, is_single
from dbconnector.settings import DatabaseSettings
from dbconnector.sql import Statement, Target

# With pooling a session that was discarded would come back, dead or in the middle of a transaction.
pyodbc.pooling = False

#: Seconds past the driver's own time limits after which a call counts as stuck.
GRACE = 30.0
CLOSING = 2.0  # seconds to wait for an orderly end of a connection

_BAD_VALUES = (UnicodeError, OverflowError, ValueError, TypeError)
_RETURNING = re.compile(r"\b(RETURNING|OUTPUT)\b", re.IGNORECASE)
_NO_RETURNING = (
    "this driver does not hand out the row of RETURNING; name a statement after it instead that reads the key,"
    " such as SELECT last_insert_rowid() AS id"
)


class AlreadyThere(Failed):
    """A reject whose code the configuration declares `done`: if one message alone causes it, its rows exist already."""


class Duplicate(Failed):
    """A reject by a unique key."""


class Database:
    """A connection that is opened when it is needed and discarded after a failure."""

    def __init__(self, settings: DatabaseSettings, *, reading: bool = False, limits: TimeLimits | None = None) -> None:
        self._settings = settings
        self._reading = reading
        self._limits = limits or TimeLimits()
        self._connection: pyodbc.Connection | None = None
        self._cursors: Cursors | None = None
        self._failure: Failure | None = None
        self._in_transaction = False
        #: When the connection was opened (monotonic), and how many were opened so far.
        self.connected_since: float | None = None
        self.opened = 0
        #: The cursor of an open query that any other statement would end (see `Driver.streams_exclusively`).
        self._exclusive: pyodbc.Cursor | None = None
        self._plans: dict[str, FetchPlan] = {}
        self._columns: dict[Target, Column] = {}
        #: Monotonic time at which the call in progress counts as stuck; None while there is none.
        self.deadline: float | None = None
        self.busy_since: float | None = None
        #: What the driver and the server report of themselves, once connected.
        self.versions = ""
        self.dialect: Dialect = GENERIC
        self.driver: Driver = UNKNOWN_DRIVER
        self._given = self._given_keywords()
        self.dialect, self.driver = dialects.find_driver(_driver_name(self._given))

    def __repr__(self) -> str:
        return f"<Database {self.driver.name}, {'connected' if self.connected else 'not connected'}>"

    # --- connection -------------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        return self._connection is not None

    @property
    def keywords(self) -> Mapping[str, str]:
        """The connection's keywords, defaults included; holds the password: see `connection_string.hide_secrets`."""
        return connection_string.merge_defaults(self.driver, self._given, self._limits, reading=self._reading)

    def connect(self) -> None:
        """Open the connection unless it is open, and roll back an unfinished transaction. Raise Failed."""
        if self._connection is not None:
            self.rollback()
        if self._connection is None:
            self._failure = None
            self._columns.clear()
            self._plans.clear()
            self._connection = self._open()
            self._cursors = Cursors(self._connection, self.driver.bmp_only)
            self.connected_since, self.opened = time.monotonic(), self.opened + 1

    def close(self) -> None:
        """Close the connection; what is not committed is rolled back. Wait a moment, but not for a dead network."""
        if (closing := self._discard()) is not None:
            closing.join(CLOSING)
        self._failure = None

    def probe(self) -> None:
        """Raise Failed unless the database answers on a new connection."""
        connection = self._open()
        try:
            with self._guarded("database", self._limits.statement, discard=False):
                connection.execute(f"SELECT 1{self.dialect.from_dual}").fetchall()
        finally:
            Cursors(connection).close()

    def stuck(self) -> str | None:
        """Return what is stuck if a call is past its deadline; for the watchdog, from any thread."""
        deadline, since = self.deadline, self.busy_since
        if deadline is None or since is None or time.monotonic() < deadline:
            return None
        return f"a database call has been running for {time.monotonic() - since:.0f} s"

    # --- statements -------------------------------------------------------------------------------------------------

    def execute(self, sql: str, parameters: Sequence[Any] = (), *, place: str = "") -> int:
        """Run one statement in the transaction and return how many rows it changed; -1 if the driver does not count."""
        with self._guarded(place, self._limits.statement):
            cursor = self._run(sql, parameters)
            count: int = cursor.rowcount
            drain(cursor, self._check, single=self.dialect.one_result and is_single(sql))
        return count

    def execute_returning(
        self, sql: str, parameters: Sequence[Any] = (), *, place: str = ""
    ) -> tuple[int, dict[str, Any] | None]:
        """Run one statement; return its row count and the first row of its result by lower-case column name."""
        if not self.driver.returning and _RETURNING.search(sql):
            raise Failed(Failure(Kind.CONFIGURATION, "no-returning", _NO_RETURNING, place))
        with self._guarded(place, self._limits.statement):
            try:
                cursor = self._run(sql, parameters)
            except pyodbc.Error:
                # Used again after an error, MariaDB's loses the connection ("Server has gone away").
                self._open_cursors.forget(self._open_cursors.prepared(sql))
                raise
            count, found = cursor.rowcount, columns_of(cursor, self.driver.widens_names)
            row = cursor.fetchone() if found else None
            drain(cursor, self._check, single=self.dialect.one_result and is_single(sql))
        if row is None:
            return count, None
        return count, {name.lower(): value for (name, _), value in zip(found, row, strict=True)}

    def binder(self, statement: Statement, *, place: str = "") -> Callable[[Sequence[Any]], tuple[Any, ...]]:
        """Return the function that makes a row of values fit for this statement's parameters (see `binder`).

        The database is asked for the type of each column once.
        """
        kinds = [self._column(target) for target in statement.targets]
        if not self._in_transaction and self._exclusive is None:
            self.rollback()  # the question has begun a transaction, in which SQLite could not write
        return make_binder(self.dialect, kinds, statement.names, place)

    def query(
        self, sql: str, parameters: Sequence[Any] = (), *, fetch: int = 1000, place: str = "query"
    ) -> Iterator[tuple[tuple[str, ...], list[tuple[Any, ...]]]]:
        """Run a query and yield its rows in batches of `fetch`, with the column names.

        The cursor is closed when the iterator ends or is closed. Memory is bounded if `driver.streams`.
        """
        with self._guarded(place, self._limits.statement):
            plan = self._plan(sql, parameters)
            cursor, cursors = self._start(plan.sql, parameters), self._open_cursors
        try:
            if cursor.description is None:
                raise Failed(Failure(Kind.CONFIGURATION, "no-rows", "the query gives no rows", place))
            names = plan.names or tuple(name for name, _ in columns_of(cursor, self.driver.widens_names))
            stream = self._exclusive
            while True:
                if self._exclusive is not stream:
                    raise Failed(Failure(Kind.UNKNOWN, "stream-cut", "the query was cut short by a rollback", place))
                with self._guarded(place, self._limits.statement):
                    rows = plan.rows(cursor.fetchmany(fetch))
                if not rows:
                    return
                yield names, rows
        finally:
            self._exclusive = None
            if self._cursors is cursors:  # else it was closed together with its connection
                with contextlib.suppress(pyodbc.Error):
                    cursors.release(cursor)

    # --- transactions -----------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Commit. Raise Failed if that fails or if an error has not been rolled back."""
        with self._guarded("commit", self._limits.statement):
            self._live().commit()
            self._in_transaction = False

    def rollback(self) -> None:
        """Roll back and forget the last error. A connection on which that fails is discarded; nothing is raised."""
        self._failure = self._exclusive = None
        self._in_transaction = False
        if self._connection is None:
            return
        try:
            with self._guarded("rollback", self._limits.statement):
                self._connection.rollback()
        except Failed:
            self._discard()
            self._failure = None

    def savepoint(self, name: str) -> None:
        self.execute(self._savepoints.set.format(name), place="savepoint")

    def rollback_to(self, name: str) -> bool:
        """Undo all since the savepoint, and forget the last reject; return whether the savepoint still exists."""
        self._failure = None
        self.execute(self._savepoints.back.format(name), place="savepoint")
        return self._savepoints.stay

    # --- within -----------------------------------------------------------------------------------------------------

    @property
    def _savepoints(self) -> Savepoints:
        if self.dialect.savepoints is None:
            raise RuntimeError(f"{self.driver.name}: savepoints are not known to be safe")
        return self.dialect.savepoints

    def _column(self, target: Target | None) -> Column:
        if target is None:
            return Column.UNKNOWN
        if target not in self._columns:
            self._columns[target] = self._ask_type(target)
        return self._columns[target]

    def _ask_type(self, target: Target) -> Column:
        """Return the class of a column; UNKNOWN if the database does not know it, as the statement will then report."""
        question = self.dialect.type_query(target.table, target.column)
        if question is None:
            return Column.UNKNOWN
        query, parameters = question
        # Through another connection while a query is open that any statement would end.
        connection = self._live() if self._exclusive is None else self._open()
        with self._guarded("database", self._limits.statement), contextlib.closing(connection.cursor()) as cursor:
            row = cursor.execute(query, parameters).fetchone()
        if connection is not self._connection:
            Cursors(connection).close()
        return self.dialect.column_class(row[0]) if row else Column.UNKNOWN

    def _plan(self, sql: str, parameters: Sequence[Any]) -> FetchPlan:
        """Return how to run a query so that its values arrive exactly; as it is if it cannot be described."""
        if self.dialect.fetch_plan is None:
            return FetchPlan(sql)
        if sql not in self._plans:
            described = self._describe(sql, parameters)
            self._plans[sql] = self.dialect.fetch_plan(sql, described) if described else FetchPlan(sql)
        return self._plans[sql]

    def _describe(self, sql: str, parameters: Sequence[Any]) -> list[tuple[str, type]] | None:
        """Return name and Python type of each column of a query; None if it is not a plain SELECT, or contains a
        mistake, which is reported when it is run."""
        connection, words = self._live(), self._savepoints
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(words.set.format("describe"))
            try:
                cursor.execute(describing(sql), *([parameters] if parameters else []))
                found = columns_of(cursor, self.driver.widens_names)
            except pyodbc.Error:
                found = None
                cursor.execute(words.back.format("describe"))
            cursor.execute(words.release.format("describe"))
        if not self._in_transaction:
            connection.rollback()
        return found

    def _start(self, sql: str, parameters: Sequence[Any]) -> pyodbc.Cursor:
        """Execute a query on a cursor of its own, in bounded memory if that is possible."""
        connection = self._live()
        exclusive = self.driver.streams_exclusively and self._reading and not parameters and not self._in_transaction
        connection.autocommit = exclusive
        self._in_transaction = not exclusive
        cursor = self._open_cursors.open(sql)
        self._exclusive = cursor if exclusive else None
        return self._executed(cursor, sql, parameters)

    def _given_keywords(self) -> dict[str, str]:
        connection = self._settings.connection
        if not isinstance(connection, str):
            return {key: str(value) for key, value in connection.items()}
        try:
            return connection_string.split_connection(connection)
        except ValueError as error:
            raise Failed(Failure(Kind.CONFIGURATION, "connection", str(error), "database.connection")) from None

    def _open(self) -> pyodbc.Connection:
        with self._guarded("database", self._limits.login + self._limits.socket, connecting=True):
            text = connection_string.join_connection(self.keywords)
            connection = pyodbc.connect(text, autocommit=True, timeout=self._limits.login)
        try:
            with self._guarded("database.on_connect", self._limits.statement, discard=False):
                self._prepare(connection)
        except Failed:
            Cursors(connection).close()
            raise
        return connection

    def _prepare(self, connection: pyodbc.Connection) -> None:
        """Set up a new connection. Each statement runs in a transaction of its own: some of `on_connect`, such as
        SQLite's `PRAGMA journal_mode`, are refused inside one."""
        self._identify(connection.getinfo)
        self._set_types(connection)
        session = connection_string.session_statements(self.dialect, self.driver, self._limits)
        for statement in (*session, *self._settings.on_connect):
            connection.execute(statement).close()
        connection.autocommit = False

    def _identify(self, ask: Callable[[int], Any]) -> None:
        """Learn from the connection what server and driver it has; the driver if the keywords did not name it."""
        library = ask(pyodbc.SQL_DRIVER_NAME)
        if self.driver is UNKNOWN_DRIVER:
            self.dialect, self.driver = dialects.find_driver(f"{library}")
        server = f"{ask(pyodbc.SQL_DBMS_NAME)} {ask(pyodbc.SQL_DBMS_VER)}"
        self.versions = f"{server} through {library} {ask(pyodbc.SQL_DRIVER_VER)}"

    def _set_types(self, connection: pyodbc.Connection) -> None:
        if self.driver.utf8:
            connection.setencoding(encoding="utf-8", ctype=pyodbc.SQL_CHAR)
            for sqltype in (pyodbc.SQL_CHAR, pyodbc.SQL_WCHAR):
                connection.setdecoding(sqltype, encoding="utf-8", ctype=pyodbc.SQL_CHAR)
        for sqltype, convert in self.driver.converters.items():
            connection.add_output_converter(sqltype, convert)
        if hasattr(connection, "decimal_mode"):  # `binary` of pyodbc 5.5 leaks 48 bytes a value, and ends at 38 digits
            connection.decimal_mode = "text"

    def _discard(self) -> threading.Thread | None:
        """Give up the connection in whatever state it is; return the thread that closes it."""
        if self._cursors is None:
            return None
        cursors, self._connection, self._cursors, self._exclusive = self._cursors, None, None, None
        self._in_transaction, self.connected_since = False, None
        return cursors.close()

    def _live(self) -> pyodbc.Connection:
        """Return the connection, or raise Failed: there is none, or an error has not been rolled back."""
        if self._failure is not None:
            text = f"an earlier statement failed and was not rolled back: {self._failure.code}"
            raise Failed(Failure(Kind.UNKNOWN, "not-rolled-back", text, self._failure.place))
        if self._connection is None:
            raise Failed(Failure(Kind.UNAVAILABLE, "not-connected", "there is no connection to the database"))
        if self._exclusive is not None:
            raise Failed(Failure(Kind.UNKNOWN, "stream-open", "another statement would cut the open query short"))
        return self._connection

    def _run(self, sql: str, parameters: Sequence[Any]) -> pyodbc.Cursor:
        connection = self._live()
        if connection.autocommit:
            connection.autocommit = False
        self._in_transaction = True
        return self._executed(self._open_cursors.prepared(sql), sql, parameters)

    def _executed(self, cursor: pyodbc.Cursor, sql: str, parameters: Sequence[Any]) -> pyodbc.Cursor:
        self._check(cursor.execute(sql, *([parameters] if parameters else [])))
        return cursor

    def _check(self, cursor: pyodbc.Cursor) -> None:
        """Raise the error that the driver reported as a message with a success (see `Driver.hides_errors`)."""
        if self.driver.hides_errors and (messages := cursor.messages):
            self._open_cursors.forget(cursor)  # used again, MariaDB's would wait for an answer that has already arrived
            raise pyodbc.Error(*hidden_error(messages))

    @property
    def _open_cursors(self) -> Cursors:
        assert self._cursors is not None  # as long as there is a connection
        return self._cursors

    @contextlib.contextmanager
    def _guarded(self, place: str, seconds: float, *, connecting: bool = False, discard: bool = True) -> Iterator[None]:
        """Give a call a deadline for the watchdog, and raise every error in it as Failed."""
        self.busy_since = time.monotonic()
        self.deadline = self.busy_since + seconds + GRACE
        try:
            yield
        except Failed:
            raise
        except Exception as error:  # pyodbc lets errors of any class through, plain Python ones included
            failed = self._failed(error, place, connecting)
            self._failure = failed.failure if discard and not connecting else self._failure
            if discard and failed.failure.kind is not Kind.REJECT:
                self._discard()
            # Without its traceback, so that no cursor of a discarded connection is freed in this thread: that could
            # wait for the same dead network.
            raise failed from error.with_traceback(None)
        finally:
            self.deadline = self.busy_since = None

    def _failed(self, error: Exception, place: str, connecting: bool) -> Failed:
        """Return the exception for one of pyodbc's or Python's."""
        if not isinstance(error, pyodbc.Error):
            kind, code = (Kind.REJECT, "bad-value") if isinstance(error, _BAD_VALUES) else (Kind.UNKNOWN, "driver")
            return Failed(Failure(kind, code, sqlstate.clean(f"{type(error).__name__}: {error}"), place))
        state, native, text = sqlstate.read_error(error.args)
        word = sqlstate.override(self._settings.errors, state, native)
        kind = sqlstate.overridden_kind(word) or sqlstate.classify(
            self.dialect, state, native, text, connecting=connecting
        )
        code = sqlstate.code_of(self.dialect, state, native)
        failure = Failure(kind, code, sqlstate.clean(connection_string.hide_in(text, self._given)), place)
        if word == "done":
            return AlreadyThere(failure)
        return Duplicate(failure) if sqlstate.is_duplicate(self.dialect, state, failure.text) else Failed(failure)


def _driver_name(given: Mapping[str, str]) -> str:
    """Return the name of the driver that the keywords name, through the data source if they name that."""
    keys = {key.lower(): value for key, value in given.items()}
    if "driver" in keys:
        return keys["driver"]
    return str(pyodbc.dataSources().get(keys.get("dsn", ""), ""))
