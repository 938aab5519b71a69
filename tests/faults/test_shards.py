"""Shards: several processes keep the order of each device, whatever becomes of them."""

import re
import time

import pytest

from tests.bench.load import slow_commits
from tests.faults.conftest import Make
from tests.faults.sharded import Sharded

PROCESSES = 3
#: Of the soak: seconds in all, and between two kills.
LONG_S, KILL_EVERY_S = 300, 20


def test_the_order_of_each_device_is_kept_while_processes_come_and_go(world_on: Make) -> None:
    world = world_on("postgres_db", seed=31, kind=Sharded, devices=24)
    assert isinstance(world, Sharded)
    world.database.script(*slow_commits("reading", 0.1))  # so that there is always something in hand
    first, second = world.worker(), world.worker()
    world.producer.send(2_000)
    world.producer.start(300)
    third = world.worker()
    world.wait_for_ranks(PROCESSES)
    world.producer.send(1_000)  # every shard has more than its process may hold
    first.kill()
    world.wait_for_ranks(2)
    first.start()
    world.producer.send(1_000)
    assert second.stop() == 0
    world.wait_for_ranks(2)
    second.start()
    world.wait_for_ranks(PROCESSES)
    world.producer.stop()
    history = world.expect_all_is_well(ordered=True)
    assert len(history.rows) > 1_000
    assert history.dead == []
    assert "PAUSED" not in first.log + second.log + third.log


@pytest.mark.soak
def test_the_order_of_each_device_is_kept_for_minutes(world_on: Make) -> None:
    world = world_on("postgres_db", seed=32, kind=Sharded, devices=200)
    assert isinstance(world, Sharded)
    world.database.script(*slow_commits("reading", 0.1))
    for _ in range(PROCESSES):
        world.worker()
    world.producer.send(2_000)
    world.producer.start(300)
    end = time.monotonic() + LONG_S
    while time.monotonic() < end:
        world.wait_for_ranks(PROCESSES)
        killed, stopped, _ = world.chance.sample(world.workers, PROCESSES)
        world.producer.send(3_000)
        killed.kill()
        time.sleep(KILL_EVERY_S / 2)
        killed.start()
        world.wait_for_ranks(PROCESSES)
        world.producer.send(3_000)
        assert stopped.stop() == 0
        stopped.start()
        time.sleep(KILL_EVERY_S / 2)
    world.producer.stop()
    history = world.expect_all_is_well(ordered=True)
    assert history.dead == []
    print(len(history.rows), "rows;", [re.findall(r"stopped .*", worker.log) for worker in world.workers])
