"""The way back: `dbconnector select` sends the rows of a table, again and again, and marks what has arrived."""

import contextlib
import json
import threading
from collections.abc import Sequence

import psycopg
import pymysql

from tests.faults import checker
from tests.faults.arena import DEAD, QUEUE
from tests.faults.world import World
from tests.services.database import Connection

TABLE = "CREATE TABLE outbox (id integer NOT NULL PRIMARY KEY, text varchar(200), sent integer NOT NULL DEFAULT 0)"
SELECT = {
    "query": "SELECT id, text FROM outbox WHERE sent = 0 ORDER BY id",
    "on_sent": "UPDATE outbox SET sent = sent + 1 WHERE id = :id",
    "key": ["id"],
    "fetch": 50,
}


class Outbox(World):
    ready = " publishing"

    def prepare(self) -> None:
        self.database.execute(TABLE)
        super().prepare()
        self._next = 1
        self._over = threading.Event()
        self._feeder = threading.Thread()
        destination = {"exchange": "devices", "routing_key": "reading.out", "message_id": "m-{id}"}
        self.configure(database={"select": SELECT}, broker={"destination": destination})

    def command(self) -> Sequence[str]:
        return "dbconnector", "select", "-c", str(self.file), "--every", "0.2s"

    def feed(self) -> None:
        """Put more and more rows into the table, until `stop`, on a connection of its own."""
        self._over.clear()
        self._feeder = threading.Thread(target=self._feed, name="feeder", daemon=True)
        self._feeder.start()

    def stop(self) -> None:
        self._over.set()
        self._feeder.join(60)

    def _feed(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(psycopg.Error, pymysql.Error, OSError):  # the database is down
                self._feed_through(self.database.connect())

    def _feed_through(self, connection: Connection) -> None:
        with contextlib.closing(connection), contextlib.closing(connection.cursor()) as cursor:
            while not self._over.wait(0.1):
                first = self._next
                self._next += 20  # also when it fails: nobody knows whether these rows are there
                values = ",".join(f"({id}, 'row {id}')" for id in range(first, self._next))
                cursor.execute(f"INSERT INTO outbox (id, text) VALUES {values}")

    def __exit__(self, *error: object) -> None:
        self._over.set()
        super().__exit__(*error)

    def written(self) -> int:
        """Return how many rows are marked as sent."""
        return int(self.database.value("SELECT count(*) FROM outbox WHERE sent > 0"))

    def settled(self) -> bool:
        return int(self.database.value("SELECT count(*) FROM outbox WHERE sent = 0")) == 0

    def expect_all_arrived(self) -> int:
        """Wait until every row is marked, stop, and look into the queue; return how many messages came twice."""
        self.drain()
        taken = self.vhost.get_all(QUEUE)
        marked = [int(id) for (id,) in self.database.rows("SELECT id FROM outbox WHERE sent > 0")]
        arrived = [int(json.loads(body)["id"]) for _, _, body in taken]
        problems = self.problems + self.wrong_with_workers() + checker.skipped(marked, arrived)
        there = {int(id) for (id,) in self.database.rows("SELECT id FROM outbox")}
        problems += [f"row {id} was never there" for id in set(arrived) - there]
        problems += [f"{len(marked)} of {len(there)} rows are marked"] if len(marked) != len(there) else []
        assert there
        assert not problems, "; ".join(problems)
        assert {f"m-{json.loads(body)['id']}" == properties.message_id for _, properties, body in taken} == {True}
        assert self.vhost.depth(DEAD) == 0
        return len(arrived) - len(set(arrived))
