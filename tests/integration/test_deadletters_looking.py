"""Looking at a queue changes nothing, however the look ends; removing from the middle leaves the rest in order."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from connectorlib.amqp import Broker
from connectorlib.amqp import browser as holding
from connectorlib.errors import Failed, Kind
from deadletterqueue import browse
from deadletterqueue.browse import Walk
from deadletterqueue.delivery_limit import DeliveryLimit
from tests.services.proxy import proxy
from tests.services.rabbitmq import Vhost
from tests.services.waiting import eventually

LIMIT = {"x-delivery-limit": 1_000_000}
#: Of the queues that a dead letter can lie in.
QUEUES: dict[str, dict[str, Any]] = {
    "quorum": {"type": "quorum", "arguments": LIMIT},
    "quorum without a limit": {"type": "quorum"},
    "classic": {"type": "classic"},
    "lazy": {"type": "classic", "arguments": {"x-queue-mode": "lazy"}},
    "with a single active consumer": {"type": "quorum", "arguments": {**LIMIT, "x-single-active-consumer": True}},
}


@pytest.fixture
def broker(vhost: Vhost) -> Iterator[Broker]:
    with Broker(vhost.broker_settings(), name="looking") as broker:
        broker.wait_connected(10)
        yield broker


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows and channels of a size that a few hundred messages fill many of."""
    monkeypatch.setattr(browse, "FIRST", 3)
    monkeypatch.setattr(browse, "MOST", 5)
    monkeypatch.setattr(browse, "FEWEST", 5)
    monkeypatch.setattr(browse, "MOST_REMOVING", 5)
    monkeypatch.setattr(holding, "MAX_CONSUMERS", 4)


def fill(vhost: Vhost, count: int, first: int = 0, **queue: Any) -> list[int]:
    vhost.declare_queue("q", **(queue or QUEUES["quorum"]))
    vhost.publish("", "q", [str(number) for number in range(first, first + count)])
    return list(range(first, first + count))


def look(broker: Broker, **options: Any) -> list[int]:
    with Walk(broker, "q", **options) as looker:
        return [int(delivery.body) for delivery in looker]


def walk(looker: Walk, at: int, action: Callable[[], object]) -> None:
    """Walk through the queue, and do something at one of its messages."""
    with looker:
        for number, _ in enumerate(looker):
            if number == at:
                action()


def remaining(vhost: Vhost, count: int) -> list[int]:
    """Take what is in the queue, which is all there and held by nobody."""
    eventually(lambda: vhost.depth("q") == count, what="all back")
    return [int(body) for *_, body in vhost.get_all("q")]


@pytest.mark.parametrize("kind", QUEUES)
@pytest.mark.usefixtures("small_windows")
def test_looking_again_and_again_keeps_the_order(vhost: Vhost, broker: Broker, kind: str) -> None:
    all_of_them = fill(vhost, 300, **QUEUES[kind])
    for _ in range(4):
        assert look(broker) == all_of_them
    assert remaining(vhost, 300) == all_of_them


@pytest.mark.parametrize("kind", QUEUES)
def test_a_short_look_keeps_the_order_whatever_was_looked_at_before(vhost: Vhost, broker: Broker, kind: str) -> None:
    all_of_them = fill(vhost, 300, **QUEUES[kind])
    for limit in (7, 3, None, 5, 150, 1):
        assert look(broker, limit=limit) == all_of_them[:limit]
    assert remaining(vhost, 300) == all_of_them


@pytest.mark.parametrize("kind", ["quorum", "classic"])
@pytest.mark.usefixtures("small_windows")
def test_a_walk_that_breaks_off_keeps_the_order(vhost: Vhost, broker: Broker, kind: str) -> None:
    all_of_them = fill(vhost, 200, **QUEUES[kind])
    look(broker)
    with pytest.raises(ZeroDivisionError):
        walk(Walk(broker, "q"), 42, lambda: 1 / 0)
    with pytest.raises(KeyboardInterrupt):
        walk(Walk(broker, "q"), 42, lambda: signal.default_int_handler(signal.SIGINT, None))
    with Walk(broker, "q"):
        pass  # not even begun
    assert remaining(vhost, 200) == all_of_them


def test_a_stop_ends_the_walk_and_everything_is_back(vhost: Vhost, broker: Broker) -> None:
    all_of_them = fill(vhost, 200)
    stop = threading.Event()
    looker = Walk(broker, "q", stop=stop)
    with pytest.raises(KeyboardInterrupt):
        walk(looker, 0, stop.set)
    assert looker.looked == 1
    assert remaining(vhost, 200) == all_of_them


