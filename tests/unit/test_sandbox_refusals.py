"""Every error of the data model with the exact status and JSON that an org answers, one record at a time."""

from typing import Any

import pytest

from sfconnector.sandbox.refusals import SeveralMatch
from tests.services.orgs import Acme, refusal

LONG = "x" * 256
READ_ONLY = (
    "Unable to create/update fields: IsClosed, CaseNumber. Please check the security settings of this field and verify"
    " that it is read/write for your profile or permission set."
)
TOKEN = "Cannot deserialize instance of {} or request may be missing a required field at [line:1, column:{}]"


@pytest.fixture
def acme() -> Acme:
    acme = Acme()
    acme.org.add_field(
        "Case",
        {"name": "Line__c", "label": "Line", "type": "picklist", "restrictedPicklist": True, "picklistValues": ["A"]},
    )
    acme.org.add_field("Case", {"name": "Level__c", "label": "Level", "type": "double", "precision": 5, "scale": 2})
    acme.org.add_field("Case", {"name": "Seen__c", "label": "Seen", "type": "datetime"})
    acme.org.add_field("Case", {"name": "Day__c", "label": "Day", "type": "date"})
    acme.org.add_field("Case", {"name": "Count__c", "label": "Count", "type": "int"})
    return acme


def one(code: str, message: str, fields: list[str] | None = None) -> list[dict[str, Any]]:
    answer: dict[str, Any] = {"message": message, "errorCode": code}
    return [answer if fields is None else {**answer, "fields": fields}]


CREATES = {
    "an unknown field": (
        {"Foo__c": 1},
        one("INVALID_FIELD", "No such column 'Foo__c' on sobject of type Case"),
    ),
    "an unknown relationship": (
        {"Device__r": {"Serial__c": "x"}},
        one("INVALID_FIELD", "No such column 'Device__r' on sobject of type Case"),
    ),
    "an unknown field of a parent": (
        {"Contact": {"Foo__c": "x"}},
        one("INVALID_FIELD", "No such column 'Foo__c' on sobject of type Contact"),
    ),
    "a parent that no record has the key of": (
        {"Contact": {"Customer_Number__c": "0116"}},
        one(
            "INVALID_FIELD",
            "Foreign key external ID: 0116 not found for field Customer_Number__c in entity Contact",
            [],
        ),
    ),
    "a parent by a field that is no key": (
        {"Account": {"Name": "Acme"}},
        one("INVALID_FIELD", "Field name provided, Name is not an External ID or indexed field for Account", []),
    ),
    "a parent by two fields": (
        {"Account": {"Name": "Acme", "Customer_Number__c": "A-1"}},
        one("INVALID_FIELD", "More than 1 field provided in an external foreign key reference in entity: Account", []),
    ),
    "an id in the body": (
        {"Id": "500000000000001AAA"},
        one("INVALID_FIELD", "The Id field should not be specified in the sobject data.", []),
    ),
    "fields that nobody writes": (
        {"IsClosed": True, "CaseNumber": "1", "Subject": LONG},
        one("INVALID_FIELD_FOR_INSERT_UPDATE", READ_ONLY, ["IsClosed", "CaseNumber"]),
    ),
    "text that is too long": (
        {"Subject": LONG},
        one("STRING_TOO_LONG", f"Subject: data value too large: {LONG} (max length=255)", ["Subject"]),
    ),
    "a choice that a restricted picklist lacks": (
        {"Line__c": "Foo"},
        one(
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "Line: bad value for restricted picklist field: Foo", ["Line__c"]
        ),
    ),
    "a text for a checkbox": (
        {"IsEscalated": "true"},
        one("JSON_PARSER_ERROR", TOKEN.format("boolean from VALUE_STRING value true", 17)),
    ),
    "null for a checkbox": (
        {"IsEscalated": None},
        one("INVALID_TYPE_ON_FIELD_IN_RECORD", "Escalated: value not of required type: ", ["IsEscalated"]),
    ),
    "a number for text": (
        {"Subject": 5},
        one("JSON_PARSER_ERROR", TOKEN.format("string from VALUE_NUMBER_INT value 5", 13)),
    ),
    "an object for text": (
        {"Subject": {}},
        one("JSON_PARSER_ERROR", TOKEN.format("string from START_OBJECT value {", 13)),
    ),
    "a list for text": (
        {"Subject": []},
        one("JSON_PARSER_ERROR", TOKEN.format("string from START_ARRAY value [", 13)),
    ),
    "a word for a number": (
        {"Level__c": "high"},
        one("JSON_PARSER_ERROR", TOKEN.format("double from VALUE_STRING value high", 14)),
    ),
    "a half for a whole number": (
        {"Count__c": 1.5},
        one("JSON_PARSER_ERROR", TOKEN.format("int from VALUE_NUMBER_FLOAT value 1.5", 14)),
    ),
    "a number for a checkbox": (
        {"IsEscalated": 1},
        one("JSON_PARSER_ERROR", TOKEN.format("boolean from VALUE_NUMBER_INT value 1", 17)),
    ),
    "a moment without an offset": (
        {"Seen__c": "2026-11-24T02:18:17"},
        one("JSON_PARSER_ERROR", TOKEN.format("datetime from VALUE_STRING value 2026-11-24T02:18:17", 13)),
    ),
    "a day that is none": (
        {"Day__c": "2026-02-30"},
        one("JSON_PARSER_ERROR", TOKEN.format("date from VALUE_STRING value 2026-02-30", 12)),
    ),
    "an address that is none": (
        {"SuppliedEmail": "foo"},
        one("INVALID_EMAIL_ADDRESS", "Web Email: invalid email address: foo", ["SuppliedEmail"]),
    ),
    "a number that is too large": (
        {"Level__c": 1000},
        one("NUMBER_OUTSIDE_VALID_RANGE", "Level: value outside of valid range on numeric field: 1000.0", ["Level__c"]),
    ),
    "an id of another object": (
        {"ContactId": "001900K0001pPuOACU"},
        one("MALFORMED_ID", "Contact ID: id value of incorrect type: 001900K0001pPuOACU", ["ContactId"]),
    ),
    "an id whose capitals were lost": (
        {"ContactId": "003900k0001ppuoACU"},
        one("MALFORMED_ID", "Contact ID: id value of incorrect type: 003900k0001ppuoACU", ["ContactId"]),
    ),
    "text for an id": (
        {"ContactId": "carl"},
        one("MALFORMED_ID", "Contact ID: id value of incorrect type: carl", ["ContactId"]),
    ),
    "an id that no record has": (
        {"ContactId": "003900K0001pPuO"},
        one("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", []),
    ),
}


