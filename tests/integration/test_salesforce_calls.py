"""Calls over real HTTP, against a server that does what each test tells it, above all what a good one never does."""

import contextlib
import gzip
import json
import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from connectorlib.errors import Failed, Kind
from sfconnector.salesforce.client import Client, Rejected, Unanswered
from sfconnector.salesforce.error_codes import SfError
from sfconnector.salesforce.login import TokenProvider
from sfconnector.salesforce.usage import Usage
from sfconnector.settings import Salesforce
from tests.services import scripted
from tests.services.scripted import Scripted, answer, as_json, errors, hang_up, logged_in, page, reset, then_hang_up
from tests.services.waiting import eventually

EXPIRED = errors(401, "INVALID_SESSION_ID", "Session expired or invalid")
FORBIDDEN = errors(401, "INVALID_SESSION_ID", "This session is not valid for use with the REST API")
WRITTEN = [{"id": "500D000000IqhSLIAZ", "success": True, "errors": []}]
ONE = [{"Subject": "a"}]
DESCRIPTION = {"name": "Case", "fields": []}
LIMITS = {"DailyApiRequests": {"Max": 15000, "Remaining": 14998}}


@pytest.fixture
def server():
    with Scripted(api=[as_json(201, WRITTEN)]) as server:
        yield server


@pytest.fixture
def client_of():
    with contextlib.ExitStack() as clients:

        def make(server, timeout=5.0, overrides=None):
            settings = Salesforce(login_url=server.url, client_id="app", timeout=timeout)
            client = Client(settings, "hvac", TokenProvider(settings, "hvac"), overrides)
            clients.callback(client.close)
            return client

        yield make


@pytest.fixture
def client(client_of, server):
    return client_of(server)


def create(client, *, repeatable=True):
    return client.create(ONE, repeatable=repeatable)


def failing(call, *arguments, **more):
    with pytest.raises(Failed) as caught:
        call(*arguments, **more)
    return caught.value


# -- what is sent and what comes back


def test_records_are_created_as_cases_independently_of_each_other(server, client):
    server.api = [
        as_json(200, [*WRITTEN, {"success": False, "errors": [{"statusCode": "X", "message": "y", "fields": ["F"]}]}])
    ]
    first, second = client.create(
        [{"Subject": "a"}, {"Subject": "b"}], {"Sforce-Auto-Assign": "FALSE"}, repeatable=False
    )
    (call,) = server.calls
    assert (call.method, call.target) == ("POST", "/services/data/v62.0/composite/sobjects")
    assert call.headers["sforce-auto-assign"] == "FALSE"
    assert call.headers["content-type"] == "application/json"
    assert call.headers["authorization"] == "Bearer 00D!token-1"
    assert call.json == {
        "allOrNone": False,
        "records": [
            {"attributes": {"type": "Case"}, "Subject": "a"},
            {"attributes": {"type": "Case"}, "Subject": "b"},
        ],
    }
    assert (first.id, first.errors) == ("500D000000IqhSLIAZ", ())
    assert second.errors == (SfError("X", "y", ("F",)),)


def test_an_upsert_names_the_field_of_the_key(server, client):
    server.api = [as_json(200, [WRITTEN[0] | {"created": False}])]
    (result,) = client.upsert("Message_Id__c", [{"Message_Id__c": "m-1"}])
    (call,) = server.calls
    assert (call.method, call.path) == ("PATCH", "/services/data/v62.0/composite/sobjects/Case/Message_Id__c")
    assert result.created is False


def test_numbers_and_texts_arrive_as_they_are(server, client):
    fields = {"Amount__c": Decimal("0.10"), "Big__c": 12345678901234567890, "Subject": 'Gerät "7" ✓\n'}
    client.create([fields], repeatable=True)
    body = server.calls[0].body.decode()
    assert "0.10" in body
    record = json.loads(body, parse_float=Decimal)["records"][0]
    assert {name: record[name] for name in fields} == fields


def test_no_records_are_no_call(server, client):
    assert client.create([], repeatable=True) == []
    assert server.requests == []


