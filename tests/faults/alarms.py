"""An arena with alarms: devices raise and clear them, agents edit the Cases meanwhile, a second connector stands by."""

import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import requests

from tests.faults import alarm_checker
from tests.faults.alarm_checker import AlarmHistory, AlarmSeen, CaseSeen
from tests.faults.arena import QUEUE, SINGLE_ACTIVE
from tests.faults.cases import DIVISION, FAULTS, CaseArena
from tests.faults.checker import Row, Sent
from tests.services.rabbitmq import Vhost
from tests.services.rest import Rest
from tests.services.salesforce import Org

#: What a Case of ours is like until somebody edits it.
ORIGINAL = {"Subject": "Pump rings", "Description": "as created"}
EDITED = ("Subject", "Description", "OwnerId")
#: What would change which event of an alarm is the last one, and what is about other messages, is left out.
ALARM_FAULTS = [each for each in FAULTS if each.number != "F19"]


def alarm_message(id: int, chance: random.Random, bad: float = 0.0, keys: int = 50) -> tuple[bytes, Sent]:
    """Return the body of a raise or a clear of one of so many alarms."""
    key, state = f"d{chance.randrange(keys)}", "ok" if chance.random() < 0.2 else "active"
    body = {"device": key, "state": state, "at": time.time(), "severity": chance.choice(("minor", "major"))}
    is_bad = chance.random() < bad
    if is_bad:
        del body["device"]
    return json.dumps(body).encode(), Sent(state, bad=is_bad, key=key)


class AlarmArena(CaseArena):
    wait_ms = 200

    def __init__(self, folder: Path, vhost: Vhost, org: Org, *, keys: int = 50, **more: Any) -> None:
        """`more` as an arena takes it."""
        make = partial(alarm_message, keys=keys)
        super().__init__(folder, vhost, org, make=make, once=False, queue=SINGLE_ACTIVE, **more)
        self.queue_owner = ""
        self.agents = Agents(org, random.Random(self.seed))

    def case(self) -> dict[str, Any]:
        severity = {"path": "severity", "order": ["minor", "major"], "field": "Priority", "map": {"major": "High"}}
        alarm = {
            "key": "device",
            "at": "at",
            "clear_when": {"state": "ok"},
            "clear": {"after": "1s"},
            "severity": severity,
        }
        return {"defaults": ORIGINAL | {"Origin": "Web"}, "mapping": {}, "alarm": alarm}

    def prepare(self) -> None:
        super().prepare()
        queue = {"Name": "Pumps", "DeveloperName": "Pumps", "Type": "Queue"}
        [self.queue_owner] = self.org.seed("Group", queue)
        self.org.rules(assignment=[{"id": "01Q000000000001", "entries": [{"owner": self.queue_owner}]}])

    def __exit__(self, *arguments: object) -> None:
        self.agents.stop()
        super().__exit__(*arguments)

    def written(self) -> int:
        """Return how many messages are not in the queue any more."""
        return len(self.producer.confirmed) - self.vhost.depth(QUEUE)

    def settled(self) -> bool:
        try:
            return self.vhost.depth(QUEUE) == 0 and self.vhost.unsettled(QUEUE) == 0
        except OSError:  # the broker's management comes later than the broker
            return False

    def rows(self) -> list[Row]:
        return []

    def alarm_history(self) -> AlarmHistory:
        """Take what is in the org; the connectors have stopped."""
        prefix = f"{DIVISION}:"
        cases: dict[str, list[CaseSeen]] = defaultdict(list)
        expected: dict[str, dict[str, str | None]] = {}
        for each in self.org.cases():
            key, _, number = str(each["Alarm_Key__c"]).removeprefix(prefix).rpartition("#")
            fields = {name: each.get(name) for name in EDITED}
            cases[key].append(CaseSeen(each["Id"], int(number), bool(each["IsClosed"]), fields))
            expected[each["Id"]] = self.agents.expected(each["Id"], ORIGINAL | {"OwnerId": self.queue_owner})
        return AlarmHistory(
            attempted=dict(self.producer.attempted),
            confirmed=frozenset(self.producer.confirmed),
            alarms={
                str(each["Key__c"]).removeprefix(prefix): AlarmSeen(
                    str(each["State__c"]), int(each["Count__c"] or 0), int(each["Number__c"] or 0)
                )
                for each in self.org.records("Alarm__c")
            },
            cases=cases,
            dead=[letter.id for letter in self.history().dead],
            expected=expected,
        )

    def finish(self) -> tuple[AlarmHistory, list[str]]:
        """Drain, and return what is left and all that is wrong with it."""
        self.agents.stop()
        self.drain(120)
        history = self.alarm_history()
        return history, [*self.problems, *alarm_checker.violations(history), *self.wrong_with_workers()]


class Agents:
    """People who edit Cases, take them and close some. They go straight to the org, past the link that is spoiled."""

    def __init__(self, org: Org, chance: random.Random) -> None:
        self.edits = 0
        self._org = org
        self._chance = chance
        #: What was last set of each Case; None: nobody knows whether it was.
        self._set: dict[str, dict[str, str | None]] = defaultdict(dict)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, every: float = 0.1) -> None:
        """Let them make an edit so often until `stop`."""
        agent = Rest(self._org, "agent@example.com")

        def run() -> None:
            found: Sequence[str] = ()
            while not self._over.wait(every):
                try:
                    if self.edits % 20 == 0 or not found:
                        found = self._cases(agent)
                    self._edit(agent, found)
                except (requests.RequestException, KeyError, ValueError):  # the org is not there
                    continue

        self._thread = threading.Thread(target=run, name="agents", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(60)
            self._thread = None

    def expected(self, case_id: str, original: dict[str, str]) -> dict[str, str | None]:
        """Return the fields of a Case, as far as they are known."""
        fields = original | self._set.get(case_id, {})
        return {name: value for name, value in fields.items() if value is not None}

    def _cases(self, agent: Rest) -> Sequence[str]:
        answer = agent.query("SELECT Id FROM Case WHERE IsClosed = false LIMIT 500")
        if answer.status_code == 401:
            agent.log_in()
        return [record["Id"] for record in answer.json()["records"]] if answer.ok else ()

    def _edit(self, agent: Rest, cases: Sequence[str]) -> None:
        if not cases:
            return
        case_id, name = self._chance.choice(cases), self._chance.choice((*EDITED, "Status"))
        value = agent.user_id if name == "OwnerId" else f"edit {self.edits}"
        if name == "Status":
            value = self._chance.choice(("Working", "Working", "Closed"))
        kept = self._set[case_id] if name != "Status" else {}
        kept[name] = None
        answer = agent.send("PATCH", f"/sobjects/Case/{case_id}", json={name: value}, headers=NO_RULE)
        if answer.ok:
            kept[name] = value
            self.edits += 1
        elif answer.status_code == 401:
            agent.log_in()


NO_RULE = {"Sforce-Auto-Assign": "FALSE"}
