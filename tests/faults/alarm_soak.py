"""Random faults of everything around alarms: `scripts/soak --alarms --minutes 10 --seed 7`.

Devices raise and clear alarms, agents edit the Cases, one connector works and one stands by. One fault follows another
in an order that the seed gives. In the end all is drained, and what is left is checked.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.faults import nemesis
from tests.faults.alarms import ALARM_FAULTS, AlarmArena
from tests.faults.nemesis import Fault
from tests.faults.soak import folder_in, keep, parser
from tests.services.rabbitmq import RabbitMQ
from tests.services.salesforce import Org, Salesforce
from tests.services.server import Run


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    with Run() as run:
        node, salesforce = RabbitMQ(run), Salesforce(run)
        node.start()
        salesforce.start()
        try:
            folder = folder_in(run)
            with node.vhost() as vhost:
                org = Org(salesforce)
                org.limit(maximum=1_000_000, used=0)
                more = {"keys": options.keys, "seed": options.seed, "bad": options.bad}
                with AlarmArena(folder, vhost, org, **more) as arena:
                    problems = _soak(arena, options)
            if problems:
                keep(folder, options.logs, options.seed)
        finally:
            salesforce.discard()
            node.discard()
    return 1 if problems else 0


def _soak(arena: AlarmArena, options: argparse.Namespace) -> list[str]:
    """Let faults happen for so long; print the numbers, and return all that is wrong."""
    ends = time.monotonic() + options.minutes * 60
    for _ in range(2):
        arena.worker(wait=not arena.workers)
    arena.producer.start(options.rate)
    arena.agents.start()
    happened: Counter[str] = Counter()
    order: list[Fault] = []
    chance = random.Random(arena.seed)
    while time.monotonic() < ends:
        order = order or chance.sample(ALARM_FAULTS, len(ALARM_FAULTS))
        each = order.pop()
        print(f"{time.strftime('%H:%M:%S')} {each.number} {each.text}", flush=True)
        nemesis.happen(arena, each.run)
        happened[each.number] += 1
    arena.producer.stop()
    print(f"{time.strftime('%H:%M:%S')} draining", flush=True)
    history, problems = arena.finish()
    cases = [case for each in history.cases.values() for case in each]
    numbers = {
        "faults": happened.total(),
        "messages": len(history.confirmed),
        "alarms": len(history.alarms),
        "raises counted": sum(each.count for each in history.alarms.values()),
        "Cases": len(cases),
        "open": sum(not case.closed for case in cases),
        "edits": arena.agents.edits,
        "dead letters": len(history.dead),
        "API calls": arena.org.calls(),
    }
    print(", ".join(f"{value} {name}" for name, value in numbers.items()))
    for problem in problems:
        print(f"WRONG {problem}")
    return problems


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    found = parser("scripts/soak --alarms", __doc__)
    found.add_argument("--keys", type=int, default=5_000, help="alarms (default 5,000)")
    found.add_argument("--rate", type=float, default=100, help="messages a second (default 100)")
    return found.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
