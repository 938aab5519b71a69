"""A pump whose sensor raises an alarm 500 times, clears it, raises it again: one Case, opened, closed, reopened."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from scripts.demo_show import console, example, say
from tests.services.rabbitmq import Vhost
from tests.services.salesforce import Org
from tests.services.waiting import eventually

EXAMPLE = "how-to/ringing-pump.json"
DIVISION = "bearings"
RINGS = 500
LIMIT_S = 60


@dataclass(frozen=True)
class Seen:
    """What an agent sees after a step: Cases, and the alarm's record."""

    step: str
    cases: int
    status: str
    raised: int
    comment: str


def division() -> dict[str, Any]:
    """Return the division of the example, with the login that its tenant gives it."""
    configuration = example(EXAMPLE)
    found: dict[str, Any] = configuration["divisions"][DIVISION]
    login = {key: value for key, value in configuration["tenant"]["salesforce"].items() if key != "login_url"}
    return found | {"salesforce": login | found.get("salesforce", {})}


def run(vhost: Vhost, org: Org) -> bool:
    """Let the pump ring and show what became of it; return whether it is what has to."""
    say(f"a sensor of a pump raises its alarm {RINGS} times, clears it, and raises it again")
    before, began = org.calls(), time.monotonic()
    seen = [
        ring(vhost, org, f"raises the alarm {RINGS} times", "active", RINGS, lambda case, alarm: alarm == RINGS),
        ring(vhost, org, "clears it", "ok", 1, lambda case, alarm: case == "Closed"),
        ring(vhost, org, "raises it again", "active", 1, lambda case, alarm: case == "New"),
    ]
    return show(seen, org.calls() - before, time.monotonic() - began)


def ring(vhost: Vhost, org: Org, step: str, state: str, times: int, is_done: Callable[[str, int], bool]) -> Seen:
    """Publish messages of the sensor, return what is seen then; `is_done` gets the status of the Case and the count."""
    messages = [(reading(state, number), {"message_id": f"{step} {number}"}) for number in range(times)]
    vhost.publish("devices", "sensor.pump.1001", messages)
    eventually(lambda: (found := look(org, step)).cases and is_done(found.status, found.raised), LIMIT_S, what=step)
    return look(org, step)


def reading(state: str, number: int) -> dict[str, Any]:
    value = 96 + number % 7 if state == "active" else 71
    return {
        "device": "PUMP-1001",
        "alarm": "bearing hot",
        "state": state,
        "severity": "major",
        "value": value,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def look(org: Org, step: str) -> Seen:
    cases = [case for case in org.cases() if case.get("Alarm_Key__c")]
    raised = sum(int(alarm["Count__c"] or 0) for alarm in org.records("Alarm__c"))
    comments = [comment["CommentBody"] for comment in org.records("CaseComment")]
    return Seen(step, len(cases), cases[-1]["Status"] if cases else "", raised, comments[-1] if comments else "")


def show(seen: list[Seen], calls: int, seconds: float) -> bool:
    """Print what an agent sees after each step; return whether it is one Case."""
    table = Table("the sensor", "Cases", "status", "raised", "latest comment on the Case", title_justify="left")
    table.title = "The alarm of one pump, into one Case"
    for each in seen:
        table.add_row(each.step, str(each.cases), each.status, str(each.raised), each.comment)
    console.print(table)
    say(f"{RINGS + 2} messages, {calls} API calls, {seconds:.0f} s: the Case was opened, closed and reopened")
    return [(each.cases, each.status, each.raised) for each in seen] == [
        (1, "New", RINGS),
        (1, "Closed", RINGS),
        (1, "New", RINGS + 1),
    ]
