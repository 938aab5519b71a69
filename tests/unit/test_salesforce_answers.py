"""What Salesforce, its log-in and what stands before them answer, and what becomes of the messages: one table.

An answer is status, headers and body as they come over the network; log-in, client and sender are the real ones. The
texts are Salesforce's, as documentation and the issues of other clients quote them; the values are made up.
"""

import gzip
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

from connectorlib.errors import NEVER, Failed, Failure
from connectorlib.messages import ALREADY, Again, Dead, Delivery
from connectorlib.service.http_client import Session
from sfconnector.batch_send import Sender
from sfconnector.mapping import Draft
from sfconnector.record_outcome import LeaveOut, NotYet
from sfconnector.records import Item
from sfconnector.salesforce.client import Client
from sfconnector.salesforce.login import TokenProvider
from sfconnector.settings import CaseSettings, ExternalId, Salesforce

KEY = "Alarm_Id__c"
CASE = "5003X00002AbCdEQAV"
CONTACT = "0033X00003XyZ01QAB"
TOKEN = {"access_token": "00D3X!AQ", "instance_url": "https://plant.my.salesforce.com"}
URL = "https://plant.my.salesforce.com"


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def raw(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class Recorded(HTTPAdapter):
    """Gives the answers in their order, the last one for ever; an exception is raised."""

    def __init__(self, answers: Sequence[Answer | Exception]) -> None:
        super().__init__()
        self.answers = list(answers)
        self.requests: list[requests.PreparedRequest] = []

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:  # type: ignore[override]
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        body = io.BytesIO(answer.raw())
        return self.build_response(request, HTTPResponse(body, answer.headers, answer.status, preload_content=False))


def session_of(answers: Sequence[Answer | Exception]) -> tuple[Session, Recorded]:
    session, recorded = Session("sfconnector"), Recorded(answers)
    session.mount("https://", recorded)
    return session, recorded


def said(failure: Failure) -> str:
    """The decision about a failure in a few words: kind, code, and for how long Salesforce is left alone."""
    if failure.retry_after == NEVER:
        return f"{failure.kind} {failure.code} never"
    return f"{failure.kind} {failure.code}" + (f" {failure.retry_after:.0f}s" if failure.retry_after > 20 else "")


# -- log-ins


def oauth(error: str, description: str = "", status: int = 400, headers: Mapping[str, str] | None = None) -> Answer:
    more = {"error_description": description} if description else {}
    return Answer(status, {"error": error, **more}, headers or {})


def token(**change: Any) -> Answer:
    return Answer(200, TOKEN | change)


FAILURE = "authentication failure"
PAGE = b"<html><head><title>%s</title></head><body>x</body></html>"
PASSWORD, JWT, APP = "password", "jwt", "client_credentials"

#: What is answered: by which flow, the answer, what it comes to, words of the text.
LOG_INS: dict[str, tuple[str, Answer, str, tuple[str, ...]]] = {
    "a wrong password": (PASSWORD, oauth("invalid_grant", FAILURE), "refused invalid_grant never", ("wrong password",)),
    "a locked user": (PASSWORD, oauth("PASSWORD_LOCKOUT", "locked"), "refused PASSWORD_LOCKOUT never", ()),
    "an assertion": (JWT, oauth("invalid_grant", "invalid assertion"), "refused invalid_grant", ("certificate",)),
    "no user to run as": (
        APP,
        oauth("invalid_grant", "no client credentials user enabled"),
        "refused invalid_grant",
        ("no user to run as",),
    ),
    "a wrong secret": (
        APP,
        oauth("invalid_client", "invalid client credentials"),
        "refused invalid_client",
        ("client_secret",),
    ),
    "a wrong secret, by password": (
        PASSWORD,
        oauth("invalid_client", "invalid client credentials"),
        "refused invalid_client",
        ("client_secret",),
    ),
    "an unknown app": (
        APP,
        oauth("invalid_client_id", "client identifier invalid"),
        "refused invalid_client_id",
        ("client_id",),
    ),
    "an app that is not installed": (
        JWT,
        oauth("invalid_client", "app must be installed into org"),
        "refused invalid_client",
        ("not installed", "External Client App"),
    ),
    "the same in the words of the page": (
        PASSWORD,
        oauth(
            "OAUTH_APPROVAL_ERROR_GENERIC", "An unexpected error has occured during authentication. Please try again."
        ),
        "unavailable OAUTH_APPROVAL_ERROR_GENERIC",
        (),
    ),
    "the same without them": (
        PASSWORD,
        oauth("OAUTH_APPROVAL_ERROR_GENERIC"),
        "refused OAUTH_APPROVAL_ERROR_GENERIC",
        ("not installed",),
    ),
    "an app of another org": (
        JWT,
        oauth("OAUTH_EC_APP_NOT_FOUND", "External client app is not found"),
        "refused OAUTH_EC_APP_NOT_FOUND",
        ("External Client App is not in this org",),
    ),
    "a flow that is off": (
        APP,
        oauth("unsupported_grant_type", "grant type not supported"),
        "configuration unsupported_grant_type",
        ("does not allow this flow",),
    ),
    "retry your request": (PASSWORD, oauth("unknown_error", "retry your request"), "unavailable unknown_error", ()),
    "the API is off": (
        PASSWORD,
        oauth("API_CURRENTLY_DISABLED", "API is currently disabled"),
        "unavailable API_CURRENTLY_DISABLED",
        (),
    ),
    "an error of tomorrow": (PASSWORD, oauth("brand_new"), "unavailable brand_new", ()),
    "too many log-ins": (PASSWORD, oauth("invalid_grant", "login rate exceeded"), "unavailable invalid_grant", ()),
    "wait a while": (
        JWT,
        oauth("rate_limit_exceeded", headers={"Retry-After": "900"}),
        "unavailable rate_limit_exceeded 900s",
        (),
    ),
    "a server error": (PASSWORD, oauth("invalid_grant", FAILURE, 500), "unavailable invalid_grant", ()),
    "maintenance": (PASSWORD, Answer(503, PAGE % b"Down"), "unavailable http-503", ("Down",)),
    "a proxy that forbids it": (
        PASSWORD,
        Answer(403, PAGE % b"Blocked by policy"),
        "unavailable http-403",
        ("without an answer of Salesforce's", "Blocked by policy"),
    ),
    "a proxy that wants a log-in": (
        PASSWORD,
        Answer(407, PAGE % b"Proxy"),
        "unavailable http-407",
        ("proxy", "login"),
    ),
    "a bomb": (
        APP,
        Answer(200, gzip.compress(bytes(2_000_000)), {"Content-Encoding": "gzip"}),
        "unavailable no-answer",
        ("1,048,576 bytes",),
    ),
    "a token": (APP, token(), "logged in", ()),
    "a token for another domain of Salesforce's": (
        APP,
        token(instance_url="https://eu99.salesforce.com"),
        "logged in",
        (),
    ),
    "a token for login_url's own host": (APP, token(instance_url="https://sso.plant.example:8443"), "logged in", ()),
    "a token for a host of the configuration": (APP, token(instance_url="https://gate.plant.example"), "logged in", ()),
    **{
        f"a token for {url}": (APP, token(instance_url=url), "configuration instance-url", words)
        for url, words in {
            "http://127.0.0.1:8080": ("neither Salesforce's",),
            "http://plant.my.salesforce.com": ("not https",),
            "https://169.254.169.254/": ("no address of an org",),
            "https://[fe80::1]/": ("no address of an org",),
            "https://other.example": ("instance_hosts",),
            "https://salesforce.com.other.example": ("instance_hosts",),
            "https://notsalesforce.com": ("instance_hosts",),
        }.items()
    },
    **{
        f"a token for {url}": (APP, token(instance_url=url), "unavailable http-200", ())
        for url in ("https://plant.my.salesforce.com@other.example", "https://other.example\\@plant.my.salesforce.com")
    },
}


@pytest.mark.parametrize(("auth", "answer", "decision", "words"), LOG_INS.values(), ids=LOG_INS)
def test_a_log_in(auth, answer, decision, words, signing_key):
    tokens, _ = provider(auth, answer, signing_key)
    failure = refusal(tokens)
    assert ("logged in" if failure is None else said(failure)) == decision
    assert [word for word in words if failure is None or word not in failure.text] == []


@pytest.mark.parametrize(("auth", "answer", "decision", "words"), LOG_INS.values(), ids=LOG_INS)
def test_only_what_may_lock_the_user_is_not_tried_again_and_everything_else_ever_more_slowly(
    auth, answer, decision, words, signing_key
):
    tokens, recorded = provider(auth, answer, signing_key)
    failures = [refusal(tokens) for _ in range(3)]
    waits = [failure.retry_after for failure in failures if failure is not None]
    never = decision.endswith("never")
    assert len(recorded.requests) == (1 if never or not waits else 3)
    if waits and not never and "instance-url" not in decision and "no-answer" not in decision:
        assert waits[0] >= 3.75
        assert 15.0 <= waits[-1] <= 900.0


def refusal(tokens: TokenProvider) -> Failure | None:
    try:
        tokens.get()
    except Failed as failed:
        return failed.failure
    return None


def provider(auth: str, answer: Answer, key: str) -> tuple[TokenProvider, Recorded]:
    session, recorded = session_of([answer])
    settings = Salesforce(
        "https://sso.plant.example",
        auth,
        "app",
        username="plant@example.com",
        password="secret-word",
        private_key=key,
        instance_hosts=("Gate.plant.example",),
    )
    return TokenProvider(settings, "plant", session=session), recorded


@pytest.fixture(scope="module")
def signing_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    return key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain).decode()


