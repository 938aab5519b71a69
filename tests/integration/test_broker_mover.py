"""Messages that are held and move elsewhere, one by one, on a real broker."""

from collections.abc import Iterator

import pytest

from connectorlib.amqp import Broker, Holder
from connectorlib.errors import Failed, Failure
from connectorlib.messages import Delivery, Outgoing
from tests.services.rabbitmq import Vhost
from tests.services.waiting import eventually


@pytest.fixture
def holder(vhost: Vhost) -> Iterator[Holder]:
    vhost.declare_queue("from")
    vhost.publish("", "from", [b"%d" % n for n in range(20)])
    with Broker(vhost.broker_settings(), name="mover", publishing=False) as broker:
        broker.wait_connected(10)
        yield broker.holder("from")


def hold(holder: Holder, count: int) -> list[Delivery]:
    holder.open(count)
    held: list[Delivery] = []
    while len(held) < count:
        batch = holder.take(10.0)
        assert batch
        held += batch
    holder.seal()
    return held


def to(queue: str, delivery: Delivery) -> Outgoing:
    return Outgoing("", queue, delivery.body, {"message_id": delivery.body.decode()})


@pytest.mark.parametrize("kind", ["quorum", "classic"])
def test_a_queue_whose_limit_is_lifted_takes_messages_again(vhost: Vhost, holder: Holder, kind: str) -> None:
    vhost.declare_queue("to", type=kind)
    policy, limit = "/api/policies/{vhost}/full", {"max-length": 1, "overflow": "reject-publish"}
    vhost.api("PUT", policy, {"pattern": "^to$", "definition": limit, "apply-to": "queues"})
    held = iter(hold(holder, 20))
    mover = holder.mover()
    given = next(held)

    def moved() -> Failure | None:
        mover.send(given, to("to", given))
        found = mover.finish(10)
        assert found
        assert found[0].delivery is given
        return found[0].failure

    while (failure := moved()) is None:
        given = next(held)
    assert failure.code == "nacked"
    vhost.api("DELETE", policy)
    assert eventually(lambda: moved() is None)
    assert holder.give_back()
    arrived = [body for _, _, body in vhost.get_all("to")]
    assert arrived[-1] == given.body
    assert eventually(lambda: vhost.depth("from") == 20 - len(arrived))


def test_what_ends_the_way_out_leaves_the_rest_as_it_was(vhost: Vhost, holder: Holder) -> None:
    held = hold(holder, 10)
    mover = holder.mover()
    mover.send(held[0], Outgoing("missing", "", b""))
    with pytest.raises(Failed, match="no exchange 'missing'"):
        mover.finish(10)
    assert mover.in_doubt == held[:1]
    mover.send(held[1], to("from", held[1]))  # on no channel any more
    assert eventually(lambda: mover.unsettled == 1)
    assert holder.failure is None
    assert holder.give_back()
    assert eventually(lambda: vhost.depth("from") == 20)
    assert [body for _, _, body in vhost.get_all("from")] == [b"%d" % n for n in range(20)]
