"""Servers and drivers that know less than those the connectors were made for: what they refuse is done without.

The driver is scripted at the seam of pyodbc: each test says what it refuses, as QuestDB, go-mysql-server, PGlite and
odbc-mdbtools were seen to.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from itertools import islice
from typing import Any

import pyodbc
import pytest

from connectorlib.errors import Failed, Kind
from dbconnector import dialects
from dbconnector.dialects import UNKNOWN_DRIVER, mariadb, mysql, oracle, postgresql, questdb, sqlite, sqlserver
from dbconnector.odbc.database import Database
from dbconnector.settings import DatabaseSettings
from dbconnector.sql import compile_statement

NAMES = {
    "postgresql": (postgresql.UNICODE, "psqlodbcw.so", "PostgreSQL"),
    "mariadb": (mariadb.CONNECTOR, "libmaodbc.so", "MariaDB"),
    "mysql": (mariadb.CONNECTOR, "libmaodbc.so", "MySQL"),
    "sqlite": (sqlite.SQLITEODBC, "sqlite3odbc.so", "SQLite"),
    "sqlserver": (sqlserver.MSODBCSQL, "libmsodbcsql-18.so", "Microsoft SQL Server"),
}


class Driver:
    """A driver and its server: `refuses` is a pattern of statements; `answers` are the rows of those that give some."""

    def __init__(self, library: str, server: str, refuses: str = r"(?!)", error: str = "42000", **answers: Any) -> None:
        self.info: Mapping[int, str] = {
            pyodbc.SQL_DRIVER_NAME: library,
            pyodbc.SQL_DRIVER_VER: "1.0",
            pyodbc.SQL_DBMS_NAME: server,
            pyodbc.SQL_DBMS_VER: "9",
        }
        self.refuses = refuses
        self.error = error
        #: Seconds that the driver itself gives a statement; 0: as many as it takes.
        self.statement_limit = 0
        self.answers: Mapping[str, Sequence[tuple[Any, ...]]] = {
            "@@sql_mode": [("STRICT_TRANS_TABLES",)],
            "time_zone$": [("+00:00",)],
            **answers.pop("answers", {}),
        }
        self.autocommits = answers.pop("autocommits", False)
        #: How often rows were asked for after the end.
        self.asked_again = 0
        self.opened: list[str] = []

    def connect(self, text: str, **_: Any) -> "Connection":
        self.opened.append(text)
        return Connection(self)


class Connection:
    decimal_mode = "text"

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "autocommit" and self.driver.autocommits:
            raise pyodbc.Error("IM001", "[IM001] Driver does not support this function (0)")
        if name == "timeout":
            self.driver.statement_limit = value
        super().__setattr__(name, value)

    autocommit = True

    def getinfo(self, what: int) -> str:
        if what not in self.driver.info:
            raise pyodbc.Error("HY000", "The driver did not supply an error!")
        return self.driver.info[what]

    def cursor(self) -> "Cursor":
        return Cursor(self.driver)

    def execute(self, sql: str, *parameters: Any) -> "Cursor":
        return self.cursor().execute(sql, *parameters)

    def setencoding(self, **_: Any) -> None:
        """Whatever the text is encoded in."""

    def setdecoding(self, *_: Any, **__: Any) -> None:
        """As above."""

    def add_output_converter(self, *_: Any) -> None:
        """No value needs one."""

    def commit(self) -> None:
        """There is nothing to end."""

    rollback = close = commit


class Cursor:
    """Gives the rows of its result, and after the end all of them again."""

    rowcount = -1
    messages = ()

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.rows: Sequence[tuple[Any, ...]] = []
        self.at = 0
        self.ended = False
        self.description: Sequence[Any] | None = None

    def execute(self, sql: str, *_: Any) -> "Cursor":
        if re.search(self.driver.refuses, sql):
            raise pyodbc.Error(self.driver.error, f"[{self.driver.error}] what is that?")
        found = next((rows for key, rows in self.driver.answers.items() if re.search(key, sql)), None)
        self.rows = found or []
        self.description = None if found is None else [("id", int, None, 4, 4, 0, False)]
        return self

    def fetchmany(self, size: int) -> Sequence[tuple[Any, ...]]:
        self.driver.asked_again += self.ended
        found = self.rows[self.at : self.at + size]
        self.ended = len(found) < size
        self.at = self.at + size if len(found) == size else 0  # a short one is the end: it begins anew
        return list(found)

    def fetchall(self) -> Sequence[tuple[Any, ...]]:
        return self.fetchmany(len(self.rows) + 1)

    def nextset(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing is held."""


