"""Tests of a configuration: how the file is read, and what is told of a message that became something else."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectorlib.errors import ConfigurationError, Failure, Kind
from connectorlib.formats.body_position import TextPosition
from connectorlib.preflight import diff, tests_file
from connectorlib.preflight.config_tests import run
from connectorlib.preflight.explanation import Explanation, rejected
from connectorlib.preflight.message_options import Envelope
from dbconnector import explain as db
from sfconnector import explain as sf
from tests.pages import blocks
from tests.unit.test_connector_check import DB, GOOD, SF

ROWS = {"rows": {"alarm": [{"id": 1, "at": datetime(2026, 1, 2, tzinfo=UTC), "value": Decimal("1.50")}]}}
LINE = "2026-01-02T00:00:00+00:00"
FAILURE = Failure(Kind.REJECT, "missing-field", "no value for :device", "w", "w.values.device <- device.name: no such")


def differences(expected: Any, explanation: Explanation, place: TextPosition | None = None) -> list[str]:
    return diff.differences(expected, diff.outcome(explanation, expected, place))


@pytest.mark.parametrize(
    ("expected", "data"),
    [
        ({"rows": {"alarm": [{"value": 1.5, "at": LINE, "id": 1}]}}, ROWS),
        ({"rows": [{"id": 1, "at": LINE, "value": Decimal("1.500")}]}, ROWS),
        ({"rows": {}}, {"rows": {}}),
        ({"rows": []}, {"rows": {}}),
        (
            {"rows": {"w": [{"day": "2026-01-02", "raw": "AAE="}]}},
            {"rows": {"w": [{"day": date(2026, 1, 2), "raw": b"\0\1"}]}},
        ),
        ({"rows": {}, "key": "m-1"}, {"rows": {}, "key": "m-1"}),
        ({"rows": {}}, {"rows": {}, "key": "m-1"}),
        ({"case": {"Subject": "x"}}, {"division": "pumps", "cases": [{"Subject": "x"}]}),
        ({"division": "pumps", "cases": [{"A": True}, {}]}, {"division": "pumps", "cases": [{"A": True}, {}]}),
    ],
)
def test_what_is_as_expected_has_no_differences(expected: Any, data: Any) -> None:
    assert differences(expected, Explanation("", data=data)) == []


@pytest.mark.parametrize(
    ("expected", "data", "lines"),
    [
        ({"rows": [{"id": "1"}]}, {"rows": {"w": [{"id": 1}]}}, ['-      "id": "1"', '+      "id": 1']),
        ({"rows": [{"on": True}]}, {"rows": {"w": [{"on": 1}]}}, ['-      "on": true', '+      "on": 1']),
        ({"rows": [{"id": 1}]}, {"rows": {"w": [{"id": 1, "x": None}]}}, ['+      "x": null']),
        ({"rows": {}, "key": "a"}, {"rows": {}, "key": "b"}, ['-  "key": "a"', '+  "key": "b"']),
        ({"case": {"A": 1}}, {"division": "d", "cases": [{"A": 1}, {"A": 2}]}, ['-  "case": {', '+  "cases": [']),
        ({"division": "a", "case": {}}, {"division": "b", "cases": [{}]}, ['-  "division": "a"', '+  "division": "b"']),
        ({"rejected": "no-key"}, {"rows": {}}, ['-  "rejected": "no-key"', '+  "rows": {}']),
    ],
)
def test_what_differs_is_told_as_a_diff(expected: Any, data: Any, lines: list[str]) -> None:
    found = differences(expected, Explanation("", data=data))
    assert found[:2] == ["--- expected", "+++ found"]
    assert [line for line in lines if line.rstrip(",") not in [each.rstrip(",") for each in found]] == []


@pytest.mark.parametrize(
    ("expected", "same"),
    [
        ("missing-field", True),
        ("bad-value", False),
        ({"code": "missing-field"}, True),
        ({"code": "missing-field", "detail": "device.name", "text": ":device"}, True),
        ({"code": "missing-field", "detail": "device.nme"}, False),
        ({"code": "missing-field", "line": 3}, True),
        ({"code": "missing-field", "line": 4}, False),
    ],
)
def test_of_a_rejection_is_compared_what_is_asked_for(expected: Any, same: bool) -> None:
    found = differences({"rejected": expected}, rejected(FAILURE), TextPosition(3, ""))
    assert (found == []) is same


def test_why_a_message_was_rejected_is_told_where_that_was_not_expected() -> None:
    place = TextPosition(3, '  "device": {}')
    assert list(diff.unexpected_rejection(rejected(FAILURE), {"rows": {}}, place))[-1] == '  message:3:   "device": {}'
    assert list(diff.unexpected_rejection(rejected(FAILURE), {"rejected": "no-key"}, place)) == []


# -- the file


def load(folder: Path, *tests: Any, package: str = "dbconnector") -> list[tests_file.ConfigTest]:
    path = folder / "db.config.tests.json"
    path.write_text(json.dumps({"tests": tests}))
    return tests_file.load(str(path), package)


@pytest.mark.parametrize(
    ("config", "tests"),
    [
        ("db.config", "db.config.tests.json"),
        ("a/config.json", "a/config.tests.json"),
        ("/etc/sf.json", "/etc/sf.tests.json"),
    ],
)
def test_the_tests_lie_beside_the_configuration(config: str, tests: str) -> None:
    assert tests_file.path_for(config) == tests


@pytest.mark.parametrize(
    ("message", "body"),
    [
        ({"body": {"id": 1, "x": None}}, b'{"id":1,"x":null}'),
        ({"body": "<a>${x}</a>"}, b"<a>${x}</a>"),
        ({"base64": "AAH/"}, b"\x00\x01\xff"),
        ({"file": "body.bin"}, b"\x00 in a file"),
    ],
)
def test_a_body_is_given_in_four_ways(tmp_path: Path, message: Any, body: bytes) -> None:
    (tmp_path / "body.bin").write_bytes(b"\x00 in a file")
    (trial,) = load(tmp_path, {"name": "x", "message": message, "rows": []})
    assert trial.body == body


def test_what_travels_beside_the_body_is_read(tmp_path: Path) -> None:
    message = {"body": {}, "headers": {"site": "Ulm"}, "routing_key": "a.b", "timestamp": "2026-11-24T03:02:11Z"}
    (trial,) = load(tmp_path, {"name": "x", "message": message, "rows": [], "now": "2026-01-02T03:04:05"})
    assert trial.envelope == Envelope(None, "a.b", None, {"headers": {"site": "Ulm"}, "timestamp": 1795489331})
    assert trial.now == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ({"name": "x", "message": {"body": 1}}, "expected exactly one of rejected, ignored or rows"),
        (
            {"name": "x", "message": {"body": 1}, "rows": [], "rejected": "x"},
            "expected exactly one of rejected, ignored or rows",
        ),
        ({"name": "x", "message": {}, "rows": []}, "expected exactly one of body, file and base64"),
        ({"name": "x", "message": {"base64": "%"}, "rows": []}, "is not base64"),
        ({"name": "x", "message": {"file": "none"}, "rows": []}, "cannot be read"),
        ({"name": "x", "message": {"body": 1}, "rows": [], "now": "noon"}, "expected a time"),
        ({"name": "x", "message": {"body": 1}, "case": {}}, "unknown key"),
        ({"message": {"body": 1}, "rows": []}, '"name" is missing'),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_line(tmp_path: Path, test: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, test)
    assert any(said in problem.text and problem.line for problem in caught.value.problems), str(caught.value)


def test_the_tests_in_the_documentation_are_good_ones(tmp_path: Path) -> None:
    files = [each for each in blocks("docs/checking.md") if each.language == "json"]
    assert [len(load(tmp_path, *json.loads(each.text)["tests"])) for each in files] == [2, 2]


# -- running


def ran(folder: Path, config: Any, test: Any) -> tuple[str, ...]:
    (folder / "config.json").write_text(json.dumps(config))
    package, opened = ("dbconnector", db.opened) if "database" in config else ("sfconnector", sf.opened)
    offline: Any = opened(str(folder / "config.json"))
    (trial,) = load(folder, test, package=package)
    return run(offline, trial).lines


def test_now_is_what_a_test_says(tmp_path: Path) -> None:
    config = json.loads(json.dumps(DB))
    config["database"]["write"] = [
        {"statement": "INSERT INTO log (id, at) VALUES (:id, :at)", "values": {"at": "$now"}}
    ]
    test = {"name": "x", "now": LINE, "message": {"message_id": "m", "body": GOOD}, "rows": [{"id": 1, "at": LINE}]}
    assert ran(tmp_path, config, test) == ()


def test_a_message_has_to_come_into_one_queue(tmp_path: Path) -> None:
    message: dict[str, Any] = {"body": {"device": {"id": 1}}}
    test = {"name": "x", "message": message, "case": {"Subject": "Pump 1"}}
    assert "there are several source queues" in ran(tmp_path, SF, test)[0]
    message |= {"exchange": "devices", "routing_key": "a"}
    assert "it comes into cases, own: say which" in ran(tmp_path, SF, test)[0]
    message |= {"queue": "own"}
    assert ran(tmp_path, SF, test) == ()


def test_a_test_can_expect_that_a_message_is_ignored(tmp_path: Path) -> None:
    config = json.loads(json.dumps(SF))
    config["divisions"]["alone"]["ignore_when"] = {"type": "heartbeat"}
    test = {"name": "x", "message": {"queue": "own", "body": {"type": "heartbeat"}}}
    assert ran(tmp_path, config, test | {"ignored": "ignore_when"}) == ()
    assert ran(tmp_path, config, test | {"case": {}}) != ()


def test_lookups_find_what_a_test_says(tmp_path: Path) -> None:
    config = json.loads(json.dumps(SF))
    lookup = {"lookup": "Contact", "where": {"Email": "mail"}, "missing": "reject"}
    config["divisions"]["alone"]["case"]["mapping"]["ContactId"] = lookup
    message = {"queue": "own", "body": {"device": {"id": 1}, "mail": "a@b.c"}}
    found = {"name": "x", "message": message, "lookups": {"Contact": "003"}}
    assert ran(tmp_path, config, found | {"case": {"Subject": "Pump 1", "ContactId": "003"}}) == ()
    assert (
        ran(tmp_path, config, {"name": "x", "message": message, "lookups": {"Contact": None}, "rejected": "not-found"})
        == ()
    )
