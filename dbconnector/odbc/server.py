"""What is known of a server and its driver: what they say of themselves, and what they lack. Shared by all that asks
the server something, and found out again by every new connection."""

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyodbc

from connectorlib.errors import Failed, Failure, Kind
from dbconnector import dialects
from dbconnector.dialects import Dialect, Driver
from dbconnector.dialects.base import Savepoints

#: Questions to the catalogue of a dialect, and what is lost where a server does not understand one.
QUESTIONS: Mapping[str, str] = {
    "columns_query": "column types are unknown, so values are bound without them",
    "unfit_query": "tables that cannot roll back are not detected",
    "rows_query": "an UPDATE or DELETE runs once for each message, which takes longer",
    "version_query": "the columns of all tables are queried before each commit, which takes longer",
}


class Server:
    """The server behind a connection, reached through a driver."""

    def __init__(self, driver_name: str) -> None:
        """`driver_name` is what the keywords of the connection name."""
        self._driver_name = driver_name
        self.dialect: Dialect
        self.driver: Driver
        self.dialect, self.driver = dialects.find_driver(driver_name)
        #: What the driver and the server report of themselves, once connected.
        self.versions = ""
        #: What this server does not know, each a sentence with its words for it.
        self.lacks: tuple[str, ...] = ()
        #: Whether what is written can be undone. If not, nothing is.
        self.transactions = True
        #: Whether values were seen to come back from an unknown driver as they went there.
        self.proven = False

    def identify(self, connection: pyodbc.Connection) -> None:
        """Learn from the connection what driver it has, if the keywords did not name it, and what server there is: what
        that says of itself counts, not what server the driver was made for."""
        library, version = _said(connection, pyodbc.SQL_DRIVER_NAME), _said(connection, pyodbc.SQL_DRIVER_VER)
        server = f"{_said(connection, pyodbc.SQL_DBMS_NAME)} {_said(connection, pyodbc.SQL_DBMS_VER)}".strip()
        name = self._driver_name
        made_for, driver = dialects.find_driver(name)
        if driver is dialects.UNKNOWN_DRIVER:
            name = library or name
            made_for, driver = dialects.find_driver(name)
        dialect = dialects.find_server(server) or made_for
        says = answer(connection, dialect.asks) if dialect.asks else ""
        self.dialect = dialects.find_server(f"{server} {says}") or dialect
        self.driver = dialects.driver_for(self.dialect, driver, name)
        if self.dialect is not dialect:
            server = f"{server} ({says})"
        self.versions = f"{server} through {f'{library} {version}'.strip() or name}"

    def without(self, question: str, why: str) -> str:
        """Ask this question no more; return what is lost."""
        without: Mapping[str, Any] = {question: lambda _table: None}
        self.dialect = replace(self.dialect, **without)
        return f"{QUESTIONS[question]}: {why}"

    @property
    def savepoints(self) -> Savepoints:
        """Raise RuntimeError if there are none."""
        if self.dialect.savepoints is None:
            raise RuntimeError(f"{self.driver.name}: savepoints are not known to be safe")
        return self.dialect.savepoints

    def demand_transactions(self) -> None:
        """Raise Failed if what is written could not be undone."""
        if not self.transactions:
            text = "it has no transactions, so nothing is written, because a failure could not be rolled back"
            raise Failed(Failure(Kind.CONFIGURATION, "no-transactions", text, "database.connection"))


def answer(connection: pyodbc.Connection, sql: str) -> str:
    """Return the first value of a query as text; "" if there is none, or if the server refuses the query."""
    try:
        with contextlib.closing(connection.cursor()) as cursor:
            rows = cursor.execute(sql).fetchall()
    except pyodbc.Error:
        return ""
    return str(rows[0][0]) if rows else ""


def _said(connection: pyodbc.Connection, what: int) -> str:
    """Return what the driver says of itself, "" if it does not: that is shown, and nothing depends on it."""
    try:
        return str(connection.getinfo(what)).rstrip("\0")
    except pyodbc.Error:
        return ""
