"""Every message is confirmed, or its own failure is told; nothing is lost on the way."""

import gc
import time
from collections import deque

import pytest

from connectorlib.amqp import Broker, Publisher, Ticket
from connectorlib.amqp.frame_writer import HEADER_BYTES
from connectorlib.errors import Failed, Kind
from connectorlib.messages import Outgoing
from tests.services.waiting import eventually


@pytest.fixture
def broker(vhost):
    with Broker(vhost.broker_settings(), name="publisher", consuming=False) as broker:
        broker.wait_connected(10)
        yield broker


@pytest.fixture
def queue(vhost):
    return vhost.declare_queue("q", "x", "k.#")


def message(name, exchange="x", routing_key="k.1", **properties):
    return Outgoing(exchange, routing_key, f"body of {name}".encode(), {"message_id": str(name), **properties})


def codes(ticket):
    return [failure and failure.code for failure in ticket.results]


def publish(broker, messages):
    ticket = broker.publisher.submit(messages)
    assert ticket.wait(20)
    return ticket


def ids(vhost, queue):
    return [properties.message_id for _, properties, _ in vhost.get_all(queue)]


def test_messages_arrive_in_order_persistent_and_whole(vhost, broker, queue):
    # RabbitMQ 4.3 hands out higher priorities first, and a message without one has 4.
    given = message(1, content_type="text/plain", headers={"n": 1, "deep": {"a": [1, "b"]}}, priority=5)
    ticket = publish(broker, [given, message(2)])
    assert ticket.results == [None, None]
    (_, first, body), (_, second, _) = vhost.get_all(queue)
    assert body == b"body of 1"
    assert (first.message_id, second.message_id) == ("1", "2")
    assert (first.content_type, first.delivery_mode, first.priority) == ("text/plain", 2, 5)
    assert (first.headers["n"], first.headers["deep"]) == (1, {"a": [1, "b"]})


def test_more_than_a_window_arrives_once_each(vhost, broker, queue):
    tickets = [broker.publisher.submit([message(10_000 * part + n) for n in range(1100)]) for part in range(4)]
    for ticket in tickets:
        assert ticket.wait(60)
        assert not any(ticket.results)
    assert broker.publisher.unconfirmed == 0
    found = ids(vhost, queue)
    assert found == [str(10_000 * part + n) for part in range(4) for n in range(1100)]


def test_an_empty_batch_is_done(broker):
    assert publish(broker, []).results == []


def test_the_one_who_asks_to_be_told_is_told(vhost, broker, queue):
    told: list[Ticket] = []
    ticket = broker.publisher.submit([message(1)], told.append)
    eventually(lambda: told == [ticket])
    assert ticket.done


def test_an_error_in_the_one_who_is_told_costs_nothing(vhost, broker, queue):
    def break_down(_ticket):
        raise KeyError("a bug")

    assert broker.publisher.submit([message(1)], break_down).wait(10)
    since = broker.connected_since
    assert publish(broker, [message(2)]).results == [None]
    assert broker.connected_since == since


def test_unroutable_messages_are_told_from_the_others(vhost, broker, queue):
    keys = ["k.1", "lost", "k.2", "lost", "lost", "k.3"]
    ticket = publish(broker, [message(n, routing_key=key) for n, key in enumerate(keys)])
    assert codes(ticket) == [None, "unroutable", None, "unroutable", "unroutable", None]
    assert ticket.results[1].kind is Kind.REJECT
    assert "exchange 'x', routing key 'lost'" in ticket.results[1].text
    assert ids(vhost, queue) == ["0", "2", "5"]


def test_unroutable_messages_without_an_id_are_told_too(vhost, broker, queue):
    messages = [Outgoing("x", key, b"", {}) for key in ("lost", "k.1", "lost")]
    assert codes(publish(broker, messages)) == ["unroutable", None, "unroutable"]


def test_many_unroutable_messages(vhost, broker, queue):
    ticket = publish(broker, [message(n, routing_key="lost" if n % 2 else "k.1") for n in range(1000)])
    assert codes(ticket) == [None, "unroutable"] * 500


