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
from datetime import datetime
from typing import Any

import pyodbc

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.service import logs
from dbconnector.binder import RowBinder, make_binder
from dbconnector.columns import UNKNOWN, ColumnType
from dbconnector.dialects import Dialect, Driver
from dbconnector.dialects.base import ALTERED, Query
from dbconnector.dialects.fetch_plan import FetchPlan, ResultColumn, describing, named_decoder
from dbconnector.dialects.row_sets import RowSet
from dbconnector.dialects.temporal_bindings import naive_utc
from dbconnector.odbc.catalogue import Catalogue, Rows
from dbconnector.odbc.connection_factory import ConnectionFactory
from dbconnector.odbc.connection_string import TimeLimits
from dbconnector.odbc.cursors import Cursors, columns_of, drain, exact_singles, hidden_error, is_single, refuse_more
from dbconnector.settings import DatabaseSettings
from dbconnector.sql import Statement, only_reads

CLOSING = 2.0  # seconds to wait for an orderly end of a connection

_RETURNING = re.compile(r"\b(RETURNING|OUTPUT)\b", re.IGNORECASE)
_NO_RETURNING = (
    "this driver does not hand out the row of RETURNING; name a statement after it instead that reads the key,"
    " such as SELECT last_insert_rowid() AS id"
)