# -- Cases


def made(identifier: str = CASE, **more: Any) -> dict[str, Any]:
    return {"id": identifier, "success": True, "errors": [], **more}


def refused(code: str, message: str = "", *fields: str, **more: Any) -> dict[str, Any]:
    return {"success": False, "errors": [{"statusCode": code, "message": message, "fields": list(fields), **more}]}


def results(*each: Mapping[str, Any], **headers: str) -> Answer:
    return Answer(200, list(each), headers)


def errors(status: int, code: str, message: str = "", **headers: str) -> Answer:
    return Answer(status, [{"errorCode": code, "message": message}], headers)


TRIGGER = "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"
VALIDATION = "FIELD_CUSTOM_VALIDATION_EXCEPTION"
HIDDEN = "duplicate value found: <unknown> duplicates value on record with id: <unknown>"
TAKEN = f"duplicate value found: {KEY} duplicates value on record with id: {CASE}"
CURRENTLY = (
    "PlantCase: execution of AfterInsert\n\ncaused by: System.DmlException: Record Currently Unavailable: The record "
    "you are attempting to edit is currently being modified by another user. Please try again."
)
LOCKED = "UNABLE_TO_LOCK_ROW, unable to obtain exclusive access to this record or 1 records: 0013X00003AaAaAQAA: []"
DUPLICATES = {
    "duplicateRule": "Contact_Rule",
    "matchResults": [{"matchRecords": [{"record": {"attributes": {"type": "Contact"}, "Id": CONTACT}}]}],
}
LATER_DATE = {"Date": "Sun, 29 Nov 2026 22:00:00 GMT", "Retry-After": "Sun, 29 Nov 2026 22:20:00 GMT"}
WRONG_DATE = {"Retry-After": "Sun, 99 Nov 2026 22:20:00 GMT"}
ONCE = {"external_id": ExternalId(KEY, "$message_id")}
UPSERT = {"external_id": ExternalId(KEY, "$message_id", "upsert")}
KEYED, DOUBTED, OTHER_UNIQUE = {"keyed": True}, {"keyed": True, "doubted": True}, {"only_key": False}


