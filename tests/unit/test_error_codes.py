"""What Salesforce's errors mean. The texts are those that Salesforce was seen to send, or documents."""

import pytest

from connectorlib.errors import Kind
from sfconnector.salesforce.error_codes import (
    SfError,
    duplicate_of,
    failure,
    gravest,
    is_governor,
    is_stale_reference,
    kind_of,
)

KEY = "Message_Id__c"
TAKEN = f"duplicate value found: {KEY} duplicates value on record with id: 500D000000IqhSL"

ROWS = [
    ("REQUIRED_FIELD_MISSING", 400, "Required fields are missing: [Subject]", Kind.REJECT),
    ("INVALID_FIELD", 400, "No such column 'Foo__c' on sobject of type Case", Kind.CONFIGURATION),
    (
        "INVALID_FIELD",
        400,
        "\nSELECT Id, Foo FROM Contact\n ^\nERROR at Row:1:Column:12\nNo such column 'Foo' on entity 'Contact'.",
        Kind.CONFIGURATION,
    ),
    ("INVALID_FIELD", 400, "Foreign key external ID: 0116 not found for field Ext__c in entity Contact", Kind.REJECT),
    (
        "INVALID_FIELD",
        400,
        f"The {KEY} field should not be specified in the sobject data.",
        Kind.CONFIGURATION,
    ),
    ("INVALID_FIELD_FOR_INSERT_UPDATE", 400, "Unable to create/update fields: IsClosed. Please …", Kind.CONFIGURATION),
    ("STRING_TOO_LONG", 400, "Subject: data value too large: xxx (max length=255)", Kind.REJECT),
    ("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", 400, "bad value for restricted picklist field: Foo", Kind.REJECT),
    ("FIELD_CUSTOM_VALIDATION_EXCEPTION", 400, "A pump needs a serial number", Kind.REJECT),
    ("FIELD_INTEGRITY_EXCEPTION", 400, "Parent Case ID: not allowed", Kind.REJECT),
    ("FIELD_FILTER_VALIDATION_EXCEPTION", 400, "Value does not exist or does not match filter criteria.", Kind.REJECT),
    ("INVALID_TYPE_ON_FIELD_IN_RECORD", 400, "Escalated: value not of required type: foo", Kind.REJECT),
    ("JSON_PARSER_ERROR", 400, "Unexpected character ('j' (code 106)) at [line:1, column:18]", Kind.REJECT),
    ("INVALID_EMAIL_ADDRESS", 400, "Web Email: invalid email address: foo", Kind.REJECT),
    ("NUMBER_OUTSIDE_VALID_RANGE", 400, "value outside of valid range on numeric field: 1000", Kind.REJECT),
    ("MALFORMED_ID", 400, "Contact ID: id value of incorrect type: 001900K0001pPuOAAU", Kind.REJECT),
    ("INVALID_CROSS_REFERENCE_KEY", 400, "invalid cross reference id", Kind.REJECT),
    ("INVALID_CROSS_REFERENCE_TYPE_FOR_FIELD", 400, "", Kind.REJECT),
    ("INACTIVE_OWNER_OR_USER", 400, "operation performed with inactive user", Kind.REJECT),
    ("INVALID_ASSIGNMENT_RULE", 400, "", Kind.CONFIGURATION),
    ("DUPLICATE_VALUE", 400, TAKEN, Kind.REJECT),
    ("DUPLICATE_VALUE", 400, "Duplicate external id specified: m-1", Kind.RETRY),
    ("DUPLICATE_EXTERNAL_ID", 400, "", Kind.REJECT),
    ("DUPLICATES_DETECTED", 400, "Use one of these records?", Kind.REJECT),
    ("INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", 403, "insufficient access rights on …", Kind.REJECT),
    ("INSUFFICIENT_ACCESS_OR_READONLY", 403, "insufficient access rights on object id", Kind.CONFIGURATION),
    ("INSUFFICIENT_ACCESS", 403, "", Kind.CONFIGURATION),
    ("ENTITY_IS_DELETED", 404, "entity is deleted", Kind.REJECT),
    (
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
        400,
        "CaseTrigger: execution of BeforeInsert\n\ncaused by: System.NullPointerException: …",
        Kind.REJECT,
    ),
    (
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
        400,
        "CaseTrigger: execution of AfterInsert caused by: System.DmlException: … first error: UNABLE_TO_LOCK_ROW, …",
        Kind.RETRY,
    ),
    (
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
        400,
        "CaseTrigger: System.LimitException: Too many SOQL queries: 101",
        Kind.RETRY,
    ),
    (
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
        400,
        "CaseTrigger: System.LimitException: Apex CPU time limit exceeded",
        Kind.RETRY,
    ),
    ("CANNOT_EXECUTE_FLOW_TRIGGER", 400, 'We can\'t save this record because the "X" process failed.', Kind.RETRY),
    ("APEX_ERROR", 500, "System.NullPointerException", Kind.RETRY),
    ("TXN_SECURITY_NO_ACCESS", 403, "", Kind.RETRY),
    ("UNABLE_TO_LOCK_ROW", 400, "unable to obtain exclusive access to this record", Kind.RETRY),
    ("ALL_OR_NONE_OPERATION_ROLLED_BACK", 200, "Record rolled back because …", Kind.RETRY),
    ("PROCESSING_HALTED", 400, "", Kind.RETRY),
    ("INVALID_SESSION_ID", 401, "Session expired or invalid", Kind.REFUSED),
    ("INVALID_AUTH_HEADER", 401, "", Kind.REFUSED),
    ("REQUEST_LIMIT_EXCEEDED", 403, "TotalRequests Limit exceeded.", Kind.UNAVAILABLE),
    ("REQUEST_LIMIT_EXCEEDED", 403, "ConcurrentRequests (Concurrent API Requests) Limit exceeded.", Kind.RETRY),
    ("REQUEST_LIMIT_EXCEEDED", 403, "ConcurrentPerOrgLongTxn Limit exceeded.", Kind.RETRY),
    ("API_DISABLED_FOR_ORG", 403, "The REST API is not enabled for this Organization.", Kind.REFUSED),
    ("API_CURRENTLY_DISABLED", 403, "API is disabled for this User", Kind.UNAVAILABLE),
    ("FUNCTIONALITY_NOT_ENABLED", 403, "", Kind.CONFIGURATION),
    ("INVALID_OPERATION_WITH_EXPIRED_PASSWORD", 403, "The users password has expired", Kind.REFUSED),
    ("STORAGE_LIMIT_EXCEEDED", 400, "storage limit exceeded", Kind.UNAVAILABLE),
    ("LIMIT_EXCEEDED", 403, "", Kind.UNAVAILABLE),
    ("NOT_FOUND", 404, "The requested resource does not exist", Kind.CONFIGURATION),
    ("NOT_FOUND", 404, "Provided external ID field does not exist or is not accessible: X", Kind.CONFIGURATION),
    ("INVALID_TYPE", 400, "sObject type 'X' is not supported.", Kind.CONFIGURATION),
    ("MALFORMED_QUERY", 400, "unexpected token: FORM", Kind.CONFIGURATION),
    ("INVALID_QUERY_FILTER_OPERATOR", 400, "invalid ID field: garbage", Kind.REJECT),
    ("QUERY_TIMEOUT", 400, "Your query request was running for too long.", Kind.RETRY),
    ("OPERATION_TOO_LARGE", 400, "", Kind.RETRY),
    ("METHOD_NOT_ALLOWED", 405, "HTTP Method 'DELETE' not allowed.", Kind.UNKNOWN),
    ("UNSUPPORTED_API_VERSION", 404, "", Kind.CONFIGURATION),
    ("GONE", 410, "", Kind.CONFIGURATION),
    ("UNSUPPORTED_MEDIA_TYPE", 415, "", Kind.UNKNOWN),
    ("URI_TOO_LONG", 414, "", Kind.UNKNOWN),
    ("http-413", 413, "", Kind.REJECT),
    *[("", status, "", Kind.UNAVAILABLE) for status in (420, 429, 502, 503, 504)],
    ("INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE", 400, "Updates can't be made …", Kind.UNAVAILABLE),
    ("SERVER_UNAVAILABLE", 503, "Server Unavailable", Kind.UNAVAILABLE),
    ("UNKNOWN_EXCEPTION", 500, "An unexpected error occurred. Please include this ErrorId …", Kind.RETRY),
    ("EXCEEDED_ID_LIMIT", 400, "record limit reached. cannot submit more than 200 records", Kind.UNKNOWN),
    ("SOMETHING_NEW", 200, "", Kind.UNKNOWN),
]


