"""From messages to Cases by sObject Collections: what is in a call, and what each record's own result decides."""

import json
from typing import Any

from tests.e2e.cases import EXTERNAL_ID, SMALL, Divisions, alarm
from tests.services.waiting import eventually

#: Long enough for all that a test publishes at once to come into one batch.
TOGETHER = {"size": 200, "wait_ms": 500}
PLAIN = {name: name for name in ("Subject", "Language", "Priority", "SuppliedEmail", "ParentId")}
BY_EMAIL = {"lookup": "Contact", "where": {"Email": "email"}, "missing": "reject"}


def message(name: str, **fields: Any) -> tuple[bytes, dict[str, Any]]:
    """Return a message whose id says what it is, for PLAIN."""
    return json.dumps({"Subject": "good", **fields}).encode(), {"message_id": name}


def sizes(divisions: Divisions, *names: str) -> list[int]:
    return [call["records"] for call in divisions.creates(*names)]


def test_a_message_becomes_a_case_of_the_divisions_user(divisions: Divisions) -> None:
    queue = divisions.division()
    with divisions.started():
        divisions.publish(queue, [alarm(7)])
        (case,) = divisions.cases(1)
    assert case["Subject"] == "Pump p-7: overheated"
    assert divisions.vhost.depth(queue) == 0


def test_up_to_200_cases_go_in_a_call_and_one_call_of_a_division_is_in_flight(divisions: Divisions) -> None:
    for number, name in enumerate(("a", "b")):
        queue = divisions.division(name, batch=TOGETHER, limits=SMALL)
        divisions.load(queue, [alarm(n) for n in range(450)], start=number * 450)
    divisions.org.latency(100)
    with divisions.started(times=2):
        divisions.cases(900)
    for name in ("a", "b"):
        assert sizes(divisions, name) == [200, 200, 50]
        assert divisions.org.most_at_a_time(f"{name}@example.com") == 1
    assert divisions.org.calls() == 2 * (1 + 3)  # describe, and these


