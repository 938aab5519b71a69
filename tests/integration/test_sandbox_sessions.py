"""Who may call the API of the sandbox, and what the others are told; before any record is looked at."""

import pytest
import requests
from simple_salesforce.exceptions import (
    SalesforceExpiredSession,
    SalesforceGeneralError,
    SalesforceRefusedRequest,
    SalesforceResourceNotFound,
)

from tests.services.rest import BASE, USER, Rest, told
from tests.services.salesforce import CLIENT_ID, CLIENT_SECRET, Org
from tests.services.waiting import eventually


@pytest.fixture
def rest(salesforce: Org) -> Rest:
    return Rest(salesforce)


def one(code: str, message: str) -> list[dict[str, str]]:
    return [{"message": message, "errorCode": code}]


EXPIRED = one("INVALID_SESSION_ID", "Session expired or invalid")


@pytest.mark.parametrize("header", [None, "Bearer nonsense", "OAuth 00Dx!AQnonsense"])
def test_a_call_without_a_good_token_is_refused(rest, header):
    rest.session.headers.update({"Authorization": header})
    answer = rest.send("GET", "/limits")
    assert (answer.status_code, answer.json()) == (401, EXPIRED)
    assert "Sforce-Limit-Info" not in answer.headers


@pytest.mark.parametrize("header", ["Basic eDp5", "nonsense", "Bearer"])
def test_a_header_of_another_kind_is_refused(rest, header):
    answer = rest.send("GET", "/limits", headers={"Authorization": header})
    assert (answer.status_code, answer.json()) == (401, one("INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE"))


def test_a_session_that_was_ended_is_refused_and_a_new_one_is_not(rest):
    rest.org.expire_tokens(USER)
    assert rest.send("GET", "/limits").json() == EXPIRED
    rest.log_in()
    assert rest.send("GET", "/limits").status_code == 200


def test_a_session_ends_when_it_is_not_used(rest):
    rest.org.switch(session_seconds=0.3)
    # Each look is a use, so the looks have to stop: what is asked for is what a look after the end says.
    rest.log_in()
    assert rest.send("GET", "/limits").status_code == 200
    form = {"token": rest.token, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    url = f"{rest.org.url}/services/oauth2/introspect"
    eventually(lambda: not requests.post(url, form, timeout=30).json()["active"], what="the end of the session")
    assert rest.send("GET", "/limits").json() == EXPIRED


def test_a_session_that_is_used_goes_on(rest):
    rest.org.switch(session_seconds=1.0, latency_ms=150)
    rest.log_in()
    for _ in range(10):  # 1.5 s
        assert rest.send("GET", "/limits").status_code == 200


def refuse_scope(org: Org) -> None:
    org.app(CLIENT_ID, CLIENT_SECRET, scope="id")


def refuse_org(org: Org) -> None:
    org.switch(api_enabled=False)


def refuse_user(org: Org) -> None:
    org.user(USER, api_enabled=False)


def refuse_password(org: Org) -> None:
    org.user(USER, password_expired=True)


REFUSALS = {
    "a token without the scope api": (
        refuse_scope,
        401,
        one("INVALID_SESSION_ID", "This session is not valid for use with the REST API"),
        SalesforceExpiredSession,
    ),
    "an org without the API": (
        refuse_org,
        403,
        one("API_DISABLED_FOR_ORG", "The REST API is not enabled for this Organization."),
        SalesforceRefusedRequest,
    ),
    "a user without the API": (
        refuse_user,
        403,
        one("API_CURRENTLY_DISABLED", "API is disabled for this User"),
        SalesforceRefusedRequest,
    ),
    "a password that has expired": (
        refuse_password,
        403,
        one(
            "INVALID_OPERATION_WITH_EXPIRED_PASSWORD",
            "The users password has expired, you must call SetPassword before attempting any other API operations",
        ),
        SalesforceRefusedRequest,
    ),
}


@pytest.mark.parametrize(("refuse", "status", "body", "error"), REFUSALS.values(), ids=REFUSALS)
def test_a_call_is_refused_for(rest, refuse, status, body, error):
    refuse(rest.org)
    answer = rest.send("GET", "/limits")
    assert (answer.status_code, answer.json()) == (status, body)
    with pytest.raises(error) as raised:
        rest.simple().limits()
    assert told(raised.value) == (status, body)


NO_RESOURCE = one("NOT_FOUND", "The requested resource does not exist")


def test_the_versions_are_told_to_anybody(rest):
    answer = requests.get(f"{rest.org.url}/services/data", timeout=30)
    assert answer.status_code == 200
    assert "Sforce-Limit-Info" not in answer.headers
    assert answer.json()[-1] == {"label": "Winter '27", "url": "/services/data/v68.0", "version": "68.0"}
    assert answer.json()[0] == {"label": "Summer '14", "url": "/services/data/v31.0", "version": "31.0"}


@pytest.mark.parametrize(
    ("version", "status", "body"),
    [
        ("68.0", 200, None),
        ("31.0", 200, None),
        ("69.0", 404, NO_RESOURCE),
        (
            "30.0",
            410,
            one("UNSUPPORTED_API_VERSION", "The requested API version is no longer supported: v30.0"),
        ),
    ],
)
def test_versions_come_and_go(rest, version, status, body):
    answer = rest.session.get(f"{rest.org.url}/services/data/v{version}/limits", timeout=30)
    assert answer.status_code == status
    assert body is None or answer.json() == body


@pytest.mark.parametrize(
    "path", ["/nothing", "/sobjects/Nothing", "/sobjects/Nothing/describe", "/sobjects/Case/x/y/z"]
)
def test_what_is_not_there_is_not_found(rest, path):
    answer = rest.send("GET", path)
    assert (answer.status_code, answer.json()) == (404, NO_RESOURCE)


def test_simple_salesforce_says_not_found(rest):
    with pytest.raises(SalesforceResourceNotFound) as raised:
        rest.simple().restful("sobjects/Nothing/describe")
    assert told(raised.value) == (404, NO_RESOURCE)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/sobjects/Case", "HEAD,GET,POST"),
        ("POST", "/limits", "HEAD,GET"),
        ("POST", "/sobjects/Case/500000000000001", "HEAD,GET,PATCH,DELETE"),
        ("GET", "/composite/sobjects/Case/Message_Id__c", "PATCH"),
    ],
)
def test_a_method_that_a_resource_lacks_is_not_allowed(rest, method, path, allowed):
    answer = rest.send(method, path, json={})
    text = f"HTTP Method '{method}' not allowed. Allowed are {allowed}"
    assert (answer.status_code, answer.json()) == (405, one("METHOD_NOT_ALLOWED", text))


