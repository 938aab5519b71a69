"""The metrics, built on request from figures that are kept anyway. The only module that imports prometheus_client,
whose own counters are not used: each `inc` takes a lock, and a message would need several."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from connectorlib.monitoring.counters import SinkMetric
from connectorlib.monitoring.flow_stats import FlowStats
from connectorlib.monitoring.monitor import Monitor

PREFIX = "amqp_connector_"

#: The pump's counts: name, help text, key.
_COUNTS = (
    ("messages_consumed", "Messages received from the queue, including redeliveries.", "consumed"),
    ("messages_written", "Messages that were written: committed by the database, or a Case in Salesforce.", "done"),
    ("messages_already_there", "Messages that an earlier delivery had already written.", "already"),
    ("messages_retried", "Messages retried after a temporary failure.", "retries"),
)
#: The pump's counts of what was acknowledged without anything being written.
_LEFT_OUT = ("accept_when", "ignore_when", "empty")
_HISTOGRAMS = (
    ("batch_messages", "Messages in a batch.", "sizes"),
    ("batch_duration_seconds", "Duration of a batch in the target.", "durations"),
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
        """Given the client's Accept header, return the content type and the text."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)


class _Collector(Collector):
    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the metrics depend on the sink, and no other collector has their names."""
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
        yield from _of_flows(monitor.flows)
        yield from _of_sinks("flow", {flow.name: flow.metrics for flow in monitor.flows})
        yield from _of_connections(monitor)
        yield from _of_sinks("to", {each.name: each.metrics for each in monitor.connections})


def _of_flows(flows: Sequence[FlowStats]) -> Iterator[Metric]:
    for name, about, key in _COUNTS:
        yield _counter(name, about, {(flow.name,): flow.count(key) for flow in flows}, "flow")
    left_out = {(flow.name, reason): flow.count(reason) for flow in flows for reason in _LEFT_OUT}
    about = "Messages acknowledged and not written: ignored by a condition, or empty."
    yield _counter("messages_ignored", about, left_out, "flow", "reason")
    copies = {flow.name: flow.copied() for flow in flows}
    dead = {(name, *which): count for name, (died, _) in copies.items() for which, count in died.items()}
    yield _counter("messages_dead_lettered", "Messages dead-lettered.", dead, "flow", "reason", "code")
    pauses = {(name, cause): count for name, (_, causes) in copies.items() for cause, count in causes.items()}
    yield _counter("pauses", "Pauses, by what caused them.", pauses, "flow", "cause")
    paused = {(flow.name,): float(bool(flow.paused())) for flow in flows}
    yield _gauge("paused", "1 while the flow, or a division of it, is paused.", paused, "flow")
    held = {(flow.name,): float(flow.held) for flow in flows}
    yield _gauge("messages_in_flight", "Messages delivered to this process and not settled yet.", held, "flow")
    behind = {(flow.name,): float(sum(sum(lane.behind.values()) for lane in flow.lanes())) for flow in flows}
    yield _gauge("messages_behind_key", "Messages that wait for an earlier message with the same key.", behind, "flow")
    alike = {(flow.name,): float(max((pause.failure.same for _, pause in flow.paused()), default=0)) for flow in flows}
    yield _gauge(
        "messages_refused_alike",
        "Messages refused for the same reason, during a flood pause; otherwise 0.",
        alike,
        "flow",
    )
    now = time.monotonic()
    ages = {(flow.name,): now - (flow.last_success or flow.started) for flow in flows}
    yield _gauge(
        "since_last_success_seconds", "Time since the last message was written, or since the start.", ages, "flow"
    )
    distributions = {flow.name: flow.distributions() for flow in flows}
    for name, about, which in _HISTOGRAMS:
        family = HistogramMetricFamily(PREFIX + name, about, labels=["flow"])
        for flow_name, each in distributions.items():
            buckets, total = each[which]
            family.add_metric([flow_name], buckets, total)
        yield family


def _of_connections(monitor: Monitor) -> Iterator[Metric]:
    up = {(each.name,): float(each.since() is not None) for each in monitor.connections}
    yield _gauge("connected", "1 while there is a connection.", up, "to")
    again = {(each.name,): max(0, each.opened() - 1) for each in monitor.connections}
    yield _counter("reconnects", "Reconnections.", again, "to")
    alarm = {(): float(monitor.broker.blocked)}
    yield _gauge("broker_alarm", "1 while the broker blocks publishers: it is short of memory or disk.", alarm)


def _of_sinks(label: str, metrics: Mapping[str, Sequence[SinkMetric]]) -> Iterator[Metric]:
    """Given the metrics of each flow or connection, return one family for each name."""
    families: dict[tuple[str, str, str], dict[tuple[str], float]] = {}
    for owner, each in metrics.items():
        for metric in each:
            if (value := metric.value()) is not None:
                families.setdefault((metric.name, metric.about, metric.kind), {})[owner,] = value
    for (name, about, kind), values in families.items():
        yield (_counter if kind == "counter" else _gauge)(name, about, values, label)


Values = Mapping[Any, float]  # by the values of all labels


def _counter(name: str, about: str, values: Values, *labels: str) -> Metric:
    return _filled(CounterMetricFamily(PREFIX + name, about, labels=labels), values)


def _gauge(name: str, about: str, values: Values, *labels: str) -> Metric:
    return _filled(GaugeMetricFamily(PREFIX + name, about, labels=labels), values)


def _filled(family: Family, values: Values) -> Family:
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
