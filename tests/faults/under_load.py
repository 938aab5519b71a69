"""Faults while nearly as much comes in as can be written: `scripts/soak --load --minutes 10 --seed 7`.

First it is measured how much producer, links, connector and database do together on this machine. Then four fifths of
that come in, some of it bad, with a fault every 20 s; after the last one all has to be drained within 30 s.
"""

import argparse
import random
import sys
import threading
import time
from collections.abc import Sequence

from tests.faults import checker, nemesis
from tests.faults.arena import QUEUE
from tests.faults.database_faults import FAULTS
from tests.faults.soak import Services, keep, parser, services
from tests.faults.world import World
from tests.services.waiting import eventually

#: Of the most that can be done.
SHARE = 0.8
EVERY_S, DRAINED_S = 20.0, 30.0
#: Messages that wait while the most is measured, and for how long that goes on.
WAITING, MEASURED_S = 5_000, 15.0
#: Whatever is older than so many rows has been committed for long.
RECENT = 50_000


class LoadedWorld(World):
    """A world for a million rows: only the latest are counted again and again."""

    _counted = 0
    _up_to = 0

    def prepare(self) -> None:
        super().prepare()
        if self.database.kind == "postgresql":
            self.database.execute("ALTER TABLE reading ADD PRIMARY KEY (seq)")
        self.configure(batch={"size": 500, "wait_ms": 50})

    def written(self) -> int:
        [(count, highest)] = self.database.rows(f"SELECT count(*), max(seq) FROM reading WHERE seq > {self._up_to}")
        if count > 2 * RECENT:
            old = int(highest) - RECENT
            query = f"SELECT count(*) FROM reading WHERE seq > {self._up_to} AND seq <= {old}"
            self._counted += int(self.database.value(query))
            self._up_to = old
            return self.written()
        return self._counted + int(count)

    @property
    def done(self) -> int:
        return self.written() + self.dead()


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser("scripts/soak --load", __doc__).parse_args(arguments)
    with services(options.database) as found:
        most = _measured(found, options)
        problems = _loaded(found, options, most * SHARE)
    for problem in problems:
        print(f"WRONG {problem}")
    return 1 if problems else 0


def _measured(found: Services, options: argparse.Namespace) -> float:
    """Return how many messages a second are sent and settled while the queue is never empty and never long."""
    with (
        found.node.vhost() as vhost,
        found.server.database() as database,
        LoadedWorld(found.folder(), vhost, database, seed=options.seed, bad=options.bad) as world,
    ):
        world.producer.send(WAITING)
        world.worker()
        world.wait_for_rows(1)
        before, began = world.done, time.monotonic()
        while (elapsed := time.monotonic() - began) < MEASURED_S:
            if vhost.depth(QUEUE) < WAITING:
                world.producer.send(500)
        most = (world.done - before) / elapsed
        print(f"the most is {most:,.0f} messages/s", flush=True)
    return most


def _loaded(found: Services, options: argparse.Namespace, rate: float) -> list[str]:
    """Let faults happen under that load; return all that is wrong afterwards."""
    faults = [each for each in FAULTS if not each.long]
    folder = found.folder()
    with (
        found.node.vhost() as vhost,
        found.server.database() as database,
        LoadedWorld(folder, vhost, database, seed=options.seed, bad=options.bad) as world,
    ):
        world.worker()
        world.producer.start(rate)
        _faults(world, faults, options.minutes * 60)
        began = time.monotonic()
        world.producer.stop()
        problems = _drained(world, began)
        history, wrong = world.check()
        print(f"{rate:,.0f} messages/s for {options.minutes:g} min: {checker.counts(history)}")
        usages = [each for worker in world.workers for each in worker.usages]
        for name in ("rss", "files", "threads"):
            values = [getattr(each, name) for each in usages]
            print(f"{name}: {values[0]} at first, {max(values)} at most, {values[-1]} at the end")
    problems += wrong
    if problems:
        keep(folder, options.logs, options.seed)
    return problems


def _faults(world: World, faults: Sequence[nemesis.Fault], seconds: float) -> None:
    """Let one fault happen every 20 s, in an order that the seed gives; never one again before all have been."""
    order: list[nemesis.Fault] = []
    chance, began, number = random.Random(world.seed), time.monotonic(), 0
    while (number := number + 1) * EVERY_S <= seconds:
        threading.Event().wait(began + number * EVERY_S - time.monotonic())
        order = order or chance.sample(list(faults), len(faults))
        each = order.pop()
        waiting = world.vhost.depth(QUEUE)
        print(f"{time.strftime('%H:%M:%S')} {waiting:,} waiting; {each.number} {each.text}", flush=True)
        nemesis.happen(world, each.run)


def _drained(world: World, began: float) -> list[str]:
    try:
        eventually(world.settled, DRAINED_S, 0.1)
    except AssertionError:
        return [f"not drained {DRAINED_S:g} s after the last fault"]
    print(f"drained {time.monotonic() - began:.1f} s after the last fault")
    return []


if __name__ == "__main__":
    sys.exit(main())
