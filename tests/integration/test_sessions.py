"""A session in which a database would alter values is put right, or refused by name."""

from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from connectorlib.errors import Failed, Failure, Kind
from dbconnector import dialects, prepare
from dbconnector.dialects import GENERIC
from dbconnector.odbc.database import Database
from dbconnector.preflight import findings
from dbconnector.settings import DatabaseSettings, Select, Write
from dbconnector.sql import compile_statement
from tests.integration.test_values import config
from tests.services.database import Database as Server

ZONED = {"postgresql": "timestamptz", "mariadb": "timestamp(6) NULL"}
INSERT = "INSERT INTO t (id, at) VALUES (:id, :at)"


def connected(server: Server, *on_connect: str) -> Database:
    odbc = Database(DatabaseSettings(server.connection, on_connect=on_connect))
    odbc.connect()
    return odbc


def insert(odbc: Database, *values: Any) -> None:
    statement = compile_statement(INSERT)
    odbc.execute(statement.sql, odbc.binder(statement, place="write[0]")(values), place="write[0]")


def refusal(server: Server, *on_connect: str) -> Failure:
    with pytest.raises(Failed) as caught, closing(Database(DatabaseSettings(server.connection, on_connect))) as odbc:
        odbc.connect()
    return caught.value.failure


@pytest.mark.parametrize("name", ["postgres_db", "postgres_ansi_db"])
def test_the_zone_of_a_session_moves_no_instant(request: pytest.FixtureRequest, name: str) -> None:
    server = request.getfixturevalue(name)
    server.execute("CREATE TABLE t (id integer PRIMARY KEY, at timestamptz)")
    noon = datetime(2026, 7, 1, 12, tzinfo=UTC)
    with closing(connected(server, "SET TIME ZONE 'Asia/Kathmandu'")) as odbc:
        for number, value in enumerate([noon, "2026-07-01T12:00:00Z", "2026-07-01T12:00:00", "2026-07-01 14:00+0200"]):
            insert(odbc, number, value)
        odbc.commit()
        read = [row for _, rows in odbc.query("SELECT at FROM t") for row in rows]
    assert server.rows("SELECT at FROM t") == read == [(noon,)] * 4


@pytest.mark.parametrize("zone", ["+02:00", "SYSTEM", "-00:30"])
def test_a_session_of_mariadb_with_another_zone_is_refused(maria_db: Server, zone: str) -> None:
    failure = refusal(maria_db, f"SET time_zone = '{zone}'")
    assert (failure.kind, failure.place) == (Kind.CONFIGURATION, "database.on_connect")
    assert zone in failure.text
    assert "UTC" in failure.text


def test_a_session_of_mariadb_that_makes_null_of_an_empty_text_is_refused(maria_db: Server) -> None:
    failure = refusal(maria_db, "SET sql_mode = 'EMPTY_STRING_IS_NULL'")
    assert (failure.kind, failure.code) == (Kind.CONFIGURATION, "session")
    assert "EMPTY_STRING_IS_NULL" in failure.text


LENIENT = ["", "SET SESSION sql_mode = ''", "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'"]


@pytest.mark.parametrize("on_connect", LENIENT)
def test_a_session_of_mariadb_is_strict_whatever_it_was(maria_db: Server, on_connect: str) -> None:
    maria_db.execute(
        "CREATE TABLE t (id integer AUTO_INCREMENT PRIMARY KEY, at varchar(5), n tinyint unsigned, d date)"
    )
    with closing(connected(maria_db, *([on_connect] if on_connect else []))) as odbc:
        for column, value in (("at", "abcdefghij"), ("n", 300), ("n", -1), ("d", "2026-02-30")):
            with pytest.raises(Failed) as caught:
                odbc.execute(f"INSERT INTO t ({column}) VALUES (?)", (value,))
            assert caught.value.failure.kind is Kind.REJECT
            odbc.rollback()
        insert(odbc, 0, "zero")  # no next number
        odbc.commit()
    assert maria_db.rows("SELECT id, at FROM t") == [(0, "zero")]


@pytest.fixture(params=["MyISAM", "Aria", "MEMORY"])
def unfit_db(maria_db: Server, request: pytest.FixtureRequest) -> Server:
    maria_db.execute(f"CREATE TABLE t (id integer PRIMARY KEY, at varchar(5)) ENGINE={request.param}")
    return maria_db


def test_a_table_that_cannot_roll_back_is_refused(unfit_db: Server) -> None:
    with closing(connected(unfit_db)) as odbc:
        with pytest.raises(Failed) as caught:
            insert(odbc, 1, "x")
        failure = caught.value.failure
        assert (failure.kind, failure.code, failure.place) == (Kind.CONFIGURATION, "table", "write[0]")
        assert "ENGINE=InnoDB" in failure.text
        reading = compile_statement("SELECT id FROM t WHERE id = :id")
        assert odbc.binder(reading)((1,)) == (1,)
    (found,) = [each for each in findings(config(unfit_db, "json", Write(INSERT))) if each.about == "write[0]"]
    assert found.kind is Kind.CONFIGURATION
    assert "cannot roll back" in found.text


