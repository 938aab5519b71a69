"""From options, a URL or a connector's configuration file to the broker."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from connectorlib.amqp.management import management_of
from connectorlib.errors import Failed
from connectorlib.shared_settings import BrokerSettings, DeadLetterSettings, HttpTls, Tls, TokenSettings
from deadletterqueue.broker_login import broker_settings
from deadletterqueue.options import Connection
from tests.services.certificates import Authority


@pytest.fixture(autouse=True)
def _no_password_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AMQP_PASSWORD", raising=False)
    monkeypatch.delenv("AMQP_CLIENT_SECRET", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO("typed\n"))


TOKEN: dict[str, Any] = {"token_url": "https://login/token", "token_client_id": "c"}


def file_of(folder: Path, config: dict[str, Any]) -> str:
    file = folder / "db.config"
    file.write_text(json.dumps(config))
    return str(file)


@pytest.mark.parametrize(
    ("given", "settings"),
    [
        ({}, BrokerSettings()),
        ({"vhost": "plant"}, BrokerSettings(virtual_host="plant")),
        ({"host": ("a", "b:5673"), "port": 5000}, BrokerSettings(hosts=(("a", 5000), ("b", 5673)))),
        ({"port": 5000}, BrokerSettings(hosts=(("127.0.0.1", 5000),))),
        ({"port": 5671}, BrokerSettings(hosts=(("127.0.0.1", 5671),), tls=Tls())),
        ({"tls": True}, BrokerSettings(hosts=(("127.0.0.1", 5671),), tls=Tls())),
        ({"host": ("a",), "ca": "ca.pem"}, BrokerSettings(hosts=(("a", 5671),), tls=Tls(ca="ca.pem"))),
        ({"port": 5671, "tls": False}, BrokerSettings(hosts=(("127.0.0.1", 5671),))),
        ({"tls": True, "verify": False}, BrokerSettings(hosts=(("127.0.0.1", 5671),), tls=Tls(verify=False))),
        ({"url": "amqp://h"}, BrokerSettings(hosts=(("h", 5672),))),
        ({"url": "amqp://h/"}, BrokerSettings(hosts=(("h", 5672),))),
        ({"url": "amqp://h/plant%2Fa"}, BrokerSettings(hosts=(("h", 5672),), virtual_host="plant/a")),
        ({"url": "amqps://h"}, BrokerSettings(hosts=(("h", 5671),), tls=Tls())),
        (
            {"auth": "external", "cert": "me.pem"},
            BrokerSettings(
                hosts=(("127.0.0.1", 5671),), auth="external", username="", password="", tls=Tls(cert="me.pem")
            ),
        ),
        ({"url": "amqp://h:1/x", "vhost": "y", "host": ("i",)}, BrokerSettings(hosts=(("i", 5672),), virtual_host="y")),
    ],
)
def test_options_come_over_the_url_and_the_url_over_the_defaults(given: Any, settings: BrokerSettings) -> None:
    assert broker_settings(Connection(**given)) == settings


def test_a_password_comes_from_the_url_a_file_standard_input_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_text("filed \n")
    url = "amqp://bob:s%2Fcret@h"
    found = broker_settings(Connection(url=url))
    assert (found.username, found.password) == ("bob", "s/cret")
    assert broker_settings(Connection(url=url, password_file=str(file))).password == "filed "
    assert broker_settings(Connection(username="bob", password_file="-")).password == "typed"
    monkeypatch.setenv("AMQP_PASSWORD", "around")
    assert broker_settings(Connection(username="bob")).password == "around"
    assert "around" not in repr(broker_settings(Connection(username="bob")))


def test_a_token_is_the_log_in_with_a_secret_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret"
    file.write_text("filed\n")
    found = broker_settings(Connection(**TOKEN, token_scope="a", token_ca="ca.pem", token_client_secret_file=str(file)))
    assert found.token == TokenSettings("https://login/token", "c", "filed", "a", HttpTls("ca.pem"))
    assert (found.username, found.password) == ("c", "")
    monkeypatch.setenv("AMQP_CLIENT_SECRET", "around")
    found = broker_settings(Connection(**TOKEN))
    assert found.token
    assert found.token.client_secret == "around"
    assert "around" not in repr(found)


def test_options_change_the_token_of_a_file_or_replace_it_by_a_user(tmp_path: Path) -> None:
    token = {"url": "https://login/token", "client_id": "c", "client_secret": "hidden"}
    file = file_of(tmp_path, {"broker": {"token": token}})
    found = broker_settings(Connection(file=file, token_scope="a"))
    assert found.token == TokenSettings("https://login/token", "c", "hidden", "a")
    bob = broker_settings(Connection(file=file, username="bob", password_file="-"))
    assert (bob.token, bob.username, bob.password) == (None, "bob", "typed")


def test_a_user_of_the_url_without_a_password_is_asked_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMQP_PASSWORD", "around")
    assert broker_settings(Connection(url="amqp://bob@h")).password == "around"


@pytest.mark.parametrize("section", ["broker", "tenant"])
def test_the_configuration_of_either_connector_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    monkeypatch.setenv("RABBIT", "hidden")
    Authority(tmp_path)
    broker = {
        "host": ["a", "b:1"],
        "username": "c",
        "password": "${RABBIT}",
        "tls": {"ca": "ca.pem"},
        "dead_letter": {"queue": "dead"},
        "source": {"queue": "readings"},
    }
    config = {"broker": broker} if section == "broker" else {"tenant": {"amqp": {**broker, "source": {}}}}
    # What else stands in it is not looked at: these variables are not set.
    whole = {**config, "database": {"connection": {"Pwd": "${NO_SUCH_VARIABLE}"}}, "divisions": 7}
    found = broker_settings(Connection(file=file_of(tmp_path, whole), vhost="plant"))
    assert found.hosts == (("a", 5671), ("b", 1))
    assert (found.username, found.password, found.virtual_host) == ("c", "hidden", "plant")
    assert found.tls == Tls(ca=str(tmp_path / "ca.pem"))
    assert found.dead_letter == DeadLetterSettings(queue="dead")


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({}, "neither `broker` nor `tenant.amqp` is in it"),
        ({"broker": {"password": "${NO_SUCH_VARIABLE}"}}, "NO_SUCH_VARIABLE is not set"),
        ({"broker": {"port": "x"}}, "broker.port"),
        ({"broker": {"host": "amqp://h"}}, "expected only the host"),
    ],
)
def test_what_is_wrong_with_the_broker_in_a_file_is_told(tmp_path: Path, config: Any, problem: str) -> None:
    with pytest.raises(Failed, match=problem):
        broker_settings(Connection(file=file_of(tmp_path, config)))


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"url": "http://h"}, "--url has to look like amqp://"),
        ({"url": "amqp://h:port"}, "--url: no address"),
        ({"url": "amqp://bob:se/cret@h"}, "--url: no address; in a password / @"),
        ({"url": "amqp://"}, "--url has to look like"),
        ({"host": ("amqp://h",)}, "--host: expected only the host"),
        ({"tls": False, "server_name": "x"}, "--no-tls leaves no use for --server-name"),
        (TOKEN, "no secret for c: give --token-client-secret-file, or set AMQP_CLIENT_SECRET"),
        ({**TOKEN, "username": "bob"}, "--token-url logs in with a token; leave out --username and --auth external"),
        ({**TOKEN, "token_client_id": None}, "a login with a token needs --token-url and --token-client-id"),
        ({"auth": "external", "tls": True}, "--auth external logs in with a certificate: give --cert"),
        ({"username": "bob"}, "no password for bob: give --password-file, or set AMQP_PASSWORD"),
        ({"username": "bob", "password_file": "/no/such/file"}, "cannot be read: No such file"),
        ({"file": "/no/such/file"}, "cannot be read: No such file"),
    ],
)
def test_options_that_make_no_sense_are_refused(given: Any, problem: str) -> None:
    with pytest.raises(Failed, match=problem):
        broker_settings(Connection(**given))


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({"host": ("rabbit1",)}, "http://rabbit1:15672"),
        ({"host": ("::1",)}, "http://[::1]:15672"),
        ({"tls": True}, "https://127.0.0.1:15671"),
        ({"management_url": "http://elsewhere:8080/"}, "http://elsewhere:8080"),
    ],
)
def test_the_management_api_is_on_the_same_host_unless_told_otherwise(given: Any, url: str) -> None:
    connection = Connection(**given)
    assert management_of(broker_settings(connection), connection.management_url).url == url


@pytest.mark.parametrize(
    ("given", "command"),
    [
        ({}, "deadletter-queue group"),
        ({"file": "/etc/db config"}, "deadletter-queue group -c '/etc/db config'"),
        ({"vhost": "plant 1", "username": "bob"}, "deadletter-queue group --vhost 'plant 1' --username bob"),
        ({"host": ("a", "b:5673"), "port": 5}, "deadletter-queue group --host a --host b:5673 --port 5"),
        ({"tls": False}, "deadletter-queue group --no-tls"),
        (
            {"auth": "external", "cert": "me.pem"},
            "deadletter-queue group --auth external --cert me.pem",
        ),
        ({"tls": True, "server_name": "x"}, "deadletter-queue group --tls --server-name x"),
        ({"url": "amqp://bob:se:c%40ret@h:1/plant"}, "deadletter-queue group --url amqp://bob@h:1/plant"),
        ({"url": "amqp://h/plant"}, "deadletter-queue group --url amqp://h/plant"),
        ({"password_file": "-", "management_url": "http://h:1"}, None),
    ],
)
def test_a_hint_is_the_whole_command_without_a_password(given: dict[str, Any], command: str | None) -> None:
    expected = command or "deadletter-queue group --password-file - --management-url http://h:1"
    assert Connection(**given).command("group") == expected
