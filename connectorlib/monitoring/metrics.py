"""The metrics, made when they are asked for from what is known anyway. The only module that imports prometheus_client,
whose own counters are not used: each `inc` takes a lock, and a message would need several."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from connectorlib.monitoring.flow_stats import Watch
from connectorlib.monitoring.monitor import Monitor

PREFIX = "amqp_connector_"

#: The pump's counts: the name, what it says, the key.
_COUNTS = (
    ("messages_consumed", "Messages taken from the queue, those that came again included.", "consumed"),
    ("messages_written", "Messages that were written: committed by the database, or a Case in Salesforce.", "done"),
    ("messages_already_there", "Messages that an earlier delivery of them had written already.", "already"),
    ("messages_retried", "Messages that were tried again after a failure that may pass.", "retries"),
)
_HISTOGRAMS = (
    ("batch_messages", "Messages in a batch.", "sizes"),
    ("batch_duration_seconds", "How long a batch took on the far side.", "durations"),
    (
        "message_latency_seconds",
        "From a message's timestamp, if it has one, until it was written; of the first message of each batch.",
        "latencies",
    ),
)

Family = TypeVar("Family", CounterMetricFamily, GaugeMetricFamily)


class Metrics:
    """Writes the metrics of one process."""

    def __init__(self, monitor: Monitor) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Collector(monitor))
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def write(self, accept: str) -> tuple[str, bytes]:
        """Given what the client accepts, return the content type and the text."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)


class _Collector(Collector):
    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def describe(self) -> Iterable[Metric]:
        """Return nothing: what there is depends on the connector, and names are not taken twice here."""
        return ()

    def collect(self) -> Iterator[Metric]:
        monitor = self._monitor
        monitor.tick()
        yield _gauge(
            "build_info",
            "Which connector this is; always 1.",
            {(monitor.connector, monitor.name, monitor.version): 1.0},
            "connector",
            "name",
            "version",
        )
        ages = {(): time.time() - (time.monotonic() - monitor.configured)}
        yield _gauge("configuration_loaded_timestamp_seconds", "When the configuration was loaded (Unix time).", ages)
        yield from _of_flows(monitor.watches)
        yield from _of_cases(monitor.watches)
        yield from _of_sides(monitor)


def _of_flows(watches: Iterable[Watch]) -> Iterator[Metric]:
    watches = list(watches)
    for name, about, key in _COUNTS:
        yield _counter(name, about, {(watch.name,): watch.count(key) for watch in watches}, "flow")
    copies = {watch.name: watch.copied() for watch in watches}
    dead = {(name, *which): count for name, (died, _) in copies.items() for which, count in died.items()}
    yield _counter("messages_dead_lettered", "Messages sent to the dead letters.", dead, "flow", "reason", "code")
    pauses = {(name, cause): count for name, (_, causes) in copies.items() for cause, count in causes.items()}
    yield _counter("pauses", "Pauses, by what caused them.", pauses, "flow", "cause")
    paused = {(watch.name,): float(bool(watch.paused())) for watch in watches}
    yield _gauge("paused", "1 while the flow, or a division of it, is paused.", paused, "flow")
    held = {(watch.name,): float(watch.held) for watch in watches}
    yield _gauge("messages_in_flight", "Messages delivered to this process and not settled yet.", held, "flow")
    now = time.monotonic()
    ages = {(watch.name,): now - (watch.last_success or watch.started) for watch in watches}
    yield _gauge("since_last_success_seconds", "Since the last message was written, or the start.", ages, "flow")
    distributions = {watch.name: watch.distributions() for watch in watches}
    for name, about, which in _HISTOGRAMS:
        family = HistogramMetricFamily(PREFIX + name, about, labels=["flow"])
        for flow, each in distributions.items():
            buckets, total = each[which]
            family.add_metric([flow], buckets, total)
        yield family


def _of_cases(watches: Iterable[Watch]) -> Iterator[Metric]:
    created = {(watch.name,): count for watch in watches if (count := watch.cases()) is not None}
    if created:
        yield _counter("cases_created", "Cases made in Salesforce; a message may be several.", created, "flow")


def _of_sides(monitor: Monitor) -> Iterator[Metric]:
    up = {(side.name,): float(side.since() is not None) for side in monitor.sides}
    yield _gauge("connected", "1 while there is a connection.", up, "to")
    again = {(side.name,): max(0, side.opened() - 1) for side in monitor.sides}
    yield _counter("reconnects", "Connections made again.", again, "to")
    alarm = {(): float(monitor.broker.blocked)}
    yield _gauge("broker_alarm", "1 while the broker takes no messages: short of memory or disk.", alarm)
    usages = {side.name: usage for side in monitor.sides if (usage := side.usage()) and usage.maximum > 0}
    if usages:
        left = {(name,): float(max(0, usage.maximum - usage.used)) for name, usage in usages.items()}
        yield _gauge("salesforce_api_calls_left", "API calls that the org has left, over 24 hours.", left, "to")
        most = {(name,): float(usage.maximum) for name, usage in usages.items()}
        yield _gauge("salesforce_api_calls_allowed", "API calls that the org has, over 24 hours.", most, "to")


Values = Mapping[Any, float]  # by label values, as many as there are labels


def _counter(name: str, about: str, values: Values, *labels: str) -> Metric:
    return _filled(CounterMetricFamily(PREFIX + name, about, labels=labels), values)


def _gauge(name: str, about: str, values: Values, *labels: str) -> Metric:
    return _filled(GaugeMetricFamily(PREFIX + name, about, labels=labels), values)


def _filled(family: Family, values: Values) -> Family:
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
