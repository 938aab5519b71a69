"""What the pump does with the shards of a source: one queue to it, and each of them keeps its order."""

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from connectorlib.amqp import Broker, ShardedConsumer, topology
from connectorlib.shared_settings import Source
from tests.integration.pumping import Target, dead, pumping
from tests.services.rabbitmq import Vhost
from tests.services.waiting import eventually

SOURCE = Source("q", shards=4, prefetch=200)
KEYS = [f"key-{number}" for number in range(12)]


def publish(vhost: Vhost, count: int, start: int = 0) -> None:
    """Publish so many messages of each key."""
    for key in KEYS:
        vhost.publish("q.shards", key, [f"{key} {number:04d}".encode() for number in range(start, start + count)])


def by_key(bodies: Sequence[bytes]) -> dict[str, list[str]]:
    """Return the bodies of each key in the order in which they came first."""
    found: dict[str, list[str]] = defaultdict(list)
    for body in dict.fromkeys(bodies):
        key, number = body.decode().split()
        found[key].append(number)
    return found


def in_order(bodies: Sequence[bytes]) -> bool:
    return all(numbers == sorted(numbers) for numbers in by_key(bodies).values())


@contextmanager
def made(vhost: Vhost, source: Source) -> Iterator[Broker]:
    """Make the shards of a source."""
    with Broker(vhost.broker_settings(), name="shards") as broker:
        broker.wait_connected(10)
        topology.ensure(broker, vhost.broker_settings(), source)
        yield broker


@contextmanager
def consuming(vhost: Vhost, source: Source) -> Iterator[ShardedConsumer]:
    with made(vhost, source) as broker:
        consumer = broker.sharded_consumer(source)
        consumer.open()
        yield consumer


def take(consumer: ShardedConsumer, count: int) -> list[tuple[int, bytes]]:
    """Take so many deliveries, and return their tags and bodies."""
    found: list[tuple[int, bytes]] = []
    while len(found) < count:
        batch = consumer.take(count - len(found), 0.05, 5.0)
        assert batch, f"{len(found)} of {count} came"
        assert {each.generation for each in batch} == {consumer.generation}
        found += [(each.tag, each.body) for each in batch]
    return found


def test_what_is_settled_does_not_come_again_and_the_rest_does_in_order(vhost: Vhost) -> None:
    with consuming(vhost, SOURCE) as consumer:
        publish(vhost, 10)
        assert eventually(lambda: consumer.waiting == 120)
        upcoming = [each.body for each in consumer.peek(7)]
        first = take(consumer, 120)
        assert [body for _, body in first[:7]] == upcoming
        assert len({tag for tag, _ in first}) == consumer.held == 120
        done = [each for each in first if int(each[1].split()[1]) < 6]
        consumer.settle(consumer.generation, [tag for tag, _ in done])
        assert eventually(lambda: consumer.held == 48)
        assert consumer.requeue()
        assert not consumer.active
        consumer.open()
        again = take(consumer, 48)
    assert in_order([body for _, body in again])
    assert {body for _, body in again} == {body for _, body in first} - {body for _, body in done}


def test_all_shards_together_hold_no_more_bytes_than_one_queue_may(vhost: Vhost) -> None:
    source = Source("q", shards=4, prefetch=200, prefetch_bytes=400_000)
    with consuming(vhost, source) as consumer:
        for key in KEYS:
            vhost.publish("q.shards", key, [b"%d" % n + b"x" * 30_000 for n in range(10)])
        assert eventually(lambda: consumer.held > 12)
        deliveries = []
        while batch := consumer.take(200, 0.05, 0.5):
            deliveries += batch
        assert sum(len(each.body) for each in deliveries) <= 400_000
        assert consumer.overflow is None  # what was read is still to be settled
        consumer.settle(consumer.generation, [each.tag for each in deliveries])
        fitted, sizes = eventually(lambda: consumer.overflow) or (0, ())
        assert fitted == 4 * 3
        assert set(sizes) <= {30_001}


def test_a_shard_that_goes_pauses_all_until_it_is_back(vhost: Vhost, caplog: pytest.LogCaptureFixture) -> None:
    with made(vhost, SOURCE):
        publish(vhost, 1)
    lost = {method.routing_key for queue in SOURCE.queues for method, *_ in vhost.get_all(queue) if queue == "q.2"}
    gate = threading.Event()
    gate.set()

    def slow(body: bytes) -> None:
        gate.wait(10)

    target = Target(slow)
    with pumping(vhost, target, shards=4) as pump:
        assert eventually(lambda: pump._consumer.active)
        publish(vhost, 10)
        assert eventually(lambda: len(target.written) == 120)
        gate.clear()
        publish(vhost, 10, start=10)
        assert eventually(lambda: pump._consumer.held == 120)
        with vhost.channel() as channel:
            channel.queue_delete("q.2")
        gate.set()
        assert eventually(lambda: "cause=shards" in caplog.text)
        assert "of 4 shards q.2 are missing" in caplog.text
        arguments = {"x-single-active-consumer": True, "x-delivery-limit": 1_000}
        vhost.declare_queue("q.2", arguments=arguments)
        with vhost.channel() as channel:
            channel.queue_bind("q.2", "q.shards", "1")
        kept = set(KEYS) - lost
        assert eventually(lambda: all(len(by_key(target.written)[key]) == 20 for key in kept))
        # A shard that is made again may get other keys, so what comes now has to come after all that waited.
        publish(vhost, 10, start=20)
        # What waited in the shard has gone with it.
        least = {key: 30 if key in kept else 20 for key in KEYS}
        assert eventually(lambda: all(len(by_key(target.written)[key]) >= least[key] for key in KEYS))
    assert in_order(target.written)
    assert dead(vhost) == []


def test_what_came_back_from_some_other_processes_is_not_given_back_once_more(vhost: Vhost) -> None:
    with consuming(vhost, SOURCE) as consumer:
        publish(vhost, 5)
        for _ in range(5):
            take(consumer, 60)
            consumer.requeue()
            consumer.open()
    target = Target()
    with pumping(vhost, target, shards=4) as pump:
        generation = eventually(lambda: pump._consumer.generation)
        assert eventually(lambda: len(target.written) == 60)
        assert (pump._consumer.generation, pump._consumer.prefetch) == (generation, 200)
    assert in_order(target.written)


def test_a_paused_process_leaves_the_shards_to_another(vhost: Vhost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectorlib.pipeline.pump.LEAVE_S", 0.2)
    first, second = Target(), Target()
    with pumping(vhost, first, shards=4) as holder:
        assert eventually(lambda: holder._consumer.active)
        publish(vhost, 5)
        assert eventually(lambda: len(first.written) == 60)
        with pumping(vhost, second, shards=4) as other:
            assert eventually(lambda: other._consumer.active)
            first.up = False
            publish(vhost, 5, start=5)
            assert eventually(lambda: len(first.written) + len(second.written) == 120)
            assert not holder._consumer.active
            first.up = True
            assert eventually(lambda: holder._consumer.active)
    assert len(second.written) == 60
    assert in_order(first.written + second.written)
