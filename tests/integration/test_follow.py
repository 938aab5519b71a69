"""`follow` on real databases: how far a table is read while transactions are open, and who reads it."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from connectorlib.amqp import Broker
from connectorlib.errors import Failed
from connectorlib.preflight.findings import Mark
from connectorlib.shared_settings import Destination
from dbconnector import preflight
from dbconnector.cursor_table import seen_ddl
from dbconnector.follow_run import Follower
from dbconnector.lease_table import ddl
from dbconnector.odbc.database import Database as Odbc
from dbconnector.row_source import IntervalSource
from dbconnector.settings import Connection, DatabaseSettings, DbConfig, Follow, Select, State
from dbconnector.wall_clock import WallClock
from dbconnector.watermark import Horizon
from tests.services.database import Database
from tests.services.mariadb import MariaDatabase
from tests.services.postgresql import PASSWORD, PostgresDatabase
from tests.services.rabbitmq import Vhost
from tests.services.sqlite import SqliteDatabase
from tests.services.waiting import eventually

#: The time of a row is that of the database.
TABLES = {
    "postgresql": "CREATE TABLE reading (id integer PRIMARY KEY, value integer, changed_at timestamptz DEFAULT now())",
    "mariadb": "CREATE TABLE reading (id integer PRIMARY KEY, value integer, changed_at datetime(6) DEFAULT now(6))",
    "sqlite": "CREATE TABLE reading (id integer PRIMARY KEY, value integer, changed_at text DEFAULT CURRENT_TIMESTAMP)",
}


class Table:
    """A followed table, and a queue `rows` for what is published of it."""

    def __init__(self, database: Database, vhost: Vhost) -> None:
        self.database = database
        self.vhost = vhost
        vhost.declare_queue("rows", "rows", "row")
        database.execute(TABLES[database.kind])
        if isinstance(database, MariaDatabase):
            database.server.execute("GRANT PROCESS ON *.* TO 'app'@'%'")

    def config(
        self,
        to: Mapping[str, str] | None = None,
        fetch: int = 1000,
        connection: Connection | None = None,
        **follow: Any,
    ) -> DbConfig:
        query = "SELECT id, value, changed_at FROM reading"
        state = State("connector_cursor", connection)
        settings = Follow(**{"column": "changed_at", "key": ("id",), **follow}, state=state)
        return DbConfig(
            file="db.config",
            name="readings",
            database=DatabaseSettings(
                to or self.database.connection, select=Select(query, fetch=fetch, follow=settings)
            ),
            broker=self.vhost.broker_settings(),
            destination=Destination("rows", routing_key="row"),
        )

    @contextmanager
    def followed(self, config: DbConfig | None = None, **settings: Any) -> Iterator[Callable[[], list[int]]]:
        """Yield what does a round and returns the ids that are in the queue after it."""
        with self.follower(config, **settings) as follower:

            def ids() -> list[int]:
                follower.round(lambda sent: None)
                return self.ids()

            yield ids

    @contextmanager
    def follower(self, config: DbConfig | None = None, **settings: Any) -> Iterator[Follower]:
        config = config or self.config(**settings)
        with ExitStack() as stack:
            table = stack.enter_context(closing(Odbc(config.database)))
            own = config.database.state
            state = stack.enter_context(closing(Odbc(own))) if own is not config.database else table
            broker = stack.enter_context(Broker(config.broker, name="test", consuming=False))
            assert broker.wait_connected(20)
            follower = Follower(config, (table, state), broker, threading.Event(), {})
            yield stack.enter_context(closing(follower))

    def ids(self) -> list[int]:
        return [json.loads(body)["id"] for _, _, body in self.vhost.get_all("rows")]

    def insert(self, *ids: int) -> None:
        for id in ids:
            self.database.execute("INSERT INTO reading (id) VALUES (?)", id)

    def complete(self, round: Callable[[], list[int]], *expected: int) -> None:
        """Do rounds until these ids, and no others, have come."""
        found: list[int] = []

        def come() -> bool:
            found.extend(round())
            return set(found) >= set(expected)

        eventually(come, 20, 0.1)
        assert sorted(found) == sorted(expected)


@pytest.fixture
def table(database: Database, vhost: Vhost) -> Table:
    return Table(database, vhost)


@pytest.fixture
def on_postgres(postgres_db: PostgresDatabase, vhost: Vhost) -> Table:
    return Table(postgres_db, vhost)


@pytest.fixture
def on_mariadb(maria_db: MariaDatabase, vhost: Vhost) -> Table:
    return Table(maria_db, vhost)


@pytest.fixture
def on_sqlite(sqlite_db: SqliteDatabase, vhost: Vhost) -> Table:
    return Table(sqlite_db, vhost)


@contextmanager
def session(database: Database, user: str | None = None) -> Iterator[Callable[..., list[Any]]]:
    """Yield what runs statements on one more connection, which is not ODBC."""
    with closing(database.server.connect(database.name, user) if user else database.connect()) as connection:

        def run(sql: str, *parameters: Any) -> list[Any]:
            with closing(connection.cursor()) as cursor:
                cursor.execute(sql, *([parameters] if parameters else []))
                return list(cursor.fetchall()) if cursor.description else []

        yield run


@contextmanager
def prepared(run: Callable[..., list[Any]], name: str) -> Iterator[None]:
    """Prepare the open transaction, and commit it at the end: a database with one of them cannot be dropped."""
    run(f"PREPARE TRANSACTION '{name}'")
    try:
        yield
    finally:
        run(f"COMMIT PREPARED '{name}'")


# --- rows -------------------------------------------------------------------------------------------------------------


def test_local_times_come_once_each_through_the_hour_that_comes_twice(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a column of `database.zone`, by a clock that is put back meanwhile. From 02:00 on rows wait until the second
    pass of the hour has come as far, for until then a row with an earlier time may come."""
    kind = {"postgresql": "timestamp"}.get(table.database.kind, "datetime")
    columns = f"(id integer PRIMARY KEY, value integer, changed_at {kind})"
    table.database.script("DROP TABLE reading", f"CREATE TABLE reading {columns}")
    vienna, config = ZoneInfo("Europe/Vienna"), table.config()
    config = replace(config, database=replace(config.database, clock=WallClock(vienna)))
    back = datetime(2026, 10, 25, 1, tzinfo=UTC)
    instants = [back + timedelta(minutes=10 * number) for number in range(-8, 9)]
    published: list[list[Any]] = []
    with table.follower(config) as follower:
        for number, instant in enumerate(instants):
            wall = f"{instant.astimezone(vienna):%Y-%m-%d %H:%M:%S}"
            table.database.execute("INSERT INTO reading (id, changed_at) VALUES (?, ?)", number, wall)
            horizon = Horizon((instant + timedelta(seconds=1)).replace(tzinfo=None))
            monkeypatch.setattr(IntervalSource, "horizon", lambda self, found=horizon: found)
            follower.round(lambda sent: None)
            published.append([json.loads(body) for _, _, body in table.vhost.get_all("rows")])
    assert [[row["id"] for row in rows] for rows in published] == [
        *([0], [1], [], [], [], [], [], []),
        *([2, 8], [3, 9], [4, 10], [5, 11], [6, 12], [7, 13]),
        *([14], [15], [16]),
    ]
    times = [row["changed_at"] for rows in published for row in rows]
    assert times[0] == "2026-10-25T01:40:00+02:00"
    assert times[2:4] == ["2026-10-25T02:00:00+02:00"] * 2
    assert times[-1] == "2026-10-25T03:20:00+01:00"


