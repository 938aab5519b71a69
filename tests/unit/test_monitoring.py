"""What is kept of a flow, and what of it goes into the status and the metrics."""

import json
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pika import BasicProperties
from prometheus_client.parser import text_string_to_metric_families

from connectorlib.amqp import Broker
from connectorlib.errors import Failure, Kind
from connectorlib.messages import ALREADY, DONE, Again, Dead, Delivery
from connectorlib.monitoring.counters import Histogram, LastHour, SinkMetric
from connectorlib.monitoring.flow_stats import MOST_CODES, FlowStats, LaneFacts, ShardFacts
from connectorlib.monitoring.metrics import PREFIX, Metrics
from connectorlib.monitoring.monitor import ConnectionFacts, Monitor
from connectorlib.monitoring.status import document
from connectorlib.pipeline.pause import PauseNotice, PauseWait
from connectorlib.service.redaction import secrets
from connectorlib.shared_settings import BrokerSettings
from dbconnector.follow_stats import FollowStats
from dbconnector.poll import Poll
from dbconnector.schedule import IntervalSchedule
from sfconnector.alarms.alarm_counts import AlarmCounts, alarm_metrics
from sfconnector.flow import connection_of, usage_metrics
from sfconnector.salesforce.login import Token
from sfconnector.salesforce.usage import Usage

OPERATING = (Path(__file__).resolve().parents[2] / "docs/operating.md").read_text()
DOWN = Failure(Kind.UNAVAILABLE, "08001", "connection refused", "database")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Source:
    queue: str = "readings"
    held: int = 0
    active: bool = True


@dataclass
class Pumped:
    """A flow as the worker tells it."""

    clock: Clock = field(default_factory=Clock)
    counts: Counter[str] = field(default_factory=Counter)
    source: Source = field(default_factory=Source)

    def __post_init__(self) -> None:
        self.stats = FlowStats("readings", clock=self.clock)
        broker: Any = SimpleNamespace(connected=True, next_try=None, alarm="")
        notice = PauseNotice("readings", Poll(None, IntervalSchedule(5.0), marks=True), broker, label="select")
        self.stats.attach(self.counts, self.source, notice)
        self.wait = PauseWait(notice, threading.Event(), threading.Event())

    def died(self, code: str) -> None:
        self.stats.died(delivery(), Dead(Failure(Kind.REJECT, code, "no")))


@pytest.fixture
def flow():
    return Pumped()


def delivery(timestamp: int | None = None) -> Delivery:
    return Delivery(1, 1, "readings", "", "", False, BasicProperties(timestamp=timestamp), b"", 0.0)


# -- figures


def test_a_histogram_counts_what_is_not_above_each_bound():
    histogram = Histogram((1, 2.5, 10))
    for value in (0, 1, 1.1, 2.5, 10, 11):
        histogram.add(value)
    assert histogram.buckets() == [("1", 2.0), ("2.5", 4.0), ("10", 5.0), ("+Inf", 6.0)]
    assert histogram.total == 25.6


def test_the_last_hour_forgets_minute_by_minute():
    hour = LastHour()
    for minute in range(120):
        hour.add("in", minute, 60.0 * minute)
    assert hour.totals(60.0 * 119)["in"] == sum(range(60, 120))
    assert hour.totals(60.0 * 178)["in"] == 119
    assert hour.totals(60.0 * 179) == Counter()


def test_what_the_pump_counts_is_taken_over_when_it_has_happened(flow):
    flow.counts.update(consumed=10, done=7, already=2, accept_when=5, ignore_when=1, empty=3, retries=4)
    flow.stats.tick()
    hour = {"in": 10, "done": 7, "already_there": 2, "ignored": 6, "empty": 3, "retried": 4}
    assert flow.stats.last_hour() == (hour, {})
    assert flow.stats.last_message == flow.stats.last_success == flow.clock.now
    first = flow.clock.now
    flow.clock.now += 3600
    flow.counts.update(consumed=1)
    flow.stats.tick()
    assert flow.stats.last_hour()[0]["in"] == 1
    assert (flow.stats.last_message, flow.stats.last_success) == (flow.clock.now, first)


def test_the_dead_are_told_by_code_the_most_frequent_first_and_codes_do_not_grow_without_end(flow):
    for code in ("22001", "no-key", "22001"):
        flow.died(code)
    assert list(flow.stats.last_hour()[1].items()) == [("22001", 2), ("no-key", 1)]
    for number in range(2 * MOST_CODES):
        flow.died(f"E{number}")
    dead, _ = flow.stats.copied()
    assert len(dead) == MOST_CODES + 1
    assert dead["reject", "other"] == 2 * MOST_CODES - (MOST_CODES - 2)


