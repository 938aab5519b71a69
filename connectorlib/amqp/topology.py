"""Exchanges, queues and bindings that a configuration needs: made when they are missing, otherwise left as they are."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import zip_longest
from typing import Any

from connectorlib.amqp import inspection, reply_codes, shards
from connectorlib.amqp.broker import Broker
from connectorlib.amqp.consumer import Consumer
from connectorlib.amqp.inspection import Exchange, Queue, SharedChannel, State
from connectorlib.amqp.sharded_consumer import ShardedConsumer
from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.shared_settings import BrokerSettings, DeadLetterSettings, Destination, Source

logger = logging.getLogger(__name__)

#: Of the source queues that we make. A message that is requeued more often than this has something wrong with it.
SOURCE_DELIVERY_LIMIT = 100
#: The same where a stand-by may take over: what is in hand then counts a delivery whenever somebody stops.
STAND_BY_DELIVERY_LIMIT = 1_000
#: Looking at a dead letter is a delivery too. Never -1: RabbitMQ 3.10 drops a message on its first return with it.
DEAD_LETTER_DELIVERY_LIMIT = 1_000_000
DEAD_LETTER_ARGUMENTS: Mapping[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": DEAD_LETTER_DELIVERY_LIMIT}


@dataclass(frozen=True, slots=True)
class Binding:
    #: The name of a queue, or of an exchange.
    destination: str
    exchange: str
    routing_key: str
    to_exchange: bool = False


Part = Exchange | Queue | Binding


def plan(
    settings: BrokerSettings,
    source: Source | None,
    destination: Destination | None,
    version: tuple[int, ...] = (),
) -> list[Part]:
    """Return everything that must exist, in the order of making it, on a broker of this version."""
    parts: list[Part] = []
    if source is not None:
        parts += plan_dead_letters(settings.dead_letter)
        parts += source_queues(settings, source)
        if source.shards:
            parts += plan_shards(source, version)
        if source.exchange:
            parts.append(Exchange(source.exchange, source.exchange_type))
            parts += [Binding(source.bound, source.exchange, key, bool(source.shards)) for key in source.routing_keys]
    if destination is not None:
        parts.append(Exchange(destination.exchange, destination.exchange_type))
    return parts


def plan_dead_letters(settings: DeadLetterSettings) -> list[Part]:
    """Return what dead letters need, in the order of making it."""
    exchange = Exchange(settings.exchange, dead_letters=True)
    return [exchange, dead_letter_queue(settings), Binding(settings.queue, settings.exchange, "#")]


def plan_shards(source: Source, version: tuple[int, ...]) -> list[Part]:
    """Return what divides the messages among the shards. It is bound to where they come from at the very end: a message
    goes where all later ones of its routing key go."""
    exchange = shards_exchange(source, version)
    return [exchange, *(Binding(queue, exchange.name, shards.WEIGHT) for queue in source.queues)]


def shards_exchange(source: Source, version: tuple[int, ...]) -> Exchange:
    return Exchange(source.bound, shards.hash_type(version), needs=shards.NEEDS)


def dead_letter_queue(settings: DeadLetterSettings) -> Queue:
    return Queue(settings.queue, DEAD_LETTER_ARGUMENTS, dead_letters=True)


def source_queues(settings: BrokerSettings, source: Source) -> list[Queue]:
    """Return the source queue, or its shards, as they are made when they are missing."""
    configured = {**source.arguments, **({inspection.SINGLE_ACTIVE: True} if source.shards else {})}
    arguments: dict[str, Any] = {"x-queue-type": source.type, "x-dead-letter-exchange": settings.dead_letter.exchange}
    if source.one_reader:
        arguments[inspection.SINGLE_ACTIVE] = True
    if source.type == "quorum":
        single = {**arguments, **configured}.get(inspection.SINGLE_ACTIVE)
        arguments["x-delivery-limit"] = STAND_BY_DELIVERY_LIMIT if single else SOURCE_DELIVERY_LIMIT
        if inspection.may_refuse(configured):
            arguments |= inspection.AT_LEAST_ONCE
    return [Queue(name, {**arguments, **configured}, configured=configured) for name in source.queues]


def ensure(
    broker: Broker,
    settings: BrokerSettings,
    source: Source | None = None,
    destination: Destination | None = None,
    *,
    look: bool = True,
    warn: Callable[[str], None] = logger.warning,
    compared: dict[str, State] | None = None,
) -> list[str]:
    """Make what is missing and return it in words. With `look`, pass what is wrong with what exists to `warn`, and add
    the queues that were compared to `compared`.

    Raise Failed for what is missing and may not be made, for a source that is a stream, for shards that would change
    the order or bring messages twice, and without a connection.
    """
    parts = plan(settings, source, destination, broker.server_version)
    with closing(SharedChannel(broker.channel)) as open_channel:
        if source is not None and source.shards and settings.declare != "never":
            refuse_shards(open_channel, source, broker.server_version)
        made = _Maker(open_channel, settings, warn if look else None, compared).make(parts)
        for queue in source.queues if source is not None else ():
            refuse_stream(open_channel, queue)
    return made


def refuse_shards(open_channel: inspection.OpenChannel, source: Source, version: tuple[int, ...]) -> None:
    """Raise Failed ("shards") unless what there is of the shards is all or nothing of what is configured."""
    if text := shards.objection(source, find_shards(open_channel, source, version)):
        raise shards.refused(text)


def find_shards(open_channel: inspection.OpenChannel, source: Source, version: tuple[int, ...]) -> shards.Found:
    """Return what there is of the shards. What this user may not look at counts as being as it should be."""

    def look(part: Exchange | Queue) -> State:
        return inspection.look(open_channel, part)

    undivided, exchange = look(Queue(source.queue)), shards_exchange(source, version)
    made = look(exchange).exists
    difference = inspection.compare(open_channel, exchange).difference if made else None
    return shards.Found(
        undivided.ready if undivided.unseen is None else None,
        tuple(queue for queue in source.queues if not look(Queue(queue)).exists),
        look(Queue(f"{source.queue}.{source.shards}")).unseen is None,
        made,
        difference[1] if difference and difference[1] not in (shards.MODULUS_HASH, shards.CONSISTENT_HASH) else "",
    )


def refuse_stream(open_channel: inspection.OpenChannel, queue: str) -> None:
    """Raise Failed ("stream") for a stream. What else keeps the queue from being read is found when it is."""
    failure = inspection.attempt(open_channel, lambda channel: channel.ask_to_consume(queue))
    if isinstance(failure, Failure) and failure.code == reply_codes.STREAM:
        raise Failed(failure)


def second_reader(source: Source, queue: str, found: inspection.Arguments | None) -> str:
    """Return why two processes could read a queue at the same time, which the source does not allow, and what to do; ""
    if nothing is wrong. `found` are the queue's arguments, or None if the broker does not tell."""
    if not source.one_reader or (found is not None and found.get(inspection.SINGLE_ACTIVE)):
        return ""
    argument = inspection.SINGLE_ACTIVE
    if found is None:
        return (
            f"it is not known whether queue {queue!r} has {argument}, without which two processes could read it at the "
            f"same time: RabbitMQ tells only a user who may configure the queue. Or {source.one_reader}"
        )
    return (
        f"queue {queue!r} has no {argument}, so two processes could read it at the same time. Let it run empty and "
        f'delete it: with "declare": "create" the next start makes it with that argument. Or {source.one_reader}'
    )


