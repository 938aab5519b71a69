"""Batches, settlement by generation, giving back, and every way in which a consumer ends without being asked."""

import struct
import threading
import time

import pika
import pytest

from connectorlib.amqp import Broker
from connectorlib.errors import Failed, Kind
from tests.integration.consuming import KINDS, bodies, fill, lose_connection, remaining, tags, take_all, wait_for_depth
from tests.services.waiting import eventually


@pytest.fixture
def broker(vhost):
    with Broker(vhost.broker_settings(), name="consumer", publishing=False) as broker:
        broker.wait_connected(10)
        yield broker


@pytest.fixture
def queue(vhost):
    return vhost.declare_queue("q", arguments={"x-delivery-limit": 100})


def test_a_batch_closes_at_its_size(vhost, broker, queue):
    fill(vhost, 10)
    consumer = broker.consumer(queue, 100)
    consumer.open(10)
    before = time.monotonic()
    assert bodies(consumer.take(4, 60, 60)) == [0, 1, 2, 3]
    assert bodies(consumer.take(6, 60, 60)) == [4, 5, 6, 7, 8, 9]
    assert time.monotonic() - before < 60


def test_a_batch_closes_some_time_after_its_first_message(vhost, broker, queue):
    consumer = broker.consumer(queue, 100)
    consumer.open(10)
    fill(vhost, 3)
    assert bodies(consumer.take(100, 0.3, 10)) == [0, 1, 2]


def test_nothing_there_is_an_empty_batch(broker, queue):
    consumer = broker.consumer(queue, 100)
    consumer.open(10)
    assert consumer.take(10, 0.1, 0.1) == []
    assert consumer.active


def test_wake_ends_the_waiting_and_loses_nothing(vhost, broker, queue):
    consumer = broker.consumer(queue, 100)
    consumer.open(10)
    threading.Timer(0.2, consumer.wake).start()
    before = time.monotonic()
    assert consumer.take(10, 60, 60) == []
    assert time.monotonic() - before < 60
    fill(vhost, 2)
    assert bodies(take_all(consumer, 2)) == [0, 1]


def test_what_is_settled_is_gone_and_what_is_not_comes_back(vhost, broker, queue):
    fill(vhost, 8)
    consumer = broker.consumer(queue, 100)
    consumer.open(10)
    batch = take_all(consumer, 8)
    consumer.settle(consumer.generation, [tag for tag in tags(batch) if tag not in (3, 6)])
    consumer.settle(consumer.generation, [3, 4])  # 4 once more: an ack of it would close the channel
    assert consumer.requeue(10)
    assert remaining(vhost, 1) == [5]


def test_prefetch_bounds_what_is_in_hand(vhost, broker, queue):
    fill(vhost, 30)
    consumer = broker.consumer(queue, 10)
    consumer.open(10)
    first = take_all(consumer, 10)
    assert consumer.take(10, 0.1, 0.3) == []
    assert consumer.held == 10
    consumer.settle(consumer.generation, tags(first))
    assert bodies(take_all(consumer, 10)) == list(range(10, 20))


def test_many_messages_pass_in_order_and_once(vhost, broker, queue):
    fill(vhost, 3000)
    consumer = broker.consumer(queue, 1000)
    consumer.open(10)
    seen: list[int] = []
    while len(seen) < 3000:
        batch = consumer.take(500, 0.05, 10)
        assert batch, consumer.failure
        consumer.settle(batch[0].generation, tags(batch))
        seen += bodies(batch)
    assert seen == list(range(3000))
    eventually(lambda: consumer.held == 0)
    consumer.requeue(10)
    assert remaining(vhost, 0) == []


@KINDS
@pytest.mark.parametrize("stand_by", [True, False], ids=["perhaps beside a stand-by", "alone"])
def test_giving_back_keeps_the_order_and_counts_one_delivery(vhost, broker, type, arguments, stand_by):
    queue = vhost.declare_queue("q", type=type, arguments=arguments)
    fill(vhost, 1500)
    consumer = broker.consumer(queue, 300)
    consumer.stand_by = stand_by
    done = 0
    for _ in range(4):  # each time while messages are on their way
        consumer.open(10)
        batch = take_all(consumer, 100)
        assert bodies(batch) == list(range(done, done + 100))
        consumer.settle(consumer.generation, tags(batch))
        done += 100
        assert consumer.requeue(10)
        assert not consumer.active
        assert consumer.counted
        wait_for_depth(vhost, 1500 - done)
    found = vhost.get_all(queue)
    assert [int(body) for *_, body in found] == list(range(done, 1500))
    if type == "quorum":
        counts = {int(body): (properties.headers or {}).get("x-delivery-count", 0) for _, properties, body in found}
        assert max(counts.values()) == counts[400] == 3  # in hand from the second time on


