"""When the far side has changed, and refuses every message: the flow pauses, and the queue does not end among the dead
letters."""

import re
import signal
from collections.abc import Callable

import pytest

from tests.e2e.cases import DIVISION, Divisions, alarm
from tests.e2e.conftest import Connector, Running, reading
from tests.services.waiting import eventually

pytestmark = pytest.mark.usefixtures("quick_probes")
DEVICES = 64
#: What 100 alike, the probes of a test, and another message in each call may cost.
MOST_LETTERS = 150
PAUSED = re.compile(r'PAUSED \w+=\S+ since=\S+ cause=(?P<cause>\S+)(?: same=(?P<same>\d+))? "(?P<text>.+)" held=\d+')
#: A column that no message fills appears, and goes again.
APPEARS = {
    "postgresql": (
        "ALTER TABLE reading ADD COLUMN site varchar(10) NOT NULL DEFAULT 'here'",
        "ALTER TABLE reading ALTER COLUMN site DROP DEFAULT",
    ),
    "mariadb": ("ALTER TABLE reading ADD COLUMN site varchar(10) NOT NULL",),
}
#: PostgreSQL refuses the row of a message, MariaDB the statement.
CAUSES = {"postgresql": ("23502", True), "mariadb": ("HY000/1364", False)}


def paused(running: Running) -> re.Match[str]:
    """Wait for a pause; return the parts of its line."""
    found = PAUSED.search(running.wait_for(" PAUSED ", 30))
    assert found, running.log
    return found


def readings(first: int, last: int) -> list[bytes]:
    return [reading(n, f"d{n % DEVICES}") for n in range(first, last + 1)]


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("name", ["postgres_db", "maria_db"])
def test_a_column_that_no_message_fills_pauses_the_flow_and_once_it_is_gone_all_is_written(
    on: Callable[[str], Connector], name: str, lanes: int
) -> None:
    connector = on(name)
    database = connector.database
    connector.configure(batch={"size": 200, "wait_ms": 5}, lanes={"count": lanes, "key": "device"})
    connector.vhost.declare_queue("readings")
    connector.publish(*readings(1, 500))
    with connector.subscribed() as running:
        eventually(lambda: database.count("reading") == 500)
        for statement in APPEARS[database.kind]:
            database.execute(statement)
        connector.publish(*readings(501, 3500))
        cause, is_by_message = CAUSES[database.kind]
        pause = paused(running)
        assert pause["cause"] == cause
        assert "site" in pause["text"]
        assert bool(pause["same"]) == is_by_message
        if is_by_message:
            assert 100 <= int(pause["same"]) <= MOST_LETTERS
            before = connector.vhost.depth("dead-letter")
            eventually(lambda: connector.vhost.depth("dead-letter") >= before + 2, what="two probes")
        letters = connector.vhost.depth("dead-letter")
        assert letters <= MOST_LETTERS
        database.execute("ALTER TABLE reading DROP COLUMN site")
        eventually(lambda: connector.vhost.depth("readings") == 0 and "RESUMED" in running.log, 60)
        dead = connector.dead()
        eventually(lambda: database.count("reading") == 3500 - len(dead))
    assert len(dead) <= letters + 2  # a probe may have been under way
    assert {headers["dead-code"] for _, headers in dead} <= {cause}


