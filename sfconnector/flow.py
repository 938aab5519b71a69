"""One flow: from one source queue to the Cases of one division, or of several that share the queue."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby

from connectorlib.amqp import Publisher
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import Dead, Delivery
from connectorlib.monitoring.counters import SinkMetric
from connectorlib.monitoring.monitor import ConnectionFacts
from connectorlib.pipeline.pause import hint, is_of_broker
from connectorlib.pipeline.run_sink import SinkFlow
from sfconnector.division import DivisionState
from sfconnector.division_router import DivisionRouter
from sfconnector.reply import Replies
from sfconnector.salesforce.client import Client
from sfconnector.salesforce.error_codes import MISMATCH
from sfconnector.salesforce.usage import PLACE as API_CALLS
from sfconnector.salesforce.usage import RATE_PLACE, Budgets, Usage
from sfconnector.settings import Division, SfConfig
from sfconnector.sink import CaseSink

#: Seconds between two probes at last: comparing the mapping with the org costs a call, or more.
CONFIGURATION_MAX_S = 300.0

OnFirst = Callable[[str, Failure | None], None]


def by_queue(divisions: Sequence[Division]) -> list[list[Division]]:
    """Return the divisions of each source queue, in the order of the file."""
    queues = list(dict.fromkeys(division.source.queue for division in divisions))
    ordered = sorted(divisions, key=lambda division: queues.index(division.source.queue))
    return [list(group) for _, group in groupby(ordered, key=lambda division: division.source.queue)]


def make_flow(
    config: SfConfig,
    divisions: Sequence[Division],
    publisher: Publisher,
    clients: Mapping[str, Client],
    budgets: Budgets,
    *,
    stop: threading.Event,
    on_first: OnFirst,
) -> SinkFlow:
    """Return the flow of divisions with one source queue; the first of them says how its messages are taken."""
    own_queues = frozenset(division.source.queue for division in config.divisions) | {config.broker.dead_letter.queue}
    sinks = []
    for division in divisions:
        reply = division.reply
        replies = Replies(reply, publisher, division.name, own_queues) if reply else None
        state = DivisionState(division, budgets, on_first=partial(on_first, division.name))
        sinks.append(CaseSink(state, clients[division.name], stop=stop, replies=replies))
    router = DivisionRouter(divisions)
    names = [division.name for division in divisions]
    created = "Cases made in Salesforce; a message may be several."

    def dead(delivery: Delivery, verdict: Dead) -> None:
        """Let the division that the message was for know that it died."""
        with suppress(Failed):
            sinks[router(delivery)].dead(delivery, verdict)

    def nudge() -> None:
        for sink in sinks:
            sink.nudge()

    return SinkFlow(
        name="+".join(names),
        sinks=sinks,
        targets=names if len(names) > 1 else (),
        route=router,
        source=divisions[0].source,
        batch=divisions[0].batch,
        retry=divisions[0].retry,
        hold_seconds=divisions[0].hold_seconds,
        connections=[connection_of(division.name, clients[division.name]) for division in divisions],
        metrics=[SinkMetric("cases_created", created, "counter", lambda: sum(sink.created for sink in sinks))],
        hints=_hint,
        label="division",
        retry_refused=False,
        longest={Kind.CONFIGURATION: CONFIGURATION_MAX_S},
        exchanges={division.reply.exchange for division in divisions if division.reply},
        on_dead=dead,
        on_nudge=nudge,
    )


def connection_of(name: str, client: Client) -> ConnectionFacts:
    """Return what the status, the metrics and the watchdog ask about the org of a division."""
    return ConnectionFacts(
        f"salesforce of {name}",
        lambda: None if client.tokens.refused else client.token_since,
        lambda: client.tokens_taken,
        lambda: client.token.instance_url if client.token else "",
        lambda: client.usage,
        lambda: client.stuck(),
        usage_metrics(lambda: client.usage),
    )


def usage_metrics(usage: Callable[[], Usage | None]) -> Sequence[SinkMetric]:
    """Return the metrics of an org's API calls; they are absent while the org has not said how many there are."""

    def known() -> Usage | None:
        return found if (found := usage()) and found.maximum > 0 else None

    def left() -> float | None:
        return max(0, found.maximum - found.used) if (found := known()) else None

    def allowed() -> float | None:
        return found.maximum if (found := known()) else None

    return (
        SinkMetric("salesforce_api_calls_left", "API calls that the org has left, over 24 hours.", "gauge", left),
        SinkMetric("salesforce_api_calls_allowed", "API calls that the org has, over 24 hours.", "gauge", allowed),
    )


def _hint(failure: Failure) -> str:
    """Return what a person can do about a failure."""
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
    return hint(failure, target="org")