NOW = 1_795_000_000


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [(NOW - 90, 90), (NOW + 90, 0), ((NOW - 90) * 1000, 90), (None, None), (0, None)],
    ids=["seconds", "a clock ahead of ours", "milliseconds", "none", "zero"],
)
def test_the_latency_is_that_of_the_first_message_by_its_own_timestamp(flow, monkeypatch, timestamp, expected):
    monkeypatch.setattr("connectorlib.monitoring.flow_stats.time", SimpleNamespace(time=lambda: float(NOW)))
    flow.stats.batch([delivery(timestamp), delivery(NOW)], [DONE, DONE], 0.1)
    buckets, total = flow.stats.distributions()["latencies"]
    assert (buckets[-1][1], total) == ((0, 0) if expected is None else (1, expected))


@pytest.mark.parametrize(("outcome", "counted"), [(DONE, 1), (ALREADY, 1), (Again(DOWN), 0)])
def test_a_batch_whose_first_message_was_not_written_has_no_latency(flow, outcome, counted):
    flow.stats.batch([delivery(1)], [outcome], 0.1)
    distributions = flow.stats.distributions()
    assert distributions["latencies"][0][-1][1] == counted
    assert distributions["sizes"][0][-1][1] == distributions["durations"][0][-1][1] == 1


def test_a_flow_runs_from_its_first_consumer_on_but_not_while_it_is_paused(flow):
    flow.source.active = False
    flow.stats.tick()
    assert not flow.stats.runs(connected=True)
    flow.source.active = True
    flow.stats.tick()
    flow.source.active = False
    assert flow.stats.runs(connected=True)  # it is opened anew in a moment
    assert not flow.stats.runs(connected=False)
    flow.wait.note(DOWN)
    assert not flow.stats.runs(connected=True)
    flow.wait.over()
    assert flow.stats.runs(connected=True)


def test_a_pause_is_counted_once_for_each_cause(flow):
    for failure in (DOWN, DOWN, Failure(Kind.REFUSED, "28P01", "no", "database")):
        flow.wait.note(failure)
    assert flow.stats.copied()[1] == {"08001": 1, "28P01": 1}


# -- the lanes of a division


def test_the_lanes_of_a_division_are_one_connection_that_knows_what_the_latest_of_them_heard():
    def client(taken, since, usage, stuck=None):
        token = Token("t", "https://acme.example") if taken else None
        told = {"tokens": tokens, "token": token, "token_since": since, "tokens_taken": taken, "usage": usage}
        return SimpleNamespace(**told, stuck=lambda: stuck)

    tokens = SimpleNamespace(has_token=True)
    old, new = Usage(10, 100, at=1.0), Usage(20, 100, at=2.0)
    lanes = [client(0, None, None), client(2, 5.0, new), client(1, 1.0, old, "a call has been running for 300 s")]
    facts = connection_of("pumps", lanes)
    assert (facts.name, facts.since(), facts.opened(), facts.usage()) == ("salesforce of pumps", 5.0, 2, new)
    assert (facts.about(), facts.stuck()) == ("https://acme.example", "a call has been running for 300 s")
    assert [metric.value() for metric in facts.metrics] == [80, 100]
    tokens.has_token = False
    assert facts.since() is None
    nobody = connection_of("pumps", lanes[:1])
    assert (nobody.since(), nobody.opened(), nobody.usage(), nobody.about()) == (None, 0, None, "")


# -- the whole


def monitor_of(flow: Pumped, used: int) -> Monitor:
    """Return the monitor of a process that has everything to show."""
    broker = Broker(BrokerSettings(), name="test")  # never started
    monitor = Monitor("dbconnector", "readings", "db.config", broker, "dead-letter")
    monitor.flows.append(flow.stats)
    usage = Usage(used, 15_000, at=0.0)
    metrics = usage_metrics(lambda: usage)
    facts = ConnectionFacts("salesforce of pumps", lambda: 1.0, lambda: 3, str, lambda: usage, metrics=metrics)
    monitor.connections.append(facts)
    cases = SinkMetric("cases_created", "Cases made in Salesforce.", "counter", lambda: 12)
    alarms = AlarmCounts()
    alarms.recount(dict)
    flow.stats.metrics = [cases, *FollowStats(5.0).metrics(), *alarm_metrics([alarms])]
    return monitor


