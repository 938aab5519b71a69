"""What an org's administrators set up refuses: rules, automation, locks, rights, duplicates."""

from typing import Any

import pytest

from tests.services.orgs import Acme, refusal


@pytest.fixture
def acme() -> Acme:
    return Acme()


def one(code: str, message: str, fields: list[str]) -> list[dict[str, Any]]:
    return [{"message": message, "errorCode": code, "fields": fields}]


RULES = {
    "a validation rule": (
        {"validation": [{"object": "Case", "when": "Priority = 'High' AND Reason = null", "message": "Say why."}]},
        one("FIELD_CUSTOM_VALIDATION_EXCEPTION", "Say why.", []),
    ),
    "all validation rules that hold": (
        {
            "validation": [
                {"object": "Case", "when": "Priority = 'High'", "message": "Not today.", "field": "Priority"},
                {"object": "Case", "when": "Priority = 'Low'", "message": "never"},
                {"object": "Contact", "message": "another object"},
                {"object": "Case", "message": "asleep", "active": False},
                {"object": "Case", "when": "Contact.Email LIKE '%@client.example'", "message": "Not them."},
            ]
        },
        [
            *one("FIELD_CUSTOM_VALIDATION_EXCEPTION", "Not today.", ["Priority"]),
            *one("FIELD_CUSTOM_VALIDATION_EXCEPTION", "Not them.", []),
        ],
    ),
    "a trigger that fails": (
        {
            "validation": [
                {
                    "object": "Case",
                    "code": "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
                    "message": "CaseTrigger: execution of BeforeInsert\n\ncaused by: System.NullPointerException: x",
                }
            ]
        },
        one(
            "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
            "CaseTrigger: execution of BeforeInsert\n\ncaused by: System.NullPointerException: x",
            [],
        ),
    ),
    "a full storage": ({"storage_full": True}, one("STORAGE_LIMIT_EXCEEDED", "storage limit exceeded", [])),
}


@pytest.mark.parametrize(("rules", "answer"), RULES.values(), ids=RULES.keys())
def test_a_record_is_refused_by(acme: Acme, rules: dict[str, Any], answer: Any) -> None:
    acme.org.configure(rules)
    error = refusal(acme.case, Priority="High", ContactId=acme.contact)
    assert error.body() == answer


def test_a_record_that_refers_to_a_locked_one_waits_in_vain(acme: Acme) -> None:
    """By its contact, and by the account that comes with the contact."""
    case = acme.case()
    for locked, call in (
        (acme.contact, lambda: acme.case(ContactId=acme.contact)),
        (acme.account, lambda: acme.case(ContactId=acme.contact)),
        (case, lambda: acme.org.update("Case", case, {"Subject": "x"}, acme.ada)),
    ):
        acme.org.configure({"locked": [locked]})
        text = f"unable to obtain exclusive access to this record or 1 records: {locked}"
        assert refusal(call).body() == one("UNABLE_TO_LOCK_ROW", text, [])
        acme.org.configure({"locked": []})
        call()


def test_rights(acme: Acme) -> None:
    acme.org.configure({"hidden": [acme.contact]})
    text = f"insufficient access rights on cross-reference id: {acme.contact}"
    answer = one("INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", text, [])
    assert refusal(acme.case, ContactId=acme.contact).body() == answer
    acme.org.configure({"read_only_users": [acme.ada]})
    error = refusal(acme.case)
    answer = one("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id", [])
    assert (error.status, error.body()) == (403, answer)


def test_a_duplicate_rule_names_the_records_and_lets_pass_who_insists(acme: Acme) -> None:
    acme.org.configure({"duplicates": {"Contact": ["Email"]}})
    again = {"LastName": "Client", "Email": "CARL@client.example"}
    [answer] = refusal(acme.org.create, "Contact", again, acme.ada).body()
    result = answer.pop("duplicateResult")
    assert answer == {"message": "Use one of these records?", "errorCode": "DUPLICATES_DETECTED", "fields": []}
    assert result["duplicateRuleEntityType"] == "Contact"
    assert result["matchResults"][0]["matchRecords"][0]["record"]["Id"] == acme.contact
    assert acme.org.create("Contact", again, acme.ada, allow_duplicates=True)
    assert acme.org.create("Contact", {"LastName": "Other"}, acme.ada)