@pytest.mark.parametrize(("fields", "answer"), CREATES.values(), ids=CREATES.keys())
def test_a_case_is_refused_for(acme: Acme, fields: dict[str, Any], answer: list[dict[str, Any]]) -> None:
    error = refusal(acme.case, **fields)
    assert (error.status, error.body()) == (400, answer)
    assert acme.org.records("Case") == []


@pytest.mark.parametrize("given", [None, [], "x", 5, True])
def test_a_body_that_is_no_object_cannot_be_read(acme: Acme, given: Any) -> None:
    error = refusal(acme.org.create, "Case", given, acme.ada)
    assert error.body()[0]["errorCode"] == "JSON_PARSER_ERROR"


def test_a_contact_needs_a_last_name(acme: Acme) -> None:
    answer = one("REQUIRED_FIELD_MISSING", "Required fields are missing: [LastName]", ["LastName"])
    for body in ({}, {"LastName": None}, {"LastName": " "}):
        error = refusal(acme.org.create, "Contact", body, acme.ada)
        assert (error.status, error.body()) == (400, answer)
    assert refusal(acme.org.update, "Contact", acme.contact, {"LastName": None}, acme.ada).body() == answer


def test_a_device_needs_an_account_or_a_contact(acme: Acme) -> None:
    error = refusal(acme.org.create, "Asset", {"Name": "Pump"}, acme.ada)
    text = "Every asset needs an account, a contact, or both."
    assert error.body() == one("FIELD_INTEGRITY_EXCEPTION", text, ["AccountId", "ContactId"])


def test_a_parent_is_given_by_its_id_or_by_a_key(acme: Acme) -> None:
    error = refusal(acme.case, ContactId=acme.contact, Contact={"Customer_Number__c": "C-1"})
    text = "Cannot specify both an external ID reference Contact and a salesforce id, ContactId"
    assert error.body() == one("INVALID_FIELD", text, [])


def test_a_parent_in_the_recycle_bin_is_deleted(acme: Acme) -> None:
    acme.org.delete("Contact", acme.contact, acme.ada)
    error = refusal(acme.case, ContactId=acme.contact)
    assert (error.status, error.body()) == (400, one("ENTITY_IS_DELETED", "entity is deleted", []))


def test_who_has_left_owns_nothing(acme: Acme) -> None:
    error = refusal(acme.case, OwnerId=acme.bob)
    text = f"operation performed with inactive user [{acme.bob[:15]}] as owner of case"
    assert error.body() == one("INACTIVE_OWNER_OR_USER", text, ["OwnerId"])


