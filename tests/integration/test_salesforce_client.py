"""The client against the sandbox: the calls that the connector makes, and the bad days of an org."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from connectorlib.errors import Failed, Kind
from sfconnector.salesforce.client import Client, Rejected, Unanswered
from sfconnector.salesforce.error_codes import duplicate_of, kind_of
from sfconnector.salesforce.login import TokenProvider
from sfconnector.settings import Salesforce
from tests.services.salesforce import CLIENT_ID, CLIENT_SECRET

KEY = "Message_Id__c"
USER = "hvac@example.com"
COLLECTION = {"path": "composite/sobjects"}


@pytest.fixture
def client_of(salesforce):
    with contextlib.ExitStack() as clients:

        def make(auth="password", **more):
            settings = Salesforce(**salesforce.login("hvac", auth) | {"timeout": 10.0} | more)
            client = Client(settings, "hvac", TokenProvider(settings, "hvac"))
            clients.callback(client.close)
            return client

        yield make


@pytest.fixture
def lanes_of(salesforce):
    """Clients of one division, which share its log-in."""
    with contextlib.ExitStack() as stack:

        def make(count):
            settings = Salesforce(**salesforce.login("hvac"), timeout=10.0)
            tokens = TokenProvider(settings, "hvac")
            return [stack.enter_context(contextlib.closing(Client(settings, "hvac", tokens))) for _ in range(count)]

        yield make


def at_once(clients, call):
    """Let all clients begin at the same moment; return what each brings, the result or the failure."""
    ready = threading.Barrier(len(clients))

    def begin(client):
        ready.wait(10)
        try:
            return call(client)
        except Failed as failed:
            return failed.failure

    with ThreadPoolExecutor(len(clients)) as lanes:
        return list(lanes.map(begin, clients))


@pytest.fixture
def client(client_of):
    return client_of()


def failing(call, *arguments, **more):
    with pytest.raises(Failed) as caught:
        call(*arguments, **more)
    return caught.value


@pytest.mark.parametrize("auth", ["password", "jwt", "client_credentials"])
def test_every_flow_logs_in_as_the_user_of_the_division(salesforce, client_of, auth):
    client = client_of(auth)
    token = client.log_in()
    (user,) = client.query(f"SELECT Id, Username FROM User WHERE Username = '{USER}'")
    assert token.user_id == user["Id"]
    assert token.org_id.startswith("00D")
    client.create([{"Subject": "a"}], repeatable=False)
    assert [case["CreatedById"] for case in salesforce.cases()] == [user["Id"]]


@pytest.mark.parametrize(
    ("auth", "wrong", "tries"),
    [
        ("password", {"password": "wrong"}, 1),
        ("password", {"security_token": ""}, 1),
        ("password", {"username": "nobody@example.com"}, 1),
        ("password", {"client_id": "other"}, 3),
        ("password", {"client_secret": "wrong"}, 3),
        ("client_credentials", {"client_secret": "wrong"}, 3),
        ("jwt", {"username": "nobody@example.com"}, 3),
        ("jwt", {"audience": "https://elsewhere.example.com"}, 3),
    ],
)
def test_a_wrong_password_is_tried_once_and_another_wrong_log_in_whenever_it_is_asked_for(
    salesforce, client_of, auth, wrong, tries
):
    client = client_of(auth, **wrong)
    for call in (client.log_in, client.limits, lambda: client.create([{}], repeatable=True)):
        assert failing(call).failure.kind is Kind.REFUSED
    assert len(salesforce.requests("oauth2/token")) == tries


def test_a_password_put_right_in_the_org_works_after_being_forgiven(salesforce, client):
    salesforce.user(USER, password="another")
    failing(client.log_in)
    salesforce.login("hvac")
    failing(client.log_in)
    client.tokens.forgive()
    client.log_in()
    assert salesforce.logins(USER) == 2


def test_two_hundred_cases_are_one_call(salesforce, client):
    records = [{"Subject": f"Pump {number}", KEY: f"m-{number}"} for number in range(200)]
    results = client.create(records, repeatable=True)
    assert [result.errors for result in results] == [()] * 200
    cases = salesforce.cases()
    assert [case["Subject"] for case in cases] == [record["Subject"] for record in records]
    assert [result.id for result in results] == [case["Id"] for case in cases]
    assert (salesforce.calls(), client.calls) == (1, 1)


def test_each_record_has_its_own_result(salesforce, client):
    results = client.create([{"Subject": "a"}, {"Subject": "x" * 300}, {"Subject": "c"}], repeatable=False)
    assert [bool(result.errors) for result in results] == [False, True, False]
    (error,) = results[1].errors
    assert (error.code, error.fields) == ("STRING_TOO_LONG", ("Subject",))
    assert len(salesforce.cases()) == 2


def test_a_key_that_is_there_already_names_its_case(client):
    (first,) = client.create([{KEY: "m-1"}], repeatable=True)
    (second,) = client.create([{KEY: "M-1"}], repeatable=True)
    assert duplicate_of(second.errors[0], KEY) == first.id
    assert duplicate_of(second.errors[0], "Other__c") is None


def test_one_key_twice_in_an_upsert_is_turned_away_twice_and_passes_alone(client):
    results = client.upsert(KEY, [{KEY: "m-1"}, {KEY: "m-1"}])
    errors = [error for result in results for error in result.errors]
    assert [kind_of(error) for error in errors] == [Kind.RETRY, Kind.RETRY]
    assert [duplicate_of(error, KEY) for error in errors] == [None, None]
    assert client.upsert(KEY, [{KEY: "m-1"}])[0].created


def test_an_upsert_makes_a_case_and_then_changes_it(salesforce, client):
    (made,) = client.upsert(KEY, [{KEY: "m/1 ü", "Subject": "a"}])
    (changed,) = client.upsert(KEY, [{KEY: "m/1 ü", "Subject": "b"}])
    assert (made.created, changed.created, made.id) == (True, False, changed.id)
    assert [case["Subject"] for case in salesforce.cases()] == ["b"]


def test_decimals_keep_their_digits(salesforce, client):
    salesforce.add_field("Case", "Reading__c", type="double", length=0, precision=18, scale=4)
    (result,) = client.create([{"Reading__c": Decimal("20.2500")}], repeatable=False)
    assert result.errors == ()
    assert salesforce.cases()[0]["Reading__c"] == 20.25


def test_headers_reach_the_org_also_after_a_new_log_in(salesforce, client):
    client.log_in()
    salesforce.expire_tokens()
    client.create([{"Subject": "a"}], {"Sforce-Auto-Assign": "FALSE"}, repeatable=False)
    assert salesforce.logins(USER) == 2
    assert len(salesforce.cases()) == 1


def test_a_query_finds_all_of_many_records(salesforce, client):
    salesforce.contacts(2500)
    found = client.query("SELECT Id, Email FROM Contact")
    assert len({record["Id"] for record in found}) == 2500
    assert client.calls == 2


def test_case_is_described(client):
    fields = {field["name"]: field for field in client.describe("Case")["fields"]}
    assert fields["Subject"]["length"] == 255
    assert fields[KEY]["externalId"] is True


def test_an_sobject_that_is_not_there_is_a_matter_of_configuration(client):
    failed = failing(client.describe, "Nothing__c")
    assert isinstance(failed, Rejected)
    assert (failed.failure.kind, failed.status) == (Kind.CONFIGURATION, 404)


def test_a_field_that_is_not_there_refuses_the_call(client):
    failed = failing(client.create, [{"Nothing__c": "x"}], repeatable=True)
    assert isinstance(failed, Rejected)
    assert (failed.failure.kind, failed.status) == (Kind.CONFIGURATION, 400)


def test_usage_is_what_the_org_says(salesforce, client):
    salesforce.limit(maximum=1000, used=500)
    client.create([{}], repeatable=True)
    assert client.usage is not None
    assert (client.usage.used, client.usage.maximum) == (501, 1000)
    assert client.limits().maximum == 1000


def test_a_user_who_may_not_see_the_limits_learns_them_from_a_header(salesforce, client):
    salesforce.limit(maximum=1000, used=500)
    salesforce.fault(match={"path": "/limits"}, status=403, errorCode="INSUFFICIENT_ACCESS", message="no")
    assert client.limits().maximum == 1000


def test_a_used_up_limit_is_an_outage(salesforce, client):
    client.log_in()
    salesforce.limit(maximum=1000, used=1000)
    for call in (client.limits, lambda: client.create([{}], repeatable=True)):
        assert failing(call).failure.kind is Kind.UNAVAILABLE
    assert salesforce.cases() == []


# -- bad days


def test_an_answer_lost_after_the_commit_makes_one_case_with_a_key(salesforce, client):
    client.log_in()
    salesforce.fault(match=COLLECTION, drop_after_commit=True)
    (result,) = client.create([{KEY: "m-1"}], repeatable=True)
    (case,) = salesforce.cases()
    assert duplicate_of(result.errors[0], KEY) == case["Id"]
    assert client.repeats == 1


@pytest.mark.parametrize("reset", [False, True])
def test_an_answer_lost_after_the_commit_is_not_asked_for_again_without_a_key(salesforce, client, reset):
    client.log_in()
    salesforce.fault(match=COLLECTION, drop_after_commit=True, reset=reset)
    assert isinstance(failing(client.create, [{"Subject": "a"}], repeatable=False), Unanswered)
    assert len(salesforce.cases()) == 1


@pytest.mark.parametrize(
    "action",
    [
        {"status": 502, "html": "<title>Bad gateway</title>", "commit": True},
        {"status": 200, "html": "<title>Sign in</title>", "commit": True},
        {"truncate": 10},
    ],
)
def test_an_answer_that_is_none_leaves_it_unknown(salesforce, client, action):
    client.log_in()
    salesforce.fault(match=COLLECTION, **action)
    assert isinstance(failing(client.create, [{"Subject": "a"}], repeatable=False), Unanswered)
    assert len(salesforce.cases()) == 1


def test_a_slow_answer_ends_with_the_time_of_the_call(salesforce, client_of):
    client = client_of(timeout=0.5)
    client.log_in()
    salesforce.fault(match=COLLECTION, slow_body_ms=200, times=None)
    failed = failing(client.create, [{"Subject": "x" * 300}] * 200, repeatable=False)
    assert isinstance(failed, Unanswered)
    assert failed.failure.code == "timeout"


def test_maintenance_is_an_outage(salesforce, client):
    client.log_in()
    for kind in ("down", "read-only"):
        salesforce.maintenance(kind)
        assert failing(client.create, [{KEY: kind}], repeatable=True).failure.kind is Kind.UNAVAILABLE
    salesforce.maintenance("")
    assert client.create([{KEY: "after"}], repeatable=True)[0].id


def test_a_log_in_during_maintenance_is_an_outage_and_tried_again(salesforce, client):
    salesforce.maintenance("down")
    assert failing(client.log_in).failure.kind is Kind.UNAVAILABLE
    salesforce.maintenance("")
    client.log_in()


def test_a_session_without_the_scope_api_is_asked_for_once_a_call(salesforce, client):
    salesforce.app(CLIENT_ID, CLIENT_SECRET, scope="id")
    for _ in range(3):
        assert failing(client.describe, "Case").failure.kind is Kind.REFUSED
    assert (salesforce.logins(USER), client.calls) == (3, 3)


def test_tokens_that_die_at_once_are_asked_for_twice_a_call(salesforce, client):
    refuse_tokens(salesforce, times=None)
    assert failing(client.describe, "Case").failure.kind is Kind.REFUSED
    assert salesforce.logins(USER) == 2


def test_two_expiries_in_one_call_are_no_refusal(salesforce, client):
    client.describe("Case")
    refuse_tokens(salesforce, times=2)  # the old token, and the one that was to replace it
    client.describe("Case")
    assert (salesforce.logins(USER), client.tokens.refused) == (3, None)


def test_two_new_tokens_that_are_not_taken_are_a_refusal(salesforce, client):
    client.describe("Case")
    refuse_tokens(salesforce, times=3)
    assert failing(client.describe, "Case").failure.kind is Kind.REFUSED
    assert salesforce.logins(USER) == 3


def refuse_tokens(salesforce, times):
    refusal = {"status": 401, "errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}
    salesforce.fault(match={"path": "/describe"}, times=times, **refusal)


def test_connections_that_the_server_ends_cost_no_pause(salesforce, client):
    client.create([{KEY: "before"}], repeatable=True)
    salesforce.fault(match=COLLECTION, close=True, times=None)
    for number in range(3):
        assert client.create([{KEY: f"m-{number}"}], repeatable=False)[0].id


def test_nobody_there_is_an_outage_that_sent_nothing(salesforce, client):
    client.log_in()
    salesforce.server.stop()
    try:
        failed = failing(client.create, [{"Subject": "a"}], repeatable=False)
    finally:
        salesforce.server.start()
    assert (failed.failure.kind, failed.failure.code) == (Kind.UNAVAILABLE, "unreachable")
    assert not isinstance(failed, Unanswered)


# -- lanes of a division


def created(client):
    return not client.create([{"Subject": "a"}], repeatable=False)[0].errors


def test_a_session_that_ends_under_the_calls_of_eight_lanes_is_one_log_in(salesforce, lanes_of):
    lanes = lanes_of(8)
    assert at_once(lanes, created) == [True] * 8
    assert salesforce.logins(USER) == 1
    salesforce.latency(200)  # all are refused before the first has logged in
    salesforce.expire_tokens()
    assert at_once(lanes, created) == [True] * 8
    assert salesforce.logins(USER) == 2
    assert len(salesforce.cases()) == 16
    assert len({lane.token for lane in lanes}) == 1


def test_a_log_in_that_is_refused_is_tried_once_by_eight_lanes(salesforce, lanes_of):
    lanes = lanes_of(8)
    at_once(lanes, created)
    salesforce.user(USER, "another one")
    salesforce.latency(200)
    salesforce.expire_tokens()
    for _ in range(2):
        assert {failure.kind for failure in at_once(lanes, created)} == {Kind.REFUSED}
    assert salesforce.logins(USER) == 2
    lanes[0].tokens.forgive()
    at_once(lanes, created)
    assert salesforce.logins(USER) == 3


def test_a_log_in_without_an_answer_is_shared_by_the_lanes_that_wait_for_it(salesforce, lanes_of):
    lanes = lanes_of(8)
    salesforce.fault(match={"path": "oauth2/token"}, times=None, delay_ms=500, status=503, html="<html>away</html>")
    assert {failure.kind for failure in at_once(lanes, created)} == {Kind.UNAVAILABLE}
    assert len(salesforce.requests("oauth2/token")) == 1
    salesforce.no_faults()
    assert at_once(lanes, created) == [True] * 8
