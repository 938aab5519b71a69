"""A procedure is a success only if the last of its statements is one."""

import pytest

from connectorlib.errors import Failed, Kind
from dbconnector.odbc.database import Database
from dbconnector.settings import DatabaseSettings
from tests.services.database import Database as Server

TWICE = "INSERT INTO t VALUES (n); {} INSERT INTO t VALUES (n);"


def call(server: Server, statement: str, parameters: tuple[int, ...] = (1,)) -> None:
    """Run it and commit; raise Failed, with nothing written, if any of it fails."""
    odbc = Database(DatabaseSettings(connection=server.connection))
    odbc.connect()
    try:
        odbc.execute(statement, parameters)
        odbc.commit()
    finally:
        odbc.close()


def rejected(server: Server, statement: str, parameters: tuple[int, ...] = (1,)) -> bool:
    with pytest.raises(Failed) as raised:
        call(server, statement, parameters)
    return raised.value.failure.kind is Kind.REJECT and server.count("t") == 0


@pytest.mark.parametrize("between", ["", "SELECT 1;", "SELECT 1; SELECT 2;"], ids=["none", "one", "two"])
def test_mariadb_tells_the_error_of_a_later_statement_behind_any_results(maria_db, between):
    maria_db.execute("CREATE TABLE t (id integer PRIMARY KEY)")
    maria_db.execute(f"CREATE PROCEDURE twice (n integer) BEGIN {TWICE.format(between)} END")
    assert rejected(maria_db, "CALL twice(?)")
    maria_db.execute("CREATE PROCEDURE once (n integer) BEGIN INSERT INTO t VALUES (n); SELECT 1; END")
    call(maria_db, "CALL once(?)")
    assert maria_db.count("t") == 1


def test_postgresql_tells_the_error_of_a_later_statement(postgres_db):
    postgres_db.execute("CREATE TABLE t (id integer PRIMARY KEY)")
    postgres_db.execute(f"CREATE PROCEDURE twice (n integer) LANGUAGE plpgsql AS $$ BEGIN {TWICE.format('')} END $$")
    assert rejected(postgres_db, "CALL twice(?)")
    assert rejected(postgres_db, "INSERT INTO t VALUES (?); INSERT INTO t VALUES (?)", (1, 1))
    postgres_db.execute("CREATE PROCEDURE once (n integer) LANGUAGE SQL AS $$ INSERT INTO t VALUES (n) $$")
    call(postgres_db, "CALL once(?)")
    assert postgres_db.count("t") == 1
