"""What can be wrong with a database, on each of the two servers."""

import contextlib
from collections.abc import Iterator

import pymysql

from tests.services.database import Database

PASSWORD = "connector-pass;1"

#: Every insert into `reading` fails with the code that stands in the table `sick`, as long as there is one.
TRIGGERS = {
    "postgresql": (
        "CREATE TABLE sick (code text NOT NULL)",
        "CREATE FUNCTION be_sick() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE c text; BEGIN "
        "SELECT code INTO c FROM sick LIMIT 1; "
        "IF c IS NOT NULL THEN RAISE EXCEPTION 'a trigger says %', c USING ERRCODE = c; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER be_sick BEFORE INSERT ON reading FOR EACH ROW EXECUTE FUNCTION be_sick()",
    ),
    "mariadb": (
        "CREATE TABLE sick (code integer NOT NULL)",
        "CREATE TRIGGER be_sick BEFORE INSERT ON reading FOR EACH ROW BEGIN "
        "DECLARE c integer; SELECT max(code) INTO c FROM sick; "
        "IF c IS NOT NULL THEN SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = c, MESSAGE_TEXT = 'a trigger says so'; "
        "END IF; END",
    ),
}
#: A disease, and the code by which each server tells of it.
CODES = {
    "deadlock": {"postgresql": "40P01", "mariadb": "1213"},
    "serialization": {"postgresql": "40001", "mariadb": "1020"},
    "lock": {"postgresql": "55P03", "mariadb": "1205"},
    "full disk": {"postgresql": "53100", "mariadb": "1021"},
    "too many connections": {"postgresql": "53300", "mariadb": "1040"},
    # What a driver says that knows nothing better.
    "unknown": {"postgresql": "HY000", "mariadb": "4711"},
}
#: No wait for a lock is longer, in seconds or what the server takes for that.
SHORT_LOCKS = {
    "postgresql": "SET lock_timeout = '300ms'",
    "mariadb": "SET lock_wait_timeout = 1, innodb_lock_wait_timeout = 1",
}


def make_user(database: Database) -> str:
    """Make the connector's own user, so that it can be shut out without shutting out the test; return the name."""
    user = f"c_{database.name}"
    if database.kind == "postgresql":
        database.server.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'")
        database.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {user}")
        database.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {user}")
    else:
        database.server.execute(f"CREATE USER {user}@'%' IDENTIFIED BY '{PASSWORD}'")
        database.server.execute(f"GRANT ALL ON {database.name}.* TO {user}@'%'")
    return user


def hurry(database: Database) -> None:
    """Let a commit reach the operating system and not the disk: that survives all that is done to the server here."""
    if database.kind == "mariadb":
        database.server.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 2")


def change_password(database: Database, user: str, password: str) -> None:
    if database.kind == "postgresql":
        database.server.execute(f"ALTER ROLE {user} PASSWORD '{password}'")
    else:
        database.server.execute(f"SET PASSWORD FOR {user}@'%' = PASSWORD('{password}')")


def kill_sessions(database: Database, user: str) -> int:
    """End all sessions of a user, whatever they are at; return how many."""
    if database.kind == "postgresql":
        ended = database.server.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'"
        )
        return len(ended)
    found = database.server.execute(f"SELECT id FROM information_schema.processlist WHERE user = '{user}'")
    for (session,) in found:
        with contextlib.suppress(pymysql.OperationalError):  # gone by itself
            database.server.execute(f"KILL {session}")
    return len(found)


def fall_ill(database: Database, disease: str) -> None:
    database.execute("INSERT INTO sick (code) VALUES (?)", CODES[disease][database.kind])


def get_well(database: Database) -> None:
    database.execute("DELETE FROM sick")


@contextlib.contextmanager
def locked(database: Database) -> Iterator[None]:
    """Hold the table from a connection of its own."""
    lock = {"postgresql": ("BEGIN", "LOCK TABLE reading IN EXCLUSIVE MODE"), "mariadb": ("LOCK TABLES reading WRITE",)}
    connection = database.connect()
    cursor = connection.cursor()
    try:
        for statement in lock[database.kind]:
            cursor.execute(statement)
        yield
    finally:
        cursor.close()
        connection.close()


@contextlib.contextmanager
def read_only(database: Database, user: str) -> Iterator[None]:
    """As after a fail-over to a server that does not write."""
    if database.kind == "postgresql":
        on = f"ALTER ROLE {user} SET default_transaction_read_only = on"
        off = f"ALTER ROLE {user} RESET default_transaction_read_only"
    else:
        on, off = "SET GLOBAL read_only = 1", "SET GLOBAL read_only = 0"
    database.server.execute(on)
    kill_sessions(database, user)
    try:
        yield
    finally:
        database.server.execute(off)
