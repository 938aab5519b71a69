"""What is kept, what is concluded from it, and how it is told."""

import copy
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pika import BasicProperties
from prometheus_client.parser import text_string_to_metric_families

from connectorlib.broker import Broker
from connectorlib.errors import Failure, Kind
from connectorlib.messages import ALREADY, DONE, Again, Dead, Delivery
from connectorlib.monitoring import telling
from connectorlib.monitoring.asking import monitoring_of
from connectorlib.monitoring.conclusion import conclude
from connectorlib.monitoring.document import document
from connectorlib.monitoring.metrics import PREFIX, Metrics
from connectorlib.monitoring.monitor import Monitor, Side
from connectorlib.monitoring.page import page
from connectorlib.monitoring.tally import Histogram, LastHour
from connectorlib.monitoring.watch import MOST_CODES, Watch
from connectorlib.monitoring.words import ago, moment
from connectorlib.policy import Pause
from connectorlib.redaction import secrets
from connectorlib.settings import BrokerSettings, Monitoring
from dbconnector.turns import Turns

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
    turns: Turns = field(default_factory=lambda: Turns("readings", None, 5.0))

    def __post_init__(self) -> None:
        self.watch = Watch("readings", clock=self.clock)
        self.watch.attach(self.counts, self.source, self.turns)

    def died(self, code: str) -> None:
        self.watch.died(delivery(), Dead(Failure(Kind.REJECT, code, "no")))


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
    flow.counts.update(consumed=10, done=7, already=2, retries=4)
    flow.watch.tick()
    assert flow.watch.last_hour() == ({"in": 10, "done": 7, "already_there": 2, "retried": 4}, {})
    assert flow.watch.last_message == flow.watch.last_success == flow.clock.now
    first = flow.clock.now
    flow.clock.now += 3600
    flow.counts.update(consumed=1)
    flow.watch.tick()
    assert flow.watch.last_hour()[0]["in"] == 1
    assert (flow.watch.last_message, flow.watch.last_success) == (flow.clock.now, first)


def test_the_dead_are_told_by_code_the_most_frequent_first_and_codes_do_not_grow_without_end(flow):
    for code in ("22001", "no-key", "22001"):
        flow.died(code)
    assert list(flow.watch.last_hour()[1].items()) == [("22001", 2), ("no-key", 1)]
    for number in range(2 * MOST_CODES):
        flow.died(f"E{number}")
    dead, _ = flow.watch.copied()
    assert len(dead) == MOST_CODES + 1
    assert dead["reject", "other"] == 2 * MOST_CODES - (MOST_CODES - 2)


NOW = 1_795_000_000


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [(NOW - 90, 90), (NOW + 90, 0), ((NOW - 90) * 1000, 90), (None, None), (0, None)],
    ids=["seconds", "a clock ahead of ours", "milliseconds", "none", "zero"],
)
def test_the_latency_is_that_of_the_first_message_by_its_own_timestamp(flow, monkeypatch, timestamp, expected):
    monkeypatch.setattr("connectorlib.monitoring.watch.time", SimpleNamespace(time=lambda: float(NOW)))
    flow.watch.batch([delivery(timestamp), delivery(NOW)], [DONE, DONE], 0.1)
    buckets, total = flow.watch.distributions()["latencies"]
    assert (buckets[-1][1], total) == ((0, 0) if expected is None else (1, expected))


@pytest.mark.parametrize(("outcome", "counted"), [(DONE, 1), (ALREADY, 1), (Again(DOWN), 0)])
def test_a_batch_whose_first_message_was_not_written_has_no_latency(flow, outcome, counted):
    flow.watch.batch([delivery(1)], [outcome], 0.1)
    distributions = flow.watch.distributions()
    assert distributions["latencies"][0][-1][1] == counted
    assert distributions["sizes"][0][-1][1] == distributions["durations"][0][-1][1] == 1


def test_a_flow_runs_from_its_first_consumer_on_but_not_while_it_is_paused(flow):
    flow.source.active = False
    flow.watch.tick()
    assert not flow.watch.runs(connected=True)
    flow.source.active = True
    flow.watch.tick()
    flow.source.active = False
    assert flow.watch.runs(connected=True)  # it is opened anew in a moment
    assert not flow.watch.runs(connected=False)
    flow.turns.failed(DOWN)
    assert not flow.watch.runs(connected=True)
    flow.turns.succeeded()
    assert flow.watch.runs(connected=True)


def test_a_pause_is_counted_once_for_each_cause(flow):
    for failure in (DOWN, DOWN, Failure(Kind.REFUSED, "28P01", "no", "database")):
        flow.turns.failed(failure)
    assert flow.watch.copied()[1] == {"08001": 1, "28P01": 1}


# -- the conclusion

AT = "2026-11-24T03:07:00+01:00"


