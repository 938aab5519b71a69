"""Bad days of the database: nothing is dead-lettered, the pause line says why, and it goes on by itself."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.e2e.conftest import TABLE, Connector, reading
from tests.e2e.pauses import ALL, INBOX, ONCE, expect_all, load, pause_of, written
from tests.services.database import Database
from tests.services.rabbitmq import Vhost
from tests.services.sqlite import SqliteDatabase
from tests.services.waiting import eventually

Make = Callable[[str], Connector]

QUICK = {"attempts": 1, "first_ms": 10, "breaker": 3}
#: Makes every INSERT fail with the SQLSTATE that stands in the table `sick`; only that of `device`, if it names one.
SICK = (
    "CREATE TABLE sick (state text, device text)",
    "CREATE FUNCTION be_sick() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE code text; BEGIN "
    "SELECT state INTO code FROM sick WHERE device IS NULL OR device = NEW.device LIMIT 1; "
    "IF code IS NOT NULL THEN RAISE EXCEPTION 'a trigger says %', code USING ERRCODE = code; END IF; "
    "RETURN NEW; END $$",
    "CREATE TRIGGER be_sick BEFORE INSERT ON reading FOR EACH ROW EXECUTE FUNCTION be_sick()",
)


@contextlib.contextmanager
def holding(database: Database, lock: str, release: str) -> Iterator[None]:
    """Hold a lock from a connection of its own."""
    connection = database.connect()
    cursor = connection.cursor()
    for statement in lock.split(";"):
        cursor.execute(statement)
    try:
        yield
    finally:
        cursor.execute(release)
        cursor.close()
        connection.close()


# -- outages


@pytest.mark.usefixtures("quick_probes")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["postgres_db", "maria_db"])
def test_database_stopped_in_mid_load_pauses_and_everything_is_written_after_it(on: Make, name: str) -> None:
    connector = on(name)
    connector.database.execute(INBOX)
    connector.configure(batch={"size": 20, "wait_ms": 5}, idempotency=ONCE)
    load(connector, range(1, 2001))
    with connector.subscribed() as running:
        eventually(lambda: connector.database.count("reading") > 0)
        connector.database.close()
        connector.database.server.stop()
        pause = pause_of(running)
        # the server's own last word, or what the driver says of a connection that is gone
        stopping = pause[1].endswith(("57P01", "57P02", "57P03", "/1053"))
        assert stopping or pause[1][:5] in {"08S01", "08001", "HY000"}
        assert pause[3].startswith("wait: the server is st" if stopping else "start the database or fix")
        connector.publish(*[reading(n) for n in range(2001, 2501)])
        connector.database.server.start()
        expect_all(connector, range(1, 2501))
        running.wait_for(" RESUMED ")


@pytest.mark.usefixtures("quick_probes")
def test_the_folder_of_an_sqlite_file_goes_and_comes_back(tmp_path: Path, vhost: Vhost) -> None:
    folder, away = tmp_path / "disk", tmp_path / "away"
    folder.mkdir()
    database = SqliteDatabase(folder / "test.sqlite")
    database.execute(TABLE)
    connector = Connector(tmp_path, vhost, database)
    connector.configure()
    with contextlib.closing(database), connector.subscribed() as running:
        connector.publish(reading(1))
        eventually(lambda: written(connector) == [1])
        database.close()
        folder.rename(away)
        connector.publish(reading(2))
        pause_of(running)
        away.rename(folder)
        expect_all(connector, range(1, 3))


@pytest.mark.parametrize("name", ["postgres_db", "maria_db"])
def test_back_end_killed_while_idle_and_in_a_statement(on: Make, name: str) -> None:
    connector = on(name)
    database = connector.database
    connector.configure()
    with connector.subscribed():
        connector.publish(reading(1))
        eventually(lambda: written(connector) == [1])
        assert kill_sessions(database) == 1
        connector.publish(reading(2))
        eventually(lambda: written(connector) == [1, 2])
        with holding(database, *LOCKS[database.kind]):
            connector.publish(reading(3))
            eventually(lambda: kill_sessions(database, waiting=True) == 1)
        expect_all(connector, range(1, 4))


def kill_sessions(database: Database, *, waiting: bool = False) -> int:
    """Kill the sessions that are not the test's own, or those that wait for a lock; return how many."""
    if database.kind == "postgresql":
        which = "wait_event_type = 'Lock'" if waiting else "backend_type = 'client backend' AND pid <> pg_backend_pid()"
        found = database.rows(f"SELECT pid FROM pg_stat_activity WHERE datname = ? AND {which}", database.name)
        kill = "SELECT pg_terminate_backend({})"
    else:
        which = "info LIKE 'INSERT%'" if waiting else f"id <> {database.value('SELECT connection_id()')}"
        found = database.server.execute(
            f"SELECT id FROM information_schema.processlist WHERE db = '{database.name}' AND {which}"
        )
        kill = "KILL {}"
    for (session,) in found:
        database.server.execute(kill.format(session))
    return len(found)


