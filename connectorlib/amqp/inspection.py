"""What existing exchanges and queues are like, learnt without changing them, and what an operator should know of it.

AMQP tells whether something exists, but not what it is like. That is learnt by declaring it once more: the broker
changes nothing, accepts only what is equal in all arguments, and otherwise names one difference with its current value.
A queue that was deleted meanwhile is not made again by that: see `NEVER_MADE`. A refusal closes the channel, and the
next question needs a new one.
Existing ones may have any arguments, so there is a remark only where something is wrong.
"""

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import field
from typing import Any, TypeVar

from connectorlib.amqp.channel import SyncChannel
from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Failure
from connectorlib.values.text import listed

T = TypeVar("T")
Arguments = Mapping[str, Any]
#: Returns an open channel for one question.
OpenChannel = Callable[[], AbstractContextManager[SyncChannel]]
#: Given arguments, declares with them and returns why the broker refused, or None.
Declare = Callable[[Arguments], Failure | None]

#: Goes with every question. Only a stream has this argument, and not with such a value: with it RabbitMQ makes no queue
#: at all ("invalid arg"), but an existing one of another type is compared by the arguments of its type alone.
NEVER_MADE: Arguments = {"x-max-age": "never"}
#: With both, a quorum queue keeps what it dead-letters until the target has confirmed it (RabbitMQ's own default is at
#: most once: without a target it is lost). Each is a key of a policy too, without the `x-`.
AT_LEAST_ONCE: Arguments = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
#: No queue has more arguments than this; every question is one channel.
MAX_QUESTIONS = 24
#: Of a queue that hands its messages to one consumer, and to the next when that one goes. No policy can set it.
SINGLE_ACTIVE = "x-single-active-consumer"
#: The types of queues that dead-letter what expires, is rejected or is over a limit.
DEAD_LETTERING = frozenset({"classic", "quorum"})
#: Fewer looks at a dead letter than this are soon used up: every `deadletter-queue list` is one.
FEW_LOOKS = 1_000

_DIFFERENCE = re.compile(
    r"inequivalent arg '(?P<name>[^']+)' for .* but current is "
    r"(?:none|'(?P<same>.*)'|the value '(?P<value>.*)' of type '(?P<type>\w+)')$",
    re.DOTALL,
)
_INTEGERS = frozenset({"signedint", "unsignedint", "long", "unsignedlong", "short", "unsignedshort", "byte"})
UNSEEN_POLICIES = "If a policy does that already, all is well: AMQP does not show policies."


@dataclass(frozen=True, slots=True)
class Exchange:
    name: str
    type: str = "topic"
    #: Whether it is the dead-letter exchange.
    dead_letters: bool = field(default=False, compare=False)
    #: Of one that divides messages among shards: what to do where the broker does not know its type.
    needs: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"exchange {self.name!r} ({self.type})"

    def declare(self, channel: SyncChannel, *, passive: bool = False) -> None:
        channel.exchange_declare(self.name, self.type, passive=passive)


@dataclass(frozen=True, slots=True)
class Queue:
    name: str
    arguments: Arguments = field(default_factory=dict)
    #: Those of the arguments that the configuration names.
    configured: Arguments = field(default_factory=dict, compare=False)
    #: Whether it is the dead-letter queue.
    dead_letters: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return f"queue {self.name!r} ({self.arguments.get('x-queue-type', 'classic')})"

    def declare(self, channel: SyncChannel, *, passive: bool = False) -> tuple[int, int]:
        """Return how many messages are ready and how many consumers there are."""
        return channel.queue_declare(self.name, passive=passive, arguments=None if passive else self.arguments)


@dataclass(frozen=True, slots=True)
class State:
    """What the broker tells of an exchange or a queue."""

    #: Why it was not seen: "404" if it is missing, "403" if this user may not look.
    unseen: Failure | None = None
    #: Of a queue.
    ready: int = 0
    consumers: int = 0
    #: Why it could not be declared once more as planned; None: it is as planned, or was not compared.
    refusal: Failure | None = None
    #: Of a queue; None if the broker does not tell, or it was not compared.
    arguments: Arguments | None = None

    @property
    def hidden(self) -> bool:
        """Whether this user may not look. RabbitMQ 4.3 asks for any right on what is looked at, older ones for none."""
        return self.unseen is not None and self.unseen.code == "403"

    @property
    def exists(self) -> bool:
        """Raise Failed if that cannot be known."""
        if self.unseen is None or self.hidden:
            return True
        if self.unseen.code == "404":
            return False
        raise Failed(self.unseen)

    @property
    def difference(self) -> tuple[str, str] | None:
        """The first thing that differs from the plan, by name and with its current value."""
        return other_difference(self.refusal) if self.refusal else None


