"""`follow` while transactions commit late, followers are killed, and two of them run at once.

The judge reads the table and the queue, neither of them through ODBC.
"""

import contextlib
import json
import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.worker import Worker
from tests.services.database import Database
from tests.services.mariadb import MariaDatabase
from tests.services.postgresql import PASSWORD, PostgresDatabase
from tests.services.rabbitmq import Vhost
from tests.services.sqlite import SqliteDatabase
from tests.services.waiting import eventually

TABLES = {
    "postgresql": "CREATE TABLE reading (id integer PRIMARY KEY, text varchar(50), at timestamptz DEFAULT now())",
    "mariadb": "CREATE TABLE reading (id integer PRIMARY KEY, text varchar(50), at datetime(6) DEFAULT now(6))",
    "sqlite": "CREATE TABLE reading (id integer PRIMARY KEY, text varchar(50), at text DEFAULT CURRENT_TIMESTAMP)",
}
#: Seconds after the last round of a follower that was killed.
LEASE = "lease=2"


@dataclass(frozen=True)
class Load:
    """What is written and how often a follower is killed; `delay_s`: the longest wait before a commit."""

    writers: int
    transactions: int
    rows: int
    delay_s: float
    overlap_s: float
    kills: int

    @property
    def all(self) -> int:
        return self.writers * self.transactions * self.rows


SMALL = Load(writers=4, transactions=4, rows=25, delay_s=0.5, overlap_s=0.05, kills=1)
WHOLE = Load(writers=8, transactions=80, rows=157, delay_s=5.0, overlap_s=0.5, kills=20)
SHORT = Load(writers=8, transactions=20, rows=157, delay_s=2.0, overlap_s=0.5, kills=8)
#: Of SQLite, which has one writer at a time.
ONE_WRITER = Load(writers=3, transactions=12, rows=150, delay_s=2.5, overlap_s=0.05, kills=6)


class Followed:
    """A table, its writers, and two followers.

    `login`: keywords of the followers' connection, where it is another; `state`: another database for the state.
    """

    def __init__(
        self,
        folder: Path,
        vhost: Vhost,
        database: Database,
        load: Load,
        login: Mapping[str, str] | None = None,
        state: Database | None = None,
    ) -> None:
        self.vhost = vhost
        self.database = database
        self.load = load
        self.state = state or database
        self.random = random.Random(17)
        database.execute(TABLES[database.kind])
        database.execute("CREATE INDEX reading_at ON reading (at, id)")
        if isinstance(database, MariaDatabase):
            database.server.execute("GRANT PROCESS ON *.* TO 'app'@'%'")
        vhost.declare_queue("rows", "rows", "row")
        file = folder / "db.config"
        place = {"table": "cursor_state"} | ({"connection": state.connection} if state else {})
        follow = {"column": "at", "key": "id", "overlap": load.overlap_s, "state": place}
        select = {"query": "SELECT id, text, at FROM reading", "every": 0.2, "fetch": 500, "follow": follow}
        source = {"connection": {**database.connection, **(login or {})}, "select": select}
        broker = vhost.config(destination={"exchange": "rows", "routing_key": "row"})
        file.write_text(json.dumps({"name": "f", "database": source, "broker": broker}))
        self.workers = [
            Worker(folder, name, "dbconnector", "select", "-c", str(file), ready=" started ") for name in ("a", "b")
        ]

    def write(self, number: int) -> None:
        """Insert in transactions that commit late. Each has its own time, which is that of its beginning."""
        random = self.random.__class__(number)
        wait = threading.Event().wait
        with closing(self.database.connect()) as connection, closing(connection.cursor()) as cursor:
            if self.database.kind == "sqlite":
                cursor.execute("PRAGMA busy_timeout = 60000")
            for transaction in range(self.load.transactions):
                first = (number * self.load.transactions + transaction) * self.load.rows
                values = ",".join(f"({id}, 'row {id}')" for id in range(first, first + self.load.rows))
                cursor.execute("BEGIN")
                wait(random.uniform(0, self.load.delay_s / 4))
                cursor.execute(f"INSERT INTO reading (id, text) VALUES {values}")
                wait(random.uniform(0, self.load.delay_s))
                cursor.execute("COMMIT")

    def survive(self) -> None:
        writers = [threading.Thread(target=self.write, args=(number,)) for number in range(self.load.writers)]
        for worker in self.workers:
            worker.start(LEASE)
        for writer in writers:
            writer.start()
        for kill in range(self.load.kills):
            due = (kill + 1) * self.load.all // (self.load.kills + 1)
            eventually(lambda due=due: self.vhost.depth("rows") >= due, 120, what=f"{due} rows")  # type: ignore[misc]
            worker = self.workers[kill % 2]
            worker.kill()
            worker.start(LEASE)
        for writer in writers:
            writer.join(600)
        eventually(self.is_read, 120, what="the watermark has passed all rows")
        for worker in self.workers:
            assert worker.stop() == 0

    def is_read(self) -> bool:
        newest = self.database.value("SELECT max(at) FROM reading")
        text = newest if isinstance(newest, str) else newest.strftime("%Y-%m-%d %H:%M:%S.%f")
        (watermark,) = self.state.rows("SELECT watermark FROM cursor_state")[0]
        return watermark is not None and watermark.removesuffix(".000000") > text

    def judge(self) -> int:
        """Return how many messages came twice."""
        there = {int(id) for (id,) in self.database.rows("SELECT id FROM reading")}
        assert len(there) == self.load.all
        taken = [(properties.message_id, json.loads(body)["id"]) for _, properties, body in self.vhost.get_all("rows")]
        assert {id for _, id in taken} == there, f"{len(there - {id for _, id in taken})} rows are missing"
        assert len(set(taken)) == len({message_id for message_id, _ in taken}) == self.load.all
        return len(taken) - self.load.all