Make = Callable[[Driver], Database]


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> Make:
    def make(driver: Driver) -> Database:
        monkeypatch.setattr(pyodbc, "connect", driver.connect)
        library = driver.info.get(pyodbc.SQL_DRIVER_NAME, "libmdbodbc.so")
        database = Database(DatabaseSettings({"Driver": library}))
        database.connect()
        return database

    return make


@pytest.mark.parametrize(
    ("library", "server", "limit"),
    [
        ("libtdsodbc.so", "Microsoft SQL Server", 60),
        ("libmsodbcsql-18.so", "Microsoft SQL Server", 60),
        ("psqlodbcw.so", "PostgreSQL", 0),  # the session has one
    ],
)
def test_a_driver_ends_a_statement_where_the_session_does_not(
    connected: Make, library: str, server: str, limit: int
) -> None:
    driver = Driver(library, server)
    connected(driver)
    assert driver.statement_limit == limit


# --- the dialect is what the server says ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("says", "dialect"),
    [
        ("PostgreSQL 15.0.18 15.18 (Debian 15.18-0+deb12u1)", postgresql.DIALECT),
        ("PostgreSQL 11.0.3 12.3 (questdb)", questdb.DIALECT),
        ("MariaDB 10.11.19 10.11.19-MariaDB-0+deb12u1 Debian 12", mariadb.DIALECT),
        ("MySQL 08.00.000033 8.0.31 Dolt", mysql.DIALECT),
        ("MySQL 10.11.19-MariaDB mariadb.org binary distribution", mariadb.DIALECT),
        ("SQLite 3.40.1", sqlite.DIALECT),
        ("Microsoft SQL Server 16.00.1000", sqlserver.DIALECT),
        ("Oracle 19.00.0000", oracle.DIALECT),
        ("OpenLink Virtuoso 07.20.3229", None),
        ("MDBTOOLS 1.0.0", None),
        ("", None),
    ],
)
def test_a_server_is_known_by_what_it_says_of_itself(says: str, dialect: Any) -> None:
    assert dialects.find_server(says) is dialect


def test_a_server_behind_the_driver_of_another_one_has_its_own_dialect(connected: Make) -> None:
    database = connected(Driver("libmaodbc.so", "MySQL"))
    assert (database.dialect.name, database.driver, database.server.lacks) == ("mysql", mariadb.CONNECTOR, ())


def test_a_server_that_needs_other_keywords_is_logged_in_to_with_them(connected: Make) -> None:
    driver = Driver("psqlodbcw.so", "PostgreSQL", answers={"server_version": [("12.3 (questdb)",)]})
    database = connected(driver)
    assert database.dialect.name == "questdb"
    assert [("UseServerSidePrepare=0" in each) for each in driver.opened] == [False, True]
    database.close()
    database.connect()
    assert len(driver.opened) == 3  # it is known by now
    assert "12.3 (questdb)" in database.server.versions


# --- what a server does not know ------------------------------------------------------------------------------------

SETTINGS = [(name, setting) for name in NAMES for setting in dialects.dialect_of_scheme(name).session]  # type: ignore[union-attr]


@pytest.mark.parametrize(("name", "setting"), SETTINGS, ids=[f"{n}-{s.statement[:40]}" for n, s in SETTINGS])
def test_a_setting_that_the_server_does_not_know_costs_a_line(connected: Make, name: str, setting: Any) -> None:
    _, library, server = NAMES[name]
    words = re.escape(re.split(r"[{=']", setting.statement)[0])
    tail = re.search(r"'(\w+)'", setting.statement)
    database = connected(Driver(library, server, f"^{words}.*{tail[1] if tail else ''}"))
    assert database.server.lacks == (f"{setting.lost}: what is that?",)
    assert {key: getattr(database.dialect, key) for key in setting.without} == dict(setting.without)


