"""What a refused log-in means, its likely causes, and the parts of a log-in that need no network."""

import pytest

from connectorlib.errors import Failure, Kind
from sfconnector.preflight import what_to_do
from sfconnector.salesforce import login_errors
from sfconnector.salesforce.login import Token, audience_of, token_of

FAILED = "authentication failure"
IDENTITY = "https://login.salesforce.com/id/00Dx0000000BV7z/005x00000012Q9P"
GIVEN = {"access_token": "00D!abc", "instance_url": "https://acme.my.salesforce.com/", "id": IDENTITY}


@pytest.mark.parametrize(
    ("error", "description", "status", "kind"),
    [
        ("invalid_client_id", "client identifier invalid", 400, Kind.REFUSED),
        ("invalid_client", "invalid client credentials", 400, Kind.REFUSED),
        ("invalid_grant", FAILED, 400, Kind.REFUSED),
        ("invalid_grant", "", 401, Kind.REFUSED),
        ("invalid_app_access", "user is not admin approved to access this app", 400, Kind.REFUSED),
        ("inactive_user", "", 400, Kind.REFUSED),
        ("something_new", "", 400, Kind.UNAVAILABLE),
        ("unsupported_grant_type", "grant type not supported", 400, Kind.CONFIGURATION),
        ("invalid_request", "missing required parameter: client_id", 400, Kind.CONFIGURATION),
        ("rate_limit_exceeded", "number of login requests exceeded", 400, Kind.UNAVAILABLE),
        ("invalid_grant", "login rate exceeded", 400, Kind.UNAVAILABLE),
        ("LOGIN_RATE_EXCEEDED", "", 400, Kind.UNAVAILABLE),
        ("server_error", "", 400, Kind.UNAVAILABLE),
        ("temporarily_unavailable", "", 400, Kind.UNAVAILABLE),
        ("invalid_grant", FAILED, 503, Kind.UNAVAILABLE),
        ("invalid_grant", FAILED, 429, Kind.UNAVAILABLE),
    ],
)
def test_what_does_not_turn_the_log_in_down_is_an_outage(error, description, status, kind):
    assert login_errors.kind_of(error, description, status) is kind


@pytest.mark.parametrize(
    ("auth", "error", "description", "words"),
    [
        ("password", "invalid_grant", FAILED, ["wrong password", "security_token", "flow blocked", "login_url", "IP"]),
        ("password", "invalid_grant", "authentication failure - Invalid Password", ["wrong password"]),
        ("password", "invalid_client_id", "client identifier invalid", ["client_id", "login_url"]),
        ("password", "invalid_client", "invalid client credentials", ["client_secret"]),
        ("client_credentials", "invalid_grant", "request not supported on this domain", ["My Domain"]),
        ("client_credentials", "invalid_grant", "no client credentials user enabled", ["user to run as"]),
        ("client_credentials", "invalid_grant", FAILED, ["locked", "IP"]),
        ("jwt", "invalid_grant", "user hasn't approved this consumer", ["approve the app"]),
        ("jwt", "invalid_app_access", "user is not admin approved to access this app", ["approve the app"]),
        ("jwt", "invalid_grant", "audience is invalid", ["audience"]),
        ("jwt", "invalid_grant", "invalid assertion", ["clock", "certificate"]),
        ("jwt", "invalid_grant", "expired authorization code", ["clock"]),
        ("jwt", "unsupported_grant_type", "grant type not supported", ["does not allow this flow"]),
        ("password", "invalid_grant", "inactive user", ["inactive"]),
        ("password", "inactive_org", "", ["sandbox"]),
    ],
)
def test_a_refusal_comes_with_its_likely_causes(auth, error, description, words):
    text = login_errors.causes(auth, error, description)
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize(("skew", "words"), [(600.0, "600 s behind"), (-600.0, "600 s ahead of")])
def test_a_clock_that_is_wrong_is_named_where_it_matters(skew, words):
    assert words in login_errors.causes("jwt", "invalid_grant", "expired authorization code", skew=skew)
    assert "clock" not in login_errors.causes("password", "invalid_grant", FAILED, skew=skew)
    assert "of this machine" not in login_errors.causes("jwt", "invalid_grant", "audience is invalid", skew=1.0)


@pytest.mark.parametrize(
    ("login_url", "audience"),
    [
        ("https://login.salesforce.com", "https://login.salesforce.com"),
        ("https://test.salesforce.com/", "https://test.salesforce.com"),
        ("https://acme.my.salesforce.com", "https://login.salesforce.com"),
        ("https://acme--uat.sandbox.my.salesforce.com", "https://test.salesforce.com"),
        ("https://login.example.com/", "https://login.example.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    ],
)
def test_an_assertion_is_meant_for_the_salesforce_behind_login_url(login_url, audience):
    assert audience_of(login_url) == audience


def test_a_token_comes_with_address_user_and_org():
    assert token_of(GIVEN) == Token("00D!abc", "https://acme.my.salesforce.com", "005x00000012Q9P", "00Dx0000000BV7z")


@pytest.mark.parametrize("identity", [None, 5, "", "garbage", "https://login.salesforce.com/id/00D"])
def test_a_token_without_identity_is_a_token(identity):
    token = token_of(GIVEN | {"id": identity})
    assert token is not None
    assert (token.user_id, token.org_id) == ("", "")


@pytest.mark.parametrize(
    "change",
    [
        {"access_token": None},
        {"access_token": ""},
        {"access_token": "with\nline"},
        {"access_token": "tökén"},
        {"instance_url": None},
        {"instance_url": "acme.my.salesforce.com"},
        {"instance_url": "ftp://acme"},
        {"instance_url": "https://"},
        {"instance_url": "https://acme:port"},
    ],
)
def test_an_answer_without_token_or_address_gives_no_token(change):
    assert token_of(GIVEN | change) is None


def test_a_token_does_not_show_itself():
    assert "00D!abc" not in repr(token_of(GIVEN))


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        (Kind.UNAVAILABLE, "503", "status.salesforce.com"),
        (Kind.UNAVAILABLE, "SERVER_UNAVAILABLE", "status.salesforce.com"),
        (Kind.UNAVAILABLE, "unknown_error", "status.salesforce.com"),
        (Kind.UNAVAILABLE, "unreachable", "is login_url right"),
        (Kind.UNAVAILABLE, "timeout", "is login_url right"),
        (Kind.UNAVAILABLE, "proxy-407", "HTTPS_PROXY"),
        (Kind.UNAVAILABLE, "proxy-403", "have the proxy allow the host"),
        (Kind.UNAVAILABLE, "proxy-504", "the log of the proxy"),
        (Kind.UNAVAILABLE, "proxy", "start the proxy"),
        (Kind.CONFIGURATION, "proxy-address", "correct HTTPS_PROXY"),
        (Kind.UNAVAILABLE, "tls", "tls.ca"),
        (Kind.REFUSED, "invalid_client", "correct the login"),
        (Kind.CONFIGURATION, "not-sent", "correct the division's salesforce section"),
    ],
)
def test_check_says_what_helps_by_the_code_of_the_failure(kind, code, words):
    assert words in what_to_do(Failure(kind, code, "text"))