def status(**changes: Any) -> dict[str, Any]:
    """Return the status of a connector where all is well, but for what is said; `flow__held=3` goes deeper."""
    queue = {"name": "readings", "waiting": 0, "held": 0, "consumers": 1}
    flow = {
        "name": "readings",
        "state": "running",
        "pauses": [],
        "queue": queue,
        "last_message": "2026-11-24T01:12:30+01:00",
        "last_success": "2026-11-24T01:12:30+01:00",
        "last_progress": "2026-11-24T01:12:30+01:00",
        "last_hour": {"in": 0, "done": 0, "already_there": 0, "retried": 0, "dead": {}},
    }
    broker = {"to": "broker", "since": "2026-11-23T18:00:00+01:00", "about": "", "reconnects": 0, "api_calls": None}
    data: dict[str, Any] = {
        "connector": "dbconnector",
        "name": "readings",
        "version": "0.1.0",
        "file": "/etc/db.config",
        "time": AT,
        "up_since": "2026-11-23T18:00:00+01:00",
        "configured_at": "2026-11-23T18:00:00+01:00",
        "stuck": None,
        "alarm": False,
        "connections": [broker],
        "flows": [flow],
        "dead_letters": {"queue": "dead-letter", "messages": 3},
    }
    for path, value in changes.items():
        node: Any = data
        *way, last = path.split("__")
        for step in way:
            node = {"flow": flow, "broker": broker, "queue": queue}.get(step) or node[step]
        node[last] = value
    return copy.deepcopy(data)


PAUSE = {"name": "pumps", "since": "2026-11-24T03:02:11+01:00", "cause": "08001", "text": "refused", "do": "start it"}
PAUSED = "pumps is paused since 03:02, 08001: refused: start it"
CALLS = {"left": 900, "maximum": 10_000}

CONCLUSIONS: dict[str, tuple[dict[str, Any], int, str]] = {
    "quiet": ({}, 0, "nothing is wrong here: no message has come since 01:12"),
    "busy": (
        {"flow__last_message": "2026-11-24T03:06:57+01:00"},
        0,
        "nothing is wrong here: the last message came 3 s ago",
    ),
    "yesterday": (
        {"flow__last_message": "2026-11-23T19:00:00+01:00"},
        0,
        "nothing is wrong here: no message has come since 2026-11-23 19:00",
    ),
    "never": (
        {"flow__last_message": None},
        0,
        "nothing is wrong here: no message has come since the start at 2026-11-23 18:00",
    ),
    "a query": (
        {"queue__name": "", "flow__last_success": None},
        0,
        "no row has been sent since the start at 2026-11-23 18:00",
    ),
    "paused": ({"flow__pauses": [PAUSE]}, 1, PAUSED),
    "a long text is cut": (
        {"flow__pauses": [{**PAUSE, "text": "x" * 500}]},
        1,
        f"pumps is paused since 03:02, 08001: {'x' * 119}…: start it",
    ),
    "a hung call comes first": ({"flow__pauses": [PAUSE], "stuck": "database: a call"}, 1, "stuck: database: a call"),
    "a pause comes before the dead": ({"flow__pauses": [PAUSE], "flow__last_hour__dead": {"22001": 1}}, 1, PAUSED),
    "no broker": (
        {"broker__since": None, "broker__about": "refused", "flow__state": "starting"},
        1,
        "there is no connection to the broker: refused: start it",
    ),
    "starting": ({"flow__state": "starting"}, 1, "readings has not begun yet"),
    "an alarm": ({"alarm": True}, 1, "the broker takes no messages"),
    "held without result": (
        {"queue__held": 1},
        1,
        "readings holds 1 message and has come no further for 1 h 54 min: look at the last warnings",
    ),
    "held for a moment": (
        {"queue__held": 7, "flow__last_progress": "2026-11-24T03:02:01+01:00"},  # a second less than five minutes
        0,
        "nothing is wrong here",
    ),
    "the dead of the last hour": (
        {"flow__last_hour__dead": {"22001": 2, "no-key": 1}},
        0,
        "all is running, but 3 messages of readings died within the last hour, most of them by 22001",
    ),
    "few calls": ({"broker__api_calls": CALLS}, 0, "all is running, but only 900 of 10000 API calls are left (broker)"),
}


@pytest.mark.parametrize(("changes", "code", "text"), CONCLUSIONS.values(), ids=CONCLUSIONS)
def test_the_conclusion_is_the_first_thing_that_is_wrong_or_that_nothing_is(changes, code, text):
    conclusion = conclude(status(**changes))
    assert conclusion.code == code
    assert text in conclusion.text
    assert "\n" not in conclusion.text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (7800, "2 h 10 min"),
        (90000, "1 d 1 h"),
        (-3, "0 s"),
    ],
)
def test_a_length_of_time_is_said_by_its_two_largest_units(seconds, text):
    assert ago(seconds) == text


