"""A source in shards: what is made, who ranks first, and what stands against it."""

from collections import Counter

import pytest

from connectorlib.amqp import shards
from connectorlib.amqp.inspection import AT_LEAST_ONCE, Exchange, Queue
from connectorlib.amqp.shards import Found, objection, priority
from connectorlib.amqp.topology import Binding, plan
from connectorlib.shared_settings import BrokerSettings, Source

SOURCE = Source("q", exchange="devices", routing_keys=("a.#", "b"), shards=3)
SHARD = {
    "x-queue-type": "quorum",
    "x-dead-letter-exchange": "dead-letter",
    "x-delivery-limit": 1_000,
    **AT_LEAST_ONCE,
    "x-single-active-consumer": True,
}


@pytest.mark.parametrize(
    ("version", "type"),
    [
        ((3, 10, 8), "x-consistent-hash"),
        ((4, 2, 9), "x-consistent-hash"),
        ((4, 3), "x-modulus-hash"),
        ((), "x-consistent-hash"),
    ],
)
def test_shards_get_messages_only_when_all_of_them_are_bound(version, type):
    assert plan(BrokerSettings(), SOURCE, None, version)[3:] == [
        *(Queue(f"q.{number}", SHARD) for number in range(3)),
        Exchange("q.shards", type),
        *(Binding(f"q.{number}", "q.shards", "1") for number in range(3)),
        Exchange("devices", "topic"),
        Binding("q.shards", "devices", "a.#", to_exchange=True),
        Binding("q.shards", "devices", "b", to_exchange=True),
    ]


def test_without_an_exchange_nothing_but_the_shards_is_bound():
    assert plan(BrokerSettings(), Source("q", shards=2), None)[-1] == Binding("q.1", "q.shards", "1")


ALL = ("q.0", "q.1", "q.2")


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Found(missing=ALL), ""),
        (Found(missing=("q.2",)), ""),  # somebody is just making them
        (Found(exchange=True), ""),
        (Found(undivided=0, exchange=True), "queue 'q' without shards is still there, 0 waiting in it"),
        (Found(undivided=7, missing=ALL), "7 waiting in it"),
        (Found(exchange=True, other_type="topic"), "exchange 'q.shards' is of the type topic"),
        (Found(exchange=True, more=True), "there are more than 3 shards: q.3 is one"),
        (Found(exchange=True, missing=("q.1", "q.2")), "of 3 shards q.1, q.2 are missing"),
    ],
)
def test_what_would_change_the_order_or_come_twice_is_refused(found, text):
    assert text in objection(SOURCE, found)
    assert bool(text) == bool(objection(SOURCE, found))


def test_processes_share_the_shards_without_knowing_of_each_other():
    queues = Source("q", shards=128).queues
    processes = [f"host-{number}-ab12" for number in range(4)]
    first = Counter(max(processes, key=lambda process: priority(process, queue)) for queue in queues)
    assert set(first) == set(processes)
    assert min(first.values()) > 128 / 4 / 2
    # One that goes leaves its shards to the others, and no other shard moves.
    for queue in queues:
        ranked = sorted(processes, key=lambda process: priority(process, queue))
        left = [process for process in processes if process != processes[0]]
        now = max(left, key=lambda process: priority(process, queue))
        assert now == (ranked[-1] if ranked[-1] != processes[0] else ranked[-2])


def test_the_tag_of_a_consumer_names_its_process():
    assert shards.process_of("plant-7-1234-ab12-0001") == "plant-7-1234-ab12"
