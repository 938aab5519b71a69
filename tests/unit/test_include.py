"""`include`: sections of other files, and in which file and line a mistake is told to be."""

import json
from pathlib import Path
from typing import Any

import pytest

from connectorlib.errors import ConfigurationError
from dbconnector import config
from deadletterqueue.connector_check import open_check
from sfconnector import config as sf

SHARED = {"broker": {"host": "rabbit", "username": "u", "password": "${P:-p}"}, "logging": {"level": "debug"}}
OWN: dict[str, Any] = {
    "include": "shared.json",
    "database": {"connection": "Driver=x", "write": [{"statement": "DELETE FROM t"}]},
    "broker": {"username": "me", "source": {"queue": "q"}},
}
#: Names the credential, which is not hidden like the value of a password.
UNIT = "that loads the credential amqp"


def written(folder: Path, own: Any = OWN, **files: Any) -> Path:
    for name, data in {"shared": SHARED, **files, "db": own}.items():
        (folder / f"{name}.json").write_text(data if isinstance(data, str) else json.dumps(data, indent=1))
        (folder / f"{name}.json").chmod(0o600)
    return folder / "db.json"


def problems(folder: Path, own: Any = OWN, **files: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        config.load(written(folder, own, **files))
    return [str(each) for each in caught.value.problems]


def test_included_sections_are_those_of_the_configuration_unless_it_has_them_itself(tmp_path: Path) -> None:
    found = config.load(written(tmp_path))
    assert (found.broker.hosts[0][0], found.broker.username, found.logging.level) == ("rabbit", "me", "debug")
    assert found.source is not None
    assert open_check(str(tmp_path / "db.json")) is not None


def test_of_several_files_a_later_one_wins_and_a_list_is_replaced_as_a_whole(tmp_path: Path) -> None:
    other = {"logging": {"format": "json"}, "broker": {"username": "other", "password": "x"}}
    own = {**OWN, "include": ["shared.json", "other.json"], "broker": {"source": {"queue": "q"}}}
    found = config.load(written(tmp_path, own, other=other))
    assert (found.broker.username, found.broker.hosts[0][0]) == ("other", "rabbit")
    assert (found.logging.level, found.logging.format) == ("debug", "json")


def test_both_connectors_include(tmp_path: Path) -> None:
    tenant = {"amqp": {"host": "rabbit"}, "salesforce": {"client_id": "c", "client_secret": "s"}}
    division = {"salesforce": {"username": "u", "password": "p"}, "case": {"mapping": {"Subject": "a"}}}
    own = {"include": "tenant.json", "divisions": {"pumps": division}}
    assert sf.load(written(tmp_path, own, tenant={"tenant": tenant})).broker.hosts[0][0] == "rabbit"


def test_offline_commands_take_references_that_are_left_as_written(tmp_path: Path) -> None:
    broker: dict[str, Any] = {
        "host": ["${A:-127.0.0.1:5673}", "${file:host}:5674"],
        "port": "${P:-5672}",
        "heartbeat": "${H:-20}",
    }
    broker["tls"] = {"ca": "${CA}", "cert": "${file:cert}"}
    salesforce = {"login_url": "${URL:-http://127.0.0.1:8080}", "auth": "client_credentials", "client_id": "c"}
    tenant = {"amqp": broker, "salesforce": {**salesforce, "client_secret": "${S}"}}
    case = {"mapping": {"Subject": "a"}, "external_id": {"field": "${FIELD:-Message_Id__c}", "value": "a"}}
    own = {"include": "tenant.json", "divisions": {"pumps": {"case": case}}}
    sf.load(written(tmp_path, own, tenant={"tenant": tenant}), resolve_secrets=False)
    shared = {"broker": broker, "idempotency": {"table": "${file:table}", "key": "$message_id"}}
    connection = {"database": OWN["database"] | {"connection": "${CONNECTION}"}}
    config.load(written(tmp_path, OWN | connection, shared=shared), resolve_secrets=False)


@pytest.mark.parametrize(
    ("shared", "said"),
    [
        ({"broker": {"hots": "x"}}, ['shared.json line 3: broker.hots: unknown key; did you mean "host"?']),
        ({"broker": {"heartbeat": "x", "port": "y"}}, ["shared.json line 3: broker.heartbeat", "shared.json line 4:"]),
        ('{"broker": {"host": "rabbit",}}', ["shared.json line 1: column"]),
        (
            {"broker": {"password": "${credential:amqp}"}},
            ["shared.json line 3: broker.password: no systemd credentials are available: run it from a unit " + UNIT],
        ),
        ("{", ["shared.json line 1: column"]),
        ("[]", ["shared.json line 1: expected an object"]),
        ({"include": "more.json"}, ['shared.json line 2: an included file cannot have "include" itself']),
    ],
)
def test_a_mistake_is_told_with_the_file_that_it_is_in(tmp_path: Path, shared: Any, said: list[str]) -> None:
    found = problems(tmp_path, shared=shared)
    assert [text for text in said if not any(each.startswith(text) for each in found)] == []


def test_a_mistake_of_the_file_itself_has_its_own_line(tmp_path: Path) -> None:
    own = json.loads(json.dumps(OWN))
    own["broker"]["sauce"] = 1
    assert problems(tmp_path, own)[0].startswith("line 16: broker.sauce: unknown key")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("nowhere.json", "line 2: include: nowhere.json cannot be read: No such file or directory"),
        (7, "line 2: include: expected the name of a file or a list of names"),
        (["shared.json", 7], "line 4: include[1]: expected"),
    ],
)
def test_what_cannot_be_included_is_told(tmp_path: Path, names: Any, said: str) -> None:
    assert any(text.startswith(said) for text in problems(tmp_path, {**OWN, "include": names}))


def test_a_password_is_warned_of_in_the_file_that_others_can_read(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    file = written(tmp_path, shared={**SHARED, "broker": {"host": "h", "password": "s3cret-value"}})
    (tmp_path / "shared.json").chmod(0o644)
    found = [each for each in config.load(file).warnings if "not private" in each]
    folders = all(each.stat().st_mode & 1 for each in tmp_path.parents)
    assert len(found) == folders
    assert all(each.startswith("shared.json line 4: broker.password") and "shared.json" in each for each in found)
