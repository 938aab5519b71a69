"""sObject Collections: a result for every record, in order, or one refusal of the whole call."""

from typing import Any

import pytest

from sfconnector.sandbox.refusals import Malformed
from tests.services.orgs import Acme, refusal

LONG = "x" * 256
ROLLED_BACK = {
    "success": False,
    "errors": [
        {
            "statusCode": "ALL_OR_NONE_OPERATION_ROLLED_BACK",
            "message": "Record rolled back because not all records were valid and the request was using AllOrNone"
            " header",
            "fields": [],
        }
    ],
}
TOO_LONG = {
    "success": False,
    "errors": [
        {
            "statusCode": "STRING_TOO_LONG",
            "message": f"Subject: data value too large: {LONG} (max length=255)",
            "fields": ["Subject"],
        }
    ],
}


@pytest.fixture
def acme() -> Acme:
    return Acme()


def failed(code: str, message: str, *fields: str) -> dict[str, Any]:
    return {"success": False, "errors": [{"statusCode": code, "message": message, "fields": list(fields)}]}


def test_results_come_in_the_order_of_the_records(acme: Acme) -> None:
    results = acme.cases({"Subject": "a"}, {"Subject": LONG}, {"Subject": "c"})
    first, last = (case["Id"] for case in acme.org.records("Case"))
    assert results == [
        {"id": first, "success": True, "errors": []},
        TOO_LONG,
        {"id": last, "success": True, "errors": []},
    ]


def test_all_or_none_keeps_nothing_and_says_whose_fault_it_was(acme: Acme) -> None:
    kept = acme.case(Message_Id__c="k-0", Subject="before")
    records = [{"Message_Id__c": "k-0", "Subject": "after"}, {"Message_Id__c": "k-1"}]
    upsert: dict[str, Any] = {"all_or_none": True, "upsert_field": ("Case", "Message_Id__c")}
    assert acme.cases(*records, {"Message_Id__c": "k-2", "Subject": LONG}, **upsert) == [
        ROLLED_BACK,
        ROLLED_BACK,
        TOO_LONG,
    ]
    [case] = acme.org.records("Case")
    assert (case["Id"], case["Subject"]) == (kept, "before")
    results = acme.cases(*records, **upsert)
    assert [each["created"] for each in results] == [False, True]


def test_an_upsert_says_which_are_new(acme: Acme) -> None:
    case = acme.case(Message_Id__c="k-0")
    old, new = acme.cases({"Message_Id__c": "K-0"}, {"Message_Id__c": "k-1"}, upsert_field=("case", "message_id__c"))
    assert old == {"id": case, "success": True, "errors": [], "created": False}
    assert new == {"id": new["id"], "success": True, "errors": [], "created": True}


def test_a_key_twice_in_one_upsert_refuses_both_records_but_no_other(acme: Acme) -> None:
    records = [{"Message_Id__c": key} for key in ("k-1", "k-2", "K-1")]
    first, other, second = acme.cases(*records, upsert_field=("Case", "Message_Id__c"))
    assert first == failed("DUPLICATE_VALUE", "Duplicate external id specified: k-1", "Message_Id__c")
    assert second == failed("DUPLICATE_VALUE", "Duplicate external id specified: K-1", "Message_Id__c")
    assert other["success"]


def test_of_two_new_records_with_one_unique_value_the_first_passes(acme: Acme) -> None:
    first, second = acme.cases({"Message_Id__c": "k-1"}, {"Message_Id__c": "k-1"})
    text = f"duplicate value found: Message_Id__c duplicates value on record with id: {first['id']}"
    assert second == failed("DUPLICATE_VALUE", text)


def test_or_both_fail_where_the_org_is_set_so(acme: Acme) -> None:
    acme.org.configure({"duplicates_in_call": "both"})
    text = "duplicate value found: <unknown> duplicates value on record with id: <unknown>"
    assert acme.cases({"Message_Id__c": "k-1"}, {"Message_Id__c": "k-1"}) == [failed("DUPLICATE_VALUE", text)] * 2


UPSERTS = {
    "a record without the key": ({"Subject": "x"}, failed("MISSING_ARGUMENT", "Message_Id__c not specified")),
    "an id beside the key": (
        {"Message_Id__c": "k", "Id": "500000000000001AAA"},
        failed("INVALID_FIELD", "The Id field should not be specified in the sobject data."),
    ),
    "a key that is too long": (
        {"Message_Id__c": LONG},
        failed("STRING_TOO_LONG", f"Message ID: data value too large: {LONG} (max length=255)", "Message_Id__c"),
    ),
    "an unknown parent": (
        {"Message_Id__c": "k", "Contact": {"Customer_Number__c": "0116"}},
        failed(
            "INVALID_FIELD", "Foreign key external ID: 0116 not found for field Customer_Number__c in entity Contact"
        ),
    ),
}


@pytest.mark.parametrize(("record", "result"), UPSERTS.values(), ids=UPSERTS.keys())
def test_an_upsert_answers(acme: Acme, record: dict[str, Any], result: dict[str, Any]) -> None:
    assert acme.cases(record, upsert_field=("Case", "Message_Id__c")) == [result]


def test_a_key_that_several_records_have(acme: Acme) -> None:
    acme.add_text("Loose__c", label="Loose", externalId=True)
    first, second = acme.case(Loose__c="x"), acme.case(Loose__c="x")
    text = f"Loose: more than one record found for external id field: [{first}, {second}]"
    results = acme.cases({"Loose__c": "x"}, upsert_field=("Case", "Loose__c"))
    assert results == [failed("DUPLICATE_EXTERNAL_ID", text)]


