"""Bad input and bad days: hostile messages end among the dead letters, an outage loses and doubles nothing."""

import json
import re
import signal
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from tests.e2e.cases import Divisions
from tests.e2e.conftest import Running
from tests.e2e.test_bad_input import JSON, LARGE, NO
from tests.services.rest import Rest
from tests.services.salesforce import CLIENT_SECRET, PASSWORD, SECURITY_TOKEN, Org
from tests.services.waiting import eventually

TOGETHER = {"size": 200, "wait_ms": 300}
CREATES = {"path": "composite/sobjects"}
PAGE = "<html><head><title>Down for Maintenance</title></head><body>Sorry</body></html>"

# -- bad input

MAPPING = {
    "Subject": "Pump {device.id}",
    "Description": "text",
    "IsEscalated": "urgent",
    "Raised__c": "$timestamp",
    "SuppliedName": "$headers.sender",
}
MISSING, BAD = "missing-field", "bad-value"
HOSTILE: dict[str, tuple[bytes, str]] = {
    **{name: case for name, case in JSON.items() if case[1] in (NO, LARGE)},
    "null": (b"null", MISSING),
    "a number": (b"7", MISSING),
    "a text": (b'"device"', MISSING),
    "no object": (b'{"device": "p-7"}', MISSING),
    "an empty object": (b"{}", MISSING),
    "a list of nulls": (b"[null, null]", MISSING),
    "an object for a text": (b'{"device": {"id": "p"}, "text": {"a": 1}}', BAD),
    "a list for a text": (b'{"device": {"id": "p"}, "text": ["a"]}', BAD),
    "neither true nor false": (b'{"device": {"id": "p"}, "urgent": "perhaps"}', BAD),
    "40,000 characters": (json.dumps({"device": {"id": "p"}, "text": "x" * 40_000}).encode(), "STRING_TOO_LONG"),
}
PROPERTIES: dict[str, tuple[dict[str, Any], str]] = {
    "in no known year": ({"timestamp": 2**63 - 1}, BAD),
    "a list for a name": ({"headers": {"sender": [1, 2]}}, BAD),
    "a long name": ({"headers": {"sender": "n" * 81}}, "STRING_TOO_LONG"),
}


def test_hostile_messages_are_dead_letters_with_a_reason_and_their_neighbours_are_cases(divisions: Divisions) -> None:
    divisions.org.add_field("Case", "Raised__c", type="datetime", length=0)
    # A body over the limit would be rejected unread, with the broker's words: test_large_bodies.
    arguments = {"x-dead-letter-strategy": "at-most-once"}
    source = {"queue": "hostile", "arguments": arguments}
    queue = divisions.division(mapping=MAPPING, case={"required": ["Subject"]}, batch=TOGETHER, source=source)
    good = b'{"device": {"id": "good"}}'
    messages: list[Any] = []
    for name, (body, _) in HOSTILE.items():
        messages += [(good, {"message_id": f"before {name}"}), (body, {"message_id": name})]
    for name, (properties, _) in PROPERTIES.items():
        messages += [(good, {"message_id": f"before {name}"}), (good, {"message_id": name, **properties})]
    messages += [(good, {"message_id": "a\0b"}), (good, {"message_id": "x" * 255})]
    bad = len(HOSTILE) + len(PROPERTIES)
    with divisions.started() as running:
        divisions.vhost.publish("", queue, messages)
        eventually(lambda: len(divisions.org.cases()) > bad)
        made = {case["Message_Id__c"] for case in divisions.org.cases()}
        assert made == {message[1]["message_id"] for message in messages[::2]} - {"a\0b"} | {"x" * 255}
        letters = divisions.letters(bad + 1)
        assert "PAUSED" not in running.log
    codes = {name: code for name, (_, code) in (HOSTILE | PROPERTIES).items()} | {"a\0b": BAD}
    assert {name: each["dead-code"] for name, each in letters.items()} == codes
    assert {each["dead-reason"] for each in letters.values()} == {"reject"}
    assert all(each["dead-text"] and each["dead-detail"] for each in letters.values())


