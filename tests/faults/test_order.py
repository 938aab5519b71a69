"""The order of a whole queue through many stops, alone and beside a stand-by: for the soak.

A broker orders what comes back by rules of its own, which differ between its versions, so this is run on each of them.
"""

import random
from dataclasses import replace

import pytest

from tests.bench.load import slow_commits
from tests.faults import nemesis
from tests.faults.arena import SINGLE_ACTIVE
from tests.faults.checker import Sent
from tests.faults.conftest import Make
from tests.faults.producer import message

MESSAGES, EVERY = 60_000, 3_000


def of_one_device(id: int, chance: random.Random, bad: float) -> tuple[bytes, Sent]:
    """Return the body of a message that has its place among all others."""
    body, sent = message(id, chance, bad)
    return body, replace(sent, key="")


@pytest.mark.soak
@pytest.mark.parametrize("workers", [1, 2], ids=["alone", "beside a stand-by"])
def test_the_order_of_a_queue_is_kept_through_many_stops(world_on: Make, workers: int) -> None:
    world = world_on("postgres_db", seed=38, make=of_one_device, queue=SINGLE_ACTIVE if workers > 1 else None)
    world.configure(batch={"size": 500, "wait_ms": 5})
    world.database.script(*slow_commits("reading", 0.25))  # so that the stand-by does not write all meanwhile
    world.producer.send(MESSAGES)
    for _ in range(workers):
        world.worker()
    stops = 0
    while (seen := world.written()) < MESSAGES - 2 * EVERY:
        world.wait_for_rows(seen + EVERY)
        nemesis.hand_over(world)
        stops += 1
    print(f"{stops} stops")
    history = world.expect_all_is_well(ordered=True)
    assert (len(history.rows), history.dead) == (MESSAGES, [])
