"""SIGHUP: a new configuration takes over without a loss, a wrong one is refused and the old one goes on."""

import json
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.cases import Divisions, alarm
from tests.e2e.conftest import CONSUMING, INSERT, Connector, reading
from tests.services.server import free_port
from tests.services.waiting import eventually

WRONG = (("{", "the { of line 1 is never closed"), (json.dumps({"broker": {}}), '"database" is missing'))
TO_ANOTHER = {"statement": "INSERT INTO other (id) VALUES (:id)"}


def test_a_new_configuration_takes_over_in_mid_load_and_nothing_is_lost(on_sqlite: Connector) -> None:
    on_sqlite.database.execute("CREATE TABLE other (id integer NOT NULL PRIMARY KEY)")
    on_sqlite.configure(batch={"size": 10, "wait_ms": 5}, write=[INSERT])
    with on_sqlite.subscribed() as running:
        on_sqlite.publish(*[reading(n) for n in range(1, 1001)])
        eventually(lambda: on_sqlite.database.count("reading") > 0)
        on_sqlite.configure(write=[TO_ANOTHER])
        running.signal(signal.SIGHUP)
        running.wait_for(" reloaded ")
        running.wait_for(CONSUMING, times=2)
        on_sqlite.publish(*[reading(n) for n in range(1001, 1011)])
        both = "SELECT id FROM reading UNION ALL SELECT id FROM other ORDER BY id"
        eventually(lambda: len(on_sqlite.database.rows(both)) >= 1010)
        assert [row[0] for row in on_sqlite.database.rows(both)] == list(range(1, 1011))
        assert on_sqlite.database.count("other") >= 10
    assert on_sqlite.vhost.depth("readings") == 0


def test_a_wrong_configuration_is_refused_and_all_goes_on_as_before(on_sqlite: Connector) -> None:
    on_sqlite.configure()
    with on_sqlite.subscribed() as running:
        for written, (wrong, complaint) in enumerate(WRONG, 1):
            on_sqlite.file.write_text(wrong)
            running.signal(signal.SIGHUP)
            running.wait_for(complaint)
            on_sqlite.publish(reading(written))
            eventually(lambda count=written: on_sqlite.database.count("reading") == count)  # type: ignore[misc]
        running.wait_for("not reloaded: all goes on as before", times=2)
        assert running.log.count(CONSUMING) == 1


def test_an_included_file_is_read_again_and_a_mistake_in_it_is_told_with_its_line(on_sqlite: Connector) -> None:
    on_sqlite.database.execute("CREATE TABLE other (id integer NOT NULL PRIMARY KEY)")
    on_sqlite.configure(write=[INSERT])
    own = json.loads(on_sqlite.file.read_text())
    shared = on_sqlite.folder / "shared.json"

    def share(**database: Any) -> None:
        shared.write_text(json.dumps({"database": own["database"] | database}, indent=1))

    share()
    rest = {key: section for key, section in own.items() if key != "database"}
    on_sqlite.file.write_text(json.dumps(rest | {"include": shared.name}))
    with on_sqlite.subscribed() as running:
        share(wirte=[])
        running.signal(signal.SIGHUP)
        running.wait_for("database.wirte: unknown key")
        assert " shared.json line " in running.wait_for("not reloaded: all goes on as before")
        on_sqlite.publish(reading(1))
        eventually(lambda: on_sqlite.database.count("reading") == 1)
        share(write=[TO_ANOTHER])
        running.signal(signal.SIGHUP)
        running.wait_for(CONSUMING, times=2)
        on_sqlite.publish(reading(2))
        eventually(lambda: on_sqlite.database.count("other") == 1)


def test_sfconnector_reads_an_included_file_again_and_no_command_prints_its_secrets(divisions: Divisions) -> None:
    queue = divisions.division()
    own = json.loads(divisions.configure().read_text())
    shared = divisions.folder / "shared.json"
    login, case = own["divisions"]["field-service"]["salesforce"], own["divisions"]["field-service"]["case"]
    secrets = [login.pop("client_secret"), login.pop("password")]

    def share(priority: str) -> None:
        found = {"client_secret": secrets[0], "password": f"${{NOT_SET_HERE:-{secrets[1]}}}"}
        section = {"salesforce": found, "case": {"defaults": {"Priority": priority}}}
        shared.write_text(json.dumps({"divisions": {"field-service": section}}, indent=1))

    case.get("defaults", {}).pop("Priority", None)
    share("Low")
    divisions.file.write_text(json.dumps(own | {"include": shared.name}, indent=1))
    with divisions.started() as running:
        divisions.publish(queue, [alarm(1)])
        divisions.cases(1)
        share("High")
        running.signal(signal.SIGHUP)
        running.wait_for(CONSUMING, times=2)
        divisions.publish(queue, [alarm(2)], start=2)
        assert [case["Priority"] for case in divisions.cases(2)] == ["Low", "High"]
        printed = running.log
    (divisions.folder / "message.json").write_bytes(alarm(3))
    for command in (("check",), ("explain", "message.json")):
        done = divisions.run(command[0], "-i", str(divisions.file), *command[1:])
        assert done.stdout
        printed += done.stdout + done.stderr
    assert [secret for secret in secrets if secret in printed] == []


