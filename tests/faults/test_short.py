"""The short fault run, with fixed seeds: part of every run of scripts/test."""

import pytest

from tests.faults.conftest import Make

BOTH = pytest.mark.parametrize("name", ["postgres_db", "maria_db"])


@BOTH
@pytest.mark.parametrize("hook", ["before-commit", "after-commit"])
def test_killed_at_a_commit(world_on: Make, name: str, hook: str) -> None:
    world = world_on(name, seed=101, bad=0.02)
    world.producer.send(600)
    worker = world.worker(f"{hook}=3", wait=False)
    assert worker.wait_for_the_end() == -9
    worker.start()
    history = world.expect_all_is_well(ordered=True)
    assert len(history.rows) + len(history.dead) == 600


@BOTH
def test_commit_reply_dropped(world_on: Make, name: str) -> None:
    world = world_on(name, seed=107)
    world.worker()
    answered = world.database_link.drop_reply(b"COMMIT")
    world.producer.send(600)
    assert answered.wait(20)
    history = world.expect_all_is_well(ordered=True)
    assert len(history.rows) == 600
