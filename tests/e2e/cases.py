"""sfconnector between one vhost and one org of the sandbox, run as a user runs it."""

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.e2e.conftest import CONSUMING, Command, Running
from tests.services.rabbitmq import Vhost
from tests.services.salesforce import Org
from tests.services.waiting import eventually

DIVISION = "field-service"
#: What makes a message that comes twice one Case; the sandbox's Case has this field.
EXTERNAL_ID = {"field": "Message_Id__c", "value": "$message_id"}
MAPPING = {"Subject": "Pump {device}: {alarm|no text}", "Description": "text", "SuppliedEmail": "email"}
#: Limits with which the prefetch is as configured from the start, since so many bodies surely fit.
SMALL = {"body_bytes": 65_536}
#: What a person called at night reads first.
PAUSE = re.compile(
    r" PAUSED division=(?P<division>\S+) since=\d\d:\d\d:\d\d cause=(?P<cause>\S+) \"(?P<text>.+)\" held=(?P<held>\d+) "
    r"waiting=(?P<waiting>\S+) next_try=(?P<next_try>never|\d+s) do=\"(?P<do>.+)\"$",
    re.MULTILINE,
)


def pause_of(running: Running, division: str = DIVISION, *, times: int = 1) -> re.Match[str]:
    """Wait until a division's pause was told so many times; return the parts of the last line, which has them all."""
    log = running.wait_for(f" PAUSED division={division} ", 30, times=times)
    found = [match for match in PAUSE.finditer(log) if match["division"] == division]
    assert len(found) == times, log
    return found[-1]


def alarm(number: int = 0, **more: Any) -> bytes:
    """Return the body of one message that MAPPING makes a Case of."""
    return json.dumps({"device": f"p-{number}", "alarm": "overheated"} | more).encode()


class Divisions(Command):
    """sfconnector with one division or several."""

    command = "sfconnector"

    def __init__(self, folder: Path, vhost: Vhost, org: Org) -> None:
        super().__init__(folder, vhost)
        self.org = org
        self.file = folder / "config.json"
        self.divisions: dict[str, dict[str, Any]] = {}

    def division(
        self,
        name: str = DIVISION,
        *,
        auth: str = "password",
        mapping: Mapping[str, Any] = MAPPING,
        external_id: Mapping[str, Any] | None = EXTERNAL_ID,
        case: Mapping[str, Any] | None = None,
        salesforce: Mapping[str, Any] | None = None,
        **sections: Any,
    ) -> str:
        """Add a division with a user of its own and the queue `sfconnector.<name>`; return that queue."""
        settings: dict[str, Any] = {"mapping": dict(mapping)} | dict(case or {})
        if external_id is not None:
            settings["external_id"] = dict(external_id)
        self.divisions[name] = {
            "salesforce": self.org.login(name, auth) | dict(salesforce or {}),
            "case": settings,
            "retry": {"attempts": 2, "first_ms": 50},
        } | sections
        queue = str(self.divisions[name].get("source", {}).get("queue", f"sfconnector.{name}"))
        self.configure()
        return queue

    def configure(self, tenant: Mapping[str, Any] | None = None, **sections: Any) -> Path:
        """Write config.json with the divisions so far."""
        config = {"tenant": {"amqp": self.vhost.config()} | dict(tenant or {}), "divisions": self.divisions} | sections
        self.file.write_text(json.dumps(config, indent=2))
        return self.file

    def started(
        self, ready: str = CONSUMING, *, times: int = 1, **environment: str
    ) -> contextlib.AbstractContextManager[Running]:
        """Run the daemon until the end of the block."""
        return self.running("-i", str(self.file), ready=ready, times=times, **environment)

    def publish(
        self, queue: str, bodies: Sequence[bytes], *, exchange: str = "", start: int = 0, **properties: Any
    ) -> None:
        """Publish bodies with the message ids `m0`, `m1`, …"""
        messages = [(body, {"message_id": f"m{number}"}) for number, body in enumerate(bodies, start)]
        self.vhost.publish(exchange, queue, messages, **properties)

    def load(self, queue: str, bodies: Sequence[bytes], *, start: int = 0) -> None:
        """Make a queue as the daemon would, and put messages into it before that runs."""
        limits = {"x-dead-letter-exchange": "dead-letter", "x-delivery-limit": 100}
        self.vhost.declare_queue(queue, arguments=limits)
        self.publish(queue, bodies, start=start)

    def letters(self, count: int, timeout: float = 30.0) -> dict[str, dict[str, Any]]:
        """Wait for so many dead letters and take them; return the headers by message id."""
        eventually(lambda: self.vhost.depth("dead-letter") >= count, timeout, what=f"{count} dead letters")
        taken = self.vhost.get_all("dead-letter")
        assert len(taken) == count, [(each.message_id, each.headers["dead-text"]) for _, each, _ in taken]
        return {each.message_id: dict(each.headers) for _, each, _ in taken}

    def creates(self, division: str = DIVISION) -> list[dict[str, Any]]:
        """Return the calls that made Cases of a division, oldest first; `records` is how many were in each."""
        return [each for each in self.org.requests("composite/sobjects") if each["user"] == f"{division}@example.com"]

    def cases(self, count: int, timeout: float = 30.0) -> list[dict[str, Any]]:
        """Wait until the org has so many Cases; return them."""
        every = 0.02 + count / 5000  # all of them are listed each time
        eventually(lambda: len(self.org.cases()) >= count, timeout, every, what=f"{count} Cases")
        found = self.org.cases()
        assert len(found) == count
        return found
