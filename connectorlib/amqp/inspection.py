"""What an existing exchange or queue is like, and what an operator should know of it. Pure but for the asking.

AMQP tells whether something exists, not what it is. That is learnt by declaring it once more on a throw-away channel:
the broker changes nothing, takes it only if everything is equal, and else names one thing that is not, with its value.
Should it have been deleted meanwhile, a queue is not made again by that: see `NEVER_MADE`.
Nothing is said where nothing is wrong: existing ones may have any arguments.
"""

import json
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from connectorlib.errors import Failure

Arguments = Mapping[str, Any]
#: Given arguments, declares with them and returns why the broker refused, or None.
Declare = Callable[[Arguments], Failure | None]

#: Goes with every question. Only a stream has this argument, and not with such a value: with it RabbitMQ makes no queue
#: at all ("invalid arg"), but an existing one of another type is compared by the arguments of its type alone.
NEVER_MADE: Arguments = {"x-max-age": "never"}
#: No queue has more arguments than this; every question is one channel.
MAX_QUESTIONS = 24
#: Fewer looks at a dead letter than this are soon used up: every `deadletter-queue list` is one.
FEW_LOOKS = 1_000

_DIFFERENCE = re.compile(
    r"inequivalent arg '(?P<name>[^']+)' for .* but current is "
    r"(?:none|'(?P<same>.*)'|the value '(?P<value>.*)' of type '(?P<type>\w+)')$",
    re.DOTALL,
)
_INTEGERS = frozenset({"signedint", "unsignedint", "long", "unsignedlong", "short", "unsignedshort", "byte"})
_POLICIES = "If a policy does that already, all is well: AMQP does not show policies."


def learn(declare: Declare, guess: Arguments) -> Arguments | None:
    """Return the arguments of an existing queue, or None if the broker does not let us know."""
    known = dict(guess)
    for _ in range(MAX_QUESTIONS):
        failure = declare({**known, **NEVER_MADE})
        if failure is None:
            return known
        difference = read_difference(failure, known)
        if difference is None:
            return None
        name, value = difference
        if name in NEVER_MADE:  # a stream; what else differs is not told
            return None
        if value is None:
            known.pop(name, None)
        else:
            known[name] = value
    return None


def read_difference(failure: Failure, asked: Arguments) -> tuple[str, Any] | None:
    """Return the name and the current value (None: not set) of the argument that was refused; None if the failure is
    about something else, such as `durable`, a type that cannot be sent, or a missing permission."""
    said = _DIFFERENCE.search(failure.text)
    if failure.code != "406" or said is None or not said["name"].startswith("x-"):
        return None
    if said["same"] is not None:
        return said["name"], type(asked[said["name"]])(said["same"]) if said["name"] in asked else said["same"]
    if said["value"] is None:
        return said["name"], None
    value = _value(said["value"], said["type"])
    return None if value is None else (said["name"], value)


def other_difference(failure: Failure) -> tuple[str, str] | None:
    """Return the name and the current value, as text, of what was refused though it is no argument: `durable`, or the
    `type` of an exchange. None if the failure is about something else."""
    said = _DIFFERENCE.search(failure.text)
    if failure.code != "406" or said is None:
        return None
    return said["name"], said["same"] or said["value"] or "none"


def _value(text: str, kind: str) -> Any:
    if kind in _INTEGERS:
        return int(text)
    if kind == "bool":
        return text == "true"
    return text if kind == "longstr" else None


def source_remarks(queue: str, found: Arguments, *, asked: Arguments, exchange: str, virtual_host: str) -> list[str]:
    """Return what is wrong with an existing source queue: no dead-letter exchange, or not what was asked for."""
    remarks = [
        f"queue {queue!r} exists and is used as it is: {_unlike(name, found, value)}. Delete it to have it made anew, "
        "or take that out of broker.source.arguments"
        for name, value in asked.items()
        if found.get(name) != value
    ]
    if found.get("x-queue-type") == "quorum" and not found.get("x-dead-letter-exchange"):
        remarks.append(
            f"queue {queue!r} has no dead-letter exchange: a message that came back more often than its delivery "
            "limit (20 times from RabbitMQ 4.0 on) is deleted. Give it one: "
            f"{set_policy(queue, {'dead-letter-exchange': exchange}, virtual_host)}. {_POLICIES}"
        )
    return remarks


def dead_letter_remarks(queue: str, found: Arguments, *, limit: int, virtual_host: str) -> list[str]:
    """Return what is wrong with an existing dead-letter queue: dead letters that vanish when they are looked at."""
    own = found.get("x-delivery-limit")
    if found.get("x-queue-type") != "quorum" or (own is not None and own >= FEW_LOOKS):
        return []
    if own is None:
        loss = "from RabbitMQ 4.0 on a dead letter that was looked at 20 times is deleted"
    elif own < 0:
        loss = f"its delivery limit is {own}, with which RabbitMQ before 4.0 deletes a dead letter at the first look"
    else:
        loss = f"a dead letter that was looked at {own} times is deleted"
    policy = set_policy(queue, {"delivery-limit": limit}, virtual_host)
    how = f"Raise its limit: {policy}. {_POLICIES}" if own is None else "Delete it when it is empty: it is made anew"
    return [f"dead-letter queue {queue!r}: {loss}. {how}"]


def exchange_remarks(exchange: str, asked: str, failure: Failure, *, dead_letters: bool) -> list[str]:
    """Given why an exchange could not be declared once more, return what is wrong with its type."""
    said = _DIFFERENCE.search(failure.text)
    if failure.code != "406" or said is None or said["name"] != "type":
        return []
    if not dead_letters:
        text = f"exchange {exchange!r} exists and is used as it is: its type is {said['same']!r}, not {asked!r}"
        return [f"{text}. It routes by its own rules; put exchange_type right to be rid of this line"]
    if said["same"] in ("fanout", "topic"):
        return []
    return [
        f"dead-letter exchange {exchange!r} exists and is used as it is: its type is {said['same']!r}, so the binding "
        "'#' of the dead-letter queue takes nothing. Delete it to have it made anew, or bind the queue by the names of "
        "the source queues"
    ]


def _unlike(name: str, found: Arguments, value: Any) -> str:
    has = f"its {name} is {found[name]!r}" if name in found else f"it has no {name}"
    return f"{has}, {value!r} was asked for"


def set_policy(queue: str, definition: Arguments, virtual_host: str) -> str:
    """Return the command that sets a policy for this one queue."""
    name = f"{queue}-{next(iter(definition))}"
    pattern = "^" + re.sub(r"[^\w-]", r"\\\g<0>", queue) + "$"
    parts = ["rabbitmqctl", "set_policy", "-p", virtual_host, "--apply-to", "queues", name, pattern]
    return shlex.join([*parts, json.dumps(definition)])
