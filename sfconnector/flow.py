"""One flow: from one source queue to the Cases of one division, or of several that share the queue."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from connectorlib.amqp import Broker, Consumer, topology
from connectorlib.errors import Failure, Kind
from connectorlib.messages import Dead, Delivery
from connectorlib.pipeline.dead_letter_publisher import DeadLetterSender
from connectorlib.pipeline.pause import Pausing, hint, is_of_broker
from connectorlib.pipeline.pump import Flow as FlowSettings
from connectorlib.pipeline.pump import Pump
from connectorlib.shared_settings import Destination
from sfconnector.reply import Replies
from sfconnector.salesforce.client import Client
from sfconnector.salesforce.error_codes import MISMATCH
from sfconnector.salesforce.usage import PLACE as API_CALLS
from sfconnector.salesforce.usage import RATE_PLACE, Budgets
from sfconnector.settings import Division, SfConfig
from sfconnector.shared_queue import Member, Shared
from sfconnector.sink import make_sink

if TYPE_CHECKING:
    from connectorlib.monitoring.monitor import Monitor

#: Comparing the mapping with the org costs a call, or more.
CONFIGURATION_MAX_S = 300.0

OnFirst = Callable[[str, Failure | None], None]


@dataclass(frozen=True, slots=True)
class Flow:
    name: str
    pump: Pump
    #: Stop waiting and try now; any thread may ask.
    nudge: Callable[[], None]


def make_flow(
    config: SfConfig,
    divisions: Sequence[Division],
    broker: Broker,
    clients: Mapping[str, Client],
    budgets: Budgets,
    *,
    stop: threading.Event,
    on_first: OnFirst,
    monitor: "Monitor | None" = None,
) -> Flow:
    """Return the flow of divisions with one source queue; the first of them says how its messages are taken."""
    first = divisions[0]
    name = "+".join(division.name for division in divisions)
    consumer = broker.consumer(first.source.queue, first.source.prefetch)
    nudged = threading.Event()
    pausing_of = partial(_pausing, config, divisions, broker, consumer, stop, nudged)
    own_queues = frozenset(division.source.queue for division in config.divisions) | {config.broker.dead_letter.queue}
    members = []
    for division in divisions:
        reply = division.reply
        replies = Replies(reply, broker.publisher, division.name, own_queues) if reply else None
        cases = make_sink(
            division,
            clients[division.name],
            budgets,
            stop=stop,
            replies=replies,
            on_first=partial(on_first, division.name),
        )
        members.append(Member(cases, pausing_of(division.name)))
    handler = members[0].cases if len(members) == 1 else Shared(members)
    sender = DeadLetterSender(broker.publisher, config.broker.dead_letter, name)
    sender.on_dead = handler.dead
    part_of = handler.part_of if isinstance(handler, Shared) else None
    settings = FlowSettings(name, first.batch, first.retry)
    watch = monitor.watch(name) if monitor else None
    pausing = pausing_of(name)
    watched = watch.watching(handler) if watch else handler
    pump = Pump(settings, consumer, watched, sender, pausing, part_of=part_of)
    if watch is not None:
        watch.attach(pump.counts, consumer, pausing, *(member.pausing for member in members if part_of))
        watch.cases = lambda: sum(member.cases.created for member in members)
        sender.on_dead = partial(_died, (handler.dead, watch.died))

    def nudge() -> None:
        handler.nudge()
        pump.nudge()
        nudged.set()

    return Flow(name, pump, nudge)


def _died(told: Sequence[Callable[[Delivery, Dead], object]], delivery: Delivery, verdict: Dead) -> None:
    for tell in told:
        tell(delivery, verdict)


def _pausing(
    config: SfConfig,
    divisions: Sequence[Division],
    broker: Broker,
    consumer: Consumer,
    stop: threading.Event,
    nudged: threading.Event,
    name: str,
) -> Pausing:
    upkeep = topology.Upkeep(broker, config.broker, divisions[0].source)
    replies = {division.reply.exchange for division in divisions if division.reply}

    def ensure() -> None:
        upkeep.ensure()
        for exchange in replies:
            topology.ensure(broker, config.broker, None, Destination(exchange), look=False)

    return Pausing(
        name,
        broker=broker,
        consumer=consumer,
        ensure=ensure,
        ensure_dead_letters=lambda: topology.ensure_dead_letters(broker, config.broker),
        hold_seconds=divisions[0].hold_seconds,
        stop=stop,
        nudge=nudged,
        label="division",
        retry_refused=False,
        longest={Kind.CONFIGURATION: CONFIGURATION_MAX_S},
        hints=_hint,
    )


def _hint(failure: Failure) -> str:
    """Return what a person can do about a failure, where something better than usual is known."""
    if is_of_broker(failure):
        return hint(failure)
    if failure.kind is Kind.REFUSED:
        return "put it right in the org and send SIGUSR1 (one more log-in), or in the configuration and restart"
    if failure.place == API_CALLS or failure.code == "REQUEST_LIMIT_EXCEEDED":
        return "find what else uses up the org's API calls, or raise its limit; asked again in 5 minutes (SIGUSR1: now)"
    if failure.place == RATE_PLACE:
        return "nothing, or raise case.rate; this goes on by itself"
    if failure.code == MISMATCH:
        return "put the mapping, or the user's access to the fields, right; this goes on by itself"
    if failure.kind is Kind.UNAVAILABLE:
        return "see status.salesforce.com, or mend the way there; this goes on by itself (SIGUSR1 tries at once)"
    return hint(failure, far_side="org")
