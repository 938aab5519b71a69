"""Exchanges, queues and bindings that a configuration needs: made when they are missing, left as they are otherwise.

AMQP tells whether something exists (a passive declare), not what it is. What differs is learnt by declaring it once
more on a throw-away channel: the broker accepts that only if everything is equal, and else names what is not.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from connectorlib.broker.broker import Broker
from connectorlib.broker.channel import SyncChannel
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.settings import BrokerSettings, DeadLetterSettings, Destination, Source

logger = logging.getLogger(__name__)

#: Of the sources that we make. More often than this no message is given back without something being wrong with it.
SOURCE_DELIVERY_LIMIT = 100
#: Looking at a dead letter is a delivery too. Never -1: RabbitMQ 3.10 drops a message on its first return with it.
DEAD_LETTER_DELIVERY_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class Exchange:
    name: str
    type: str = "topic"

    def __str__(self) -> str:
        return f"exchange {self.name!r} ({self.type})"

    def declare(self, channel: SyncChannel, *, passive: bool) -> None:
        channel.exchange_declare(self.name, self.type, passive=passive)


@dataclass(frozen=True, slots=True)
class Queue:
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"queue {self.name!r} ({self.arguments.get('x-queue-type', 'classic')})"

    def declare(self, channel: SyncChannel, *, passive: bool) -> None:
        channel.queue_declare(self.name, passive=passive, arguments=None if passive else self.arguments)


@dataclass(frozen=True, slots=True)
class Binding:
    queue: str
    exchange: str
    routing_key: str


Part = Exchange | Queue | Binding


def plan_dead_letters(settings: DeadLetterSettings) -> list[Part]:
    """Return what dead letters need, in the order of making it."""
    queue = Queue(settings.queue, {"x-queue-type": "quorum", "x-delivery-limit": DEAD_LETTER_DELIVERY_LIMIT})
    return [Exchange(settings.exchange), queue, Binding(settings.queue, settings.exchange, "#")]


def plan(settings: BrokerSettings, source: Source | None, destination: Destination | None) -> list[Part]:
    """Return everything that must exist, in the order of making it."""
    parts: list[Part] = []
    if source is not None:
        parts += plan_dead_letters(settings.dead_letter)
        parts += _plan_source(settings, source)
    if destination is not None:
        parts.append(Exchange(destination.exchange, destination.exchange_type))
    return parts


def _plan_source(settings: BrokerSettings, source: Source) -> list[Part]:
    arguments: dict[str, Any] = {"x-queue-type": source.type, "x-dead-letter-exchange": settings.dead_letter.exchange}
    if source.type == "quorum":
        arguments["x-delivery-limit"] = SOURCE_DELIVERY_LIMIT
    parts: list[Part] = [Queue(source.queue, {**arguments, **source.arguments})]
    if source.exchange:
        parts.append(Exchange(source.exchange, source.exchange_type))
        parts += [Binding(source.queue, source.exchange, key) for key in source.routing_keys]
    return parts


def ensure(
    broker: Broker,
    settings: BrokerSettings,
    source: Source | None = None,
    destination: Destination | None = None,
    *,
    warn: Callable[[str], None] = logger.warning,
) -> list[str]:
    """Make what is missing and return it in words; `warn` is told what exists and is not what was asked for.

    Raise Failed for what is missing and may not be made, and when there is no connection.
    """
    return make(broker, settings.declare, plan(settings, source, destination), warn=warn)


def make(broker: Broker, policy: str, parts: list[Part], *, warn: Callable[[str], None] = logger.warning) -> list[str]:
    """Do what `ensure` does for these parts. `policy`: create; passive (only look); never (not even that)."""
    made: list[str] = []
    for part in parts:
        if policy == "never" or (isinstance(part, Exchange) and not part.name):
            continue  # the default exchange is always there, and must not be declared
        if isinstance(part, Binding):
            if policy == "create":
                _bind(broker, part, warn)
        elif not _exists(broker, part):
            _create(broker, part, policy)
            made.append(str(part))
        elif policy == "create":
            _compare(broker, part, warn)
    return made


def _exists(broker: Broker, part: Exchange | Queue) -> bool:
    failure = _declare(broker, part, passive=True)
    if failure is None or failure.code == "403":  # may not look; RabbitMQ 4.3 asks for a permission here
        return True
    if failure.code == "404":
        return False
    raise Failed(failure)


def _create(broker: Broker, part: Exchange | Queue, policy: str) -> None:
    if policy != "create":
        text = f'{part} does not exist, and with "declare": "{policy}" it is not made'
        raise Failed(Failure(Kind.CONFIGURATION, "404", text, "broker"))
    failure = _declare(broker, part, passive=False)
    if failure is not None and failure.code != "406":  # 406: somebody else has just made it, differently
        raise Failed(Failure(failure.kind, failure.code, f"{part} does not exist and cannot be made: {failure.text}"))


def _bind(broker: Broker, binding: Binding, warn: Callable[[str], None]) -> None:
    if not binding.exchange:
        return  # every queue is bound to the default exchange by its name
    try:
        with broker.channel() as channel:
            channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)
    except Failed as error:
        if error.failure.code != "403":
            raise
        warn(f"may not bind queue {binding.queue!r} to exchange {binding.exchange!r}, going on without")


def _compare(broker: Broker, part: Exchange | Queue, warn: Callable[[str], None]) -> None:
    failure = _declare(broker, part, passive=False)
    if failure is None or failure.code != "406":
        return  # equal, or it may not be known
    if isinstance(part, Queue) and _lacks_dead_letter_exchange(failure) and _is_quorum(broker, part):
        warn(
            f"queue {part.name!r} exists and has no dead-letter exchange in its arguments: RabbitMQ drops a message "
            "that comes back too often. Unless a policy gives it one (AMQP cannot tell), set one"
        )
    else:
        warn(f"{part} exists and is used as it is: {failure.text}")


def _lacks_dead_letter_exchange(failure: Failure) -> bool:
    return "arg 'x-dead-letter-exchange'" in failure.text and failure.text.endswith("current is none")


def _is_quorum(broker: Broker, queue: Queue) -> bool:
    """Say no only when the broker names the type as what differs; other arguments may be named before it."""
    failure = _declare(broker, Queue(queue.name, {"x-queue-type": "quorum"}), passive=False)
    return failure is None or "arg 'x-queue-type'" not in failure.text


def _declare(broker: Broker, part: Exchange | Queue, *, passive: bool) -> Failure | None:
    """Declare on a channel of its own, since a failure closes it."""
    try:
        with broker.channel() as channel:
            part.declare(channel, passive=passive)
    except Failed as error:
        return error.failure
    return None