@pytest.fixture
def monitor(flow):
    monitor = monitor_of(flow, used=15_100)
    yield monitor
    monitor.broker.stop()
    secrets.clear()


def test_the_status_holds_no_secret_and_is_json(monitor, flow):
    secrets.add("a-very-secret-word")
    flow.wait.note(Failure(Kind.REFUSED, "28P01", "no a-very-secret-word", "database"))
    found = document(monitor)
    assert "a-very-secret-word" not in json.dumps(found)
    (pause,) = found["flows"][0]["pauses"]
    assert pause["text"] == "database: no [secret]"
    assert pause["line"].startswith("PAUSED select=readings since=")
    assert found["connections"][1]["api_calls"] == {"left": 0, "maximum": 15_000}
    assert (found["exit"], found["flows"][0]["queue"]["waiting"]) == (1, None)  # nobody is there to be asked


def test_a_process_with_a_hung_call_is_neither_alive_nor_ready(monitor):
    assert monitor.stuck() is None
    monitor.checks = {"broker": lambda: None, "database": lambda: "a call has been running for 90 s"}
    assert monitor.stuck() == "database: a call has been running for 90 s"
    assert monitor.unready() == ["stuck: database: a call has been running for 90 s"]


# -- metrics


def families(monitor):
    content_type, text = Metrics(monitor).write("")
    assert content_type.startswith("text/plain; version=0.0.4")
    return list(text_string_to_metric_families(text.decode()))


def test_the_metrics_are_those_of_the_documentation_with_the_same_types_and_labels(monitor, flow):
    flow.died("22001")
    flow.wait.note(DOWN)
    flow.stats.batch([delivery(1)], [DONE], 0.1)
    documented = {
        name.removesuffix("_total"): (kind, {each.strip() for each in labels.split(",")} - {""})
        for name, kind, labels in re.findall(
            r"^\| `(\w+)` \| (counter|gauge|histogram) \|([^|]*)\|", OPERATING, re.MULTILINE
        )
    }
    found = {
        family.name.removeprefix(PREFIX): (
            family.type,
            {label for sample in family.samples for label in sample.labels} - {"le"},
        )
        for family in families(monitor)
        if family.name.startswith(PREFIX)
    }
    assert found == documented


def test_names_and_texts_are_by_the_conventions_of_prometheus(monitor):
    """What `promtool check metrics` looks at; it is run by hand (CONTRIBUTING.md)."""
    found = [*families(monitor)]
    assert len(found) > 10
    for family in found:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name), family.name
        assert family.documentation
        assert not re.search(r"_(counter|gauge|histogram|total|milliseconds|minutes|hours|ms|kb|mb)$", family.name)
        totals = [sample.name.endswith("_total") for sample in family.samples]
        assert all(totals) if family.type == "counter" else not any(totals)


# -- lanes, and a flood


def test_what_lanes_are_doing_is_in_the_status_and_summed_in_the_metrics(monitor, flow):
    lanes = [
        LaneFacts("readings", 5, 7, 1, paused=False, behind={"p-1": 2, "p-7": 9}),
        LaneFacts("readings", 0, 3, 0, paused=True, behind={"p": 4}),
    ]
    flow.stats.lanes = lambda: lanes
    first, second = document(monitor)["flows"][0]["lanes"]
    assert first["behind"] == [{"key": "p-7", "waiting": 9}, {"key": "p-1", "waiting": 2}]
    assert (first["state"], first["working"], first["waiting"], first["suspects"]) == ("working", 5, 7, 1)
    assert second["state"] == "paused"
    assert 'amqp_connector_messages_behind_key{flow="readings"} 15.0' in Metrics(monitor).write("")[1].decode()


def test_the_shards_of_a_source_are_in_the_status_and_their_messages_together(monitor, flow):
    flow.stats.shards = lambda: [ShardFacts("q.0", 7, 12, None), ShardFacts("q.1", 9, 0, time.monotonic())]
    (found,) = document(monitor)["flows"]
    first, second = found["shards"]["of"]
    assert first == {"queue": "q.0", "priority": 7, "held": 12, "last_message": None}
    assert second["last_message"] is not None
    assert flow.stats.queues == ["q.0", "q.1"]


def test_a_pause_for_a_flood_says_how_many_were_alike(monitor, flow):
    flow.wait.note(Failure(Kind.FLOOD, "23502", "null", "write[0]", same=104))
    (pause,) = document(monitor)["flows"][0]["pauses"]
    assert pause["same"] == 104
    assert 'amqp_connector_messages_refused_alike{flow="readings"} 104.0' in Metrics(monitor).write("")[1].decode()