def test_a_query_goes_on_to_its_last_page(server, client):
    server.api = [
        as_json(
            200, {"done": False, "nextRecordsUrl": "/services/data/v62.0/query/01g-2000", "records": [{"Id": "1"}]}
        ),
        as_json(200, {"done": True, "records": [{"Id": "2"}]}),
    ]
    soql = "SELECT Id FROM Contact WHERE Email IN ('a+b@example.com', 'ü&=#@example.com')"
    assert [record["Id"] for record in client.query(soql)] == ["1", "2"]
    first, second = server.calls
    assert first.query == {"q": soql}
    assert second.path == "/services/data/v62.0/query/01g-2000"


def test_a_query_whose_pages_never_end_is_given_up(server, client):
    server.api = [as_json(200, {"done": False, "nextRecordsUrl": "/services/data/v62.0/query/01g-0", "records": []})]
    assert failing(client.query, "SELECT Id FROM Contact").failure.code == "too-many-records"


def test_an_sobject_is_described(server, client):
    server.api = [as_json(200, DESCRIPTION)]
    assert client.describe("Case") == DESCRIPTION
    assert server.calls[0].path == "/services/data/v62.0/sobjects/Case/describe"


def test_a_compressed_answer_is_read(server, client):
    server.api = [answer(200, gzip.compress(json.dumps(DESCRIPTION).encode()), "Content-Encoding: gzip")]
    assert client.describe("Case") == DESCRIPTION
    assert "gzip" in server.calls[0].headers["accept-encoding"]


def test_calls_share_a_connection(server, client):
    for _ in range(5):
        create(client)
    assert len({call.connection for call in server.calls}) == 1
    assert client.calls == 5


def test_a_log_in_is_made_once_and_not_counted_as_a_call(server, client):
    token = client.log_in()
    assert client.log_in() is token is client.token
    assert (len(server.log_ins), client.calls, client.tokens.logins) == (1, 0, 1)


def test_netrc_and_proxies_of_the_environment_take_nothing_over(server, client, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    create(client)
    assert [call.headers["authorization"] for call in server.calls] == ["Bearer 00D!token-1"]


# -- the org's API calls


def test_every_answer_tells_the_usage(server, client):
    server.api = [
        as_json(201, WRITTEN, "Sforce-Limit-Info: api-usage=18/5000"),
        errors(400, "JSON_PARSER_ERROR"),
        as_json(201, WRITTEN, "Sforce-Limit-Info: api-usage=20/5000"),
    ]
    create(client)
    assert isinstance(client.usage, Usage)
    assert (client.usage.used, client.usage.maximum) == (18, 5000)
    failing(create, client)
    assert client.usage.used == 18
    create(client)
    assert client.usage.used == 20


def test_an_error_tells_the_usage_too(server, client):
    body = [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}]
    server.api = [as_json(403, body, "Sforce-Limit-Info: api-usage=5000/5000")]
    assert failing(create, client).failure.kind is Kind.UNAVAILABLE
    assert client.usage is not None
    assert client.usage.left_percent == 0


def test_the_limits_are_asked_for(server, client):
    server.api = [as_json(200, LIMITS)]
    usage = client.limits()
    assert (usage.used, usage.maximum) == (2, 15000)
    assert client.usage == usage


def test_a_user_who_may_not_see_the_limits_gets_them_from_another_answer(server, client):
    server.api = [
        errors(403, "INSUFFICIENT_ACCESS", "insufficient access rights"),
        as_json(200, {"limits": "/services/data/v62.0/limits"}, "Sforce-Limit-Info: api-usage=7/5000"),
    ]
    assert client.limits().used == client.limits().used == 7
    assert [call.path.rpartition("/")[2] for call in server.calls] == ["limits", "", ""]