#: What is answered: how many records are sent, the answers, what becomes of each record. `rest …` is why those that
#: are not named are sent later. `case` is the configuration, `item` what is known of the records.
@dataclass(frozen=True)
class Row:
    answers: Sequence[Answer | Exception]
    come_to: Sequence[str]
    case: Mapping[str, Any] = field(default_factory=dict)
    item: Mapping[str, bool] = field(default_factory=dict)
    words: Sequence[str] = ()
    #: Values of Sforce-Auto-Assign, in the order of the calls.
    assign: Sequence[str] = ()


def row(*answers: Answer | Exception, to: Sequence[str], **more: Any) -> Row:
    return Row(answers, to, **more)


def alone(code: str, text: str, to: str, **more: Any) -> Row:
    """One record that is refused."""
    return row(results(refused(code, text, **more)), to=[to])


def whole(answer: Answer, to: str, **more: Any) -> Row:
    """A call that is refused as a whole."""
    return row(answer, to=[f"rest {to}"], **more)


CASES: dict[str, Row] = {
    "made": row(results(made()), to=[f"done {CASE}"]),
    # the same errors as others', with and without the code that says so
    "a lock": alone(
        "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record", "again retry UNABLE_TO_LOCK_ROW"
    ),
    "a lock in a trigger": alone(TRIGGER, f"first error: {LOCKED}", f"again retry {TRIGGER}"),
    "a lock in other words": alone(TRIGGER, CURRENTLY, f"again retry {TRIGGER}"),
    "a lock that a trigger has caught": alone(VALIDATION, f"Update failed: {LOCKED}", f"again retry {VALIDATION}"),
    "a lock under a code of tomorrow": alone("ROW_IS_TAKEN", LOCKED, "again retry ROW_IS_TAKEN"),
    "a message about locks that is too long": alone(
        "STRING_TOO_LONG", "Subject: data value too large: UNABLE_TO_LOCK_ROW (max length=255)", "dead STRING_TOO_LONG"
    ),
    "a trigger's bug": alone(TRIGGER, "System.NullPointerException", f"dead {TRIGGER}"),
    "a record in approval": alone(
        "ENTITY_IS_LOCKED", "the entity is locked for editing", "again retry ENTITY_IS_LOCKED"
    ),
    "too many Apex requests": whole(errors(503, "TOO_MANY_APEX_REQUESTS"), "retry TOO_MANY_APEX_REQUESTS"),
    "a long request": whole(errors(400, "REQUEST_RUNNING_TOO_LONG"), "retry REQUEST_RUNNING_TOO_LONG"),
    "a suffix that means another try": alone(
        "PRICING_SERVICE_UNAVAILABLE", "", "again retry PRICING_SERVICE_UNAVAILABLE"
    ),
    "another": alone("SEARCH_TIMEOUT", "", "again retry SEARCH_TIMEOUT"),
    "a suffix that is none": alone("TIMEOUT_OF_RANGE", "", "again unknown TIMEOUT_OF_RANGE"),
    "a part of a name": alone("UNLOCKED_TIMEOUTS", "", "again unknown UNLOCKED_TIMEOUTS"),
    "an outage by code": whole(errors(503, "API_TEMPORARILY_UNAVAILABLE"), "unavailable API_TEMPORARILY_UNAVAILABLE"),
    "an outage by code, whatever the status": whole(
        errors(400, "API_TEMPORARILY_UNAVAILABLE"), "unavailable API_TEMPORARILY_UNAVAILABLE"
    ),
    "the API is off": whole(errors(403, "API_CURRENTLY_DISABLED"), "unavailable API_CURRENTLY_DISABLED 60s"),
    "a locked user": whole(errors(403, "PASSWORD_LOCKOUT", "locked"), "refused PASSWORD_LOCKOUT"),
    "a locked org": whole(errors(403, "ORG_LOCKED"), "refused ORG_LOCKED"),
    # one record's, or everybody's
    "unavailable for one of three": row(
        results(made(), refused("LIMIT_EXCEEDED", "Email limit"), made()),
        to=[f"done {CASE}", "again retry LIMIT_EXCEEDED", f"done {CASE}"],
    ),
    "unavailable for all": row(results(*[refused("LIMIT_EXCEEDED")] * 2), to=["again unavailable LIMIT_EXCEEDED"] * 2),
    "storage is full in the middle of a call": row(
        results(made(), refused("STORAGE_LIMIT_EXCEEDED")),
        to=[f"done {CASE}", "again unavailable STORAGE_LIMIT_EXCEEDED"],
    ),
    "unavailable because the configuration says so": row(
        results(made(), refused("LIMIT_EXCEEDED")),
        to=[f"done {CASE}", "again unavailable LIMIT_EXCEEDED"],
        case={"errors": {"LIMIT_EXCEEDED": "unavailable"}},
    ),
    # the key is there already
    "a key that is there": row(
        results(refused("DUPLICATE_VALUE", TAKEN)), to=[f"already {CASE}"], case=ONCE, item=KEYED
    ),
    "a key of a hidden record after a lost answer": row(
        results(refused("DUPLICATE_VALUE", HIDDEN)), to=["already "], case=ONCE, item=DOUBTED
    ),
    "the same in an answer of another language": row(
        results(
            refused(
                "DUPLICATE_VALUE", "doppelter Wert gefunden: <unknown> dupliziert Wert auf Datensatz mit ID: <unknown>"
            )
        ),
        to=["already "],
        case=ONCE,
        item=DOUBTED,
    ),
    "a hidden record though nothing was lost": row(
        results(refused("DUPLICATE_VALUE", HIDDEN)), to=["dead DUPLICATE_VALUE"], case=ONCE, item=KEYED
    ),
    "a hidden record that may have another field's value": row(
        results(refused("DUPLICATE_VALUE", HIDDEN)), to=["dead DUPLICATE_VALUE"], case=ONCE, item=DOUBTED | OTHER_UNIQUE
    ),
    "a hidden record without a key": row(
        results(refused("DUPLICATE_VALUE", HIDDEN)), to=["dead DUPLICATE_VALUE"], case=ONCE, item={"doubted": True}
    ),
    # an update keeps its owner
    "an upsert that makes": row(results(made()), to=[f"done {CASE}"], case=UPSERT, item=KEYED, assign=["TRUE"]),
    "an upsert that changes": row(
        results(refused("DUPLICATE_VALUE", TAKEN)),
        results(made(created=False)),
        to=[f"already {CASE}"],
        case=UPSERT,
        item=KEYED,
        assign=["TRUE", "FALSE"],
    ),
    "an upsert of what may not be made": row(
        results(refused(VALIDATION, "needs a serial number")),
        results(made(created=False)),
        to=[f"already {CASE}"],
        case=UPSERT,
        item=KEYED,
        assign=["TRUE", "FALSE"],
    ),
    "an upsert of what may be neither": row(
        results(refused(VALIDATION, "needs a serial number")),
        to=[f"dead {VALIDATION}"],
        case=UPSERT,
        item=KEYED,
        assign=["TRUE", "FALSE"],
    ),
    "an upsert of a hidden record after a lost answer": row(
        results(refused("DUPLICATE_VALUE", HIDDEN)),
        to=["already "],
        case=UPSERT,
        item=DOUBTED,
        assign=["TRUE", "FALSE"],
    ),
    "an upsert that no rule concerns": row(
        results(made(created=False)),
        to=[f"already {CASE}"],
        case=UPSERT | {"auto_assign": False},
        item=KEYED,
        assign=["FALSE"],
    ),
    "an upsert of what was there a moment ago": row(
        results(made(created=False)),
        to=[f"already {CASE}"],
        case=UPSERT,
        item=KEYED | {"there": True},
        assign=["FALSE"],
    ),
    "an upsert with a lock": row(
        results(refused("UNABLE_TO_LOCK_ROW")),
        to=["again retry UNABLE_TO_LOCK_ROW"],
        case=UPSERT,
        item=KEYED,
        assign=["TRUE"],
    ),
    # a duplicate rule names what it found
    "a duplicate": row(
        results(refused("DUPLICATES_DETECTED", "Use one of these records?", duplicateResult=DUPLICATES)),
        to=["dead DUPLICATES_DETECTED"],
        words=[CONTACT],
    ),
    "a duplicate of nothing": row(
        results(
            refused(
                "DUPLICATES_DETECTED",
                "Use one of these records?",
                duplicateResult={"matchResults": [None, {"matchRecords": [{"record": {"Id": "; DROP"}}, 5]}]},
            )
        ),
        to=["dead DUPLICATES_DETECTED"],
        words=["Use one of these records?"],
    ),
    # how long to wait
    "seconds": whole(Answer(429, b"", {"Retry-After": "600"}), "unavailable http-429 600s"),
    "a date": whole(Answer(503, PAGE % b"x", LATER_DATE), "unavailable http-503 1200s"),
    "a date that is none": whole(Answer(503, PAGE % b"x", WRONG_DATE), "unavailable http-503"),
    "a year": whole(Answer(503, b"", {"Retry-After": "31536000"}), "unavailable http-503 3600s"),
    "digits without end": whole(Answer(503, b"", {"Retry-After": "9" * 5000}), "unavailable http-503 3600s"),
    "less than nothing": whole(Answer(503, b"", {"Retry-After": "-600"}), "unavailable http-503"),
    "seconds beside a code": whole(
        errors(503, "SERVER_UNAVAILABLE", **{"Retry-After": "120"}), "unavailable SERVER_UNAVAILABLE 120s"
    ),
    "no calls left": whole(
        errors(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
        "unavailable REQUEST_LIMIT_EXCEEDED 300s",
    ),
    "too many at once": whole(
        errors(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests Limit exceeded."), "retry REQUEST_LIMIT_EXCEEDED"
    ),
    # what is beyond what can be
    "more calls than there are": row(
        results(made(), **{"Sforce-Limit-Info": "api-usage=110018/100000"}), to=[f"done {CASE}"]
    ),
    "calls without end": row(
        results(made(), **{"Sforce-Limit-Info": f"api-usage={'9' * 5000}/100000"}), to=[f"done {CASE}"]
    ),
    "a number without end": whole(Answer(200, b"[%s]" % (b"9" * 5000)), "unavailable http-200"),
    "a bomb": whole(
        Answer(200, gzip.compress(bytes(34_000_000)), {"Content-Encoding": "gzip"}),
        "unavailable no-answer",
        words=["33,554,432 bytes"],
    ),
    "a proxy in the way": whole(Answer(407, PAGE % b"Proxy"), "unavailable http-407", words=["proxy"]),
    "a tunnel that a proxy refuses": whole(
        requests.exceptions.ProxyError(OSError("Tunnel connection failed: 407 Proxy Authentication Required")),  # type: ignore[arg-type]
        "unavailable proxy-407",
        words=["407 Proxy Authentication Required"],
    ),
    "a tunnel to where it may not go": whole(
        requests.exceptions.ProxyError(OSError("Tunnel connection failed: 403 Forbidden")),  # type: ignore[arg-type]
        "unavailable proxy-403",
        words=["403 Forbidden"],
    ),
}


@pytest.mark.parametrize("row", CASES.values(), ids=CASES)
def test_what_becomes_of_cases(row):
    found, texts, recorded = sent(row)
    assert found == list(row.come_to)
    assert [word for word in row.words if not any(word in text for text in texts)] == []
    if row.assign:
        assert [request.headers["Sforce-Auto-Assign"] for request in recorded.requests] == list(row.assign)


def sent(row: Row) -> tuple[list[str], list[str], Recorded]:
    """Send the records of a row; return what becomes of each, the texts of failures, and the requests."""
    session, recorded = session_of(row.answers)
    logins, _ = session_of([token()])
    settings = Salesforce(URL, "client_credentials", "app", "secret-word", timeout=30.0)
    client = Client(settings, "plant", TokenProvider(settings, "plant", session=logins), session=session)
    case = CaseSettings(**row.case)
    client._errors = case.errors
    sender = Sender(case, client, "case of plant", 5)
    items = [item(number, row.item) for number in range(len(row.come_to))]
    if row.item.get("doubted"):
        sender.doubted = {each.delivery.identity for each in items}
    found: dict[Item, str] = {}
    texts = []
    try:
        for each, decided in sender.send(items, lambda: True):
            assert not isinstance(decided, NotYet | LeaveOut)
            outcome = decided.outcome
            if isinstance(outcome, Again | Dead):
                word = "again" if isinstance(outcome, Again) else "dead"
                found[each] = f"{word} {said(outcome.failure)}".replace("dead reject", "dead")
                texts.append(outcome.failure.text)
            else:
                found[each] = f"{'already' if outcome is ALREADY else 'done'} {decided.case_id}"
    except Failed as failed:
        texts.append(failed.failure.text)
        for each in items:
            found.setdefault(each, f"rest {said(failed.failure)}")
    return [found[each] for each in items], texts, recorded


def item(number: int, known: Mapping[str, bool]) -> Item:
    delivery = Delivery(number, 1, "q", "", "q", False, None, b"", 0.0)  # type: ignore[arg-type]
    key = f"pump-{number}" if known.get("keyed") else None
    fields = {"Subject": f"Pump {number}", **({KEY: key} if key else {})}
    draft = Draft(fields, key, only_key=known.get("only_key", True))
    return Item(delivery, None, draft, there=known.get("there", False))  # type: ignore[arg-type]