def test_work_in_progress_can_be_settled_between_cancel_and_giving_back(vhost, broker, queue):
    fill(vhost, 20)
    consumer = broker.consumer(queue, 10)
    consumer.open(10)
    batch = take_all(consumer, 10)
    consumer.cancel(10)
    assert not consumer.active
    assert consumer.is_current(batch[0].generation)
    assert consumer.take(10, 0.1, 30) == []
    consumer.settle(batch[0].generation, tags(batch)[:4])
    assert consumer.requeue(10)
    assert not consumer.is_current(batch[0].generation)
    assert remaining(vhost, 16) == list(range(4, 20))


@KINDS
def test_giving_back_while_nothing_is_on_its_way_counts_no_delivery_if_the_broker_can_do_that(
    vhost, broker, type, arguments
):
    queue = vhost.declare_queue("q", type=type, arguments=arguments)
    fill(vhost, 500)
    consumer = broker.consumer(queue, 100)
    consumer.stand_by = False
    for _ in range(3):
        consumer.open(10)
        assert bodies(take_all(consumer, 100)) == list(range(100))
        assert consumer.requeue(10)
        wait_for_depth(vhost, 500)
    assert consumer.counted == (broker.server_version < (4, 3))
    found = vhost.get_all(queue)
    assert [int(body) for *_, body in found] == list(range(500))
    if type == "quorum":
        count = (found[0][1].headers or {}).get("x-delivery-count", 0)
        assert count == (3 if consumer.counted else 0)


def test_a_lost_connection_ends_the_generation_and_wakes_the_taker(vhost, broker, queue):
    fill(vhost, 5)
    consumer = broker.consumer(queue, 100)
    consumer.open(10)
    old = take_all(consumer, 5)
    assert consumer.generation == old[0].generation
    thief = threading.Timer(0.1, lose_connection, (vhost, consumer))
    thief.start()
    before = time.monotonic()
    assert consumer.take(10, 60, 60) == []
    assert time.monotonic() - before < 60
    thief.join()
    assert not consumer.active
    assert not consumer.is_current(old[0].generation)
    assert (consumer.failure.kind, consumer.failure.code) == (Kind.UNAVAILABLE, "320")


def test_a_stale_settlement_is_dropped(vhost, broker, queue):
    fill(vhost, 5)
    consumer = broker.consumer(queue, 100)
    consumer.open(10)
    old = take_all(consumer, 5)
    lose_connection(vhost, consumer)
    broker.wait_connected(10)
    consumer.open(10)
    consumer.settle(old[0].generation, tags(old))
    new = take_all(consumer, 5)
    assert bodies(new) == bodies(old)
    assert all(delivery.redelivered for delivery in new)
    assert consumer.held == 5
    consumer.requeue(10)
    assert remaining(vhost, 5) == [0, 1, 2, 3, 4]


def test_what_the_old_generation_left_in_hand_is_not_handed_out(vhost, broker, queue):
    fill(vhost, 5)
    consumer = broker.consumer(queue, 100)
    consumer.open(10)
    eventually(lambda: consumer.held == 5)
    lose_connection(vhost, consumer)
    assert consumer.take(5, 0, 0.2) == []
    broker.wait_connected(10)
    consumer.open(10)
    assert [delivery.generation for delivery in take_all(consumer, 5)] == [consumer.generation] * 5


def test_giving_back_when_the_connection_is_gone_is_no_error(vhost, broker, queue):
    fill(vhost, 5)
    consumer = broker.consumer(queue, 100)
    consumer.open(10)
    take_all(consumer, 5)
    lose_connection(vhost, consumer)
    assert consumer.requeue(10)
    assert consumer.held == 0


def test_open_waits_for_the_connection(vhost, broker, queue):
    consumer = broker.consumer(queue, 100)
    consumer.open(10)
    lose_connection(vhost, consumer)
    consumer.open(10)
    assert consumer.active


def test_a_queue_deleted_under_the_consumer_is_told(vhost, broker, queue):
    consumer = broker.consumer(queue, 100)
    consumer.open(10)
    deleter = threading.Timer(0.1, vhost.api, ("DELETE", "/api/queues/{vhost}/q"))
    deleter.start()
    before = time.monotonic()
    assert consumer.take(10, 60, 60) == []
    assert time.monotonic() - before < 60
    deleter.join()
    assert not consumer.active
    assert consumer.failure.code == "cancelled"
    with pytest.raises(Failed) as raised:
        consumer.open(10)
    assert (raised.value.failure.kind, raised.value.failure.code) == (Kind.CONFIGURATION, "404")