@contextmanager
def systemd(path: Path) -> Iterator[Callable[[], str]]:
    """Be systemd at a socket; yield what returns the next change of state that it is told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(20)

        def told() -> str:
            while True:
                state = listener.recv(4096).decode().partition("\n")[0]
                if not state.startswith(("STATUS=", "WATCHDOG=")):
                    return state

        yield told


def test_systemd_is_told_of_a_reload_and_not_that_it_stops(on_sqlite: Connector) -> None:
    on_sqlite.configure()
    path = on_sqlite.folder / "notify"
    with systemd(path) as told:
        with on_sqlite.subscribed(NOTIFY_SOCKET=str(path)) as running:
            assert told() == "READY=1"
            on_sqlite.configure(batch={"size": 7})
            running.signal(signal.SIGHUP)
            assert [told(), told()] == ["RELOADING=1", "READY=1"]
            running.wait_for(CONSUMING, times=2)
            running.signal(signal.SIGHUP)  # nothing has changed
            assert [told(), told()] == ["RELOADING=1", "READY=1"]
            on_sqlite.file.write_text("{")
            running.signal(signal.SIGHUP)
            assert [told(), told()] == ["RELOADING=1", "READY=1"]
            running.stop()
            assert told() == "STOPPING=1"
        assert running.log.count(CONSUMING) == 2


def test_what_is_selected_again_and_again_is_reloaded_and_told_to_systemd_too(on_sqlite: Connector) -> None:
    on_sqlite.database.execute("INSERT INTO reading (id, device, value) VALUES (1, 'p-1', 1.5)")
    for queue in ("old", "new"):
        on_sqlite.vhost.declare_queue(queue)

    def send_to(queue: str, **select: Any) -> None:
        on_sqlite.configure(
            write=(),
            database={"select": {"query": "SELECT id FROM reading", **select}},
            broker={"destination": {"exchange": "", "routing_key": queue}},
        )

    send_to("old", every="100ms")
    path = on_sqlite.folder / "notify"
    select = ("select", "-c", str(on_sqlite.file))
    with systemd(path) as told, on_sqlite.running(*select, ready=" sent rows=1", NOTIFY_SOCKET=str(path)) as running:
        assert told() == "READY=1"
        send_to("new")
        running.signal(signal.SIGHUP)
        running.wait_for("database.select.every is missing")  # for then it would be over
        running.wait_for("not reloaded: all goes on as before")
        assert [told(), told()] == ["RELOADING=1", "READY=1"]
        assert on_sqlite.vhost.depth("new") == 0
        send_to("new", every=3600)
        running.signal(signal.SIGHUP)
        assert [told(), told()] == ["RELOADING=1", "READY=1"]
        eventually(lambda: on_sqlite.vhost.depth("new") == 1)
        running.signal(signal.SIGUSR1)
        eventually(lambda: on_sqlite.vhost.depth("new") == 2)
        running.stop()
        assert told() == "STOPPING=1"


def test_a_broker_that_is_not_there_ends_no_selecting_and_a_reload_names_the_right_one(on_sqlite: Connector) -> None:
    on_sqlite.database.execute("INSERT INTO reading (id, device, value) VALUES (1, 'p-1', 1.5)")
    on_sqlite.vhost.declare_queue("rows")
    right = on_sqlite.vhost.config(destination={"exchange": "", "routing_key": "rows"})

    def say(**broker: Any) -> None:
        query = {"select": {"query": "SELECT id FROM reading", "every": 3600}}
        on_sqlite.configure(write=(), database=query, broker=right | broker)

    say(port=free_port())
    on_sqlite.constants = {"dbconnector.commands.select.CONNECT_PATIENCE_S": 1}
    with on_sqlite.running("select", "-c", str(on_sqlite.file), ready=" PAUSED select=") as running:
        say()
        running.signal(signal.SIGHUP)
        assert eventually(lambda: on_sqlite.vhost.depth("rows") == 1)


def test_a_configuration_without_a_source_is_refused_and_messages_are_written_as_before(on_sqlite: Connector) -> None:
    on_sqlite.configure()
    with on_sqlite.subscribed() as running:
        without = json.loads(on_sqlite.file.read_text())
        del without["broker"]["source"]
        on_sqlite.file.write_text(json.dumps(without))
        running.signal(signal.SIGHUP)
        running.wait_for("broker.source is missing")
        running.wait_for("not reloaded: all goes on as before")
        on_sqlite.publish(reading(1))
        assert eventually(lambda: on_sqlite.database.count("reading") == 1)


def test_a_refused_login_ends_no_process_that_was_reloaded_and_the_next_reload_corrects_it(
    divisions: Divisions,
) -> None:
    queue = divisions.division()
    with divisions.started() as running:
        divisions.publish(queue, [alarm(1)])
        divisions.cases(1)
        right = divisions.file.read_text()
        divisions.divisions["field-service"]["salesforce"]["password"] = "wrong"
        divisions.configure()
        running.signal(signal.SIGHUP)
        running.wait_for(" cause=invalid_grant ")
        divisions.publish(queue, [alarm(2)], start=2)
        divisions.file.write_text(right)
        running.signal(signal.SIGHUP)
        divisions.cases(2)
