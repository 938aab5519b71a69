"""How long a command takes from its start: to its end, or to the first row of a full queue. As starts a second."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench import feeding, load
from tests.bench.contenders import QUEUE, Subscribing, configured, installed, ready
from tests.bench.measuring import Measured, Processes
from tests.bench.services import Services, odbc

ONE_MESSAGE = [sys.executable, str(Path(__file__).with_name("one_message.py"))]
#: Short ones are started so often for one figure.
TIMES = 5


@dataclass(frozen=True)
class Ending:
    """A command of our own, or Python with a statement, run to its end."""

    command: tuple[str, ...]

    def run(self, services: Services, messages: int) -> Measured:
        command = (
            [sys.executable, *self.command]
            if self.command[0] == "-c"
            else [installed(self.command[0]), *self.command[1:]]
        )
        return repeated(services, command)


@dataclass(frozen=True)
class Receiving:
    """`receive`, one message a process."""

    how: str

    def run(self, services: Services, messages: int) -> Measured:
        database = services.database("postgresql")
        database.script(*load.ONE.create(database.kind, 0))
        feeding.fill(services.vhost, QUEUE, ready(load.ONE, "json", None, TIMES), TIMES)
        if self.how == "connector":
            source = {"queue": QUEUE}
            sections = {
                "database": database.config(write=load.ONE.writes()),
                "broker": services.vhost.config(source=source),
            }
            measured = repeated(services, [installed("dbconnector"), "receive", "-c", configured(services, sections)])
        else:
            job = {"amqp": services.vhost.config(), "queue": QUEUE, "connection": odbc(database)}
            measured = repeated(services, ONE_MESSAGE, job | dict(load.ONE.one_by_one()))
        assert database.count("measured") == TIMES
        return measured


@dataclass(frozen=True)
class First:
    """`subscribe`, from its start to the first row."""

    how: str

    def run(self, services: Services, messages: int) -> Measured:
        work = Subscribing(self.how)
        database = services.database(work.database)
        command, job = work.prepared(services, 1000)
        started = time.perf_counter()
        with Processes([command], services.folder / "log", job) as processes:
            ended = processes.wait_until(lambda: bool(database.rows("SELECT 1 FROM measured LIMIT 1")), 0.002)
            return Measured(1 / (ended - started), processes.cpu_s * 1e6, processes.rss_mb)


def repeated(services: Services, command: list[str], job: object = None) -> Measured:
    """Run a command to its end several times."""
    elapsed = cpu_s = rss_mb = 0.0
    for _ in range(TIMES):
        started = time.perf_counter()
        with Processes([command], services.folder / "log", job) as processes:
            elapsed += processes.wait() - started
            cpu_s += processes.cpu_s
            rss_mb = max(rss_mb, processes.rss_mb)
    return Measured(TIMES / elapsed, cpu_s / TIMES * 1e6, rss_mb)
