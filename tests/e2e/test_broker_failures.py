"""Bad days of the broker: nothing is lost, nothing is dropped, and it goes on by itself."""

import signal
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.e2e.conftest import Connector, reading
from tests.e2e.pauses import ALL, INBOX, ONCE, expect_all, load, pause_of, written
from tests.services.server import free_port
from tests.services.waiting import eventually

BAD = b'{"id": '


@pytest.mark.slow
def test_broker_restarted_in_mid_load_loses_nothing(on_sqlite: Connector) -> None:
    connector, node = on_sqlite, on_sqlite.vhost.node
    connector.constants = {
        "connectorlib.amqp.reconnect._OUTAGE": [0.5, 1.0, 1.0, 0.05],
        "connectorlib.pipeline.pause.CONNECT_PATIENCE_S": 1,
    }
    connector.database.execute(INBOX)
    connector.configure(batch={"size": 20, "wait_ms": 5}, idempotency=ONCE)
    load(connector, range(1, 2001))
    with connector.subscribed() as running:
        eventually(lambda: connector.database.count("reading") > 0)
        node.stop()
        # A second one begins while there is no broker, and waits for it.
        with connector.subscribed(ready=" PAUSED ") as late:
            pause_of(late)
            assert late.log.count(" PAUSED ") == 1
            node.start()
            expect_all(connector, range(1, 2001))
            late.wait_for(" RESUMED ", 60)
        pause_of(running)
        running.wait_for(" RESUMED ", 60)


@pytest.mark.slow
def test_connections_closed_by_the_broker_in_mid_load_lose_nothing(on_sqlite: Connector) -> None:
    connector = on_sqlite
    connector.database.execute(INBOX)
    connector.configure(batch={"size": 20, "wait_ms": 5}, idempotency=ONCE)
    load(connector, range(1, 3001))
    with connector.subscribed():
        for count in (0, 800, 1600):
            eventually(partial(more_than, connector, count))
            eventually(connector.vhost.close_connections, every=0.2)
        expect_all(connector, range(1, 3001))


def more_than(connector: Connector, rows: int) -> bool:
    return connector.database.count("reading") > rows


def test_a_queue_deleted_under_the_consumer_is_made_again(on_sqlite: Connector) -> None:
    connector = on_sqlite
    connector.configure()
    with connector.subscribed() as running:
        connector.publish(reading(1))
        eventually(lambda: written(connector) == [1])
        connector.vhost.api("DELETE", "/api/queues/{vhost}/readings")
        eventually(lambda: running.log.count(" consuming queue=") == 2)
        connector.vhost.publish("devices", "reading.again", [reading(2)])
        expect_all(connector, range(1, 3))


@pytest.mark.parametrize("deleted", ["exchanges", "queues"])
def test_a_dead_letter_path_deleted_meanwhile_is_made_again(on_sqlite: Connector, deleted: str) -> None:
    connector = on_sqlite
    connector.configure()
    with connector.subscribed():
        connector.vhost.api("DELETE", f"/api/{deleted}/{{vhost}}/dead-letter")
        connector.publish(BAD, reading(1))
        eventually(lambda: written(connector) == [1])
        eventually(lambda: connector.vhost.exists("dead-letter") and connector.vhost.depth("dead-letter") == 1, 30)
    assert [body for body, _ in connector.dead()] == [BAD]
    assert connector.vhost.depth("readings") == 0


def test_a_full_dead_letter_queue_pauses_and_the_original_is_kept(on_sqlite: Connector) -> None:
    connector = on_sqlite
    connector.configure()
    full = {"x-max-length": 1, "x-overflow": "reject-publish"}
    connector.vhost.declare_queue("dead-letter", "dead-letter", type="classic", arguments=full)
    connector.publish(b"filler", queue="dead-letter")
    load(connector)
    connector.publish(BAD)
    with connector.subscribed() as running:
        eventually(lambda: len(written(connector)) == len(ALL))
        pause = pause_of(running)
        assert pause[1] == "nacked"
        assert "dead-letter queue" in pause[3]
    assert eventually(lambda: connector.vhost.depth("readings") == 1)
    with connector.subscribed() as running:
        pause_of(running)
        assert [body for body, _ in connector.dead()] == [b"filler"]
        eventually(lambda: connector.vhost.depth("dead-letter") == 1, 30)
    assert [body for body, _ in connector.dead()] == [BAD]
    assert connector.vhost.depth("readings") == 0