#: A column that takes no fraction, and one that does.
RETYPE = {
    "postgresql": "ALTER TABLE reading ALTER COLUMN value TYPE {0} USING value::{0}",
    "mariadb": "ALTER TABLE reading MODIFY value {0}",
}


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("name", ["postgres_db", "maria_db"])
def test_a_column_that_becomes_narrower_under_load_pauses_the_flow_and_once_it_is_wide_again_all_is_written(
    on: Callable[[str], Connector], name: str, lanes: int
) -> None:
    connector = on(name)
    database = connector.database
    connector.configure(batch={"size": 200, "wait_ms": 5}, lanes={"count": lanes, "key": "device"})
    connector.vhost.declare_queue("readings")
    connector.publish(*readings(1, 1500))
    with connector.subscribed() as running:
        eventually(lambda: database.count("reading") >= 200)
        database.execute(RETYPE[database.kind].format("integer"))
        connector.publish(*readings(1501, 3500))
        pause = paused(running)
        assert pause["cause"] == "bad-value"
        assert pause["text"].startswith("write[0]: 1.5 is not a whole number")
        assert int(pause["same"]) == 100 if lanes == 1 else 100 <= int(pause["same"]) <= MOST_LETTERS
        before = connector.vhost.depth("dead-letter")
        eventually(lambda: connector.vhost.depth("dead-letter") >= before + 2, what="two probes")
        letters = connector.vhost.depth("dead-letter")
        assert letters <= MOST_LETTERS
        database.execute(RETYPE[database.kind].format("numeric(12,4)"))
        eventually(lambda: connector.vhost.depth("readings") == 0 and "RESUMED" in running.log, 60)
        dead = connector.dead()
        eventually(lambda: database.count("reading") == 3500 - len(dead))
    assert len(dead) <= letters + 2  # a probe may have been under way
    assert {headers["dead-code"] for _, headers in dead} == {"bad-value"}


def test_a_validation_rule_that_refuses_every_case_pauses_the_division(divisions: Divisions) -> None:
    queue = divisions.division(batch={"size": 200, "wait_ms": 50})
    refuses = {"object": "Case", "message": "Give a site.", "field": "Subject"}
    with divisions.started() as running:
        divisions.org.rules(validation=[refuses])
        divisions.publish(queue, [alarm(n) for n in range(2000)])
        pause = paused(running)
        assert pause["cause"] == "FIELD_CUSTOM_VALIDATION_EXCEPTION"
        assert int(pause["same"]) >= 100  # all of the last call count, though they are sent again
        assert "Give a site." in pause["text"]
        before = divisions.vhost.depth("dead-letter")
        eventually(lambda: divisions.vhost.depth("dead-letter") >= before + 2, what="two probes")
        letters = divisions.vhost.depth("dead-letter")
        assert letters <= MOST_LETTERS
        divisions.org.rules(validation=[])
        running.signal(signal.SIGUSR1)
        running.wait_for("RESUMED", 30)
        eventually(lambda: divisions.vhost.depth(queue) == 0, 60)
        dead = len(divisions.dead())
        assert dead <= letters + 2
        divisions.cases(2000 - dead, 60)


CONSTANTS = {
    "RecordTypeId": (
        "012000000000001AAA",
        "INVALID_CROSS_REFERENCE_KEY",
        "Record Type ID: this ID value isn't valid for the user: 012000000000001AAA",
    ),
    "Origin": ("Machine", "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "Case Origin: bad value for restricted picklist"),
}


@pytest.mark.parametrize("field", CONSTANTS)
def test_a_constant_of_the_configuration_that_is_refused_costs_no_message(divisions: Divisions, field: str) -> None:
    value, code, text = CONSTANTS[field]
    if field == "RecordTypeId":
        divisions.org.seed("RecordType", {"Id": value, "Name": "Alarm", "SobjectType": "Case"})
    queue = divisions.division(case={"defaults": {field: value}})
    divisions.org.rules(validation=[{"object": "Case", "message": text, "field": field, "code": code}])
    with divisions.started() as running:
        divisions.publish(queue, [alarm(n) for n in range(30)])
        pause = paused(running)
        assert (pause["cause"], pause["same"]) == (code, None)
        assert pause["text"].startswith(f"case of {DIVISION}, {field.lower()} = {value}: ")
        divisions.org.rules(validation=[])
        divisions.cases(30, 60)
    assert divisions.dead() == []


def test_what_one_device_sends_and_nobody_can_read_holds_nobody_up(on_postgres: Connector) -> None:
    """It is dead-lettered as it comes: the brake is for what the far side refuses."""
    bad, good = 2000, 200
    on_postgres.configure(batch={"size": 100, "wait_ms": 5})
    on_postgres.vhost.declare_queue("readings")
    bodies = [b"{" if n % 11 else reading(n, f"d{n % DEVICES}") for n in range(bad + good)]
    on_postgres.publish(*bodies)
    with on_postgres.subscribed() as running:
        eventually(lambda: on_postgres.database.count("reading") == good, 60)
        eventually(lambda: on_postgres.vhost.depth("dead-letter") == bad, 60)
        assert "PAUSED" not in running.log