def ensure_dead_letters(broker: Broker, settings: BrokerSettings) -> list[str]:
    """Make what is missing of the dead-letter exchange and queue and return it in words. Raise Failed as `ensure`."""
    with closing(SharedChannel(broker.channel)) as open_channel:
        return _Maker(open_channel, settings).make(plan_dead_letters(settings.dead_letter))


def ensure_queue(broker: Broker, settings: BrokerSettings, queue: Queue, timeout: float) -> list[str]:
    """Make a queue if it is missing and return it in words; no question takes longer than `timeout` seconds. Raise
    Failed as `ensure`."""
    with closing(SharedChannel(partial(broker.channel, timeout))) as open_channel:
        return _Maker(open_channel, settings).make([queue])


class Upkeep:
    """Ensures at every reconnect what a long-running flow needs; warns only the first time."""

    def __init__(self, broker: Broker, settings: BrokerSettings, source: Source | None) -> None:
        self._broker = broker
        self._settings = settings
        self._source = source
        self._looked = False
        #: The queues that were compared at the last `ensure`.
        self._compared: dict[str, State] = {}

    def ensure(self) -> list[str]:
        """Do what the function of this name does."""
        self._compared.clear()
        made = ensure(self._broker, self._settings, self._source, look=not self._looked, compared=self._compared)
        self._looked = True
        return made

    def inform(self, consumer: Consumer | ShardedConsumer) -> None:
        """Tell a consumer of the source queue what the queue's arguments say, as far as the broker tells: whether
        another one may wait for it, and whether it keeps what it dead-letters.

        Of the first only the arguments tell: what is declared passively counts the active consumer alone, and a
        `basic.get`, which such a queue refuses, would take a message of any other. The second could be by a policy too,
        but a policy can be gone at any moment.
        """
        source, exchange = self._source, self._settings.dead_letter.exchange
        known: list[inspection.Arguments | None] = [None]
        if source is not None and (self._settings.declare != "never" or source.one_reader):
            queues = source_queues(self._settings, source)
            known = [self._arguments_of(queue) for queue in queues]
        single = [each is None or bool(each.get(inspection.SINGLE_ACTIVE)) for each in known]
        self._refuse_second_reader(known)
        if source is not None and source.shards and not all(single):
            raise shards.refused(f"a shard of queue {source.queue!r} has no {inspection.SINGLE_ACTIVE}: delete it")
        consumer.stand_by = any(single)
        consumer.may_reject = all(each and inspection.keeps_dead_letters(each, exchange) for each in known)

    def _arguments_of(self, queue: Queue) -> inspection.Arguments | None:
        state = self._compared.pop(queue.name, None) or inspection.compare(self._broker.channel, queue)
        return state.arguments

    def _refuse_second_reader(self, known: Sequence[inspection.Arguments | None]) -> None:
        if self._source is None:
            return
        for queue, found in zip_longest(self._source.queues, known):
            if text := second_reader(self._source, queue, found):
                raise Failed(Failure(Kind.CONFIGURATION, reply_codes.SEVERAL_READERS, text, "broker"))