def test_what_is_inserted_and_what_is_changed_is_published_once_in_pages(table: Table) -> None:
    with table.followed(fetch=3) as round:
        table.insert(*range(1, 8))
        table.complete(round, *range(1, 8))
        now = {"sqlite": "CURRENT_TIMESTAMP"}.get(table.database.kind, "now(6)")
        now = "now()" if table.database.kind == "postgresql" else now
        time.sleep(1.1 if table.database.kind == "sqlite" else 0)
        table.database.execute(f"UPDATE reading SET value = 5, changed_at = {now} WHERE id = 4")
        table.complete(round, 4)
        assert round() == []
    with table.followed() as round:
        assert round() == []


def test_the_id_of_a_message_is_made_of_name_key_and_column(on_postgres: Table) -> None:
    on_postgres.database.execute("INSERT INTO reading VALUES (7, 1, '2026-01-31 08:00:00+00')")
    with on_postgres.follower() as follower:
        assert follower.round(lambda sent: None)
    ((_, properties, _),) = on_postgres.vhost.get_all("rows")
    assert properties.message_id == "readings:7:2026-01-31T08:00:00+00:00"


def test_many_rows_share_a_message_which_has_the_same_id_when_a_crash_publishes_it_again(on_postgres: Table) -> None:
    plain = on_postgres.config(clock="database")
    config = replace(plain, destination=Destination("rows", routing_key="row", rows=2))
    on_postgres.insert(1, 2, 3)
    found: list[Any] = []
    for _ in range(2):
        with on_postgres.follower(config) as follower:
            follower.round(lambda sent: None)
        found.append([(p.message_id, json.loads(body)) for _, p, body in on_postgres.vhost.get_all("rows")])
        for table in ("connector_cursor", "connector_cursor_seen"):
            on_postgres.database.execute(f"DELETE FROM {table}")
    assert [[row["id"] for row in rows] for _, rows in found[0]] == [[1, 2], [3]]
    assert found[0] == found[1]


