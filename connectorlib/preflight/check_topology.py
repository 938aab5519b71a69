"""Exchanges, queues, bindings and rights, looked at without changing any of them.

What exists is inspected as in `amqp.inspection`; the rights by calls that change nothing, which the broker answers only
after it has checked the rights. AMQP shows no bindings: the management API does.
"""

import re
import shlex
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from connectorlib.amqp import Broker, SyncChannel, inspection, shards
from connectorlib.amqp.broker_user import grant, grant_topic, user_of
from connectorlib.amqp.channel import ALARM
from connectorlib.amqp.inspection import Exchange, Queue, State
from connectorlib.amqp.management import Management
from connectorlib.amqp.reply_codes import STREAM
from connectorlib.amqp.topology import (
    dead_letter_queue,
    find_shards,
    remarks,
    second_reader,
    shards_exchange,
    source_queues,
)
from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.preflight.findings import Finding, bad, failed, good, odd
from connectorlib.shared_settings import BrokerSettings, Source
from connectorlib.values.text import listed

CHANNEL_S = 5.0
#: How RabbitMQ refuses a routing key to a user who may publish to the exchange (topic authorisation).
_TOPIC = re.compile(r"access to topic '(.*)' in exchange '(.*)' in vhost")
MAKE_ROOM = "make room on its machine; `rabbitmq-diagnostics alarms` there says more"
AT_START = "it is created at startup"
NOT_THERE = Failure(Kind.CONFIGURATION, "404", "is not there", "broker")


@dataclass(frozen=True, slots=True)
class Sending:
    """Where messages are published, and by which part of the configuration."""

    about: str
    exchange: str
    #: None: the configuration has no type, for the exchange is not made.
    type: str | None = None


