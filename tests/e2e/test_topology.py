"""Missing exchanges and queues are made, existing ones are used as they are, whatever their arguments."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.e2e.conftest import Connector, reading
from tests.services.rabbitmq import Vhost
from tests.services.waiting import eventually

LETTERS = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}


def queue(vhost: Vhost, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = vhost.api("GET", f"/api/queues/{{vhost}}/{name}")
    return found


def exchange(vhost: Vhost, name: str) -> tuple[str, bool]:
    found = vhost.api("GET", f"/api/exchanges/{{vhost}}/{name}")
    return found["type"], found["durable"]


def bindings(vhost: Vhost, name: str) -> set[tuple[str, str]]:
    found = vhost.api("GET", f"/api/queues/{{vhost}}/{name}/bindings")
    return {(binding["source"], binding["routing_key"]) for binding in found if binding["source"]}


def receive(connector: Connector, expected: int, **broker: Any) -> str:
    """Run `receive` with this in its `broker` section; return what it told, without its INFO lines."""
    connector.configure(broker=broker)
    done = connector.run("receive", "-c", str(connector.file))
    assert done.returncode == expected, done.stderr
    return "\n".join(line for line in done.stderr.splitlines() if " INFO " not in line)


def test_what_is_missing_is_made_durable_with_a_way_out_for_what_fails(on_sqlite: Connector) -> None:
    assert receive(on_sqlite, 3) == ""
    vhost = on_sqlite.vhost
    source, letters = queue(vhost, "readings"), queue(vhost, "dead-letter")
    assert (source["durable"], letters["durable"]) == (True, True)
    assert source["arguments"] == {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": "dead-letter",
        "x-delivery-limit": 100,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    assert letters["arguments"] == LETTERS
    assert exchange(vhost, "devices") == exchange(vhost, "dead-letter") == ("topic", True)
    assert bindings(vhost, "readings") == {("devices", "reading.#")}
    assert bindings(vhost, "dead-letter") == {("dead-letter", "#")}
    vhost.publish("devices", "reading.pump.7", reading(1))
    assert receive(on_sqlite, 0) == ""
    assert on_sqlite.database.count("reading") == 1


def test_what_is_missing_is_made_as_configured(on_sqlite: Connector) -> None:
    source = {
        "queue": "mine",
        "type": "classic",
        "arguments": {"x-message-ttl": 3_600_000, "x-max-priority": 3},
        "exchange": "plant",
        "exchange_type": "direct",
        "routing_keys": ["a", "b"],
    }
    letters = {"exchange": "graves", "queue": "graveyard"}
    assert receive(on_sqlite, 3, source=source, dead_letter=letters) == ""
    vhost = on_sqlite.vhost
    assert queue(vhost, "mine")["arguments"] == {
        "x-queue-type": "classic",
        "x-message-ttl": 3_600_000,
        "x-max-priority": 3,
        "x-dead-letter-exchange": "graves",
    }
    assert exchange(vhost, "plant") == ("direct", True)
    assert bindings(vhost, "mine") == {("plant", "a"), ("plant", "b")}
    assert queue(vhost, "graveyard")["arguments"] == LETTERS
    assert bindings(vhost, "graveyard") == {("graves", "#")}
    assert not vhost.exists("dead-letter")
    vhost.publish("plant", "b", b"{")
    assert "not-decodable" in receive(on_sqlite, 1, source=source, dead_letter=letters)
    assert vhost.depth("graveyard") == 1


def test_the_destination_exchange_is_made_as_configured(on_sqlite: Connector) -> None:
    on_sqlite.configure(
        database={"select": {"query": "SELECT 1 AS n"}},
        broker={"destination": {"exchange": "rows", "exchange_type": "fanout"}},
    )
    done = on_sqlite.run("select", "-c", str(on_sqlite.file))
    assert exchange(on_sqlite.vhost, "rows") == ("fanout", True)
    assert done.returncode == 1, done.stderr  # nobody has bound a queue to it yet
    assert "rows" in done.stderr.splitlines()[-1]
    on_sqlite.vhost.declare_queue("all", "rows", exchange_type="fanout")
    assert on_sqlite.run("select", "-c", str(on_sqlite.file)).returncode == 0
    assert [body for *_, body in on_sqlite.vhost.get_all("all")] == [b'{"n":1}']


def test_existing_ones_are_used_as_they_are_without_a_word(on_sqlite: Connector) -> None:
    vhost = on_sqlite.vhost
    mine = {"x-message-ttl": 3_600_000, "x-max-length": 1000}
    vhost.declare_queue("readings", "devices", "reading.#", type="classic", arguments=mine)
    vhost.declare_queue("dead-letter", "dead-letter", "#", exchange_type="fanout", type="classic", arguments=mine)
    vhost.publish("devices", "reading.1", [reading(1), b"{"])
    assert receive(on_sqlite, 0) == ""
    assert "not-decodable" in receive(on_sqlite, 1)
    assert queue(vhost, "readings")["arguments"] == mine | {"x-queue-type": "classic"}
    assert queue(vhost, "dead-letter")["arguments"] == mine | {"x-queue-type": "classic"}
    assert exchange(vhost, "dead-letter") == ("fanout", True)
    assert on_sqlite.database.count("reading") == 1
    assert len(on_sqlite.dead()) == 1


def test_what_is_wrong_with_existing_ones_is_said_plainly_with_what_to_do(on_sqlite: Connector) -> None:
    vhost = on_sqlite.vhost
    vhost.declare_queue("readings", "devices", "reading.1", exchange_type="direct")
    vhost.declare_queue("dead-letter", "dead-letter", "#")
    vhost.publish("devices", "reading.1", reading(1))
    told = receive(on_sqlite, 0)
    assert on_sqlite.database.count("reading") == 1
    assert "PRECONDITION" not in told
    letters, source, devices = told.splitlines()
    assert "dead-letter queue 'dead-letter': from RabbitMQ 4.0 on" in letters
    assert "rabbitmqctl set_policy" in letters
    assert "queue 'readings' has no dead-letter exchange" in source
    assert "rabbitmqctl set_policy" in source
    assert "exchange 'devices' exists and is used unchanged: its type is 'direct', not 'topic'" in devices
    on_sqlite.configure()
    with on_sqlite.subscribed() as running:
        assert vhost.close_connections() == 2
        running.wait_for("consuming queue", times=2)
    assert running.log.count("has no dead-letter exchange") == 1


def test_nothing_is_made_when_the_configuration_says_so(on_sqlite: Connector) -> None:
    vhost = on_sqlite.vhost
    passive, never = receive(on_sqlite, 78, declare="passive"), receive(on_sqlite, 78, declare="never")
    assert "exchange 'dead-letter' (topic) does not exist" in passive
    assert "no queue 'readings'" in never
    assert len(passive.splitlines()) == len(never.splitlines()) == 1
    assert not vhost.exists("readings")
    assert not vhost.exists("dead-letter")
    vhost.declare_queue("readings", "devices")
    vhost.declare_queue("dead-letter", "dead-letter")
    on_sqlite.publish(reading(1), b"{")
    assert receive(on_sqlite, 0, declare="passive") == ""
    assert "not-decodable" in receive(on_sqlite, 1, declare="never")
    assert bindings(vhost, "readings") == {("devices", "#")}


def test_a_user_who_may_make_nothing_uses_what_exists(on_sqlite: Connector) -> None:
    vhost = on_sqlite.vhost
    vhost.node.api("PUT", "/api/users/reader", {"password": "reader", "tags": ""})
    vhost.api("PUT", "/api/permissions/{vhost}/reader", {"configure": "^$", "write": "^dead-letter$", "read": ".*"})
    vhost.declare_queue("readings", "devices")
    vhost.declare_queue("dead-letter", "dead-letter")
    on_sqlite.publish(reading(1))
    told = receive(on_sqlite, 0, username="reader", password="reader")
    assert all("this user may not bind" in line for line in told.splitlines())
    assert on_sqlite.database.count("reading") == 1
    vhost.node.api("DELETE", "/api/users/reader")


@pytest.mark.parametrize("declare", ["create", "passive", "never"])
def test_a_stream_as_source_is_refused_by_name(on_sqlite: Connector, declare: str) -> None:
    """What is published while the connector is stopped would never reach it, and nothing would tell."""
    on_sqlite.vhost.declare_queue("readings", "devices", "reading.#", type="stream")
    on_sqlite.vhost.declare_queue("dead-letter", "dead-letter", arguments=LETTERS)
    on_sqlite.configure(broker={"declare": declare})
    for command in ("check", "receive", "subscribe"):
        done = on_sqlite.run(command, "-c", str(on_sqlite.file))
        said = [line for line in (done.stdout + done.stderr).splitlines() if "stream" in line]
        assert (done.returncode, len(said)) == (78, 1), (command, done.stdout, done.stderr)
        assert "queue 'readings' is a stream" in said[0]
        assert "Bind a quorum queue" in said[0]


def test_a_running_connector_waits_out_a_source_that_is_made_anew_as_a_stream(on_sqlite: Connector) -> None:
    on_sqlite.configure()
    with on_sqlite.subscribed() as process, on_sqlite.vhost.channel() as channel:
        channel.queue_delete("readings")
        channel.queue_declare("readings", durable=True, arguments={"x-queue-type": "stream"})
        process.wait_for("PAUSED")
        channel.queue_delete("readings")
        process.wait_for("RESUMED")
        on_sqlite.vhost.publish("devices", "reading.1", reading(1))
        eventually(lambda: on_sqlite.database.count("reading") == 1)