# --- a driver that nobody knows -------------------------------------------------------------------------------------


@pytest.fixture
def _nobody_knows_any_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialects, "known", lambda: ())


@pytest.mark.usefixtures("_nobody_knows_any_driver")
def test_values_arrive_through_a_driver_that_is_not_known_by_its_name(database: Server) -> None:
    database.execute("CREATE TABLE t (id integer PRIMARY KEY, at varchar(40), n decimal(12,3))")
    text = "INSERT INTO t (id, at, n) VALUES (:id, :at, :n)"
    sent = [(1, "Grüße, 東京", Decimal("1.125")), (2**31 - 1, "pump-2", Decimal("-5.5"))]
    statement = compile_statement(text)
    with closing(Database(DatabaseSettings(database.connection))) as odbc:
        odbc.connect()
        assert (odbc.dialect.name, odbc.server.proven) == (GENERIC.name, True)
        for row in sent:
            odbc.execute(statement.sql, odbc.binder(statement)(row))
        odbc.commit()
    assert [(id, at, Decimal(str(n))) for id, at, n in database.rows("SELECT id, at, n FROM t ORDER BY id")] == sent


@pytest.mark.usefixtures("_nobody_knows_any_driver")
def test_what_an_unknown_driver_does_not_carry_is_refused_and_the_rest_is_exact(database: Server) -> None:
    """sqliteodbc makes 0 of whole numbers beyond 32 bits, unless it is told not to."""
    database.execute("CREATE TABLE t (id bigint PRIMARY KEY, word varchar(40))")
    statement = compile_statement("INSERT INTO t (id, word) VALUES (:id, :word)")
    kept, refused = [], []
    with closing(Database(DatabaseSettings(database.connection))) as odbc:
        odbc.connect()
        bind = odbc.binder(statement)
        for row in [(1, "a"), (2**31 - 1, "é"), (2**40 + 1, "b"), (-(2**40), "c"), (2, "a 😀 b"), (3, "𐀀")]:
            try:
                odbc.execute(statement.sql, bind(row))
            except Failed as failed:
                refused.append(failed.failure)
            else:
                kept.append(row)
        odbc.commit()
        assert (refused == []) == (odbc.server.lacks == ())
    assert all(each.code == "bad-value" and "this driver alters" in each.text for each in refused)
    assert len(kept) >= 3
    assert sorted(tuple(row) for row in database.rows("SELECT id, word FROM t")) == sorted(kept)


# --- parameters of no type ------------------------------------------------------------------------------------------

UNTYPED = [
    ("INSERT INTO t (id, at) VALUES (:id, CASE WHEN :v IS NULL THEN 'n' ELSE :v END)", "v"),
    ("SELECT id FROM t WHERE :since IS NULL OR id > 5", "since"),
    ("UPDATE t SET at = 'x' WHERE jsonb_build_object('a', :part) IS NOT NULL AND id = :id", "part"),
]


@pytest.fixture
def typed_db(postgres_db: Server) -> Server:
    postgres_db.execute("CREATE TABLE t (id integer PRIMARY KEY, at text)")
    return postgres_db


@pytest.mark.parametrize(("text", "name"), UNTYPED)
def test_a_parameter_of_no_type_is_found_before_it_is_used(typed_db: Server, text: str, name: str) -> None:
    with closing(Database(DatabaseSettings(typed_db.connection))) as odbc:
        failure = prepare.refusal(odbc, text, "write[0]")
        assert failure is not None
        assert failure.code in ("42P18", "42P08")
        assert f":{name}" in failure.text
        assert f"CAST(:{name} AS" in failure.text
        typed = text.replace(f":{name}", f"CAST(:{name} AS text)")
        for _ in range(2):
            assert prepare.refusal(odbc, typed, "write[0]") is None


def test_a_query_whose_columns_have_letters_beyond_ascii_is_read_by_their_names(database: Server) -> None:
    quote = "`" if database.kind == "mariadb" else '"'
    names = ["größe", "ÄÖÜß", "Ω", "naïve_é"] + ([] if database.kind == "mariadb" else ["日本", "🦉"])
    items = ", ".join(f"{number} AS {quote}{name}{quote}" for number, name in enumerate(names))
    settings = DatabaseSettings(database.connection, select=Select(f"SELECT {items}"))
    for reading in (False, True):
        with closing(Database(settings, reading=reading)) as odbc:
            odbc.connect()
            assert list(odbc.query(f"SELECT {items}")) == [(tuple(names), [tuple(range(len(names)))])]