# -- bad days

Event = Callable[[Org], None]


def fault(match: dict[str, str], **rule: Any) -> Event:
    return lambda org: org.fault(match=match, **rule)


def expired(org: Org) -> None:
    org.expire_tokens()


def maintenance(kind: str) -> Event:
    return lambda org: org.maintenance(kind)


TOKEN, QUERY = {"path": "oauth2/token"}, {"path": "/query"}
BUSY = "ConcurrentRequests (Concurrent API Requests) Limit exceeded."
DAYS: dict[str, tuple[Event, ...]] = {
    "maintenance": (maintenance("down"),),
    "read-only maintenance": (maintenance("read-only"),),
    "sessions that expired": (expired,),
    "a log-in that is unavailable": (expired, fault(TOKEN, status=503, html=PAGE)),
    "a log-in of HTML": (expired, fault(TOKEN, status=200, html=PAGE)),
    "a lookup that is unavailable": (fault(QUERY, status=503, html=PAGE),),
    "a lookup cut short": (fault(QUERY, times=2, truncate=40),),
    "503": (fault(CREATES, status=503, html=PAGE),),
    "429": (fault(CREATES, status=429, html="Too Many Requests"),),
    "too many calls at a time": (fault(CREATES, status=403, errorCode="REQUEST_LIMIT_EXCEEDED", message=BUSY),),
    "502 though it is done": (fault(CREATES, status=502, html=PAGE, commit=True),),
    "HTML though it is done": (fault(CREATES, status=200, html=PAGE, commit=True),),
    "an error though it is done": (fault(CREATES, status=500, errorCode="UNKNOWN_EXCEPTION", commit=True),),
    "nonsense though it is done": (fault(CREATES, status=200, body=[{"success": True}], commit=True),),
    "a redirect": (fault(CREATES, status=302, headers={"Location": "https://elsewhere.example/"}),),
    "a reset before": (fault(CREATES, times=2, drop_before=True, reset=True),),
    "a reset after": (fault(CREATES, times=2, drop_after_commit=True, reset=True),),
    "an answer cut short": (fault(CREATES, times=2, truncate=100),),
    "an answer that trickles": (fault(CREATES, slow_body_ms=700),),
    "silence": (fault(CREATES, delay_ms=3000),),  # the org does its work after all
}


@pytest.mark.slow
def test_bad_days_of_salesforce_lose_and_double_no_case_and_dead_letter_nothing(divisions: Divisions) -> None:
    org = divisions.org
    mapping = {"Subject": "day", "ContactId": {"lookup": "Contact", "where": {"Email": "email"}}}
    queue = divisions.division(mapping=mapping, salesforce={"timeout": 1}, batch={"size": 20, "wait_ms": 50})
    org.maintenance("down")
    with divisions.started(ready=" PAUSED ") as running:
        org.maintenance("")
        for number, (day, events) in enumerate(DAYS.items()):
            for event in events:
                event(org)
            bodies = [{"day": day, "email": f"{number}-{at}@example.com"} for at in range(20)]
            messages = [(body, {"message_id": f"{day} {at}"}) for at, body in enumerate(bodies)]
            divisions.vhost.publish("", queue, messages)
            if "maintenance" in day:
                eventually(lambda: is_paused(running))
                org.maintenance("")
            live_through(day, divisions, running)
        assert "first delivery" not in running.log  # what was done without an answer is not taken for a reused key
    assert len(org.cases()) == len({case["Message_Id__c"] for case in org.cases()}) == 20 * len(DAYS)
    assert divisions.dead() == []
    assert divisions.vhost.depth(queue) == 0


def is_paused(running: Running) -> bool:
    return running.log.rfind(" PAUSED ") > running.log.rfind(" RESUMED ")


