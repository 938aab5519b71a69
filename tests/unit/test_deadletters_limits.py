"""How often a dead letter may be looked at, and the policies that say so."""

import json
import re
import shlex
from math import inf
from typing import Any

import pytest

from deadletterqueue.delivery_limit import delivery_limit, limit_told
from deadletterqueue.policy import dead_letter_policies

OLD, NEW = (3, 10, 8), (4, 0, 5)


@pytest.mark.parametrize(
    ("kind", "own", "policy", "version", "limit"),
    [
        ("classic", None, None, NEW, inf),
        ("quorum", None, None, OLD, inf),
        ("quorum", None, None, NEW, 20),
        ("quorum", 20, None, OLD, 20),
        ("quorum", None, 5, OLD, 5),
        ("quorum", 1_000_000, 20, OLD, 20),
        ("quorum", 20, 1_000_000, NEW, 20),
        ("quorum", -1, None, OLD, -1),
        ("quorum", -1, None, NEW, inf),
        ("quorum", -1, 50, NEW, 50),
    ],
)
def test_the_lower_limit_counts_and_what_none_means_depends_on_the_broker(
    kind: str, own: int | None, policy: int | None, version: tuple[int, ...], limit: float
) -> None:
    assert delivery_limit(kind, own, policy, version) == limit


@pytest.mark.parametrize(
    ("told", "limit"),
    [
        ({"type": "quorum", "arguments": {}, "effective_policy_definition": {"delivery-limit": 7}}, 7),
        ({"type": "quorum", "arguments": {"x-delivery-limit": 9}, "effective_policy_definition": []}, 9),
        ({"type": "quorum", "arguments": {}}, None),
        ({"type": "classic", "effective_policy_definition": None}, inf),
    ],
)
def test_the_management_api_tells_both(told: dict[str, Any], limit: float | None) -> None:
    assert limit_told(told, OLD) == limit


@pytest.mark.parametrize("queue", ["dead-letter", "plant.dead", "a+b (x)"])
def test_the_policy_is_for_every_queue_but_the_dead_letter_queue(queue: str) -> None:
    [pattern] = {re.compile(each.pattern) for each in dead_letter_policies("/", "dlx", queue, None)}
    assert not pattern.search(queue)
    assert not pattern.search("amq.gen-Xa2")
    assert pattern.search(f"{queue}s")
    assert pattern.search(f"my {queue}")
    assert pattern.search("readings")


def test_the_policy_is_a_command_that_a_shell_takes_apart_as_it_is_meant() -> None:
    every, quorum = dead_letter_policies("plant one", "dead letters", "dead-letter", "^reading's$")
    words = shlex.split(every.command)
    assert words[:4] == ["rabbitmqctl", "set_policy", "-p", "plant one"]
    assert words[-2] == "^reading's$"
    assert json.loads(words[-1]) == {"dead-letter-exchange": "dead letters"}
    words = shlex.split(quorum.command)
    assert words[-2] == "^reading's$"
    assert json.loads(words[-1]) == {
        "dead-letter-exchange": "dead letters",
        "dead-letter-strategy": "at-least-once",
        "overflow": "reject-publish",
    }
    assert quorum.priority > every.priority


def test_the_policy_is_a_call_of_the_management_api() -> None:
    words = shlex.split(dead_letter_policies("/", "dlx", "dead-letter", None)[0].call("http://rabbit1:15672"))
    assert words[-1] == "http://rabbit1:15672/api/policies/%2F/dead-letter"
    assert json.loads(words[words.index("-d") + 1])["definition"] == {"dead-letter-exchange": "dlx"}
