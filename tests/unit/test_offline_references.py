"""References everywhere in a configuration, for commands that work offline: variables and defaults are used.

Without either, a command works, or says in one line which variable to set and where it is named.
"""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from connectorlib.config.schema import bundle
from connectorlib.config.secrets import mentions
from connectorlib.errors import ConfigurationError
from connectorlib.service.redaction import secrets
from dbconnector import cli as db_cli
from dbconnector import config as db
from sfconnector import cli as sf_cli
from sfconnector import config as sf
from tests.unit.configs import changed, places

WRITE: dict[str, Any] = {
    "name": "plant",
    "database": {
        "connection": {
            "Driver": "PostgreSQL Unicode",
            "Server": "db",
            "Port": "5432",
            "Database": "plant",
            "Uid": "app",
            "Pwd": "secret-pw",
        },
        "zone": "Europe/Vienna",
        "fold": "second",
        "errors": {"23505": "done"},
        "write": [
            {
                "name": "alarm",
                "statement": "INSERT INTO alarm VALUES (:id, :device, :at, :site, :level, :n)",
                "values": {
                    "device": "device.name",
                    "at": {"path": "at", "type": "timestamp"},
                    "site": {"value": "Ulm"},
                    "level": {"path": "level", "map": {"1": "low"}, "default": "high"},
                    "n": {"first_of": ["n", {"value": "7"}]},
                },
                "when": {"type": ["alarm", "warning"], "temp": {"gt": 80}},
            },
            {
                "statement": "INSERT INTO reading (alarm_id, value) VALUES (:alarm, :value)",
                "for_each": "readings",
                "values": {"alarm": "$.id", "value": {"path": "value", "type": "decimal"}},
            },
        ],
    },
    "broker": {
        "host": ["rabbit1", "rabbit2:5673"],
        "port": 5671,
        "virtual_host": "plant",
        "username": "u",
        "password": "pw-12345",
        "heartbeat": 30,
        "tls": {"verify": True, "server_name": "rabbit"},
        "source": {
            "queue": "readings",
            "exchange": "devices",
            "exchange_type": "topic",
            "routing_keys": ["reading.#", "alarm.#"],
            "arguments": {"x-max-length": 1000},
            "prefetch": 100,
        },
        "dead_letter": {"exchange": "dead-letter", "queue": "dead-letter"},
        "declare": "create",
    },
    "format": {"type": "xml", "root": "readings", "record": "reading"},
    "accept_when": {"temp": {"gt": 10}},
    "ignore_when": {"kind": ["test"]},
    "batch": {"size": 10, "wait_ms": 20},
    "idempotency": {"table": "inbox", "key": "$message_id", "missing": "accept"},
    "retry": {"attempts": 3, "max_s": 30},
    "limits": {"body_bytes": 100000, "records": 100, "seconds": 2},
    "hold_seconds": 60,
    "journal": {"max_age": "7d", "stream": "journal"},
    "logging": {"level": "info", "format": "text"},
    "monitoring": {"host": "127.0.0.1", "port": 9400},
}
FOLLOW: dict[str, Any] = {
    "name": "sel",
    "database": {
        "connection": "DSN=plant;UID=app",
        "select": {
            "query": "SELECT id, device, changed_at FROM t",
            "every": "30s",
            "follow": {
                "column": "changed_at",
                "key": "id",
                "clock": "database",
                "overlap": "5s",
                "from": "now",
                "ignore": ["pg_dump"],
                "state": {"table": "cursor", "connection": {"Driver": "SQLite3", "Database": "state.db"}},
            },
        },
    },
    "broker": {
        "destination": {
            "exchange": "rows",
            "exchange_type": "topic",
            "routing_key": "row.{device}",
            "message_id": "m-{id}",
            "headers": {"site": {"value": "Ulm"}},
            "priority": {"value": 3},
            "expiration": "1h",
            "content_type": "text/x",
        }
    },
    "format": {
        "type": "delimited",
        "delimiter": ";",
        "header": True,
        "encoding": "latin-1",
        "columns": ["id", "device"],
    },
}
CRON: dict[str, Any] = {
    "name": "cron",
    "database": {
        "connection": {"Driver": "PostgreSQL Unicode", "Server": "db"},
        "select": {
            "query": "SELECT id, device FROM t",
            "cron": "0 2 * * *",
            "zone": "Europe/Vienna",
            "missed": "once",
            "state": {"table": "cursor"},
        },
    },
    "broker": {"destination": {"exchange": "rows", "routing_key": "row.{device}", "rows": 10}},
    "format": {"type": "xml", "root": "rows", "record": "row"},
}
CASES: dict[str, Any] = {
    "tenant": {
        "salesforce": {
            "client_id": "app",
            "client_secret": "sec-12345",
            "login_url": "https://acme.my.salesforce.com",
            "auth": "client_credentials",
            "api_version": "62.0",
            "timeout": 30,
        },
        "amqp": {"host": "127.0.0.1", "username": "u", "password": "pw-12345"},
        "api_budget": {"reserve_percent": 20},
        "retry": {"attempts": 3, "max_s": 60},
        "batch": {"size": 100, "wait_ms": 200},
    },
    "divisions": {
        "pumps": {
            "source": {"queue": "cases", "exchange": "devices", "routing_keys": ["alarm.#"]},
            "match": {"$routing_key": "alarm.pump.#"},
            "format": {"type": "xml", "root": "alarms", "record": "alarm"},
            "accept_when": {"temp": {"gt": 80}},
            "case": {
                "defaults": {"Origin": "Device", "Priority": "Medium"},
                "mapping": {
                    "Subject": "Pump {device.id}: {alarm|no text}",
                    "Priority": {"path": "severity", "map": {"1": "Low"}, "default": "Medium"},
                    "ContactId": {
                        "lookup": "Contact",
                        "where": {"Email": "mail"},
                        "missing": "skip",
                        "cache_seconds": 600,
                    },
                    "Site__c": {"value": "Ulm"},
                },
                "required": ["Subject"],
                "alarm": {
                    "key": "{device.id}:{alarm}",
                    "at": "at",
                    "clear_when": {"state": ["ok"]},
                    "severity": {
                        "path": "severity",
                        "order": ["minor", "major"],
                        "field": "Priority",
                        "map": {"major": "High"},
                    },
                    "repeat": {"comment": "again", "comment_every": "15m", "comments": 5},
                    "clear": {"after": "2m", "comment": "cleared"},
                    "reopen": {"within": "24h"},
                    "max_age": "1h",
                    "stale": "2d",
                    "silence": [
                        {"match": {"site": "hall"}, "from": "2026-01-02T03:04:05Z", "to": "2026-01-02T04:04:05Z"}
                    ],
                    "late": "5m",
                    "flapping": {"changes": 5, "within": "10m", "quiet": "30m"},
                },
            },
            "lanes": {"count": 2, "key": "device.id"},
            "retry": {"attempts": 4, "max_s": 60},
        },
        "fans": {
            "source": {"queue": "cases"},
            "match": {},
            "salesforce": {"auth": "password", "username": "u", "password": "pw-123456", "security_token": "t-123456"},
            "case": {
                "rate": 600,
                "mapping": {"Subject": "alarm"},
                "external_id": {"field": "Message_Id__c", "value": "{id}", "mode": "create_once"},
                "truncate": True,
            },
            "priority": "high",
            "reply": {"exchange": "results", "routing_key": "results"},
        },
    },
    "notify": {
        "paused_after": "5m",
        "every": "15m",
        "webhook": {"url": "https://chat.example.com/h", "headers": {"a": "b"}},
        "mail": {"host": "smtp", "from": "a@b.example", "to": ["c@d.example"], "tls": "none", "port": 25},
        "exchange": {"exchange": "alerts"},
    },
    "journal": {"max_age": "7d"},
    "logging": {"level": "info", "format": "json"},
    "monitoring": {"host": "127.0.0.1", "port": 9401},
}