def test_a_group_that_is_no_queue_owns_nothing(acme: Acme) -> None:
    error = refusal(acme.case, OwnerId=acme.group)
    text = "The specified cross reference type isn't valid for the specified field."
    assert error.body() == one("INVALID_CROSS_REFERENCE_TYPE_FOR_FIELD", text, ["OwnerId"])


def test_a_record_type_is_one_of_the_object(acme: Acme) -> None:
    assert acme.read(acme.case(RecordTypeId=acme.alarm_type))["RecordTypeId"] == acme.alarm_type
    error = refusal(acme.case, RecordTypeId=acme.partner_type)
    text = f"Record Type ID: this ID value isn't valid for the user: {acme.partner_type}"
    assert error.body() == one("INVALID_CROSS_REFERENCE_KEY", text, ["RecordTypeId"])


@pytest.mark.parametrize("again", ["k-1", "K-1", " k-1 "])
def test_a_unique_value_is_taken_in_any_case_and_with_space_around_it(acme: Acme, again: str) -> None:
    first = acme.case(Message_Id__c="k-1")
    error = refusal(acme.case, Message_Id__c=again)
    text = f"duplicate value found: Message_Id__c duplicates value on record with id: {first}"
    assert (error.status, error.body()) == (400, one("DUPLICATE_VALUE", text, []))


def test_a_unique_value_may_be_case_sensitive(acme: Acme) -> None:
    acme.add_text("Code__c", unique=True, caseSensitive=True)
    assert acme.case(Code__c="a") != acme.case(Code__c="A")


@pytest.mark.parametrize(
    ("record_id", "status", "answer"),
    [
        (
            "garbage",
            404,
            one("NOT_FOUND", "Provided external ID field does not exist or is not accessible: garbage"),
        ),
        ("500900K0001pPuO", 404, one("NOT_FOUND", "The requested resource does not exist")),
    ],
)
def test_a_record_that_is_not_there(acme: Acme, record_id: str, status: int, answer: Any) -> None:
    for error in (
        refusal(acme.org.get, "Case", record_id),
        refusal(acme.org.update, "Case", record_id, {}, acme.ada),
        refusal(acme.org.delete, "Case", record_id, acme.ada),
    ):
        assert (error.status, error.body()) == (status, answer)


def test_a_deleted_record_is_told_from_one_that_never_was(acme: Acme) -> None:
    case = acme.case()
    acme.org.delete("Case", case, acme.ada)
    error = refusal(acme.org.get, "Case", case)
    assert (error.status, error.body()) == (404, one("ENTITY_IS_DELETED", "entity is deleted", []))


def test_an_object_that_is_not_there(acme: Acme) -> None:
    for error in (
        refusal(acme.org.create, "Foo", {}, acme.ada),
        refusal(acme.org.describe, "Foo"),
        refusal(acme.org.summary, "Foo"),
    ):
        assert (error.status, error.body()) == (404, one("NOT_FOUND", "The requested resource does not exist"))


@pytest.mark.parametrize("field", ["Foo__c", "Subject"])
def test_only_an_external_id_is_a_key(acme: Acme, field: str) -> None:
    answer = one("NOT_FOUND", f"Provided external ID field does not exist or is not accessible: {field}")
    error = refusal(acme.org.upsert, "Case", field, "x", {}, acme.ada)
    assert (error.status, error.body()) == (404, answer)
    assert refusal(acme.org.get_by, "Case", field, "x").body() == answer
    assert refusal(acme.cases, {}, upsert_field=("Case", field)).body() == answer


@pytest.mark.parametrize("name", ["Message_Id__c", "message_id__C", "Id"])
def test_the_key_of_an_upsert_stands_in_its_path_only(acme: Acme, name: str) -> None:
    error = refusal(acme.org.upsert, "Case", "Message_Id__c", "x", {name: "x"}, acme.ada)
    known = "Id" if name == "Id" else "Message_Id__c"
    text = f"The {known} field should not be specified in the sobject data."
    assert (error.status, error.body()) == (400, one("INVALID_FIELD", text, []))


def test_a_key_that_several_records_have_is_answered_with_their_addresses(acme: Acme) -> None:
    acme.add_text("Loose__c", externalId=True)
    first, second = acme.case(Loose__c="x"), acme.case(Loose__c="X")
    for error in (
        refusal(acme.org.upsert, "Case", "Loose__c", "x", {}, acme.ada),
        refusal(acme.org.get_by, "Case", "Loose__c", "x"),
    ):
        assert isinstance(error, SeveralMatch)
        base = "/services/data/v62.0/sobjects/Case"
        assert (error.status, error.body()) == (300, [f"{base}/{first}", f"{base}/{second}"])