def test_one_bad_record_of_200_costs_only_itself(divisions: Divisions) -> None:
    divisions.org.contacts(1)
    divisions.org.fault(  # Salesforce refuses a whole call when it cannot read a value
        match={"path": "composite/sobjects", "record": {"Subject": "poison"}},
        times=None,
        errorCode="JSON_PARSER_ERROR",
        message="Cannot deserialize instance of string from VALUE_NUMBER value 7",
    )
    bad = [
        message("subject", Subject="x" * 256),
        message("picklist", Language="Klingon"),
        message("contact", email="nobody@example.com"),
        message("whole call", Subject="poison"),
    ]
    mapping = PLAIN | {"ContactId": BY_EMAIL | {"missing": "reject"}}
    queue = divisions.division(mapping=mapping, batch=TOGETHER, limits=SMALL)
    with divisions.started() as running:
        for number, (body, named) in enumerate(bad):
            good = [message(f"{number}-{at}", email="C0@Example.com") for at in range(199)]
            body = json.dumps({"email": "c0@example.com"} | json.loads(body)).encode()
            divisions.vhost.publish("", queue, [*good[:77], (body, named), *good[77:]])
            divisions.cases((number + 1) * 199)
        letters = divisions.letters(4)
        assert "PAUSED" not in running.log
    assert {name: (each["dead-code"], each["dead-detail"]) for name, each in letters.items()} == {
        "subject": ("STRING_TOO_LONG", "case.Subject"),
        "picklist": ("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "case.Language"),
        "contact": ("not-found", "mapping.ContactId <- lookup Contact where Email = 'nobody@example.com': not found"),
        "whole call": ("JSON_PARSER_ERROR", "case of field-service"),
    }
    assert letters["whole call"]["dead-text"].startswith("Cannot deserialize")
    first_three, bisected = sizes(divisions)[:3], sizes(divisions)[3:]
    assert first_three == [200, 200, 199]
    assert bisected[0] == 200
    assert len(bisected) <= 1 + 2 * 8  # 200 is halved eight times until one is left


def test_what_salesforce_says_about_a_record_stands_in_its_dead_letter(divisions: Divisions) -> None:
    rule = {"object": "Case", "message": "Give a phone number", "field": "SuppliedPhone", "when": "Priority = 'High'"}
    trigger = {
        "object": "Case",
        "when": "Subject = 'trigger'",
        "code": "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
        "message": "CaseTrigger: execution of BeforeInsert\n\ncaused by: System.NullPointerException",
    }
    divisions.org.rules(validation=[rule, rule | {"message": "Call first", "field": None}, trigger])
    messages = [
        message("two rules", Priority="High"),
        message("trigger", Subject="trigger"),
        message("address", SuppliedEmail="not an address"),
        message("parent", ParentId="500000000000001AAA"),
        message("no id", ParentId="Pump 7"),
        message("serial", serial="SN-404"),
    ]
    mapping = PLAIN | {"Asset.Serial_Number__c": "serial"}
    queue = divisions.division(mapping=mapping, batch=TOGETHER)
    with divisions.started():
        divisions.vhost.publish("", queue, [*messages, message("good")])
        divisions.cases(1)
        letters = divisions.letters(len(messages))
    assert {name: (each["dead-code"], each["dead-detail"]) for name, each in letters.items()} == {
        "two rules": ("FIELD_CUSTOM_VALIDATION_EXCEPTION", "case.SuppliedPhone"),
        "trigger": ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "case of field-service"),
        "address": ("INVALID_EMAIL_ADDRESS", "case.SuppliedEmail"),
        "parent": ("INVALID_CROSS_REFERENCE_KEY", "case.ParentId = 500000000000001AAA"),
        "no id": ("MALFORMED_ID", "case.ParentId"),
        "serial": ("INVALID_FIELD", "case of field-service"),
    }
    assert {each["dead-reason"] for each in letters.values()} == {"reject"}
    assert "Give a phone number" in letters["two rules"]["dead-text"]
    assert "Call first" in letters["two rules"]["dead-text"]
    assert letters["serial"]["dead-text"].startswith("Foreign key external ID: SN-404 not found")


def test_only_what_is_to_be_retried_is_sent_again_and_one_that_never_passes_is_blamed_when_others_do(
    divisions: Divisions,
) -> None:
    locked = {
        "statusCode": "UNABLE_TO_LOCK_ROW",
        "message": "unable to obtain exclusive access to this record or 1 records: 0015g000003XyZzAAK",
    }
    for subject, times in (("locked for a moment", 2), ("locked for ever", None)):
        match = {"path": "composite/sobjects", "record": {"Subject": subject}}
        divisions.org.fault(match=match, times=times, record=locked)
    queue = divisions.division(batch=TOGETHER, mapping=PLAIN, retry={"attempts": 3, "first_ms": 20})
    with divisions.started() as running:
        good = [message(f"good {at}") for at in range(8)]
        divisions.vhost.publish("", queue, [*good, message("one", Subject="locked for a moment")])
        divisions.cases(9)
        assert sizes(divisions) == [9, 1, 1]
        divisions.vhost.publish("", queue, [message("other", Subject="locked for ever")])
        running.wait_for("PAUSED division=field-service")  # nothing else is there that could show that it is to blame
        divisions.vhost.publish("", queue, [message("last")])
        letter = divisions.letters(1)["other"]
        divisions.cases(10)
        running.wait_for("RESUMED division=field-service")
    assert (letter["dead-reason"], letter["dead-code"]) == ("retries-exhausted", "UNABLE_TO_LOCK_ROW")


def test_calls_get_smaller_while_the_orgs_triggers_run_into_a_governor_limit(divisions: Divisions) -> None:
    trigger = {
        "object": "Case",
        "more_than": 60,
        "code": "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
        "message": "CaseTrigger: System.LimitException: Too many SOQL queries: 101",
    }
    divisions.org.rules(validation=[trigger])
    divisions.load(divisions.division(batch=TOGETHER, limits=SMALL), [alarm(n) for n in range(400)])
    with divisions.started() as running:
        divisions.cases(400)
        assert running.stop() == 0
        assert "done=400 already=0\n" in running.log
        assert "retrying" not in running.log
    assert sizes(divisions) == [200, 100, *[50] * 8]