@pytest.mark.parametrize(("code", "status", "text", "kind"), ROWS)
def test_an_error_says_what_to_do(code, status, text, kind):
    assert kind_of(SfError(code, text), status) is kind


def test_a_text_in_another_language_does_not_change_what_its_code_means():
    assert kind_of(SfError("STRING_TOO_LONG", "Betreff: Datenwert zu groß")) is Kind.REJECT


def test_the_configuration_overrides_the_table():
    error = SfError("FIELD_CUSTOM_VALIDATION_EXCEPTION", "not yet")
    assert kind_of(error, 400, {error.code: "retry"}) is Kind.RETRY
    assert kind_of(error, 400, {"OTHER": "retry"}) is Kind.REJECT


def test_an_error_may_be_declared_a_success():
    assert kind_of(SfError("DUPLICATES_DETECTED", ""), 200, {"DUPLICATES_DETECTED": "done"}) is None


@pytest.mark.parametrize(
    ("others", "decides"),
    [
        (["UNABLE_TO_LOCK_ROW"], "STRING_TOO_LONG"),
        (["SOMETHING_NEW", "UNABLE_TO_LOCK_ROW"], "STRING_TOO_LONG"),
        (["STORAGE_LIMIT_EXCEEDED"], "STORAGE_LIMIT_EXCEEDED"),
        (["INVALID_TYPE", "STORAGE_LIMIT_EXCEEDED"], "INVALID_TYPE"),
        (["FORGIVEN"], "STRING_TOO_LONG"),
    ],
)
def test_of_several_errors_the_one_decides_that_no_other_try_can_mend(others, decides):
    errors = [SfError(code, "") for code in [*others, "STRING_TOO_LONG"]]
    assert gravest(errors, 200, {"FORGIVEN": "done"})[0].code == decides


