"""Who runs against whom: each contender prepares its services, runs as processes of its own, and is measured.

`how` is `limit`, `connector` or `naive`. All are measured the same way, from outside: subscribing from the first
message that leaves the full queue until the last row is there; publishing from the first message in the queue to the
last, and with `on_sent` until the last row is marked. Starting a process and its connections is not in it.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from tests.bench import feeding, load
from tests.bench.load import Bad, Load
from tests.bench.measuring import Measured, Processes
from tests.bench.services import Services, odbc
from tests.services.database import Database

BY_HAND = [sys.executable, str(Path(__file__).with_name("by_hand.py"))]
NAIVE = [sys.executable, "-m", "tests.bench.naive"]
PIPELINED = [sys.executable, "-m", "tests.bench.pipelined"]
QUEUE = "bench"
#: How much slower the naive twins are at least: they get so many times fewer messages.
NAIVE_SHARE = 20
#: Between two looks, which cost the broker or the database something too.
LOOK_S = 0.005


class Contender(Protocol):
    """Frozen and hashable: the same contender of several cases runs once a round."""

    def run(self, services: Services, messages: int) -> Measured: ...


def installed(command: str) -> str:
    return str(Path(sys.executable).with_name(command))


def depth(channel: Any, queue: str) -> int:
    return int(channel.queue_declare(queue, passive=True).method.message_count)


def timed(processes: Processes, first: Callable[[], bool], last: Callable[[], bool], messages: int) -> Measured:
    """Return what was measured from the first condition to the last."""
    started = processes.wait_until(first, LOOK_S)
    cpu_s = processes.cpu_s
    ended = processes.wait_until(last, LOOK_S)
    cpu_s = processes.cpu_s - cpu_s
    return Measured(messages / (ended - started), cpu_s / messages * 1e6, processes.rss_mb)


# --- queue to database ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subscribing:
    how: str
    database: str = "postgresql"
    load: Load = load.ONE
    format: str = "json"
    bad: Bad | None = None
    inbox: bool = False
    processes: int = 1
    #: Messages a batch; seconds that every commit takes longer.
    batch: int = 500
    commit_s: float = 0.0

    def run(self, services: Services, messages: int) -> Measured:
        database, vhost = services.database(self.database), services.vhost
        count = self._count(messages)
        good = self.bad.good(count) if self.bad else count
        self._prepare(database)
        ready = _ready(self.load, self.format, self.bad, count)
        feeding.fill(vhost, QUEUE, ready, count)
        with vhost.channel() as channel:
            channel.queue_delete("dead-letter")
            command, job = self._command(services, database)
            with Processes([command] * self.processes, services.folder / "log", job) as processes:
                measured = timed(
                    processes,
                    lambda: depth(channel, QUEUE) < count,
                    # Counting rows costs the database something; the queue is asked until it is empty.
                    lambda: depth(channel, QUEUE) == 0 and self._done(database) == good * self.load.records,
                    good,
                )
            assert self._done(database) == good * self.load.records
            if self.bad:
                assert depth(channel, "dead-letter") == count - good
        return measured

    def _count(self, messages: int) -> int:
        share = self.load.share * (self.batch / 500 if self.commit_s else 1.0)
        share /= NAIVE_SHARE if self.how == "naive" else 1
        return max(100, round(messages * share))

    def _done(self, database: Database) -> int:
        return min(database.count(table.name) for table in self.load.tables)

    def _prepare(self, database: Database) -> None:
        for table in self.load.tables:
            database.script(*table.create(database.kind))
        if self.commit_s:
            database.script(*load.slow_commits(self.load.tables[0].name, self.commit_s))
        database.execute(f"DROP TABLE IF EXISTS {load.INBOX}")

    def _command(self, services: Services, database: Database) -> tuple[Sequence[str], Any]:
        if self.how == "connector":
            return self._connector(services, database), None
        heads = [table.head for table in self.load.tables]
        columns = self.load.tables[0].names
        job = {"amqp": services.vhost.config(), "queue": QUEUE, "connection": odbc(database), "columns": columns}
        format = "json-lists" if self.load.records > 1 else self.format
        if self.how == "naive":
            row = f" VALUES ({', '.join('?' * len(columns))})"
            statements = [head + row for head in heads]
            return NAIVE, job | {"do": "subscribe", "statements": statements, "format": format}
        return BY_HAND, job | {"sql": heads, "count": None, "format": format, "batch": self.batch}

    def _connector(self, services: Services, database: Database) -> Sequence[str]:
        sections: dict[str, Any] = {"format": load.format_section(self.format, self.load)}
        if self.batch != 500:
            sections["batch"] = {"size": self.batch}
        if self.inbox:
            sections["idempotency"] = {"table": load.INBOX, "key": "$message_id"}
        file = configured(
            services,
            database=database.config(write=self.load.writes()),
            broker=services.vhost.config(source={"queue": QUEUE}),
            **sections,
        )
        if self.inbox:
            with Processes(
                [[installed("dbconnector"), "inbox", "-c", file, "--create"]], services.folder / "log"
            ) as it:
                it.wait_until(lambda: it.over, LOOK_S)
        return [installed("dbconnector"), "subscribe", "-c", file]


@lru_cache(maxsize=8)  # every round fills the same again
def _ready(of: Load, format: str, bad: Bad | None, count: int) -> bytes:
    return feeding.frames(QUEUE, of.bodies(count, format, bad))


def configured(services: Services, **sections: Any) -> str:
    """Write a configuration file; return its name."""
    file = services.folder / "connector.json"
    file.write_text(json.dumps(sections))
    return str(file)


# --- database to queue ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Selecting:
    how: str
    database: str = "postgresql"
    on_sent: bool = False

    def run(self, services: Services, messages: int) -> Measured:
        database, vhost = services.database(self.database), services.vhost
        count = max(100, messages // NAIVE_SHARE if self.how == "naive" else messages)
        database.script(*load.outbox(database.kind, count))
        with vhost.channel() as channel:
            channel.queue_delete(QUEUE)
            vhost.declare_queue(QUEUE, QUEUE)
            command, job = self._command(services, database, count)
            with Processes([command], services.folder / "log", job) as processes:
                return timed(
                    processes,
                    lambda: depth(channel, QUEUE) > 0,
                    lambda: depth(channel, QUEUE) == count and (not self.on_sent or self._marked(database) == count),
                    count,
                )

    def _marked(self, database: Database) -> int:
        return int(database.value("SELECT count(*) FROM outbox WHERE sent_at IS NOT NULL"))

    def _command(self, services: Services, database: Database, count: int) -> tuple[Sequence[str], Any]:
        job = {"amqp": services.vhost.config(), "exchange": QUEUE}
        if self.how == "limit":
            return PIPELINED, job | {"bodies": [load.row_body(number) for number in range(1, count + 1)]}
        if self.how == "naive":
            mark = load.MARK.replace(":id", "?") if self.on_sent else None
            query = load.query(False)
            return NAIVE, job | {"do": "select", "connection": odbc(database), "query": query, "on_sent": mark}
        marking: Mapping[str, Any] = {"on_sent": load.MARK} if self.on_sent else {"key": ["id"]}
        select = {"query": load.query(self.on_sent), **marking}
        destination = {"exchange": QUEUE, "routing_key": "row"}
        file = configured(
            services,
            database=database.config(select=select),
            broker=services.vhost.config(destination=destination),
        )
        return [installed("dbconnector"), "select", "-c", file], None


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
