"""The section `alarm`: what it means where nothing is said, and the mistakes that are named."""

import json
from pathlib import Path
from typing import Any

import pytest

from connectorlib.errors import ConfigurationError
from sfconnector.alarms.alarm import CLEARED, FLAPPED, REOPENED, REPEATED, STALE, AlarmRules
from sfconnector.config import load
from sfconnector.settings import Division, SfConfig

SMALLEST = {"key": "{device}"}
CASE = {"mapping": {"Subject": "x"}}


def configuration(folder: Path, **divisions: Any) -> SfConfig:
    file = folder / "config.json"
    salesforce = {"username": "u", "password": "p", "client_id": "c", "client_secret": "s"}
    whole = {name: {"salesforce": salesforce, "case": CASE} | each for name, each in divisions.items()}
    file.write_text(json.dumps({"tenant": {}, "divisions": whole}))
    file.chmod(0o600)
    return load(file, resolve_secrets=False)


def division(folder: Path, alarm: Any, **case: Any) -> Division:
    return configuration(folder, hvac={"case": CASE | {"alarm": alarm} | case}).divisions[0]


def test_the_key_alone_is_enough(tmp_path: Path) -> None:
    made = division(tmp_path, SMALLEST)
    alarm = made.case.alarm
    assert alarm is not None
    assert alarm.rules == AlarmRules(comments_on=frozenset({REOPENED, FLAPPED, STALE}))
    assert alarm.event == "$message_id"
    assert made.batch.wait_ms == 5000
    assert made.lanes.key == "{device}"
    assert made.source.one_reader is not None


def test_a_promise_of_one_writer_takes_any_queue(tmp_path: Path) -> None:
    assert division(tmp_path, SMALLEST | {"writers": "one"}).source.one_reader is None


def test_a_queue_that_a_division_with_alarms_shares_has_one_reader(tmp_path: Path) -> None:
    plain = {"match": {"site": "a"}, "source": {"queue": "q"}}
    alarm = plain | {"case": CASE | {"alarm": SMALLEST}}
    shared = configuration(tmp_path, plain=plain, alarm=alarm, other={"source": {"queue": "other"}})
    assert [each.source.one_reader is not None for each in shared.divisions] == [True, True, False]


def test_arguments_that_let_two_processes_read_the_queue_are_a_mistake(tmp_path: Path) -> None:
    several = {"source": {"queue": "q", "arguments": {"x-single-active-consumer": False}}}
    case = CASE | {"alarm": SMALLEST}
    with pytest.raises(ConfigurationError) as failed:
        configuration(tmp_path, hvac=several | {"case": case})
    (problem,) = failed.value.problems
    assert problem.path == "divisions.hvac.source.arguments.x-single-active-consumer"
    allowed = case | {"alarm": SMALLEST | {"writers": "one"}}
    assert configuration(tmp_path, hvac=several | {"case": allowed}).divisions[0].source.one_reader is None


@pytest.mark.parametrize(
    ("alarm", "source", "warned"),
    [
        (SMALLEST, {"queue": "q", "shards": 2}, True),
        (SMALLEST, {"queue": "q"}, False),
        ({"key": "$routing_key"}, {"queue": "q", "shards": 2}, False),
        (SMALLEST | {"writers": "one"}, {"queue": "q", "shards": 2}, False),
    ],
)
def test_shards_that_may_part_the_messages_of_an_alarm_are_warned_of(
    tmp_path: Path, alarm: Any, source: Any, warned: bool
) -> None:
    found = configuration(tmp_path, hvac={"source": source, "case": CASE | {"alarm": alarm}}).warnings
    shards = [text for text in found if "the shards are divided by the whole routing key" in text]
    assert ["divisions.hvac.case.alarm.key: " in text for text in shards] == [True] * warned


def test_a_condition_that_can_hardly_hold_is_warned_of(tmp_path: Path) -> None:
    alarm = SMALLEST | {"clear_when": {"t": "<80"}}
    found = configuration(tmp_path, hvac={"source": {"queue": "q"}, "case": CASE | {"alarm": alarm}}).warnings
    assert any("divisions.hvac.case.alarm.clear_when.t: '<80' is compared as text" in text for text in found)


def test_durations_and_texts(tmp_path: Path) -> None:
    made = division(
        tmp_path,
        SMALLEST
        | {
            "repeat": {"comment": "again", "comment_every": "30m", "comments": 3},
            "reopen": {"within": 0, "status": "Reopened"},
            "clear": {"after": 90, "close": "never", "comment": "over"},
            "flapping": {"quiet": "1h"},
            "stale": "7d",
        },
    )
    assert made.case.alarm is not None
    rules = made.case.alarm.rules
    assert (rules.comment_every, rules.comments, rules.reopen_within, rules.clear_after) == (1800.0, 3, 0.0, 90.0)
    assert (rules.flapping_changes, rules.flapping_within, rules.flapping_quiet) == (6, 600.0, 3600.0)
    assert rules.stale == 7 * 86_400.0
    assert rules.comments_on == {REPEATED, REOPENED, CLEARED, FLAPPED, STALE}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"late": "10 parsecs"}, "duration"),
        ({"silence": [{"match": {}, "from": "2026-12-24T00:00", "to": "2026-12-27T00:00Z"}]}, "time zone"),
        ({"silence": [{"match": {}, "from": "2026-12-28T00:00Z", "to": "2026-12-27T00:00Z"}]}, "not after from"),
        ({"severity": {"path": "s", "order": ["a"], "field": "Priority", "map": {"b": "High"}}}, "not in order"),
        ({"severity": {"path": "s", "order": ["a"], "map": {"a": "High"}}}, '"field" is missing'),
        ({"key": "{device"}, "key"),
        ({"clear": {"close": "sometimes"}}, "untouched"),
        ({"clear_when": {"state": None}}, "state"),
        ({"repeat": {"comment": "{oops"}}, "comment"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError) as failed:
        division(tmp_path, SMALLEST | change)
    assert any("alarm" in problem.path and text in str(problem) for problem in failed.value.problems)


@pytest.mark.parametrize("case", [{"external_id": {"field": "K__c", "value": "k"}}, {"rate": 60}])
def test_what_excludes_an_alarm(tmp_path: Path, case: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="exclude each other"):
        division(tmp_path, SMALLEST, **case)
