"""A file that holds a secret and that everybody can read is refused; a configuration that holds one is warned about."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

from connectorlib.config import file_modes
from connectorlib.config.secrets import References, Unresolved
from connectorlib.errors import ConfigurationError, Failed
from connectorlib.service.redaction import secrets
from dbconnector import config as db_config
from deadletterqueue.broker_login import broker_settings
from deadletterqueue.options import Connection
from sfconnector import config as sf_config


@pytest.fixture
def folder():
    """A folder that every user can pass through, as /etc is; pytest's own are private."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)
    secrets.clear()


def secret(folder: Path, mode: int, text: str = "hunter22") -> Path:
    file = folder / "secret"
    file.write_text(text)
    file.chmod(mode)
    return file


@pytest.mark.parametrize(
    ("mode", "expected"),
    [(0o600, False), (0o640, False), (0o400, False), (0o644, True), (0o604, True), (0o602, True), (0o601, False)],
)
def test_the_mode_of_a_file_tells_who_can_read_it(folder, mode, expected):
    assert file_modes.is_open(secret(folder, mode)) is expected


def test_a_folder_that_nobody_passes_keeps_its_files_private(folder):
    (folder / "inner").mkdir(mode=0o750)
    (folder / "inner" / "deeper").mkdir(mode=0o755)
    assert not file_modes.is_open(secret(folder / "inner" / "deeper", 0o644))
    (folder / "inner").chmod(0o751)
    assert file_modes.is_open(folder / "inner" / "deeper" / "secret")


def test_a_link_is_as_private_as_what_it_leads_to(folder):
    (folder / "private").mkdir(mode=0o700)
    (folder / "link").symlink_to(secret(folder / "private", 0o644))
    assert not file_modes.is_open(folder / "link")
    (folder / "private" / "link").symlink_to(secret(folder, 0o644))
    assert file_modes.is_open(folder / "private" / "link")


def test_what_is_no_file_is_not_open(folder):
    os.mkfifo(folder / "pipe")
    (folder / "pipe").chmod(0o666)
    assert not file_modes.is_open(folder / "pipe")
    assert not file_modes.is_open(folder / "nothing")


def test_an_open_secret_file_is_refused_and_the_text_says_what_to_do(folder):
    file = secret(folder, 0o644)
    with pytest.raises(Unresolved) as caught:
        References().look_up(f"file:{file}")
    assert f"chmod o= {file}" in str(caught.value)
    assert "hunter22" not in str(caught.value)
    with pytest.raises(Unresolved, match="every user of this machine can read it"):
        References({"CREDENTIALS_DIRECTORY": str(folder)}).look_up("credential:secret")
    file.chmod(0o640)
    assert References().look_up(f"file:{file}") == "hunter22"


def test_an_open_password_file_of_the_tool_is_refused(folder):
    file = secret(folder, 0o644)
    with pytest.raises(Failed, match="every user of this machine can read it"):
        broker_settings(Connection(username="bob", password_file=str(file)))
    file.chmod(0o600)
    assert broker_settings(Connection(username="bob", password_file=str(file))).password == "hunter22"


DB: dict[str, Any] = {
    "database": {
        "connection": {"Driver": "SQLite3", "Database": "x"},
        "write": [{"statement": "INSERT INTO t VALUES (:a)"}],
    },
    "broker": {"host": "127.0.0.1", "source": {"queue": "q"}},
}


def written(folder: Path, config: object) -> Path:
    file = folder / "config.json"
    file.write_text(json.dumps(config))
    file.chmod(0o644)
    return file


def test_an_open_configuration_that_holds_passwords_is_warned_about_once(folder):
    broker = DB["broker"] | {"username": "bob", "password": "hunter22"}
    connection = "DRIVER=SQLite3;Database=x;PWD={semi;colon}"
    file = written(folder, {"database": DB["database"] | {"connection": connection}, "broker": broker})
    (warning,) = (text for text in db_config.load(file).warnings if "not private" in text)
    assert all(name in warning for name in ("broker.password", "database.connection", f"chmod o= {file}"))
    assert not any(secret in warning for secret in ("hunter22", "semi"))
    file.chmod(0o600)
    assert not [text for text in db_config.load(file).warnings if "not private" in text]


@pytest.mark.parametrize(
    ("count", "like"), [(1, ""), (2, ", like {1}"), (4, ", like {1}, {2}, {3}"), (6, ", like {1}, {2}, {3} and 2 more")]
)
def test_the_warning_names_a_few_of_many_passwords(folder, count, like):
    log_in = {"login_url": "http://127.0.0.1:1", "auth": "client_credentials", "client_id": "a"}
    case = {"defaults": {"Origin": "Device"}, "mapping": {"Subject": "subject"}}
    division = {"salesforce": log_in | {"client_secret": "hunter22"}, "case": case}
    divisions = {f"d{number}": division | {"source": {"queue": f"q{number}"}} for number in range(count)}
    names = [f"divisions.{name}.salesforce.client_secret" for name in divisions]
    file = written(folder, {"tenant": {"amqp": {"host": "127.0.0.1"}}, "divisions": divisions})
    (warning,) = (text for text in sf_config.load(file).warnings if "not private" in text)
    assert f"{names[0]}: a secret in a file that is not private{like.format(*names)}: every" in warning


def test_a_configuration_without_a_password_may_be_read_by_everybody(folder, monkeypatch):
    monkeypatch.setenv("PW", "hunter22")
    broker = DB["broker"] | {"username": "guest", "password": "guest"}
    for each in (broker, broker | {"password": "${PW}"}, DB["broker"]):
        assert not [
            text for text in db_config.load(written(folder, DB | {"broker": each})).warnings if "not private" in text
        ]


@pytest.mark.parametrize("key", [{"cert": "both.pem"}, {"cert": "cert.pem", "key": "both.pem"}])
def test_an_open_private_key_for_tls_is_refused(folder, key):
    begin = "-----BEGIN PRIVATE KEY-----"
    for name, text in (("both.pem", begin), ("cert.pem", "-----BEGIN CERTIFICATE-----")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o644)
    file = written(folder, DB | {"broker": DB["broker"] | {"tls": key}})
    with pytest.raises(
        ConfigurationError, match=r"broker\.tls\.(cert|key): a private key in a file that is not private"
    ):
        db_config.load(file)
    (folder / "both.pem").chmod(0o600)
    assert db_config.load(file)


def test_the_other_connector_does_the_same(folder):
    tenant = {
        "salesforce": {"login_url": "http://127.0.0.1:1", "auth": "client_credentials", "client_id": "a"}
        | {"client_secret": "hunter22"},
        "amqp": {"host": "127.0.0.1"},
    }
    case = {"defaults": {"Origin": "Device"}, "mapping": {"Subject": "subject"}}
    config = {"tenant": tenant, "divisions": {"one": {"source": {"queue": "q"}, "case": case}}}
    (warning,) = (text for text in sf_config.load(written(folder, config)).warnings if "not private" in text)
    assert "tenant.salesforce.client_secret" in warning
    tenant["salesforce"]["client_secret"] = f"${{file:{secret(folder, 0o644)}}}"
    with pytest.raises(ConfigurationError, match="every user of this machine can read it"):
        sf_config.load(written(folder, config))