def remarks(part: Exchange | Queue, state: State, settings: BrokerSettings) -> list[str]:
    """Return what is wrong with a part that exists."""
    host = settings.virtual_host
    if isinstance(part, Exchange):
        return (
            inspection.exchange_remarks(part.name, part.type, state.refusal, dead_letters=part.dead_letters)
            if state.refusal and not part.needs  # of that any type that does the same will do
            else []
        )
    if state.arguments is None:
        return []
    if part.dead_letters:
        limit = DEAD_LETTER_DELIVERY_LIMIT
        return inspection.dead_letter_remarks(part.name, state.arguments, limit=limit, virtual_host=host)
    exchange = settings.dead_letter.exchange
    return [
        *inspection.source_remarks(
            part.name, state.arguments, configured=part.configured, exchange=exchange, virtual_host=host
        ),
        *inspection.stand_by_remarks(part.name, state.arguments, limit=STAND_BY_DELIVERY_LIMIT, virtual_host=host),
    ]


def arguments_of(broker: Broker, queue: str) -> Mapping[str, Any] | None:
    """Return the arguments of an existing queue, or None if the broker does not tell."""
    return inspection.compare(broker.channel, Queue(queue, DEAD_LETTER_ARGUMENTS)).arguments


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes parts of a topology. `settings.declare`: create; passive (only look whether they exist); never (not even
    that)."""

    open_channel: inspection.OpenChannel
    settings: BrokerSettings
    #: Receives what is wrong with what exists; None: that is not looked at.
    warn: Callable[[str], None] | None = None
    #: Gets the queues that were compared for that, by name.
    compared: dict[str, State] | None = None

    def make(self, parts: Sequence[Part]) -> list[str]:
        """Make what is missing and return it in words."""
        made: list[str] = []
        if self.settings.declare == "never":
            return made
        for part in parts:
            if isinstance(part, Binding):
                if self.settings.declare == "create":
                    self._bind(part)
            elif part.name:  # the default exchange always exists, and must not be declared
                made += self._ensure(part)
        return made

    def _ensure(self, part: Exchange | Queue) -> list[str]:
        if not inspection.look(self.open_channel, part).exists:
            self._create(part)
            logger.info("made %s", part)
            return [str(part)]
        if self.settings.declare == "create" and self.warn is not None:
            state = inspection.compare(self.open_channel, part)
            for remark in remarks(part, state, self.settings):
                self.warn(remark)
            if self.compared is not None and isinstance(part, Queue):
                self.compared[part.name] = state
        return []

    def _create(self, part: Exchange | Queue) -> None:
        if self.settings.declare != "create":
            text = f'{part} does not exist, and with "declare": "{self.settings.declare}" it is not created'
            raise Failed(Failure(Kind.CONFIGURATION, "404", text, "broker"))
        failure = inspection.attempt(self.open_channel, part.declare)
        if not isinstance(failure, Failure):
            return
        # Somebody else may have just made it, differently. RabbitMQ 4 has the same code for a type that it does not
        # know.
        if not (failure.code == "406" and "inequivalent arg" in failure.text):
            text = f"{part} does not exist and cannot be created: {failure.text}"
            if isinstance(part, Exchange) and part.needs and failure.kind is Kind.CONFIGURATION:
                raise shards.refused(f"{text}. To have it, {part.needs}")
            raise Failed(Failure(failure.kind, failure.code, text))

    def _bind(self, binding: Binding) -> None:
        kind = "exchange" if binding.to_exchange else "queue"
        if not binding.exchange:
            return  # every queue is bound to the default exchange by its name
        try:
            with self.open_channel() as channel:
                where = (binding.destination, binding.exchange, binding.routing_key)
                channel.bind(*where, to_exchange=binding.to_exchange)
        except Failed as error:
            if error.failure.code != "403":
                raise
            (self.warn or logger.debug)(
                f"this user may not bind {kind} {binding.destination!r} to exchange {binding.exchange!r} by "
                f"{binding.routing_key!r}: going on. If no messages arrive, have it bound"
            )
