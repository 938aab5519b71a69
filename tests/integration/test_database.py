"""The connection to a database, on every driver that is installed: values, errors, transactions, lost connections."""

import datetime
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectorlib.errors import Failed, Failure, Kind
from dbconnector.odbc import call_guard
from dbconnector.odbc.call_guard import AlreadyThere
from dbconnector.odbc.connection_string import TimeLimits, join_connection
from dbconnector.odbc.database import Database
from dbconnector.settings import DatabaseSettings
from dbconnector.sql import compile_statement
from tests.services.database import Database as Server
from tests.services.waiting import eventually

LIMITS = TimeLimits(login=5, lock=1, statement=2, socket=4)
MOMENT = datetime.datetime(2024, 1, 2, 3, 4, 5, 123456)
#: A name with all that a statement can get wrong.
C = '''"it's \\ ""c"" ?"'''
EMOJI = "Grüße \U0001f600 日本"

TYPES = {
    "postgresql": {"binary": "bytea", "moment": "timestamp", "zoned": "timestamptz", "float": "double precision"},
    "mariadb": {"binary": "longblob", "moment": "datetime(6)", "zoned": "timestamp(6) NULL", "float": "double"},
    "sqlite": {"binary": "blob", "moment": "timestamp", "zoned": "timestamp", "float": "double"},
}
LONG = {"postgresql": "text", "mariadb": "longtext", "sqlite": "text"}


def settings(server: Server, **keys) -> DatabaseSettings:
    return DatabaseSettings(connection=server.connection, **keys)


@pytest.fixture
def odbc(database: Server) -> Iterator[Database]:
    connection = Database(settings(database), limits=LIMITS)
    connection.connect()
    yield connection
    connection.close()


@pytest.fixture
def second(database: Server) -> Iterator[Database]:
    connection = Database(settings(database), limits=LIMITS)
    connection.connect()
    yield connection
    connection.close()


def make(server: Server) -> None:
    types = TYPES[server.kind]
    server.execute(
        f"CREATE TABLE v (id integer PRIMARY KEY, t {LONG[server.kind]}, v varchar(20), i bigint, n decimal(20,4),"
        f" b boolean, f {types['float']}, m {types['moment']}, z {types['zoned']}, d date, x {types['binary']})"
    )


def insert(odbc: Database, **values) -> None:
    names = ", ".join(values)
    statement = compile_statement(f"INSERT INTO v ({names}) VALUES ({', '.join(f':{name}' for name in values)})")
    bind = odbc.binder(statement, place="write[0]")
    odbc.execute(statement.sql, bind(tuple(values.values())), place="write[0]")


def fetched(odbc: Database, sql: str) -> list[tuple[Any, ...]]:
    return [row for _, rows in odbc.query(sql) for row in rows]


def failing(work) -> Failure:
    with pytest.raises(Failed) as caught:
        work()
    return caught.value.failure


# --- values ---------------------------------------------------------------------------------------------------------

VALUES = {
    "emoji": ("t", EMOJI),
    "empty text": ("t", ""),
    "null": ("t", None),
    "quotes and backslashes": ("t", 'it\'s \\ "q" ? :x {a} $1'),
    "255 characters": ("t", "x" * 255),
    "256 characters": ("t", "é" * 256),
    "100 kB of text": ("t", "é" * 9_000 + "x" * 91_000 + "\U0001f600"),
    "trailing spaces": ("t", "x  "),
    "a large integer": ("i", 2**63 - 1),
    "the smallest integer": ("i", -(2**63)),
    "a decimal": ("n", Decimal("12345678.1234")),
    "a decimal with zeros": ("n", Decimal("1.5000")),
    "true": ("b", True),
    "false": ("b", False),
    "a double": ("f", 0.1 + 0.2),
    "a large double": ("f", 1.7976931348623157e308),
    "a date": ("d", datetime.date(1752, 9, 14)),
    "microseconds": ("m", MOMENT),
    "bytes": ("x", b"\0\xff'\\" * 1000),
    "no bytes": ("x", b""),
    "100 kB of bytes": ("x", b"\0\xff" * 50_000),
}


