"""The rows of a query are all there, under their names and with their values, or the query is refused."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from connectorlib.errors import Failed, Kind
from dbconnector.odbc.database import Database as Odbc
from dbconnector.settings import DatabaseSettings
from tests.services.database import Database
from tests.services.mariadb import MariaDatabase
from tests.services.postgresql import PostgresDatabase
from tests.services.sqlite import SqliteDatabase

#: Values that the drivers alter.
ALTERED = {
    "postgresql": "CAST('infinity' AS timestamp), CAST('24:00' AS time), CAST('{1,2}' AS integer[])",
    "mariadb": "TIMESTAMP'2026-01-31 08:00:00.123456', CAST('-25:00:00' AS time), CAST(1.10 AS decimal(9,2))",
    "sqlite": "0.1 + 0.2, 'x' || char(0) || 'y', 9007199254740993",
}


@pytest.fixture
def odbc(database: Database) -> Iterator[Odbc]:
    with opened(database) as odbc:
        yield odbc


def opened(database: Database) -> closing[Odbc]:
    odbc = Odbc(DatabaseSettings(database.connection), reading=True)
    odbc.connect()
    return closing(odbc)


def rows(odbc: Odbc, sql: str, fetch: int = 1000) -> list[Any]:
    odbc.rollback()
    return [row for _, rows in odbc.query(sql, fetch=fetch) for row in rows]


@pytest.mark.parametrize("end", [";", " ; ;", "; -- note", "\n;\n/* note */", " -- note"])
def test_what_ends_a_query_changes_none_of_its_values(database: Database, odbc: Odbc, end: str) -> None:
    query = f"SELECT {ALTERED[database.kind]}"
    assert repr(rows(odbc, query + end)) == repr(rows(odbc, query))


NAMES = ["temp.max", "a.b.c", "1.5", "Größe", "naïve.größe", "a:1", 'q"q', "[x]", "ID", "n" * 60]


def test_columns_have_the_names_that_the_query_gives_them(database: Database, odbc: Odbc) -> None:
    quote = "`" if database.kind == "mariadb" else '"'
    columns = ", ".join(f"1 AS {quote}{name.replace(quote, 2 * quote)}{quote}" for name in NAMES)
    ((found, _),) = odbc.query(f"SELECT {columns}")
    assert list(found) == NAMES


@pytest.mark.parametrize("columns", ["x.id, y.id", "x.*, y.*", "x.id, y.id, x.id"])
def test_columns_of_the_same_name_are_not_given_another(database: Database, odbc: Odbc, columns: str) -> None:
    database.execute("CREATE TABLE device (id integer)")
    database.execute("INSERT INTO device VALUES (1)")
    ((found, _),) = odbc.query(f"SELECT {columns} FROM device x JOIN device y ON x.id = y.id")
    assert set(found) == {"id"}


@pytest.mark.parametrize("fetch", [1, 1000])
def test_a_second_result_is_refused_and_not_lost(
    postgres_db: PostgresDatabase, maria_db: MariaDatabase, fetch: int
) -> None:
    maria_db.execute("CREATE PROCEDURE two() BEGIN SELECT 1 AS a; SELECT 2 AS a; END")
    maria_db.execute("CREATE PROCEDURE one() BEGIN SELECT 1 AS a; END")
    with opened(maria_db) as odbc:
        assert rows(odbc, "CALL one()", fetch) == [(1,)]
        with pytest.raises(Failed, match="several results"):
            rows(odbc, "CALL two()", fetch)
    with opened(postgres_db) as odbc, pytest.raises(Failed, match="several results"):
        rows(odbc, "SELECT 1 AS a; SELECT 2 AS a", fetch)


def test_what_fails_in_a_procedure_after_its_rows_fails_the_query(maria_db: MariaDatabase) -> None:
    maria_db.execute("CREATE PROCEDURE fails() BEGIN SELECT 1 AS a; SIGNAL SQLSTATE '45000'; END")
    with opened(maria_db) as odbc, pytest.raises(Failed) as raised:
        rows(odbc, "CALL fails()")
    assert raised.value.failure.code == "45000/1644"


def test_a_statement_whose_values_may_be_altered_is_refused(
    postgres_db: PostgresDatabase, sqlite_db: SqliteDatabase
) -> None:
    postgres_db.execute(
        "CREATE PROCEDURE latest(INOUT at timestamp) LANGUAGE plpgsql AS 'BEGIN at := ''infinity''; END'"
    )
    with opened(postgres_db) as odbc:
        assert len(rows(odbc, "SHOW server_version")) == 1  # a text, which is not altered
        assert len(rows(odbc, "EXPLAIN SELECT 1")) == 1
        with pytest.raises(Failed, match="no plain SELECT"):
            rows(odbc, "CALL latest(NULL)")
    with opened(sqlite_db) as odbc, pytest.raises(Failed, match="no plain SELECT"):
        rows(odbc, "PRAGMA user_version")


def test_a_lock_that_is_met_while_a_query_is_described_leaves_no_value_altered(postgres_db: PostgresDatabase) -> None:
    """The function, which is evaluated when the query is planned, fails the first time only."""
    postgres_db.execute("CREATE SEQUENCE calls")
    postgres_db.execute(
        "CREATE FUNCTION latest() RETURNS timestamp IMMUTABLE LANGUAGE plpgsql AS 'BEGIN"
        " IF nextval(''calls'') = 1 THEN RAISE SQLSTATE ''55P03''; END IF; RETURN ''infinity''; END'"
    )
    with opened(postgres_db) as odbc:
        with pytest.raises(Failed) as raised:
            rows(odbc, "SELECT latest()")
        assert (raised.value.failure.kind, raised.value.failure.code) == (Kind.RETRY, "55P03")
        odbc.connect()
        assert rows(odbc, "SELECT latest()") == [("infinity",)]