@pytest.mark.parametrize(
    ("code", "text", "is_one"),
    [
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "System.LimitException: Too many SOQL queries: 101", True),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "Too many DML statements: 151", True),
        ("CANNOT_EXECUTE_FLOW_TRIGGER", "Apex CPU time limit exceeded", True),
        ("QUERY_TIMEOUT", "", True),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "System.NullPointerException", False),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "UNABLE_TO_LOCK_ROW", False),
        ("FIELD_CUSTOM_VALIDATION_EXCEPTION", "Too many SOQL queries is what this admin wrote", False),
    ],
)
def test_a_governor_limit_is_one_that_fewer_records_may_keep(code, text, is_one):
    assert is_governor(SfError(code, text)) is is_one


@pytest.mark.parametrize(
    ("code", "stale"),
    [
        ("INVALID_CROSS_REFERENCE_KEY", True),
        ("ENTITY_IS_DELETED", True),
        ("INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", True),
        ("STRING_TOO_LONG", False),
        ("INVALID_FIELD", False),
    ],
)
def test_a_reference_to_what_is_gone_is_told_from_other_errors(code, stale):
    assert is_stale_reference(SfError(code, "")) is stale


@pytest.mark.parametrize(
    ("text", "fields", "identifier"),
    [
        (TAKEN, (), "500D000000IqhSL"),
        (TAKEN + "IAZ", (KEY,), "500D000000IqhSLIAZ"),
        (
            f"doppelter Wert gefunden: {KEY} dupliziert Wert auf Datensatz mit ID: 500D000000IqhSL",
            (),
            "500D000000IqhSL",
        ),
        (f"duplicate value found: {KEY.lower()} duplicates value …", (), ""),
        ("duplicate value found: <unknown> duplicates value on record with id: <unknown>", (KEY,), ""),
        ("duplicate value found: <unknown> duplicates value on record with id: <unknown>", (), None),
        ("duplicate value found: Other__c duplicates value on record with id: 500D000000IqhSL", (), None),
        (f"duplicate value found: x{KEY} duplicates value on record with id: 500D000000IqhSL", (), None),
        (f"Duplicate external id specified: {KEY}", (), None),
    ],
)
def test_a_duplicate_names_the_record_that_has_the_key(text, fields, identifier):
    assert duplicate_of(SfError("DUPLICATE_VALUE", text, fields), KEY) == identifier


def test_another_error_is_no_duplicate_whatever_its_text_says():
    assert duplicate_of(SfError("FIELD_CUSTOM_VALIDATION_EXCEPTION", TAKEN), KEY) is None


def test_a_failure_names_code_text_and_fields():
    told = failure(SfError("STRING_TOO_LONG", "too large", ("Subject", "Type")), Kind.REJECT, "case")
    assert str(told) == "case.Subject, case.Type: STRING_TOO_LONG too large"
    assert (told.kind, told.place) == (Kind.REJECT, "case")


def test_a_text_that_is_too_long_is_not_repeated():
    told = failure(
        SfError("STRING_TOO_LONG", "Subject: data value too large: secret (a) (max length=255)"), Kind.REJECT, ""
    )
    assert told.text == "Subject: data value too large: … (max length=255)"


def test_a_failure_has_one_bounded_line_of_text():
    told = failure(SfError("APEX_ERROR", "line one\nline two" * 1000), Kind.RETRY, "case")
    assert len(told.text) <= 1000
    assert "\n" not in told.text
