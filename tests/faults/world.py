"""All that a fault can happen to: broker, database, the links to them, connectors, a producer; and what is left at
the end, for the checker."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.faults import checker, sickness
from tests.faults.checker import History, Letter, Row
from tests.faults.producer import Producer
from tests.faults.worker import CONSUMING, STUCK, Worker
from tests.services.database import Database
from tests.services.proxy import Proxy
from tests.services.rabbitmq import Vhost
from tests.services.waiting import eventually

QUEUE, DEAD = "readings", "dead-letter"
INBOX = {"table": "inbox", "key": "$message_id"}
#: A table without any constraint that could hide a double.
TABLES = {
    "postgresql": (
        "CREATE TABLE reading (seq bigserial, id integer NOT NULL, device varchar(20), text text NOT NULL)",
        "CREATE TABLE part (reading integer NOT NULL, n integer NOT NULL)",
    ),
    "mariadb": (
        "CREATE TABLE reading (seq bigint AUTO_INCREMENT PRIMARY KEY, id integer NOT NULL, device varchar(20), "
        "text text NOT NULL)",
        "CREATE TABLE part (reading integer NOT NULL, n integer NOT NULL)",
    ),
}
INBOX_TABLE = (
    "CREATE TABLE inbox (consumer varchar(255), message_key char(64), applied_at timestamp DEFAULT CURRENT_TIMESTAMP, "
    "PRIMARY KEY (consumer, message_key))"
)
WRITE = [
    {"statement": "INSERT INTO reading (id, device, text) VALUES (:id, :device, :text)"},
    {"statement": "INSERT INTO part (reading, n) VALUES (:id, :n)", "for_each": "parts", "values": {"id": "$.id"}},
]
BATCH = 40


class World:
    """Between the fault and the check: `with World(…) as world`, and at the end `world.expect_all_is_well()`."""

    def __init__(
        self,
        folder: Path,
        vhost: Vhost,
        database: Database,
        *,
        seed: int,
        once: bool = True,
        bad: float = 0.0,
        pace: float = 1.0,
        queue: Mapping[str, Any] | None = None,
    ) -> None:
        """`queue` has more arguments for the source queue."""
        self.seed = seed
        print(f"seed {seed}")  # pytest shows it when the test fails
        self.folder = folder
        self.vhost = vhost
        self.database = database
        self.chance = random.Random(seed)
        self.once = once
        self._arguments = {"x-dead-letter-exchange": DEAD, "x-delivery-limit": 100} | dict(queue or {})
        #: What part of their time faults last.
        self.pace = pace
        self.broker_link = Proxy(vhost.host, vhost.port)
        self.database_link = Proxy(database.server.host, database.server.port)
        self.producer = Producer(vhost, QUEUE, random.Random(seed), bad=bad)
        self.workers: list[Worker] = []
        self._retired: list[Worker] = []
        #: What went wrong on the way, beside what the history shows.
        self.problems: list[str] = []
        self.file = folder / "db.config"

    def __enter__(self) -> Self:
        kind = self.database.kind
        self.database.script(*TABLES[kind], INBOX_TABLE, *sickness.TRIGGERS[kind])
        self.user = sickness.make_user(self.database)
        sickness.hurry(self.database)
        self.broker_user = f"c-{self.vhost.name}"
        self.set_broker_password(sickness.PASSWORD)
        rights = {"configure": ".*", "write": ".*", "read": ".*"}
        self.vhost.node.api("PUT", f"/api/permissions/{self.vhost.quoted}/{self.broker_user}", rights)
        self.declare(self.vhost)
        self.configure()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in (*self.workers, *self._retired):
            worker.kill()
        self.producer.close()
        self.broker_link.close()
        self.database_link.close()

    def declare(self, vhost: Vhost) -> None:
        """Make the queues."""
        vhost.declare_queue(QUEUE, "devices", "reading.#", arguments=self._arguments)
        vhost.declare_queue(DEAD, DEAD, "#", arguments={"x-delivery-limit": 1_000_000})

    def configure(
        self, *, database: Mapping[str, Any] | None = None, broker: Mapping[str, Any] | None = None, **sections: Any
    ) -> None:
        """Write db.config; both ways lead through the links."""
        link = {"Server": self.database_link.host, "Port": str(self.database_link.port)}
        link |= {"Uid": self.user, "Pwd": sickness.PASSWORD}
        way = {"port": self.broker_link.port, "username": self.broker_user, "password": sickness.PASSWORD}
        source = {"queue": QUEUE, "exchange": "devices", "routing_keys": ["reading.#"]}
        config: dict[str, Any] = {
            "database": {"connection": self.database.connection | link, "write": WRITE} | dict(database or {}),
            "broker": self.vhost.config(**way, heartbeat=5, source=source) | dict(broker or {}),
            "format": {"type": "json"},
            "batch": {"size": BATCH, "wait_ms": 5},
            "retry": {"attempts": 3, "first_ms": 20, "max_s": 1},
        }
        if self.once:
            config["idempotency"] = INBOX
        self.file.write_text(json.dumps(config | sections, indent=2))

    def set_broker_password(self, password: str) -> None:
        """Of the connectors' own user."""
        self.vhost.node.api("PUT", f"/api/users/{self.broker_user}", {"password": password, "tags": ""})

    def worker(self, *hooks: str, wait: bool = True) -> Worker:
        """Start one more connector."""
        name = f"connector-{len(self.workers) + len(self._retired) + 1}"
        worker = Worker(self.folder, name, "dbconnector", "subscribe", "-c", str(self.file))
        self.workers.append(worker)
        worker.start(*hooks, wait=wait)
        return worker

    def retire(self, worker: Worker) -> None:
        """It has ended, and is not started again."""
        self.workers.remove(worker)
        self._retired.append(worker)

    def send_bad(self, count: int) -> None:
        """Send messages that cannot be written."""
        self.producer.send(count, bad=1.0)

    # How it goes

    def written(self) -> int:
        return self.database.count("reading")

    def dead(self) -> int:
        return self.vhost.depth(DEAD)

    def wait_for_rows(self, least: int, timeout: float = 60.0) -> None:
        eventually(lambda: self.written() >= least, timeout, what=f"{least} rows")

    def expect_progress(self, timeout: float = 90.0) -> None:
        """A fault is over: more has to be written (or died) soon, unless all there was has been settled."""
        before = self.written() + self.dead()
        try:
            eventually(
                lambda: self._minded_and_settled() or self.written() + self.dead() > before, timeout, 0.1, "progress"
            )
        except AssertionError as error:
            self.problems.append(f"stuck: {error}")

    def settled(self) -> bool:
        """Return whether all that is confirmed has come somewhere, as far as numbers say, and the queue is empty."""
        counted = "count(*)" if self.once else "count(DISTINCT id)"
        done = self.database.value(f"SELECT {counted} FROM reading") + self.dead()
        return bool(done >= len(self.producer.confirmed) and self.vhost.depth(QUEUE) == 0)

    def mind(self) -> None:
        """Start again who has died, as systemd does."""
        for worker in self.workers:
            worker.mind()

    def drain(self, patience: float = 60.0) -> None:
        """All faults are over: wait until everything is settled, as long as there is progress, and stop the connectors
        in an orderly way."""
        self.broker_link.heal()
        self.database_link.heal()
        while self._drained(patience):
            for worker in self.workers:
                code = worker.stop()
                if code != 0:
                    self.problems.append(f"{worker.log_file.name} ended with {code} at the end")
            # What was in hand just then, such as repeated messages, has been given back.
            if self.vhost.depth(QUEUE) == 0:
                return
            for worker in self.workers:
                worker.start()

    def _drained(self, patience: float) -> bool:
        """Wait until everything is settled; return whether it is."""
        done = -1
        while (now := self.written() + self.dead()) != done:
            done = now
            try:
                eventually(self._minded_and_settled, patience, every=0.25)
            except AssertionError:
                continue
            return True
        self.problems.append(f"not drained: nothing moved for {patience:g} s")
        for worker in self.workers:
            worker.stop()
        return False

    def _minded_and_settled(self) -> bool:
        self.mind()
        return self.settled()

    def history(self) -> History:
        """Take what is in the database and in the queues; the connectors have stopped."""
        rows = self.database.rows("SELECT id, text FROM reading ORDER BY seq")
        parts = self.database.rows("SELECT reading, count(*) FROM part GROUP BY reading")
        return History(
            attempted=dict(self.producer.attempted),
            confirmed=frozenset(self.producer.confirmed),
            rows=[Row(int(id), str(text)) for id, text in rows],
            parts={int(id): int(count) for id, count in parts},
            dead=[_letter(properties) for _, properties, _ in self.vhost.get_all(DEAD)],
            queued=[_id(properties) for _, properties, _ in self.vhost.get_all(QUEUE)],
            once=self.once,
            dead_twice=self._dead_twice(),
        )

    def _dead_twice(self) -> int:
        """Return how many dead letters may be doubled: a lost connection or process takes acknowledgements along, and
        each time the messages of a whole prefetch may come again."""
        began = sum(worker.log.count(CONSUMING) for worker in (*self.workers, *self._retired))
        return max(0, began - 1) * 2 * BATCH

    def check(self, *, ordered: bool = False) -> tuple[History, list[str]]:
        """Drain, look at what is left, and return that and all that is wrong."""
        self.drain()
        history = self.history()
        problems = self.problems + checker.violations(history, ordered=ordered)
        for worker in (*self.workers, *self._retired):
            # Killed by us or by a hook, or ended by its own watchdog: all else is no end by design.
            problems += [f"it exited with {code}" for code in worker.ends if code not in (-9, STUCK)]
            problems += checker.growing(worker.usages)
            problems += checker.told(worker.log, [sickness.PASSWORD])
        return history, problems

    def expect_all_is_well(self, *, ordered: bool = False) -> History:
        """Drain and check; nothing may be left in the queue."""
        history, problems = self.check(ordered=ordered)
        print(checker.counts(history))
        assert not problems, "; ".join(problems)
        assert list(history.queued) == []
        return history


def _id(properties: Any) -> int:
    return int(str(properties.message_id).partition("-")[2])


def _letter(properties: Any) -> Letter:
    headers = properties.headers or {}
    reason = headers.get("dead-reason") or headers.get("x-first-death-reason") or ""
    return Letter(_id(properties), str(reason), str(headers.get("dead-code", "")))