def test_a_moment_has_its_date_unless_it_is_today():
    now = datetime.fromisoformat(AT)
    assert [moment(at, now) for at in (AT, "2026-11-23T23:59:59+01:00")] == ["03:07", "2026-11-23 23:59"]


# -- how it is told


def test_the_text_has_every_pause_line_and_ends_with_the_conclusion():
    told = status(flow__pauses=[{**PAUSE, "line": "PAUSED flow=pumps …"}], flow__state="paused")
    lines = telling.told({**told, "conclusion": "the end"}).splitlines()
    assert lines[-1] == "the end"
    assert "PAUSED flow=pumps …" in lines
    assert "readings: paused (pumps)" in lines
    assert "  queue           readings: 0 waiting, 0 held, 1 consumer" in lines
    assert "  last message in 01:12:30 (1 h 54 min ago)" in lines


def test_a_long_name_moves_the_column_for_its_neighbours_too():
    told = telling.told({**status(broker__to="salesforce of field-service"), "conclusion": ""}).splitlines()
    assert told[0] == "dbconnector                 readings, version 0.1.0"
    assert told[3].startswith("salesforce of field-service connected since ")


def test_nothing_that_is_not_ours_is_markup_on_the_page():
    evil = "<script>alert(1)</script>&\"'"
    told = status(name=evil, version=evil, file=evil, broker__about=evil, queue__name=evil, flow__name=evil)
    told["flows"][0]["pauses"] = [{**PAUSE, "name": evil, "line": evil}]
    told["flows"][0]["last_hour"]["dead"] = {evil: 1}
    shown = page({**told, "exit": 1, "conclusion": evil, "dead_letters": {"queue": evil, "messages": None}})
    assert shown.count("&lt;script&gt;") >= 9
    assert "<script" not in shown


@pytest.fixture
def monitor(flow):
    broker = Broker(BrokerSettings(), name="test")  # never started
    monitor = Monitor("dbconnector", "readings", "db.config", broker, "dead-letter")
    monitor.watches.append(flow.watch)
    usage = SimpleNamespace(used=15_100, maximum=15_000)
    monitor.sides.append(Side("salesforce of pumps", lambda: 1.0, lambda: 3, str, lambda: usage))
    flow.watch.cases = lambda: 12
    yield monitor
    broker.stop()


def test_the_status_holds_no_secret_and_is_json(monitor, flow):
    secrets.add("a-very-secret-word")
    flow.turns.failed(Failure(Kind.REFUSED, "28P01", "no a-very-secret-word", "database"))
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
    flow.turns.failed(DOWN)
    flow.watch.batch([delivery(1)], [DONE], 0.1)
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
    for family in families(monitor):
        assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name), family.name
        assert family.documentation
        assert not re.search(r"_(counter|gauge|histogram|total|milliseconds|minutes|hours|ms|kb|mb)$", family.name)
        totals = [sample.name.endswith("_total") for sample in family.samples]
        assert all(totals) if family.type == "counter" else not any(totals)


# -- where the command asks


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("{}", Monitoring("127.0.0.1", 9400)),
        ('{"host": "::1", "port": 9401}', Monitoring("::1", 9401)),
        ('{"port": "${MONITORING_PORT}"}', Monitoring("127.0.0.1", 9402)),
    ],
)
def test_the_command_reads_only_where_to_ask(tmp_path, monkeypatch, section, expected):
    monkeypatch.setenv("MONITORING_PORT", "9402")
    file = tmp_path / "db.config"
    file.write_text(f'{{"broker": {{"password": "${{file:/not/there}}"}}, "monitoring": {section}}}')
    assert monitoring_of(str(file)) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"broker": {}}', 'there is no section "monitoring"'),
        ('{"monitoring": {"port": 0}}', "the log says which"),
        ('{"monitoring": {"port": 70000}}', "no port"),
        ('{"monitoring": {"port": "${NOT_SET_HERE}"}}', "NOT_SET_HERE is not set"),
        ('{"monitoring": {"port": true}}', "a port as number"),
        ('{"monitoring": []}', "expected an object"),
        ('{"monitoring": {', "never closed"),
        ("[]", "no configuration"),
    ],
)
def test_without_a_port_to_be_asked_it_says_what_is_missing(tmp_path, text, complaint):
    file = tmp_path / "db.config"
    file.write_text(text)
    with pytest.raises(ValueError, match=re.escape(complaint)):
        monitoring_of(str(file))


def test_a_pause_of_a_query_says_when_it_is_tried_again():
    turns = Turns("readings", None, 60.0)
    turns.failed(DOWN)
    assert isinstance(turns.pause, Pause)
    line = turns.line(turns.pause, "unknown")
    assert (line["cause"], line["text"]) == ("08001", "database: connection refused")
    assert line["next_try"] in ("59s", "60s")
    assert "start the database" in turns.advice(turns.pause)