def test_a_used_up_limit_is_no_lack_of_rights(server, client):
    server.api = [errors(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")]
    assert failing(client.limits).failure.kind is Kind.UNAVAILABLE
    assert len(server.calls) == 1


# -- tokens that are not taken


def test_an_expired_token_is_replaced_and_the_call_repeated_at_the_new_address(server, client):
    with Scripted(api=[as_json(201, WRITTEN)]) as other:
        server.logins = [logged_in(server.url, "00D!old"), logged_in(other.url, "00D!new")]
        server.api = [EXPIRED]
        headers = {"Sforce-Auto-Assign": "FALSE", "Sforce-Duplicate-Rule-Header": "allowSave=true"}
        (result,) = client.create(ONE, headers, repeatable=False)
        assert result.id == "500D000000IqhSLIAZ"
        (first,), (second,) = server.calls, other.calls
        assert (first.target, first.body) == (second.target, second.body)
        for name in ("sforce-auto-assign", "sforce-duplicate-rule-header", "content-type"):
            assert first.headers[name] == second.headers[name]
        assert second.headers["authorization"] == "Bearer 00D!new"
        assert (len(server.log_ins), client.calls) == (2, 2)
        create(client)
        assert len(other.calls) == 2


@pytest.mark.parametrize(
    "said",
    [
        EXPIRED,
        errors(401, "INVALID_AUTH_HEADER"),
        as_json(401, {"message": "INVALID_HEADER_TYPE"}),
        as_json(401, []),
        page(401, "Unauthorized"),
        answer(401),
        errors(403, "INVALID_SESSION_ID", "Session expired or invalid"),
    ],
)
def test_a_token_that_is_refused_whatever_its_age_is_replaced_once(server, client, said):
    server.api = [said]
    failed = failing(create, client)
    assert failed.failure.kind is Kind.REFUSED
    assert (len(server.calls), len(server.log_ins)) == (2, 2)


def test_after_a_second_refusal_the_next_call_begins_with_a_log_in_which_locks_nobody(server, client):
    server.api = [EXPIRED, EXPIRED, as_json(201, WRITTEN)]
    assert failing(create, client).failure.kind is Kind.REFUSED
    create(client)
    assert [call.headers["authorization"][-1] for call in server.calls] == ["1", "2", "3"]


def test_a_token_that_may_not_use_the_api_is_replaced_at_the_next_call_and_not_before(server, client):
    server.api = [FORBIDDEN]
    failed = failing(create, client)
    assert failed.failure.kind is Kind.REFUSED
    assert "scope api" in failed.failure.text
    assert (len(server.calls), len(server.log_ins)) == (1, 1)
    server.api = [as_json(201, WRITTEN)]
    create(client)
    assert len(server.log_ins) == 2


def test_a_log_in_refused_in_the_middle_of_a_call_is_what_the_call_fails_with(server, client):
    server.logins = [logged_in(server.url), as_json(400, {"error": "invalid_grant", "error_description": "x"})]
    server.api = [EXPIRED]
    assert failing(create, client).failure.code == "invalid_grant"
    assert failing(create, client).failure.code == "invalid_grant"
    assert len(server.log_ins) == 2


# -- answers with errors


@pytest.mark.parametrize(
    ("said", "kind", "code"),
    [
        (errors(400, "JSON_PARSER_ERROR", "at [line:1]"), Kind.REJECT, "JSON_PARSER_ERROR"),
        (errors(400, "INVALID_FIELD", "No such column 'x'"), Kind.CONFIGURATION, "INVALID_FIELD"),
        (errors(404, "NOT_FOUND"), Kind.CONFIGURATION, "NOT_FOUND"),
        (errors(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests"), Kind.UNAVAILABLE, "REQUEST_LIMIT_EXCEEDED"),
        (errors(500, "UNKNOWN_EXCEPTION", "ErrorId"), Kind.RETRY, "UNKNOWN_EXCEPTION"),
        (errors(503, "SERVER_UNAVAILABLE"), Kind.UNAVAILABLE, "SERVER_UNAVAILABLE"),
        (errors(400, "SOMETHING_NEW"), Kind.UNKNOWN, "SOMETHING_NEW"),
        (page(400, "Bad Request"), Kind.UNKNOWN, "http-400"),
        (page(413, "Too large"), Kind.REJECT, "http-413"),
        (answer(414), Kind.UNKNOWN, "http-414"),
        (page(431), Kind.UNKNOWN, "http-431"),
    ],
)
def test_a_call_that_is_refused_as_a_whole_has_its_errors(server, client, said, kind, code):
    server.api = [said]
    failed = failing(create, client)
    assert isinstance(failed, Rejected)
    assert (failed.failure.kind, failed.failure.code, failed.failure.place) == (kind, code, "case")
    assert failed.status == int(said.split()[1])
    assert failed.errors[0].code == code


def test_the_configuration_overrides_what_a_refusal_means(server, client_of):
    client = client_of(server, overrides={"JSON_PARSER_ERROR": "retry", "SOMETHING_NEW": "done"})
    server.api = [errors(400, "JSON_PARSER_ERROR"), errors(400, "SOMETHING_NEW")]
    assert [failing(create, client).failure.kind for _ in range(2)] == [Kind.RETRY, Kind.UNKNOWN]


def test_a_refused_query_is_not_an_error_of_a_case(server, client):
    server.api = [errors(400, "MALFORMED_QUERY", "unexpected token")]
    failed = failing(client.query, "SELECT")
    assert isinstance(failed, Rejected)
    assert failed.failure.place == "salesforce"


# -- answers that are not Salesforce's


@pytest.mark.parametrize(
    ("said", "code", "unknown"),
    [
        (page(503), "http-503", False),
        (answer(503), "http-503", False),
        (answer(429), "http-429", False),
        (page(420, "No routing"), "http-420", False),
        (page(403, "Blocked by the proxy"), "http-403", False),
        (page(404, "Nothing here"), "http-404", False),
        (page(500, "Oops"), "http-500", True),
        (page(502, "Bad gateway"), "http-502", True),
        (answer(504), "http-504", True),
        (as_json(502, {"error": "Bad Gateway"}), "http-502", True),
        (page(200, "Accept our terms"), "http-200", True),
        (answer(200), "http-200", True),
        (answer(204), "http-204", True),
        (as_json(200, []), "no-answer", True),
        (as_json(200, WRITTEN * 2), "no-answer", True),
        (as_json(200, 5), "no-answer", True),
        (as_json(200, {"hasErrors": False}), "no-answer", True),
        (answer(200, b"[" * 100_000), "http-200", True),
        (answer(200, b"\xff\xfe\x00"), "http-200", True),
        (answer(200, b"not gzip", "Content-Encoding: gzip"), "no-answer", True),
        (then_hang_up(answer(201, b'[{"id": "500', length=500)), "no-answer", True),
        (then_hang_up(b"HTTP/1.1 201 Created\r\nContent-Le"), "http-201", True),
        (then_hang_up(b"\x16\x03\x01garbage\r\n\r\n"), "no-answer", True),
        (reset, "no-answer", True),
        (hang_up, "no-answer", True),
    ],
)
def test_an_outage_says_whether_a_case_may_have_been_made(server, client, said, code, unknown):
    server.api = [said]
    failed = failing(create, client, repeatable=False)
    assert (failed.failure.kind, failed.failure.code) == (Kind.UNAVAILABLE, code), failed
    assert isinstance(failed, Unanswered) is unknown
    assert len(server.calls) == 1
    server.api = [as_json(201, WRITTEN)]
    assert create(client)[0].id


@pytest.mark.parametrize("said", [page(500), page(200), answer(200), as_json(200, []), as_json(200, 5), reset])
def test_a_question_without_an_answer_is_an_outage_and_nothing_more(server, client, said):
    server.api = [said]
    for call in (lambda: client.describe("Case"), lambda: client.query("SELECT Id FROM Contact")):
        failed = failing(call)
        assert failed.failure.kind is Kind.UNAVAILABLE
        assert not isinstance(failed, Unanswered)


def test_what_a_page_says_is_told_in_a_few_words(server, client):
    server.api = [page(503, "Down for maintenance " * 100)]
    text = failing(create, client).failure.text
    assert "Down for maintenance" in text
    assert len(text) < 300


def test_a_redirect_is_not_followed_with_the_token(server, client):
    with Scripted(api=[as_json(201, WRITTEN)]) as other:
        server.api = [answer(307, b"", f"Location: {other.url}/services/data"), as_json(201, WRITTEN)]
        failed = failing(create, client)
        assert (failed.failure.kind, failed.failure.code) == (Kind.UNAVAILABLE, "redirect")
        assert f"127.0.0.1:{other.port}" in failed.failure.text
        assert other.requests == []
    create(client)
    assert len(server.log_ins) == 2  # the org may have moved; a log-in tells where to


# -- connections that are lost


@pytest.mark.parametrize("said", [reset, hang_up, then_hang_up(answer(201, b'[{"id"', length=500))])
def test_what_does_no_harm_twice_is_repeated_once_at_once(server, client, said):
    server.api = [said, as_json(201, WRITTEN)]
    assert create(client)[0].id == "500D000000IqhSLIAZ"
    assert (client.repeats, client.calls, len(server.calls)) == (1, 2, 2)
    assert server.calls[0].body == server.calls[1].body


def test_a_question_is_repeated_once(server, client):
    server.api = [reset, as_json(200, DESCRIPTION)]
    assert client.describe("Case") == DESCRIPTION


def test_twice_is_enough(server, client):
    server.api = [reset, reset, as_json(201, WRITTEN)]
    assert isinstance(failing(create, client), Unanswered)
    assert len(server.calls) == 2


@pytest.mark.parametrize("second", [page(503), answer(429), errors(500, "UNKNOWN_EXCEPTION"), EXPIRED])
def test_a_second_try_that_fails_does_not_tell_what_became_of_the_first(server, client, second):
    server.api = [reset, second]
    assert isinstance(failing(create, client), Unanswered)


def test_a_second_try_that_is_refused_as_a_whole_tells_of_the_first(server, client):
    server.api = [reset, errors(400, "JSON_PARSER_ERROR")]
    assert isinstance(failing(create, client), Rejected)


def test_a_server_that_goes_away_after_a_lost_try_leaves_it_unknown(server, client):
    def crash(connection: socket.socket) -> None:
        server.__exit__()
        reset(connection)

    server.api = [crash]
    assert isinstance(failing(create, client), Unanswered)


@pytest.mark.parametrize("repeatable", [True, False])
def test_a_connection_that_was_closed_meanwhile_is_not_noticed(server, client, repeatable):
    server.api = [then_hang_up(as_json(201, WRITTEN))]
    for _ in range(5):
        create(client, repeatable=repeatable)
    assert len(server.calls) == 5
    assert client.repeats == 0


def test_a_connection_that_is_old_is_not_trusted_with_what_must_not_be_sent_twice(server, client, monkeypatch):
    create(client)
    monkeypatch.setattr("sfconnector.salesforce.client.IDLE_UNREPEATABLE", 0.0)
    create(client, repeatable=True)
    create(client, repeatable=False)
    connections = [call.connection for call in server.calls]
    assert connections[0] == connections[1] != connections[2]


def test_nothing_was_sent_where_nobody_listens(server, client):
    client.log_in()
    server.__exit__()
    failed = failing(create, client)
    assert (failed.failure.kind, failed.failure.code) == (Kind.UNAVAILABLE, "unreachable")
    assert not isinstance(failed, Unanswered)
    assert client.calls == 0


# -- time


def test_silence_ends_in_time_and_is_not_repeated(server, client_of):
    client = client_of(server, timeout=0.3)
    server.api = [scripted.say_nothing]
    failed = failing(create, client)
    assert (failed.failure.code, isinstance(failed, Unanswered)) == ("timeout", True)
    assert len(server.calls) == 1
    server.api = [as_json(201, WRITTEN)]
    assert create(client)[0].id


@pytest.mark.parametrize("fast", [5, 30, 90])
def test_an_answer_that_trickles_is_ended(server, client_of, fast):
    client = client_of(server, timeout=0.4)
    whole = as_json(201, WRITTEN)
    slow = scripted.Trickle(whole, fast=fast)
    server.api = [slow, whole]
    failed = failing(create, client)
    assert (failed.failure.code, isinstance(failed, Unanswered)) == ("timeout", True)
    assert not slow.finished
    assert create(client)[0].id


def test_an_answer_without_a_length_that_trickles_is_not_taken_for_whole(server, client_of):
    client = client_of(server, timeout=0.4)
    body = json.dumps(WRITTEN).encode()
    slow = scripted.Trickle(b"HTTP/1.1 201 Created\r\nConnection: close\r\n\r\n" + body + b" " * 50, fast=110)
    server.api = [slow]
    assert failing(create, client).failure.code == "timeout"
    assert not slow.finished


def test_a_log_in_in_the_middle_does_not_use_up_the_time_of_the_call(server, client, monkeypatch):
    late = 0.0
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + late)
    monkeypatch.setattr("sfconnector.salesforce.client.time", clock)

    def an_hour_later(connection: socket.socket) -> None:
        nonlocal late
        late += 3600
        connection.sendall(logged_in(server.url))

    client.log_in()
    server.logins = [an_hour_later]
    # A call without any time left has a tenth of a second all the same, so the answer takes longer than that.
    server.api = [EXPIRED, scripted.Trickle(as_json(201, WRITTEN), fast=20, seconds=0.25)]
    assert create(client)[0].id


def test_a_call_past_its_limit_is_stuck(server, client_of, monkeypatch):
    client = client_of(server, timeout=1.0)
    client.log_in()
    release = threading.Event()

    def hold(connection: socket.socket) -> None:
        release.wait(10)
        connection.sendall(as_json(201, WRITTEN))

    server.api = [hold]
    monkeypatch.setattr("sfconnector.salesforce.client.GRACE", -1000.0)  # so that any call counts as late
    assert client.stuck() is None
    caller = threading.Thread(target=create, args=(client,))
    caller.start()
    text = eventually(client.stuck)
    release.set()
    caller.join()
    assert "POST composite/sobjects" in text
    assert client.stuck() is None


def test_a_body_that_takes_long_has_the_time_of_the_call(server, client, monkeypatch):
    monkeypatch.setattr("connectorlib.service.http_client.CONNECT_TIMEOUT", 0.2)
    client.log_in()
    server.hesitation = 0.6
    assert client.create([{"Description": "x" * 20_000_000}], repeatable=False)[0].id


def test_a_body_that_is_not_taken_is_ended_in_time(server, client_of):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        host, port = deaf.getsockname()
        server.logins = [logged_in(f"http://{host}:{port}")]
        client = client_of(server, timeout=0.5)
        failed = failing(client.create, [{"Description": "x" * 20_000_000}], repeatable=True)
    assert (failed.failure.code, isinstance(failed, Unanswered)) == ("timeout", True)


# -- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for this machine, signed by itself: the path of it, and a server's context."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    kind = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return str(file), context


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_calls_go_over_tls_and_share_a_connection(client_of, certificate, monkeypatch, variable):
    file, context = certificate
    for each in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # these would win
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(variable, file)
    with Scripted([as_json(201, WRITTEN)], tls=context) as server:
        client = client_of(server)
        for _ in range(3):
            assert create(client)[0].id
        assert len({call.connection for call in server.calls}) == 1


def test_a_certificate_of_nobody_known_is_told(client_of, certificate):
    with Scripted([as_json(201, WRITTEN)], tls=certificate[1]) as server:
        failed = failing(create, client_of(server))
        assert (failed.failure.kind, failed.failure.code) == (Kind.UNAVAILABLE, "tls")
        assert "self-signed" in failed.failure.text.replace("self signed", "self-signed")
        assert server.requests == []


def test_a_file_of_certificates_that_is_not_there_is_told(client_of, certificate, monkeypatch):
    for each in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    with Scripted([as_json(201, WRITTEN)], tls=certificate[1]) as server:
        failed = failing(create, client_of(server))
    assert (failed.failure.kind, failed.failure.code) == (Kind.CONFIGURATION, "ca")
    assert "SSL_CERT_FILE: /nowhere/ca.pem" in failed.failure.text


@pytest.mark.parametrize(
    ("answered", "code", "words"),
    [
        (page(407, "Log in"), "proxy-407", "the proxy 127.0.0.1:PORT refuses the way to plant.my.salesforce.com: 407"),
        (page(403, "No"), "proxy-403", "the proxy 127.0.0.1:PORT refuses the way to plant.my.salesforce.com: 403"),
        (scripted.hang_up, "proxy", "the proxy 127.0.0.1:PORT: the server closed it"),
        (None, "proxy", "the proxy 127.0.0.1:9: connection refused"),
    ],
)
def test_a_proxy_that_does_not_let_a_log_in_through_is_named(monkeypatch, answered, code, words):
    settings = Salesforce("https://plant.my.salesforce.com", "client_credentials", "app", "secret-word")
    with Scripted([answered or b""]) as wall, contextlib.closing(TokenProvider(settings, "hvac")) as tokens:
        monkeypatch.setenv("HTTPS_PROXY", wall.url if answered else "http://127.0.0.1:9")
        failed = failing(tokens.get)
        assert [request.method for request in wall.requests] == (["CONNECT"] if answered else [])
    assert (failed.failure.kind, failed.failure.code) == (Kind.UNAVAILABLE, code)
    assert words.replace("PORT", str(wall.port)) in failed.failure.text


def test_after_three_calls_that_nobody_answers_a_log_in_asks_where_the_org_is(server, client):
    with Scripted(api=[as_json(201, WRITTEN)]) as old:
        server.logins = [logged_in(old.url), logged_in(server.url)]
        create(client)
    assert [failing(create, client).failure.code for _ in range(3)] == ["unreachable"] * 3
    assert len(server.log_ins) == 1
    assert create(client)[0].id
    assert (len(server.log_ins), len(server.calls)) == (2, 1)


def test_an_org_that_answers_nowhere_is_not_asked_for_a_token_at_every_call(server, client):
    with Scripted(api=[as_json(201, WRITTEN)]) as old:
        server.logins = [logged_in(old.url)]
        create(client)
    for _ in range(30):
        failing(create, client)
    assert len(server.log_ins) == 5  # after 3, 6, 12 and 24
    client.forgive()
    failing(create, client)
    assert len(server.log_ins) == 6


@pytest.mark.parametrize("fast", [5, 90])
def test_an_answer_that_trickles_is_ended_over_tls_too(client_of, certificate, monkeypatch, fast):
    file, context = certificate
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", file)
    whole = as_json(201, WRITTEN)
    slow = scripted.Trickle(whole, fast=fast)
    with Scripted([slow, whole], tls=context) as server:
        client = client_of(server, timeout=0.6)
        failed = failing(create, client)
        assert (failed.failure.code, isinstance(failed, Unanswered)) == ("timeout", True)
        assert not slow.finished
        assert create(client)[0].id


# -- secrets


def test_neither_token_nor_query_is_in_what_a_failure_says(server, client):
    server.logins = [logged_in(server.url, "00D!AQ-this-is-the-token")]
    echo = b"<p>Authorization: Bearer 00D!AQ-this-is-the-token</p>"
    scripts = [
        answer(503, echo),
        errors(400, "X", "00D!AQ-this-is-the-token"),
        page(500),
        reset,
        hang_up,
        then_hang_up(b"HTTP/1.1 200"),
    ]
    for said in scripts:
        server.api = [said]
        failed = failing(client.query, "SELECT Id FROM Contact WHERE Email = 'someone@example.com'")
        shown = f"{failed} {failed.failure!r} {failed.__cause__!r} {client!r} {client.token!r}"
        assert "this-is-the-token" not in shown
        assert "someone" not in shown


def test_a_header_that_cannot_be_written_is_a_matter_of_configuration(server, client):
    for value in ("01Q\r\nX-Injected: 1", "ünïcödé☃"):
        failed = failing(client.create, ONE, {"Sforce-Auto-Assign": value}, repeatable=True)
        assert (failed.failure.kind, failed.failure.code) == (Kind.CONFIGURATION, "not-sent")
    assert server.calls == []
