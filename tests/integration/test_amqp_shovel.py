"""Messages that are held and move elsewhere, one by one, on a real broker."""

from collections.abc import Iterator

import pytest

from connectorlib.amqp import Broker, Browser
from connectorlib.errors import Failed, Failure
from connectorlib.messages import Delivery, Outgoing
from tests.services.rabbitmq import Vhost
from tests.services.waiting import eventually


@pytest.fixture
def browser(vhost: Vhost) -> Iterator[Browser]:
    vhost.declare_queue("from")
    vhost.publish("", "from", [b"%d" % n for n in range(20)])
    with Broker(vhost.broker_settings(), name="shovel", publishing=False) as broker:
        broker.wait_connected(10)
        yield broker.browser("from")


def hold(browser: Browser, count: int) -> list[Delivery]:
    browser.open(count)
    held: list[Delivery] = []
    while len(held) < count:
        batch = browser.take(10.0)
        assert batch
        held += batch
    browser.end_window()
    return held


def to(queue: str, delivery: Delivery) -> Outgoing:
    return Outgoing("", queue, delivery.body, {"message_id": delivery.body.decode()})


@pytest.mark.parametrize("kind", ["quorum", "classic"])
def test_a_queue_whose_limit_is_lifted_takes_messages_again(vhost: Vhost, browser: Browser, kind: str) -> None:
    vhost.declare_queue("to", type=kind)
    policy, limit = "/api/policies/{vhost}/full", {"max-length": 1, "overflow": "reject-publish"}
    vhost.api("PUT", policy, {"pattern": "^to$", "definition": limit, "apply-to": "queues"})
    held = iter(hold(browser, 20))
    shovel = browser.shovel()
    given = next(held)

    def moved() -> Failure | None:
        shovel.send(given, to("to", given))
        found = shovel.finish(10)
        assert found
        assert found[0].delivery is given
        return found[0].failure

    while (failure := moved()) is None:
        given = next(held)
    assert failure.code == "nacked"
    vhost.api("DELETE", policy)
    assert eventually(lambda: moved() is None)
    assert browser.requeue()
    arrived = [body for _, _, body in vhost.get_all("to")]
    assert arrived[-1] == given.body
    assert eventually(lambda: vhost.depth("from") == 20 - len(arrived))


def test_what_ends_the_way_out_leaves_the_rest_as_it_was(vhost: Vhost, browser: Browser) -> None:
    held = hold(browser, 10)
    shovel = browser.shovel()
    shovel.send(held[0], Outgoing("missing", "", b""))
    with pytest.raises(Failed, match="no exchange 'missing'"):
        shovel.finish(10)
    assert shovel.in_doubt == held[:1]
    shovel.send(held[1], to("from", held[1]))  # on no channel any more
    assert eventually(lambda: shovel.unsettled == 1)
    assert browser.failure is None
    assert browser.requeue()
    assert eventually(lambda: vhost.depth("from") == 20)
    assert [body for _, _, body in vhost.get_all("from")] == [b"%d" % n for n in range(20)]