def test_an_assignment_rule_that_is_not_there(acme: Acme) -> None:
    error = refusal(acme.org.create, "Case", {}, acme.ada, auto_assign="01Q000000000001")
    assert error.body() == one("INVALID_ASSIGNMENT_RULE", "invalid assignment rule id: 01Q000000000001", [])


@pytest.mark.parametrize(
    "rules",
    [
        {"nonsense": 1},
        {"validation": [{"object": "Case"}]},
        {"validation": [{"object": "Foo", "message": "x"}]},
        {"validation": [{"object": "Case", "message": "x", "when": "Foo = 1"}]},
        {"validation": [{"object": "Case", "message": "x", "when": "Subject ="}]},
        {"assignment": [{"id": "01Q000000000001"}]},
        {"assignment": [{"id": "01Q000000000001", "entries": [{"owner": "x", "when": "("}]}]},
        {"unknown_field_scope": "sometimes"},
    ],
)
def test_rules_that_cannot_be_are_refused_and_nothing_is_set(acme: Acme, rules: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each has a text of its own
        acme.org.configure({"storage_full": True, **rules})
    assert acme.case()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("FIELD_FILTER_VALIDATION_EXCEPTION", 400),
        ("FIELD_INTEGRITY_EXCEPTION", 400),
        ("CANNOT_EXECUTE_FLOW_TRIGGER", 400),
        ("APEX_ERROR", 500),
        ("UNKNOWN_EXCEPTION", 500),
        ("LIMIT_EXCEEDED", 403),
    ],
)
def test_automation_may_fail_with_any_code(acme: Acme, code: str, status: int) -> None:
    acme.org.configure({"validation": [{"object": "Case", "message": "what it says", "code": code}]})
    error = refusal(acme.case)
    assert (error.status, error.body()) == (status, one(code, "what it says", []))
    result = {"success": False, "errors": [{"statusCode": code, "message": "what it says", "fields": []}]}
    assert acme.cases({}) == [result]


def test_without_a_rule_the_default_owner_gets_a_case_unless_no_assignment_is_asked_for(acme: Acme) -> None:
    acme.org.configure({"default_case_owner": acme.queue})
    case = acme.case(OwnerId=acme.ada)
    assert acme.read(case)["OwnerId"] == acme.queue
    acme.org.update("Case", case, {"OwnerId": acme.ada}, acme.ada, auto_assign=False)
    assert acme.read(case)["OwnerId"] == acme.ada
    acme.org.update("Case", case, {"Subject": "x"}, acme.ada)
    assert acme.read(case)["OwnerId"] == acme.queue


def test_a_record_that_is_hidden_is_neither_found_nor_named(acme: Acme) -> None:
    case = acme.case(Message_Id__c="k-1", ParentId=acme.case(Subject="parent"))
    acme.org.configure({"hidden": [acme.read(case)["ParentId"], case]})
    assert acme.org.query("SELECT Id FROM Case") == []
    text = "duplicate value found: <unknown> duplicates value on record with id: <unknown>"
    assert refusal(acme.case, Message_Id__c="k-1").body() == one("DUPLICATE_VALUE", text, [])


def test_a_lookup_to_a_record_that_is_deleted_is_emptied_and_after_a_merge_leads_to_the_other(acme: Acme) -> None:
    cases = [acme.case(Subject=name) for name in "abc"]
    alarm = acme.org.create("Alarm__c", {"Key__c": "k", "Case__c": cases[0]}, acme.ada)
    child = acme.case(ParentId=cases[0])
    acme.org.merge("Case", cases[0], cases[1], acme.ada)
    assert acme.org.get("Alarm__c", alarm)["Case__c"] == acme.read(child)["ParentId"] == cases[1]
    acme.org.delete("Case", cases[1], acme.ada)
    assert acme.org.get("Alarm__c", alarm)["Case__c"] is None
    assert [each["Subject"] for each in acme.org.records("Case")] == ["c", None]
