"""Pending acks against a model of the broker, which closes the channel when an ack names a tag it does not hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectorlib.amqp.acks import PendingAcks
from connectorlib.amqp.receive_window import ReceiveWindow
from connectorlib.amqp.subscription import Subscription


class UnackedSet:
    """What the broker holds for one channel."""

    def __init__(self):
        self.tags = set()
        self.allowed = set()

    def deliver(self, tag):
        self.tags.add(tag)

    def ack_up_to(self, tag):
        assert tag in self.tags, "406: a multiple ack names a tag that is not outstanding"
        settled = {each for each in self.tags if each <= tag}
        assert settled <= self.allowed, "a multiple ack went past an unsettled tag"
        self.tags -= settled

    def ack(self, tag):
        assert tag in self.tags, "406: an ack names a tag that is not outstanding"
        assert tag in self.allowed
        self.tags.remove(tag)


def settled(acks, tags):
    """Settle these and return up to which tag to ack."""
    acks.settle(tags)
    return acks.due()


@pytest.mark.parametrize(
    ("steps", "up_to", "singles"),
    [
        pytest.param([[1, 2, 3]], [3], [], id="a whole batch is one multiple ack"),
        pytest.param([[1, 3]], [1], [3], id="what is past a hole waits"),
        pytest.param([[2, 3]], [0], [2, 3], id="nothing below an unsettled first is acked together"),
        pytest.param([[2, 3], [1]], [0, 3], [], id="with the hole goes what waited for it"),
        pytest.param([[2, 3], [1, 4]], [0, 4], [], id="and what came with it"),
        pytest.param([[1, 3], [2, 5]], [1, 3], [5], id="up to the next hole"),
        pytest.param([[1, 2], [1, 2]], [2, 0], [], id="settled twice is acked once"),
        pytest.param([[3, 1, 2, 2]], [3], [], id="order and repetition do not matter"),
        pytest.param([[]], [0], [], id="nothing is nothing"),
    ],
)
def test_acks_are_few_and_never_wrong(steps, up_to, singles):
    acks = PendingAcks()
    assert [settled(acks, tags) for tags in steps] == up_to
    assert acks.waiting == len(singles)
    assert acks.singles() == singles
    assert acks.waiting == 0


def test_what_was_acked_alone_is_not_acked_again():
    acks = PendingAcks()
    acks.settle([2, 3])
    assert acks.singles() == [2, 3]
    assert settled(acks, [1]) == 1
    assert settled(acks, [4]) == 4


def test_what_is_settled_waits_until_it_is_asked_for():
    acks = PendingAcks()
    for tags in ([1, 2], [4], [3]):
        acks.settle(tags)
    assert (acks.settled, acks.waiting) == (4, 4)
    assert acks.due() == 4
    assert (acks.settled, acks.waiting) == (4, 0)


@pytest.mark.parametrize(
    ("tags", "delivered", "above", "left"),
    [
        pytest.param([], 0, 0, 0, id="nothing"),
        pytest.param([], 5, 0, 5, id="all that was delivered"),
        pytest.param([1, 2, 4], 5, 0, 3, id="what is acknowledged is not counted, what waits for it is"),
        pytest.param([1, 2, 4], 5, 3, 2, id="only what is above"),
        pytest.param([2], 7, 5, 2, id="all above, when none of it is settled"),
        pytest.param([1, 2, 3], 3, 3, 0, id="none"),
    ],
)
def test_how_many_are_not_acknowledged(tags, delivered, above, left):
    acks = PendingAcks()
    settled(acks, tags)
    assert acks.unacknowledged(delivered, above) == left


def test_what_is_rejected_or_acknowledged_alone_is_not_waited_for():
    acks = PendingAcks()
    acks.reject([2])
    acks.settle([4])
    assert acks.unacknowledged(5) == 4
    acks.singles()
    assert acks.unacknowledged(5) == 3


def test_a_prefetch_is_not_used_up_by_what_an_earlier_consumer_of_the_channel_holds():
    subscription = Subscription(5, ReceiveWindow(1_000_000), begun=3, delivered=7, next_prefetch=9)
    subscription.acks.settle([1])
    assert (subscription.is_full, subscription.most_waiting) == (False, 1)
    subscription.delivered = 8
    assert (subscription.is_full, subscription.most_waiting) == (True, 0)
    subscription.acks.settle([4, 5])
    assert subscription.is_full  # not acknowledged yet
    subscription.acks.singles()
    assert not subscription.is_full


def test_one_held_message_does_not_make_the_acks_grow():
    acks = PendingAcks()
    for tag in range(2, 20_000):
        acks.settle([tag])
        acks.singles()
    assert len(acks._unsettled) == 1


@given(st.data())
def test_whatever_is_settled_in_whatever_order_the_broker_agrees(data):
    count = data.draw(st.integers(1, 40))
    order = data.draw(st.permutations(range(1, count + 1)))
    broker, acks, delivered = UnackedSet(), PendingAcks(), 0
    while order:
        size = data.draw(st.integers(1, 12))
        batch, order = order[:size], order[size:]
        while delivered < max(batch):
            delivered += 1
            broker.deliver(delivered)
        broker.allowed |= set(batch)
        repeated = data.draw(st.lists(st.sampled_from(sorted(broker.allowed)), max_size=3))
        if up_to := settled(acks, [*batch, *repeated]):
            broker.ack_up_to(up_to)
        if data.draw(st.booleans()):
            for tag in acks.singles():
                broker.ack(tag)
            assert broker.tags == set(range(1, delivered + 1)) - broker.allowed
    assert broker.tags == set()
    assert acks.settled == count
