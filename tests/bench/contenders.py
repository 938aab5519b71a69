"""Who runs against whom, between a broker and a database: prepared, run as processes of their own, and measured.

`how` is `limit`, `node` (another limit), `connector` or `naive`. All are measured the same way, from outside:
subscribing from the moment at which all processes consume until few rows are missing; publishing from the first message
in the queue to the last, and with `on_sent` until the last row is marked. Starting a process and its connections is not
in it.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from tests.bench import feeding, load, outbox
from tests.bench.load import Bad, Load
from tests.bench.measuring import Measured, Processes
from tests.bench.services import Services, odbc
from tests.services.database import Database

BY_HAND = [sys.executable, str(Path(__file__).with_name("by_hand.py"))]
BY_HAND_IN_NODE = str(Path(__file__).with_name("by_hand.mjs"))
NAIVE = [sys.executable, "-m", "tests.bench.naive"]
PIPELINED = [sys.executable, "-m", "tests.bench.pipelined"]
QUEUE = "bench"
BATCH = 500
#: How much slower the naive twins are at least: they get so many times fewer messages.
NAIVE_SHARE = 30


class Contender(Protocol):
    """Frozen and hashable: the same contender of several cases runs once a round."""

    def run(self, services: Services, messages: int) -> Measured:
        """Measure one run, with about so many messages of the smallest kind in the queue."""


def installed(command: str) -> str:
    return str(Path(sys.executable).with_name(command))


def configured(services: Services, sections: Mapping[str, Any]) -> str:
    """Write a configuration file; return its name."""
    file = services.folder / "connector.json"
    file.write_text(json.dumps(sections))
    return str(file)


def declared(channel: Any, queue: str) -> Any:
    """Return what the broker says of a queue: message_count, consumer_count."""
    return channel.queue_declare(queue, passive=True).method


@lru_cache(maxsize=8)  # every round fills the same again
def ready(of: Load, format: str, bad: Bad | None, count: int) -> bytes:
    return feeding.frames(QUEUE, of.bodies(count, format, bad))


@dataclass(frozen=True)
class Subscribing:
    """From a queue into tables."""

    how: str
    database: str = "postgresql"
    load: Load = load.ONE
    format: str = "json"
    bad: Bad | None = None
    inbox: bool = False
    processes: int = 1
    batch: int = BATCH
    #: Seconds that every commit takes longer.
    commit_s: float = 0.0
    #: Whether the limit writes what is there instead of waiting for a full batch.
    at_once: bool = False

    def run(self, services: Services, messages: int) -> Measured:
        database, vhost = services.database(self.database), services.vhost
        count = self._count(messages)
        good = self.bad.good(count) if self.bad else count
        command, job = self.prepared(services, count)
        jobs, commands = [job] * self.processes, [command] * self.processes
        with vhost.channel() as channel:
            with Processes(commands, services.folder / "log", *jobs) as processes:
                measured = processes.timed(
                    lambda: declared(channel, QUEUE).consumer_count == self.processes,
                    # Counting rows costs the database something, so only the queue is asked until it is empty.
                    lambda: not declared(channel, QUEUE).message_count,
                    lambda: good - self._done(database),
                    self._few(good),
                )
                processes.wait_until(lambda: self._done(database) == good)
            if self.bad and self.how == "connector":
                assert declared(channel, "dead-letter").message_count == count - good
        return measured

    def prepared(self, services: Services, count: int) -> tuple[Sequence[str], Any]:
        """Make fresh tables and a full queue; return the command and its job."""
        database, vhost = services.database(self.database), services.vhost
        database.script(*self.load.create(database.kind, count), f"DROP TABLE IF EXISTS {load.INBOX}")
        if self.commit_s:
            database.script(*load.slow_commits(self.load.tables[0].name, self.commit_s))
        with vhost.channel() as channel:
            channel.queue_delete("dead-letter")
        feeding.fill(vhost, QUEUE, ready(self.load, self.format, self.bad, count), count)
        return self._command(services, database, count)

    def _count(self, messages: int) -> int:
        share = self.load.share
        if self.commit_s:  # as many batches as fit into a few seconds
            share *= min(1.0, self.processes * 4 * self.batch / self.commit_s / messages)
        if self.how == "naive":
            share /= NAIVE_SHARE
        return max(1, round(messages * share / BATCH)) * BATCH

    def _few(self, good: int) -> int:
        """Return how many messages are left at the end of what is measured: not how long the last batch waits, which
        need not be a full one."""
        return 0 if self.how == "naive" else min(self.batch * self.processes, good // 10)

    def _done(self, database: Database) -> int:
        """Return how many messages have been written."""
        rows = min(int(database.value(self.load.done(table))) for table in self.load.tables)
        return rows // self.load.records

    def _command(self, services: Services, database: Database, count: int) -> tuple[Sequence[str], Any]:
        if self.how == "connector":
            return self._connector(services, database), None
        if self.how == "node":
            return self._in_node(services, database)
        format = "json-lists" if self.load.records > 1 else self.format
        job = {"amqp": services.vhost.config(), "queue": QUEUE, "connection": odbc(database), "format": format}
        if self.how == "naive":
            return NAIVE, {"do": "subscribe", **job, **self.load.one_by_one()}
        last = count if self.processes == 1 and not self.at_once else None
        by_hand = {"count": last, "batch": self.batch, "at_once": self.at_once}
        return BY_HAND, {**by_hand, **job, **self.load.by_hand()}

    def _in_node(self, services: Services, database: Database) -> tuple[Sequence[str], Any]:
        """The loop by hand for JSON and PostgreSQL in another language."""
        own, vhost = database.connection, services.vhost
        job = {
            "broker": {"hostname": vhost.host, "port": vhost.port, "vhost": vhost.name}
            | {"username": vhost.username, "password": vhost.password},
            "database": {"host": own["Server"], "port": int(own["Port"]), "database": own["Database"]}
            | {"user": own["Uid"], "password": own["Pwd"]},
            "queue": QUEUE,
            "sql": self.load.tables[0].insert,
            "columns": self.load.tables[0].names,
            "batch": self.batch,
        }
        return ["env", f"NODE_PATH={services.node_modules}", "node", BY_HAND_IN_NODE], job

    def _connector(self, services: Services, database: Database) -> Sequence[str]:
        sections: dict[str, Any] = {
            "database": database.config(write=self.load.writes()),
            "broker": services.vhost.config(source={"queue": QUEUE}),
            "format": load.format_section(self.format, self.load),
        }
        if self.batch != BATCH:
            sections["batch"] = {"size": self.batch}
        if self.inbox:
            sections["idempotency"] = {"table": load.INBOX, "key": "$message_id"}
        file = configured(services, sections)
        if self.inbox:
            with Processes(
                [[installed("dbconnector"), "inbox", "-c", file, "--create"]], services.folder / "log"
            ) as it:
                it.wait()
        return [installed("dbconnector"), "subscribe", "-c", file]


@dataclass(frozen=True)
class Selecting:
    """From a table into a queue."""

    how: str
    database: str = "postgresql"
    on_sent: bool = False

    def run(self, services: Services, messages: int) -> Measured:
        database, vhost = services.database(self.database), services.vhost
        count = max(100, messages // NAIVE_SHARE if self.how == "naive" else messages)
        database.script(*outbox.create(database.kind, count))
        with vhost.channel() as channel:
            channel.queue_delete(QUEUE)
            vhost.declare_queue(QUEUE, QUEUE)
            command, job = self._command(services, database, count)
            with Processes([command], services.folder / "log", job) as processes:
                return processes.timed(
                    lambda: declared(channel, QUEUE).message_count > 0,
                    lambda: declared(channel, QUEUE).message_count == count and self._marked(database) == count,
                    lambda: count - int(declared(channel, QUEUE).message_count),
                )

    def _marked(self, database: Database) -> int:
        unmarked = " WHERE sent_at IS NOT NULL" if self.on_sent and self.how != "limit" else ""
        return int(database.value(f"SELECT count(*) FROM outbox{unmarked}"))

    def _command(self, services: Services, database: Database, count: int) -> tuple[Sequence[str], Any]:
        job = {"amqp": services.vhost.config(), "exchange": QUEUE}
        if self.how == "limit":
            return PIPELINED, job | {"bodies": [outbox.body(number) for number in range(1, count + 1)]}
        if self.how == "naive":
            mark = outbox.MARK.replace(":id", "?") if self.on_sent else None
            query = outbox.query(False)
            return NAIVE, {"do": "select", **job, "connection": odbc(database), "query": query, "on_sent": mark}
        marking: Mapping[str, Any] = {"on_sent": outbox.MARK} if self.on_sent else {"key": ["id"]}
        select = {"query": outbox.query(self.on_sent), **marking}
        destination = {"exchange": QUEUE, "routing_key": "row"}
        sections = {
            "database": database.config(select=select),
            "broker": services.vhost.config(destination=destination),
        }
        return [installed("dbconnector"), "select", "-c", configured(services, sections)], None