@pytest.mark.slow
def test_a_broker_short_of_memory_holds_up_dead_letters_and_nothing_else(on_sqlite: Connector) -> None:
    connector, node = on_sqlite, on_sqlite.vhost.node
    connector.configure()
    load(connector)
    connector.publish(BAD)
    load(connector, range(41, 81))
    node.set_memory_alarm()
    try:
        with connector.subscribed() as running:
            running.wait_for("the broker blocks publishers")
            eventually(lambda: len(written(connector)) == 80)
            assert connector.vhost.depth("dead-letter") == 0
            node.clear_memory_alarm()
            eventually(lambda: connector.vhost.depth("dead-letter") == 1)
            assert "PAUSED" not in running.log
    finally:
        node.clear_memory_alarm()
    assert connector.vhost.depth("readings") == 0


@pytest.mark.slow
def test_refused_by_the_broker(on_sqlite: Connector) -> None:
    connector, node = on_sqlite, on_sqlite.vhost.node
    user = f"late-{connector.vhost.name}"
    account = {"password": "right", "tags": ""}
    node.api("PUT", f"/api/users/{user}", account)
    rights = {"configure": ".*", "write": ".*", "read": ".*"}
    node.api("PUT", f"/api/permissions/{connector.vhost.quoted}/{user}", rights)
    access = {"username": user, "password": "wrong-pass"}
    to = {"destination": {"exchange": "rows"}, "source": {"queue": "readings"}}
    connector.configure(broker=connector.vhost.config(**access, **to), database={"select": {"query": "SELECT 1 AS id"}})
    for command in ("receive", "select"):
        done = connector.run(command, "-c", "db.config")
        assert done.returncode == 77, done.stderr
        assert "ACCESS_REFUSED" in done.stderr.splitlines()[-1]
    with connector.subscribed(ready=" PAUSED ") as running:
        assert "correct the user, password or permissions in the broker" in pause_of(running)[3]
        node.api("PUT", f"/api/users/{user}", account | {"password": "wrong-pass"})
        running.signal(signal.SIGUSR1)
        running.wait_for(" consuming queue=")
        running.wait_for(" RESUMED ")
        connector.publish(reading(1))
        expect_all(connector, range(1, 2))
        assert "wrong-pass" not in running.log


def test_no_broker_at_the_start_is_told_in_one_line(on_sqlite: Connector) -> None:
    connector = on_sqlite
    connector.constants = {
        "connectorlib.pipeline.pause.CONNECT_PATIENCE_S": 1,
        "dbconnector.commands.receive.CONNECT_S": 1,
        "dbconnector.commands.select.CONNECT_S": 1,
    }
    to = connector.vhost.config(port=free_port(), source={"queue": "readings"}, destination={"exchange": "rows"})
    connector.configure(broker=to, database={"select": {"query": "SELECT 1 AS id"}})
    with connector.subscribed(ready=" PAUSED ") as running, ThreadPoolExecutor() as pool:
        for done in pool.map(lambda command: connector.run(command, "-c", "db.config"), ("receive", "select")):
            assert done.returncode == 69
            (line,) = done.stderr.splitlines()
            assert line.endswith(f"ERROR broker: unreachable 127.0.0.1:{to['port']}: connection refused")
        pause = pause_of(running)
        assert pause[2] == f"broker: 127.0.0.1:{to['port']}: connection refused"
        assert pause[3] == "start the broker or fix the reported error; the connector resumes automatically"
        assert running.log.count(" PAUSED ") == 1
        assert running.stop(10) == 0


def test_a_missing_virtual_host_is_told_in_one_line(on_sqlite: Connector) -> None:
    connector = on_sqlite
    connector.configure(broker=connector.vhost.config(virtual_host="nowhere", source={"queue": "readings"}))
    done = connector.run("receive", "-c", "db.config")
    assert done.returncode == 78, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "nowhere" in done.stderr
