"""Cases → the sandbox: the connector, a bare client with ready bodies, and one call a message.

All are measured by the sandbox's own log: from the start of the first call that makes Cases to the end of the last.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.bench import feeding
from tests.bench.contenders import NAIVE, configured, installed
from tests.bench.measuring import Measured, Processes
from tests.bench.services import Services

BARE = [sys.executable, "-m", "tests.bench.bare"]
CONTACTS = 20
MAPPING = {"Subject": "Pump {device}: {alarm}", "Description": "text", "SuppliedEmail": "email"}
LOOKUP = {"ContactId": {"lookup": "Contact", "where": {"Email": "email"}, "missing": "reject"}}
EXTERNAL_ID = {"field": "Message_Id__c", "value": "$message_id"}
TEXT = "The temperature at the bearing has been above its limit for ten minutes. " * 2
#: Asking the sandbox how far it is keeps it from its work.
LOOK_S = 0.05


def alarm(number: int) -> dict[str, Any]:
    return {
        "device": f"p-{number}",
        "alarm": "overheated",
        "text": TEXT,
        "email": f"c{number % CONTACTS}@example.com",
    }


def record(number: int, contacts: Sequence[str] = ()) -> dict[str, Any]:
    """Return the Case that MAPPING and the lookup make of an alarm."""
    found = alarm(number)
    made = {
        "attributes": {"type": "Case"},
        "Subject": f"Pump {found['device']}: {found['alarm']}",
        "Description": found["text"],
        "SuppliedEmail": found["email"],
        "Message_Id__c": f"m{number}",
    }
    return made | ({"ContactId": contacts[number % CONTACTS]} if contacts else {})


@dataclass(frozen=True)
class Calling:
    """`how` is `limit`, `connector` or `naive`; every division has a user and a queue of its own."""

    how: str
    latency_ms: int
    batch: int = 200
    lookups: bool = False
    divisions: int = 1

    def run(self, services: Services, messages: int) -> Measured:
        org, count = services.org, self._count(messages)
        org.reset()
        contacts = org.contacts(CONTACTS) if self.lookups else []
        org.latency(self.latency_ms)
        names = [f"division-{number}" for number in range(self.divisions)]
        sections = {name: org.login(name) for name in names}
        for name in names if self.how != "limit" else ():
            bodies = (json.dumps(alarm(number)).encode() for number in range(count))
            feeding.fill(services.vhost, name, feeding.frames(name, bodies), count)
        commands, jobs = self._commands(services, sections, count, contacts)
        total = count * self.divisions
        with Processes(commands, services.folder / "log", *jobs) as processes:
            watched = processes.timed(
                lambda: any(org.ask("GET", "/_sim/counts")["calls"].values()),
                lambda: org.calls() >= total // self.batch,
                lambda: total - sum(call[2] for call in _calls(services)),
                every=LOOK_S,
            )
        calls = list(_calls(services))
        return Measured(
            total / (max(call[1] for call in calls) - min(call[0] for call in calls)), watched.cpu_us, watched.rss_mb
        )

    @property
    def bound(self) -> float | None:
        """Return the messages a second that the calls' own latency allows."""
        return self.batch / self.latency_ms * 1000 * self.divisions if self.latency_ms else None

    def _count(self, messages: int) -> int:
        """Return how many for each division: whole batches, of a few seconds."""
        batches = {0: min(500, 10_000 // self.batch), 50: 40, 150: 16}[self.latency_ms]
        if self.how == "naive":
            return max(5, min(messages // self.batch, batches) // 3)
        return self.batch * max(2, min(messages // self.batch, batches))

    def _commands(
        self, services: Services, sections: dict[str, Any], count: int, contacts: Sequence[str]
    ) -> tuple[list[Sequence[str]], list[Any]]:
        if self.how == "connector":
            file = configured(services, self._config(services, sections))
            return [[installed("sfconnector"), "-i", file]], [None]
        jobs: list[Any] = [{"salesforce": section} for section in sections.values()]
        if self.how == "naive":
            more = {"do": "cases", "amqp": services.vhost.config()}
            return [NAIVE] * len(jobs), [job | more | {"queue": name} for job, name in zip(jobs, sections, strict=True)]
        records = [record(number, contacts) for number in range(count)]
        batches = [records[start : start + self.batch] for start in range(0, count, self.batch)]
        return [BARE] * len(jobs), [job | {"batches": batches} for job in jobs]

    def _config(self, services: Services, sections: dict[str, Any]) -> dict[str, Any]:
        case = {"mapping": MAPPING | (LOOKUP if self.lookups else {}), "external_id": EXTERNAL_ID}
        return {
            "tenant": {"amqp": services.vhost.config()},
            "divisions": {
                name: {
                    "salesforce": section,
                    "case": case,
                    "source": {"queue": name},
                    "batch": {"size": self.batch},
                }
                for name, section in sections.items()
            },
        }


def _calls(services: Services) -> Iterator[tuple[float, float, int]]:
    """Yield of each call that made Cases when it began, when it was answered, and how many there were."""
    for call in services.org.requests("composite/sobjects"):
        began = datetime.fromisoformat(call["at"]).timestamp()
        yield began, began + call["ms"] / 1000, call["records"] if call["status"] == 200 else 0
