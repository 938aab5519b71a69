"""One connection to an ODBC database, used by one thread.

Every error is raised as `Failed`. After a *reject* the caller has to call `rollback_to` or `rollback`; any other
failure discards the connection. Until then `commit` refuses, because psqlodbc would report success although the server
has rolled back, and on a dead connection as well.
"""

import contextlib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyodbc

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.service import logs
from dbconnector import dialects
from dbconnector.binder import make_binder
from dbconnector.columns import UNKNOWN, ColumnType, plain_name
from dbconnector.dialects import GENERIC, UNKNOWN_DRIVER, Dialect, Driver, sqlstate
from dbconnector.dialects.base import ALTERED, Query, Savepoints
from dbconnector.dialects.fetch_plan import FetchPlan, describing, shortest_single
from dbconnector.odbc import connection_string
from dbconnector.odbc.connection_string import TimeLimits
from dbconnector.odbc.cursors import Cursors, ResultColumn, columns_of, drain, hidden_error, is_single
from dbconnector.odbc.driver_trial import try_driver
from dbconnector.settings import DatabaseSettings
from dbconnector.sql import Statement, Target, only_reads

# With pooling a session that was discarded would come back, dead or in the middle of a transaction.
pyodbc.pooling = False

#: Seconds past the driver's own time limits after which a call counts as stuck.
GRACE = 30.0
#: Seconds without a call after which a connection is asked for a sign of life before it is used.
IDLE = 5.0
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
        #: Whether the statement that is run now was run on this connection before.
        self._ran_before = False
        #: When the connection was opened (monotonic), and how many were opened so far.
        self.connected_since: float | None = None
        self.opened = 0
        #: The cursor of an open query that any other statement would end (see `Driver.streams_exclusively`).
        self._exclusive: pyodbc.Cursor | None = None
        #: How statements are run that hand out a row.
        self._plans: dict[str, FetchPlan] = {}
        #: Name and type of each column of the tables that binders were made for.
        self._tables: dict[str, Sequence[tuple[str, str]]] = {}
        #: What changes with them.
        self._table_versions: dict[str, Sequence[Any]] = {}
        #: Monotonic time at which the call in progress counts as stuck; None while there is none.
        self.deadline: float | None = None
        self.busy_since: float | None = None
        #: When the last call ended (monotonic).
        self._used = time.monotonic()
        #: What the driver and the server report of themselves, once connected.
        self.versions = ""
        #: What this server does not know, each a sentence with its words for it.
        self.lacks: tuple[str, ...] = ()
        self._logged: tuple[str, tuple[str, ...]] | None = None
        #: Whether what is written can be undone. If not, nothing is.
        self.transactions = True
        #: Whether values were seen to come back from an unknown driver as they went there.
        self.proven = False
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
        """Open the connection unless it is open, and roll back an unfinished transaction. Raise Failed.

        One that was idle is asked for a sign of life first: that a server or a pooler ends such connections
        (`wait_timeout`, `idle_session_timeout`, PgBouncer) is no outage.
        """
        if self._connection is not None and self.idle:
            self._ask_for_life()
        if self._connection is not None:
            self.rollback()
        if self._connection is None:
            self._failure = None
            self._tables.clear()
            self._table_versions.clear()
            self._plans.clear()
            self._connection = self._open()
            self._cursors = Cursors(self._connection, self.driver.bmp_only)
            self.connected_since, self.opened = time.monotonic(), self.opened + 1

    @property
    def idle(self) -> bool:
        """Whether the connection has not been used for a while, so that it may have been ended meanwhile."""
        return time.monotonic() - self._used > IDLE

    def _ask_for_life(self) -> None:
        """Discard the connection if it does not answer."""
        try:
            with self._guarded("database", self._limits.statement, discard=False):
                assert self._connection is not None
                self._connection.execute(f"SELECT 1{self.dialect.from_dual}").fetchall()
        except Failed:
            self._discard()

    def log_connected(self, logger: logging.Logger) -> None:
        """Log what is connected, and what it does not know. Every failure but a reject costs the connection; in a long
        pause that is one a minute, so the same again is told for debugging only."""
        found = (self.versions, self.lacks)
        level = logging.DEBUG if found == self._logged else logging.WARNING if self.lacks else logging.INFO
        self._logged = found
        lacks = {"lacks": "; ".join(self.lacks)} if self.lacks else {}
        logs.event(logger, level, "database connected", versions=self.versions, **lacks)

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
            plan = self._returning_plan(sql, parameters)
            cursor = self._run(plan.sql, parameters)
            count, found = cursor.rowcount, columns_of(cursor, self.driver.widens_names)
            names = plan.names or tuple(column.name for column in found)
            rows = plan.rows(_exact(found, cursor.fetchmany(1))) if found else []
            drain(cursor, self._check, single=self.dialect.one_result and is_single(sql), ended=not rows)
        if not rows:
            return count, None
        return count, {name.lower(): value for name, value in zip(names, rows[0], strict=True)}

    def binder(self, statement: Statement, *, place: str = "") -> Callable[[Sequence[Any]], tuple[Any, ...]]:
        """Return the function that makes a row of values fit for this statement's parameters (see `binder`).

        The database is asked for the columns of each table once; `outdated` asks whether they are still so.
        """
        if not only_reads(statement.sql):
            self._demand_transactions()
        for table in statement.tables:
            self._described(table)
            if table in statement.written:
                self._refuse_unfit(table, place)
        kinds = [self._column(target) for target in statement.targets]
        if not self._in_transaction and self._exclusive is None:
            self.rollback()  # the question has begun a transaction, in which SQLite could not write
        return make_binder(self.dialect, kinds, statement.names, place)

    def outdated(self) -> bool:
        """Return whether a table that binders were made for has other columns since. If so the connection is discarded:
        its prepared statements, too, are for the columns that were.

        In a transaction that has written to a table the answer holds until its end, for nobody can alter that table.
        """
        versions = self._table_versions
        if self._connection is None or all(self._ask_version(table) == found for table, found in versions.items()):
            return False
        self._discard()
        return True

    def query(
        self, sql: str, parameters: Sequence[Any] = (), *, fetch: int = 1000, place: str = "query"
    ) -> Iterator[tuple[tuple[str, ...], list[tuple[Any, ...]]]]:
        """Run a query and yield its rows in batches of `fetch`, with the column names.

        The cursor is closed when the iterator ends or is closed. Memory is bounded if `driver.streams`.
        """
        with self._guarded(place, self._limits.statement):
            plan, cursor = self._start(sql, parameters)
            cursors = self._open_cursors
        try:
            if cursor.description is None:
                raise Failed(Failure(Kind.CONFIGURATION, "no-rows", "the query gives no rows", place))
            found = columns_of(cursor, self.driver.widens_names)
            names = plan.names or tuple(column.name for column in found)
            stream = self._exclusive
            while True:
                if self._exclusive is not stream:
                    raise Failed(Failure(Kind.UNKNOWN, "stream-cut", "the query was cut short by a rollback", place))
                with self._guarded(place, self._limits.statement):
                    rows = plan.rows(_exact(found, cursor.fetchmany(fetch)))
                if rows:
                    yield names, rows
                if len(rows) < fetch:  # the end: odbc-mdbtools begins anew if it is asked again
                    return
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

    def commit_unaltered(self) -> bool:
        """Commit, unless a table that binders were made for has other columns since: then return False, as `outdated`
        does True. Raise Failed as `commit` does."""
        text = self._commit_text()
        if text is None:
            if self.outdated():
                return False
            self.commit()
            return True
        with self._guarded("commit", self._limits.statement):
            self._live()
            committed = self._commit_by(text)
        self._in_transaction = False
        if not committed:
            self._discard()
        return committed

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

    def _commit_text(self) -> str | None:
        """Return what commits and asks in one round trip, if the dialect has that; None: there is no such text, or
        nothing to ask."""
        make, versions = self.dialect.commit_unaltered, self._table_versions
        if make is None or not versions or None in map(self.dialect.version_query, versions):
            return None
        return make({table: version for table, (version,) in versions.items()})

    def _commit_by(self, text: str) -> bool:
        cursor = self._open_cursors.prepared(text)
        try:
            cursor.execute(text)
            if cursor.nextset():
                return True
        except pyodbc.Error as error:
            if ALTERED in str(error):
                return False
            raise
        raise pyodbc.Error("HY000", "[HY000] the driver has not shown whether the commit was done")

    @property
    def _savepoints(self) -> Savepoints:
        if self.dialect.savepoints is None:
            raise RuntimeError(f"{self.driver.name}: savepoints are not known to be safe")
        return self.dialect.savepoints

    def _demand_transactions(self) -> None:
        if not self.transactions:
            text = "it has no transactions, so nothing is written: it could not be undone"
            raise Failed(Failure(Kind.CONFIGURATION, "no-transactions", text, "database.connection"))

    def _column(self, target: Target | None) -> ColumnType:
        """Return what the catalogue says of a column; UNKNOWN if it does not know it, as the statement will report."""
        if target is None:
            return UNKNOWN
        folds = self.dialect.folds_names
        wanted = plain_name(target.column, fold=folds)
        types = {name if folds else name.lower(): each for name, each in self._described(target.table)}
        found = types.get(wanted if folds else wanted.lower())
        if found is None:
            return UNKNOWN
        column = self.dialect.column_type(found)
        return column if target.stored else column.compared()

    def _described(self, table: str) -> Sequence[tuple[str, str]]:
        if table not in self._tables:
            found = self._ask_columns(table)
            if found:  # else it is no table, or nothing can be asked of it
                self._table_versions[table] = found
                if self._has_version(table):  # in this order: the columns are not older
                    found = self._ask_columns(table)
            self._tables[table] = found
        return self._tables[table]

    def _has_version(self, table: str) -> bool:
        """Ask for the version of a table for the first time. A server or a user that may not have it costs the faster
        question only."""
        begun = self._in_transaction
        try:
            self._table_versions[table] = self._ask_version(table, discard=False)
        except Failed as failed:
            if begun or failed.failure.kind is not Kind.CONFIGURATION:
                self._discard()
                raise
            self.rollback()
            self.lacks += (self._without("version_query", failed.failure.text),)
        return self.dialect.version_query(table) is not None

    def _ask_version(self, table: str, *, discard: bool = True) -> Sequence[Any]:
        """Return what differs once the columns of a table do."""
        question = self.dialect.version_query(table)
        if question is None:
            return self._ask_columns(table)
        found = [re.sub(self.dialect.version_noise, "", str(row[1])) for row in self._ask(question, discard=discard)]
        return self._ask_columns(table) if any(re.match(self.dialect.version_blind, each) for each in found) else found

    def _ask_columns(self, table: str) -> Sequence[tuple[str, str]]:
        """Return name and type of each column of a table; none if that is not known."""
        return [(str(name), str(kind)) for name, kind in self._ask(self.dialect.columns_query(table))]

    def _refuse_unfit(self, table: str, place: str) -> None:
        """Raise Failed if a batch that fails in this table could not be undone."""
        for (reason,) in self._ask(self.dialect.unfit_query(table)):
            raise Failed(Failure(Kind.CONFIGURATION, "table", f"{table} {reason}", place))

    def _ask(self, question: Query | None, *, discard: bool = True) -> Sequence[Sequence[Any]]:
        """Return the rows of a question to the catalogue; none if there is no question. `discard` says whether a
        refusal costs the connection."""
        if question is None:
            return ()
        query, parameters = question
        # Through another connection while a query is open that any statement would end.
        connection = self._live() if self._exclusive is None else self._open()
        with self._guarded("database", self._limits.statement, discard=discard):
            if connection is self._connection:
                return list(self._open_cursors.prepared(query).execute(query, parameters).fetchall())
            rows = connection.execute(query, parameters).fetchall()
        Cursors(connection).close()
        return list(rows)

    def _plan(self, sql: str, parameters: Sequence[Any]) -> FetchPlan:
        """Return how to run a query so that its values arrive exactly; as it is if it cannot be described.

        Asked for each run: the transaction that describes a table keeps it from being altered until the run is over.
        """
        if self.dialect.fetch_plan is None or not _reads(sql):
            return FetchPlan(sql)
        connection, words, cursors = self._live(), self.dialect.savepoints, self._open_cursors
        if self._in_transaction and words is not None:
            cursors.prepared(words.set.format("describe")).execute(words.set.format("describe"))
        cursor = cursors.open(sql)
        try:
            cursor.execute(describing(sql), *([parameters] if parameters else []))
            described = columns_of(cursor, self.driver.widens_names)
        except pyodbc.Error:  # not a plain SELECT, or with a mistake, which is reported when it is run
            described = []
            if self._in_transaction and words is not None:
                cursors.prepared(words.back.format("describe")).execute(words.back.format("describe"))
            else:
                connection.rollback()
        finally:
            cursors.release(cursor)
        return self.dialect.fetch_plan(sql, described) if described else FetchPlan(sql)

    def _returning_plan(self, sql: str, parameters: Sequence[Any]) -> FetchPlan:
        """Return how to run a statement that hands out a row. What an INSERT returns is known only once it has run: it
        is undone then."""
        if sql in self._plans:
            return self._plans[sql]
        plan = self._plan(sql, parameters)
        if self.dialect.returning_plan is not None and _RETURNING.search(sql):
            self._run(self._savepoints.set.format("describe"), ())
            cursor = self._run(sql, parameters)
            found = columns_of(cursor, self.driver.widens_names)
            drain(cursor, self._check, single=False)
            plan = self.dialect.returning_plan(sql, found)
            self._open_cursors.forget(cursor)
            self._run(self._savepoints.back.format("describe"), ())
        self._plans[sql] = plan
        return plan

    def _start(self, sql: str, parameters: Sequence[Any]) -> tuple[FetchPlan, pyodbc.Cursor]:
        """Execute a query on a cursor of its own, in bounded memory if that is possible."""
        connection = self._live()
        exclusive = self.driver.streams_exclusively and self._reading and not parameters and not self._in_transaction
        if connection.autocommit and self.transactions:
            connection.autocommit = False
        plan = self._plan(sql, parameters)
        if exclusive:
            connection.rollback()
            connection.autocommit = True
        self._in_transaction = not exclusive
        cursor = self._open_cursors.open(plan.sql)
        self._exclusive = cursor if exclusive else None
        return plan, self._executed(cursor, plan.sql, parameters)

    def _given_keywords(self) -> dict[str, str]:
        connection = self._settings.connection
        if not isinstance(connection, str):
            return {key: str(value) for key, value in connection.items()}
        try:
            return connection_string.split_connection(connection)
        except ValueError as error:
            raise Failed(Failure(Kind.CONFIGURATION, "connection", str(error), "database.connection")) from None

    def _open(self) -> pyodbc.Connection:
        used = self.keywords
        connection = self._log_in(used)
        try:
            with self._guarded("database", self._limits.statement, discard=False):
                self._identify(connection)
            if self.keywords != used:  # another server than the driver is named for
                Cursors(connection).close()
                connection = self._log_in(self.keywords)
            with self._guarded("database.on_connect", self._limits.statement, discard=False):
                self._prepare(connection)
        except Failed:
            Cursors(connection).close()
            raise
        return connection

    def _log_in(self, keywords: Mapping[str, str]) -> pyodbc.Connection:
        with self._guarded("database", self._limits.login + self._limits.socket, connecting=True):
            text = connection_string.join_connection(keywords, self.driver.braced)
            return pyodbc.connect(text, autocommit=True, timeout=self._limits.login)

    def _prepare(self, connection: pyodbc.Connection) -> None:
        """Set up a new connection. Each statement runs in a transaction of its own: some of `on_connect`, such as
        SQLite's `PRAGMA journal_mode`, are refused inside one."""
        self._set_types(connection)
        if self.driver.query_timeout:
            connection.timeout = self._limits.statement
        for statement in self.driver.session:
            connection.execute(statement).close()
        lacks = list(self._try_settings(connection))
        for statement in (*self._settings.on_connect, *self.dialect.session_forced):
            connection.execute(statement).close()
        for demand in self.dialect.demands:
            answer = _answer(connection, demand.query)
            if not re.search(demand.pattern, answer):
                text = demand.why.format(answer or "empty")
                raise Failed(Failure(Kind.CONFIGURATION, "session", text, "database.on_connect"))
        if self.driver is UNKNOWN_DRIVER:
            lacks += self._try_driver(connection)
        lacks += self._try_questions(connection)
        lacks += self._begin(connection)
        self.lacks = tuple(lacks)

    def _try_settings(self, connection: pyodbc.Connection) -> Iterator[str]:
        """Give the session its settings; yield what there is not, because the server does not know the setting."""
        for setting in self.dialect.session:
            if why := self._refused(connection, setting.statement.format(**self._limits.words())):
                self.dialect = replace(self.dialect, **setting.without)
                yield f"{setting.lost}: {why}"

    def _try_questions(self, connection: pyodbc.Connection) -> Iterator[str]:
        """Ask the catalogue about a table that need not be there; yield what cannot be known."""
        for name in _QUESTIONS:
            question = getattr(self.dialect, name)("connector")
            why = self._refused(connection, *question) if question is not None else ""
            if why and not re.search(self.dialect.no_table, why):
                yield self._without(name, why)

    def _without(self, question: str, why: str) -> str:
        """Ask this question no more; return what is lost."""
        without: Mapping[str, Any] = {question: lambda _table: None}
        self.dialect = replace(self.dialect, **without)
        return f"{_QUESTIONS[question]}: {why}"

    def _begin(self, connection: pyodbc.Connection) -> Iterator[str]:
        """Turn transactions on; yield what there is not, because they or savepoints are unknown."""
        try:
            connection.autocommit = False
        except pyodbc.Error as error:
            self.transactions = False
            self.dialect = replace(self.dialect, savepoints=None)
            yield f"nothing can be written, for there are no transactions: {self._refusal(error)}"
            return
        self.transactions = True
        words = self.dialect.savepoints
        if words is not None:
            why = self._refused(connection, words.set.format("connector"))
            if why := why or self._refused(connection, words.back.format("connector")):
                self.dialect = replace(self.dialect, savepoints=None)
                yield f"a message that is refused costs its batch more transactions, for there are no savepoints: {why}"
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
        failure = self._failed(error, "", connecting=False).failure
        if failure.kind in (Kind.UNAVAILABLE, Kind.RETRY):
            raise error
        return failure.text

    def _try_driver(self, connection: pyodbc.Connection) -> Iterator[str]:
        def ask(sql: str, value: Any) -> Any:
            with contextlib.closing(connection.cursor()) as cursor:
                return cursor.execute(sql, (value,)).fetchall()[0][0]

        trial = try_driver(ask, lambda: _use_utf8(connection), self.versions)
        self.proven = trial.understood
        self.dialect = replace(self.dialect, checks=tuple((limit.type, limit.refuse) for limit in trial.limits))
        yield from (f"the driver alters {limit.what}, so they are refused" for limit in trial.limits)

    def _identify(self, connection: pyodbc.Connection) -> None:
        """Learn from the connection what driver it has, if the keywords did not name it, and what server there is: what
        that says of itself counts, not what server the driver was made for."""
        library, version = _said(connection, pyodbc.SQL_DRIVER_NAME), _said(connection, pyodbc.SQL_DRIVER_VER)
        server = f"{_said(connection, pyodbc.SQL_DBMS_NAME)} {_said(connection, pyodbc.SQL_DBMS_VER)}".strip()
        name = _driver_name(self._given)
        made_for, driver = dialects.find_driver(name)
        if driver is UNKNOWN_DRIVER:
            name = library or name
            made_for, driver = dialects.find_driver(name)
        dialect = dialects.find_server(server) or made_for
        says = _answer(connection, dialect.asks) if dialect.asks else ""
        self.dialect = dialects.find_server(f"{server} {says}") or dialect
        self.driver = dialects.driver_for(self.dialect, driver, name)
        if self.dialect is not dialect:
            server = f"{server} ({says})"
        self.versions = f"{server} through {f'{library} {version}'.strip() or name}"

    def _set_types(self, connection: pyodbc.Connection) -> None:
        if self.driver.utf8:
            _use_utf8(connection)
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
        self._demand_transactions()
        if connection.autocommit:
            connection.autocommit = False
        self._in_transaction = True
        self._ran_before = self._open_cursors.knows(sql)
        cursor = self._open_cursors.prepared(sql)
        try:
            return self._executed(cursor, sql, parameters)
        except pyodbc.Error:
            if self.driver.errors_spoil_cursors:
                self._open_cursors.forget(cursor)
            raise

    def _executed(self, cursor: pyodbc.Cursor, sql: str, parameters: Sequence[Any]) -> pyodbc.Cursor:
        try:
            cursor.execute(sql, *([parameters] if parameters else []))
        finally:
            self._check(cursor)
        return cursor

    def _check(self, cursor: pyodbc.Cursor) -> None:
        """Raise the error that the driver reported as a message with a success (see `Driver.hides_errors`), also in
        place of another one that followed from it."""
        if self.driver.hides_errors and (messages := cursor.messages):
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
            # Without tracebacks, so that no cursor of a discarded connection is freed in this thread: that could wait
            # for the same dead network.
            error.__context__ = None
            raise failed from error.with_traceback(None)
        finally:
            self.deadline = self.busy_since = None
            self._ran_before = False
            self._used = time.monotonic()

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
        if self._ran_before and state in self.dialect.stale_states and word is None:
            # What was prepared is for columns that are no longer so. The next time it is prepared anew.
            kind = Kind.RETRY
        code = sqlstate.code_of(self.dialect, state, native)
        text = sqlstate.clean(connection_string.hide_in(text, self._given))
        failure = Failure(kind, code, text, place, by_target=True)
        if word == "done":
            return AlreadyThere(failure)
        return Duplicate(failure) if sqlstate.is_duplicate(self.dialect, state, failure.text) else Failed(failure)


