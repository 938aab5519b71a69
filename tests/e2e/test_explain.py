"""`explain` of both connectors as a stranger uses it: a configuration, a message, and no network."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import installed
from tests.services import fork_server

DB = {
    "database": {
        "connection": {"Driver": "PostgreSQL Unicode", "Server": "nowhere.invalid", "Pwd": "${NOT_SET_HERE}"},
        "write": [
            {"statement": "INSERT INTO alarm (id, device) VALUES (:id, :device)", "values": {"device": "device.name"}},
            {"statement": "INSERT INTO log (id, value) VALUES (:id, :value)", "for_each": "readings"},
        ],
    },
    "broker": {"host": "nowhere.invalid", "source": {"queue": "readings"}},
    "idempotency": {"table": "inbox", "key": "$message_id"},
}


def division(kind: str, **source: Any) -> dict[str, Any]:
    return {
        "salesforce": {"username": "fs@example.com", "password": "${NOT_SET_HERE}"},
        "source": {"exchange": "devices", "routing_keys": [f"alarm.{kind}.#"], **source},
        "case": {
            "mapping": {"Subject": "{$routing_key[1]} {device.id}: {alarm}", "Origin": "$headers.site"},
            "required": ["Subject"],
            "external_id": {"field": "Message_Id__c", "value": "$message_id"},
        },
    }


SF = {
    "tenant": {
        "salesforce": {"login_url": "https://nowhere.invalid", "client_id": "c", "client_secret": "${NOT_SET_HERE}"},
        "amqp": {"host": "nowhere.invalid"},
    },
    "divisions": {"pumps": division("pump"), "doors": division("door", queue="doors")},
}
GOOD = (
    '{\n  "id": 7,\n  "device": {"name": "p-1"},\n  "readings": [{"id": 1, "value": 1.50}, {"id": 2, "value": null}]\n}'
)


def explain(
    folder: Path, config: Any, message: str | None, *options: str, stdin: str | None = None
) -> "subprocess.CompletedProcess[str]":
    command = "dbconnector" if "database" in config else "sfconnector"
    (folder / "config.json").write_text(json.dumps(config))
    if message is not None:
        (folder / "message.json").write_text(message)
    arguments = ["explain", "-c", "config.json", "-" if stdin else "message.json", *options]
    if stdin is None:
        return fork_server.run(command, arguments, cwd=folder)
    whole: list[str | Path] = [installed(command), *arguments]
    return subprocess.run(whole, cwd=folder, input=stdin, capture_output=True, text=True, timeout=60, check=False)


def test_the_statements_are_printed_with_their_values(tmp_path: Path) -> None:
    done = explain(tmp_path, DB, GOOD, "--message-id", "m-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "message.json: would be written by 3 statements\n"
        "\n"
        "write[0]\n"
        "  INSERT INTO alarm (id, device) VALUES (:id, :device)\n"
        "    :id = 7, :device = 'p-1'\n"
        "\n"
        "write[1], 2 times\n"
        "  INSERT INTO log (id, value) VALUES (:id, :value)\n"
        "    row 0: :id = 1, :value = 1.50\n"
        "    row 1: :id = 2, :value = NULL\n"
        "\n"
        "at most once: its key in inbox is 'm-1'\n"
    )


@pytest.mark.parametrize(
    ("message", "options", "said"),
    [
        (
            GOOD.replace("name", "nme"),
            ("--message-id", "m-1"),
            [
                "message.json: would be rejected: missing-field no value for :device",
                "  write[0].values.device <- device.name: no such field; device has nme",
                '  message.json:3:   "device": {"nme": "p-1"},',
            ],
        ),
        (
            GOOD.replace('"id": 7,', '"id": 7'),
            ("--message-id", "m-1"),
            [
                "message.json: would be rejected: not-decodable Expecting ',' delimiter: line 3 column 3 (char 14)",
                '  message.json:3:   "device": {"name": "p-1"},',
                "                    ^",
            ],
        ),
        (
            GOOD,
            (),
            [
                "message.json: would be rejected: no-key the message has no idempotency key",
                "  key <- $message_id",
            ],
        ),
    ],
)
def test_what_is_wrong_with_a_message_is_told_with_its_place(
    tmp_path: Path, message: str, options: tuple[str, ...], said: list[str]
) -> None:
    done = explain(tmp_path, DB, message, *options)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines() == said


def test_the_options_stand_for_what_travels_beside_the_body(tmp_path: Path) -> None:
    body = '{"device": {"id": 7}, "alarm": "hot"}'
    route = ("--exchange", "devices", "--routing-key", "alarm.pump.7", "--header", "site=Ulm", "--message-id", "m-1")
    done = explain(tmp_path, SF, None, *route, "--json", stdin=body)
    assert (done.returncode, done.stderr) == (0, "")
    case = {"Subject": "pump 7: hot", "Origin": "Ulm", "Message_Id__c": "m-1"}
    assert json.loads(done.stdout) == {"queue": "sfconnector.pumps", "division": "pumps", "cases": [case]}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "there are several source queues: sfconnector.pumps, doors"),
        (("--queue", "windows"), "no source is 'windows'"),
        (("--exchange", "devices", "--routing-key", "alarm.lift"), "no source queue takes 'alarm.lift'"),
        (("--timestamp", "yesterday"), "expected a time such as"),
    ],
)
def test_a_message_that_cannot_be_placed_is_wrong_usage(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    done = explain(tmp_path, SF, "{}", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_wrong_configuration_is_told_with_its_lines(tmp_path: Path) -> None:
    done = explain(tmp_path, {**DB, "broker": {"hots": "x"}}, GOOD)
    assert (done.returncode, done.stdout) == (78, "")
    assert 'line 1: broker.hots: unknown key; did you mean "host"?' in done.stderr