def test_a_missing_exchange_fails_what_goes_there_and_nothing_else(vhost, broker, queue):
    messages = [message(n, exchange="missing" if n in (3, 7) else "x") for n in range(10)]
    ticket = publish(broker, messages)
    assert codes(ticket) == ["404" if n in (3, 7) else None for n in range(10)]
    assert ticket.results[3].kind is Kind.CONFIGURATION
    assert set(ids(vhost, queue)) == {str(n) for n in range(10) if n not in (3, 7)}
    assert publish(broker, [message("after")]).results == [None]


def test_a_property_that_the_broker_refuses_fails_that_message_alone(vhost, broker, queue):
    messages = [message(n, **({"user_id": "somebody"} if n == 4 else {})) for n in range(10)]
    messages[6].properties["expiration"] = "soon"
    ticket = publish(broker, messages)
    assert codes(ticket) == ["406" if n in (4, 6) else None for n in range(10)]
    assert ticket.results[4].kind is Kind.REJECT
    assert "user_id" in ticket.results[4].text
    assert set(ids(vhost, queue)) == {str(n) for n in range(10) if n not in (4, 6)}


@pytest.mark.parametrize(
    "bad",
    [
        {"headers": {"set": {1}}},
        {"headers": {"big": 2**70}},
        {"headers": {"text": "x" * (HEADER_BYTES + 1)}},
        {"headers": {"n" * 300: 1}},
        {"correlation_id": "x" * 300},
        {"correlation_id": 7},
        {"content_type": "\ud800"},
        {"priority": 300},
        {"priority": "high"},
        {"timestamp": -1},
        {"timestamp": 2**80},
        {"no_such_property": 1},
        {"headers": "text"},
    ],
    ids=str,
)
def test_what_amqp_cannot_carry_fails_that_message_alone(vhost, broker, queue, bad):
    since = broker.connected_since
    ticket = publish(broker, [message(1), message(2, **bad), message(3)])
    assert codes(ticket) == [None, "bad-property", None]
    assert ticket.results[1].kind is Kind.REJECT
    assert ids(vhost, queue) == ["1", "3"]
    assert broker.connected_since == since


@pytest.mark.parametrize("bad", [{"routing_key": "k." + "x" * 300}, {"exchange": "x" * 300}, {"routing_key": None}])
def test_an_address_that_amqp_cannot_carry_fails_that_message_alone(vhost, broker, queue, bad):
    assert codes(publish(broker, [message(1), message(2, **bad), message(3)])) == [None, "bad-property", None]