@pytest.mark.parametrize(("column", "value"), VALUES.values(), ids=VALUES.keys())
def test_a_value_arrives_and_comes_back_exactly(database, odbc, column, value):
    make(database)
    insert(odbc, id=1, **{column: value})
    odbc.commit()
    [(stored,)] = database.rows(f"SELECT {column} FROM v")
    [(read,)] = fetched(odbc, f"SELECT {column} FROM v")
    if database.kind == "sqlite" and column == "n":  # SQLite has no decimals, and says so by giving a double
        stored, read = Decimal(repr(stored)), Decimal(repr(read))
    expected = str(value) if database.kind == "sqlite" and column in "md" else value
    assert (bytes(stored) if column == "x" and value is not None else stored) == expected
    assert read == expected


def test_a_value_in_a_text_column_arrives_as_its_text(database, odbc):
    make(database)
    for number, value in enumerate([True, False, 5, 2**64, Decimal("1.50"), Decimal("1E-7"), 0.1]):
        insert(odbc, id=number, v=value)
    odbc.commit()
    texts = ["true", "false", "5", str(2**64), "1.50", "1E-7", "0.1"]
    assert [row[0] for row in database.rows("SELECT v FROM v ORDER BY id")] == texts


def test_a_moment_with_a_zone_arrives_as_the_same_moment(database, odbc):
    make(database)
    east = datetime.timezone(datetime.timedelta(hours=2))
    insert(odbc, id=1, m=MOMENT.replace(tzinfo=east), z=MOMENT.replace(tzinfo=east))
    insert(odbc, id=2, m="2024-01-02T03:04:05.123456+02:00", z="2024-01-02T01:04:05.123456Z")
    odbc.commit()
    utc = MOMENT - datetime.timedelta(hours=2)
    found = fetched(odbc, "SELECT m, z FROM v ORDER BY id")
    for row in found:
        for value in row:
            moment = datetime.datetime.fromisoformat(value) if isinstance(value, str) else value
            plain = moment.astimezone(datetime.UTC).replace(tzinfo=None) if moment.tzinfo else moment
            assert plain == utc
    if database.kind == "postgresql":  # the others have no type that keeps a zone
        assert found[0][1].tzinfo is not None


def test_text_with_a_nul_is_rejected_and_names_the_value(database, odbc):
    make(database)
    failure = failing(lambda: insert(odbc, id=1, t="a\0b"))
    assert (failure.kind, failure.code) == (Kind.REJECT, "bad-value")
    assert failure.detail.startswith("write[0].values.t: a NUL")


def test_a_lone_surrogate_is_rejected(database, odbc):
    make(database)
    assert failing(lambda: insert(odbc, id=1, t="\ud800")).kind is Kind.REJECT
    odbc.rollback()
    assert database.count("v") == 0


def test_an_integer_column_does_not_round(database, odbc):
    make(database)
    if database.kind == "sqlite":
        insert(odbc, id=1, i=Decimal("1.5"))
        assert fetched(odbc, "SELECT i FROM v") == [(1.5,)]
    else:
        assert failing(lambda: insert(odbc, id=1, i=Decimal("1.5"))).kind is Kind.REJECT


def test_more_digits_than_sqlite_keeps_are_rejected(sqlite_db):
    odbc = Database(settings(sqlite_db))
    odbc.connect()
    make(sqlite_db)
    for value in (Decimal("1234567890123456.78"), "1234567890123456.78"):
        assert failing(lambda value=value: insert(odbc, id=1, n=value)).kind is Kind.REJECT
    odbc.close()