def test_there_are_settings_to_be_refused() -> None:
    assert len(SETTINGS) > 7
    known = {field.name for field in fields(postgresql.DIALECT)}
    assert all(set(setting.without) <= known for _, setting in SETTINGS)


@pytest.mark.parametrize("name", ["postgresql", "mariadb", "mysql", "sqlite"])
def test_without_savepoints_and_a_catalogue_the_rest_is_used(connected: Make, name: str) -> None:
    _, library, server = NAMES[name]
    database = connected(Driver(library, server, "SAVEPOINT|pg_attribute|information_schema|pragma_", "00000"))
    assert database.dialect.savepoints is None
    assert "there are no savepoints" in database.server.lacks[-1]
    assert any("column types are unknown" in each for each in database.server.lacks)
    statement = compile_statement("INSERT INTO t (a) VALUES (:a)")
    assert database.binder(statement)(["x"]) == ("x",)
    assert database.execute(statement.sql, ("x",)) == -1
    database.commit()


@pytest.mark.parametrize("name", ["postgresql", "mariadb", "mysql"])
def test_a_question_for_the_version_of_a_table_is_tried_at_connect(connected: Make, name: str) -> None:
    _, library, server = NAMES[name]
    database = connected(Driver(library, server, "xmin|^SHOW CREATE", "42000"))
    assert [lack.partition(":")[2] for lack in database.server.lacks] == [" what is that?"]
    assert database.dialect.version_query("t") is None


def test_an_outage_is_no_lack_of_the_server(connected: Make) -> None:
    with pytest.raises(Failed) as caught:
        connected(Driver("psqlodbcw.so", "PostgreSQL", "lock_timeout", "08S01"))
    assert caught.value.failure.kind is Kind.UNAVAILABLE


def test_what_guards_values_is_no_attempt(connected: Make) -> None:
    with pytest.raises(Failed) as caught:
        connected(Driver("libmaodbc.so", "MySQL", "^SELECT @@sql_mode"))
    assert (caught.value.failure.kind, caught.value.failure.code) == (Kind.CONFIGURATION, "session")


def test_names_that_a_driver_does_not_tell_are_for_display_only(connected: Make) -> None:
    driver = Driver("", "MDBTOOLS\0", "SELECT|VALUES")
    driver.info = {pyodbc.SQL_DBMS_NAME: "MDBTOOLS\0"}
    database = connected(driver)
    assert (database.server.versions, database.driver) == ("MDBTOOLS through libmdbodbc.so", UNKNOWN_DRIVER)
    assert not database.server.proven


def test_where_nothing_can_be_undone_nothing_is_written(connected: Make) -> None:
    database = connected(Driver("libmdbodbc.so", "MDBTOOLS", "CAST", autocommits=True, answers={"reading": [(1,)]}))
    assert "there are no transactions" in database.server.lacks[0]
    assert next(database.query("SELECT id FROM reading")) == (("id",), [(1,)])
    insert = compile_statement("INSERT INTO t (a) VALUES (:a)")
    for write in (lambda: database.binder(insert), lambda: database.execute("UPDATE t SET a = 1")):
        with pytest.raises(Failed) as caught:
            write()
        assert (caught.value.failure.kind, caught.value.failure.code) == (Kind.CONFIGURATION, "no-transactions")


# --- the end of a result --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fetch", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_driver_is_not_asked_again_after_the_end(connected: Make, fetch: int, count: int) -> None:
    rows = [(number,) for number in range(count)]
    database = connected(Driver("libmdbodbc.so", "MDBTOOLS", "CAST", answers={"reading": rows}))
    found = islice(database.query("SELECT id FROM reading", fetch=fetch), 10)  # else it would never end
    batches = [batch for _, batch in found]
    assert [row for batch in batches for row in batch] == rows
    assert all(batches)


def test_a_result_without_a_row_is_not_asked_again(connected: Make) -> None:
    driver = Driver("libmsodbcsql-18.so", "Microsoft SQL Server", answers={"OUTPUT": []})
    database = connected(driver)
    assert database.execute_returning("INSERT INTO t OUTPUT inserted.id SELECT 1 WHERE 1 = 0") == (-1, None)
    assert driver.asked_again == 0