class TopologyCheck:
    """Checks one virtual host; every method yields or collects findings."""

    def __init__(self, broker: Broker, settings: BrokerSettings, api: Management | None, file: str = "") -> None:
        self._broker = broker
        self._open_channel = partial(broker.channel, CHANNEL_S)
        self._settings = settings
        self._api = api
        self._file = file
        self._may: list[str] = []
        self._may_not: list[Finding] = []

    # -- the parts

    def dead_letters(self, queues: Iterable[str]) -> Iterator[Finding]:
        """Check where the dead letters of these queues go: with the name of the queue as routing key."""
        names = self._settings.dead_letter
        yield from self.exchange(Exchange(names.exchange, dead_letters=True))
        queue = dead_letter_queue(names)
        about = f"dead-letter queue {names.queue}"
        state = inspection.inspect(self._open_channel, queue)
        if state.hidden:
            yield odd(about, "this user may not see whether it exists", grant(self._settings, "read"))
        elif state.unseen is not None:
            yield self._missing(about, state.unseen, lambda: self._may_make(names.queue))
        else:
            wrong = state.arguments and self._wrong(queue, state.arguments)
            yield from [odd(about, remark) for remark in wrong or ()] or [good(about, _counted(state))]
            yield from self._binding(Source(names.queue, names.exchange, "topic", ("#",)))
        for each in queues:
            what = f"publish to dead-letter exchange {names.exchange}"
            self._ask(what, partial(SyncChannel.ask_to_publish, exchange=names.exchange, routing_key=each), "write")

    def exchange(self, exchange: Exchange) -> Iterator[Finding]:
        if not exchange.name:
            return
        about = f"{'dead-letter ' * exchange.dead_letters}exchange {exchange.name}"
        state = inspection.inspect(self._open_channel, exchange)
        if state.unseen is not None and not state.hidden:
            yield self._missing(about, state.unseen, lambda: True)
        elif state.difference is None:
            known = state.refusal is None
            yield good(about, exchange.type if known else "exists; this user may not see its type")
        else:
            yield from self._unlike_exchange(about, exchange, state, *state.difference)

    def _unlike_exchange(
        self, about: str, exchange: Exchange, state: State, name: str, found: str
    ) -> Iterator[Finding]:
        """Yield how an existing exchange differs from the configuration."""
        if name != "type":
            yield odd(about, f"its {name} is {found}: it does not survive a restart of the broker")
        elif not exchange.dead_letters:
            text = f"its type is {found}, the configuration says {exchange.type}"
            yield bad(about, text, "correct exchange_type, or delete the exchange", Kind.CONFIGURATION)
        elif wrong := remarks(exchange, state, self._settings):
            yield from (bad(about, remark, kind=Kind.CONFIGURATION) for remark in wrong)
        else:
            yield good(about, found)

    def source(self, source: Source) -> Iterator[Finding]:
        if source.shards:
            yield from self._shards(source)
        holders = self._holders() if source.shards else {}
        for queue in source_queues(self._settings, source):
            yield from self._queue(source, queue, holders.get(queue.name, ""))
        yield from self._binding(source)

    def _shards(self, source: Source) -> Iterator[Finding]:
        """Yield what is found of the exchange that divides the messages, and what stands against the shards."""
        found = find_shards(self._open_channel, source, self._broker.server_version)
        exchange = shards_exchange(source, self._broker.server_version)
        if objection := shards.objection(source, found):
            yield bad(f"shards of {source.queue}", objection, kind=Kind.CONFIGURATION)
        elif found.exchange and exchange.type == shards.CONSISTENT_HASH:
            text = "after a restart of a node most routing keys may go to other shards (not from RabbitMQ 4.3 on)"
            yield odd(f"exchange {exchange.name}", text, "let the shards run empty before")
        elif found.exchange:
            yield good(f"exchange {exchange.name}", "hashes routing keys")
        else:
            missing = self._missing(f"exchange {exchange.name}", NOT_THERE, lambda: True)
            needs_plugin = exchange.type == shards.CONSISTENT_HASH and missing.do == AT_START
            yield replace(missing, do=f"{AT_START}; before, {exchange.needs}") if needs_plugin else missing

    def _holders(self) -> Mapping[str, str]:
        """Return which process has each queue with a single active consumer, as far as the management API tells."""
        try:
            consumers = self._api.consumers(self._settings.virtual_host) if self._api else []
        except Failed:
            return {}
        return {each["queue"]["name"]: shards.process_of(each["consumer_tag"]) for each in consumers if each["active"]}

    def _queue(self, source: Source, queue: Queue, holder: str) -> Iterator[Finding]:
        about = f"queue {queue.name}"
        state = inspection.inspect(self._open_channel, queue)
        if state.unseen is not None and not state.hidden:
            yield self._missing(about, state.unseen, lambda: self._may_make(queue.name))
            return
        if stream := self._ask(f"read {about}", lambda channel: channel.ask_to_consume(queue.name), "read"):
            yield failed(about, stream)
            return
        if state.hidden:  # then it may not be read either, which is a finding
            return
        if several := second_reader(source, queue.name, state.arguments):
            yield bad(about, several, kind=Kind.CONFIGURATION)
        unlike = list(self._unlike_queue(about, source, queue, state.arguments)) if state.arguments is not None else []
        yield from unlike or [good(about, ", ".join([_counted(state), *([f"{holder} has it"] if holder else [])]))]

    def sending(self, sending: Sending) -> Iterator[Finding]:
        name = f"exchange {sending.exchange}" if sending.exchange else "the default exchange"
        if sending.exchange and sending.type is not None:
            yield from self.exchange(Exchange(sending.exchange, sending.type))
        elif sending.exchange:
            state = inspection.look(self._open_channel, Exchange(sending.exchange))
            if state.unseen is not None and not state.hidden:
                do = MAKE_ROOM if state.unseen.code == ALARM else "create it, or name another"
                yield failed(f"{sending.about}: {name}", state.unseen, do)
                return
        self._ask(f"publish to {name}", lambda channel: channel.ask_to_publish(sending.exchange), "write")

    def journal(self, name: str) -> Iterator[Finding]:
        about = f"journal {name}"
        state = inspection.look(self._open_channel, Queue(name))
        if state.unseen is not None and not state.hidden:
            yield self._missing(about, state.unseen, lambda: self._may_make(name))
        elif (failure := self._attempt(lambda channel: channel.ask_to_consume(name))) is None:
            yield bad(about, "is a queue, not a stream", "name another in journal.stream", Kind.CONFIGURATION)
        else:
            known = failure.code == STREAM
            yield good(about, "stream" if known else "exists; this user may not see its type")
        self._ask(f"publish to {about}", lambda channel: channel.ask_to_publish(""), "write")

    def rights(self) -> Iterator[Finding]:
        """Yield what this user may and may not do, as far as the parts before have asked, and whether the broker has
        said meanwhile that it takes no messages."""
        if alarm := self._broker.alarm:
            yield bad("broker", f"blocks publishers, it is {alarm}", MAKE_ROOM, Kind.UNAVAILABLE)
        if self._may:
            yield good(f"rights of {user_of(self._settings)}", f"may {listed(dict.fromkeys(self._may))}")
        yield from dict.fromkeys(self._may_not)

    # -- what is missing

    def _missing(self, about: str, failure: Failure, may_make: Callable[[], bool]) -> Finding:
        if failure.code != "404":
            return failed(about, failure)
        if self._settings.declare != "create":
            text = f'is not there, and with "declare": "{self._settings.declare}" it is not created'
            setup = shlex.join(["deadletter-queue", "-c", self._file])
            do = f"{setup} makes it" if about.startswith("dead-letter") else "make it"
            return bad(about, text, do, Kind.CONFIGURATION)
        if may_make():
            return odd(about, "does not exist yet", AT_START)
        text = "does not exist, and this user may not create it"
        return bad(about, text, grant(self._settings, "configure"), Kind.REFUSED)

    def _may_make(self, queue: str) -> bool:
        """Return whether this user may make a queue, without making it."""
        failure = self._attempt(Queue(queue, {"x-queue-type": "quorum", **inspection.NEVER_MADE}).declare)
        return failure is None or failure.code != "403"

    # -- what exists

    def _unlike_queue(self, about: str, source: Source, queue: Queue, found: Mapping[str, Any]) -> Iterator[Finding]:
        """Yield how an existing queue differs from the configuration."""
        if wrong := inspection.unlike(found, queue.configured):
            do = "delete the queue so that it is recreated, or correct source.arguments"
            yield bad(about, "; ".join(each.removeprefix("its ") for each in wrong), do, Kind.CONFIGURATION)
        kind = str(found.get("x-queue-type", "classic"))
        if kind != source.type:
            yield odd(about, f"is a {kind} queue, the configuration says {source.type}", "it is used unchanged")
        for remark in self._wrong(Queue(queue.name), found):  # what is configured has its own finding
            yield odd(about, remark.removeprefix(f"queue {queue.name!r} "))
        whole = {**self._policy(queue.name), **found}
        if late := inspection.delayed_retry(whole):
            yield odd(
                about,
                late,
                "remove that from its policy: when nothing can be processed, the connector pauses by itself",
            )
        yield from self._at_most_once(about, queue, found, whole)

    def _wrong(self, queue: Queue, found: Mapping[str, Any]) -> list[str]:
        """Return what is wrong with a queue that has these arguments, and others by a policy."""
        wrong = remarks(queue, State(arguments=found), self._settings)
        if not wrong:
            return []
        return remarks(queue, State(arguments={**self._policy(queue.name), **found}), self._settings)

    def _at_most_once(
        self, about: str, queue: Queue, found: Mapping[str, Any], whole: Mapping[str, Any]
    ) -> Iterator[Finding]:
        """Yield what the broker loses while the dead-letter queue is away. What we dead-letter waits for it. `whole` is
        what was found and what policies set."""
        names, host = self._settings.dead_letter, self._settings.virtual_host
        ours = whole.get("x-dead-letter-exchange") == names.exchange
        if not ours or inspection.keeps_dead_letters(whole, names.exchange):
            return
        text = f"while queue {names.queue} is unavailable, RabbitMQ loses {inspection.losses(whole)}"
        if found.get("x-queue-type", "classic") != "quorum":
            do = "only quorum queues keep it"
        elif found.get("x-overflow", "reject-publish") != "reject-publish":
            do = f"its x-overflow is {found['x-overflow']}: with reject-publish it could keep that"
        else:
            do = f"`deadletter-queue --vhost {host} --policy` prints the policy that keeps it"
        yield odd(about, text, do if self._api is not None else f"{do}. {inspection.UNSEEN_POLICIES}")

    def _policy(self, queue: str) -> Mapping[str, Any]:
        """Return what policies set for a queue, by the names of arguments, as far as the management API tells."""
        if self._api is None:
            return {}
        try:
            found = self._api.queue(self._settings.virtual_host, queue)
        except Failed:
            return {}
        policy = found.get("effective_policy_definition") or {}  # an empty one is a list in RabbitMQ 3.10
        return {f"x-{key}": value for key, value in policy.items()}

    # -- bindings

    def _binding(self, source: Source) -> Iterator[Finding]:
        if not source.exchange:
            return
        about = f"binding {source.exchange} → {source.bound}"
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
            found = self._api.bindings(
                self._settings.virtual_host, source.exchange or "", source.bound, to_exchange=bool(source.shards)
            )
        except Failed as error:
            return [] if error.failure.code == "404" else None
        return [str(each.get("routing_key", "")) for each in found]

    def _unseen(self, about: str, source: Source, keys: list[str]) -> Finding:
        if self._settings.declare != "create":
            return odd(about, "AMQP does not show whether it is there", "give --management-url to see")
        nobody = f"check-{uuid.uuid4()}"  # unbinding what is not bound asks for the rights and changes nothing
        exchange, to_exchange = source.exchange or "", bool(source.shards)
        failure = self._attempt(lambda it: it.unbind(source.bound, exchange, nobody, to_exchange=to_exchange))
        if failure is None:
            return good(about, f"by {listed(map(repr, keys))}, created at every start")
        if failure.code == "403":
            text = "this user may not bind, and AMQP does not show whether it is bound"
            return odd(about, text, "if no messages arrive, have it bound")
        return odd(about, f"not yet: {failure.text}", AT_START)

    # -- rights

    def _ask(self, what: str, action: Callable[[SyncChannel], object], right: str) -> Failure | None:
        """Note whether this user has a right; return what else is wrong with the part itself."""
        failure = self._attempt(action)
        if failure is None:
            self._may.append(what)
        elif failure.code == "403":
            about = f"rights of {user_of(self._settings)}"
            do = grant(self._settings, right)
            if topic := _TOPIC.search(failure.text):
                what, do = f"{what} with the routing key {topic[1]}", grant_topic(self._settings, topic[2])
            self._may_not.append(bad(about, f"may not {what}", do, Kind.REFUSED))
        elif failure.code == STREAM:
            return failure
        elif failure.code not in ("404", ALARM):  # which have a finding of their own
            self._may_not.append(failed(what, failure))
        return None

    def _attempt(self, action: Callable[[SyncChannel], object]) -> Failure | None:
        found = inspection.attempt(self._open_channel, action)
        return found if isinstance(found, Failure) else None


def _counted(state: State) -> str:
    kind = str(state.arguments.get("x-queue-type", "classic")) if state.arguments is not None else ""
    waiting = f"{state.ready} {'message' if state.ready == 1 else 'messages'} waiting"
    consumers = f"{state.consumers or 'no'} {'consumer' if state.consumers in (0, 1) else 'consumers'}"
    return ", ".join(part for part in (kind, waiting, consumers) if part)
