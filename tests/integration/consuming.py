"""What the tests of a consumer do to its queue, and with what they take out of it."""

import time

import pytest

from connectorlib.messages import Delivery
from tests.services.waiting import eventually

KINDS = pytest.mark.parametrize(
    ("type", "arguments"),
    [("quorum", {"x-delivery-limit": 100}), ("quorum", {}), ("classic", {})],
    ids=["limited quorum", "quorum", "classic"],
)


def wait_for_depth(vhost, count):
    """A quorum queue has what comes back a moment after the broker said so."""
    eventually(lambda: vhost.depth("q") == count)


def remaining(vhost, count):
    wait_for_depth(vhost, count)
    return [int(body) for *_, body in vhost.get_all("q")]


def fill(vhost, count, first=0):
    vhost.publish("", "q", [str(number) for number in range(first, first + count)])


def bodies(batch):
    return [int(delivery.body) for delivery in batch]


def tags(batch):
    return [delivery.tag for delivery in batch]


def take_all(consumer, count):
    batch: list[Delivery] = []
    deadline = time.monotonic() + 20
    while len(batch) < count and time.monotonic() < deadline:
        batch += consumer.take(count - len(batch), 0.05, 1)
    return batch


def lose_connection(vhost, consumer):
    def lost():
        if consumer.active:
            vhost.close_connections()
        return not consumer.active

    eventually(lost)


def come_back(vhost, consumer, count):
    """Take so many and give them back: a quorum queue puts whatever else comes back behind them."""
    consumer.open(10)
    eventually(lambda: consumer.held == count)
    assert consumer.requeue(10)
    wait_for_depth(vhost, count)
