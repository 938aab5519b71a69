"""A database that only a test knows, on SQLite: its module is all that the connection needs."""

from dbconnector.odbc.database import Database
from dbconnector.settings import DatabaseSettings
from dbconnector.sql import compile_statement
from tests.dialects import added

PLANT = """
from dataclasses import replace
from dbconnector.columns import Column, ColumnType
from dbconnector.dialects import sqlite
from dbconnector.dialects.base import Savepoints, Setting

DIALECT = replace(
    sqlite.DIALECT,
    name="plant",
    order=0,  # before SQLite, whose driver it uses
    drivers=(replace(sqlite.SQLITEODBC, name="Plant"),),
    session=(
        Setting("CREATE TEMP TABLE session (seconds)", "there is no table"),
        Setting("INSERT INTO session VALUES ({statement_s})", "there is no row"),
    ),
    savepoints=Savepoints("SAVEPOINT plant_{}", "ROLLBACK TO plant_{}", "RELEASE plant_{}"),
    column_type=lambda name: ColumnType(Column.TEXT) if name == "WORDS" else sqlite.DIALECT.column_type(name),
)
"""


def test_a_new_module_is_the_dialect_of_a_connection(tmp_path, sqlite_db):
    sqlite_db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, w WORDS)")
    with added(tmp_path, "plant", PLANT):
        odbc = Database(DatabaseSettings(connection=sqlite_db.connection))
        odbc.connect()
    assert (odbc.dialect.name, odbc.driver.name, odbc.server.lacks) == ("plant", "Plant", ())
    assert [rows for _, rows in odbc.query("SELECT seconds FROM session")] == [[(60,)]]
    insert = compile_statement("INSERT INTO t (id, w) VALUES (:id, :w)")
    odbc.execute(insert.sql, odbc.binder(insert)((1, True)))
    odbc.savepoint("one")
    odbc.execute(insert.sql, odbc.binder(insert)((2, False)))
    assert odbc.rollback_to("one")
    odbc.commit()
    odbc.close()
    assert sqlite_db.rows("SELECT id, w FROM t") == [(1, "true")]
