"""The sandbox gives tokens out, and refuses them, in the words of Salesforce."""

import base64
import subprocess
import time
from typing import Any

import jwt
import pytest
import requests

from tests.services.salesforce import CLIENT_ID, CLIENT_SECRET, PASSWORD, SECURITY_TOKEN, Org, private_key

USER = "hvac@example.com"
BY_PASSWORD = {
    "grant_type": "password",
    "client_id": CLIENT_ID,
    "client_secret": CLIENT_SECRET,
    "username": USER,
    "password": PASSWORD + SECURITY_TOKEN,
}
BY_CLIENT = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
AUTHENTICATION_FAILURE = {"error": "invalid_grant", "error_description": "authentication failure"}


def log_in(org: Org, form, **more) -> requests.Response:
    return requests.post(f"{org.url}/services/oauth2/token", form, timeout=30, **more)


def refusal(answer: requests.Response) -> dict[str, Any]:
    assert answer.status_code == 400
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Type"] == "application/json;charset=UTF-8"
    return answer.json()


def refused(error: str, description: str) -> dict[str, Any]:
    return {"error": error, "error_description": description}


def assertion(org: Org, key: str = "", **claims) -> dict[str, Any]:
    told = {"iss": CLIENT_ID, "sub": USER, "aud": "https://login.salesforce.com", "exp": int(time.time()) + 120}
    kept = {name: value for name, value in (told | claims).items() if value is not None}
    return {"grant_type": JWT_GRANT, "assertion": jwt.encode(kept, key or org.key, algorithm="RS256")}


@pytest.fixture
def org(salesforce: Org) -> Org:
    salesforce.login("hvac", "jwt")  # makes the user, and the app's certificate
    return salesforce


def test_a_password_with_its_security_token_gives_a_token(org):
    answer = log_in(org, BY_PASSWORD)
    told = answer.json()
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert set(told) == {"id", "issued_at", "token_type", "instance_url", "signature", "access_token"}
    assert told["token_type"] == "Bearer"
    assert told["instance_url"] == org.url
    assert told["id"].startswith(f"{org.url}/id/00D")
    assert told["id"].rpartition("/")[2] == org.user(USER)
    assert told["issued_at"].isdigit()
    assert told["access_token"][15:18] == "!AQ"


