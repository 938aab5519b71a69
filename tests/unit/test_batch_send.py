"""How items go out: what is in a call, what a refused, lost or crowded call comes to. On the sandbox's org."""

import json
import threading
from dataclasses import replace
from typing import Any

import pytest

from connectorlib.errors import Failed, Kind, Stale
from connectorlib.messages import ALREADY, DONE, Again, Dead, Delivery
from connectorlib.pipeline.flood import Brake
from sfconnector import record_outcome
from sfconnector.batch_send import MOST_CHARACTERS, CallSizes, Sender
from sfconnector.mapping import Draft
from sfconnector.record_outcome import OUTDATED, Judge
from sfconnector.records import Item
from sfconnector.salesforce.client import Unanswered
from sfconnector.salesforce.error_codes import SfError
from sfconnector.sandbox.org_rules import AssignmentEntry, AssignmentRule, ValidationRule
from sfconnector.settings import CaseSettings, ExternalId
from tests.unit.calls import LOST, CaseClient, lost, nothing, raising, rejected

PLACE = "case of hvac"
BREAKER = 5
TRIGGER = "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"
KEYED = {"external_id": ExternalId("Message_Id__c", "$message_id")}
UPSERT = {"external_id": ExternalId("Message_Id__c", "$message_id", "upsert")}


@pytest.fixture
def client():
    return CaseClient()


def sender(client, brake=None, **case):
    return Sender(CaseSettings(**case), client, PLACE, BREAKER, brake=brake)


def item(number=0, key=None, owner=False, looked_up=(), **fields):
    delivery = Delivery(number, 1, "q", "", "q", False, None, b"", 0.0)  # type: ignore[arg-type]
    fields = {"Subject": f"case {number}", **fields, **({"Message_Id__c": key} if key else {})}
    return Item(delivery, None, Draft(fields, key, owner, looked_up))  # type: ignore[arg-type]


def items(count, **more):
    return [item(number, **more) for number in range(count)]


#: What became of each item of the test.
DECIDED: dict[Item, Any] = {}


def send(sender, items, valid=lambda: True):
    """Return those that have to be looked up again."""
    for item in items:
        DECIDED.pop(item, None)
    for item, decided in sender.send(items, valid):
        DECIDED[item] = decided
    return [item for item in items if DECIDED.get(item) is OUTDATED]


def outcome(item):
    return DECIDED[item].outcome if item in DECIDED else None


def outcomes(items):
    return [outcome(item) for item in items]


# -- what is in a call


def test_a_call_has_at_most_200_records(client):
    batch = items(450)
    assert send(sender(client), batch) == []
    assert client.sizes == [200, 200, 50]
    assert outcomes(batch) == [DONE] * 450
    assert [DECIDED[each].case_id for each in batch] == [case["Id"] for case in client.org.records("Case")]


