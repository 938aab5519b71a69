"""Exchanges, queues, bindings and rights, looked at without changing any of them.

What exists is looked at by passive declares and by declares that make nothing (`broker.existing`); the rights by calls
that the broker refuses as invalid after it has looked at the rights. AMQP shows no bindings: the management API does.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from connectorlib.amqp import Broker, SyncChannel, inspection
from connectorlib.amqp.management import Management
from connectorlib.amqp.topology import DEAD_LETTER_DELIVERY_LIMIT, SOURCE_DELIVERY_LIMIT
from connectorlib.config.wording import listed
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.preflight.findings import Finding, bad, failed, good, odd
from connectorlib.shared_settings import BrokerSettings, Source

CHANNEL_S = 5.0
AT_START = "it is made at the start"


@dataclass(frozen=True, slots=True)
class Exchange:
    name: str
    type: str
    dead_letters: bool = False

    def __str__(self) -> str:
        return f"{'dead-letter ' * self.dead_letters}exchange {self.name}"


@dataclass(frozen=True, slots=True)
class Sending:
    """Where is published, and by which part of the configuration."""

    about: str
    exchange: str
    #: None: not said, for it is not made.
    type: str | None = None


class Look:
    """One look at one virtual host."""

    def __init__(self, broker: Broker, settings: BrokerSettings, api: Management | None) -> None:
        self._broker = broker
        self._settings = settings
        self._api = api
        self._may: list[str] = []
        self._may_not: list[Finding] = []

    # -- the parts

    def dead_letters(self) -> Iterator[Finding]:
        names = self._settings.dead_letter
        exchange = Exchange(names.exchange, "topic", dead_letters=True)
        yield from self.exchange(exchange)
        queue = Source(names.queue, names.exchange, "topic", ("#",))
        about = f"dead-letter queue {names.queue}"
        state = self._state(names.queue)
        if isinstance(state, Failure):
            yield self._missing(about, state, lambda: self._may_make(names.queue))
        else:
            guess = {"x-queue-type": "quorum", "x-delivery-limit": DEAD_LETTER_DELIVERY_LIMIT}
            found = self._arguments(names.queue, guess)
            remarks = inspection.dead_letter_remarks(
                names.queue, found or {}, limit=DEAD_LETTER_DELIVERY_LIMIT, virtual_host=self._settings.virtual_host
            )
            if remarks and not self._by_policy(names.queue, "delivery-limit"):
                yield from (odd(about, remark) for remark in remarks)
            else:
                yield good(about, _counted(state, found))
            yield from self._binding(queue)
        self._ask(f"publish to {exchange}", lambda channel: channel.ask_to_publish(names.exchange), "write")

    def exchange(self, exchange: Exchange) -> Iterator[Finding]:
        if not exchange.name:
            return
        failure = self._attempt(lambda it: it.exchange_declare(exchange.name, exchange.type, passive=True))
        if failure is not None and failure.code != "403":  # RabbitMQ 4.3 asks for a right to look
            yield self._missing(str(exchange), failure, lambda: None)
            return
        failure = self._attempt(lambda it: it.exchange_declare(exchange.name, exchange.type))
        difference = inspection.other_difference(failure) if failure else None
        if difference is None:
            yield good(str(exchange), exchange.type if failure is None else "is there; this user may not know its type")
        elif difference[0] != "type":
            yield odd(
                str(exchange), f"its {difference[0]} is {difference[1]}: after a restart of the broker it is gone"
            )
        elif exchange.dead_letters and failure is not None:
            remarks = inspection.exchange_remarks(exchange.name, exchange.type, failure, dead_letters=True)
            yield from (bad(str(exchange), remark, kind=Kind.CONFIGURATION) for remark in remarks)
            if not remarks:
                yield good(str(exchange), difference[1])
        else:
            text = f"its type is {difference[1]}, the configuration says {exchange.type}"
            yield bad(str(exchange), text, "put exchange_type right, or delete the exchange", Kind.CONFIGURATION)

    def source(self, source: Source) -> Iterator[Finding]:
        about = f"queue {source.queue}"
        state = self._state(source.queue)
        if isinstance(state, Failure):
            yield self._missing(about, state, lambda: self._may_make(source.queue))
            return
        found = self._arguments(source.queue, self._guess(source))
        unlike = list(self._unlike(about, source, found or {})) if found is not None else []
        yield from unlike or [good(about, _counted(state, found))]
        yield from self._binding(source)
        self._ask(f"read {about}", lambda channel: channel.ask_to_consume(source.queue), "read")

    def sending(self, sending: Sending) -> Iterator[Finding]:
        if sending.exchange:
            exchange = Exchange(sending.exchange, sending.type or "topic")
            if sending.type is not None:
                yield from self.exchange(exchange)
            elif failure := self._attempt(lambda it: it.exchange_declare(exchange.name, exchange.type, passive=True)):
                yield failed(f"{sending.about}: {exchange}", failure, "make it, or name another")
                return
        what = f"publish to exchange {sending.exchange}" if sending.exchange else "publish to the default exchange"
        self._ask(what, lambda channel: channel.ask_to_publish(sending.exchange), "write")

    def rights(self) -> Iterator[Finding]:
        """Yield what this user may and may not do, as far as it was asked for the parts before."""
        if self._may:
            yield good(f"rights of {self._settings.username}", f"may {listed(dict.fromkeys(self._may))}")
        yield from dict.fromkeys(self._may_not)

    # -- what is missing

    def _missing(self, about: str, failure: Failure, may_make: Callable[[], Failure | None]) -> Finding:
        if failure.code != "404":
            return failed(about, failure)
        if self._settings.declare != "create":
            text = f'is not there, and with "declare": "{self._settings.declare}" it is not made'
            host = self._settings.virtual_host
            do = f"deadletter-queue --vhost {host} makes it" if about.startswith("dead-letter") else "make it"
            return bad(about, text, do, Kind.CONFIGURATION)
        refused = may_make()
        if refused is None:
            return odd(about, "is not there yet", AT_START)
        text = "is not there, and this user may not make it"
        return bad(about, text, self._grant("configure"), Kind.REFUSED)

    def _may_make(self, queue: str) -> Failure | None:
        """Return why a queue may not be made; None if it may, which it is not by this."""
        arguments = {"x-queue-type": "quorum", **inspection.NEVER_MADE}
        failure = self._attempt(lambda it: it.queue_declare(queue, arguments=arguments))
        return failure if failure is not None and failure.code == "403" else None

    # -- what is there

    def _state(self, queue: str) -> tuple[int, int] | Failure:
        """Return how many messages are ready and how many consumers there are."""
        found: list[tuple[int, int]] = []
        failure = self._attempt(lambda it: found.append(it.queue_declare(queue, passive=True)))
        return failure or found[0]

    def _guess(self, source: Source) -> dict[str, Any]:
        guess: dict[str, Any] = {
            "x-queue-type": source.type,
            "x-dead-letter-exchange": self._settings.dead_letter.exchange,
        }
        if source.type == "quorum":
            guess["x-delivery-limit"] = SOURCE_DELIVERY_LIMIT
        return guess | dict(source.arguments)

    def _arguments(self, queue: str, guess: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return inspection.learn(
            lambda arguments: self._attempt(lambda it: it.queue_declare(queue, arguments=arguments)), guess
        )

    def _unlike(self, about: str, source: Source, found: Mapping[str, Any]) -> Iterator[Finding]:
        """Yield how an existing queue differs from the configuration."""
        wrong = [
            f"{name} is {found[name]!r}, {value!r} was asked for"
            if name in found
            else f"it has no {name}, {value!r} was asked for"
            for name, value in source.arguments.items()
            if found.get(name) != value
        ]
        if wrong:
            do = "delete the queue to have it made anew, or put source.arguments right"
            yield bad(about, "; ".join(wrong), do, Kind.CONFIGURATION)
        kind = str(found.get("x-queue-type", "classic"))
        if kind != source.type:
            yield odd(about, f"is a {kind} queue, the configuration says {source.type}", "it is used as it is")
        if not self._by_policy(source.queue, "dead-letter-exchange"):
            dead_letter = self._settings.dead_letter.exchange
            host = self._settings.virtual_host
            remarks = inspection.source_remarks(source.queue, found, asked={}, exchange=dead_letter, virtual_host=host)
            yield from (odd(about, remark.removeprefix(f"queue {source.queue!r} ")) for remark in remarks)

    def _by_policy(self, queue: str, key: str) -> bool:
        """Whether a policy gives the queue this, as far as the management API tells."""
        if self._api is None:
            return False
        try:
            told = self._api.queue(self._settings.virtual_host, queue)
        except Failed:
            return False
        return key in (told.get("effective_policy_definition") or {})

    # -- bindings

    def _binding(self, source: Source) -> Iterator[Finding]:
        if not source.exchange:
            return
        about = f"binding {source.exchange} → {source.queue}"
        keys = list(source.routing_keys)
        bound = self._bound(source)
        if bound is None:
            yield self._unseen(about, source, keys)
            return
        lacking = [key for key in keys if key not in bound]
        if lacking and self._settings.declare == "create":
            yield odd(about, f"not by {listed(map(repr, lacking))} yet", AT_START)
        elif lacking:
            yield bad(
                about, f"not by {listed(map(repr, lacking))}: no such message comes", "bind it", Kind.CONFIGURATION
            )
        else:
            yield good(about, f"by {listed(map(repr, keys))}")
        if more := [key for key in bound if key not in keys]:
            yield odd(about, f"also by {listed(map(repr, more))}, which the configuration does not say", "unbind it")

    def _bound(self, source: Source) -> list[str] | None:
        if self._api is None:
            return None
        try:
            found = self._api.bindings(self._settings.virtual_host, source.exchange or "", source.queue)
        except Failed as error:
            return [] if error.failure.code == "404" else None
        return [str(each.get("routing_key", "")) for each in found]

    def _unseen(self, about: str, source: Source, keys: list[str]) -> Finding:
        if self._settings.declare != "create":
            return odd(about, "AMQP does not show whether it is there", "give --management-url to see")
        nobody = f"check-{uuid.uuid4()}"  # unbinding what is not bound asks for the rights and changes nothing
        failure = self._attempt(lambda it: it.queue_unbind(source.queue, source.exchange or "", nobody))
        if failure is None:
            return good(about, f"by {listed(map(repr, keys))}, made at every start")
        if failure.code == "403":
            text = "this user may not bind, and AMQP does not show whether it is bound"
            return odd(about, text, "should no messages come, have it bound")
        return odd(about, f"not yet: {failure.text}", AT_START)

    # -- rights

    def _ask(self, what: str, action: Callable[[SyncChannel], object], right: str) -> None:
        failure = self._attempt(action)
        if failure is None:
            self._may.append(what)
        elif failure.code == "403":
            about = f"rights of {self._settings.username}"
            self._may_not.append(bad(about, f"may not {what}", self._grant(right), Kind.REFUSED))
        elif failure.code != "404":  # which was told already
            self._may_not.append(failed(what, failure))

    def _grant(self, right: str) -> str:
        host, user = self._settings.virtual_host, self._settings.username
        return f"give {user} the right {right} for it (rabbitmqctl set_permissions -p {host} {user} …)"

    def _attempt(self, action: Callable[[SyncChannel], object]) -> Failure | None:
        """Do it on a channel of its own, since a failure closes it."""
        try:
            with self._broker.channel(CHANNEL_S) as channel:
                action(channel)
        except Failed as error:
            return error.failure
        return None


def _counted(state: tuple[int, int], arguments: Mapping[str, Any] | None) -> str:
    ready, consumers = state
    kind = str((arguments or {}).get("x-queue-type", "classic")) if arguments is not None else ""
    waiting = f"{ready} {'message' if ready == 1 else 'messages'} waiting"
    read = "no consumer" if not consumers else f"{consumers} {'consumer' if consumers == 1 else 'consumers'}"
    return ", ".join(part for part in (kind, waiting, read) if part)