@contextlib.contextmanager
def transaction(database: Database) -> Iterator[Any]:
    """Open a transaction beside the connector's."""
    connection = database.connect()
    cursor = connection.cursor()
    cursor.execute("BEGIN")
    try:
        yield cursor
    finally:
        cursor.close()
        connection.close()


LOCKS = {
    "postgresql": ("BEGIN; LOCK TABLE reading IN EXCLUSIVE MODE", "ROLLBACK"),
    "mariadb": ("LOCK TABLES reading WRITE", "UNLOCK TABLES"),
    "sqlite": ("BEGIN IMMEDIATE", "ROLLBACK"),
}


@pytest.mark.parametrize("name", ["postgres_db", "maria_db", "sqlite_db"])
def test_a_lock_held_longer_than_all_retries_dead_letters_nothing(on: Make, name: str) -> None:
    connector = on(name)
    kind = connector.database.kind
    limit = {"postgresql": "SET lock_timeout = '50ms'", "mariadb": "SET lock_wait_timeout = 0", "sqlite": "SELECT 1"}
    more = {"Timeout": "50"} if kind == "sqlite" else {}
    connector.configure(
        database={"connection": connector.database.connection | more, "on_connect": limit[kind]},
        retry=QUICK,
        hold_seconds=0.5,
    )
    load(connector)
    with contextlib.ExitStack() as held:
        held.enter_context(holding(connector.database, *LOCKS[kind]))
        with connector.subscribed() as running:
            assert pause_of(running)[1] in {"55P03", "HY000/1205", "HY000/5"}
            # Nothing is held longer than hold_seconds: it waits in the queue.
            running.wait_for("requeued")
            eventually(lambda: connector.vhost.depth("readings") == len(ALL))
            held.close()
            running.signal(signal.SIGUSR1)
            expect_all(connector)


@pytest.mark.usefixtures("quick_probes")
@pytest.mark.slow
def test_a_silent_database_is_given_up_after_the_drivers_time_limit(on: Make) -> None:
    connector = on("maria_db")
    limits = {"CONN_TIMEOUT": "2", "READ_TIMEOUT": "2", "WRITE_TIMEOUT": "2"}
    connector.configure(database={"connection": connector.database.connection | limits})
    with connector.subscribed() as running:
        connector.publish(reading(1))
        eventually(lambda: written(connector) == [1])
        connector.database.server.pause()
        connector.publish(reading(2))
        pause_of(running)
        connector.database.server.resume()
        expect_all(connector, range(1, 3))


def test_a_silent_database_at_the_start_is_given_up_after_the_time_limit_of_the_log_in(on: Make) -> None:
    connector = on("postgres_db")
    connector.constants = {"dbconnector.odbc.connection_string.TimeLimits.__init__.__defaults__": [[2, 20, 60, 75]]}
    connector.configure()
    load(connector)
    connector.database.close()
    connector.database.server.pause()
    with connector.subscribed(ready=" PAUSED ") as running:
        assert "timeout expired" in pause_of(running)[2]
        connector.database.server.resume()
        expect_all(connector)


# -- a full disk


def expect_a_pause_for(connector: Connector, code: str) -> None:
    """Every message fails with this SQLSTATE until it is mended."""
    connector.database.script(*SICK, f"INSERT INTO sick VALUES ('{code}')")
    connector.configure(retry=QUICK)
    load(connector)
    with connector.subscribed() as running:
        assert pause_of(running)[1] == code
        connector.database.execute("DELETE FROM sick")
        expect_all(connector)


def test_full_disk_of_postgresql_pauses(on: Make) -> None:
    expect_a_pause_for(on("postgres_db"), "53100")