@contextlib.contextmanager
def followed(folder: Path, vhost: Vhost, database: Database, load: Load, **more: Any) -> Iterator[Followed]:
    found = Followed(folder, vhost, database, load, **more)
    try:
        yield found
    finally:
        for worker in found.workers:
            worker.kill()


def test_a_row_of_a_followed_table_is_published_however_late_its_transaction_commits(
    tmp_path: Path, vhost: Vhost, postgres_db: Database
) -> None:
    with followed(tmp_path, vhost, postgres_db, SMALL) as table:
        table.survive()
        table.judge()


@pytest.mark.soak
@pytest.mark.parametrize("name", ["postgres_db", "maria_db"])
def test_it_is_so_for_100_000_rows_and_20_kills(request: Any, tmp_path: Path, vhost: Vhost, name: str) -> None:
    with followed(tmp_path, vhost, request.getfixturevalue(name), WHOLE) as table:
        table.survive()
        print(f"{table.judge()} messages came twice")


@pytest.mark.soak
@pytest.mark.parametrize("elsewhere", [False, True])
def test_it_is_so_for_5_400_rows_of_sqlite_and_6_kills(
    tmp_path: Path, vhost: Vhost, sqlite_db: Database, elsewhere: bool
) -> None:
    """With the state in the same file a round waits for who writes there anyway."""
    with closing(SqliteDatabase(tmp_path / "state.sqlite")) as other:
        state = other if elsewhere else None
        with followed(tmp_path, vhost, sqlite_db, ONE_WRITER, state=state) as table:
            table.survive()
            print(f"{table.judge()} messages came twice")


@pytest.mark.soak
def test_it_is_so_for_25_000_rows_of_a_login_that_may_only_read(
    tmp_path: Path, vhost: Vhost, postgres_db: PostgresDatabase
) -> None:
    """The state is in a database of its own."""
    server = postgres_db.server
    server.execute(f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}' IN ROLE pg_read_all_stats")
    server.execute("ALTER ROLE reader SET default_transaction_read_only = on")
    try:
        with closing(SqliteDatabase(tmp_path / "state.sqlite")) as state:
            login = {"Uid": "reader"}
            with followed(tmp_path, vhost, postgres_db, SHORT, login=login, state=state) as table:
                postgres_db.execute("GRANT SELECT ON reading TO reader")
                table.survive()
                print(f"{table.judge()} messages came twice")
    finally:
        postgres_db.execute("REVOKE ALL ON reading FROM reader")
        server.execute("DROP ROLE reader")
