"""Log-ins to the broker other than by password: a client certificate, and a token that is renewed in time."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from connectorlib.amqp import Broker
from connectorlib.amqp.management import management_of
from connectorlib.amqp.token_source import TIME_LIMIT
from connectorlib.config.sections import token_settings
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.preflight.check_broker import Needs, findings
from connectorlib.preflight.findings import Finding, Mark
from connectorlib.shared_settings import BrokerSettings, Source, Tls
from tests.services.certificates import Authority
from tests.services.rabbitmq import Vhost
from tests.services.token_server import CLIENT_ID, CLIENT_SECRET, RESOURCE, TokenServer, token_server
from tests.services.waiting import eventually

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


def failure_of(broker: Broker) -> Failure:
    failure = eventually(lambda: broker.failure, 60)
    assert failure is not None
    return failure


def one(found: list[Finding], about: str) -> Finding:
    (finding,) = (each for each in found if each.about.startswith(about))
    return finding


def refusal(settings: BrokerSettings) -> Failure:
    with Broker(settings, name="refused") as broker, pytest.raises(Failed) as caught:
        broker.wait_connected(15, give_up_on_refused=True)
    return caught.value.failure


# -- a client certificate


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
    failure = refusal(vhost.broker_settings(**WITH_CERTIFICATE))
    assert failure.kind is Kind.REFUSED
    assert "no login by certificate" in failure.text
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


# -- a token


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    with token_server() as server:
        yield server


def with_token(vhost: Vhost, tokens: TokenServer, **overrides: Any) -> BrokerSettings:
    token = token_settings(tokens.config(**overrides), Path())
    return vhost.broker_settings(username=CLIENT_ID, password="", token=token)


@pytest.fixture
def broker(vhost: Vhost, tokens: TokenServer) -> Iterator[Broker]:
    with Broker(with_token(vhost, tokens), name="token") as broker:
        yield broker


def test_a_token_is_the_log_in_here_and_at_the_management_api(vhost: Vhost, tokens: TokenServer) -> None:
    vhost.declare_queue("readings", "devices", "reading.#")
    found = checked(with_token(vhost, tokens, scope="some scopes"), vhost)
    server = one(found, "token server 127.0.0.1:")
    assert server.mark is Mark.GOOD
    assert server.text.startswith(f"a token for client {CLIENT_ID}, good for 3600 s, until ")
    assert one(found, "broker ").text.endswith(f"as {CLIENT_ID}")
    assert one(found, "rights of ").mark is Mark.GOOD
    assert "management API" not in [each.about for each in found]
    assert tokens.forms[0]["grant_type"] == "client_credentials"
    assert tokens.forms[0]["scope"] == "some scopes"


def test_a_client_that_the_token_server_refuses_is_told_what_to_do(vhost: Vhost, tokens: TokenServer) -> None:
    settings = with_token(vhost, tokens, client_secret="wrong-secret")
    (found,) = checked(settings, vhost)
    assert (found.mark, found.kind, found.code) == (Mark.BAD, Kind.REFUSED, "invalid_client")
    assert "wrong client or secret" in found.text
    assert "client_id and client_secret" in found.do
    assert "wrong-secret" not in found.text
    failure = refusal(settings)
    assert (failure.kind, failure.place) == (Kind.REFUSED, "token server")


def test_a_token_that_the_broker_refuses_is_told_as_that(vhost: Vhost, tokens: TokenServer) -> None:
    tokens.audience = "another broker"
    refused = one(checked(with_token(vhost, tokens), vhost), "broker ")
    assert (refused.kind, refused.code) == (Kind.REFUSED, "403")
    assert "resource_server_id" in refused.do


def test_a_token_that_the_broker_refuses_is_replaced(broker: Broker, tokens: TokenServer) -> None:
    tokens.audience = "another broker"
    with pytest.raises(Failed, match="ACCESS_REFUSED"):
        broker.wait_connected(15, give_up_on_refused=True)
    tokens.audience = RESOURCE
    broker.reconnect_now()
    assert broker.wait_connected(15)


def test_a_token_that_is_too_large_for_the_first_frame_is_named(vhost: Vhost, tokens: TokenServer) -> None:
    tokens.scopes = ("rabbitmq.read:" + "x" * 9000,)
    found = checked(with_token(vhost, tokens), vhost)
    assert "initial_frame_max" in one(found, "token server").do
    assert one(found, "broker ").mark is Mark.BAD


def test_rights_that_a_token_lacks_are_scopes(vhost: Vhost, tokens: TokenServer) -> None:
    vhost.declare_queue("readings")
    vhost.declare_queue("dead-letter", "dead-letter")
    tokens.scopes = ("rabbitmq.read:*/*/*", "rabbitmq.configure:*/*/*")
    rights = [each for each in checked(with_token(vhost, tokens), vhost) if each.mark is Mark.BAD]
    lacking = one(rights, f"rights of {CLIENT_ID}")
    assert lacking.do.startswith(f"have the token server give client {CLIENT_ID} RESOURCE.write:{vhost.name}/*/*")


def test_a_refused_client_is_tried_slowly_and_at_once_when_nudged(vhost: Vhost, tokens: TokenServer) -> None:
    tokens.refusal = 401, {"error": "invalid_client"}  # before the broker asks for the first time
    with Broker(with_token(vhost, tokens), name="token") as broker:
        with pytest.raises(Failed, match="invalid_client"):
            broker.wait_connected(15, give_up_on_refused=True)
        tokens.refusal = None
        begun = time.monotonic()
        assert broker.next_try is not None
        assert broker.next_try - begun > 2
        broker.reconnect_now()
        assert broker.wait_connected(15)


def test_a_token_server_that_fails_is_an_outage(vhost: Vhost, tokens: TokenServer) -> None:
    tokens.refusal = 503, {}
    with Broker(with_token(vhost, tokens), name="token") as broker:
        failure = failure_of(broker)
        assert (failure.kind, failure.code, failure.place) == (Kind.UNAVAILABLE, "http-503", "token server")
        tokens.refusal = None
        assert broker.wait_connected(30)


def test_a_token_server_that_does_not_answer_holds_nothing_up(vhost: Vhost, tokens: TokenServer) -> None:
    tokens.answering.clear()
    broker = Broker(with_token(vhost, tokens), name="waiting")
    broker.start()
    eventually(lambda: tokens.forms)
    ticked = broker.ticked
    eventually(lambda: broker.ticked > ticked + 1)
    assert broker.failure is None, "the request has reached its limit before the thread went on"
    assert broker.stop(TIME_LIMIT / 2)


def test_a_token_is_renewed_on_open_connections_and_a_failed_renewal_is_tried_again(
    broker: Broker, tokens: TokenServer
) -> None:
    tokens.life, tokens.grace = 1.0, 60.0
    assert broker.wait_connected(15)
    eventually(lambda: tokens.tokens > 2, 30)
    tokens.refusal = 503, {}
    asked = len(tokens.forms)
    eventually(lambda: len(tokens.forms) > asked + 1, 30)
    tokens.refusal, given = None, tokens.tokens
    eventually(lambda: tokens.tokens > given + 1, 30)
    assert (broker.connected, broker.opened) == (True, 1)


def test_a_refused_renewal_is_tried_at_once_when_nudged(broker: Broker, tokens: TokenServer) -> None:
    tokens.life, tokens.grace = 1.0, 60.0
    assert broker.wait_connected(15)
    tokens.refusal, asked = (401, {"error": "invalid_client"}), len(tokens.forms)
    eventually(lambda: len(tokens.forms) > asked)
    asked = len(tokens.forms)

    def nudged() -> bool:
        broker.reconnect_now()
        return len(tokens.forms) > asked

    eventually(nudged, 4)  # the shortest wait is longer
    assert broker.connected


def test_a_renewed_token_that_the_broker_refuses_pauses_as_a_password_does(broker: Broker, tokens: TokenServer) -> None:
    tokens.life, tokens.grace = 1.0, 60.0
    assert broker.wait_connected(15)
    tokens.audience = "another broker"
    failure = failure_of(broker)
    assert failure.kind is Kind.REFUSED
    tokens.audience = RESOURCE
    broker.reconnect_now()
    assert broker.wait_connected(15)


def test_the_dead_letters_are_reached_with_a_token(vhost: Vhost, tokens: TokenServer) -> None:
    options = {"host": vhost.host, "port": vhost.port, "vhost": vhost.name, "token-url": tokens.url}
    command = [str(DEADLETTER_QUEUE), *(f"--{name}={value}" for name, value in options.items())]
    command.append(f"--token-client-id={CLIENT_ID}")
    environment = os.environ | {"AMQP_CLIENT_SECRET": CLIENT_SECRET}
    made = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert made.returncode == 0, made.stderr
    assert vhost.exists("dead-letter")
