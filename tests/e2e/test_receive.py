"""receiveNInsert: one message, one or several records, one transaction."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.conftest import Connector, reading
from tests.services.server import free_port

#: Ends its own session, as a crash of the server would, with the message in hand.
DYING = (
    "INSERT INTO reading (id, device, value) SELECT :id, :device, :value WHERE pg_terminate_backend(pg_backend_pid())"
)


def receive(connector: Connector, expected: int, *more: str) -> str:
    """Run `receive`; return what it told."""
    done = connector.run("receive", "-c", str(connector.file), *more)
    assert done.returncode == expected, done.stderr
    assert done.stdout == ""
    return done.stderr


def records(*bodies: bytes) -> bytes:
    return b"[" + b",".join(bodies) + b"]"


def test_one_message_with_one_or_several_records_is_written(connector: Connector) -> None:
    connector.configure()
    connector.vhost.declare_queue("readings")
    connector.publish(reading(1), records(reading(2), reading(3)), reading(4))
    receive(connector, 0)
    assert connector.database.count("reading") == 1
    receive(connector, 0)
    assert connector.database.rows("SELECT id FROM reading ORDER BY id") == [(1,), (2,), (3,)]
    assert connector.vhost.depth("readings") == 1
    assert connector.dead() == []


def test_an_empty_queue_is_told_by_3(on_sqlite: Connector) -> None:
    on_sqlite.configure()
    assert "the queue is empty" in receive(on_sqlite, 3)


def test_a_message_that_is_dead_lettered_writes_none_of_its_records(connector: Connector) -> None:
    connector.configure()
    connector.vhost.declare_queue("readings")
    connector.publish(records(reading(1), reading(2, value=5000), reading(3)))
    told = receive(connector, 1)
    assert "dead-lettered" in told
    assert "write[0]" in told
    assert connector.database.count("reading") == 0
    assert connector.vhost.depth("readings") == 0
    [(body, headers)] = connector.dead()
    assert len(json.loads(body)) == 3
    assert headers["dead-reason"] == "reject"
    assert headers["dead-detail"] == "write[0]"


def test_a_database_that_is_down_costs_no_message_a_delivery(on_postgres: Connector) -> None:
    away = {**on_postgres.database.connection, "Port": str(free_port())}
    on_postgres.configure(database={"connection": away})
    on_postgres.vhost.declare_queue("readings")
    on_postgres.publish(reading(1))
    told = [line for line in receive(on_postgres, 69).splitlines() if " INFO " not in line]
    assert len([line for line in told if " ERROR " in line]) == 1
    [(method, _, _)] = on_postgres.vhost.get_all("readings")
    assert not method.redelivered
    assert on_postgres.dead() == []


def test_a_database_that_goes_down_meanwhile_gives_the_message_back(on_postgres: Connector) -> None:
    on_postgres.configure(write=[{"statement": DYING}])
    on_postgres.vhost.declare_queue("readings")
    on_postgres.publish(reading(1))
    assert "requeued" in receive(on_postgres, 69)
    assert on_postgres.dead() == []
    [(method, _, body)] = on_postgres.vhost.get_all("readings")
    assert method.redelivered
    assert json.loads(body)["id"] == 1


@pytest.mark.parametrize("variant", ["postgres_db", "maria_db"])
def test_a_log_in_refused_by_the_database_is_told_by_77(on: Callable[[str], Connector], variant: str) -> None:
    connector = on(variant)
    connector.configure(database={"connection": {**connector.database.connection, "Pwd": "wrong"}})
    connector.vhost.declare_queue("readings")
    connector.publish(reading(1))
    told = receive(connector, 77)
    assert told.count(" ERROR ") == 1
    assert "wrong" not in told
    assert connector.vhost.depth("readings") == 1


def test_a_log_in_refused_by_the_broker_is_told_by_77_in_one_line(on_sqlite: Connector) -> None:
    on_sqlite.configure(broker={"password": "wrong"})
    [line] = receive(on_sqlite, 77).splitlines()
    assert "ACCESS_REFUSED" in line


@pytest.fixture
def single(on_sqlite: Connector) -> Connector:
    """With a source that has a single active consumer, where `basic.get` is refused."""
    on_sqlite.vhost.declare_queue("readings", arguments={"x-single-active-consumer": True})
    on_sqlite.configure()
    return on_sqlite


def test_a_queue_with_a_single_active_consumer_is_consumed(single: Connector) -> None:
    single.publish(reading(1), reading(2, value=5000))
    receive(single, 0)
    assert single.vhost.depth("readings") == 1
    assert "dead-lettered" in receive(single, 1)
    assert single.vhost.depth("readings") == 0
    assert len(single.dead()) == 1
    receive(single, 3, "--wait", "0.2s")
    assert single.database.rows("SELECT id FROM reading") == [(1,)]


def test_another_consumer_that_is_active_is_told(single: Connector) -> None:
    taken: list[Any] = []
    with single.vhost.channel() as channel:
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume("readings", lambda *delivery: taken.append(delivery))
        single.publish(reading(1), reading(2), reading(3))
        told = receive(single, 1, "--wait", "0.5s")
        assert "queue 'readings': 405 another consumer is active: 2 messages wait for it" in told
    assert single.database.count("reading") == 0
    receive(single, 0)