@pytest.mark.usefixtures("small_windows")
def test_what_comes_meanwhile_is_not_looked_at_and_stays_behind(vhost: Vhost, broker: Broker) -> None:
    fill(vhost, 100)
    with Walk(broker, "q") as looker:
        seen = []
        for delivery in looker:
            seen.append(int(delivery.body))
            if len(seen) == 10:
                fill(vhost, 50, first=100)
    assert seen == list(range(100))
    assert remaining(vhost, 150) == list(range(150))


@pytest.mark.parametrize("kind", ["quorum", "classic"])
@pytest.mark.usefixtures("small_windows")
def test_what_is_removed_is_gone_and_the_rest_stays_in_order(vhost: Vhost, broker: Broker, kind: str) -> None:
    all_of_them = fill(vhost, 300, **QUEUES[kind])
    look(broker)
    with Walk(broker, "q", removing=True) as looker:
        seen = []
        for delivery in looker:
            seen.append(int(delivery.body))
            if seen[-1] % 3 == 0:
                looker.ack(delivery)
                if seen[-1] == 30:
                    fill(vhost, 20, first=300, **QUEUES[kind])
    assert seen == all_of_them
    assert remaining(vhost, 220) == [number for number in range(320) if number % 3 or number >= 300]


def test_a_walk_that_only_looks_removes_nothing(vhost: Vhost, broker: Broker) -> None:
    fill(vhost, 1)
    with Walk(broker, "q") as looker, pytest.raises(RuntimeError, match="read-only"):
        looker.ack(*looker)
    assert remaining(vhost, 1) == [0]


@pytest.mark.usefixtures("small_windows")
def test_a_walk_ends_when_somebody_else_takes_the_rest(vhost: Vhost, broker: Broker) -> None:
    fill(vhost, 100)
    with Walk(broker, "q") as looker:
        seen = []
        for delivery in looker:
            seen.append(int(delivery.body))
            if len(seen) == 1:
                others = [int(body) for *_, body in vhost.get_all("q")]
    assert seen + others == list(range(100))
    assert looker.shortfall == f"q: {len(others)} of 100 taken by another consumer meanwhile"
    assert remaining(vhost, len(seen)) == seen


def test_a_window_that_was_ended_early_is_not_waited_for(
    vhost: Vhost, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browse, "STUCK_S", 3600.0)
    all_of_them = fill(vhost, 10)
    look(broker)
    looker = Walk(broker, "q", removing=True)
    seen: list[int] = []

    def remove() -> None:
        with looker:
            with vhost.channel() as other:
                other.basic_get("q")
                seen.extend(int(delivery.body) for delivery in looker)
            eventually(lambda: vhost.depth("q") == 1, what="the return of what the other took")

    removing = threading.Thread(target=remove, daemon=True)
    removing.start()
    eventually(lambda: not removing.is_alive(), what="the end of the walk")
    assert seen == all_of_them[1:]
    assert looker.shortfall == "q: 1 of 10 taken by another consumer meanwhile"
    assert sorted(remaining(vhost, 10)) == all_of_them


def test_an_empty_queue_is_walked_through_at_once(vhost: Vhost, broker: Broker) -> None:
    fill(vhost, 0)
    assert look(broker) == []


def test_a_queue_that_is_not_there_is_told(broker: Broker) -> None:
    with pytest.raises(Failed, match="there is no queue 'q' in this virtual host"):
        look(broker)


def test_a_lost_connection_is_told_and_everything_is_back(vhost: Vhost, broker: Broker) -> None:
    fill(vhost, 200)
    looker = Walk(broker, "q")

    def lose() -> None:
        eventually(vhost.close_connections, what="a connection to close")
        eventually(lambda: looker.failure is not None, what="the loss")

    with pytest.raises(Failed) as raised:
        walk(looker, 50, lose)
    assert raised.value.failure.kind is Kind.UNAVAILABLE
    assert sorted(remaining(vhost, 200)) == list(range(200))


def test_a_queue_deleted_under_the_walk_is_told(vhost: Vhost, broker: Broker) -> None:
    fill(vhost, 200)
    looker = Walk(broker, "q")

    def delete() -> None:
        with vhost.channel() as channel:
            channel.queue_delete("q")
        eventually(lambda: looker.failure is not None, what="the loss")

    with pytest.raises(Failed, match="deleted"):
        walk(looker, 50, delete)
    assert not vhost.exists("q")


def test_large_bodies_do_not_pile_up(vhost: Vhost, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "BACKLOG_BYTES", 1_000_000)
    monkeypatch.setattr(holding, "SLOW_S", 30.0)
    vhost.declare_queue("q", **QUEUES["quorum"])
    vhost.publish("", "q", [b"x" * 100_000] * 100)
    most = 0
    with Walk(broker, "q") as looker:
        for number, _ in enumerate(looker):
            if number in (0, 30):
                eventually(lambda: looker.backlog > 1_000_000, what="a full backlog")
            most = max(most, looker.backlog)
    assert looker.looked == 100
    assert most == 1_100_000