def test_an_app_checks_an_assertion_by_the_certificate_that_was_uploaded(org, tmp_path):
    """Made as the how-to makes it."""
    key, certificate = tmp_path / "salesforce.key", tmp_path / "salesforce.crt"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-sha256", "-nodes", "-days", "730"]
    command += ["-subj", "/CN=sfconnector", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    org.app(CLIENT_ID, CLIENT_SECRET, certificate=certificate.read_text())
    assert log_in(org, assertion(org, key.read_text())).status_code == 200
    assert refusal(log_in(org, assertion(org)))["error_description"] == "invalid assertion"
    damaged = "\n".join([*certificate.read_text().splitlines()[:3], "-----END CERTIFICATE-----"])
    org.app(CLIENT_ID, CLIENT_SECRET, certificate=damaged)
    assert refusal(log_in(org, assertion(org, key.read_text())))["error_description"] == "invalid assertion"


def test_the_instance_url_may_be_another_than_the_address_asked(org):
    org.switch(instance_url="https://elsewhere.example")
    assert log_in(org, BY_PASSWORD).json()["instance_url"] == "https://elsewhere.example"


def test_a_trusted_address_needs_no_security_token(org):
    org.switch(ip_trusted=True)
    assert log_in(org, BY_PASSWORD | {"password": PASSWORD}).status_code == 200


def test_client_credentials_give_a_token_of_the_user_they_run_as(org):
    org.app(CLIENT_ID, CLIENT_SECRET, run_as=USER)
    told = log_in(org, BY_CLIENT).json()
    assert told["scope"] == "api"
    assert told["id"].endswith(org.user(USER))


def test_client_credentials_may_come_in_a_basic_header(org):
    org.app(CLIENT_ID, CLIENT_SECRET, run_as=USER)
    both = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
    answer = log_in(org, {"grant_type": "client_credentials"}, headers={"Authorization": f"Basic {both}"})
    assert answer.json()["token_type"] == "Bearer"


@pytest.mark.parametrize("audience", ["https://login.salesforce.com", "https://test.salesforce.com", "own"])
def test_a_signed_assertion_gives_a_token(org, audience):
    answer = log_in(org, assertion(org, aud=org.url if audience == "own" else audience))
    assert answer.json()["scope"] == "api"


REFUSED_FORMS = {
    "an unknown app": ({"client_id": "nobody"}, refused("invalid_client_id", "client identifier invalid")),
    "a wrong client secret": ({"client_secret": "no"}, refused("invalid_client", "invalid client credentials")),
    "a wrong user": ({"username": "nobody@example.com"}, AUTHENTICATION_FAILURE),
    "a wrong password": ({"password": "no"}, AUTHENTICATION_FAILURE),
    "a missing security token": ({"password": PASSWORD}, AUTHENTICATION_FAILURE),
    "no password": ({"password": ""}, refused("invalid_request", "missing required parameter: password")),
    "an unknown flow": ({"grant_type": "magic"}, refused("unsupported_grant_type", "grant type not supported")),
}


@pytest.mark.parametrize(("change", "body"), REFUSED_FORMS.values(), ids=REFUSED_FORMS)
def test_the_password_flow_refuses(org, change, body):
    assert refusal(log_in(org, BY_PASSWORD | change)) == body


def test_a_blocked_password_flow_looks_like_a_wrong_password(org):
    org.switch(password_flow=False)
    assert refusal(log_in(org, BY_PASSWORD)) == AUTHENTICATION_FAILURE


def test_an_app_without_the_flow_refuses(org):
    org.app(CLIENT_ID, CLIENT_SECRET, flows=["jwt"])
    assert refusal(log_in(org, BY_PASSWORD)) == refused("unsupported_grant_type", "grant type not supported")


def test_a_user_who_has_left_is_refused(org):
    org.user(USER, active=False)
    inactive = refused("invalid_grant", "inactive user")
    assert refusal(log_in(org, BY_PASSWORD)) == inactive
    assert refusal(log_in(org, assertion(org))) == inactive


def test_too_many_bad_passwords_lock_the_user(org):
    org.switch(lockout_after=3)
    for _ in range(3):
        assert refusal(log_in(org, BY_PASSWORD | {"password": "no"})) == AUTHENTICATION_FAILURE
    assert refusal(log_in(org, BY_PASSWORD)) == AUTHENTICATION_FAILURE
    org.user(USER, failures=0)
    assert log_in(org, BY_PASSWORD).status_code == 200


def test_client_credentials_need_the_orgs_own_domain(org):
    org.app(CLIENT_ID, CLIENT_SECRET, run_as=USER)
    org.switch(my_domain=False)
    assert refusal(log_in(org, BY_CLIENT)) == refused("invalid_grant", "request not supported on this domain")


def test_client_credentials_need_a_user_to_run_as(org):
    assert refusal(log_in(org, BY_CLIENT)) == refused("invalid_grant", "no client credentials user enabled")


REFUSED_CLAIMS = {
    "an unknown app": ({"iss": "nobody"}, refused("invalid_client_id", "client identifier invalid")),
    "an unknown user": ({"sub": "x@example.com"}, refused("invalid_grant", "user hasn't approved this consumer")),
    "another audience": ({"aud": "https://example.com"}, refused("invalid_grant", "audience is invalid")),
    "a time that has passed": ({"exp": 1_000_000_000}, refused("invalid_grant", "expired authorization code")),
    "a time too far away": ({"exp": 4_000_000_000}, refused("invalid_grant", "invalid assertion")),
    "no time": ({"exp": None}, refused("invalid_grant", "invalid assertion")),
}


@pytest.mark.parametrize(("claims", "body"), REFUSED_CLAIMS.values(), ids=REFUSED_CLAIMS)
def test_the_jwt_flow_refuses(org, claims, body):
    assert refusal(log_in(org, assertion(org, **claims))) == body


def test_an_assertion_signed_by_somebody_else_is_refused(org):
    answer = log_in(org, assertion(org, key=private_key()))
    assert refusal(answer) == refused("invalid_grant", "invalid assertion")


def test_a_jwt_needs_the_approval_of_the_user_and_of_the_administrator(org):
    org.app(CLIENT_ID, CLIENT_SECRET, approved=False)
    answer = log_in(org, assertion(org))
    assert refusal(answer) == refused("invalid_grant", "user hasn't approved this consumer")
    org.app(CLIENT_ID, CLIENT_SECRET, approved=True, admin_approved=False)
    answer = log_in(org, assertion(org))
    assert refusal(answer) == refused("invalid_app_access", "user is not admin approved to access this app")


def test_no_refresh_token_is_good_because_none_was_given_out(org):
    form = {"grant_type": "refresh_token", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "refresh_token": "x"}
    assert refusal(log_in(org, form)) == refused("invalid_grant", "expired access/refresh token")


def test_a_secret_in_the_address_does_not_count(org):
    answer = requests.post(f"{org.url}/services/oauth2/token", params=BY_PASSWORD, timeout=30)
    assert refusal(answer) == refused("unsupported_grant_type", "grant type not supported")


def test_a_token_can_be_looked_at_and_ended(org):
    token = log_in(org, BY_PASSWORD).json()["access_token"]
    form = {"token": token, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    told = requests.post(f"{org.url}/services/oauth2/introspect", form, timeout=30).json()
    assert (told["active"], told["username"], told["client_id"]) == (True, USER, CLIENT_ID)
    assert requests.post(f"{org.url}/services/oauth2/revoke", {"token": token}, timeout=30).status_code == 200
    assert requests.post(f"{org.url}/services/oauth2/introspect", form, timeout=30).json() == {"active": False}


def test_log_ins_are_counted_by_user_and_their_secrets_are_not_kept(org):
    log_in(org, BY_PASSWORD)
    log_in(org, BY_PASSWORD | {"password": "wrong-one"})
    log_in(org, assertion(org))
    assert org.logins(USER) == 3
    kept = str(org.requests())
    for secret in (CLIENT_SECRET, PASSWORD, "wrong-one", "eyJ"):
        assert secret not in kept
