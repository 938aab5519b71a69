"""Status, health and metrics of a running connector: what a person called at night asks, and what machines do."""

import json
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cases import Divisions, alarm
from tests.e2e.conftest import TABLE, Command, Connector, reading
from tests.e2e.port import Port
from tests.services.browser import browser
from tests.services.database import Database
from tests.services.rabbitmq import Vhost
from tests.services.waiting import eventually

HOSTILE = "<script>document.title = 'taken'</script>"


@pytest.fixture
def port() -> Port:
    return Port()


@contextmanager
def systemd(path: Path) -> Iterator[Callable[[], list[str]]]:
    """Listen as systemd does; give what returns all that was heard so far."""
    said: list[str] = [""]

    def heard() -> list[str]:
        with suppress(BlockingIOError):
            while True:
                said.append(channel.recv(4096).decode())
        return said

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(path))
        channel.setblocking(False)
        yield heard


def asked(command: Command, file: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    return command.run("status", "-c", str(file), *options)


def flow_of(status: Mapping[str, Any]) -> dict[str, Any]:
    (flow,) = status["flows"]
    return dict(flow)


@pytest.mark.usefixtures("quick_probes")
@pytest.mark.parametrize("name", ["postgres_db", "maria_db"])
def test_health_turns_when_the_database_goes_and_when_it_comes_back(
    tmp_path: Path, vhost: Vhost, port: Port, request: pytest.FixtureRequest, name: str
) -> None:
    database: Database = request.getfixturevalue(name)
    database.execute(TABLE)
    connector = Connector(tmp_path, vhost, database)
    connector.configure(monitoring=port.section)
    with systemd(tmp_path / "notify") as heard, connector.subscribed(NOTIFY_SOCKET=str(tmp_path / "notify")):
        eventually(lambda: port.code("/readyz") == 200, what="readiness")
        eventually(lambda: heard()[-1] == "STATUS=running")
        database.close()
        database.server.stop()
        connector.publish(reading(1))
        eventually(lambda: port.code("/readyz") == 503, what="the end of readiness")
        assert port.get("/readyz").text.startswith("readings: paused: ")
        assert port.code("/healthz") == 200  # restarting it would not help
        eventually(lambda: heard()[-1].startswith("STATUS=readings: paused: "))
        told = asked(connector, connector.file)
        assert told.returncode == 1
        assert "PAUSED flow=readings since=" in told.stdout
        last = told.stdout.splitlines()[-1]
        assert last.startswith("readings is paused since ")
        assert "start the database or fix the reported error" in last
        assert port.value("paused", flow="readings") == 1
        database.server.start()
        eventually(lambda: port.code("/readyz") == 200, 30, what="readiness again")
        eventually(lambda: heard()[-1] == "STATUS=running")
        eventually(lambda: asked(connector, connector.file).returncode == 0, 30, what="a status without complaints")
        causes = [labels for name, labels in port.metrics() if name == "amqp_connector_pauses_total"]
        assert {dict(labels)["flow"] for labels in causes} == {"readings"}  # its cause may change on the way
        assert database.value("SELECT id FROM reading") == 1


def test_the_status_tells_what_came_what_was_written_and_what_died(on_sqlite: Connector, port: Port) -> None:
    on_sqlite.configure(monitoring=port.section, batch={"size": 50, "wait_ms": 200})
    with on_sqlite.subscribed():
        bodies = [reading(n) for n in range(1, 100)] + [reading(100, value=5000)]
        on_sqlite.publish(*bodies, timestamp=int(time.time()) - 7)
        eventually(lambda: on_sqlite.vhost.exists("dead-letter") and on_sqlite.vhost.depth("dead-letter") == 1)
        eventually(lambda: flow_of(port.status())["last_hour"]["done"] == 99)
        status = port.status()
        hour = flow_of(status)["last_hour"]
        wanted = {"in": 100, "done": 99, "already_there": 0, "ignored": 0, "empty": 0, "retried": 0}
        assert hour == wanted | {"dead": {"HY000/19": 1}}
        assert flow_of(status)["queue"] == {"name": "readings", "waiting": 0, "held": 0, "consumers": 1}
        assert status["dead_letters"] == {"queue": "dead-letter", "messages": 1}
        assert [each["to"] for each in status["connections"] if each["since"]] == ["broker", "database"]

        assert port.value("messages_consumed_total", flow="readings") == 100
        assert port.value("messages_written_total", flow="readings") == 99
        died = port.value("messages_dead_lettered_total", flow="readings", reason="reject", code="HY000/19")
        assert died == 1
        assert port.value("messages_in_flight", flow="readings") == 0
        assert port.value("batch_messages_sum", flow="readings") == 100
        waited = port.value("message_latency_seconds_sum", flow="readings")
        batches = port.value("message_latency_seconds_count", flow="readings")
        assert waited >= 7 * batches > 0

        told = asked(on_sqlite, on_sqlite.file)
        assert told.returncode == 0
        assert "queue           readings: 0 waiting, 0 held, 1 consumer" in told.stdout
        assert told.stdout.splitlines()[-1].startswith("running, but 1 message of readings died")
        as_json = json.loads(asked(on_sqlite, on_sqlite.file, "--json").stdout)
        assert flow_of(as_json)["last_hour"] == hour


def test_when_no_process_answers_the_status_is_69_and_says_what_to_do(on_sqlite: Connector, port: Port) -> None:
    on_sqlite.configure(monitoring=port.section, database={"connection": "Driver=SQLite3;Pwd=${NOT_SET}"})
    told = asked(on_sqlite, on_sqlite.file)
    assert (told.returncode, told.stdout) == (69, "")
    assert told.stderr.startswith(f"no dbconnector answers on 127.0.0.1:{port.number}: it is not running")
    as_json = asked(on_sqlite, on_sqlite.file, "--json")
    assert (as_json.returncode, json.loads(as_json.stdout)["exit"]) == (69, 69)


def test_a_taken_port_costs_the_connector_nothing(on_sqlite: Connector, port: Port) -> None:
    on_sqlite.configure(monitoring=port.section)
    with on_sqlite.subscribed() as first, on_sqlite.subscribed() as second:
        first.wait_for(f" monitoring url=http://127.0.0.1:{port.number}/")
        second.wait_for(" monitoring port unavailable ")
        on_sqlite.publish(*[reading(n) for n in range(1, 11)])
        eventually(lambda: on_sqlite.database.count("reading") == 10)
    ends = [re.search(r" done=(\d+) already=0\n", each.log) for each in (first, second)]
    assert sum(int(end[1]) for end in ends if end) == 10


def test_the_divisions_of_sfconnector_and_what_is_left_of_their_calls(divisions: Divisions, port: Port) -> None:
    queue = divisions.division()
    divisions.configure(monitoring=port.section)
    with divisions.started():
        divisions.publish(queue, [alarm(n) for n in range(3)])
        divisions.cases(3)
        eventually(lambda: port.value("cases_created_total", flow="field-service") == 3)
        assert port.value("connected", to="salesforce of field-service") == 1
        assert port.value("salesforce_api_calls_left", to="salesforce of field-service") > 0
        told = divisions.run("status", "-i", str(divisions.file))
        assert told.returncode == 0
        assert told.stdout.splitlines()[-1].startswith("OK: the last message came ")
        assert " API calls left" in told.stdout
        assert divisions.run("status", "-i", str(divisions.file), "--json").returncode == 0


def test_of_divisions_that_share_a_queue_the_one_that_is_paused_is_named(divisions: Divisions, port: Port) -> None:
    source = {"queue": "cases.all", "exchange": "devices", "routing_keys": ["#"]}
    divisions.division("pumps", source=source, match={"$routing_key": "pumps"})
    divisions.division("rest", source={"queue": "cases.all"}, match={})
    divisions.org.user("pumps@example.com", "another password")
    divisions.configure(monitoring=port.section)
    with divisions.started():
        for key in ("pumps", "rest"):
            divisions.publish(key, [alarm()], exchange="devices", start=len(key))
        divisions.cases(1)
        eventually(lambda: flow_of(port.status())["queue"]["held"] == 1)
        assert port.code("/readyz") == 503
        assert port.get("/readyz").text.startswith("pumps: paused: ")
        told = divisions.run("status", "-i", str(divisions.file))
        assert told.returncode == 1
        assert "pumps+rest: paused (pumps)" in told.stdout
        assert "PAUSED division=pumps since=" in told.stdout
        assert told.stdout.splitlines()[-1].startswith("pumps is paused since ")
        assert port.value("connected", to="salesforce of pumps") == 0
        assert port.value("connected", to="salesforce of rest") == 1
        assert port.value("pauses_total", flow="pumps+rest", cause="invalid_grant") == 1


def test_a_query_that_is_run_again_and_again_is_watched_too(on_sqlite: Connector, port: Port) -> None:
    on_sqlite.database.execute("INSERT INTO reading (id, device, value) VALUES (1, 'p-1', 1.5)")
    on_sqlite.vhost.declare_queue("rows")
    on_sqlite.configure(
        write=(),
        database={"select": {"query": "SELECT id FROM reading", "every": "200ms"}},
        broker={"destination": {"exchange": "", "routing_key": "rows"}},
        monitoring=port.section,
    )
    with on_sqlite.running("select", "-c", str(on_sqlite.file), ready=" monitoring url="):
        eventually(lambda: port.code("/readyz") == 200)
        on_sqlite.database.execute("ALTER TABLE reading RENAME TO away")
        eventually(lambda: port.code("/readyz") == 503)
        on_sqlite.database.execute("ALTER TABLE away RENAME TO reading")
        eventually(lambda: port.code("/readyz") == 200)
        assert flow_of(port.status())["last_hour"]["done"] >= 1


def test_the_page_loads_itself_anew_and_shows_what_is_not_ours_as_text(on_sqlite: Connector, port: Port) -> None:
    on_sqlite.constants = {"connectorlib.monitoring.status_page.REFRESH_S": 1}
    on_sqlite.configure(monitoring=port.section, name=HOSTILE)
    with on_sqlite.subscribed(), browser(on_sqlite.folder / "profile") as person:
        person.go(f"http://127.0.0.1:{port.number}/")
        eventually(lambda: "OK: " in person.shown)
        assert HOSTILE in person.shown
        assert person.driver.title == f"dbconnector {HOSTILE}"
        on_sqlite.publish(reading(1))
        eventually(lambda: "1 in, 1 done" in person.shown, 30)
        assert person.layout_faults() == []
        assert person.errors() == []
