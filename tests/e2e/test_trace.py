"""`deadletter-queue trace`: the way of one message through dead letter, edit, replay, retry and table."""

import contextlib
import json

from tests.e2e.conftest import Connector, reading
from tests.e2e.test_failures import LOCKS, holding
from tests.e2e.workbench import Workbench
from tests.services.waiting import eventually


def test_the_way_of_a_message_is_told_from_its_death_to_its_row(on_sqlite: Connector) -> None:
    bench = Workbench(on_sqlite.folder, on_sqlite.vhost)
    connection = on_sqlite.database.connection | {"Timeout": "50"}
    on_sqlite.configure(
        journal={}, database={"connection": connection}, retry={"attempts": 2, "first_ms": 10, "breaker": 3}
    )
    with on_sqlite.subscribed() as running:
        on_sqlite.publish(b'{"id": 1, "value": 1.5}', message_id="m-1")
        on_sqlite.publish(reading(2), message_id="m-2")
        eventually(lambda: on_sqlite.database.count("reading") == 1 and on_sqlite.vhost.depth("dead-letter") == 1)
        with contextlib.ExitStack() as held:
            held.enter_context(holding(on_sqlite.database, *LOCKS["sqlite"]))
            bench("edit", "1", "--set", "device=p-7", "-c", str(on_sqlite.file))
            running.wait_for("code=HY000/5")
        eventually(lambda: on_sqlite.database.count("reading") == 2)
    told = json.loads(bench("trace", "m-1", "--json"))
    ways = [(step["outcome"], step["code"], step["replays"]) for step in told]
    assert ways[0] == ("dead", "missing-field", 0)
    assert ways[1] == ("again", "HY000/5", 1)
    assert ways[-1] == ("done", "", 1)
    assert {step["queue"] for step in told} == {"readings"}
    lines = bench("trace", "m-1").splitlines()
    assert len(lines) == len(told)
    assert "dbconnector readings  readings  dead missing-field" in lines[0]
    assert lines[-1].endswith("readings  done (sent back 1×)")
    assert [step["outcome"] for step in json.loads(bench("trace", "m-2", "--json"))] == ["done"]
    assert "message 'm-9' is not in the journal 'connector-journal'" in bench("trace", "m-9", code=3)


def test_a_journal_that_cannot_be_made_costs_a_line_in_the_log(on_sqlite: Connector) -> None:
    on_sqlite.configure(journal={"stream": "amq.reserved"})
    with on_sqlite.subscribed() as running:
        on_sqlite.publish(*[reading(number) for number in range(1, 50)])
        eventually(lambda: on_sqlite.database.count("reading") == 49)
        assert "journal incomplete stream=amq.reserved" in running.wait_for("journal incomplete")
    assert on_sqlite.vhost.depth("readings") == 0