@pytest.mark.usefixtures("quick_probes")
def test_full_table_of_mariadb_pauses(on: Make) -> None:
    connector = on("maria_db")
    connector.database.script(
        "SET max_heap_table_size = 1048576",
        "CREATE TABLE ballast (pad char(255)) ENGINE=MEMORY",
        "CREATE TRIGGER weigh AFTER INSERT ON reading FOR EACH ROW INSERT INTO ballast VALUES ('')",
    )
    with pytest.raises(pymysql.OperationalError, match="full"):
        connector.database.execute("INSERT INTO ballast SELECT '' FROM seq_1_to_5000")
    connector.configure(retry=QUICK)
    load(connector)
    with connector.subscribed() as running:
        assert pause_of(running)[1] == "HY000/1114"
        connector.database.execute("DELETE FROM ballast")
        expect_all(connector)


@pytest.mark.usefixtures("quick_probes")
def test_full_sqlite_file_pauses(on: Make) -> None:
    connector = on("sqlite_db")
    connector.database.script("CREATE TABLE filler (x)", "INSERT INTO filler VALUES (zeroblob(200000))")
    pages = connector.database.value("PRAGMA page_count")
    connector.configure(retry=QUICK, database={"on_connect": f"PRAGMA max_page_count = {pages}"})
    load(connector, range(1, 1001))
    with connector.subscribed() as running:
        assert pause_of(running)[1] == "HY000/13"
        connector.database.execute("DELETE FROM filler")
        expect_all(connector, range(1, 1001))


# -- failures of every message, and of one


@pytest.mark.parametrize("name", ["postgres_db", "maria_db", "sqlite_db"])
def test_a_missing_table_pauses_until_it_is_made_and_sigusr1_tries_at_once(on: Make, name: str) -> None:
    connector = on(name)
    connector.database.execute("DROP TABLE reading")
    connector.configure(retry=QUICK)
    load(connector)
    with connector.subscribed() as running:
        pause = pause_of(running)
        assert pause[1] in {"42P01", "42S02", "42S02/1146", "HY000/1"}
        assert "reading" in pause[2]
        connector.database.execute(TABLE)
        running.signal(signal.SIGUSR1)
        running.wait_for("retry requested")
        expect_all(connector)


def test_sigterm_while_paused_gives_everything_back(on: Make) -> None:
    connector = on("sqlite_db")
    connector.database.execute("DROP TABLE reading")
    connector.configure(retry=QUICK)
    load(connector)
    with connector.subscribed() as running:
        pause_of(running)
        assert running.stop(10) == 0
    assert eventually(lambda: connector.vhost.depth("readings") == len(ALL))


def test_class_42_of_one_message_is_dead_lettered_while_others_pass(on: Make) -> None:
    connector = on("postgres_db")
    connector.database.script(*SICK, "INSERT INTO sick VALUES ('42704', 'odd')")
    connector.configure(retry=QUICK)
    load(connector)
    connector.publish(reading(41, device="odd"))
    load(connector, range(42, 45))
    with connector.subscribed():
        eventually(lambda: written(connector) == [*ALL, 42, 43, 44])
        ((body, headers),) = eventually(connector.dead)
    assert body == reading(41, device="odd")
    assert (headers["dead-reason"], headers["dead-code"]) == ("reject", "42704")


def test_an_unknown_code_blames_the_message_that_fails_alone(on: Make) -> None:
    connector = on("postgres_db")
    connector.database.script(*SICK, "INSERT INTO sick VALUES ('ZZ001', 'odd')")
    connector.configure(retry=QUICK)
    load(connector)
    connector.publish(reading(41, device="odd"))
    load(connector, range(42, 45))
    with connector.subscribed():
        eventually(lambda: written(connector) == [*ALL, 42, 43, 44])
        ((_, headers),) = eventually(connector.dead)
    assert (headers["dead-reason"], headers["dead-code"]) == ("unknown", "ZZ001")


def test_an_unknown_code_for_every_message_pauses(on: Make) -> None:
    expect_a_pause_for(on("postgres_db"), "ZZ001")


