"""Exchanges, queues and bindings that a configuration needs: made when they are missing, left as they are otherwise.

Looking is a passive declare on a throw-away channel. What an existing one is like is told by `existing`.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from connectorlib.amqp import inspection
from connectorlib.amqp.broker import Broker
from connectorlib.amqp.channel import SyncChannel
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.shared_settings import BrokerSettings, DeadLetterSettings, Destination, Source

logger = logging.getLogger(__name__)

#: Of the sources that we make. More often than this no message is given back without something being wrong with it.
SOURCE_DELIVERY_LIMIT = 100
#: Looking at a dead letter is a delivery too. Never -1: RabbitMQ 3.10 drops a message on its first return with it.
DEAD_LETTER_DELIVERY_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class Exchange:
    name: str
    type: str = "topic"
    #: Whether it is the dead-letter exchange.
    dead_letters: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return f"exchange {self.name!r} ({self.type})"

    def declare(self, channel: SyncChannel, *, passive: bool) -> None:
        channel.exchange_declare(self.name, self.type, passive=passive)


@dataclass(frozen=True, slots=True)
class Queue:
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    #: Those of the arguments that stand in the configuration.
    asked: Mapping[str, Any] = field(default_factory=dict, compare=False)
    #: Whether it is the dead-letter queue.
    dead_letters: bool = field(default=False, compare=False)

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
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": DEAD_LETTER_DELIVERY_LIMIT}
    exchange = Exchange(settings.exchange, dead_letters=True)
    queue = Queue(settings.queue, arguments, dead_letters=True)
    return [exchange, queue, Binding(settings.queue, settings.exchange, "#")]


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
    parts: list[Part] = [Queue(source.queue, {**arguments, **source.arguments}, asked=source.arguments)]
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
    look: bool = True,
    warn: Callable[[str], None] = logger.warning,
) -> list[str]:
    """Make what is missing and return it in words. With `look`, `warn` is told what is wrong with what exists.

    Raise Failed for what is missing and may not be made, and when there is no connection.
    """
    return _make(broker, settings, plan(settings, source, destination), warn if look else None)


def ensure_dead_letters(broker: Broker, settings: BrokerSettings) -> list[str]:
    """Make what is missing of the dead-letter exchange and queue and return it in words. Raise Failed as `ensure`."""
    return _make(broker, settings, plan_dead_letters(settings.dead_letter), None)


class Upkeep:
    """What a long-running flow needs, looked after at every reconnect; what is wrong with it is told once."""

    def __init__(self, broker: Broker, settings: BrokerSettings, source: Source | None) -> None:
        self._broker = broker
        self._settings = settings
        self._source = source
        self._looked = False

    def ensure(self) -> list[str]:
        """Do what the function of this name does."""
        made = ensure(self._broker, self._settings, self._source, look=not self._looked)
        self._looked = True
        return made


def _make(broker: Broker, settings: BrokerSettings, parts: list[Part], warn: Callable[[str], None] | None) -> list[str]:
    """`settings.declare`: create; passive (only look whether it is there); never (not even that)."""
    made: list[str] = []
    for part in parts:
        if settings.declare == "never" or (isinstance(part, Exchange) and not part.name):
            continue  # the default exchange is always there, and must not be declared
        if isinstance(part, Binding):
            if settings.declare == "create":
                _bind(broker, part, warn or logger.debug)
        elif not _exists(broker, part):
            _create(broker, part, settings.declare)
            logger.info("made %s", part)
            made.append(str(part))
        elif settings.declare == "create" and warn is not None:
            for remark in _remarks(broker, part, settings):
                warn(remark)
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
    # Somebody else may have just made it, differently. RabbitMQ 4 has the same code for a type that it does not know.
    if failure is not None and not (failure.code == "406" and "inequivalent arg" in failure.text):
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
        warn(
            f"this user may not bind queue {binding.queue!r} to exchange {binding.exchange!r} by "
            f"{binding.routing_key!r}: going on. Should no messages come, have it bound"
        )


def _remarks(broker: Broker, part: Exchange | Queue, settings: BrokerSettings) -> list[str]:
    if isinstance(part, Exchange):
        failure = _declare(broker, part, passive=False)
        return (
            inspection.exchange_remarks(part.name, part.type, failure, dead_letters=part.dead_letters)
            if failure
            else []
        )
    found = inspection.learn(lambda it: _declare(broker, replace(part, arguments=it), passive=False), part.arguments)
    if found is None:
        return []
    host = settings.virtual_host
    if part.dead_letters:
        return inspection.dead_letter_remarks(part.name, found, limit=DEAD_LETTER_DELIVERY_LIMIT, virtual_host=host)
    exchange = settings.dead_letter.exchange
    return inspection.source_remarks(part.name, found, asked=part.asked, exchange=exchange, virtual_host=host)


def arguments_of(broker: Broker, queue: str) -> Mapping[str, Any] | None:
    """Return the arguments of an existing queue, or None if the broker does not let us know."""
    guess = {"x-queue-type": "quorum", "x-delivery-limit": DEAD_LETTER_DELIVERY_LIMIT}
    return inspection.learn(lambda it: _declare(broker, Queue(queue, it), passive=False), guess)


def _declare(broker: Broker, part: Exchange | Queue, *, passive: bool) -> Failure | None:
    """Declare on a channel of its own, since a failure closes it."""
    try:
        with broker.channel() as channel:
            part.declare(channel, passive=passive)
    except Failed as error:
        return error.failure
    return None
