"""Faults of the broker that want a queue, a node or several connectors of their own kind."""

import itertools

import pytest

from tests.faults import database_faults, nemesis
from tests.faults.arena import QUEUE
from tests.faults.conftest import Make
from tests.services.waiting import eventually


@pytest.mark.slow
def test_two_connectors_on_one_queue_double_nothing(world_on: Make) -> None:
    world = world_on("postgres_db", seed=31, bad=0.02, pace=0.3)
    world.producer.send(300)
    for _ in range(2):
        world.worker()
    world.producer.start(200)
    for fault in (database_faults.kill_after_commit, database_faults.drop_commit_reply, nemesis.kill_any_time):
        nemesis.happen(world, fault)
    world.producer.stop()
    world.expect_all_is_well()


@pytest.mark.slow
def test_a_single_active_consumer_fails_over_and_order_is_kept(world_on: Make) -> None:
    world = world_on("postgres_db", seed=32, queue={"x-single-active-consumer": True})
    first, second = world.worker(), world.worker()
    world.producer.start(300)
    for active, other in ((first, second), (second, first)):
        world.wait_for_rows(world.written() + 1)
        active.kill()
        world.wait_for_rows(world.written() + 1)
        assert other.alive
        active.start()
    world.producer.stop()
    world.expect_all_is_well(ordered=True)


def test_a_queue_deleted_under_the_connector_is_made_again_and_used(world_on: Make) -> None:
    world = world_on("postgres_db", seed=33)
    worker = world.worker()
    world.producer.send(100)
    eventually(world.settled, 30)
    world.vhost.api("DELETE", f"/api/queues/{{vhost}}/{QUEUE}")
    worker.wait_for(" consuming queue=", times=2)
    world.producer.send(100)
    history = world.expect_all_is_well()
    assert len(history.rows) == 200


@pytest.mark.slow
def test_a_message_that_kills_its_connector_dies_alone_at_the_delivery_limit(world_on: Make) -> None:
    world = world_on("postgres_db", seed=34, queue={"x-delivery-limit": 12})
    world.producer.send(120)
    killer = world.producer.send_one("kill me")
    world.producer.send(60)
    worker = world.worker("crash-on=kill me", wait=False)
    for _ in itertools.takewhile(lambda _: world.dead() == 0, range(30)):
        eventually(lambda: not worker.alive or world.dead() > 0, 60, what="crash")
        if not worker.alive:
            worker.wait_for_the_end()
            worker.start("crash-on=kill me", wait=False)
    history = world.expect_all_is_well()
    assert [(letter.id, letter.reason) for letter in history.dead] == [(killer, "delivery_limit")]
    assert len(history.rows) == 180


@pytest.mark.soak
@pytest.mark.parametrize("name", ["postgres_db", "maria_db"])
def test_an_outage_longer_than_the_consumer_timeout_dead_letters_nothing(world_on: Make, name: str) -> None:
    world = world_on(name, seed=35)
    node = world.vhost.node
    world.configure(hold_seconds=1500)  # or it would give everything back long before
    node.limit_holding(5_000)
    try:
        worker = world.worker()
        world.producer.send(500)
        world.wait_for_rows(1)
        world.far_link.refuse()
        world.producer.send(100)
        worker.wait_for("stopped consuming", 60)  # and not again: nothing is taken while there is no database
        world.far_link.heal()
        history = world.expect_all_is_well()
    finally:
        node.limit_holding()
    assert len(history.rows) == 600
    assert history.dead == []
