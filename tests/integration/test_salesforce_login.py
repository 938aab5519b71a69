"""Log-ins over real HTTP, against a server that does what each test tells it."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from connectorlib.errors import Failed, Kind
from connectorlib.service.redaction import secrets
from sfconnector.salesforce.login import TokenProvider
from sfconnector.settings import Salesforce
from tests.services.scripted import (
    Scripted,
    Trickle,
    answer,
    as_json,
    hang_up,
    logged_in,
    page,
    reset,
    then_hang_up,
)
from tests.services.waiting import eventually

WRONG = as_json(400, {"error": "invalid_grant", "error_description": "authentication failure"})
SECRETS = {"client_secret": "s3cr3t-of-the-app", "password": "s3cr3t-pass", "security_token": "s3cr3t-token"}


@pytest.fixture
def server():
    with Scripted() as server:
        yield server


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key, encryption=None):
    kind = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, kind, encryption or serialization.NoEncryption()).decode()


def settings(server, **more):
    given = {"login_url": server.url, "client_id": "app", "username": "fs@example.com", **SECRETS}
    return Salesforce(**given | more)


def provider(server, **more):
    return TokenProvider(settings(server, **more), "field-service")


def refusal(tokens, *arguments):
    with pytest.raises(Failed) as caught:
        tokens.get(*arguments)
    return caught.value.failure


@pytest.fixture(autouse=True)
def no_secrets_of_others():
    yield
    secrets.clear()


# -- what is sent


def test_password_and_security_token_go_together_in_the_body(server):
    token = provider(server).get()
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/services/oauth2/token")
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.form == {
        "grant_type": "password",
        "client_id": "app",
        "client_secret": "s3cr3t-of-the-app",
        "username": "fs@example.com",
        "password": "s3cr3t-passs3cr3t-token",
    }
    assert (token.instance_url, token.user_id, token.org_id) == (server.url, "005x00000012Q9P", "00Dx0000000BV7z")


def test_client_credentials_need_no_user(server):
    provider(server, auth="client_credentials", username=None, password=None).get()
    assert server.requests[0].form == {
        "grant_type": "client_credentials",
        "client_id": "app",
        "client_secret": "s3cr3t-of-the-app",
    }


def test_an_assertion_is_signed_for_a_few_minutes(server, key):
    provider(server, auth="jwt", private_key=pem(key), audience="https://login.salesforce.com").get()
    form = server.requests[0].form
    assert set(form) == {"grant_type", "assertion"}
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    claims = jwt.decode(
        form["assertion"], key.public_key(), algorithms=["RS256"], audience="https://login.salesforce.com"
    )
    assert (claims["iss"], claims["sub"]) == ("app", "fs@example.com")
    assert 0 < claims["exp"] - time.time() <= 180


# -- one log-in at a time, and only when it is needed


def test_a_token_is_kept(server):
    tokens = provider(server)
    assert tokens.get() is tokens.get()
    assert tokens.logins == len(server.log_ins) == 1


def test_a_stale_token_is_replaced(server):
    tokens = provider(server)
    first = tokens.get()
    assert tokens.get(first).access_token != first.access_token
    assert len(server.log_ins) == 2


def test_many_threads_with_one_stale_token_make_one_log_in(server):
    tokens = provider(server)
    first = tokens.get()
    together = threading.Barrier(8)

    def renew(_):
        together.wait()
        return tokens.get(first)

    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(renew, range(8)))
    assert len(found) == 1
    assert len(server.log_ins) == 2


# -- refusals


def test_a_refused_log_in_is_made_once_until_it_is_forgiven(server):
    server.logins = [WRONG, logged_in(server.url)]
    tokens = provider(server)
    first = refusal(tokens)
    assert [refusal(tokens) for _ in range(5)] == [first] * 5
    assert tokens.refused == first
    assert len(server.log_ins) == 1
    tokens.forgive()
    assert tokens.get().instance_url == server.url
    assert len(server.log_ins) == 2


def test_a_refusal_while_running_stands_too(server):
    tokens = provider(server)
    stale = tokens.get()
    server.logins = [WRONG]
    assert [refusal(tokens, stale).kind, refusal(tokens).kind] == [Kind.REFUSED, Kind.REFUSED]
    assert len(server.log_ins) == 2


def test_a_refusal_names_division_user_host_and_causes(server):
    server.logins = [WRONG]
    told = refusal(provider(server))
    assert (told.kind, told.code) == (Kind.REFUSED, "invalid_grant")
    for words in ("authentication failure", "field-service", "fs@example.com", f"127.0.0.1:{server.port}", "IP"):
        assert words in told.text


def test_a_refusal_without_a_description_is_told_as_well(server):
    server.logins = [as_json(400, {"error": "invalid_client"})]
    assert refusal(provider(server)).code == "invalid_client"


def test_a_grant_that_the_app_lacks_is_a_matter_of_configuration_and_asked_for_again(server):
    server.logins = [as_json(400, {"error": "unsupported_grant_type", "error_description": "grant type not supported"})]
    tokens = provider(server)
    assert [refusal(tokens).kind, refusal(tokens).kind] == [Kind.CONFIGURATION] * 2
    assert len(server.log_ins) == 2


def test_no_secret_is_in_what_a_failed_log_in_says(server, key):
    echo = as_json(400, {"error": "invalid_grant", "error_description": f"bad {' '.join(SECRETS.values())}"})
    server.logins = [echo]
    tokens = provider(server)
    told = refusal(tokens)
    shown = f"{told} {told.detail} {tokens!r} {settings(server)!r}"
    assert [secret for secret in SECRETS.values() if secret in shown] == []


def test_a_token_is_redacted_from_the_moment_it_is_there(server):
    server.logins = [logged_in(server.url, "00D!AQ-this-is-the-token")]
    provider(server).get()
    assert "AQ-this-is" not in secrets.redact("Authorization: 00D!AQ-this-is-the-token")


# -- private keys


def test_a_private_key_that_cannot_sign_asks_nobody(server, key):
    encrypted = pem(key, serialization.BestAvailableEncryption(b"x"))
    public = (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
    elliptic = pem(ec.generate_private_key(ec.SECP256R1()))
    damaged = pem(key)[:400] + "\n-----END PRIVATE KEY-----\n"
    for text, words in [
        (None, "empty"),
        ("", "empty"),
        ("c3VyZQ==", "not PEM"),
        (encrypted, "encrypted"),
        (public, "public"),
        (elliptic, "not an RSA key"),
        (damaged, "damaged"),
    ]:
        told = refusal(provider(server, auth="jwt", private_key=text))
        assert (told.kind, words in told.text) == (Kind.CONFIGURATION, True), told.text
        middle = (text or "")[40:80]
        assert not middle or middle not in str(told)
    assert server.requests == []


def test_a_wrong_clock_is_named_when_an_assertion_is_refused(server, key):
    value = json.dumps({"error": "invalid_grant", "error_description": "invalid assertion"}).encode()
    server.logins = [answer(400, value, "Date: Wed, 21 Oct 2015 07:28:00 GMT")]
    told = refusal(provider(server, auth="jwt", private_key=pem(key)))
    assert "ahead of the server's" in told.text
    assert told.kind is Kind.UNAVAILABLE  # the clock will be set
    assert server.requests[0].form["assertion"] not in str(told)


# -- outages


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (page(503), "http-503"),
        (page(500, "Internal error"), "http-500"),
        (page(404, "Not found"), "http-404"),
        (page(200, "Please accept the terms of this network"), "http-200"),
        (answer(429), "http-429"),
        (answer(200), "http-200"),
        (answer(400), "http-400"),
        (as_json(200, {"access_token": "00D!x"}), "http-200"),
        (as_json(200, []), "http-200"),
        (as_json(400, {"error": 5}), "http-400"),
        (as_json(400, {"error": "rate_limit_exceeded"}), "rate_limit_exceeded"),
        (as_json(503, {"error": "invalid_grant", "error_description": "x"}), "invalid_grant"),
        (answer(302, b"", "Location: https://maintenance.salesforce.com/x"), "redirect"),
        (then_hang_up(answer(200, b'{"acc', length=500)), "no-answer"),
        (reset, "no-answer"),
        (hang_up, "no-answer"),
    ],
)
def test_an_outage_refuses_nothing_and_is_tried_again(server, said, code):
    server.logins = [said, logged_in(server.url)]
    tokens = provider(server)
    told = refusal(tokens)
    assert (told.kind, told.code) == (Kind.UNAVAILABLE, code), told
    assert tokens.refused is None
    assert "field-service" in told.text
    assert tokens.get().instance_url == server.url


def test_a_redirect_is_not_followed_with_the_password(server):
    with Scripted() as other:
        server.logins = [answer(307, b"", f"Location: {other.url}/services/oauth2/token")]
        told = refusal(provider(server))
        assert f"127.0.0.1:{other.port}" in told.text
        assert other.requests == []


def test_an_address_that_nobody_listens_on_is_an_outage():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    told = refusal(TokenProvider(Salesforce(login_url=f"http://127.0.0.1:{port}"), "hvac"))
    assert (told.kind, told.code) == (Kind.UNAVAILABLE, "unreachable")
    assert "connection refused" in told.text


def test_a_host_that_does_not_exist_is_an_outage():
    told = refusal(TokenProvider(Salesforce(login_url="https://acme.invalid"), "hvac"))
    assert (told.kind, told.code) == (Kind.UNAVAILABLE, "unreachable")
    assert "acme.invalid" in told.text


def test_a_log_in_that_trickles_is_ended(server, monkeypatch):
    monkeypatch.setattr("sfconnector.salesforce.login.TIME_LIMIT", 0.4)
    whole = logged_in(server.url)
    slow = Trickle(whole, fast=20)
    server.logins = [slow, whole]
    tokens = provider(server)
    assert refusal(tokens).code == "no-answer"
    assert not slow.finished
    assert tokens.get().instance_url == server.url


def test_a_token_is_not_sent_in_the_clear(server):
    server.logins = [logged_in("http://acme.my.salesforce.com")]
    told = refusal(provider(server))
    assert (told.kind, told.code) == (Kind.CONFIGURATION, "instance-url")


def test_closing_revokes_nothing(server):
    tokens = provider(server)
    tokens.get()
    tokens.close()
    assert eventually(lambda: len(server.requests)) == 1