#: Questions to the catalogue of a dialect, and what is lost where a server does not understand one.
_QUESTIONS: Mapping[str, str] = {
    "columns_query": "the types of columns are not known, so values are bound for any",
    "unfit_query": "tables that cannot roll back are not found",
    "version_query": "the columns of all tables are asked for before each commit, which takes longer",
}


def _said(connection: pyodbc.Connection, what: int) -> str:
    """Return what the driver says of itself, "" if it does not: that is shown, and nothing depends on it."""
    try:
        return str(connection.getinfo(what)).rstrip("\0")
    except pyodbc.Error:
        return ""


def _answer(connection: pyodbc.Connection, sql: str) -> str:
    try:
        with contextlib.closing(connection.cursor()) as cursor:
            rows = cursor.execute(sql).fetchall()
    except pyodbc.Error:
        return ""
    return str(rows[0][0]) if rows else ""


def _use_utf8(connection: pyodbc.Connection) -> None:
    connection.setencoding(encoding="utf-8", ctype=pyodbc.SQL_CHAR)
    for sqltype in (pyodbc.SQL_CHAR, pyodbc.SQL_WCHAR):
        connection.setdecoding(sqltype, encoding="utf-8", ctype=pyodbc.SQL_CHAR)


def _exact(columns: Sequence[ResultColumn], rows: list[Any]) -> list[Any]:
    """Return rows in which a number of single precision has the digits that it was written with."""
    singles = [at for at, column in enumerate(columns) if column.single]
    for at in singles:
        for row in rows:
            row[at] = shortest_single(row[at])
    return rows


def _reads(sql: str) -> bool:
    return only_reads(sql) and not _RETURNING.search(sql)


def _driver_name(given: Mapping[str, str]) -> str:
    """Return the name of the driver that the keywords name, through the data source if they name that."""
    keys = {key.lower(): value for key, value in given.items()}
    if "driver" in keys:
        return keys["driver"]
    return str(pyodbc.dataSources().get(keys.get("dsn", ""), ""))
