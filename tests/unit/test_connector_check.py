"""What a connector says of a message without its database or Salesforce."""

import json
from pathlib import Path
from typing import Any

import pytest

from connectorlib.errors import ConfigurationError, Failed
from deadletterqueue.connector_check import at_queue, open_check
from tests.services.deadletters import delivery

DB = {
    "database": {
        "connection": {"Driver": "PostgreSQL Unicode", "Server": "db", "Pwd": "${NOT_SET_HERE}"},
        "write": [
            {
                "statement": "INSERT INTO alarm (id, device) VALUES (:id, :device) RETURNING id",
                "values": {"device": "device.name"},
                "name": "alarm",
            },
            {
                "statement": "INSERT INTO value (alarm, value) VALUES (:alarm, :value)",
                "for_each": "values",
                "values": {"alarm": "$result.alarm.id", "value": {"path": "v", "type": "decimal"}},
            },
            {
                "statement": "INSERT INTO log (id, amount) VALUES (:id, :amount)",
                "values": {"amount": {"path": "amount", "type": "decimal", "default": None}},
            },
        ],
    },
    "broker": {"host": "broker", "source": {"queue": "readings", "exchange": "devices", "routing_keys": ["#"]}},
    "format": {"type": "json"},
    "idempotency": {"table": "inbox", "key": "$message_id"},
}


def division(queue: str, **more: Any) -> dict[str, Any]:
    mapping = {"Subject": "Pump {device.id}", "Description": "text", "SuppliedName": "name"}
    return {
        "salesforce": {"auth": "password", "username": "fs@example.com", "password": "${NOT_SET}"},
        "source": {"queue": queue, "exchange": "devices", "routing_keys": ["#"]},
        "case": {"mapping": mapping, "required": ["Subject"]},
    } | more


SF = {
    "tenant": {
        "salesforce": {"login_url": "https://login.salesforce.com", "client_id": "c", "client_secret": "${NOT_SET}"},
        "amqp": {"host": "broker"},
    },
    "divisions": {
        "pumps": division("cases", match={"device.kind": "pump"}),
        "doors": division("cases", match={"device.kind": "door"}, format={"type": "json"}),
        "alone": division("own"),
    },
}


def problems(
    folder: Path, config: dict[str, Any], body: Any, *, to_queue: str | None = None, **own: Any
) -> list[str] | None:
    file = folder / "config.json"
    file.write_text(json.dumps(config))
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    check = at_queue(open_check(str(file)), to_queue)
    assert check is not None
    return check(delivery(raw, **own))


GOOD = {"id": 1, "device": {"name": "p-1"}, "values": [{"v": "1.5"}], "amount": "2.50"}


@pytest.mark.parametrize(
    ("body", "own", "problem"),
    [
        (GOOD, {"message_id": "m-1"}, None),
        ([GOOD, GOOD], {"message_id": "m-1"}, None),
        ({**GOOD, "values": [{"v": "beside a result of the database"}]}, {"message_id": "m-1"}, "bad-value"),
        (b"no json", {"message_id": "m-1"}, "not-decodable"),
        ({"id": 1}, {"message_id": "m-1"}, "device.name"),
        # The column may be an array; only the database knows.
        ({**GOOD, "device": {"name": ["a", "list"]}}, {"message_id": "m-1"}, None),
        ({**GOOD, "amount": "much"}, {"message_id": "m-1"}, "amount"),
        ([GOOD, {"id": 2}], {"message_id": "m-1"}, "device.name"),
        (GOOD, {}, "no-key"),
    ],
)
def test_dbconnector_decodes_and_binds_without_a_database(
    tmp_path: Path, body: Any, own: dict[str, Any], problem: str | None
) -> None:
    found = problems(tmp_path, DB, body, **own)
    assert found is not None
    assert (found == []) if problem is None else (problem in found[0])


@pytest.mark.parametrize(
    ("queue", "body", "problem"),
    [
        ("own", {"device": {"id": "p-1"}, "text": "hot"}, None),
        ("own", b"no json", "not-decodable"),
        ("own", {"text": "hot"}, "Subject"),
        ("cases", {"device": {"id": "p-1", "kind": "door"}}, None),
        ("cases", {"device": {"id": "p-1", "kind": "lift"}}, "no-division"),
    ],
)
def test_sfconnector_maps_without_salesforce(tmp_path: Path, queue: str, body: Any, problem: str | None) -> None:
    found = problems(tmp_path, SF, body, queue=queue)
    assert found is not None
    assert (found == []) if problem is None else (problem in found[0])


@pytest.mark.parametrize("config", [DB, SF])
def test_of_a_message_from_a_queue_of_another_connector_nothing_is_said(tmp_path: Path, config: dict[str, Any]) -> None:
    assert problems(tmp_path, config, b"no json", queue="elsewhere") is None
    queue = "readings" if config is DB else "own"
    found = problems(tmp_path, config, b"no json", queue="elsewhere", to_queue=queue)
    assert found is not None
    assert "not-decodable" in found[0]
    assert problems(tmp_path, config, b"no json", queue=queue, to_queue="elsewhere") is None


def test_what_salesforce_would_be_asked_for_is_taken_for_found(tmp_path: Path) -> None:
    lookup = {"lookup": "Asset", "where": {"SerialNumber": "device.id"}, "missing": "reject"}
    config = json.loads(json.dumps(SF))
    config["divisions"]["alone"]["case"]["mapping"]["AssetId"] = lookup
    assert problems(tmp_path, config, {"device": {"id": "p-1"}}, queue="own") == []


def test_a_file_of_neither_connector_is_told(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="no connector"):
        problems(tmp_path, {"broker": {}}, {})


def test_mistakes_in_the_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="statment"):
        problems(tmp_path, {**DB, "database": {"connection": "x", "write": [{"statment": "INSERT"}]}}, {})
