"""Log-ins to the broker other than by password: a client certificate."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from connectorlib.amqp import Broker
from connectorlib.amqp.management import management_of
from connectorlib.errors import Failed, Kind
from connectorlib.preflight.check_broker import Needs, findings
from connectorlib.preflight.findings import Finding, Mark
from connectorlib.shared_settings import BrokerSettings, Source, Tls
from tests.services.certificates import Authority
from tests.services.rabbitmq import Vhost

DEADLETTER_QUEUE = Path(sys.executable).with_name("deadletter-queue")
EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}
WITH_CERTIFICATE = {"auth": "external", "username": "", "password": ""}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def external(vhost: Vhost, authority: Authority) -> Iterator[BrokerSettings]:
    """Settings that log in with a certificate for which the broker has a user, without a password."""
    own = authority.issue("plant-7", client=True)
    user = quote("CN=plant-7")
    vhost.node.api("PUT", f"/api/users/{user}", {"password_hash": "", "tags": ""})
    vhost.api("PUT", f"/api/permissions/{{vhost}}/{user}", EVERYTHING)
    port = vhost.node.tls_listener(authority, client_certificate=True)
    tls = Tls(ca=authority.ca, cert=own.cert, key=own.key)
    yield vhost.broker_settings(hosts=((vhost.host, port),), tls=tls, **WITH_CERTIFICATE)
    vhost.node.api("DELETE", f"/api/users/{user}")


def checked(settings: BrokerSettings, vhost: Vhost) -> list[Finding]:
    url = f"http://{vhost.host}:{vhost.node.management_port}"
    return list(findings(Needs(settings, "test", (Source("readings"),)), url))


def one(found: list[Finding], about: str) -> Finding:
    (finding,) = (each for each in found if each.about.startswith(about))
    return finding


def test_a_certificate_is_the_log_in(external: BrokerSettings, vhost: Vhost, authority: Authority) -> None:
    with Broker(external, name="external") as broker:
        assert broker.wait_connected(15)
        with broker.channel() as channel:
            channel.queue_declare("readings")
    found = checked(external, vhost)
    assert one(found, "broker ").text.endswith("as the user of the client certificate, CN=plant-7")
    assert one(found, "rights of the user of the client certificate").mark is Mark.GOOD
    api = one(found, "management API")
    assert (api.mark, "takes no client certificate" in api.text) == (Mark.ODD, True)
    assert "give username and password" in api.do

    nobody = authority.issue("nobody", client=True)
    stranger = replace(external, tls=Tls(ca=authority.ca, cert=nobody.cert, key=nobody.key))
    refused = one(checked(stranger, vhost), "broker ")
    assert (refused.mark, refused.kind) == (Mark.BAD, Kind.REFUSED)
    assert "rabbitmqctl add_user CN=nobody PASSWORD && rabbitmqctl clear_password CN=nobody" in refused.do


def test_with_a_user_of_its_own_the_management_api_is_asked_too(external: BrokerSettings, vhost: Vhost) -> None:
    with_user = replace(external, username=vhost.username, password=vhost.password)
    vhost.declare_queue("readings")
    api = management_of(with_user, f"http://{vhost.host}:{vhost.node.management_port}")
    assert api.queue(vhost.name, "readings")["name"] == "readings"
    assert "management API" not in [each.about for each in checked(with_user, vhost)]


def test_a_broker_that_offers_no_log_in_by_certificate_is_named(vhost: Vhost) -> None:
    with Broker(vhost.broker_settings(**WITH_CERTIFICATE), name="refused") as broker, pytest.raises(Failed) as caught:
        broker.wait_connected(15, give_up_on_refused=True)
    failure = caught.value.failure
    assert failure.kind is Kind.REFUSED
    assert "no log-in by certificate" in failure.text
    assert "rabbitmq_auth_mechanism_ssl" in failure.text


def test_the_dead_letters_are_reached_with_a_certificate(external: BrokerSettings, vhost: Vhost) -> None:
    assert external.tls
    host, port = external.hosts[0]
    options = {"host": f"{host}:{port}", "vhost": vhost.name, "auth": "external", "ca": external.tls.ca}
    options |= {"cert": external.tls.cert, "key": external.tls.key}
    command = [str(DEADLETTER_QUEUE), *(f"--{name}={value}" for name, value in options.items())]
    made = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "made" in made.stdout
    assert vhost.exists("dead-letter")
