"""How long it takes from a message to its row: from the moment at which it is published to that of the commit.

Both are of the clock of this machine; the server keeps when each transaction was committed.
"""

import json
import time
from dataclasses import dataclass, replace
from itertools import count

from tests.bench import feeding, load
from tests.bench.contenders import QUEUE, Subscribing, declared
from tests.bench.measuring import Measured, Processes
from tests.bench.services import Services

SENT = load.Table("measured", (*load.MEASURED.columns, ("sent", "double precision")))
#: Messages at the beginning that are not counted.
FIRST = 20
LATENCY = (
    "SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin)) - sent AS waited FROM measured"
    f" WHERE id >= {FIRST} ORDER BY 1"
)


@dataclass(frozen=True)
class Waiting:
    """Into PostgreSQL, so many messages a second for so long; measured is what this share of them does not exceed, as
    its inverse."""

    how: str
    rate: int
    share: float
    seconds: float = 6.0

    def run(self, services: Services, messages: int) -> Measured:
        work = Subscribing(self.how, load=replace(load.ONE, tables=(SENT,)), at_once=True)
        command, job = work.prepared(services, 0)
        database = services.database("postgresql")
        with services.vhost.channel() as channel, Processes([command], services.folder / "log", job) as processes:
            processes.wait_until(lambda: declared(channel, QUEUE).consumer_count == 1)
            cpu_s = processes.cpu_s
            sent = self._send(services)
            processes.wait_until(lambda: database.count("measured") == sent)
            cpu_us = (processes.cpu_s - cpu_s) / sent * 1e6
        waited = [float(row[0]) for row in database.rows(LATENCY)]
        return Measured(1 / waited[int(len(waited) * self.share)], cpu_us, processes.rss_mb)

    def _send(self, services: Services) -> int:
        """Publish at the rate; return how many."""
        begun = time.perf_counter()
        with feeding.opened(services.vhost) as link:
            for number in count():
                due = number / self.rate
                if due >= self.seconds:
                    return number
                time.sleep(max(0.0, due - (time.perf_counter() - begun)))
                body = json.dumps(load.narrow(number) | {"sent": time.time()}).encode()
                link.sendall(feeding.frames(QUEUE, [body]))
        raise AssertionError