def test_a_full_queue_is_no_fault_of_the_message(vhost, broker):
    vhost.declare_queue("full", "x", "k.#", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    publish(broker, [message(1)])
    eventually(lambda: "nacked" in codes(publish(broker, [message(2)])))
    refused = publish(broker, [message(3)])
    assert codes(refused) == ["nacked"]
    assert refused.results[0].kind is Kind.UNAVAILABLE


def test_a_queue_whose_limit_is_lifted_takes_messages_again(vhost, broker, queue):
    policy, limit = "/api/policies/{vhost}/full", {"max-length": 1, "overflow": "reject-publish"}
    vhost.api("PUT", policy, {"pattern": "^q$", "definition": limit, "apply-to": "queues"})
    eventually(lambda: "nacked" in codes(publish(broker, [message(1)])))
    vhost.api("DELETE", policy)
    eventually(lambda: codes(publish(broker, [message(2)])) == [None])


def test_a_queue_whose_limit_is_lifted_takes_messages_again_however_much_is_under_way(vhost, broker, queue):
    vhost.declare_queue("other", "x", "o.#")
    policy, limit = "/api/policies/{vhost}/full", {"max-length": 1, "overflow": "reject-publish"}
    vhost.api("PUT", policy, {"pattern": "^q$", "definition": limit, "apply-to": "queues"})
    under_way: deque[Ticket] = deque()

    def refused():
        """Whether the queue takes none, of messages among others that never end."""
        others = [message(n, routing_key="o.1") for n in range(1000)]
        under_way.append(broker.publisher.submit([*others, message("one"), *others]))
        if len(under_way) < 3:
            return False
        assert broker.publisher.unconfirmed
        first = under_way.popleft()
        assert first.wait(20)
        return first.results[1000] is not None

    eventually(refused)
    vhost.api("DELETE", policy)
    eventually(lambda: not refused())
    while under_way:
        assert under_way.popleft().wait(20)


def test_in_a_broker_alarm_messages_wait_and_then_arrive(vhost, broker, queue, alarm):
    first = broker.publisher.submit([message(n) for n in range(4200)])
    eventually(lambda: broker.blocked)
    second = broker.publisher.submit([message("second")])
    assert not second.wait(0.5)
    assert not first.done
    assert broker.publisher.unconfirmed <= 4000
    alarm()
    assert first.wait(60)
    assert second.wait(60)
    assert not any(first.results + second.results)
    assert not broker.blocked
    assert set(ids(vhost, queue)) == {*(str(n) for n in range(4200)), "second"}


def test_what_was_not_confirmed_is_published_again_on_the_next_connection(vhost, broker, queue, alarm):
    ticket = broker.publisher.submit([message(n) for n in range(300)])
    eventually(lambda: broker.blocked)
    since = broker.connected_since
    eventually(vhost.close_connections)
    eventually(lambda: broker.connected_since not in (None, since), 30)
    alarm()
    assert ticket.wait(60)
    assert not any(ticket.results)
    assert set(ids(vhost, queue)) == {str(n) for n in range(300)}


def test_the_window_bounds_what_is_under_way(vhost, broker, queue, alarm):
    narrow = Publisher(broker._io, broker._publishing, window=5)
    ticket = narrow.submit([message(n) for n in range(50)])
    eventually(lambda: narrow.unconfirmed == 5)
    assert not ticket.wait(0.3)
    assert narrow.unconfirmed == 5
    alarm()
    assert ticket.wait(30)
    assert ids(vhost, queue) == [str(n) for n in range(50)]


def test_abandoned_messages_are_not_published_any_more(vhost, broker, queue, alarm):
    narrow = Publisher(broker._io, broker._publishing, window=5)
    ticket = narrow.submit([message(n) for n in range(50)])
    eventually(lambda: narrow.unconfirmed == 5)
    ticket.abandon()
    alarm()
    eventually(lambda: narrow.unconfirmed == 0, 30)
    assert publish(broker, [message("last")]).results == [None]
    assert ids(vhost, queue) == ["0", "1", "2", "3", "4", "last"]


def test_messages_submitted_before_there_is_a_connection_wait_for_it(vhost, queue):
    broker = Broker(vhost.broker_settings(), name="early", consuming=False)
    broker._io.start()
    ticket = broker.publisher.submit([message(1)])
    assert not ticket.wait(0.2)
    broker._io.post(broker._connections[0].connect)
    assert ticket.wait(10)
    broker.stop()
    assert ids(vhost, queue) == ["1"]


def stop_in_an_alarm(vhost):
    """Return the ticket of a publisher that was stopped while the broker did not listen."""
    with Broker(vhost.broker_settings(), name="stopped", consuming=False) as broker:
        broker.wait_connected(10)
        ticket = broker.publisher.submit([message(n) for n in range(5000)])
        eventually(lambda: broker.blocked)
        before = time.monotonic()
    assert time.monotonic() - before < 10, "as long as a stop may wait"
    with pytest.raises(Failed, match="stopping"):
        broker.publisher.submit([message(1)])
    return ticket


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # pika closes a socket only when the broker answers
def test_stop_tells_who_still_waits(vhost, queue, alarm):
    ticket = stop_in_an_alarm(vhost)
    assert ticket.wait(1)
    assert codes(ticket) == ["stopped"] * 5000
    gc.collect()
