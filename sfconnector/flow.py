"""One flow: from one source queue to the Cases of one division, or of several that share the queue."""

from collections.abc import Callable, Sequence
from itertools import groupby

from connectorlib.errors import NEVER, Failure, Kind
from connectorlib.monitoring.counters import SinkMetric
from connectorlib.monitoring.monitor import ConnectionFacts
from connectorlib.pipeline.pause import hint, is_of_broker
from connectorlib.pipeline.run_sink import SinkFlow
from connectorlib.service.http_client import advice
from connectorlib.shared_settings import Conditions
from sfconnector.division_group import DivisionGroup
from sfconnector.salesforce.client import Client
from sfconnector.salesforce.error_codes import MISMATCH
from sfconnector.salesforce.usage import PLACE as API_CALLS
from sfconnector.salesforce.usage import RATE_PLACE, Usage
from sfconnector.settings import Division

#: Seconds between two probes at last: comparing the mapping with the org costs a call, or more.
CONFIGURATION_MAX_S = 300.0


def by_queue(divisions: Sequence[Division]) -> list[list[Division]]:
    """Return the divisions of each source queue, in the order of the file."""
    queues = list(dict.fromkeys(division.source.queue for division in divisions))
    ordered = sorted(divisions, key=lambda division: queues.index(division.source.queue))
    return [list(group) for _, group in groupby(ordered, key=lambda division: division.source.queue)]


def make_flow(group: DivisionGroup) -> SinkFlow:
    """Return the flow of divisions with one source queue; the first of them says how its messages are taken. Each
    division has a lane for each of its clients."""
    divisions, clients = group.divisions, group.clients
    first = divisions[0]
    shared = len(divisions) > 1
    any_lane_will_do = not shared and first.match is None and first.lanes.key is None
    return SinkFlow(
        name="+".join(division.name for division in divisions),
        sinks=group.sinks,
        targets=[each.name for each in divisions for _ in clients[each.name]] if shared else (),
        route=None if any_lane_will_do and first.conditions == Conditions() else group.router,
        ordered=any(division.lanes.key is not None for division in divisions),
        # A batch may have many events of one alarm.
        one_per_key=any(division.case.alarm is None for division in divisions),
        source=first.source,
        batch=first.batch,
        stretch=group.stretch,
        retry=first.retry,
        hold_seconds=first.hold_seconds,
        body_bytes=max(division.limits.body_bytes for division in divisions),
        connections=[connection_of(division.name, clients[division.name]) for division in divisions],
        metrics=group.metrics(),
        details=group.details,
        hints=_hint,
        label="division",
        longest={Kind.CONFIGURATION: CONFIGURATION_MAX_S},
        exchanges={division.reply.exchange for division in divisions if division.reply},
        on_dead=group.dead,
        on_peek=group.look_ahead,
        on_nudge=group.nudge,
    )


def connection_of(name: str, clients: Sequence[Client]) -> ConnectionFacts:
    """Return what the status, the metrics and the watchdog ask about the org of a division, whose lanes share a log-in
    and have a client each."""

    def usage() -> Usage | None:
        return max((client.usage for client in clients if client.usage), key=lambda each: each.at, default=None)

    def since() -> float | None:
        return max((client.token_since for client in clients if client.token_since is not None), default=None)

    return ConnectionFacts(
        f"salesforce of {name}",
        lambda: since() if clients[0].tokens.has_token else None,
        lambda: max(client.tokens_taken for client in clients),
        lambda: next((client.token.instance_url for client in clients if client.token), ""),
        usage,
        lambda: next((stuck for client in clients if (stuck := client.stuck())), None),
        usage_metrics(usage),
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
    if failure.retry_after == NEVER:
        return (
            "correct it in the org and send SIGUSR1 (one more login attempt), or correct the configuration and restart"
        )
    if failure.kind is Kind.REFUSED:
        return "correct it in the org (retried within 5 minutes; SIGUSR1: immediately), or correct it here and restart"
    if failure.place == API_CALLS or failure.code == "REQUEST_LIMIT_EXCEEDED":
        return "find what else uses the org's API calls, or raise its limit (retried in 5 min; SIGUSR1: immediately)"
    if failure.place == RATE_PLACE:
        return "no action needed, or raise case.rate; the connector resumes automatically"
    if failure.code == MISMATCH:
        return "correct the mapping or the user's access to the fields; the connector resumes automatically"
    if of_the_way := advice(failure.code):
        return f"{of_the_way}; the connector resumes automatically (SIGUSR1 retries immediately)"
    if failure.kind is Kind.UNAVAILABLE:
        return "see status.salesforce.com, or fix the network; it resumes automatically (SIGUSR1: immediately)"
    return hint(failure, target="org")
