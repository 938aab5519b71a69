"""Random faults for as long as one likes: `scripts/soak --minutes 10 --seed 7`.

It goes in rounds, each with a fresh queue and database. A round goes once through all faults in an order that its seed
gives, while a producer sends on and on; then the faults end, all is drained, and what is left is checked.
"""

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.faults import checker, nemesis
from tests.faults.arena import SINGLE_ACTIVE
from tests.faults.checker import Counts
from tests.faults.database_faults import FAULTS
from tests.faults.nemesis import Fault
from tests.faults.world import World
from tests.services.mariadb import MariaDB
from tests.services.postgresql import PostgreSQL
from tests.services.rabbitmq import RabbitMQ
from tests.services.server import Run

NONE = Counts(0, 0, 0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Services:
    run: Run
    node: RabbitMQ
    server: PostgreSQL | MariaDB

    def folder(self) -> Path:
        """Return a new one, for one world."""
        return folder_in(self.run)


def folder_in(run: Run) -> Path:
    """Return a new folder that goes with the run."""
    return Path(tempfile.mkdtemp(dir=run.folder))


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    faults = [each for each in FAULTS if not options.only or each.number in options.only.split(",")]
    if not faults:
        print(f"no fault has a number of {options.only}; there are {', '.join(sorted({f.number for f in FAULTS}))}")
        return 2
    ends = time.monotonic() + options.minutes * 60
    total, problems, number = NONE, [], 0
    with services(options.database) as found:
        while number == 0 or time.monotonic() < ends:
            seed = options.seed + number
            number += 1
            found.node.start()
            with found.node.vhost() as vhost, found.server.database() as database:
                folder = found.folder()
                # Connectors that come and go beside each other compete for messages, or stand by.
                queue = SINGLE_ACTIVE if seed % 2 else None
                once = not options.no_inbox
                world = World(folder, vhost, database, seed=seed, once=once, bad=options.bad, queue=queue)
                counts, wrong = _round(world, faults, ends, options.rate)
            total = Counts(**{name: value + asdict(counts)[name] for name, value in asdict(total).items()})
            problems += [f"seed {seed}: {problem}" for problem in wrong]
            if wrong:
                keep(folder, options.logs, seed)
    print(f"{number} rounds: {total}")
    for problem in problems:
        print(f"WRONG {problem}")
    return 1 if problems else 0


def _round(world: World, faults: Sequence[Fault], ends: float, rate: float) -> tuple[Counts, list[str]]:
    """Let all faults happen once each, or as many as there is time for; return the numbers and all that is wrong."""
    order = random.Random(world.seed).sample(list(faults), len(faults))
    with world:
        world.worker()
        world.producer.start(rate)
        for each in order:
            print(f"{time.strftime('%H:%M:%S')} {each.number} {each.text}", flush=True)
            try:
                nemesis.happen(world, each.run)
            except Exception:  # whatever it is: what it leaves behind is looked at all the same
                world.problems.append(f"{each.number} {each.text}: {traceback.format_exc()}")
                break
            if time.monotonic() > ends:
                break
        world.producer.stop()
        history, problems = world.check()
        print(f"{time.strftime('%H:%M:%S')} {checker.counts(history)}", flush=True)
        for problem in problems:
            print(f"WRONG {problem}", flush=True)
    return checker.counts(history), problems


def keep(folder: Path, given: str, seed: int) -> None:
    """Keep the logs of a round in which something was wrong."""
    logs = Path(given or tempfile.mkdtemp(prefix="soak-"))
    logs.mkdir(parents=True, exist_ok=True)
    for log in folder.glob("*.log"):
        (logs / f"soak-{seed}-{log.name}").write_bytes(log.read_bytes())
    print(f"the logs are in {logs}")


@contextmanager
def services(database: str) -> Iterator[Services]:
    """Start a broker and a database."""
    with Run() as run:
        node = RabbitMQ(run)
        server = PostgreSQL(run) if database == "postgresql" else MariaDB(run)
        node.start()
        server.start()
        try:
            yield Services(run, node, server)
        finally:
            server.discard()
            node.discard()


def parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """Return what every soak may be told."""
    found = argparse.ArgumentParser(prog=program, description=description)
    found.add_argument("--minutes", type=float, default=10, help="for how long (default 10)")
    found.add_argument("--seed", type=int, default=int(time.time()), help="of all that is random (default: the time)")
    found.add_argument("--database", choices=["postgresql", "mariadb"], default="postgresql")
    found.add_argument("--bad", type=float, default=0.01, help="share of messages that cannot be written (0.01)")
    found.add_argument("--logs", default="", help="folder for the logs if something was wrong (a temporary one)")
    return found


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    found = parser("scripts/soak", __doc__)
    found.add_argument("--only", default="", metavar="F1,F7", help="only faults with these numbers")
    found.add_argument("--rate", type=float, default=200, help="messages a second (default 200)")
    found.add_argument("--no-inbox", action="store_true", help="without the inbox: doubles are counted, and allowed")
    return found.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
