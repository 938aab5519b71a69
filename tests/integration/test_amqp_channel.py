"""Channels for other threads: what times out leaves nothing behind, and what is closing is told as a failure."""

import contextlib
import threading
from functools import partial

import pytest

from connectorlib.amqp import Broker, SyncChannel
from connectorlib.errors import Failed, Kind
from tests.services.waiting import eventually


@pytest.fixture
def broker(vhost):
    with Broker(vhost.broker_settings(), name="channels", publishing=False) as broker:
        broker.wait_connected(10)
        yield broker


@contextlib.contextmanager
def held_up(broker):
    """Keep the I/O thread busy, so that whatever it is asked meanwhile takes longer than no time."""
    release = threading.Event()
    broker._io.post(partial(release.wait, 10))
    yield
    release.set()


def failing(action):
    with pytest.raises(Failed) as raised:
        action()
    return raised.value.failure


def listening(broker):
    return [it for it in broker._consuming._listeners if isinstance(it, SyncChannel)]


def channels(vhost):
    return vhost.api("GET", "/api/vhosts/{vhost}/channels")


def test_a_channel_that_does_not_open_in_time_leaves_nothing_behind(vhost, broker):
    with held_up(broker):
        for _ in range(3):
            assert failing(broker.channel(timeout=0).__enter__).code == "timeout"
    with broker.channel() as channel:
        channel.queue_declare("q")
    eventually(lambda: not listening(broker))
    eventually(lambda: not channels(vhost))


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one(broker):
    with broker.channel() as channel:
        channel.queue_declare("q")
        for _ in range(20):
            with held_up(broker):
                channel._timeout = 0
                assert failing(lambda: channel.queue_purge("q")).code == "timeout"
                channel._timeout = 10
            try:
                assert channel.queue_declare("q") == (0, 0)
            except Failed as failed:
                assert (failed.failure.kind, failed.failure.code) == (Kind.UNAVAILABLE, "timeout")  # noqa: PT017


@pytest.mark.parametrize("act", ["ack", "nack", "get", "declare"])
def test_what_is_asked_of_a_closing_channel_fails_as_on_a_closed_one(vhost, broker, act):
    queue = vhost.declare_queue("q")
    vhost.publish("", queue, "1")
    with broker.channel() as channel:
        tag = channel.get(queue).tag
        act = {
            "ack": lambda: channel.ack(tag),
            "nack": lambda: channel.nack(tag),
            "get": lambda: channel.get(queue),
            "declare": lambda: channel.queue_declare(queue, passive=True),
        }[act]
        broker._io.post(channel._channel.close)
        assert failing(act).kind is Kind.UNAVAILABLE