def test_messages_with_one_key_are_one_case_however_they_come(divisions: Divisions) -> None:
    queue = divisions.division(batch=TOGETHER)
    with divisions.started() as running:
        same = [(alarm(n), {"message_id": "m-1"}) for n in range(3)]
        divisions.vhost.publish(
            "", queue, [*same, (alarm(3), {"message_id": "M-1"}), (alarm(4), {"message_id": "m-2"})]
        )
        divisions.cases(2)
        divisions.vhost.publish("", queue, [(alarm(5), {"message_id": "m-1"})])
        # m-1 and M-1 are one key to some fields, so they never share a call.
        assert eventually(lambda: len(divisions.creates()) == 3)
        assert running.stop() == 0
        assert "done=2 already=4\n" in running.log
    assert sizes(divisions) == [2, 1, 1]
    assert [case["Subject"] for case in divisions.cases(2)] == ["Pump p-0: overheated", "Pump p-4: overheated"]


def test_what_is_accepted_becomes_a_case_for_each_alert_and_the_rest_is_counted(divisions: Divisions) -> None:
    mapping = {"Subject": "{$.group} {name}"}
    key = EXTERNAL_ID | {"value": "{$message_id}-{$index}"}
    queue = divisions.division(
        mapping=mapping, external_id=key, case={"for_each": "alerts"}, accept_when={"level": {"ge": 3}}
    )
    alerts = [{"name": "hot"}, {"name": "loud"}]
    bodies = [{"group": "g", "level": level, "alerts": alerts} for level in (3, 2.9, "n/a", "4.0")]
    empty = {"group": "g", "level": 9, "alerts": []}
    with divisions.started() as running:
        divisions.publish(queue, [json.dumps(body).encode() for body in (*bodies, empty)])
        divisions.cases(4)
        eventually(lambda: divisions.vhost.unsettled(queue) == 0)
        assert running.stop() == 0
        assert "done=2 already=0" in running.log
        assert "accept_when=2" in running.log
        assert "empty=1" in running.log
    assert sorted(case["Subject"] for case in divisions.org.cases()) == ["g hot", "g hot", "g loud", "g loud"]
    assert divisions.vhost.depth("dead-letter") == 0


def test_a_value_that_salesforce_does_not_take_costs_no_case_where_it_may_be_left_out(divisions: Divisions) -> None:
    optional = {name: {"path": name, "invalid": "skip"} for name in ("SuppliedEmail", "Language")}
    mapping = PLAIN | optional
    queue = divisions.division(
        mapping=mapping, case={"note_field": "Description"}, reply={"routing_key": "answers"}, batch=TOGETHER
    )
    divisions.vhost.declare_queue("answers")
    with divisions.started() as running:
        messages = [
            message("both", SuppliedEmail="n/a", Language="klingon"),
            message("one", SuppliedEmail="n/a", Language="de"),
            message("good", SuppliedEmail="ada@example.com", Language="de"),
        ]
        divisions.vhost.publish("", queue, messages)
        cases = {case["Message_Id__c"]: case for case in divisions.cases(3)}
        eventually(lambda: divisions.vhost.depth("answers") == 3)
        assert running.stop() == 0
    assert [cases[name].get("SuppliedEmail") for name in ("both", "one", "good")] == [None, None, "ada@example.com"]
    assert [cases[name].get("Language") for name in ("both", "one", "good")] == [None, "de", "de"]
    assert cases["good"].get("Description") is None
    assert cases["both"]["Description"].count("left out") == 2
    answers = [json.loads(body) for _, _, body in divisions.vhost.get_all("answers")]
    left_out = sorted(sorted(each["field"] for each in answer.get("left_out", ())) for answer in answers)
    assert left_out == [[], ["Language", "SuppliedEmail"], ["SuppliedEmail"]]
    assert divisions.vhost.depth("dead-letter") == 0