PROGRAMS: dict[str, tuple[dict[str, Any], Any]] = {
    "write": (WRITE, db),
    "follow": (FOLLOW, db),
    "cron": (CRON, db),
    "cases": (CASES, sf),
}
#: What decides what becomes of a message, besides `format` and all conditions.
DECIDING = {"type", "zone", "lookup", "missing", "cache_seconds", "mode", "rows", "exchange_type", "from", "to", "cron"}


class Place(NamedTuple):
    program: str
    path: tuple[str | int, ...]
    value: Any

    def __str__(self) -> str:
        return f"{self.program}:{'.'.join(map(str, self.path))}"


def value_at(data: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        data = data[key]
    return data


def references() -> Iterator[Place]:
    """Yield each place of the configurations where a reference may stand."""
    for program, (data, module) in PROGRAMS.items():
        schema = bundle(module.schema())
        for path in places(data):
            value = value_at(data, path)
            if not isinstance(value, dict | list) and path in mentions(changed(data, path, "${X}"), schema):
                yield Place(program, path, value)


PLACES = list(references())


@pytest.fixture(autouse=True)
def _forget_secrets() -> Iterator[None]:
    yield
    secrets.clear()


def loaded(folder: Path, place: Place, value: Any) -> Any:
    """Load offline, with another value at this place. Raise ConfigurationError."""
    data, module = PROGRAMS[place.program]
    file = folder / "config.json"
    file.write_text(json.dumps(changed(data, place.path, value), indent=1))
    return module.load(file, resolve_secrets=False)


def test_the_places_are_many() -> None:
    assert len(PLACES) > 150
    assert {place.program for place in PLACES} == set(PROGRAMS)


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_variable_and_a_default_are_used_offline(place: Place, tmp_path: Path, monkeypatch: Any) -> None:
    text = place.value if isinstance(place.value, str) else json.dumps(place.value)
    free = {"arguments", "priority"} & set(place.path)  # values of any type, for which a variable is a text
    expected = loaded(tmp_path, place, text if free else place.value)
    assert loaded(tmp_path, place, f"${{X:-{text}}}") == expected
    monkeypatch.setenv("X", text)
    assert loaded(tmp_path, place, "${X}") == expected


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_variable_that_is_not_set_is_named_where_it_decides(place: Place, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("X", raising=False)
    try:
        loaded(tmp_path, place, "${X}")
    except ConfigurationError as error:
        (problem,) = error.problems
        assert problem.text == "the environment variable X is not set"
        assert problem.line > 1
        conditions = {"format", "accept_when", "ignore_when", "when", "match", "clear_when", "required"} & set(
            place.path
        )
        assert conditions or place.path[-1] in DECIDING


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_online_a_variable_that_is_not_set_is_the_only_mistake(place: Place, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("X", raising=False)
    data, module = PROGRAMS[place.program]
    file = tmp_path / "config.json"
    file.write_text(json.dumps(changed(data, place.path, "${X}"), indent=1))
    with pytest.raises(ConfigurationError) as caught:
        module.load(file)
    assert [problem.text for problem in caught.value.problems] == ["the environment variable X is not set"]


HOT: dict[str, Any] = {
    "database": {
        "connection": {"Driver": "${DRIVER}"},
        "write": [{"statement": "INSERT INTO t (v, s) VALUES (:v, :s)"}],
    },
    "broker": {"password": "${PASSWORD}", "source": {"queue": "q"}},
    "accept_when": {"v": {"gt": "${LIMIT}"}},
    "journal": {"max_age": "${AGE}"},
    "format": {"type": "json"},
}
HOT["database"]["write"][0]["values"] = {"s": {"value": "${SITE}"}}


def run(folder: Path, data: Any, *arguments: str, main: Any = db_cli.main) -> tuple[int, str]:
    """Run an offline command with a configuration and a message; return its exit code and what it prints."""
    (folder / "c.json").write_text(json.dumps(data, indent=1))
    (folder / "m.json").write_text('{"v": 81}')
    done = CliRunner().invoke(main, [*arguments[:1], "-c", str(folder / "c.json"), *arguments[1:]])
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.output


def test_explain_uses_what_is_set_and_names_what_it_needs(tmp_path: Path, monkeypatch: Any) -> None:
    message = str(tmp_path / "m.json")
    for name in ("LIMIT", "SITE", "AGE"):
        monkeypatch.delenv(name, raising=False)
    code, text = run(tmp_path, HOT, "explain", message)
    assert code == 78
    assert [text.split(": ", 1)[1].strip()] == ["line 25: accept_when.v.gt: the environment variable LIMIT is not set"]
    monkeypatch.setenv("LIMIT", "80")
    code, text = run(tmp_path, HOT, "explain", message)
    assert code == 0
    assert "${SITE}" in text
    monkeypatch.setenv("SITE", "Ulm")
    assert "'Ulm'" in run(tmp_path, HOT, "explain", message)[1]
    monkeypatch.setenv("LIMIT", "81")
    assert "would be ignored" in run(tmp_path, HOT, "explain", message)[1]


def test_a_test_compares_with_the_default(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("SITE", raising=False)
    monkeypatch.setenv("LIMIT", "80")
    data = copy.deepcopy(HOT)
    data["database"]["write"][0]["values"]["s"]["value"] = "${SITE:-Ulm}"
    test = {"name": "hot", "message": {"body": {"v": 81}}, "rows": [{"v": 81, "s": "Ulm"}]}
    (tmp_path / "c.tests.json").write_text(json.dumps({"tests": [test]}))
    assert run(tmp_path, data, "test") == (0, "✔ hot\npassed\n")


def test_the_statement_of_the_inbox_table_needs_no_password(tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("LIMIT", "DRIVER", "PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    data = {key: value for key, value in HOT.items() if key != "accept_when"}
    code, text = run(tmp_path, data | {"idempotency": {"table": "seen", "key": "$message_id"}}, "inbox")
    assert code == 0
    assert text.startswith("CREATE TABLE seen")


def test_the_project_of_an_org_needs_no_variable(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("X", raising=False)
    data = changed(CASES, ("divisions", "pumps", "case", "alarm", "clear", "after"), "${X}")
    code, text = run(tmp_path, data, "org", "--out", str(tmp_path / "org"), "--email", "a@b.example", main=sf_cli.main)
    assert code == 0, text


def test_a_variable_in_a_template_is_a_field_and_check_says_so(tmp_path: Path) -> None:
    data = changed(WRITE, ("database", "write", 0, "values", "device"), "in ${SITE}")
    (tmp_path / "c.json").write_text(json.dumps(data))
    (warning,) = [each for each in db.load(tmp_path / "c.json").warnings if "SITE" in each]
    assert 'for one write {"value": "${SITE}"}' in warning
    data = changed(WRITE, ("database", "write", 0, "values", "device"), "costs ${price}")
    (tmp_path / "c.json").write_text(json.dumps(data))
    assert [each for each in db.load(tmp_path / "c.json").warnings if "dollar" in each] == []
    data = changed(WRITE, ("database", "write", 0, "values", "device"), "in ${SITE:-Ulm}")
    (tmp_path / "c.json").write_text(json.dumps(data))
    with pytest.raises(ConfigurationError, match=r'no variable here; for one write \{"value": "\$\{SITE:-Ulm\}"\}'):
        db.load(tmp_path / "c.json")
