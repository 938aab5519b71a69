"""Alarms of devices in two divisions, through RabbitMQ, into Cases of a Salesforce on this machine."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from scripts import demo_alarms
from scripts.demo_show import command, console, example, reason, running, say, write
from tests.services.rabbitmq import Taken, Vhost
from tests.services.salesforce import Org, Salesforce
from tests.services.waiting import eventually

EXAMPLE = "sfconnector.example.json"
#: What `sfconnector sandbox` starts with (sfconnector/sandbox/demo_data.py); the example asks the environment for it.
SECRETS = {
    "SF_CLIENT_SECRET": "sandbox-secret",
    "FIELD_SERVICE_PASSWORD": "sandbox-password",
    "FIELD_SERVICE_TOKEN": "sandbox-token",
    "COLD_CHAIN_PASSWORD": "sandbox-password",
    "COLD_CHAIN_TOKEN": "sandbox-token",
}
CASE, ALREADY, DEAD = "Case", "already there", "dead-lettered"


@dataclass(frozen=True)
class Alarm:
    """A message, and what has to become of it."""

    id: str
    about: str
    division: str
    routing_key: str
    body: Mapping[str, Any]
    #: The external id that the example's configuration makes of it.
    key: str
    end: str


def pump(id: str, about: str, end: str, *, email: str = "ada.field@example.com", alarm: str = "overheated") -> Alarm:
    body = {
        "device": {"id": 1001, "serial": "PUMP-1001"},
        "alarm": alarm,
        "severity": 3,
        "description": "Bearing at 96 °C.",
        "at": "2026-11-24T06:30:00Z",
        "contact": {"name": "Ada Field", "email": email},
    }
    return Alarm(id, about, "field-service", "alarm.pump.1001", body, id, end)


def freezer(id: str, about: str, end: str, *, alarm: str, notify: str = "cleo.frost@example.com") -> Alarm:
    unit, day = "FREEZER-2001", "2026-11-24"
    reading = {"value": -3.5, "limit": -18, "unit": "°C"}
    body = {"unit": unit, "site": "Hall 2", "alarm": alarm, "day": day, "reading": reading, "notify": notify}
    return Alarm(id, about, "cold-chain", "alarm.freezer.2001", body, f"{unit}:{alarm}:{day}", end)


ALARMS = (
    pump("a-1", "a hot pump", CASE),
    pump("a-2", "of a stranger, who may be left out", CASE, email="nobody@example.com"),
    pump("a-1", "the first one again", ALREADY),
    pump("a-3", "a subject of 307 characters", DEAD, alarm="overheated " * 27),
    freezer("b-1", "a warm freezer", CASE, alarm="too warm"),
    freezer("b-2", "rings again on the same day", ALREADY, alarm="too warm"),
    freezer("b-3", "another alarm of it", CASE, alarm="door open"),
    freezer("b-4", "of a stranger, who must be known", DEAD, alarm="no power", notify="nobody@example.com"),
)
DONE = sum(alarm.end == CASE for alarm in ALARMS)
LOST = sum(alarm.end == DEAD for alarm in ALARMS)


def run(folder: Path, vhost: Vhost, salesforce: Salesforce) -> bool:
    """Make the Cases and show what came of each message; return whether it is what has to."""
    org = Org(salesforce)
    org.reset(demo=True)
    with connector(folder, vhost, org):
        say("sfconnector is running; publishing the alarms of two divisions")
        for alarm in ALARMS:
            body = json.dumps(alarm.body).encode()
            vhost.publish("devices", alarm.routing_key, [body], message_id=alarm.id, content_type="application/json")
        with contextlib.suppress(AssertionError):  # what did not arrive is told by the table
            eventually(lambda: len(org.cases()) >= DONE and vhost.depth("dead-letter") >= LOST, 60)
        good = show(org.cases(), vhost.get_all("dead-letter"))
        return demo_alarms.run(vhost, org) and good


@contextlib.contextmanager
def connector(folder: Path, vhost: Vhost, org: Org) -> Iterator[None]:
    """Run `sfconnector` with the example's configuration on the demo's own broker and Salesforce."""
    configuration = example(EXAMPLE)
    configuration["tenant"]["salesforce"]["login_url"] = org.url
    configuration["tenant"]["amqp"].update(vhost.config())
    configuration["divisions"][demo_alarms.DIVISION] = demo_alarms.division()
    path = write(folder, EXAMPLE, configuration)
    divisions = configuration["divisions"].items()
    queues = [division["source"].get("queue", f"sfconnector.{name}") for name, division in divisions]
    log = folder / "sfconnector.log"
    with running([command("sfconnector"), "-i", path], log, **SECRETS) as process:
        ready = [f" consuming queue={queue} " for queue in queues]
        eventually(lambda: all(map(log.read_text().count, ready)) or process.poll() is not None, 30, what="consuming")
        assert process.poll() is None, f"sfconnector exited with {process.returncode}"
        yield


def show(cases: list[dict[str, Any]], dead: list[Taken]) -> bool:
    """Print what became of each message; return whether it is what has to."""
    numbers = {case["Message_Id__c"]: case["CaseNumber"] for case in cases}
    letters = {letter[1].message_id: letter for letter in dead}
    table = Table("message", "", "division", "became", title="Device alarms, into Salesforce", title_justify="left")
    good, seen = len(cases) == DONE and len(dead) == LOST, set()
    for alarm in ALARMS:
        if alarm.id in letters:
            end, told = DEAD, reason(letters[alarm.id])
        elif alarm.key in numbers:
            end = ALREADY if alarm.key in seen else CASE
            told = f"{end} {numbers[alarm.key]}"
        else:
            end = told = "[red]nothing[/red]"
        seen.add(alarm.key)
        good = good and end == alarm.end
        table.add_row(alarm.id, alarm.about, alarm.division, told)
    console.print(table)
    return good