def test_a_deadlock_with_somebody_else_is_retried(on: Make) -> None:
    connector = on("maria_db")
    database = connector.database
    database.script(
        "CREATE TABLE account (id integer PRIMARY KEY, n integer NOT NULL)",
        "INSERT INTO account SELECT seq, 0 FROM seq_1_to_100",
    )
    add = "UPDATE account SET n = n + 1 WHERE id = :{}"
    connector.configure(write=[{"statement": add.format("a")}, {"statement": add.format("b")}])
    with connector.subscribed() as running, transaction(database) as cursor:
        # InnoDB gives up the transaction that has changed fewer rows: not this one.
        cursor.execute("UPDATE account SET n = 10 WHERE id >= 2")
        connector.publish(b'{"a": 1, "b": 2}')
        waiting = "SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
        # The table is filled anew only for who has not looked for 100 ms: asked more often it would never change.
        eventually(lambda: database.server.execute(waiting), every=0.2)
        cursor.execute("UPDATE account SET n = 10 WHERE id = 1")
        cursor.execute("COMMIT")
        eventually(lambda: database.rows("SELECT n FROM account WHERE id <= 2") == [(11,), (11,)])
        assert " code=40001/1213 " in running.log
        assert "PAUSED" not in running.log
    assert connector.dead() == []


def test_deadlocks_are_retried(on: Make) -> None:
    connector = on("postgres_db")
    connector.database.script(
        "CREATE SEQUENCE tries",
        "CREATE FUNCTION lock_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF nextval('tries') <= 2 THEN "
        "RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER lock_up BEFORE INSERT ON reading FOR EACH ROW EXECUTE FUNCTION lock_up()",
    )
    connector.configure(retry={"attempts": 3, "first_ms": 10})
    load(connector)
    with connector.subscribed() as running:
        expect_all(connector)
        assert connector.database.value("SELECT last_value FROM tries") > 2
        assert "PAUSED" not in running.log


def test_a_second_sigterm_quits_at_once(on: Make) -> None:
    connector = on("postgres_db")
    connector.configure()
    with holding(connector.database, *LOCKS["postgresql"]), connector.subscribed() as running:
        connector.publish(reading(1))
        eventually(lambda: connector.database.rows("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
        running.signal(signal.SIGTERM)
        running.wait_for("stopping")
        running.signal(signal.SIGTERM)
        running.code = 128 + signal.SIGTERM
        assert running.process.wait(5) == running.code
    assert eventually(lambda: connector.vhost.depth("readings") == 1)


# -- at the start


@pytest.mark.usefixtures("quick_probes")
@pytest.mark.slow
@pytest.mark.parametrize(("name", "command"), [("postgres_db", "receive"), ("maria_db", "inbox --create")])
def test_no_database_at_the_start(on: Make, name: str, command: str) -> None:
    connector = on(name)
    connector.configure(idempotency=ONCE)
    load(connector)
    connector.database.close()
    connector.database.server.stop()
    done = connector.run(*command.split(), "-c", "db.config")
    assert done.returncode == 69, done.stderr
    assert " ERROR database: " in done.stderr.splitlines()[-1]
    with connector.subscribed(ready="PAUSED") as running:
        pause_of(running)
        connector.database.server.start()
        connector.database.execute(INBOX)
        expect_all(connector)


@pytest.mark.parametrize("name", ["postgres_db", "maria_db"])
def test_refused_by_the_database(on: Make, name: str) -> None:
    connector = on(name)
    database = connector.database
    user = f"late_{database.name}"
    if database.kind == "postgresql":
        database.server.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'right'")
        database.execute(f"GRANT ALL ON reading TO {user}")
        mend = f"ALTER ROLE {user} PASSWORD 'wrong'"
    else:
        database.server.execute(f"CREATE USER {user}@'%' IDENTIFIED BY 'right'")
        database.server.execute(f"GRANT ALL ON {database.name}.* TO {user}@'%'")
        mend = f"SET PASSWORD FOR {user}@'%' = PASSWORD('wrong')"
    connector.configure(database={"connection": database.connection | {"Uid": user, "Pwd": "wrong"}})
    load(connector)
    done = connector.run("receive", "-c", "db.config")
    assert done.returncode == 77, done.stderr
    assert " ERROR database: " in done.stderr.splitlines()[-1]
    with connector.subscribed(ready="PAUSED") as running:
        pause_of(running)
        database.server.execute(mend)
        running.signal(signal.SIGUSR1)
        expect_all(connector)