def test_nothing_is_published_inside_a_transaction(on_postgres: Table) -> None:
    """A broker that takes its time would make the follower itself a long transaction."""
    states: list[str] = []

    def look(_sent: int) -> None:
        sql = "SELECT state FROM pg_stat_activity WHERE application_name = 'dbconnector follow'"
        states.extend(state for (state,) in on_postgres.database.rows(sql))

    on_postgres.insert(*range(1, 7))
    with on_postgres.follower(fetch=2) as follower:
        follower.round(look)
    assert len(states) == 3
    assert set(states) == {"idle"}


def test_rows_with_a_time_of_an_application_come_within_the_overlap(on_postgres: Table) -> None:
    """They are published once, counted as late, and told of when they are later than half of the overlap."""
    with on_postgres.follower() as follower:
        on_postgres.insert(1)
        follower.round(lambda sent: None)
        assert on_postgres.ids() == [1]
        for id, early in ((2, "1 second"), (3, "4 seconds"), (4, "1 hour")):
            on_postgres.database.execute(
                f"INSERT INTO reading (id, changed_at) VALUES ({id}, clock_timestamp() - interval '{early}')"
            )
        for _ in range(2):
            follower.round(lambda sent: None)
        assert on_postgres.ids() == [3, 2]
        assert follower.stats.late == 2
        assert 3 < follower.stats.latest_s < 5


def test_a_clock_that_is_set_back_costs_no_row(table: Table, caplog: pytest.LogCaptureFixture) -> None:
    """What was read lies in the future then, and rows that are written now below it."""
    with table.followed(clock="database") as round:
        table.insert(1)
        table.complete(round, 1)
        table.database.execute("UPDATE connector_cursor SET watermark = '2999-01-31 08:00:00.000000'")
        table.insert(2)
        eventually(lambda: 2 in round(), 20, 0.1)
        assert caplog.text.count("reading again") == 1
        table.insert(3)
        table.complete(round, 3)


#: Columns that hold no moments, by database: their rows sort otherwise than what they are compared with.
NO_MOMENTS = {
    "postgres": ["date", "time"],
    "mariadb": ["integer", "bigint", "date", "time", "year", "double", "decimal(20)"],
    "sqlite": ["integer", "bigint", "real", "boolean"],
}


