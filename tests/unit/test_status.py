"""What is concluded from the status, how it is told, and where the command asks for it."""

import copy
import json
import re
from datetime import datetime
from typing import Any

import pytest

from connectorlib.monitoring import status_text
from connectorlib.monitoring.humanize import ago, moment
from connectorlib.monitoring.other_connectors import OtherConnector
from connectorlib.monitoring.status_command import monitoring_of
from connectorlib.monitoring.status_page import page
from connectorlib.monitoring.verdict import conclude
from connectorlib.shared_settings import Monitoring
from connectorlib.values.text import printable

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
        "last_hour": {"in": 0, "done": 0, "already_there": 0, "ignored": 0, "empty": 0, "retried": 0, "dead": {}},
        "lanes": [],
        "details": [],
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
    "quiet": ({}, 0, "OK: no message has come since 01:12"),
    "busy": (
        {"flow__last_message": "2026-11-24T03:06:57+01:00"},
        0,
        "OK: the last message came 3 s ago",
    ),
    "yesterday": (
        {"flow__last_message": "2026-11-23T19:00:00+01:00"},
        0,
        "OK: no message has come since 2026-11-23 19:00",
    ),
    "never": (
        {"flow__last_message": None},
        0,
        "OK: no message has come since the start at 2026-11-23 18:00",
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
    "starting": ({"flow__state": "starting"}, 1, "readings has not started yet"),
    "an alarm": ({"alarm": True}, 1, "the broker blocks publishers"),
    "held without result": (
        {"queue__held": 1},
        1,
        "readings holds 1 message and has made no progress for 1 h 54 min: see the last warnings",
    ),
    "held for a moment": (
        {"queue__held": 7, "flow__last_progress": "2026-11-24T03:02:01+01:00"},  # a second less than five minutes
        0,
        "OK",
    ),
    "the dead of the last hour": (
        {"flow__last_hour__dead": {"22001": 2, "no-key": 1}},
        0,
        "running, but 3 messages of readings died within the last hour, most of them with code 22001: "
        "look with `deadletter-queue group -c /etc/db.config`",
    ),
    "the dead who were sent back": (
        {"flow__last_hour__dead": {"22001": 1}, "dead_letters__messages": 0},
        0,
        "running, but 1 message of readings died within the last hour, most of them with code 22001; "
        "dead-letter is empty by now",
    ),
    "few calls": ({"broker__api_calls": CALLS}, 0, "running, but only 900 of 10000 API calls are left (broker)"),
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


@pytest.mark.parametrize("evil", ["\x9b2J", "\u202e", "\u2028", "\x85", "\ufeff", "\ud83d", "\x1b[2J", "\U000e0001"])
def test_what_strangers_sent_steers_no_terminal(evil):
    told = status(name=evil, file=evil, flow__name=evil, flow__pauses=[{**PAUSE, "line": evil}])
    shown = status_text.as_text({**told, "conclusion": evil})
    assert evil not in shown
    assert evil not in printable(json.dumps({"text": evil}, ensure_ascii=False), lines=True)
    assert json.loads(printable(json.dumps({"text": evil}, ensure_ascii=False), lines=True)) == {"text": evil}


def test_a_moment_has_its_date_unless_it_is_today():
    now = datetime.fromisoformat(AT)
    assert [moment(at, now) for at in (AT, "2026-11-23T23:59:59+01:00")] == ["03:07", "2026-11-23 23:59"]


# -- how it is told


def test_the_text_has_every_pause_line_and_ends_with_the_conclusion():
    told = status(flow__pauses=[{**PAUSE, "line": "PAUSED flow=pumps …"}], flow__state="paused")
    lines = status_text.as_text({**told, "conclusion": "the end"}).splitlines()
    assert lines[-1] == "the end"
    assert "PAUSED flow=pumps …" in lines
    assert "readings: paused (pumps)" in lines
    assert "  queue           readings: 0 waiting, 0 held, 1 consumer" in lines
    assert "  last message in 01:12:30 (1 h 54 min ago)" in lines


def test_a_long_name_moves_the_column_for_its_neighbours_too():
    told = status_text.as_text({**status(broker__to="salesforce of field-service"), "conclusion": ""}).splitlines()
    assert told[0] == "dbconnector                 readings, version 0.1.0"
    assert told[3].startswith("salesforce of field-service connected since ")


def test_nothing_that_is_not_ours_is_markup_on_the_page():
    evil = "<script>alert(1)</script>&\"'"
    told = status(name=evil, version=evil, file=evil, broker__about=evil, queue__name=evil, flow__name=evil)
    told["flows"][0]["pauses"] = [{**PAUSE, "name": evil, "text": evil, "do": evil, "next_try": evil}]
    told["flows"][0]["last_hour"]["dead"] = {evil: 1}
    shown = page(
        {**told, "exit": 1, "conclusion": evil, "dead_letters": {"queue": evil, "messages": None}},
        form_token="t",
        dead_letter_page=f"http://x/{evil}",
        others=[OtherConnector("plant-7:9400", evil, evil, good=False)],
    )
    assert shown.count("&lt;script&gt;") >= 12
    assert "<script" not in shown


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
    file.rename(tmp_path / "shared.json")
    file.write_text('{"include": "shared.json"}')
    assert monitoring_of(str(file)) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"broker": {}}', 'there is no section "monitoring"'),
        ('{"monitoring": {"port": 0}}', "which only the log shows"),
        ('{"monitoring": {"port": 70000}}', "no port"),
        ('{"monitoring": {"port": "${NOT_SET_HERE}"}}', "NOT_SET_HERE is not set"),
        ('{"monitoring": {"port": true}}', "a port as number"),
        ('{"monitoring": []}', "expected an object"),
        ('{"monitoring": {', "never closed"),
        ("[]", "expected an object"),
        ('{"include": "nowhere.json"}', "line 1: include: nowhere.json cannot be read"),
    ],
)
def test_without_a_port_to_be_asked_it_says_what_is_missing(tmp_path, text, complaint):
    file = tmp_path / "db.config"
    file.write_text(text)
    with pytest.raises(ValueError, match=re.escape(complaint)):
        monitoring_of(str(file))


