"""Every documented error of a record, with its exact JSON: alone, in a collection, and through simple_salesforce."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from simple_salesforce.exceptions import SalesforceError, SalesforceMalformedRequest

from tests.services.rest import USER, Rest, told
from tests.services.salesforce import Org

IS_JSON = {"Content-Type": "application/json"}
LONG = "x" * 256
NO_ID = "005Sb0000000zzz"
READ_ONLY = (
    "Unable to create/update fields: IsClosed. Please check the security settings of this field and verify that it is"
    " read/write for your profile or permission set."
)
UNEXPECTED = (
    "An unexpected error occurred. Please include this ErrorId if you contact support: 1933027655-144670 (-464075996)"
)


class Row(NamedTuple):
    """What is sent, and what comes back. `prepare` sets the org up and may return fields to send besides."""

    code: str
    message: str
    fields: list[str] = []  # noqa: RUF012  # of the answer; nobody changes it
    send: dict[str, Any] = {}  # noqa: RUF012  # the same
    prepare: Callable[[Org], dict[str, Any] | None] = lambda org: None
    status: int = 400
    sobject: str = "Case"


def rule(code: str, message: str, **more: Any) -> Callable[[Org], None]:
    """Automation of the org that fails."""
    return lambda org: org.rules(validation=[{"object": "Case", "code": code, "message": message, **more}])


def fault(code: str, message: str) -> Callable[[Org], None]:
    """What no org can be set up to do."""
    return lambda org: org.fault(times=None, record={"statusCode": code, "message": message}, match={"path": "sobj"})


def existing(org: Org) -> dict[str, Any]:
    org.seed("Case", {"Message_Id__c": "M-1"})
    return {"Message_Id__c": "m-1"}  # the case of letters does not matter


def twice(org: Org) -> dict[str, Any]:
    org.add_field("Contact", "Badge__c", externalId=True, label="Badge")
    org.seed("Contact", {"LastName": "A", "Badge__c": "7"}, {"LastName": "B", "Badge__c": "7"})
    return {"Contact": {"Badge__c": "7"}}


def similar(org: Org) -> None:
    org.contacts(1)
    org.rules(duplicates={"Contact": ["Email"]})


def locked(org: Org) -> dict[str, Any]:
    org.rules(locked=org.contacts(1))
    return {"ContactId": "003Sb0000000001IAA"}


def hidden(org: Org) -> dict[str, Any]:
    org.rules(hidden=org.contacts(1))
    return {"ContactId": "003Sb0000000001IAA"}


def deleted(org: Org) -> dict[str, Any]:
    (contact,) = org.seed("Contact", {"LastName": "A", "IsDeleted": True})
    return {"ContactId": contact}


def left(org: Org) -> dict[str, Any]:
    (user,) = org.seed("User", {"Username": "left@example.com", "LastName": "Left", "Name": "Left", "IsActive": False})
    return {"OwnerId": user}


def group(org: Org) -> dict[str, Any]:
    (everybody,) = org.seed("Group", {"Name": "Everybody", "DeveloperName": "All", "Type": "Regular"})
    return {"OwnerId": everybody}


def restricted(org: Org) -> None:
    org.add_field("Case", "Size__c", type="picklist", restrictedPicklist=True, picklistValues=["S", "M"])


def number(org: Org) -> None:
    org.add_field("Case", "Level__c", type="double", precision=5, scale=2, label="Level")


FLOW = 'We can\'t save this record because the "Route" process failed. Give your Salesforce admin these details.'
TRIGGER = "CaseTrigger: execution of BeforeInsert caused by: System.NullPointerException: Attempt to de-reference\n\n()"
LOCK = "unable to obtain exclusive access to this record or 1 records: 003Sb0000000001IAA"
TAKEN = "duplicate value found: Message_Id__c duplicates value on record with id: 500Sb0000000001IAA"
SEVERAL = "Badge: more than one record found for external id field: [003Sb0000000001IAA, 003Sb0000000002IAA]"
HIDDEN = "insufficient access rights on cross-reference id: 003Sb0000000001IAA"
LEFT = "operation performed with inactive user [005Sb0000000002] as owner of case"
GROUP = "The specified cross reference type isn't valid for the specified field."
NO_PARENT = "Foreign key external ID: 0116 not found for field Customer_Number__c in entity Contact"
ROWS = [
    Row("REQUIRED_FIELD_MISSING", "Required fields are missing: [LastName]", ["LastName"], sobject="Contact"),
    Row("INVALID_FIELD", NO_PARENT, send={"Contact": {"Customer_Number__c": "0116"}}),
    Row("INVALID_FIELD_FOR_INSERT_UPDATE", READ_ONLY, ["IsClosed"], {"IsClosed": True}),
    Row("STRING_TOO_LONG", f"Subject: data value too large: {LONG} (max length=255)", ["Subject"], {"Subject": LONG}),
    Row(
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        "Size: bad value for restricted picklist field: XL",
        ["Size__c"],
        {"Size__c": "XL"},
        restricted,
    ),
    Row(
        "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "No site, no Case.",
        ["Subject"],
        prepare=rule("FIELD_CUSTOM_VALIDATION_EXCEPTION", "No site, no Case.", when="Subject = null", field="Subject"),
    ),
    Row(
        "FIELD_INTEGRITY_EXCEPTION",
        "There's a problem.",
        prepare=rule("FIELD_INTEGRITY_EXCEPTION", "There's a problem."),
    ),
    Row(
        "FIELD_FILTER_VALIDATION_EXCEPTION",
        "Value does not exist or does not match filter criteria.",
        prepare=rule("FIELD_FILTER_VALIDATION_EXCEPTION", "Value does not exist or does not match filter criteria."),
    ),
    Row(
        "INVALID_TYPE_ON_FIELD_IN_RECORD",
        "Escalated: value not of required type: ",
        ["IsEscalated"],
        {"IsEscalated": None},
    ),
    Row("INVALID_EMAIL_ADDRESS", "Web Email: invalid email address: foo", ["SuppliedEmail"], {"SuppliedEmail": "foo"}),
    Row(
        "NUMBER_OUTSIDE_VALID_RANGE",
        "Level: value outside of valid range on numeric field: 1000.0",
        ["Level__c"],
        {"Level__c": 1000},
        number,
    ),
    Row(
        "MALFORMED_ID",
        "Contact ID: id value of incorrect type: 001900K0001pPuOAAU",
        ["ContactId"],
        {"ContactId": "001900K0001pPuOAAU"},
    ),
    Row("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", send={"OwnerId": NO_ID}),
    Row("INVALID_CROSS_REFERENCE_TYPE_FOR_FIELD", GROUP, ["OwnerId"], prepare=group),
    Row("INACTIVE_OWNER_OR_USER", LEFT, ["OwnerId"], prepare=left),
    Row("DUPLICATE_VALUE", TAKEN, prepare=existing),
    Row("DUPLICATE_EXTERNAL_ID", SEVERAL, prepare=twice),
    Row("INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", HIDDEN, prepare=hidden),
    Row(
        "INSUFFICIENT_ACCESS_OR_READONLY",
        "insufficient access rights on object id",
        prepare=lambda org: org.rules(read_only_users=[org.user(USER)]),
        status=403,
    ),
    Row("ENTITY_IS_DELETED", "entity is deleted", prepare=deleted),
    Row("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", TRIGGER, prepare=rule("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", TRIGGER)),
    Row("CANNOT_EXECUTE_FLOW_TRIGGER", FLOW, prepare=rule("CANNOT_EXECUTE_FLOW_TRIGGER", FLOW)),
    Row("UNABLE_TO_LOCK_ROW", LOCK, prepare=locked, status=500),
    Row(
        "STORAGE_LIMIT_EXCEEDED",
        "storage limit exceeded",
        prepare=lambda org: org.rules(storage_full=True),
        status=403,
    ),
    Row("LIMIT_EXCEEDED", "limit exceeded", prepare=fault("LIMIT_EXCEEDED", "limit exceeded"), status=403),
    Row("APEX_ERROR", "Apex error", prepare=fault("APEX_ERROR", "Apex error"), status=500),
    Row("UNKNOWN_EXCEPTION", UNEXPECTED, prepare=fault("UNKNOWN_EXCEPTION", UNEXPECTED), status=500),
]


@pytest.fixture
def rest(salesforce: Org) -> Rest:
    return Rest(salesforce)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.code)
def test_a_record_is_refused_for(rest, row):
    sent = row.send | (row.prepare(rest.org) or {})
    error = {"message": row.message, "errorCode": row.code, "fields": row.fields}

    alone = rest.create(sent, row.sobject)
    assert (alone.status_code, alone.json()) == (row.status, [error])

    failed = {"statusCode": row.code, "message": row.message, "fields": row.fields}
    many = rest.create_many([sent, sent], row.sobject)
    assert (many.status_code, many.json()) == (200, [{"success": False, "errors": [failed]}] * 2)

    with pytest.raises(SalesforceError) as raised:
        rest.simple_object(row.sobject).create(sent)
    assert told(raised.value) == (row.status, [error])
    assert isinstance(raised.value, SalesforceMalformedRequest) == (row.status == 400)


def test_one_bad_record_leaves_its_neighbours_alone(rest):
    answer = rest.create_many([{"Subject": "a"}, {"Subject": LONG}, {"Subject": "c"}])
    first, second, third = answer.json()
    assert (first["success"], second["success"], third["success"]) == (True, False, True)
    assert first == {"id": first["id"], "success": True, "errors": []}
    assert [case["Subject"] for case in rest.org.cases()] == ["a", "c"]


def test_a_fault_can_be_of_one_record_alone(rest):
    rest.org.fault(
        match={"record": {"Message_Id__c": "^m-2$"}},
        record={"statusCode": "APEX_ERROR", "message": "Apex error", "fields": []},
    )
    answer = rest.create_many([{"Message_Id__c": f"m-{number}"} for number in (1, 2, 3)])
    assert [each["success"] for each in answer.json()] == [True, False, True]
    assert answer.json()[1]["errors"] == [{"statusCode": "APEX_ERROR", "message": "Apex error", "fields": []}]
    assert rest.create({"Message_Id__c": "m-2"}).status_code == 201  # once


def test_several_validation_rules_are_told_at_once(rest):
    rest.org.rules(validation=[{"object": "Case", "message": text} for text in ("one", "two")])
    both: list[dict[str, Any]] = [
        {"message": text, "errorCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "fields": []} for text in ("one", "two")
    ]
    assert rest.create({}).json() == both


def test_a_similar_contact_is_refused_unless_the_call_allows_it(rest):
    similar(rest.org)
    sent = {"LastName": "Twin", "Email": "C0@example.com"}
    (refusal,) = rest.create(sent, "Contact").json()
    assert (refusal["errorCode"], refusal["message"], refusal["fields"]) == (
        "DUPLICATES_DETECTED",
        "Use one of these records?",
        [],
    )
    assert set(refusal["duplicateResult"]) == {
        "allowSave",
        "duplicateRule",
        "duplicateRuleEntityType",
        "errorMessage",
        "matchResults",
    }
    (failed,) = rest.create_many([sent], "Contact").json()
    assert failed["errors"][0]["statusCode"] == "DUPLICATES_DETECTED"
    allowed = {"Sforce-Duplicate-Rule-Header": "allowSave=true; includeRecordDetails=false"}
    assert rest.create(sent, "Contact", **allowed).status_code == 201


def test_an_unknown_assignment_rule_is_refused(rest):
    answer = rest.create({}, **{"Sforce-Auto-Assign": "01QSb0000000001"}).json()
    assert [each["errorCode"] for each in answer] == ["INVALID_ASSIGNMENT_RULE"]


def test_an_assignment_rule_gives_the_owner_unless_the_call_says_no(rest):
    (queue,) = rest.org.seed("Group", {"Name": "Pumps", "DeveloperName": "Pumps", "Type": "Queue"})
    entries = [{"owner": queue, "when": "Subject LIKE 'Pump%'"}]
    rest.org.rules(assignment=[{"id": "01QSb0000000001", "entries": entries}])
    rest.create({"Subject": "Pump 7"})
    rest.create({"Subject": "Fan 7"})
    rest.create({"Subject": "Pump 8"}, **{"Sforce-Auto-Assign": "FALSE"})
    owners = [case["OwnerId"] for case in rest.org.cases()]
    assert owners == [queue, rest.user_id, rest.user_id]
    assert {case["CreatedById"] for case in rest.org.cases()} == {rest.user_id}


def one(code: str, message: str) -> list[dict[str, str]]:
    return [{"message": message, "errorCode": code}]


TYPE = "The 'type' attribute is required in the attributes of each record"
TOO_MANY = "record limit reached. cannot submit more than 200 records into this call"
CASE = {"attributes": {"type": "Case"}}
WHOLE = {
    "an unknown field": (
        [CASE | {"Subject": "a"}, CASE | {"Foo__c": 1}],
        one("INVALID_FIELD", "No such column 'Foo__c' on sobject of type Case"),
    ),
    "more than 200 records": ([CASE] * 201, one("EXCEEDED_ID_LIMIT", TOO_MANY)),
    "a record without a type": ([CASE, {"Subject": "a"}], one("MISSING_ARGUMENT", TYPE)),
    "an unknown type": (
        [{"attributes": {"type": "Foo"}}],
        one("INVALID_TYPE", "sObject type 'Foo' is not supported."),
    ),
}


@pytest.mark.parametrize(("records", "body"), WHOLE.values(), ids=WHOLE)
def test_a_whole_call_is_refused_for(rest, records, body):
    answer = rest.send("POST", "/composite/sobjects", json={"allOrNone": False, "records": records})
    assert (answer.status_code, answer.json()) == (400, body)
    with pytest.raises(SalesforceMalformedRequest) as raised:
        rest.simple().restful("composite/sobjects", method="POST", json={"records": records})
    assert told(raised.value) == (400, body)
    assert rest.org.cases() == []


def test_an_unknown_field_may_be_its_records_own_error(rest):
    rest.org.rules(unknown_field_scope="record")
    answer = rest.create_many([{"Subject": "a"}, {"Foo__c": 1}])
    assert [each["success"] for each in answer.json()] == [True, False]


COLON = "Unexpected character ('j' (code 106)): was expecting a colon to separate field name and value"
BROKEN = {
    b'{"Subject" jack}': f"{COLON} at [line:1, column:13]",
    b'{"Subject":': "Unexpected end-of-input at [line:1, column:13]",
    b'{"Subject":"a",}': "Unexpected character ('}' (code 125)): was expecting double-quote to start field name at"
    " [line:1, column:17]",
    b'{"Subject":["a", ]}': "Unexpected character (']' (code 93)): expected a valid value"
    " (number, String, array, object, 'true', 'false' or 'null') at [line:1, column:19]",
    b'{"Subject":NaN}': "Non-standard token 'NaN' at [line:1, column:1]",
    b"": "The HTTP entity body is required, but this request has no entity body. at [line:1, column:2]",
    b"\xff": "Invalid UTF-8 start byte 0xff at [line:1, column:1]",
}


@pytest.mark.parametrize(("body", "message"), BROKEN.items())
def test_a_body_that_is_no_json_is_refused(rest, body, message):
    for path in ("/sobjects/Case", "/composite/sobjects"):
        answer = rest.send("POST", path, data=body, headers=IS_JSON)
        assert (answer.status_code, answer.json()) == (400, one("JSON_PARSER_ERROR", message))


def test_a_body_of_the_wrong_shape_is_refused(rest):
    bodies: list[Any] = [[], "x", 5, None, {"records": 5}, {"records": [5]}]
    for body in bodies:
        answer = rest.send("POST", "/composite/sobjects", data=json.dumps(body), headers=IS_JSON)
        assert answer.status_code == 400, body
        assert answer.json()[0]["errorCode"] in ("JSON_PARSER_ERROR", "MISSING_ARGUMENT"), body


def test_a_value_of_the_wrong_kind_refuses_the_whole_call(rest):
    rest.org.add_field("Case", "Due__c", type="datetime")
    answer = rest.create_many([{"Subject": "a"}, {"Due__c": "tomorrow"}])
    (refusal,) = answer.json()
    assert (answer.status_code, refusal["errorCode"]) == (400, "JSON_PARSER_ERROR")
    assert refusal["message"].startswith("Cannot deserialize instance of datetime from VALUE_STRING value tomorrow or")
    assert rest.org.cases() == []


def test_deeply_nested_json_is_refused_not_a_crash(rest):
    answer = rest.send("POST", "/sobjects/Case", data=b"[" * 100_000, headers=IS_JSON)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "JSON_PARSER_ERROR")