PG_MOMENTS = {
    "timestamp 'infinity'": "infinity",
    "timestamp '-infinity'": "-infinity",
    "date 'infinity'": "infinity",
    "timestamp '0044-03-15 BC'": "0044-03-15 00:00:00 BC",
    "timestamp '12000-01-01'": "12000-01-01 00:00:00",
    "time '24:00'": "24:00:00",
    "time '01:02:03.456789'": datetime.time(1, 2, 3, 456789),
    "timestamptz '2024-01-02 03:04:05.5+02'": datetime.datetime(2024, 1, 2, 1, 4, 5, 500000, datetime.UTC),
    "uuid 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "numeric '123456789012345678901234567890.123456789'": Decimal("123456789012345678901234567890.123456789"),
    "jsonb '[1, true]'": "[1, true]",
    "0.1::float8 + 0.2::float8": 0.1 + 0.2,
}


@pytest.mark.parametrize(("item", "value"), PG_MOMENTS.items(), ids=PG_MOMENTS.keys())
@pytest.mark.parametrize("reading", [False, True], ids=["", "streamed"])
def test_postgresql_values_that_the_driver_alters_are_read_as_they_are(postgres_db, item, value, reading):
    odbc = Database(settings(postgres_db), reading=reading)
    odbc.connect()
    assert fetched(odbc, f"SELECT {item} AS value") == [(value,)]
    odbc.close()


MARIA_MOMENTS = {
    "CAST('-01:00:00' AS time)": "-01:00:00",
    "CAST('838:59:59' AS time)": "838:59:59",
    "CAST('01:02:03.456789' AS time(6))": datetime.time(1, 2, 3, 456789),
    "CAST('0000-00-00' AS date)": "0000-00-00",
    "CAST('2024-01-02 03:04:05.123456' AS datetime(6))": MOMENT,
    "CAST(18446744073709551615 AS unsigned)": 2**64 - 1,
    "CAST('12345678901234567890123456789012345678901234567890.5' AS decimal(60,1))": Decimal("1234567890" * 5 + ".5"),
}


@pytest.mark.parametrize(("item", "value"), MARIA_MOMENTS.items(), ids=MARIA_MOMENTS.keys())
def test_mariadb_values_that_the_driver_alters_are_read_as_they_are(maria_db, item, value):
    odbc = Database(settings(maria_db, on_connect=("SET SESSION sql_mode = ''",)))
    odbc.connect()
    assert fetched(odbc, f"SELECT {item} AS value") == [(value,)]
    odbc.close()


def test_sqlite_values_are_read_as_what_they_are_whatever_the_column_says(sqlite_db):
    sqlite_db.execute("CREATE TABLE s (id integer PRIMARY KEY, i bigint, d date, b boolean, f double)")
    sqlite_db.execute("INSERT INTO s VALUES (1, 'abc', 'nonsense', 'yes', 9007199254740993.0)")
    sqlite_db.execute("INSERT INTO s VALUES (2, 9007199254740993, 20240102, 1, 0.1)")
    odbc = Database(settings(sqlite_db), reading=True)
    odbc.connect()
    assert fetched(odbc, "SELECT i, d, b, f, i || '' FROM s ORDER BY id") == [
        ("abc", "nonsense", "yes", 9007199254740992.0, "abc"),
        (9007199254740993, 20240102, True, 0.1, "9007199254740993"),
    ]
    odbc.close()


# --- statements -----------------------------------------------------------------------------------------------------


def test_row_counts_say_how_many_rows_there_were(database, odbc):
    make(database)
    assert odbc.execute("INSERT INTO v (id, v) VALUES (?, ?), (?, ?)", (1, "a", 2, "b")) == 2
    assert odbc.execute("UPDATE v SET v = ? WHERE id < ?", ("a", 3)) == 2  # one of them has it already
    assert odbc.execute("DELETE FROM v WHERE id = 7") == 0


def test_an_insert_that_skips_what_is_there_counts_what_is_new(database, odbc):
    make(database)
    sql = odbc.dialect.insert_or_ignore.format(table="v (id)", rows="(?), (?), (?)")
    odbc.execute("INSERT INTO v (id) VALUES (2)")
    assert odbc.execute(sql, (1, 2, 3)) == 2
    assert odbc.execute(sql, (1, 2, 3)) == 0