def test_a_body_must_say_that_it_is_json(rest):
    answer = rest.send("POST", "/sobjects/Case", data=b"{}", headers={"Content-Type": "text/csv"})
    text = "Content-Type header specified in HTTP request is not supported: text/csv"
    assert (answer.status_code, answer.json()) == (415, one("UNSUPPORTED_MEDIA_TYPE", text))


def test_a_uri_and_headers_that_are_too_long_are_refused(rest):
    answer = rest.query("x" * 16_400)
    text = "The length of the URI exceeds the 16,384 byte limit."
    assert (answer.status_code, answer.json()) == (414, one("URI_TOO_LONG", text))
    answer = rest.query("x" * 8_200, Padding="y" * 8_200)
    text = "The combined length of the URI and headers exceeds the 16,384 byte limit."
    assert (answer.status_code, answer.json()) == (431, one("REQUEST_HEADER_FIELDS_TOO_LARGE", text))


def test_every_answer_tells_how_many_calls_were_made(rest):
    rest.org.limit(maximum=100, used=17)
    answer = rest.send("GET", "/limits")
    assert answer.json()["DailyApiRequests"] == {"Max": 100, "Remaining": 82}
    assert answer.headers["Sforce-Limit-Info"] == "api-usage=18/100"
    assert rest.create({"Nope__c": 1}).headers["Sforce-Limit-Info"] == "api-usage=19/100"
    assert rest.org.calls(USER) == 2


def test_no_call_is_left(rest):
    rest.org.limit(maximum=5, used=5)
    body = one("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
    answer = rest.create({})
    assert (answer.status_code, answer.json()) == (403, body)
    assert answer.headers["Sforce-Limit-Info"] == "api-usage=5/5"
    with pytest.raises(SalesforceRefusedRequest) as raised:
        rest.simple_object("Case").create({})
    assert told(raised.value) == (403, body)
    assert rest.org.cases() == []


def test_maintenance_answers_everything_with_a_page(rest):
    rest.org.maintenance()
    answers = [rest.send("GET", "/limits"), rest.create({}), rest.log_in_answer()]
    assert {(each.status_code, each.headers["Content-Type"]) for each in answers} == {(503, "text/html;charset=UTF-8")}
    with pytest.raises(SalesforceGeneralError) as raised:
        rest.simple().limits()
    assert raised.value.status == 503


def test_maintenance_may_only_stop_writing(rest):
    rest.org.maintenance("read-only")
    assert rest.send("GET", "/limits").status_code == 200
    text = "Updates can't be made during maintenance. Try again when maintenance is complete."
    answer = rest.create({})
    assert (answer.status_code, answer.json()) == (
        503,
        one("INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE", text),
    )
    rest.org.maintenance("")
    assert rest.create({}).status_code == 201


def test_simple_salesforce_works_with_it_as_with_salesforce(rest):
    cases = rest.simple_object("Case")
    made = cases.create({"Subject": "Pump 7"})
    assert made["success"] is True
    assert cases.get(made["id"])["Subject"] == "Pump 7"
    assert cases.update(made["id"], {"Subject": "Pump 8"}) == 204
    assert cases.upsert("Message_Id__c/m-1", {"Subject": "Pump 9"}) == 201
    assert cases.get_by_custom_id("Message_Id__c", "m-1")["Subject"] == "Pump 9"
    assert cases.describe()["name"] == "Case"
    assert cases.delete(made["id"]) == 204
    found = rest.simple().query("SELECT Subject FROM Case")
    assert [each["Subject"] for each in found["records"]] == ["Pump 9"]
    with pytest.raises(SalesforceResourceNotFound):
        cases.get(made["id"])
    assert f"{BASE}/sobjects/Case/describe" in [each["path"] for each in rest.org.requests()]