@pytest.fixture
def impatient(vhost):
    vhost.node.limit_holding(1000, 300)
    yield
    vhost.node.limit_holding()


def test_a_message_held_too_long_ends_the_generation(vhost, broker, queue, impatient):
    fill(vhost, 3)
    consumer = broker.consumer(queue, 100)
    consumer.open(10)
    held = take_all(consumer, 3)
    eventually(lambda: not consumer.active)
    assert consumer.failure.kind is Kind.UNAVAILABLE
    assert consumer.failure.code in ("406", "cancelled")  # up to RabbitMQ 4.2; from 4.3
    assert not consumer.is_current(held[0].generation)
    consumer.open(10)
    assert len(take_all(consumer, 3)) == 3


class Encoded(bytes):
    """A header's value as it stands on the wire, with the letter of its type."""


def nested(depth):
    value = b""
    for _ in range(depth):
        value = b"A" + struct.pack(">I", len(value)) + value
    return value


@pytest.mark.parametrize(
    "headers",
    [
        {"at": Encoded(b"T" + struct.pack(">Q", 1_764_000_000_000))},  # in milliseconds, a mistake that many make
        {"deep": Encoded(nested(2000))},
        {b"\xff\xfe": 1},
    ],
    ids=["milliseconds", "deep", "a name that is no UTF-8"],
)
def test_headers_that_pika_cannot_decode_cost_neither_the_connection_nor_a_delivery(
    vhost, broker, queue, headers, monkeypatch
):
    def encode(pieces, value, encode=pika.data.encode_value):
        if not isinstance(value, Encoded):
            return encode(pieces, value)
        pieces.append(value)
        return len(value)

    monkeypatch.setattr("pika.data.encode_value", encode)
    fill(vhost, 25)
    vhost.publish("", queue, "25", headers=headers)
    fill(vhost, 25, first=26)
    since = broker.connected_since
    consumer = broker.consumer(queue, 100)
    consumer.open(10)
    batch = take_all(consumer, 51)
    assert bodies(batch) == list(range(51))
    assert not any(delivery.redelivered for delivery in batch)
    assert all(isinstance(name, str) for delivery in batch for name in delivery.headers)
    consumer.settle(consumer.generation, tags(batch))
    assert consumer.requeue(10)
    assert broker.connected_since == since
    assert remaining(vhost, 0) == []


def test_get_takes_one_message_and_none_from_an_empty_queue(vhost, broker, queue):
    fill(vhost, 2)
    with broker.channel() as channel:
        first = channel.get(queue)
        assert (first.body, first.queue, first.redelivered) == (b"0", "q", False)
        channel.ack(first.tag)
        second = channel.get(queue)
        channel.nack(second.tag)
    with broker.channel() as channel:
        again = eventually(lambda: channel.get(queue))
        assert (again.body, again.redelivered) == (b"1", True)
        channel.ack(again.tag)
        assert channel.get(queue) is None
    assert remaining(vhost, 0) == []


def test_what_was_got_and_not_settled_goes_back(vhost, broker, queue):
    fill(vhost, 1)
    with broker.channel() as channel:
        assert channel.get(queue).body == b"0"
    assert remaining(vhost, 1) == [0]


def test_get_from_a_queue_with_a_single_active_consumer_is_405(vhost, broker):
    vhost.declare_queue("q", arguments={"x-single-active-consumer": True})
    with broker.channel() as channel, pytest.raises(Failed) as raised:
        channel.get("q")
    assert raised.value.failure.code == "405"


def test_a_channel_that_the_broker_closed_says_why_again(broker):
    with broker.channel() as channel:
        for _ in range(2):
            with pytest.raises(Failed) as raised:
                channel.queue_declare("missing", passive=True)
            assert raised.value.failure.code == "404"


def test_a_name_that_amqp_cannot_carry_costs_nothing_else(broker):
    with broker.channel() as channel:
        with pytest.raises(Failed, match="ShortStringTooLong"):
            channel.queue_declare("x" * 300)
        assert channel.queue_declare("short") == (0, 0)


def test_stop_gives_back_what_a_consumer_holds(vhost, queue):
    fill(vhost, 5)
    with Broker(vhost.broker_settings(), name="stopping", publishing=False) as broker:
        broker.wait_connected(10)
        consumer = broker.consumer(queue, 100)
        consumer.open(10)
        take_all(consumer, 5)
    assert remaining(vhost, 5) == [0, 1, 2, 3, 4]