class SharedChannel:
    """An `OpenChannel` for questions one after another: they share a channel until a refusal closes it, instead of two
    more waits for the broker each. `close` it at the end."""

    def __init__(self, new: Callable[[], SyncChannel]) -> None:
        self._new = new
        self._channel: SyncChannel | None = None

    @contextmanager
    def __call__(self) -> Iterator[SyncChannel]:
        if self._channel is None or not self._channel.is_open:
            self.close()
            self._channel = self._new().__enter__()
        try:
            yield self._channel
        except Failed:
            self.close()
            raise

    def close(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()


def inspect(open_channel: OpenChannel, part: Exchange | Queue) -> State:
    """Look at a part and, if it may exist, compare it with what is planned."""
    state = look(open_channel, part)
    if state.unseen is not None and not state.hidden:
        return state
    found = compare(open_channel, part)
    return State(state.unseen, state.ready, state.consumers, found.refusal, found.arguments)


def look(open_channel: OpenChannel, part: Exchange | Queue) -> State:
    """Return whether a part exists, and what a queue holds."""
    found = attempt(open_channel, lambda channel: part.declare(channel, passive=True))
    return State(found) if isinstance(found, Failure) else State(None, *(found or ()))


def compare(open_channel: OpenChannel, part: Exchange | Queue) -> State:
    """Return how a part that exists differs from what is planned."""
    if isinstance(part, Exchange):
        found = attempt(open_channel, part.declare)
        return State(refusal=found if isinstance(found, Failure) else None)
    refusals: list[Failure | None] = []

    def declare(arguments: Arguments) -> Failure | None:
        found = attempt(open_channel, Queue(part.name, arguments).declare)
        refusals.append(found if isinstance(found, Failure) else None)
        return refusals[-1]

    arguments = learn(declare, part.arguments)
    return State(refusal=refusals[0], arguments=arguments)


def attempt(open_channel: OpenChannel, action: Callable[[SyncChannel], T]) -> T | Failure:
    """Do something on a channel and return its result, or why it failed."""
    try:
        with open_channel() as channel:
            return action(channel)
    except Failed as error:
        return error.failure


def learn(declare: Declare, guess: Arguments) -> Arguments | None:
    """Return the arguments of an existing queue, or None if the broker does not tell."""
    known = dict(guess)
    for _ in range(MAX_QUESTIONS):
        failure = declare({**known, **NEVER_MADE})
        if failure is None:
            return known
        difference = read_difference(failure, known)
        if difference is None:
            return None
        name, value = difference
        if name in NEVER_MADE:  # a stream; the broker does not name what else differs
            return None
        if value is None:
            known.pop(name, None)
        else:
            known[name] = value
    return None


def read_difference(failure: Failure, planned: Arguments) -> tuple[str, Any] | None:
    """Return the name and the current value (None: not set) of the argument that was refused. Return None if the
    failure is about something else, such as `durable`, a type that cannot be sent, or a missing permission."""
    match = _DIFFERENCE.search(failure.text)
    if failure.code != "406" or match is None or not match["name"].startswith("x-"):
        return None
    name, current = match["name"], match["same"]
    if current is not None:
        return name, type(planned[name])(current) if name in planned else current
    if match["value"] is None:
        return name, None
    value = _value(match["value"], match["type"])
    return None if value is None else (name, value)


def other_difference(failure: Failure) -> tuple[str, str] | None:
    """Return the name and the current value, as text, of what was refused, argument or not (`durable`, the `type` of an
    exchange). Return None if the failure is about something else."""
    match = _DIFFERENCE.search(failure.text)
    if failure.code != "406" or match is None:
        return None
    current = match["same"] or match["value"] or "none"
    return match["name"], current.strip("'")  # a type with a hyphen comes in two pairs of quotes


def _value(text: str, kind: str) -> Any:
    if kind in _INTEGERS:
        return int(text)
    if kind == "bool":
        return text == "true"
    return text if kind == "longstr" else None


def source_remarks(
    queue: str, found: Arguments, *, configured: Arguments, exchange: str, virtual_host: str
) -> list[str]:
    """Return what is wrong with an existing source queue: no dead-letter exchange, or not as configured."""
    remarks = [
        f"queue {queue!r} exists and is used unchanged: {difference}. Delete it so that it is recreated, "
        "or remove that from broker.source.arguments"
        for difference in unlike(found, configured)
    ]
    kind = found.get("x-queue-type", "classic")
    if kind not in DEAD_LETTERING:
        remarks.append(
            f"queue {queue!r} is a {kind} queue, of which no dead-lettering is known: what expires or is over a limit, "
            "may be lost"
        )
    if kind == "quorum" and not found.get("x-dead-letter-exchange"):
        remarks.append(
            f"queue {queue!r} has no dead-letter exchange: a message that came back more often than its delivery "
            "limit (20 times from RabbitMQ 4.0 on) is deleted. Give it one: "
            f"{set_policy(queue, {'dead-letter-exchange': exchange}, virtual_host)}. {UNSEEN_POLICIES}"
        )
    return remarks


def stand_by_remarks(queue: str, found: Arguments, *, limit: int, virtual_host: str) -> list[str]:
    """Return what is wrong with an existing source queue that has a single active consumer: messages that are dead
    because they were in hand whenever that one stopped."""
    own = found.get("x-delivery-limit")
    if found.get("x-queue-type") != "quorum" or not found.get(SINGLE_ACTIVE):
        return []
    if own is not None and not 0 <= own < limit:
        return []
    times = "20 times (from RabbitMQ 4.0 on)" if own is None else f"{own} times"
    return [
        f"queue {queue!r} has a single active consumer: what it holds when it stops counts as delivered, and is "
        f"dead-lettered after {times}. {_how_to_raise(queue, own, limit, virtual_host)}"
    ]


def may_refuse(configured: Arguments) -> bool:
    """Return whether a queue with these arguments may refuse messages when it is full, which `AT_LEAST_ONCE` asks for.
    One with a maximum and nothing else drops its oldest: it is not ours to make its publishers see refusals."""
    bounded = "x-max-length" in configured or "x-max-length-bytes" in configured
    return bool(configured.get("x-overflow", "" if bounded else "reject-publish") == "reject-publish")


def keeps_dead_letters(found: Arguments, exchange: str) -> bool:
    """Return whether a queue with these arguments, or keys of a policy as arguments, dead-letters to this exchange at
    least once."""
    wanted = {"x-queue-type": "quorum", "x-dead-letter-exchange": exchange, **AT_LEAST_ONCE}
    return all(found.get(name) == value for name, value in wanted.items())


def losses(found: Arguments) -> str:
    """Return what a queue that dead-letters at most once loses while its dead letters have no queue to go to."""
    drops = ("x-max-length" in found or "x-max-length-bytes" in found) and not may_refuse(found)
    kinds = ["what expires", "what another consumer rejects"]
    kinds += ["what is over the delivery limit"] * (found.get("x-queue-type") == "quorum")
    return listed([*kinds, *["what is over the maximum"] * drops])


def delayed_retry(found: Arguments) -> str | None:
    """Return what a queue with these arguments, or keys of a policy as arguments, does to the order; None: nothing. Of
    its types (RabbitMQ 4.3) `returned` keeps back what is requeued by a nack, `failed` what was on a channel that ended
    or was rejected, and `all` both."""
    kind = found.get("x-delayed-retry-type", "disabled")
    if kind == "disabled":
        return None
    return (
        f"its delayed-retry-type is {kind}: what comes back waits for {found.get('x-delayed-retry-min')} ms or longer, "
        "and later messages overtake it"
    )


def unlike(found: Arguments, configured: Arguments) -> list[str]:
    """Return how the arguments of a queue differ from those that the configuration names."""
    return [
        f"{f'its {name} is {found[name]!r}' if name in found else f'it has no {name}'}, {value!r} was asked for"
        for name, value in configured.items()
        if found.get(name) != value
    ]


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
    return [f"dead-letter queue {queue!r}: {loss}. {_how_to_raise(queue, own, limit, virtual_host)}"]


def _how_to_raise(queue: str, own: object, limit: int, virtual_host: str) -> str:
    """Return what raises the delivery limit of a queue: a policy, unless `own` is one that it was made with."""
    if own is not None:
        return "Delete it when it is empty; it is recreated"
    return f"Raise its limit: {set_policy(queue, {'delivery-limit': limit}, virtual_host)}. {UNSEEN_POLICIES}"


def exchange_remarks(exchange: str, planned: str, failure: Failure, *, dead_letters: bool) -> list[str]:
    """Given why an exchange could not be declared once more, return what is wrong with its type."""
    difference = other_difference(failure)
    if difference is None or difference[0] != "type":
        return []
    current = f"exchange {exchange!r} exists and is used unchanged: its type is {difference[1]!r}"
    if not dead_letters:
        return [
            f"{current}, not {planned!r}. It routes by its own rules; correct exchange_type to silence this warning"
        ]
    if difference[1] in ("fanout", "topic"):
        return []
    return [
        f"dead-letter {current}, so the binding '#' of the dead-letter queue takes nothing. Delete it so that "
        "it is recreated, or bind the queue with the names of the source queues"
    ]


def set_policy(queue: str, definition: Arguments, virtual_host: str) -> str:
    """Return the command that sets a policy for this one queue."""
    name = f"{queue}-{next(iter(definition))}"
    pattern = "^" + re.sub(r"[^\w-]", r"\\\g<0>", queue) + "$"
    parts = ["rabbitmqctl", "set_policy", "-p", virtual_host, "--apply-to", "queues", name, pattern]
    return shlex.join([*parts, json.dumps(definition)])
