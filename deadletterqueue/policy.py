"""The policy that gives existing queues the dead-letter exchange: as a command, as an HTTP call, and applied."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from connectorlib.amqp.management import Management


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy of a virtual host."""

    virtual_host: str
    name: str
    #: Which queues, as a regular expression; it may match anywhere in a name.
    pattern: str
    definition: Mapping[str, Any]
    priority: int = 0

    @property
    def body(self) -> dict[str, Any]:
        """As the management API takes it."""
        return {
            "pattern": self.pattern,
            "definition": dict(self.definition),
            "apply-to": "queues",
            "priority": self.priority,
        }

    @property
    def command(self) -> str:
        options = ["-p", self.virtual_host, "--priority", str(self.priority), "--apply-to", "queues"]
        definition = json.dumps(self.definition)
        return shlex.join(["rabbitmqctl", "set_policy", *options, self.name, self.pattern, definition])

    def call(self, url: str) -> str:
        """Return the call of the management API, as a curl command that asks for the password."""
        address = f"{url}/api/policies/{quote(self.virtual_host, safe='')}/{quote(self.name, safe='')}"
        headers = "Content-Type: application/json"
        return shlex.join(["curl", "-u", "USER", "-X", "PUT", "-H", headers, "-d", json.dumps(self.body), address])


def dead_letter_policy(virtual_host: str, exchange: str, queue: str, pattern: str | None) -> Policy:
    """Return the policy that gives queues this dead-letter exchange: those of the pattern, else all but the dead-letter
    queue itself and the broker's own."""
    others = f"^(?!{re.escape(queue)}$|amq\\.)"
    return Policy(virtual_host, "dead-letter", pattern or others, {"dead-letter-exchange": exchange})


def apply(policy: Policy, api: Management) -> tuple[str, list[str]]:
    """Set the policy. Return `made`, `replaced` or `unchanged`, and what else there is to know. Raise Failed."""
    found = {str(each.get("name")): each for each in api.policies(policy.virtual_host)}
    own = found.pop(policy.name, None)
    remarks = [
        f"policy {name!r} is there too (priority {each.get('priority')}, pattern {each.get('pattern')!r}): a queue "
        "takes only one, that with the highest priority"
        for name, each in found.items()
        if each.get("apply-to") != "exchanges"
    ]
    if own is not None and all(own.get(key) == value for key, value in policy.body.items()):
        return "unchanged", remarks
    api.set_policy(policy.virtual_host, policy.name, policy.body)
    return ("made" if own is None else "replaced"), remarks
