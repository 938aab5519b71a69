"""Repeats of a few alarms → one Case each: the connector, measured until the queue is empty."""

import json
from dataclasses import dataclass
from typing import Any

from tests.bench import feeding
from tests.bench.calling import CONTACTS, MAPPING, alarm
from tests.bench.contenders import QUEUE, configured, declared, installed
from tests.bench.measuring import Measured, Processes
from tests.bench.services import Services

DIVISION = "division-0"
#: Every so many-th message has the same device, and with it the same alarm.
ALARMS = 20
#: The section `alarm` of a Case.
ONE_CASE: dict[str, Any] = {"key": "{device}:{alarm}", "clear_when": {"state": "ok"}, "writers": "one"}


def ring(number: int) -> dict[str, Any]:
    return alarm(number) | {"device": f"p-{number % ALARMS}", "state": "active"}


@dataclass(frozen=True)
class Ringing:
    """The connector with a queue full of repeats."""

    batch: int = 200

    def run(self, services: Services, messages: int) -> Measured:
        org, vhost = services.org, services.vhost
        org.reset()
        org.latency(0)
        org.contacts(CONTACTS)
        count = messages // self.batch * self.batch
        feeding.fill(vhost, QUEUE, feeding.frames(QUEUE, (json.dumps(ring(at)).encode() for at in range(count))), count)
        file = configured(services, self._config(services, org.login(DIVISION)))
        command = [installed("sfconnector"), "-i", file]
        with vhost.channel() as channel, Processes([command], services.folder / "log") as processes:
            measured = processes.timed(
                lambda: declared(channel, QUEUE).consumer_count == 1,
                lambda: not declared(channel, QUEUE).message_count,
                lambda: int(declared(channel, QUEUE).message_count),
            )
            processes.wait_until(lambda: sum(each["Count__c"] for each in org.records("Alarm__c")) == count)
        assert len(org.records("Case")) == ALARMS
        return measured

    def _config(self, services: Services, salesforce: dict[str, Any]) -> dict[str, Any]:
        division = {
            "salesforce": salesforce,
            "case": {"mapping": MAPPING, "alarm": ONE_CASE},
            "source": {"queue": QUEUE},
            "batch": {"size": self.batch},
        }
        return {"tenant": {"amqp": services.vhost.config()}, "divisions": {DIVISION: division}}