def live_through(day: str, divisions: Divisions, running: Running) -> None:
    """Wait until a day is over, as somebody does who has an eye on the log."""

    def is_over() -> bool:
        if is_paused(running):
            running.signal(signal.SIGUSR1)
        made = sum(case["Subject"] == day for case in divisions.org.cases())
        last = divisions.creates()[-1:]
        return made >= 20 and last[0]["status"] == 200 and not last[0]["fault"]

    eventually(is_over, every=0.1, what=f"the end of {day!r}")


# -- secrets

#: What Salesforce's access tokens look like; the sandbox's do as well.
TOKENS = re.compile(r"00D[0-9A-Za-z]{12,15}![0-9A-Za-z._-]+")


def test_no_token_password_or_secret_gets_into_logs_and_dead_letters(divisions: Divisions) -> None:
    org = divisions.org
    echo = f"who are you? password={PASSWORD} I know {PASSWORD} {PASSWORD}{SECURITY_TOKEN} {CLIENT_SECRET}"
    for name in ("echoed", "refused", "redirected"):
        divisions.division(name, salesforce={"password": "${SF_PASSWORD}"})
    divisions.division("signed", auth="jwt")
    divisions.division("app", auth="client_credentials")
    refused = {"error": "invalid_grant", "error_description": echo}
    org.fault(match={"path": "oauth2/token", "user": "refused@example.com"}, times=None, status=400, body=refused)
    records = {"statusCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": echo, "fields": [PASSWORD]}
    for user in ("echoed", "signed"):
        org.fault(match=CREATES | {"user": f"{user}@example.com"}, times=None, record=records)
    elsewhere = {
        "Location": f"https://user:{quote(PASSWORD, safe='')}@elsewhere.example/?secret={quote(CLIENT_SECRET)}"
    }
    org.fault(match=CREATES | {"user": "redirected@example.com"}, status=302, headers=elsewhere)
    org.fault(match=CREATES | {"user": "app@example.com"}, status=503, html=f"<title>{echo}</title>")
    divisions.configure(logging={"level": "debug"})
    for name in divisions.divisions:
        divisions.load(f"sfconnector.{name}", [])
    with divisions.started(times=4, SF_PASSWORD=PASSWORD) as running:
        for name in divisions.divisions:
            divisions.vhost.publish("", f"sfconnector.{name}", ({"device": name}, {"message_id": name}))
        letters = divisions.letters(2)
        running.wait_for(" PAUSED ", times=3)
        org.expire_tokens()
        running.signal(signal.SIGUSR1)
        divisions.cases(2)
        assert running.stop() == 0
        log = running.log
    assert "division=refused" in log
    assert [each["dead-code"] for each in letters.values()] == ["FIELD_CUSTOM_VALIDATION_EXCEPTION"] * 2
    told = log + json.dumps(letters) + "".join(str(each) for each in letters.values())
    assert TOKENS.fullmatch(Rest(org).token)
    assert TOKENS.search(told) is None
    for secret in (PASSWORD, CLIENT_SECRET, SECURITY_TOKEN, divisions.vhost.password, *org.key.splitlines()):
        for form in {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}:
            assert form not in told, form


def test_five_mistakes_of_a_configuration_are_five_lines(divisions: Divisions) -> None:
    queue = divisions.division(
        mapping={"Subject": "Pump {device.id", "Description": {"path": "text", "tpye": "text"}},
        external_id={"field": "Message_Id__c", "value": "$message_id", "mode": "once"},
        batch={"size": 500},
        salesforce={"login_url": "http://login.example.com"},
    )
    done = divisions.run("-i", str(divisions.file))
    assert done.returncode == 78, done.stderr
    told = [line.partition(": divisions.field-service.")[2] for line in done.stderr.splitlines()]
    assert told == [
        "salesforce.login_url: expected https://; http:// only for this machine (127.0.0.1)",
        "case.mapping.Subject: the brace at character 6 of 'Pump {device.id' is not closed",
        'case.mapping.Description.tpye: unknown key; did you mean "type"?',
        'case.external_id.mode: expected "create_once" or "upsert", not the text "once"',
        "batch.size: expected at most 200, not 500",
    ]
    assert not divisions.vhost.exists(queue)
