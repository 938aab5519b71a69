"""The ledger against a model of the broker, which closes the channel when an ack names a tag it does not hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectorlib.broker.ledger import Acks, Ledger


class UnackedSet:
    """What the broker holds for one channel."""

    def __init__(self):
        self.tags = set()
        self.allowed = set()

    def deliver(self, tag):
        self.tags.add(tag)

    def apply(self, acks: Acks):
        if acks.up_to:
            assert acks.up_to in self.tags, "406: a multiple ack names a tag that is not outstanding"
            settled = {tag for tag in self.tags if tag <= acks.up_to}
            assert settled <= self.allowed, "a multiple ack went past an unsettled tag"
            self.tags -= settled
        for tag in acks.singles:
            assert tag in self.tags, "406: an ack names a tag that is not outstanding"
            self.tags.remove(tag)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([[1, 2, 3]], [(3, [])], id="a whole batch is one multiple ack"),
        pytest.param([[1, 3]], [(1, [3])], id="past a hole each is acked alone"),
        pytest.param([[2, 3]], [(0, [2, 3])], id="nothing below an unsettled first is acked together"),
        pytest.param([[2, 3], [1]], [(0, [2, 3]), (1, [])], id="the hole alone, for 2 and 3 are acked already"),
        pytest.param([[2, 3], [1, 4]], [(0, [2, 3]), (4, [])], id="over what was acked alone to one that was not"),
        pytest.param([[1, 3], [2, 5]], [(1, [3]), (2, [5])], id="up to the highest unacked below the next hole"),
        pytest.param([[1, 2], [1, 2]], [(2, []), (0, [])], id="settled twice is acked once"),
        pytest.param([[3, 1, 2, 2]], [(3, [])], id="order and repetition do not matter"),
        pytest.param([[]], [(0, [])], id="nothing is nothing"),
    ],
)
def test_acks_are_few_and_never_wrong(steps, expected):
    ledger = Ledger()
    assert [ledger.settle(tags) for tags in steps] == [Acks(*each) for each in expected]


def test_one_held_message_does_not_make_the_ledger_grow():
    ledger = Ledger()
    for tag in range(2, 20_000):
        ledger.settle([tag])
    assert len(ledger._unsettled) == 1


@given(st.data())
def test_whatever_is_settled_in_whatever_order_the_broker_agrees(data):
    count = data.draw(st.integers(1, 40))
    order = data.draw(st.permutations(range(1, count + 1)))
    broker, ledger, delivered = UnackedSet(), Ledger(), 0
    while order:
        size = data.draw(st.integers(1, 12))
        batch, order = order[:size], order[size:]
        while delivered < max(batch):
            delivered += 1
            broker.deliver(delivered)
        broker.allowed |= set(batch)
        repeated = data.draw(st.lists(st.sampled_from(sorted(broker.allowed)), max_size=3))
        broker.apply(ledger.settle([*batch, *repeated]))
        assert broker.tags == set(range(1, delivered + 1)) - broker.allowed
    assert broker.tags == set()
    assert ledger.settled == count