@pytest.mark.parametrize("kind", NO_MOMENTS)
def test_a_column_without_moments_is_refused(request: pytest.FixtureRequest, kind: str) -> None:
    table = request.getfixturevalue(f"on_{kind}")
    for type in NO_MOMENTS[kind]:
        table.database.execute("DROP TABLE reading")
        table.database.execute(f"CREATE TABLE reading (id integer PRIMARY KEY, value integer, changed_at {type})")
        with table.followed() as round, pytest.raises(Failed, match="changed_at holds no moments"):
            round()


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ("2026-01-31 08:00:00", True),
        ("2026-01-31 08:00:00.123", True),
        ("2026-01-31 08:00:00Z", True),
        ("2026-01-31T08:00:00", False),
        ("2026-01-31 08:00", False),
        ("2026-01-31", False),
        ("2026-01-31 08:00:00+02:00", False),
        ("", False),
        (1769846400, False),
    ],
)
def test_a_text_of_sqlite_that_does_not_sort_like_its_time_is_refused(
    on_sqlite: Table, value: str | int, fits: bool
) -> None:
    on_sqlite.database.execute("DROP TABLE reading")
    on_sqlite.database.execute("CREATE TABLE reading (id integer PRIMARY KEY, value integer, changed_at date)")
    on_sqlite.database.execute("INSERT INTO reading (id, changed_at) VALUES (7, ?)", value)
    with on_sqlite.followed() as round:
        if fits:
            assert round() == [7]
        else:
            with pytest.raises(Failed, match=r"changed_at is .* in the row with id 7"):
                round()


def test_it_begins_where_it_is_told_to(on_postgres: Table) -> None:
    values = ", ".join(f"({hour}, '2026-01-31 0{hour}:00:00+00')" for hour in range(1, 6))
    on_postgres.database.execute(f"INSERT INTO reading (id, changed_at) VALUES {values}")
    with on_postgres.followed(start="2026-01-31T03:00:00Z") as round:
        on_postgres.complete(round, 3, 4, 5)
    on_postgres.database.execute("DROP TABLE connector_cursor, connector_cursor_seen")
    with on_postgres.followed(start="now") as round:
        assert round() == []
        on_postgres.insert(6)
        on_postgres.complete(round, 6)


# --- PostgreSQL: what is open ----------------------------------------------------------------------------------------


def test_a_transaction_that_has_only_looked_at_the_time_holds_the_horizon(on_postgres: Table) -> None:
    """It has no xid, and what it writes later has the time at which it began. The overlap is nothing against that."""
    with on_postgres.follower(overlap_s=0.001) as follower, session(on_postgres.database) as other:
        follower.round(lambda sent: None)
        other("BEGIN")
        other("SELECT now()")
        on_postgres.insert(1)
        for _ in range(3):
            follower.round(lambda sent: None)
        assert on_postgres.ids() == []
        assert follower.stats.horizon.held_by.startswith("session ")
        other("INSERT INTO reading (id) VALUES (2)")
        other("COMMIT")
        follower.round(lambda sent: None)
        assert on_postgres.ids() == [2, 1]


def test_what_is_ignored_does_not_hold_the_horizon(on_postgres: Table) -> None:
    with on_postgres.followed(ignore=('pg"dump,\\',)) as round, session(on_postgres.database) as other:
        other("SELECT set_config('application_name', %s, false)", 'pg"dump,\\')
        other("BEGIN")
        other("SELECT now()")
        on_postgres.insert(1)
        assert round() == [1]


def test_a_prepared_transaction_holds_the_horizon_and_is_named(on_postgres: Table) -> None:
    with on_postgres.follower(overlap_s=0.001) as follower, session(on_postgres.database) as other:
        follower.round(lambda sent: None)
        other("BEGIN")
        other("INSERT INTO reading (id) VALUES (1)")
        with prepared(other, "stays"):
            on_postgres.insert(2)
            for _ in range(3):
                follower.round(lambda sent: None)
            assert on_postgres.ids() == []
            assert follower.stats.about().endswith("held by prepared transaction stays")
        follower.round(lambda sent: None)
        assert on_postgres.ids() == [1, 2]


@pytest.mark.parametrize("again", [False, True])
def test_a_session_that_does_not_show_its_transaction_holds_the_horizon(on_postgres: Table, again: bool) -> None:
    """`track_activities` was off when it began; that it is on again does not tell when that was."""
    database = on_postgres.database
    database.server.execute("GRANT pg_read_all_stats TO app")
    with on_postgres.follower(overlap_s=0.001) as follower, session(database, "postgres") as other:
        follower.round(lambda sent: None)
        other("SET track_activities = off")
        other("BEGIN")
        other("INSERT INTO reading (id) VALUES (1)")
        if again:
            other("SET track_activities = on")
        on_postgres.insert(2)
        for _ in range(3):
            follower.round(lambda sent: None)
        assert on_postgres.ids() == []
        assert "does not show its transactions" in follower.stats.horizon.held_by
        other("COMMIT")
        follower.round(lambda sent: None)
        assert on_postgres.ids() == ([1, 2] if again else [])
    database.server.execute("REVOKE pg_read_all_stats FROM app")