def test_records_are_changed_by_their_id(acme: Acme) -> None:
    case, gone = acme.case(Subject="a"), acme.case()
    acme.org.delete("Case", gone, acme.ada)
    results = acme.cases(
        {"Id": case[:15], "Subject": "b"}, {"Subject": "c"}, {"Id": "500900K0001pPuO"}, {"Id": gone}, update=True
    )
    assert results == [
        {"id": case, "success": True, "errors": []},
        failed("MISSING_ARGUMENT", "Id not specified in an update call"),
        failed("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id"),
        failed("ENTITY_IS_DELETED", "entity is deleted"),
    ]
    assert acme.read(case)["Subject"] == "b"


def test_new_records_have_no_id(acme: Acme) -> None:
    text = "cannot specify Id in an insert call"
    results = acme.cases({"Id": "500000000000001AAA"})
    assert results == [failed("INVALID_FIELD_FOR_INSERT_UPDATE", text, "Id")]


def test_an_unknown_field_refuses_the_call_or_its_record(acme: Acme) -> None:
    """No source says which of the two an org does, so the sandbox can do both."""
    records = [{"Subject": "a"}, {"Foo__c": "b"}]
    text = "No such column 'Foo__c' on sobject of type Case"
    error = refusal(acme.cases, *records)
    assert isinstance(error, Malformed)
    assert (error.status, error.body()) == (400, [{"message": text, "errorCode": "INVALID_FIELD"}])
    assert acme.org.records("Case") == []
    good, bad = acme.cases(*records, unknown_field_scope="record")
    assert (good["success"], bad) == (True, failed("INVALID_FIELD", text))
    acme.org.configure({"unknown_field_scope": "record"})
    assert [each["success"] for each in acme.cases(*records)] == [True, False]
    assert (
        refusal(acme.cases, {"Subject": 5}, unknown_field_scope="record").body()[0]["errorCode"] == "JSON_PARSER_ERROR"
    )


@pytest.mark.parametrize(
    ("records", "code", "message"),
    [
        ([{"Subject": "x"}], "MISSING_ARGUMENT", "The 'type' attribute is required in the attributes of each record"),
        ([{"attributes": {"type": 5}}], "MISSING_ARGUMENT", "The 'type' attribute is required"),
        (["x"], "MISSING_ARGUMENT", "The 'type' attribute is required"),
        ([{"attributes": {"type": "Foo"}}], "INVALID_TYPE", "sObject type 'Foo' is not supported."),
        ({"attributes": {"type": "Case"}}, "JSON_PARSER_ERROR", "records"),
        (None, "JSON_PARSER_ERROR", "records"),
        (
            [{"attributes": {"type": "Case"}}] * 201,
            "EXCEEDED_ID_LIMIT",
            "record limit reached. cannot submit more than 200 records into this call",
        ),
        (
            [{"attributes": {"type": name}} for name in ("Case", "Contact") * 6],
            "LIMIT_EXCEEDED",
            "Cannot have more than 10 chunks in a single operation.",
        ),
    ],
)
def test_a_call_is_refused_whole(acme: Acme, records: Any, code: str, message: str) -> None:
    error = refusal(acme.org.collection, records, acme.ada)
    assert error.status == 400
    [answer] = error.body()
    assert answer["errorCode"] == code
    assert answer["message"].startswith(message)


def test_an_upsert_is_of_one_object(acme: Acme) -> None:
    records = [{"attributes": {"type": "Contact"}, "LastName": "x"}]
    error = refusal(acme.org.collection, records, acme.ada, upsert_field=("Case", "Message_Id__c"))
    assert error.body()[0]["errorCode"] == "INVALID_TYPE"


def test_records_of_several_objects_are_made_in_their_order(acme: Acme) -> None:
    records = [
        {"attributes": {"type": "Contact"}, "LastName": "New", "Customer_Number__c": "C-9"},
        {"attributes": {"type": "case"}, "Contact": {"Customer_Number__c": "C-9"}},
    ]
    contact, case = acme.org.collection(records, acme.ada)
    assert acme.read(case["id"])["ContactId"] == contact["id"]


def test_automation_that_only_large_calls_are_too_much_for(acme: Acme) -> None:
    text = "CaseTrigger: System.LimitException: Too many SOQL queries: 101"
    code = "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"
    acme.org.configure({"validation": [{"object": "Case", "message": text, "code": code, "more_than": 100}]})
    assert acme.cases(*[{}] * 101) == [failed(code, text)] * 101
    assert all(each["success"] for each in acme.cases(*[{}] * 100))


def test_several_errors_of_one_record_stay_together(acme: Acme) -> None:
    rules = [{"object": "Case", "message": text} for text in ("one", "two")]
    acme.org.configure({"validation": rules})
    [result] = acme.cases({})
    assert [error["message"] for error in result["errors"]] == ["one", "two"]


def test_an_empty_call_has_no_results(acme: Acme) -> None:
    assert acme.cases() == []


def test_an_id_twice_in_one_update_refuses_both_records_but_no_other(acme: Acme) -> None:
    case, other = acme.case(), acme.case()
    first, passed, second = acme.cases({"Id": case}, {"Id": other}, {"Id": case}, update=True)
    assert first == second == failed("DUPLICATE_VALUE", f"Duplicate id specified: {case}", "Id")
    assert passed["success"]