# -- the delivery limit


def test_a_queue_with_a_low_limit_stops_the_look_and_loses_nothing(vhost: Vhost, broker: Broker) -> None:
    all_of_them = fill(vhost, 50, type="quorum", arguments={"x-delivery-limit": 20})
    for _ in range(15):
        assert look(broker) == all_of_them
    for _ in range(30):
        with pytest.raises(Failed, match=r"come back 1\d times, and this queue deletes .* limit \(20\)"):
            look(broker)
    assert sorted(remaining(vhost, 50)) == all_of_them


def test_what_would_be_deleted_by_its_return_is_moved_to_the_end(vhost: Vhost, broker: Broker) -> None:
    fill(vhost, 5, type="quorum", arguments={"x-delivery-limit": 20})
    with vhost.channel() as channel:
        for _ in range(20):  # somebody else's consumer, which gives the first one back at every start
            method, _, _ = channel.basic_get("q")
            channel.basic_reject(method.delivery_tag)  # RabbitMQ 4.3 counts no nack
    with suppress(Failed):
        look(broker)
    assert remaining(vhost, 5) == [1, 2, 3, 4, 0]


def test_a_limit_that_nobody_can_tell_counts_as_a_low_one(vhost: Vhost, broker: Broker) -> None:
    all_of_them = fill(vhost, 10, type="quorum")
    for _ in range(15):
        assert look(broker) == all_of_them
    with pytest.raises(
        Failed, match=r"(?s)not known here.*rabbitmqctl set_policy -p / --apply-to queues q-delivery-limit"
    ):
        look(broker)


def test_the_management_api_is_asked_when_it_matters(vhost: Vhost, broker: Broker) -> None:
    fill(vhost, 10, type="quorum")
    policy = {"pattern": "^q$", "definition": {"delivery-limit": 1_000_000}, "apply-to": "queues"}
    vhost.api("PUT", "/api/policies/{vhost}/looks", policy)
    asked = []

    def told() -> dict[str, Any]:
        asked.append(1)
        return vhost.api("GET", "/api/queues/{vhost}/q")

    def has_policy() -> bool:
        return bool(told().get("effective_policy_definition"))

    eventually(has_policy, what="the policy in the answer")
    asked.clear()
    for _ in range(30):
        assert len(look(broker, delivery_limit=DeliveryLimit(broker, "q", policies=told))) == 10
    assert len(asked) == 15


def test_not_one_look_at_a_queue_that_deletes_what_comes_back(vhost: Vhost, broker: Broker) -> None:
    all_of_them = fill(vhost, 5, type="quorum", arguments={"x-delivery-limit": 0})
    with pytest.raises(Failed, match="looking stops here"):
        look(broker)
    assert remaining(vhost, 5) == all_of_them


def test_a_message_at_its_limit_can_still_be_removed(vhost: Vhost, broker: Broker) -> None:
    fill(vhost, 50, type="quorum", arguments={"x-delivery-limit": 20})
    for _ in range(15):
        look(broker)
    with Walk(broker, "q", removing=True) as looker:
        for delivery in looker:
            looker.ack(delivery)
    assert remaining(vhost, 0) == []


def test_a_stream_is_refused_by_name(broker: Broker, vhost: Vhost) -> None:
    fill(vhost, 3, type="stream")
    with pytest.raises(Failed, match="is a stream") as refused:
        look(broker)
    assert refused.value.failure.kind is Kind.CONFIGURATION


def test_a_body_that_takes_longer_than_the_patience_is_seen_as_all_others(vhost: Vhost) -> None:
    """A walk that takes half a second of silence for the end of the queue sees what came before the large one."""
    vhost.declare_queue("q", **QUEUES["quorum"])
    vhost.publish("", "q", [b"small"] * 3 + [b"x" * 1_500_000] + [b"small"] * 6)
    with proxy(vhost.host, vhost.port) as link:
        hosts = ((link.host, link.port),)
        with Broker(vhost.broker_settings(hosts=hosts), name="slow link", publishing=False) as broker:
            broker.wait_connected(10)
            link.to_client.delay = 0.05  # for each 64 kB at most
            with Walk(broker, "q") as looker:
                sizes = [len(delivery.body) for delivery in looker]
            assert (sizes, looker.shortfall) == ([5] * 3 + [1_500_000] + [5] * 6, "")
            link.heal()
    eventually(lambda: vhost.depth("q") == 10, what="all back")