# -- lanes

LANE = {"number": 1, "target": "readings", "state": "idle", "working": 0, "waiting": 0, "suspects": 0, "behind": []}
LANES = [
    LANE,
    {**LANE, "number": 2, "state": "working", "working": 50, "waiting": 212},
    {**LANE, "number": 3, "target": "pumps", "state": "paused", "waiting": 9, "suspects": 1},
    {**LANE, "number": 4, "suspects": 1, "waiting": 20, "behind": [{"key": "p-7", "waiting": 12}]},
]


def shown(told):
    return "\n".join(f"{name} {text}" for name, text in status_text.details(told["flows"][0], told))


def test_each_of_several_lanes_says_what_it_does():
    told = shown(status(flow__lanes=LANES))
    assert re.findall(r"lane \d +(.+)", told) == [
        "idle",
        "working, 50 working, 212 waiting",
        "pumps: paused, 9 waiting, 1 suspects",
        "idle, 20 waiting, 1 suspects, 12 behind key p-7",
    ]


SHARDS = {
    "process": "plant-1234-ab12",
    "by_priority": True,
    "of": [
        {"queue": "readings.0", "priority": 7, "held": 12, "last_message": "2026-11-24T03:06:58+01:00"},
        {"queue": "readings.1", "priority": 9, "held": 0, "last_message": None},
    ],
}


@pytest.mark.parametrize(
    ("by_priority", "process"),
    [
        (True, "plant-1234-ab12"),
        (False, "plant-1234-ab12; before RabbitMQ 4.0 a shard belongs to the process that started first"),
    ],
)
def test_each_shard_says_what_came_from_it_here(by_priority, process):
    told = shown(status(flow__shards=SHARDS | {"by_priority": by_priority}))
    assert f"process {process}\n" in told
    assert re.findall(r"shard readings\.\d (.+)", told) == [
        "12 held, last message in 03:06:58 (2 s ago)",
        "nothing received yet",
    ]


def test_a_sink_brings_lines_of_its_own_with_counts_and_names():
    lines = [
        {"name": "open things", "counts": {"active": 3, "on_hold": 1, "lost": 0}, "names": []},
        {"name": "odd things", "counts": {"odd": 2}, "names": ["p-7", "p-9"]},
        {"name": "other things", "counts": {"lost": 0}, "names": []},
    ]
    told = shown(status(flow__details=lines))
    assert re.findall(r"(\w+) things (.+)", told) == [
        ("open", "3 active, 1 on hold"),
        ("odd", "2 odd: p-7, p-9"),
        ("other", "none"),
    ]


def test_a_lane_alone_says_nothing():
    assert "lane 1" not in shown(status(flow__lanes=[LANE]))
