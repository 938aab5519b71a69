"""One connection to an ODBC database, used by one thread. The only module that imports pyodbc.

Every error leaves as `Failed`. The rule after one: a *reject* leaves the transaction to `rollback_to` or `rollback`;
any other failure discards the connection. `commit` refuses while an error stands, because psqlodbc would answer
"done" although the server has rolled back, and on a dead connection as well.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyodbc

from connectorlib.errors import Failed, Failure, Kind
from dbconnector import bind_values, columns, drivers, fetch_plan, sqlstate
from dbconnector.drivers import Driver
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


class AlreadyThere(Failed):
    """A reject whose code the configuration declares `done`: for a message that stands alone, its rows are there."""


class Database:
    """A connection that is made when it is needed and thrown away when it failed."""

    def __init__(self, settings: DatabaseSettings, *, reading: bool = False, limits: TimeLimits | None = None) -> None:
        self._settings = settings
        self._reading = reading
        self._limits = limits or TimeLimits()
        self._connection: pyodbc.Connection | None = None
        self._cursors: Cursors | None = None
        self._failure: Failure | None = None
        self._in_transaction = False
        #: Since when there is a connection (monotonic), and how many there were.
        self.connected_since: float | None = None
        self.opened = 0
        #: The cursor of a stream beside which nothing else may run (see `_start`).
        self._alone: pyodbc.Cursor | None = None
        self._fetches: dict[str, fetch_plan.Fetch] = {}
        self._columns: dict[Target, columns.Column] = {}
        #: Monotonic time at which the call in progress counts as stuck; None while there is none.
        self.deadline: float | None = None
        self.busy_since: float | None = None
        #: What the driver and the server say of themselves, once connected.
        self.versions = ""
        self.driver: Driver = drivers.GENERIC
        self._own = self._own_keywords()
        self.driver = drivers.find_driver(_driver_name(self._own))

    def __repr__(self) -> str:
        return f"<Database {self.driver.name}, {'connected' if self.connected else 'not connected'}>"

    # --- connection -------------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        return self._connection is not None

    @property
    def keywords(self) -> Mapping[str, str]:
        """The connection's keywords, defaults included; holds the password: see `connection_string.hide_secrets`."""
        return connection_string.merge_defaults(self.driver, self._own, self._limits, reading=self._reading)

    def connect(self) -> None:
        """Open the connection unless it is open; leave behind an unfinished transaction. Raise Failed."""
        if self._connection is not None:
            self.rollback()
        if self._connection is None:
            self._failure = None
            self._columns.clear()
            self._fetches.clear()
            self._connection = self._open()
            self._cursors = Cursors(self._connection, self.driver.bmp_only)
            self.connected_since, self.opened = time.monotonic(), self.opened + 1

    def close(self) -> None:
        """Close the connection; what is not committed is rolled back. Waits a moment, but not for a dead link."""
        if (closing := self._discard()) is not None:
            closing.join(CLOSING)
        self._failure = None

    def probe(self) -> None:
        """Ask a fresh connection whether the database answers. Raise Failed if not."""
        connection = self._open()
        try:
            with self._calling("database", self._limits.statement, discard=False):
                connection.execute("SELECT 1" + " FROM DUAL" * (self.driver.kind == "oracle")).fetchall()
        finally:
            Cursors(connection).close()

    def stuck(self) -> str | None:
        """Return what hangs when a call is past its deadline; for the watchdog, callable from any thread."""
        deadline, since = self.deadline, self.busy_since
        if deadline is None or since is None or time.monotonic() < deadline:
            return None
        return f"a database call has been running for {time.monotonic() - since:.0f} s"

    # --- statements -------------------------------------------------------------------------------------------------

    def execute(self, sql: str, parameters: Sequence[Any] = (), *, place: str = "") -> int:
        """Run one statement in the transaction and return how many rows it changed (-1: the driver does not say)."""
        with self._calling(place, self._limits.statement):
            cursor = self._run(sql, parameters)
            count: int = cursor.rowcount
            drain(cursor, self._check, single=self.driver.one_result and is_single(sql))
        return count

    def execute_returning(
        self, sql: str, parameters: Sequence[Any] = (), *, place: str = ""
    ) -> tuple[int, dict[str, Any] | None]:
        """Run one statement; return its row count and the first row it gives, by column name in lower case."""
        if not self.driver.returning and drivers.RETURNING.search(sql):
            raise Failed(Failure(Kind.CONFIGURATION, "no-returning", drivers.NO_RETURNING, place))
        with self._calling(place, self._limits.statement):
            cursor = self._run(sql, parameters)
            count, found = cursor.rowcount, columns_of(cursor, self.driver.widens_names)
            row = cursor.fetchone() if found else None
            drain(cursor, self._check, single=self.driver.one_result and is_single(sql))
        if row is None:
            return count, None
        return count, {name.lower(): value for (name, _), value in zip(found, row, strict=True)}

    def binder(self, statement: Statement, *, place: str = "") -> Callable[[Sequence[Any]], tuple[Any, ...]]:
        """Return the function that makes a row of values fit for this statement's parameters (see `values`).

        Asks the database for the types of the columns they go into, once each.
        """
        kinds = [self._column(target) for target in statement.targets]
        if not self._in_transaction and self._alone is None:
            self.rollback()  # or the question would be the start of one: SQLite could not write in it
        return bind_values.make_binder(self.driver, kinds, statement.names, place)

    def query(
        self, sql: str, parameters: Sequence[Any] = (), *, fetch: int = 1000, place: str = "query"
    ) -> Iterator[tuple[tuple[str, ...], list[tuple[Any, ...]]]]:
        """Run a query and give its rows in batches of `fetch`, with the column names.

        The cursor is closed when the iterator ends or is closed. Memory stays bounded if `driver.streams`.
        """
        with self._calling(place, self._limits.statement):
            plan = self._fetch(sql, parameters)
            cursor, kept = self._start(plan.sql, parameters), self._kept
        try:
            if cursor.description is None:
                raise Failed(Failure(Kind.CONFIGURATION, "no-rows", "the query gives no rows", place))
            names = plan.names or tuple(name for name, _ in columns_of(cursor, self.driver.widens_names))
            alone = self._alone
            while True:
                if self._alone is not alone:
                    raise Failed(Failure(Kind.UNKNOWN, "stream-cut", "the query was cut short by a rollback", place))
                with self._calling(place, self._limits.statement):
                    rows = plan.rows(cursor.fetchmany(fetch))
                if not rows:
                    return
                yield names, rows
        finally:
            self._alone = None
            if self._cursors is kept:  # else its connection was discarded, and it with that
                with contextlib.suppress(pyodbc.Error):
                    kept.release(cursor)

    # --- transactions -----------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Commit. Raise Failed if that fails or if an error has not been rolled back (see the module's rule)."""
        with self._calling("commit", self._limits.statement):
            self._live().commit()
            self._in_transaction = False

    def rollback(self) -> None:
        """Roll back and forget the last error. Never raises: a connection that cannot is discarded."""
        self._failure = self._alone = None
        self._in_transaction = False
        if self._connection is None:
            return
        try:
            with self._calling("rollback", self._limits.statement):
                self._connection.rollback()
        except Failed:
            self._discard()
            self._failure = None

    def savepoint(self, name: str) -> None:
        self.execute(self._savepoints.set.format(name), place="savepoint")

    def rollback_to(self, name: str) -> bool:
        """Undo everything since the savepoint, the last reject included; return whether the savepoint still stands."""
        self._failure = None
        self.execute(self._savepoints.back.format(name), place="savepoint")
        return self._savepoints.stay

    # --- within -----------------------------------------------------------------------------------------------------

    @property
    def _savepoints(self) -> drivers.Savepoints:
        if self.driver.savepoints is None:
            raise RuntimeError(f"{self.driver.name}: savepoints are not known to be safe")
        return self.driver.savepoints

    def _column(self, target: Target | None) -> columns.Column:
        if target is None:
            return columns.Column.UNKNOWN
        if target not in self._columns:
            self._columns[target] = self._ask_type(target)
        return self._columns[target]

    def _ask_type(self, target: Target) -> columns.Column:
        """Return the class of a column; UNKNOWN if the database will not say. The statement itself will then."""
        question = columns.type_question(self.driver.kind, target.table, target.column)
        if question is None:
            return columns.Column.UNKNOWN
        query, parameters = question
        # Beside a stream that nothing may run beside, through another connection.
        connection = self._live() if self._alone is None else self._open()
        with self._calling("database", self._limits.statement), contextlib.closing(connection.cursor()) as cursor:
            row = cursor.execute(query, parameters).fetchone()
        if connection is not self._connection:
            Cursors(connection).close()
        return columns.column_class(self.driver.kind, row[0]) if row else columns.Column.UNKNOWN

    def _fetch(self, sql: str, parameters: Sequence[Any]) -> fetch_plan.Fetch:
        """Return how to run a query so that its values come out exactly; as it is if it cannot be described."""
        if not fetch_plan.has_plan(self.driver):
            return fetch_plan.Fetch(sql, ())
        if sql not in self._fetches:
            described = self._describe(sql, parameters)
            self._fetches[sql] = (
                fetch_plan.plan(self.driver, sql, described) if described else fetch_plan.Fetch(sql, ())
            )
        return self._fetches[sql]

    def _describe(self, sql: str, parameters: Sequence[Any]) -> list[tuple[str, type]] | None:
        """Return name and Python type of each column of a query, or None: it is not a plain SELECT, or wrong (which
        shows when it is run)."""
        connection = self._live()
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute("SAVEPOINT describe")
            try:
                cursor.execute(fetch_plan.describing(sql), *([parameters] if parameters else []))
                found = columns_of(cursor, self.driver.widens_names)
            except pyodbc.Error:
                found = None
                cursor.execute("ROLLBACK TO SAVEPOINT describe")
            cursor.execute("RELEASE SAVEPOINT describe")
        if not self._in_transaction:
            connection.rollback()
        return found

    def _start(self, sql: str, parameters: Sequence[Any]) -> pyodbc.Cursor:
        """Execute a query on a cursor of its own.

        sqliteodbc reads a result row by row (StepAPI) only outside a transaction and without parameters, else all of
        it into memory. And it ends such a result, as if there were no more rows, when any other statement is run.
        """
        connection = self._live()
        alone = self.driver.kind == "sqlite" and self._reading and not parameters and not self._in_transaction
        connection.autocommit = alone
        self._in_transaction = not alone
        cursor = self._kept.open(sql)
        self._alone = cursor if alone else None
        return self._executed(cursor, sql, parameters)

    def _own_keywords(self) -> dict[str, str]:
        connection = self._settings.connection
        if not isinstance(connection, str):
            return {key: str(value) for key, value in connection.items()}
        try:
            return connection_string.split_connection(connection)
        except ValueError as error:
            raise Failed(Failure(Kind.CONFIGURATION, "connection", str(error), "database.connection")) from None

    def _open(self) -> pyodbc.Connection:
        with self._calling("database", self._limits.login + self._limits.socket, connecting=True):
            text = connection_string.join_connection(self.keywords)
            connection = pyodbc.connect(text, autocommit=True, timeout=self._limits.login)
        try:
            with self._calling("database.on_connect", self._limits.statement, discard=False):
                self._prepare(connection)
        except Failed:
            Cursors(connection).close()
            raise
        return connection

    def _prepare(self, connection: pyodbc.Connection) -> None:
        """Make a new connection what the rest of this class expects; statements of `on_connect` run on their own,
        for some of them (SQLite's `PRAGMA journal_mode`) are refused inside a transaction."""
        ask = connection.getinfo
        library = ask(pyodbc.SQL_DRIVER_NAME)
        found = drivers.find_driver(f"{library}")
        if self.driver is drivers.GENERIC and found is not drivers.GENERIC:
            self.driver = found
        if self.driver.utf8:
            connection.setencoding(encoding="utf-8", ctype=pyodbc.SQL_CHAR)
            for sqltype in (pyodbc.SQL_CHAR, pyodbc.SQL_WCHAR):
                connection.setdecoding(sqltype, encoding="utf-8", ctype=pyodbc.SQL_CHAR)
        server = f"{ask(pyodbc.SQL_DBMS_NAME)} {ask(pyodbc.SQL_DBMS_VER)}"
        self.versions = f"{server} through {library} {ask(pyodbc.SQL_DRIVER_VER)}"
        for sqltype, convert in fetch_plan.CONVERTERS.get(self.driver.kind, {}).items():
            connection.add_output_converter(sqltype, convert)
        if hasattr(connection, "decimal_mode"):  # `binary` of pyodbc 5.5 leaks 48 bytes a value, and ends at 38 digits
            connection.decimal_mode = "text"
        for statement in (*connection_string.session_statements(self.driver, self._limits), *self._settings.on_connect):
            connection.execute(statement).close()
        connection.autocommit = False

    def _discard(self) -> threading.Thread | None:
        """Let go of the connection, whatever state it is in; return the thread that closes it."""
        if self._cursors is None:
            return None
        cursors, self._connection, self._cursors, self._alone = self._cursors, None, None, None
        self._in_transaction, self.connected_since = False, None
        return cursors.close()

    def _live(self) -> pyodbc.Connection:
        """Return the connection, or raise Failed: there is none, or an error has not been rolled back."""
        if self._failure is not None:
            text = f"an earlier statement failed and was not rolled back: {self._failure.code}"
            raise Failed(Failure(Kind.UNKNOWN, "not-rolled-back", text, self._failure.place))
        if self._connection is None:
            raise Failed(Failure(Kind.UNAVAILABLE, "not-connected", "there is no connection to the database"))
        if self._alone is not None:
            raise Failed(Failure(Kind.UNKNOWN, "stream-open", "another statement would cut the open query short"))
        return self._connection

    def _run(self, sql: str, parameters: Sequence[Any]) -> pyodbc.Cursor:
        connection = self._live()
        if connection.autocommit:
            connection.autocommit = False
        self._in_transaction = True
        return self._executed(self._kept.prepared(sql), sql, parameters)

    def _executed(self, cursor: pyodbc.Cursor, sql: str, parameters: Sequence[Any]) -> pyodbc.Cursor:
        self._check(cursor.execute(sql, *([parameters] if parameters else [])))
        return cursor

    def _check(self, cursor: pyodbc.Cursor) -> None:
        """Raise what the driver said beside a success if that is an error (see `Driver.hides_errors`)."""
        if self.driver.hides_errors and (messages := cursor.messages):
            self._kept.forget(cursor)  # used again, MariaDB's would wait for an answer that has come already
            raise pyodbc.Error(*hidden_error(messages))

    @property
    def _kept(self) -> Cursors:
        assert self._cursors is not None  # as long as there is a connection
        return self._cursors

    @contextlib.contextmanager
    def _calling(self, place: str, seconds: float, *, connecting: bool = False, discard: bool = True) -> Iterator[None]:
        """Bound a call for the watchdog and turn whatever goes wrong in it into Failed."""
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
            # Without its traceback, so that no cursor of a discarded connection is freed in this thread: that
            # could wait for the same dead link.
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
            self.driver, state, native, text, connecting=connecting
        )
        code = sqlstate.code_of(self.driver, state, native)
        failure = Failure(kind, code, sqlstate.clean(connection_string.hide_in(text, self._own)), place)
        return AlreadyThere(failure) if word == "done" else Failed(failure)


def _driver_name(own: Mapping[str, str]) -> str:
    """Return the name of the driver that the keywords mean, through the data source if they name one."""
    keys = {key.lower(): value for key, value in own.items()}
    if "driver" in keys:
        return keys["driver"]
    return str(pyodbc.dataSources().get(keys.get("dsn", ""), ""))
