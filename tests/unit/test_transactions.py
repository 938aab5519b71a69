"""A statement stays in the connector's transaction, or is refused with a line of the configuration."""

import pytest

from connectorlib.errors import ConfigurationError
from dbconnector.config import load
from dbconnector.sql import compile_statement, ignores_errors, objection
from tests.unit import configs
from tests.unit.test_config_db import GOOD

REFUSED = [
    ("COMMIT", "away from the connector"),
    ("rollback to savepoint x", "away from the connector"),
    ("Begin", "away from the connector"),
    ("BEGIN TRANSACTION", "away from the connector"),
    ("begin immediate;", "away from the connector"),
    ("START /* now */ TRANSACTION", "away from the connector"),
    ("SAVEPOINT a", "away from the connector"),
    ("END", "away from the connector"),
    ("PREPARE TRANSACTION 'x'", "away from the connector"),
    ("SET TRANSACTION READ ONLY", "away from the connector"),
    ("SET autocommit = 1", "autocommit"),
    ("SET @@session.autocommit=0", "autocommit"),
    ("INSERT INTO t (a) VALUES (:a); COMMIT", "two statements"),
    ("INSERT INTO t (a) VALUES (:a); -- and\nDELETE FROM u;", "two statements"),
    ("SELECT 1;; SELECT 2", "two statements"),
    ("COPY t FROM STDIN", "COPY"),
    ("copy t (a, b) from stdin with (format csv)", "COPY"),
    ("COPY (SELECT 1) TO STDOUT", "COPY"),
    ("BEGIN put(:a); COMMIT; END;", "COMMIT in a block"),
    ("DECLARE n int; BEGIN n := :a; ROLLBACK; END;", "ROLLBACK in a block"),
]
TAKEN = [
    "INSERT INTO t (a) VALUES (:a)",
    "INSERT INTO t (a) VALUES (:a);",
    "INSERT INTO t (a) VALUES (';COMMIT');  -- ; COMMIT\n ;",
    "UPDATE commits SET rollback = :a WHERE begin = 1",
    "DO $$ BEGIN PERFORM 1; END $$",
    "BEGIN put(:a); END;",
    "DECLARE n int; BEGIN put(:a, n); END;",
    "CALL p(:a)",
    "COPY t FROM '/data/t.csv'",
    "SET @x = :a",
    "CREATE TABLE copy AS SELECT 1",
    "TRUNCATE t",
    "LOCK TABLE t IN SHARE MODE",
]


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_what_takes_the_transaction_away_is_refused(text, why):
    assert why in objection(text)


@pytest.mark.parametrize("text", TAKEN)
def test_what_leaves_the_transaction_alone_is_taken(text):
    assert objection(text) == ""


@pytest.mark.parametrize(
    "text", ["CREATE TABLE t (a int)", "TRUNCATE t", "ALTER TABLE t ADD b int", "LOCK TABLES t READ"]
)
def test_what_commits_by_itself_is_refused_where_it_does(text):
    assert "commits implicitly" in objection(text, ddl_commits=True)
    assert objection("CREATE TEMPORARY TABLE t (a int)", ddl_commits=True) == ""


@pytest.mark.parametrize(
    ("text", "ignores"),
    [
        ("INSERT IGNORE INTO t (a) VALUES (:a)", True),
        ("insert low_priority ignore into t (a) values (:a)", True),
        ("UPDATE IGNORE t SET a = :a", True),
        ("INSERT OR IGNORE INTO t (a) VALUES (:a)", False),
        ("INSERT INTO ignore (a) VALUES (:a)", False),
        ("DELETE IGNORE FROM t", False),
    ],
)
def test_a_statement_that_makes_the_database_cut_values_is_warned_of(tmp_path, text, ignores):
    assert ignores_errors(text) is ignores
    write = configs.writer(tmp_path / "db.config")
    database = {"connection": {"Driver": "MariaDB Unicode"}, "write": [{"statement": text}]}
    settings = load(write({**{key: GOOD[key] for key in ("broker", "format")}, "database": database}))
    assert any("IGNORE silently truncates" in warning for warning in settings.warnings) is ignores


@pytest.mark.parametrize(
    ("driver", "change", "line"),
    [
        ("PostgreSQL Unicode", {"write": [{"statement": "COPY t FROM STDIN"}]}, "database.write[0].statement: COPY"),
        ("MariaDB Unicode", {"write": [{"statement": "TRUNCATE t"}]}, "database.write[0].statement: TRUNCATE commits"),
        ("SQLite3", {"select": {"query": "SELECT 1 AS id; SELECT 2"}}, "database.select.query: two statements"),
        (
            "PostgreSQL ANSI",
            {"select": {"query": "SELECT 1 AS id", "on_sent": "DELETE FROM t; COMMIT"}},
            "database.select.on_sent: two statements",
        ),
    ],
)
def test_a_configuration_with_one_is_refused_with_its_line(tmp_path, monkeypatch, driver, change, line):
    monkeypatch.setenv("DB_PASSWORD", "x")
    write = configs.writer(tmp_path / "db.config")
    database = {"connection": {"Driver": driver}, **change}
    with pytest.raises(ConfigurationError) as caught:
        load(write({**{key: GOOD[key] for key in ("broker", "format")}, "database": database}))
    assert line in str(caught.value)


@pytest.mark.parametrize(
    ("text", "tables", "written"),
    [
        ("INSERT INTO plant.t (a) VALUES (:a)", ("plant.t",), {"plant.t"}),
        ('UPDATE ONLY "T" SET a = :a FROM u WHERE u.id = 1', ('"T"', "u"), {'"T"'}),
        ("DELETE FROM t USING u WHERE t.id = u.id", ("t", "u"), {"t"}),
        ("SELECT a FROM t JOIN u USING (id) FOR UPDATE", ("t", "u"), set()),
        ("INSERT INTO t (a) VALUES (:a) ON CONFLICT DO UPDATE SET a = 1", ("t",), {"t"}),
        ("INSERT INTO t (a) SELECT a FROM t", ("t",), {"t"}),
        ("CALL p(:a)", (), set()),
    ],
)
def test_the_tables_of_a_statement_are_found(text, tables, written):
    statement = compile_statement(text)
    assert (statement.tables, statement.written) == (tables, written)