def test_a_row_that_a_statement_returns_is_handed_out(database, odbc):
    make(database)
    if database.kind == "sqlite":
        failure = failing(lambda: odbc.execute_returning("INSERT INTO v (id) VALUES (5) RETURNING id"))
        assert (failure.kind, failure.code) == (Kind.CONFIGURATION, "no-returning")
        odbc.execute("INSERT INTO v (v) VALUES ('x')")
        assert odbc.execute_returning("SELECT last_insert_rowid() AS Id")[1] == {"id": 1}
    else:
        row = odbc.execute_returning("INSERT INTO v (id, v) VALUES (?, ?) RETURNING id, v", (5, "x"))
        assert row == (1, {"id": 5, "v": "x"})
    assert odbc.execute_returning("UPDATE v SET v = 'y' WHERE id = 99") == (0, None)


def test_five_hundred_rows_of_six_are_one_statement(database, odbc):
    make(database)
    statement = compile_statement("INSERT INTO v (id, t, i, n, b, m) VALUES (:id, :t, :i, :n, :b, :m)")
    bind = odbc.binder(statement)
    rows = [bind((n, EMOJI, n, Decimal(n) / 4, n % 2 == 0, MOMENT)) for n in range(500)]
    assert statement.multi_row is not None
    assert odbc.execute(statement.multi_row.sql(500), [value for row in rows for value in row]) == 500
    odbc.commit()
    assert database.count("v") == 500


def test_names_and_literals_may_have_any_character(database, odbc):
    quote = "`" if database.kind == "mariadb" else '"'
    name, text = ("größe", "日本é") if database.kind == "mariadb" else ("größe 🦉", "🦉日本é")
    database.execute(f"CREATE TABLE u (id integer, {quote}{name}{quote} varchar(20))")
    database.execute("INSERT INTO u VALUES (1, ?)", text)
    sql = f"SELECT id, {quote}{name}{quote} FROM u WHERE {quote}{name}{quote} = '{text}'"
    assert list(odbc.query(sql)) == [(("id", name), [(1, text)])]
    assert odbc.execute_returning(sql)[1] == {"id": 1, name: text}


@pytest.mark.parametrize("run", [Database.execute, Database.execute_returning, fetched])
def test_a_statement_that_mariadb_would_get_wrong_is_refused(maria_db, run):
    connection = Database(settings(maria_db), limits=LIMITS)
    connection.connect()
    failure = failing(lambda: run(connection, "SELECT 'é 🦉'"))
    assert (failure.kind, failure.text.split(" in ")[0]) == (Kind.CONFIGURATION, "🦉 (U+1F989)")
    connection.rollback()
    assert fetched(connection, "SELECT 'é'") == [("é",)]
    connection.close()


def test_the_memory_behind_an_error_text_of_mariadb_is_not_shown(maria_db):
    connection = Database(settings(maria_db), limits=LIMITS)
    connection.connect()
    failure = failing(lambda: connection.execute("SELECT größe"))
    assert failure.text == "Unknown column 'größe' in 'SELECT' (1054)"
    connection.close()


