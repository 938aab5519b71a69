"""A consumer that is to hold more than before: nothing is given back for it, whatever it holds."""

import pytest

from connectorlib.amqp import Broker
from connectorlib.messages import Delivery
from tests.integration.consuming import (
    KINDS,
    bodies,
    come_back,
    fill,
    lose_connection,
    remaining,
    tags,
    take_all,
    wait_for_depth,
)
from tests.services.waiting import eventually


@pytest.fixture
def broker(vhost):
    with Broker(vhost.broker_settings(), name="prefetch", publishing=False) as broker:
        broker.wait_connected(10)
        yield broker


@pytest.fixture
def queue(vhost):
    return vhost.declare_queue("q", arguments={"x-delivery-limit": 100})


@KINDS
def test_a_larger_prefetch_gives_nothing_back_and_keeps_the_order(vhost, broker, type, arguments):
    queue = vhost.declare_queue("q", type=type, arguments=arguments)
    fill(vhost, 300)
    consumer = broker.consumer(queue, 500)
    come_back(vhost, consumer, 300)
    consumer.prefetch, consumer.stand_by = 7, False
    consumer.open(10)
    generation = consumer.generation
    taken: list[Delivery] = []
    while len(taken) < 300:
        if len(taken) == 60:
            consumer.change_prefetch(100)
        batch = take_all(consumer, 3)
        assert batch
        consumer.settle(generation, tags(batch))
        taken += batch
    assert bodies(taken) == list(range(300))
    assert (consumer.generation, consumer.prefetch) == (generation, 100)
    if type == "quorum":
        assert {delivery.headers["x-delivery-count"] for delivery in taken} == {1}
    eventually(lambda: consumer.held == 0)
    assert consumer.requeue(10)
    assert remaining(vhost, 0) == []


@pytest.fixture
def look_often(monkeypatch):
    monkeypatch.setattr("connectorlib.amqp.consumer.LOOK_S", 0.1)


@pytest.mark.usefixtures("look_often")
def test_a_message_that_is_held_does_not_keep_the_prefetch_small(vhost, broker, queue):
    fill(vhost, 50)
    consumer = broker.consumer(queue, 5)
    consumer.stand_by = False
    consumer.open(10)
    held, *others = take_all(consumer, 5)
    consumer.change_prefetch(20)
    consumer.settle(held.generation, tags(others))
    assert bodies(take_all(consumer, 20)) == list(range(5, 25))
    consumer.settle(held.generation, range(1, 26))
    assert bodies(take_all(consumer, 20)) == list(range(25, 45))
    assert consumer.requeue(10)
    assert remaining(vhost, 25) == list(range(25, 50))


@pytest.mark.usefixtures("look_often", "queue")
def test_what_is_held_since_before_the_prefetch_grew_comes_back_first(vhost):
    fill(vhost, 60)
    for _ in range(3):  # three consumers: by chance the order would be right one time in six
        with Broker(vhost.broker_settings(), name="prefetch", publishing=False) as broker:
            consumer = broker.consumer("q", 5)
            consumer.stand_by = False
            consumer.open(10)
            held = take_all(consumer, 5)
            for prefetch in (12, 25):
                consumer.change_prefetch(prefetch)
                held += take_all(consumer, prefetch - len(held))
            assert bodies(held) == list(range(25))
            lose_connection(vhost, consumer)
        wait_for_depth(vhost, 60)
    assert remaining(vhost, 60) == list(range(60))


@pytest.mark.usefixtures("look_often")
def test_an_empty_queue_does_not_keep_the_prefetch_small_nor_what_is_done_unacknowledged(vhost, broker, queue):
    fill(vhost, 3)
    consumer = broker.consumer(queue, 5)
    consumer.open(10)
    consumer.change_prefetch(20)
    batch = take_all(consumer, 3)
    consumer.settle(batch[0].generation, tags(batch))
    eventually(lambda: consumer.prefetch == 20)
    eventually(lambda: vhost.api("GET", "/api/queues/{vhost}/q").get("messages") == 0)
    fill(vhost, 30, first=3)
    assert bodies(take_all(consumer, 20)) == list(range(3, 23))


def test_what_is_done_while_the_prefetch_is_to_grow_is_acknowledged_by_giving_back(vhost, broker, queue):
    fill(vhost, 20)
    consumer = broker.consumer(queue, 10)
    consumer.open(10)
    batch = take_all(consumer, 10)
    consumer.change_prefetch(20)
    consumer.settle(batch[0].generation, tags(batch)[:4])
    assert consumer.requeue(10)
    assert remaining(vhost, 16) == list(range(4, 20))


@pytest.mark.usefixtures("look_often")
def test_beside_a_stand_by_the_prefetch_grows_when_nothing_is_in_hand(vhost, broker):
    queue = vhost.declare_queue("q", arguments={"x-single-active-consumer": True})
    consumer, stand_by = (broker.consumer(queue, 5) for _ in range(2))
    consumer.open(10)
    stand_by.open(10)
    fill(vhost, 20)
    held, *others = take_all(consumer, 5)
    consumer.change_prefetch(20)
    consumer.settle(held.generation, tags(others))
    assert bodies(take_all(consumer, 4)) == list(range(5, 9))  # what is held does not hold the others
    assert (stand_by.held, consumer.prefetch) == (0, 5)
    consumer.settle(held.generation, range(1, 10))
    more = take_all(consumer, 5)
    consumer.change_prefetch(20)
    assert stand_by.held == 0
    consumer.settle(held.generation, tags(more))
    assert bodies(take_all(stand_by, 5)) == list(range(14, 19))
    eventually(lambda: consumer.prefetch == 20, 10)  # its new channel is open a moment later
    assert stand_by.requeue(10)
    assert bodies(take_all(consumer, 6)) == list(range(14, 20))