class Database:
    """A connection that is opened when it is needed and discarded after a failure."""

    def __init__(self, settings: DatabaseSettings, *, reading: bool = False, limits: TimeLimits | None = None) -> None:
        self._reading = reading
        #: The clock by which its columns without a time zone hold their times.
        self.clock = settings.clock
        self._limits = limits or TimeLimits()
        self._factory = ConnectionFactory(settings, self._limits, reading=reading)
        #: What is known of the server and its driver.
        self.server = self._factory.server
        #: The call in progress.
        self.guard = self._factory.guard
        self._catalogue = Catalogue(self.server, self._ask, self._try_ask)
        self._connection: pyodbc.Connection | None = None
        self._cursors: Cursors | None = None
        self._failure: Failure | None = None
        self._in_transaction = False
        #: When the connection was opened (monotonic), and how many were opened so far.
        self.connected_since: float | None = None
        self.opened = 0
        #: The cursor of an open query that any other statement would end (see `Driver.streams_exclusively`).
        self._exclusive: pyodbc.Cursor | None = None
        #: How statements are run that hand out a row.
        self._plans: dict[str, FetchPlan] = {}
        #: Whether the server knows the question for the row that it has refused.
        self._tells_row = True
        self._logged: tuple[str, tuple[str, ...]] | None = None

    def __repr__(self) -> str:
        return f"<Database {self.driver.name}, {'connected' if self.connected else 'not connected'}>"

    # --- connection -------------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        return self._connection is not None

    @property
    def dialect(self) -> Dialect:
        return self.server.dialect

    @property
    def driver(self) -> Driver:
        return self.server.driver

    @property
    def keywords(self) -> Mapping[str, str]:
        """The connection's keywords, defaults included; holds the password: see `connection_string.hide_secrets`."""
        return self._factory.keywords

    def connect(self) -> None:
        """Open the connection unless it is open, and roll back an unfinished transaction. Raise Failed.

        One that was idle is asked for a sign of life first: that a server or a pooler ends such connections
        (`wait_timeout`, `idle_session_timeout`, PgBouncer) is no outage.
        """
        if self._connection is not None and self.guard.idle:
            self._ask_for_life()
        if self._connection is not None:
            self.rollback()
        if self._connection is None:
            self._failure = None
            self._catalogue.clear()
            self._plans.clear()
            self._connection = self._open()
            self._cursors = Cursors(self._connection, self.driver.bmp_only)
            self.connected_since, self.opened = time.monotonic(), self.opened + 1

    def _ask_for_life(self) -> None:
        """Discard the connection if it does not answer."""
        try:
            self._ping(self._live())
        except Failed:
            self._discard()

    def _ping(self, connection: pyodbc.Connection) -> None:
        with self.guard.call("database", self._limits.statement):
            connection.execute(f"SELECT 1{self.dialect.from_dual}").fetchall()

    def _open(self) -> pyodbc.Connection:
        """Open a connection. Where that fails, the one that there is cannot be trusted either."""
        try:
            return self._factory.open()
        except Failed as failed:
            self._discard_unless_rejected(failed.failure)
            raise

    def log_connected(self, logger: logging.Logger) -> None:
        """Log what is connected, and what it does not know. Every failure but a reject costs the connection; in a long
        pause that is one a minute, so the same again is told for debugging only."""
        found = (self.server.versions, self.server.lacks)
        level = logging.DEBUG if found == self._logged else logging.WARNING if self.server.lacks else logging.INFO
        self._logged = found
        lacks = {"lacks": "; ".join(self.server.lacks)} if self.server.lacks else {}
        logs.event(logger, level, "database connected", versions=self.server.versions, **lacks)

    def close(self) -> None:
        """Close the connection; what is not committed is rolled back. Wait a moment, but not for a dead network."""
        if (closing := self._discard()) is not None:
            closing.join(CLOSING)
        self._failure = None

    def probe(self) -> None:
        """Raise Failed unless the database answers on a new connection. Where there was none it is kept."""
        if self._connection is None:
            self.connect()  # which has its answers
            return
        connection = self._open()
        try:
            self._ping(connection)
        finally:
            Cursors(connection).close()

    # --- statements -------------------------------------------------------------------------------------------------

    def execute(self, sql: str, parameters: Sequence[Any] = (), *, place: str = "") -> int:
        """Run one statement in the transaction and return how many rows it changed; -1 if the driver does not count."""
        with self._guarded(place):
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
        with self._guarded(place):
            plan = self._returning_plan(sql, parameters)
            cursor = self._run(plan.sql, parameters)
            count, found = cursor.rowcount, columns_of(cursor, self.driver.widens_names)
            names = plan.names or tuple(column.name for column in found)
            if self.clock is not None:
                plan = self._named(plan, sql, names)
            rows = plan.rows(exact_singles(found, cursor.fetchmany(1))) if found else []
            drain(cursor, self._check, single=self.dialect.one_result and is_single(sql), ended=not rows)
        if not rows:
            return count, None
        return count, {name.lower(): value for name, value in zip(names, rows[0], strict=True)}

    def binder(self, statement: Statement, *, place: str = "") -> RowBinder:
        """Return what makes a row of values fit for this statement's parameters (see `binder`).

        The database is asked for the columns of each table once; `outdated` asks whether they are still so.
        """
        if not only_reads(statement.sql):
            self.server.demand_transactions()
        for table in statement.tables:
            self._catalogue.described(table)
            if table in statement.written:
                self._catalogue.refuse_unfit(table, place)
        kinds = self.column_types(statement)
        self._end_question()
        return make_binder(self.dialect, kinds, statement.names, place)

    def row_set(self, statement: Statement) -> RowSet | None:
        """Return how a statement for the row with one key is run for many rows at once; None: only row by row."""
        change, make = statement.keyed_change, self.dialect.row_set
        if change is None or make is None:
            return None
        kinds = [self._catalogue.column(target) for target in change.operands]
        found = self._catalogue.independence(change.table, deletes=change.deletes)
        row_set = make(change, kinds, found) if found.allows(change) else None
        if row_set is not None and row_set.trial is not None and not self._takes(*row_set.trial):
            row_set = None
        self._end_question()
        return row_set

    def column_types(self, statement: Statement) -> list[ColumnType]:
        """Return what is known of the column of each parameter of a statement, UNKNOWN where that is nothing."""
        return [self._catalogue.column(target).by(self.clock) for target in statement.targets]

    def refused_row(self, failure: Failure) -> int | None:
        """Return which row, from 1, of the statement that has just been refused is to blame, if the database tells."""
        texts = self.dialect.refusals
        if found := re.search(texts.at, failure.text):
            return int(found["row"])
        if texts.ask is None or not self._tells_row or self._cursors is None:
            return None
        cursor = self._cursors.open("refused row")
        try:
            with self.guard.call("database", self._limits.statement, on_failure=self._discard_unless_told):
                cursor.execute(texts.ask[0])
                (row,) = cursor.execute(texts.ask[1]).fetchone()
        except Failed as failed:
            if failed.failure.kind is not Kind.CONFIGURATION:
                raise
            self._tells_row = False  # a server that does not know the question
            return None
        finally:
            if self._cursors is not None:
                self._cursors.release(cursor)
        return int(row) if row else None

    def outdated(self) -> bool:
        """Return whether a table that binders were made for has other columns since. If so the connection is discarded:
        its prepared statements, too, are for the columns that were.

        In a transaction that has written to a table the answer holds until its end, for nobody can alter that table.
        """
        if self._connection is None or not self._catalogue.altered():
            return False
        self._discard()
        return True

    def query(
        self, sql: str, parameters: Sequence[Any] = (), *, fetch: int = 1000, place: str = "query"
    ) -> Iterator[tuple[tuple[str, ...], list[tuple[Any, ...]]]]:
        """Run a query and yield its rows in batches of `fetch`, with the column names.

        The cursor is closed when the iterator ends or is closed. Memory is bounded if `driver.streams`.
        """
        with self._guarded(place):
            plan, cursor = self._start(sql, parameters)
            cursors = self._open_cursors
        try:
            if cursor.description is None:
                raise Failed(Failure(Kind.CONFIGURATION, "no-rows", "the query gives no rows", place))
            found = columns_of(cursor, self.driver.widens_names)
            names = plan.names or tuple(column.name for column in found)
            plan = self._named(plan, sql, names)
            self._refuse_unplanned(plan, sql, found, place)
            refuse = self._refusal_of_doubtful(sql, found)
            stream = self._exclusive
            while True:
                if self._exclusive is not stream:
                    raise Failed(Failure(Kind.UNKNOWN, "stream-cut", "the query was cut short by a rollback", place))
                with self._guarded(place):
                    rows = plan.rows(exact_singles(found, cursor.fetchmany(fetch)))
                    if len(rows) < fetch:
                        refuse_more(cursor, self._check, place, measured=self.driver.measured)
                if refuse is not None:
                    refuse(rows, place)
                if rows:
                    yield names, rows
                if len(rows) < fetch:  # the end: odbc-mdbtools begins anew if it is asked again
                    return
        finally:
            self._exclusive = None
            if self._cursors is cursors:  # else it was closed together with its connection
                with contextlib.suppress(pyodbc.Error):
                    cursors.release(cursor)

    def result_columns(self, sql: str, parameters: Sequence[Any] = (), *, place: str = "query") -> list[ResultColumn]:
        """Return what the columns of a query are, without its rows."""
        with self._guarded(place):
            cursor = self._run(describing(sql), parameters)
            found = self._typed(cursor, sql, parameters, always=self.clock is not None)
            cursor.fetchall()
        return found

    def kind_of(self, sql: str, column: ResultColumn) -> ColumnType:
        """Return what is known of a column of a query; UNKNOWN if that is nothing."""
        if column.declared:
            return self.dialect.column_type(column.declared)
        return self._catalogue.of_result(sql, [column.name])[0]

    def as_stored(self, names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
        """Return values of a row as parameters that are compared with the columns that they are of: where an offset is
        no part of a value, an instant is in UTC there."""
        utc = self.clock is not None and not self.dialect.drops_offsets
        return {
            name: naive_utc(value) if utc and isinstance(value, datetime) else value
            for name, value in zip(names, values, strict=True)
        }

    # --- transactions -----------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Commit. Raise Failed if that fails or if an error has not been rolled back."""
        with self._guarded("commit"):
            self._live().commit()
            self._in_transaction = False

    def commit_unaltered(self) -> bool:
        """Commit, unless a table that binders were made for has other columns since: then return False, as `outdated`
        does True. Raise Failed as `commit` does."""
        text = self._catalogue.commit_text()
        if text is None:
            if self.outdated():
                return False
            self.commit()
            return True
        with self._guarded("commit"):
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
            with self._guarded("rollback"):
                self._connection.rollback()
        except Failed:
            self._discard()
            self._failure = None

    def savepoint(self, name: str) -> None:
        self.execute(self.server.savepoints.set.format(name), place="savepoint")

    def rollback_to(self, name: str) -> bool:
        """Undo all since the savepoint, and forget the last reject; return whether the savepoint still exists."""
        self._failure = None
        self.execute(self.server.savepoints.back.format(name), place="savepoint")
        return self.server.savepoints.stay

    # --- within -----------------------------------------------------------------------------------------------------

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

    def _takes(self, sql: str, parameters: Sequence[Any]) -> bool:
        """Run a statement that changes nothing; return whether the server takes it."""
        told = (Kind.CONFIGURATION, Kind.REFUSED, Kind.REJECT)
        cursor = self._open_cursors.open(sql)
        try:
            with self.guard.call(
                "database",
                self._limits.statement,
                on_failure=lambda failure: None if failure.kind in told else self._discard(),
            ):
                self._executed(cursor, sql, parameters)
        except Failed as failed:
            if failed.failure.kind not in told:
                raise
            return False
        finally:
            if self._cursors is not None:
                self._cursors.release(cursor)
        return True

    def _end_question(self) -> None:
        """End the transaction that a question to the catalogue has begun, in which SQLite could not write."""
        if not self._in_transaction and self._exclusive is None:
            self.rollback()

    def _ask(self, question: Query | None, *, undone: bool = False) -> Rows:
        """Return the rows of a question to the catalogue; none if there is no question. A refusal costs the connection,
        unless the caller sees to it that it is undone."""
        if question is None:
            return ()
        query, parameters = question
        # Through another connection while a query is open that any statement would end.
        connection = self._live() if self._exclusive is None else self._open()
        with self.guard.call("database", self._limits.statement) if undone else self._guarded("database"):
            if connection is self._connection:
                return list(self._open_cursors.prepared(query).execute(query, parameters).fetchall())
            rows = connection.execute(query, parameters).fetchall()
        Cursors(connection).close()
        return list(rows)

    def _try_ask(self, question: Query) -> Rows | str:
        """As `_ask`; return why the server refuses the question, if it has begun the transaction that it costs."""
        begun = self._in_transaction
        try:
            return self._ask(question, undone=True)
        except Failed as failed:
            if begun or failed.failure.kind is not Kind.CONFIGURATION:
                self._discard()
                raise
            self.rollback()
            return failed.failure.text

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
            described = self._typed(cursor, sql, parameters)
        except pyodbc.Error as error:
            if self.guard.failed(error, "").failure.kind in (Kind.RETRY, Kind.UNAVAILABLE, Kind.REFUSED):
                raise  # which says nothing of the query
            described = []  # not a plain SELECT, or with a mistake, which is reported when it is run
            if self._in_transaction and words is not None:
                cursors.prepared(words.back.format("describe")).execute(words.back.format("describe"))
            else:
                connection.rollback()
        finally:
            cursors.release(cursor)
        return self.dialect.fetch_plan(sql, described) if described else FetchPlan(sql)

    def _refuse_unplanned(self, plan: FetchPlan, sql: str, found: Sequence[ResultColumn], place: str) -> None:
        """Raise Failed if the driver may alter values of a statement that is no plain SELECT. Of integers only an oid
        could be."""
        plan_of, doubtful = self.dialect.fetch_plan, [column for column in found if column.type is not int]
        if not plan.names and plan_of is not None and plan_of(sql, doubtful).sql != sql:
            text = "the driver may alter values of a statement that is no plain SELECT: make it one"
            raise Failed(Failure(Kind.CONFIGURATION, "no-select", text, place))

    def _typed(
        self, cursor: pyodbc.Cursor, sql: str, parameters: Sequence[Any], *, always: bool = False
    ) -> list[ResultColumn]:
        """Return the columns of a described query, with the names of their types where the dialect can ask for them,
        and there is a need or `always` is set."""
        found, ask = columns_of(cursor, self.driver.widens_names), self.dialect.types_query
        if ask is None or not (always or any(column.type is str for column in found)):
            return found
        cursor.fetchall()
        cursor.execute(ask(sql, len(found)), *([parameters] if parameters else []))
        return [column._replace(declared=name) for column, name in zip(found, cursor.fetchone(), strict=True)]

    def _named(self, plan: FetchPlan, sql: str, names: Sequence[str]) -> FetchPlan:
        """Return a plan that decodes columns by what the catalogue knows of them, if the server does not tell types."""
        if self.dialect.types_query is not None:
            return plan
        return plan.then([named_decoder(kind.by(self.clock)) for kind in self._catalogue.of_result(sql, names)])

    def _refusal_of_doubtful(self, sql: str, found: Sequence[ResultColumn]) -> Callable[[Any, str], None] | None:
        """Return what raises Failed for a time of which cannot be told whether it is an instant or one of the clock."""
        if self.clock is None or not self._catalogue.keeps_instants(sql):
            return None
        kinds = self._catalogue.of_result(sql, [column.name for column in found])
        doubtful = [at for at, kind in enumerate(kinds) if kind is UNKNOWN]

        def refuse(rows: Sequence[Sequence[Any]], place: str) -> None:
            for at in doubtful:
                if any(isinstance(row[at], datetime) for row in rows):
                    text = (
                        f"{found[at].name} may be an instant (timestamp) or a local time (datetime): call it as its"
                        " column is called in the table, or make a text of it (DATE_FORMAT)"
                    )
                    raise Failed(Failure(Kind.CONFIGURATION, "zone", text, place))

        return refuse

    def _returning_plan(self, sql: str, parameters: Sequence[Any]) -> FetchPlan:
        """Return how to run a statement that hands out a row. What an INSERT returns is known only once it has run: it
        is undone then."""
        if sql in self._plans:
            return self._plans[sql]
        plan = self._plan(sql, parameters)
        if self.dialect.returning_plan is not None and _RETURNING.search(sql):
            self._run(self.server.savepoints.set.format("describe"), ())
            cursor = self._run(sql, parameters)
            found = columns_of(cursor, self.driver.widens_names)
            drain(cursor, self._check, single=False)
            plan = self.dialect.returning_plan(sql, found)
            self._open_cursors.forget(cursor)
            self._run(self.server.savepoints.back.format("describe"), ())
        self._plans[sql] = plan
        return plan

    def _start(self, sql: str, parameters: Sequence[Any]) -> tuple[FetchPlan, pyodbc.Cursor]:
        """Execute a query on a cursor of its own, in bounded memory if that is possible."""
        connection = self._live()
        exclusive = self.driver.streams_exclusively and self._reading and not parameters and not self._in_transaction
        if connection.autocommit and self.server.transactions:
            connection.autocommit = False
        plan = self._plan(sql, parameters)
        if exclusive:
            connection.rollback()
            connection.autocommit = True
        self._in_transaction = not exclusive
        cursor = self._open_cursors.open(plan.sql)
        self._exclusive = cursor if exclusive else None
        return plan, self._executed(cursor, plan.sql, parameters)

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
        self.server.demand_transactions()
        if connection.autocommit:
            connection.autocommit = False
        self._in_transaction = True
        self.guard.ran_before = self._open_cursors.knows(sql)
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
    def _guarded(self, place: str) -> Iterator[None]:
        """Guard a call whose failure has to be rolled back, or costs the connection."""
        with self.guard.call(place, self._limits.statement, on_failure=self._failed):
            yield

    def _failed(self, failure: Failure) -> None:
        self._failure = failure
        self._discard_unless_rejected(failure)

    def _discard_unless_told(self, failure: Failure) -> None:
        if failure.kind is not Kind.CONFIGURATION:
            self._discard()

    def _discard_unless_rejected(self, failure: Failure) -> None:
        if failure.kind is not Kind.REJECT:
            self._discard()


def _reads(sql: str) -> bool:
    return only_reads(sql) and not _RETURNING.search(sql)