def test_sessions_that_are_hidden_from_the_user_hold_the_horizon(on_postgres: Table) -> None:
    server = on_postgres.database.server
    server.execute(f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'")
    try:
        on_postgres.database.execute("GRANT SELECT ON reading TO reader")
        on_postgres.database.execute("GRANT ALL ON SCHEMA public TO reader")
        on_postgres.insert(1)
        config = on_postgres.config({**on_postgres.database.connection, "Uid": "reader"})
        with on_postgres.follower(config) as follower, session(on_postgres.database, "postgres"):
            follower.round(lambda sent: None)
            assert on_postgres.ids() == []
            assert "is hidden: GRANT pg_read_all_stats" in follower.stats.about()
            server.execute("GRANT pg_read_all_stats TO reader")
            follower.round(lambda sent: None)
            assert on_postgres.ids() == [1]
    finally:
        on_postgres.database.close()
        with session(on_postgres.database, "postgres") as admin:
            admin("DROP OWNED BY reader CASCADE")
        server.execute("DROP ROLE reader")


def test_by_xid8_what_has_a_transaction_open_is_found_exactly_and_readers_do_not_count(on_postgres: Table) -> None:
    database = on_postgres.database
    database.execute("DROP TABLE reading")
    database.execute("CREATE TABLE reading (id integer, value integer, changed_at xid8 DEFAULT pg_current_xact_id())")
    with on_postgres.follower() as follower, session(database) as writer, session(database) as reader:
        reader("BEGIN")
        reader("SELECT count(*) FROM reading")
        on_postgres.insert(1)
        writer("BEGIN")
        writer("INSERT INTO reading (id) VALUES (2)")
        on_postgres.insert(3)
        follower.round(lambda sent: None)
        assert on_postgres.ids() == [1]
        assert follower.stats.horizon.held_by.startswith("transaction ")
        with prepared(writer, "two"):
            follower.round(lambda sent: None)
            assert on_postgres.ids() == []
        follower.round(lambda sent: None)
        assert on_postgres.ids() == [2, 3]
        follower.round(lambda sent: None)
        assert on_postgres.ids() == []


def test_the_statements_of_the_documentation_let_updates_be_found_by_xid8(on_postgres: Table) -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/follow.md").read_text()
    statements = page.split("```text\nALTER TABLE")[1].split("```")[0]
    on_postgres.insert(1, 2)
    with session(on_postgres.database) as run:
        run(f"ALTER TABLE{statements}")
    config = on_postgres.config(column="changed_xid")
    assert config.database.select is not None
    query = "SELECT id, changed_xid FROM reading"
    config = replace(config, database=replace(config.database, select=replace(config.database.select, query=query)))
    with on_postgres.followed(config) as round:
        assert round() == [1, 2]
        on_postgres.database.execute("UPDATE reading SET value = 3 WHERE id = 1")
        assert round() == [1]


def test_a_number_that_is_no_xid8_is_refused(on_postgres: Table) -> None:
    with on_postgres.followed(column="value") as round, pytest.raises(Failed, match="xid8"):
        round()


# --- MariaDB ---------------------------------------------------------------------------------------------------------


def test_a_transaction_of_mariadb_holds_the_horizon(on_mariadb: Table) -> None:
    with on_mariadb.follower(overlap_s=0.001) as follower, session(on_mariadb.database) as other:
        follower.round(lambda sent: None)
        other("BEGIN")
        other("INSERT INTO reading (id) VALUES (1)")
        time.sleep(1.1)  # its start is told in seconds
        on_mariadb.insert(2)
        rounds(follower, 3)
        assert on_mariadb.ids() == []
        assert follower.stats.horizon.held_by.startswith("session ")
        other("COMMIT")
        rounds(follower, 3)
        assert on_mariadb.ids() == [1, 2]


def test_a_statement_that_waits_outside_innodb_trx_holds_the_horizon(on_mariadb: Table) -> None:
    """It waits for a metadata lock, and its NOW() is its own start."""
    database = on_mariadb.database
    with on_mariadb.follower(overlap_s=0.001) as follower, session(database) as holder, session(database) as other:
        rounds(follower, 1)
        holder("LOCK TABLES reading READ")
        waiting = threading.Thread(target=other, args=("INSERT INTO reading (id) VALUES (1)",))
        waiting.start()
        eventually(lambda: "metadata" in str(database.rows("SELECT state FROM information_schema.processlist")))
        time.sleep(1.1)
        try:
            assert rounds(follower, 3).startswith("the statement of session")
        finally:  # a connection that waits for an answer cannot be closed
            holder("UNLOCK TABLES")
            waiting.join(10)
        on_mariadb.insert(2)
        rounds(follower, 3)
        assert on_mariadb.ids() == [1, 2]


def test_an_answer_of_innodb_trx_without_the_own_transaction_is_not_trusted(on_mariadb: Table) -> None:
    """It is filled again only when nobody has read it for 0.1 s."""
    stop = threading.Event()

    def read_often() -> None:
        with session(on_mariadb.database) as other:
            while not stop.wait(0.01):
                other("SELECT count(*) FROM information_schema.innodb_trx")

    def held_back() -> int:
        """Insert a row, do a round, and return the row's number if the round did not see its own transaction; if the
        reader was too slow, return 0."""
        on_mariadb.insert(number := next(numbers))
        return number if "innodb_trx" in rounds(follower, 1) else 0

    reader = threading.Thread(target=read_often)
    numbers = itertools.count(1)
    with on_mariadb.follower() as follower:
        rounds(follower, 1)
        reader.start()
        try:
            assert eventually(held_back) not in on_mariadb.ids()
        finally:
            stop.set()
            reader.join(10)
        rounds(follower, 3)
        assert on_mariadb.ids() == list(range(1, next(numbers)))


def test_without_the_right_to_see_transactions_the_overlap_is_all(on_mariadb: Table) -> None:
    on_mariadb.database.server.execute("REVOKE PROCESS ON *.* FROM 'app'@'%'")
    with on_mariadb.follower() as follower, session(on_mariadb.database) as other:
        rounds(follower, 1)
        other("BEGIN")
        other("INSERT INTO reading (id) VALUES (1)")
        on_mariadb.insert(2)
        rounds(follower, 1)
        assert on_mariadb.ids() == [2]
        other("COMMIT")
        rounds(follower, 1)
        assert on_mariadb.ids() == [1]
        assert not follower.stats.horizon.exact


def test_a_snapshot_of_repeatable_read_is_never_older_than_the_horizon(on_mariadb: Table) -> None:
    """MariaDB's default: a plain read earlier in the same transaction would miss what was committed since."""
    config = on_mariadb.config()
    with on_mariadb.follower(config) as follower:
        rounds(follower, 1)
        for id in range(1, 20):
            on_mariadb.insert(id)
            rounds(follower, 1)
        rounds(follower, 2)
    assert on_mariadb.ids() == list(range(1, 20))


# --- SQLite ----------------------------------------------------------------------------------------------------------


def test_who_writes_to_sqlite_holds_the_horizon(on_sqlite: Table, tmp_path: Path) -> None:
    connection = {**on_sqlite.database.connection, "Timeout": "100"}
    state = {**connection, "Database": str(tmp_path / "state.sqlite")}
    with on_sqlite.follower(on_sqlite.config(connection, overlap_s=0.001, connection=state)) as follower:
        rounds(follower, 1)
        with session(on_sqlite.database) as other:
            other("BEGIN")
            other("INSERT INTO reading (id) VALUES (1)")
            time.sleep(1.1)  # the time of the row has passed
            assert rounds(follower, 2) == "a connection that is writing"
            other("COMMIT")
        eventually(lambda: rounds(follower, 1) == "" and on_sqlite.ids() == [1])


# --- state -----------------------------------------------------------------------------------------------------------


def test_a_table_that_is_only_read_is_followed_with_the_state_elsewhere(table: Table, tmp_path: Path) -> None:
    state = SqliteDatabase(tmp_path / "state.sqlite")
    table.insert(1, 2, 3)
    with table.followed(connection=state.connection) as round:
        table.complete(round, 1, 2, 3)
    with table.followed(connection=state.connection) as round:
        assert round() == []
        table.insert(4)
        table.complete(round, 4)
    with pytest.raises(Exception, match="connector_cursor"):
        table.database.count("connector_cursor")
    state.close()


def test_the_lease_is_one_followers_and_goes_on_when_it_ends(table: Table) -> None:
    with table.followed() as other:
        with table.followed() as round:
            table.insert(1)
            table.complete(round, 1)
            table.insert(2)
            assert other() == []
            table.complete(round, 2)
        table.insert(3)
        table.complete(other, 3)


@pytest.mark.parametrize("running", [True, False])
def test_two_tables_that_are_followed_under_one_name_are_refused(table: Table, running: bool) -> None:
    """One of them would never be read, or from where the other was read up to."""
    table.database.execute("CREATE TABLE other AS SELECT id, changed_at FROM reading")
    config = table.config()
    assert config.database.select is not None
    select = replace(config.database.select, query="SELECT id, changed_at FROM other")
    other = replace(config, database=replace(config.database, select=select))
    with table.follower(config) as one:
        one.round(lambda sent: None)
        if not running:
            one.close()
        with table.follower(other) as two, pytest.raises(Failed, match=r"that of reading\.changed_at, last used by"):
            two.round(lambda sent: None)
        found = {each.about: each for each in preflight.findings(other)}
        assert found["select.follow.state"].mark is Mark.BAD
    table.database.execute("UPDATE connector_cursor SET owner = NULL, lease_until = 0")
    with table.follower(other) as two:
        two.round(lambda sent: None)


def test_who_has_lost_the_lease_publishes_nothing_more(on_postgres: Table) -> None:
    database = on_postgres.database
    with on_postgres.follower(fetch=2) as one, on_postgres.follower(fetch=2) as other:
        on_postgres.insert(*range(1, 7))
        rows = iter([0, 0, 0])

        def taken_over(sent: int) -> None:
            if next(rows, None) is not None and sent == 2:
                database.execute("UPDATE connector_cursor SET lease_until = 0")
                other.round(lambda sent: None)

        one.round(taken_over)
        assert sorted(on_postgres.ids()) == [1, 1, 2, 2, 3, 4, 5, 6]
        one.round(lambda sent: None)
        assert on_postgres.ids() == []
        assert one.stats.about().startswith("read by ")


def test_where_the_state_tables_may_not_be_made_their_statements_are_told(on_postgres: Table) -> None:
    """A user that may only read, as on a stand-by."""
    database = on_postgres.database
    database.server.execute("ALTER ROLE app SET default_transaction_read_only = on")
    try:
        with on_postgres.followed() as round, pytest.raises(Failed) as caught:
            round()
    finally:
        database.server.execute("ALTER ROLE app RESET default_transaction_read_only")
    for statement in (ddl("connector_cursor"), seen_ddl("connector_cursor")):
        assert statement in caught.value.failure.text


# --- check -----------------------------------------------------------------------------------------------------------


def test_check_says_up_to_where_the_table_is_complete_and_makes_nothing(table: Table) -> None:
    found = {each.about: each for each in preflight.findings(table.config())}
    assert found["select.follow"].text.startswith("the table is complete up to 2")
    assert found["select.follow.state"].mark is Mark.ODD
    assert "connector_cursor" in found["select.follow.state"].text
    with table.followed() as round:
        round()
    assert "select.follow.state" not in {each.about for each in preflight.findings(table.config())}


def test_check_says_why_a_table_cannot_be_followed(on_postgres: Table) -> None:
    (found,) = (each for each in preflight.findings(on_postgres.config(column="nope")) if "nope" in each.text)
    assert found.mark is Mark.BAD
    with session(on_postgres.database, "postgres"):
        held = {each.about: each for each in preflight.findings(on_postgres.config())}
    assert "GRANT pg_read_all_stats" in held["select.follow"].text


def rounds(follower: Follower, count: int) -> str:
    """Do some rounds, and return what holds the horizon in the last."""
    for _ in range(count):
        time.sleep(0.15)  # innodb_trx is filled again after 0.1 s
        follower.round(lambda sent: None)
    return follower.stats.horizon.held_by
