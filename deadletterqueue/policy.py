"""The policies that give existing queues the dead-letter exchange: as commands, as HTTP calls, and applied."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from connectorlib.amqp.inspection import AT_LEAST_ONCE
from connectorlib.amqp.management import Management
from connectorlib.dataclass import dataclass


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


def dead_letter_policies(virtual_host: str, exchange: str, queue: str, pattern: str | None) -> list[Policy]:
    """Return the policies that give queues this dead-letter exchange: those of the pattern, else all but the
    dead-letter queue itself and the broker's own.

    A queue takes the policy with the highest priority of those whose keys its type knows all. So quorum queues take the
    second, at least once, and classic queues, which know no strategy, the first (seen with RabbitMQ 3.10).
    """
    chosen = pattern or f"^(?!{re.escape(queue)}$|amq\\.)"
    target = {"dead-letter-exchange": exchange}
    kept = {name.removeprefix("x-"): value for name, value in AT_LEAST_ONCE.items()}
    return [
        Policy(virtual_host, "dead-letter", chosen, target),
        Policy(virtual_host, "dead-letter-at-least-once", chosen, {**target, **kept}, priority=1),
    ]


def apply(policies: Sequence[Policy], api: Management) -> tuple[list[str], list[str]]:
    """Set the policies of one virtual host. Return `made`, `replaced` or `unchanged` for each, and what else there is
    to know. Raise Failed."""
    found = {str(each.get("name")): each for each in api.policies(policies[0].virtual_host)}
    statuses = [_apply(policy, found.pop(policy.name, None), api) for policy in policies]
    remarks = [
        f"policy {name!r} is there too (priority {each.get('priority')}, pattern {each.get('pattern')!r}): a queue "
        "takes only one, that with the highest priority"
        for name, each in found.items()
        if each.get("apply-to") != "exchanges"
    ]
    return statuses, remarks


def _apply(policy: Policy, own: Mapping[str, Any] | None, api: Management) -> str:
    if own is not None and all(own.get(key) == value for key, value in policy.body.items()):
        return "unchanged"
    api.set_policy(policy.virtual_host, policy.name, policy.body)
    return "made" if own is None else "replaced"