def test_a_call_has_no_more_characters_than_one_request_should_have(client):
    batch = items(200, Description="x" * (MOST_CHARACTERS // 160))
    send(sender(client), batch)
    assert len(client.sizes) == 2
    assert sum(client.sizes) == 200
    assert outcomes(batch) == [DONE] * 200


@pytest.mark.parametrize(
    ("auto_assign", "plain", "owned"),
    [(True, "TRUE", "FALSE"), (False, "FALSE", "FALSE"), ("01Q000000000001EAA", "01Q000000000001EAA", "FALSE")],
)
def test_records_with_an_owner_go_in_a_call_of_their_own_without_the_assignment_rule(client, auto_assign, plain, owned):
    sends = sender(client, auto_assign=auto_assign)
    for batch in ([item()], [item(owner=True)]):
        send(sends, batch)
    assert [headers["Sforce-Auto-Assign"] for headers in client.headers] == [plain, owned]


def test_records_of_two_ways_are_two_calls(client):
    batch = [item(0), item(1, owner=True), item(2), item(3, owner=True)]
    send(sender(client), batch)
    assert [[record["Subject"] for record in call] for call in client.calls] == [
        ["case 0", "case 2"],
        ["case 1", "case 3"],
    ]


def test_an_upsert_makes_cases_by_assignment_rule_and_leaves_those_that_are_there_to_whoever_has_them(client):
    (queue,) = client.org.seed("Group", [{"Name": "Pumps", "Type": "Queue"}])
    client.org.configure({"assignment": [AssignmentRule("01Q000000000001", (AssignmentEntry(queue),))]})
    sends = sender(client, **UPSERT)
    send(sends, [item(0, "a")])
    (case,) = client.org.records("Case")
    assert case["OwnerId"] == queue
    client.org.update("Case", case["Id"], {"OwnerId": client.user}, client.user, auto_assign=False)
    batch = [item(1, "a"), item(2, "b")]
    send(sends, batch)
    cases = {case["Message_Id__c"]: (case["Subject"], case["OwnerId"]) for case in client.org.records("Case")}
    assert cases == {"a": ("case 1", client.user), "b": ("case 2", queue)}
    assert outcomes(batch) == [ALREADY, DONE]
    assert client.sizes == [1, 2, 1]


@pytest.mark.parametrize("mode", ["create_once", "upsert"])
def test_a_case_whose_owner_by_rule_has_left_is_refused_and_one_that_is_there_is_changed(client, mode):
    (left,) = client.org.seed("User", [{"Username": "left@example.com", "LastName": "L", "IsActive": False}])
    client.org.seed("Case", [{"Message_Id__c": "there", "Subject": "before"}])
    client.org.configure({"assignment": [AssignmentRule("01Q000000000001", (AssignmentEntry(left),))]})
    sends = sender(client, brake=Brake(2), external_id=ExternalId("Message_Id__c", "$message_id", mode))
    batch = [item(0, "there"), item(1, "new")]
    send(sends, batch)
    assert outcome(batch[0]) is ALREADY
    refused = outcome(batch[1]).failure
    assert (refused.kind, refused.code) == (Kind.REJECT, "INACTIVE_OWNER_OR_USER")
    cases = [(case["Message_Id__c"], case["Subject"]) for case in client.org.records("Case")]
    assert cases == [("there", "case 0" if mode == "upsert" else "before")]
    with pytest.raises(Failed) as raised:
        send(sends, [item(2, "newer"), item(3, "newest")])
    assert raised.value.failure.kind is Kind.FLOOD


def test_a_call_that_is_refused_as_a_whole_for_an_owner_is_not_sent_without_the_rule(client):
    client.before = [raising(rejected("INACTIVE_OWNER_OR_USER"))]
    batch = [item(0, "a")]
    send(sender(client, **UPSERT), batch)
    assert outcome(batch[0]).failure.code == "INACTIVE_OWNER_OR_USER"
    assert client.org.records("Case") == []


def test_a_case_that_is_created_where_one_was_to_be_changed_is_a_warning(client, caplog):
    (case,) = client.org.seed("Case", [{"Message_Id__c": "a"}])
    client.after = [lambda: client.org.delete("Case", case, client.user)]
    batch = [item(0, "a")]
    send(sender(client, **UPSERT), batch)
    assert outcome(batch[0]) is DONE
    (warning,) = [vars(each) for each in caplog.records if "assignment rule" in each.message]
    assert warning["event"] == "a Case was created without its assignment rule"


def test_what_may_not_be_made_and_may_be_changed_is_no_flood(client):
    client.org.seed("Case", [{"Message_Id__c": f"k{number}"} for number in range(8)])
    client.org.configure({"validation": [ValidationRule("Case", "no new ones", "CreatedDate > 2000-01-01T00:00:00Z")]})
    client.after = [lambda: client.org.configure({"validation": []})]
    sends = sender(client, brake=Brake(2), **UPSERT)
    batch = [item(number, f"k{number}") for number in range(8)]
    send(sends, batch)
    assert outcomes(batch) == [ALREADY] * 8
    assert client.sizes == [8, 8]


def test_an_upsert_without_an_assignment_rule_is_one_call_but_for_records_without_a_key(client):
    send(sender(client, **UPSERT, auto_assign=False), [item(0, "a"), item(1)])
    assert client.sizes == [1, 1]
    assert len(client.repeatable) == 1


def test_the_duplicate_rule_is_a_header(client):
    send(sender(client, duplicate_rule={"allow_save": True, "run_as_current_user": False}), [item()])
    assert client.headers[0]["Sforce-Duplicate-Rule-Header"] == "allowSave=true; runAsCurrentUser=false"


def test_nothing_is_sent_for_deliveries_that_are_not_ours_any_more(client):
    answers = iter([True, False])
    batch = items(300)
    with pytest.raises(Stale):
        send(sender(client), batch, lambda: next(answers))
    assert client.sizes == [200]
    assert outcomes(batch) == [DONE] * 200 + [None] * 100


@pytest.mark.parametrize(("keyed", "sizes"), [(True, [200]), (False, [200, 200, 50])])
def test_after_a_stop_nothing_is_sent_but_what_completes_a_message_that_would_be_made_twice(client, keyed, sizes):
    """Here all are records of one message, and then there is another."""
    stop = threading.Event()
    client.before = [stop.set]
    case = CaseSettings(external_id=KEYED["external_id"])
    sends = Sender(case, client, PLACE, BREAKER, stop)
    batch = [item(1, f"k{at}" if keyed else None) for at in range(450)]
    batch += [item(2, "other" if keyed else None)]
    with pytest.raises(Failed) as caught:
        send(sends, batch)
    assert caught.value.failure.code == "stopping"
    assert client.sizes == sizes
    assert outcomes(batch) == [DONE] * sum(sizes) + [None] * (451 - sum(sizes))


# -- what each record came to


@pytest.mark.parametrize(
    ("owner", "more", "kind"),
    [
        ({"defaults": {"OwnerId": "$"}}, {}, Kind.CONFIGURATION),
        ({"mapping": {"ownerid": {"value": "$"}}}, {}, Kind.CONFIGURATION),
        ({"mapping": {"OwnerId": {"path": "owner", "default": "$"}}}, {}, Kind.CONFIGURATION),
        ({"mapping": {"OwnerId": "owner"}, "defaults": {"OwnerId": "005000000000001AAA"}}, {}, Kind.REJECT),
        ({"mapping": {"OwnerId": {"value": "$"}}}, {"errors": {"INACTIVE_OWNER_OR_USER": "reject"}}, Kind.REJECT),
    ],
)
def test_an_owner_who_has_left_is_a_matter_of_configuration_if_that_names_him(client, owner, more, kind):
    (left,) = client.org.seed("User", [{"Username": "left@example.com", "LastName": "L", "IsActive": False}])
    named = json.loads(json.dumps(owner).replace("$", left))
    batch = [item(0, owner=True, OwnerId=left), item(1)]
    send(sender(client, **named, **more), batch)
    assert outcome(batch[0]).failure.kind is kind
    assert outcome(batch[0]).failure.code == "INACTIVE_OWNER_OR_USER"
    assert outcome(batch[1]) is DONE


PICKLIST = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"


@pytest.mark.parametrize(
    ("case", "fields", "code", "configured"),
    [
        ({"defaults": {"Origin": "Machine"}}, ["Origin"], PICKLIST, True),
        ({"mapping": {"origin": {"value": "Machine"}}}, ["Origin"], PICKLIST, True),
        ({"mapping": {"Origin": {"path": "from", "map": {"m": "Machine"}}}}, ["Origin"], PICKLIST, True),
        ({"mapping": {"Origin": "from"}, "defaults": {"Origin": "Web"}}, ["Origin"], PICKLIST, False),
        ({"mapping": {"Origin": "Mach{ine}"}}, ["Origin"], PICKLIST, False),
        ({"defaults": {"Origin": "Machine"}}, ["Subject"], PICKLIST, False),
        ({"defaults": {"Origin": "Machine"}}, ["Origin", "Subject"], PICKLIST, False),
        ({"defaults": {"Origin": "Machine"}}, [], PICKLIST, False),
        ({"defaults": {"Origin": "Machine"}}, ["Origin"], "FIELD_CUSTOM_VALIDATION_EXCEPTION", False),
        ({"defaults": {"Origin": "Machine"}}, ["Reason"], "REQUIRED_FIELD_MISSING", False),
    ],
)
def test_what_is_refused_for_a_constant_is_a_matter_of_configuration(case, fields, code, configured):
    judge = Judge.of(CaseSettings(**case), PLACE)
    decided = judge.refused(item(Origin="Machine"), [SfError(code, "a text", tuple(fields))])
    assert isinstance(decided.outcome, Again | Dead)
    assert isinstance(decided.outcome, Again) is configured
    failure = decided.outcome.failure
    assert failure.kind is (Kind.CONFIGURATION if configured else Kind.REJECT)
    assert failure.place == (f"{PLACE}, origin = Machine" if configured else PLACE)


# -- a flood


def refuse(client, when="", code="FIELD_CUSTOM_VALIDATION_EXCEPTION"):
    client.org.rules.validation.append(ValidationRule("Case", "Give a site.", when=when, field="Subject", code=code))


def braked(client, limit, **case):
    return Sender(CaseSettings(**case), client, PLACE, BREAKER, brake=Brake(limit))


def kinds(batch):
    return [getattr(getattr(outcome(each), "failure", None), "kind", outcome(each)) for each in batch]


def test_what_a_rule_refuses_over_the_limit_is_sent_again_and_nothing_more_is_sent_now(client):
    refuse(client)
    batch = items(450)
    with pytest.raises(Failed) as raised:
        send(braked(client, 100), batch)
    assert kinds(batch) == [Kind.REJECT] * 99 + [Kind.FLOOD] * 101 + [None] * 250
    assert client.sizes == [200]
    assert raised.value.failure.kind is Kind.FLOOD
    assert raised.value.failure.same == 200


def test_in_a_flood_a_record_alone_is_sent_again_and_one_that_passes_ends_it(client):
    refuse(client, when="Subject != 'good'")
    it = braked(client, 10)
    with pytest.raises(Failed):
        send(it, items(20))
    one = [item(30)]
    with pytest.raises(Failed):
        send(it, one)
    assert kinds(one) == [Kind.FLOOD]
    send(it, [item(31, Subject="good")])
    send(it, one)
    assert kinds(one) == [Kind.REJECT]


@pytest.mark.parametrize("code", ["DUPLICATES_DETECTED", "DUPLICATE_VALUE", "DUPLICATE_EXTERNAL_ID"])
def test_what_is_there_already_is_never_a_flood(client, code):
    refuse(client, code=code)
    batch = items(200)
    send(braked(client, 10), batch)
    assert kinds(batch) == [Kind.REJECT] * 200


def test_a_call_that_is_refused_as_a_whole_is_halved_no_further_in_a_flood(client):
    client.before += [raising(rejected("JSON_PARSER_ERROR"))] * 100
    batch = items(64)
    with pytest.raises(Failed):
        send(braked(client, 5), batch)
    assert kinds(batch) == [Kind.REJECT] * 4 + [Kind.FLOOD] + [None] * 59


def test_a_key_that_is_there_is_success_where_it_is_created_once(client):
    (there,) = client.org.seed("Case", [{"Message_Id__c": "a"}])
    batch = [item(0, "a"), item(1, "b")]
    send(sender(client, **KEYED), batch)
    assert outcomes(batch) == [ALREADY, DONE]
    assert DECIDED[batch[0]].case_id == there


def test_another_unique_field_is_no_key(client):
    client.org.add_field("Case", {"name": "Serial__c", "type": "string", "length": 20, "unique": True})
    client.org.seed("Case", [{"Serial__c": "1"}])
    batch = [item(0, "a", Serial__c="1")]
    send(sender(client, **KEYED), batch)
    assert outcome(batch[0]).failure.code == "DUPLICATE_VALUE"


def test_an_upsert_that_changed_a_case_was_there_already(client):
    client.org.seed("Case", [{"Message_Id__c": "a"}])
    batch = [item(0, "a"), item(1, "b")]
    send(sender(client, **UPSERT), batch)
    assert outcomes(batch) == [ALREADY, DONE]


def test_several_errors_of_one_record_are_told_together_and_the_gravest_decides(client):
    codes = ("UNABLE_TO_LOCK_ROW", "FIELD_CUSTOM_VALIDATION_EXCEPTION")
    rules = [ValidationRule("Case", f"about {code}", code=code) for code in codes]
    client.org.configure({"validation": rules})
    batch = [item()]
    send(sender(client), batch)
    assert isinstance(outcome(batch[0]), Dead)
    failure = outcome(batch[0]).failure
    assert failure.code == "FIELD_CUSTOM_VALIDATION_EXCEPTION"
    assert failure.text == "; ".join(f"{code} about {code}" for code in codes)


def test_a_value_that_is_too_long_is_not_repeated_beside_another_error(client):
    too_long = {"code": "STRING_TOO_LONG", "message": "Subject: data value too large: private (max length=255)"}
    rules = [ValidationRule("Case", "no", code="FIELD_CUSTOM_VALIDATION_EXCEPTION")]
    client.org.configure({"validation": [*rules, ValidationRule("Case", too_long["message"], code=too_long["code"])]})
    batch = [item()]
    send(sender(client), batch)
    text = outcome(batch[0]).failure.text
    assert "private" not in text
    assert "max length=255" in text


@pytest.mark.parametrize(("word", "expected"), [("done", ALREADY), ("retry", Again), ("reject", Dead)])
def test_errors_of_the_configuration_decide_first(client, word, expected):
    rule = ValidationRule("Case", "no", code="FIELD_CUSTOM_VALIDATION_EXCEPTION")
    client.org.configure({"validation": [rule]})
    batch = [item()]
    send(sender(client, errors={"FIELD_CUSTOM_VALIDATION_EXCEPTION": word}), batch)
    assert outcome(batch[0]) == expected or isinstance(outcome(batch[0]), expected)


def test_what_a_looked_up_id_no_longer_leads_to_is_looked_up_once_more(client):
    gone = "003000000000001AAA"
    stale, given, known = item(0, looked_up=("a lookup",), ContactId=gone), item(1, ContactId=gone), item(2)
    sends = sender(client)
    assert send(sends, [stale, given, known]) == [stale]
    assert outcome(known) is DONE
    assert isinstance(outcome(given), Dead)
    assert outcome(given).failure.detail == f"case.ContactId = {gone}"
    stale = replace(stale, refreshed=True)
    assert send(sends, [stale]) == []
    assert isinstance(outcome(stale), Dead)


# -- a call that is refused as a whole


@pytest.mark.parametrize("bad", [0, 77, 199])
@pytest.mark.parametrize("code", ["JSON_PARSER_ERROR", "SOMETHING_NEW"])
def test_a_refused_call_is_halved_until_the_bad_record_stands_alone(client, bad, code):
    batch = items(200)
    client.before = [lambda: _refuse(client, f"case {bad}", code)] * 40
    sends = sender(client)
    send(sends, batch)
    assert [each for each, came in enumerate(outcomes(batch)) if came is not DONE] == [bad]
    assert isinstance(outcome(batch[bad]), Dead if code == "JSON_PARSER_ERROR" else Again)
    assert len(client.sizes) <= 1 + 2 * 8


def _refuse(client, subject, code):
    if any(record["Subject"] == subject for record in client.calls[-1]):
        raise rejected(code, "no")


def test_a_call_that_is_too_large_is_halved(client):
    batch = items(8)
    client.before = [raising(rejected("http-413", "HTTP 413", 413))] * 3
    send(sender(client), batch)
    assert outcomes(batch) == [DONE] * 8
    assert client.sizes[:3] == [8, 4, 2]


def test_a_call_that_is_refused_whatever_is_in_it_ends_at_the_breaker(client):
    batch = items(200)
    client.before = [raising(rejected("INVALID_FIELD", "No such column 'Site__c' on sobject of type Case"))] * 1000
    with pytest.raises(Failed) as caught:
        send(sender(client), batch)
    assert caught.value.failure.kind is Kind.CONFIGURATION
    assert len(client.calls) < 40
    assert outcomes(batch).count(None) == 200 - BREAKER


@pytest.mark.parametrize(
    ("code", "text", "status"),
    [
        ("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", 403),
        ("INVALID_SESSION_ID", "Session expired or invalid", 401),
        ("SERVER_UNAVAILABLE", "", 503),
        ("NOT_FOUND", "The requested resource does not exist", 404),
        ("UNKNOWN_EXCEPTION", "", 500),
        ("STORAGE_LIMIT_EXCEEDED", "storage limit exceeded", 400),
    ],
)
def test_a_call_that_fails_for_another_reason_than_its_records_is_not_halved(client, code, text, status):
    batch = items(10)
    client.before = [raising(rejected(code, text, status))]
    with pytest.raises(Failed):
        send(sender(client), batch)
    assert client.sizes == [10]
    assert outcomes(batch) == [None] * 10


# -- an answer that does not come


def test_what_has_a_key_is_tried_again_and_found(client):
    batch = items(3)
    for number, each in enumerate(batch):
        batch[number] = replace(each, draft=item(number, key=f"k{number}").draft)
    client.after = [lost()]
    sends = sender(client, **KEYED, on_unknown="dead-letter")
    with pytest.raises(Failed):
        send(sends, batch)
    assert outcomes(batch) == [None] * 3
    assert sends.unanswered is None
    send(sends, batch)
    assert outcomes(batch) == [ALREADY] * 3
    assert sends.doubted == {(1, 0), (1, 1), (1, 2)}


@pytest.mark.parametrize("error", [lost(), raising(rejected("UNKNOWN_EXCEPTION", "", 500))])
def test_what_has_no_key_is_dead_lettered_if_the_configuration_says_so(client, error):
    batch = [item(0), item(1, key="k")]
    client.after = [error]
    sends = sender(client, **KEYED, on_unknown="dead-letter")
    with pytest.raises(Failed):
        send(sends, batch)
    assert outcome(batch[0]).reason == "unknown"
    assert outcome(batch[1]) is None
    assert sends.unanswered.kind is Kind.UNAVAILABLE
    assert client.repeatable == [False]


def test_a_call_may_be_repeated_by_the_client_where_that_does_no_harm(client):
    send(sender(client, **KEYED, on_unknown="dead-letter"), [item(0, "a")])
    send(sender(client), [item(1)])
    assert client.repeatable == [True, True]


def test_after_a_repeated_call_a_key_that_is_there_is_no_surprise(client):
    def repeat():
        client.repeats += 1

    client.before = [nothing, repeat]
    sends = sender(client, **KEYED)
    send(sends, [item(0, "a")])
    send(sends, [item(1, "b")])
    assert sends.doubted == {(1, 1)}


# -- limits of the org's own automation


def test_records_a_call_get_fewer_while_a_governor_limit_is_hit_and_slowly_more_again(client):
    limit = ValidationRule("Case", "T: Too many SOQL queries: 101", code=TRIGGER, more_than=60)
    client.org.configure({"validation": [limit]})
    sends = sender(client)
    batch = items(300)
    send(sends, batch)
    assert outcomes(batch) == [DONE] * 300
    assert client.sizes == [200, 100, 50, 50, 50, 50, 50, 50]
    client.org.configure({"validation": []})
    send(sends, items(400))
    assert client.sizes[8:] == [50] * 4 + [100] * 2
    send(sends, items(1500))
    assert client.sizes[14:] == [100] * 8 + [200] * 3 + [100]


def test_a_record_that_hits_a_governor_limit_alone_is_tried_again_later(client):
    limit = ValidationRule("Case", "T: Apex CPU time limit exceeded", "Subject = 'case 3'", code=TRIGGER)
    client.org.configure({"validation": [limit]})
    batch = items(8)
    send(sender(client), batch)
    assert client.sizes == [8, 1]
    assert [each for each, came in enumerate(outcomes(batch)) if came is not DONE] == [3]
    assert outcome(batch[3]).failure.kind is Kind.RETRY


def test_a_slow_answer_makes_the_next_call_of_every_lane_smaller(client, monkeypatch):
    sizes = CallSizes(PLACE)
    first, second = (Sender(CaseSettings(), client, PLACE, BREAKER, sizes=sizes) for _ in range(2))
    monkeypatch.setattr(record_outcome, "SLOW_S", -1.0)
    monkeypatch.setattr(record_outcome, "FAST_S", -1.0)
    send(first, items(400))
    send(second, items(100))
    assert client.sizes == [200, 100, 50, 25, 25, 25, 25, 25, 25]


def test_a_call_that_was_given_up_makes_the_next_one_smaller_and_one_that_was_cut_off_does_not(client, monkeypatch):
    monkeypatch.setattr(record_outcome, "SLOW_S", -1.0)
    sends = sender(client)
    for code, size in (("no-answer", 200), ("timeout", 100)):
        client.after = [raising(Unanswered(replace(LOST, code=code)))]
        with pytest.raises(Unanswered):
            send(sends, items(200))
        assert sends._sizes.size.records == size