def memory() -> int:
    """Return the process's resident memory in KiB."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1])


def test_decimals_that_were_read_leave_no_memory_behind(database, odbc):
    database.execute("CREATE TABLE d (n numeric(12,3))")
    database.execute("INSERT INTO d VALUES " + ", ".join(["(1.125)"] * 1000))
    fetched(odbc, "SELECT n FROM d")
    before = memory()
    for _ in range(100):
        fetched(odbc, "SELECT n FROM d")
    assert memory() - before < 2000  # 100,000 values; in another mode of pyodbc each leaves 48 bytes


def test_decimals_of_65_digits_are_read_exactly(maria_db):
    digits = "9" * 35 + "." + "1" * 30
    maria_db.execute("CREATE TABLE d (n decimal(65,30))")
    maria_db.execute("INSERT INTO d VALUES (?)", digits)
    connection = Database(settings(maria_db), limits=LIMITS)
    connection.connect()
    assert fetched(connection, "SELECT n FROM d") == [(Decimal(digits),)]
    connection.close()


def test_a_query_gives_its_rows_in_batches(database, odbc):
    make(database)
    for number in range(25):
        odbc.execute("INSERT INTO v (id, t) VALUES (?, ?)", (number, "x"))
    found = list(odbc.query("SELECT id, t FROM v WHERE id >= ? ORDER BY id", (5,), fetch=8))
    assert [len(rows) for _, rows in found] == [8, 8, 4]
    assert {columns for columns, _ in found} == {("id", "t")}
    assert fetched(odbc, "SELECT id FROM v WHERE id > 100") == []


def test_more_texts_than_prepared_cursors_are_kept_are_no_problem(database, odbc):
    make(database)
    for number in range(150):
        odbc.execute(f"INSERT INTO v (id) VALUES ({number})")
    odbc.commit()
    assert database.count("v") == 150


def test_a_stream_of_sqlite_is_never_cut_short_in_silence(sqlite_db):
    sqlite_db.execute("CREATE TABLE s (id integer PRIMARY KEY)")
    sqlite_db.execute(
        "INSERT INTO s WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g LIMIT 100) SELECT i FROM g"
    )
    odbc = Database(settings(sqlite_db), reading=True)
    odbc.connect()
    rows = odbc.query("SELECT id FROM s", fetch=10)
    next(rows)
    assert failing(lambda: odbc.execute("DELETE FROM s")).code == "stream-open"
    odbc.binder(compile_statement("UPDATE s SET id = :id WHERE id = :old"))
    assert sum(len(batch) for _, batch in rows) == 90
    rows = odbc.query("SELECT id FROM s", fetch=10)
    next(rows)
    odbc.rollback()
    assert failing(lambda: next(rows)).code == "stream-cut"
    odbc.close()


# --- transactions ---------------------------------------------------------------------------------------------------


def test_after_a_reject_nothing_runs_until_it_is_rolled_back(database, odbc):
    make(database)
    insert(odbc, id=1)
    failure = failing(lambda: insert(odbc, id=1))
    assert failure.kind is Kind.REJECT
    assert failure.place == "write[0]"
    assert failing(odbc.commit).code == "not-rolled-back"
    assert failing(lambda: odbc.execute("SELECT 1")).code == "not-rolled-back"
    odbc.rollback()
    odbc.commit()
    assert database.count("v") == 0


HIDDEN = {
    "one row": "INSERT INTO h (id, n) VALUES (?, ?)",
    "many rows": "INSERT INTO h (id, n) VALUES (2, 1), (?, ?)",
    "an enumeration": "INSERT INTO h (id, e) VALUES (?, ?)",
    "a row that comes back": "INSERT INTO h (id, n) VALUES (?, ?) RETURNING id",
    "an update": "UPDATE h SET id = ?, n = ?",
    "a procedure": "CALL p(?, ?)",
}


@pytest.mark.parametrize("sql", HIDDEN.values(), ids=HIDDEN.keys())
def test_an_error_that_mariadb_tells_as_a_success_is_a_reject_all_the_same(maria_db, sql):
    maria_db.execute("CREATE TABLE h (id integer PRIMARY KEY, n decimal(10,2), e enum('a', 'b'))")
    maria_db.execute("INSERT INTO h (id) VALUES (1)")
    # The second statement of a procedure: its error comes with the second result.
    maria_db.execute("CREATE PROCEDURE p(i integer, x text) BEGIN SELECT 1; INSERT INTO h (id, n) VALUES (i, x); END")
    connection = Database(settings(maria_db), limits=LIMITS)
    connection.connect()
    for _ in range(2):  # a prepared cursor is used again
        with pytest.raises(Failed) as caught:
            connection.execute_returning(sql, (3, "1.5x"), place="write[0]")
        failure = caught.value.failure
        assert (failure.kind, failure.code, failure.place) == (Kind.REJECT, "01000/1265", "write[0]")
        assert failure.text.startswith("Data truncated for column")
        connection.rollback()
    connection.execute_returning(sql, (3, "a" if "e)" in sql else "1.5"))
    connection.commit()
    connection.close()
    assert maria_db.value("SELECT count(*) FROM h WHERE id = 3") == 1


def test_a_reject_under_a_savepoint_leaves_what_was_before_it(database, odbc):
    make(database)
    insert(odbc, id=1)
    odbc.savepoint("piece")
    assert odbc.execute("INSERT INTO v (id) VALUES (2)") == 1
    assert failing(lambda: odbc.execute("INSERT INTO v (id) VALUES (3), (1)")).kind is Kind.REJECT
    odbc.rollback_to("piece")
    odbc.savepoint("piece")
    insert(odbc, id=4)
    odbc.commit()
    assert [row[0] for row in database.rows("SELECT id FROM v ORDER BY id")] == [1, 4]


@pytest.fixture(params=["postgres_db", "postgres_ansi_db"])
def postgres_server(request) -> Server:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=[{}, {"UseDeclareFetch": "1"}], ids=["whole results", "cursors"])
def bound(request, postgres_server: Server) -> Iterator[tuple[Server, Database, str]]:
    """A connection on which a row is bound, and its statement, for a table with a constraint that waits."""
    postgres_server.script(
        "CREATE TABLE p (id int PRIMARY KEY)",
        f"CREATE TABLE {C} (id int, p int REFERENCES p DEFERRABLE INITIALLY DEFERRED)",
    )
    odbc = Database(DatabaseSettings(postgres_server.connection | request.param))
    odbc.connect()
    statement = compile_statement(f"INSERT INTO {C} (id, p) VALUES (1, :p)")
    odbc.binder(statement)
    yield postgres_server, odbc, statement.sql
    odbc.close()


def test_a_deferred_constraint_is_a_reject_at_the_commit(bound):
    server, odbc, insert_p = bound
    for commit in (odbc.commit, odbc.commit_unaltered):
        odbc.execute(insert_p, (7,))
        failure = failing(commit)
        assert (failure.kind, failure.code, failure.place) == (Kind.REJECT, "23503", "commit")
        assert failing(commit).code == "not-rolled-back"
        odbc.rollback()
    odbc.execute(insert_p, (None,))
    assert odbc.commit_unaltered()
    assert server.count(C) == 1


def test_nothing_is_committed_once_a_table_has_other_columns(bound):
    server, odbc, insert_p = bound
    server.execute(f"ALTER TABLE {C} ALTER COLUMN id TYPE bigint")
    odbc.execute(insert_p, (None,))
    assert not odbc.commit_unaltered()
    assert (odbc.connected, server.count(C)) == (False, 0)
    odbc.connect()
    odbc.binder(compile_statement(f"INSERT INTO {C} (id, p) VALUES (1, :p)"))
    odbc.execute(insert_p, (None,))
    assert odbc.commit_unaltered()
    assert server.count(C) == 1


def test_a_statement_after_a_commit_begins_another_transaction(bound):
    server, odbc, insert_p = bound
    for commit in (odbc.commit_unaltered, odbc.rollback, odbc.commit_unaltered):
        odbc.execute(insert_p, (None,))
        commit()
    assert server.count(C) == 2


def test_what_the_configuration_declares_done_is_already_there(database):
    make(database)
    code = {"postgresql": "23505", "mariadb": "23000/1062", "sqlite": "HY000/19"}[database.kind]
    odbc = Database(settings(database, errors={code: "done"}))
    odbc.connect()
    insert(odbc, id=1)
    with pytest.raises(AlreadyThere) as caught:
        insert(odbc, id=1)
    assert caught.value.failure.kind is Kind.REJECT
    odbc.rollback()
    odbc.close()


def test_a_statement_that_is_wrong_is_a_matter_of_configuration(database, odbc):
    for sql in ("SELEC 1", "INSERT INTO nope VALUES (1)"):
        assert failing(lambda sql=sql: odbc.execute(sql)).kind is Kind.CONFIGURATION
        assert not odbc.connected
        odbc.connect()
    assert odbc.execute("SELECT 1") is not None


def test_statements_of_on_connect_run_outside_a_transaction_on_every_connection(sqlite_db):
    odbc = Database(settings(sqlite_db, on_connect=("PRAGMA journal_mode=WAL", "PRAGMA cache_size=-777")))
    for _ in range(2):
        odbc.connect()
        assert fetched(odbc, "SELECT cache_size FROM pragma_cache_size") == [(-777,)]
        assert fetched(odbc, "SELECT journal_mode FROM pragma_journal_mode") == [("wal",)]
        odbc.close()


# --- locks, time limits, lost connections ---------------------------------------------------------------------------


def test_a_lock_that_is_held_too_long_is_to_be_tried_again(database, odbc, second):
    make(database)
    insert(odbc, id=1, v="a")
    odbc.commit()
    odbc.execute("UPDATE v SET v = 'b' WHERE id = 1")
    failure = failing(lambda: (second.execute("UPDATE v SET v = 'c' WHERE id = 1"), second.commit()))
    assert failure.kind is Kind.RETRY
    odbc.commit()
    second.connect()
    assert second.execute("UPDATE v SET v = 'c' WHERE id = 1") == 1
    second.commit()
    assert database.value("SELECT v FROM v") == "c"


SLEEP = {"postgresql": "SELECT pg_sleep(30)", "mariadb": "SELECT sleep(30)"}
KILL = {
    "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
    "mariadb": ("SELECT connection_id()", "KILL {}"),
}
SERVERS = pytest.mark.parametrize("database", ["postgresql", "postgresql-ansi", "mariadb"], indirect=True)


@SERVERS
def test_a_statement_that_takes_too_long_is_stopped_and_to_be_tried_again(database, odbc):
    assert failing(lambda: odbc.execute(SLEEP[database.kind])).kind is Kind.RETRY
    assert odbc.guard.deadline is None


def kill(database: Server, odbc: Database) -> None:
    which, end = KILL[database.kind]
    [(number,)] = fetched(odbc, which)
    database.execute(end.format(number))


@SERVERS
def test_a_lost_connection_never_says_done(database, odbc):
    make(database)
    insert(odbc, id=1)
    kill(database, odbc)
    assert failing(odbc.commit).kind is Kind.UNAVAILABLE
    assert failing(odbc.commit).code == "not-rolled-back"
    assert not odbc.connected
    odbc.rollback()
    assert failing(odbc.commit).code == "not-connected"
    assert database.count("v") == 0
    odbc.connect()
    insert(odbc, id=1)
    odbc.commit()
    assert database.count("v") == 1


@SERVERS
def test_an_idle_connection_that_the_server_has_ended_is_opened_again(database, odbc, monkeypatch):
    make(database)
    insert(odbc, id=1)
    odbc.commit()
    kill(database, odbc)
    monkeypatch.setattr(call_guard, "IDLE", 0.0)
    odbc.connect()
    assert odbc.opened == 2
    odbc.connect()
    assert odbc.opened == 2
    insert(odbc, id=2)
    odbc.commit()
    assert database.count("v") == 2


@SERVERS
def test_a_stopped_server_is_unavailable_and_used_again_when_it_is_back(database, odbc):
    make(database)
    database.close()
    database.server.stop()
    assert failing(lambda: insert(odbc, id=1)).kind is Kind.UNAVAILABLE
    assert failing(odbc.connect).kind is Kind.UNAVAILABLE
    assert failing(odbc.probe).kind is Kind.UNAVAILABLE
    database.server.start()
    odbc.probe()
    odbc.connect()
    insert(odbc, id=1)
    odbc.commit()
    assert database.count("v") == 1


def test_a_probe_keeps_its_connection_if_there_is_none(odbc):
    odbc.probe()
    assert (odbc.connected, odbc.opened) == (True, 1)
    odbc.connect()
    assert odbc.opened == 1


def test_a_probe_beside_a_connection_uses_one_of_its_own(database, odbc):
    make(database)
    insert(odbc, id=1)
    odbc.probe()
    odbc.commit()
    assert database.count("v") == 1


def test_a_call_in_progress_has_a_deadline(maria_db):
    odbc = Database(settings(maria_db), limits=LIMITS)
    odbc.connect()
    assert odbc.guard.stuck() is None
    worker = threading.Thread(target=lambda: odbc.execute("SELECT sleep(1)"))
    worker.start()
    eventually(lambda: odbc.guard.deadline)
    odbc.guard.deadline = 0.0
    assert "has been running for" in (odbc.guard.stuck() or "")
    worker.join()
    assert odbc.guard.stuck() is None
    odbc.close()


def test_a_server_that_swallows_everything_does_not_hold_the_connector_up(maria_db):
    odbc = Database(settings(maria_db), limits=LIMITS)
    odbc.connect()
    maria_db.server.pause()
    try:
        assert failing(lambda: odbc.execute("SELECT 1")).kind is Kind.UNAVAILABLE
        assert not odbc.connected
        assert failing(odbc.connect).kind is Kind.UNAVAILABLE
    finally:
        maria_db.server.resume()
    odbc.connect()
    odbc.close()


# --- connecting -----------------------------------------------------------------------------------------------------


def changed(server: Server, **keys) -> Database:
    own = {key: value for key, value in server.connection.items() if key.lower() not in {k.lower() for k in keys}}
    return Database(DatabaseSettings(connection=own | keys), limits=LIMITS)


@SERVERS
@pytest.mark.parametrize("password", ["wrong", "a;b}c", "{x", " "])
def test_a_wrong_password_is_refused_and_not_shown(database, password):
    odbc = changed(database, Pwd=password + "-hunter2")
    failure = failing(odbc.connect)
    assert failure.kind is Kind.REFUSED
    assert "hunter2" not in repr(failure) + repr(odbc) + repr(vars(vars(odbc)["_factory"])["_settings"])


@SERVERS
def test_a_database_that_does_not_exist_is_a_matter_of_configuration(database):
    # MariaDB does not tell it from a database that this user may not see.
    expected = Kind.REFUSED if database.kind == "mariadb" else Kind.CONFIGURATION
    assert failing(changed(database, Database="nodb").connect).kind is expected


@SERVERS
def test_a_server_that_does_not_listen_is_unavailable(database):
    assert failing(changed(database, Port="1").connect).kind is Kind.UNAVAILABLE


def test_a_driver_that_is_not_installed_is_a_matter_of_configuration(database):
    assert failing(changed(database, Driver="No Such Driver").connect).kind is Kind.CONFIGURATION
    assert failing(Database(DatabaseSettings(connection="DSN=nope;Pwd=x")).connect).kind is Kind.CONFIGURATION


def test_a_connection_string_does_the_same_as_keywords(database):
    odbc = Database(DatabaseSettings(connection=join_connection(database.connection)))
    odbc.connect()
    assert odbc.execute("SELECT 1") is not None
    assert odbc.dialect.name == database.kind
    assert odbc.server.versions
    odbc.close()


def test_a_bad_statement_of_on_connect_is_a_matter_of_configuration(database):
    odbc = Database(settings(database, on_connect=("SELEC 1",)))
    failure = failing(odbc.connect)
    assert (failure.kind, failure.place) == (Kind.CONFIGURATION, "database.on_connect")
    assert not odbc.connected
