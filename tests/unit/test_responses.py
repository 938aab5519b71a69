"""Answers of Salesforce, and of what stands in front of it, as values."""

import pytest

from connectorlib.errors import Kind
from connectorlib.service.redaction import secrets
from sfconnector.salesforce import error_codes, responses
from sfconnector.salesforce.error_codes import SfError
from sfconnector.salesforce.responses import Result
from sfconnector.salesforce.usage import Usage

ERROR = {"message": "too large", "errorCode": "STRING_TOO_LONG", "fields": ["Subject"]}


@pytest.mark.parametrize(
    ("header", "usage"),
    [
        ("api-usage=18/5000", (18, 5000)),
        ("api-usage=25/5000; per-app-api-usage=17/250(appName=sample-connected-app)", (25, 5000)),
        ("per-app-api-usage=17/250(appName=x)", None),
        ("garbage", None),
        ("", None),
        (None, None),
    ],
)
def test_the_limit_header_tells_the_calls_of_the_org(header, usage):
    assert responses.usage_of(header, 1.0) == (Usage(usage[0], usage[1], 1.0) if usage else None)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ([ERROR], (SfError("STRING_TOO_LONG", "too large", ("Subject",)),)),
        ([{"message": "x", "statusCode": "Y"}], (SfError("Y", "x"),)),
        ([{"errorCode": "A"}, {"errorCode": "B", "message": None}], (SfError("A", ""), SfError("B", ""))),
        (ERROR, (SfError("STRING_TOO_LONG", "too large", ("Subject",)),)),
        ({"message": "INVALID_HEADER_TYPE"}, ()),
        ({"error": "Bad Gateway"}, ()),
        ([1, None, "x", [], {}], ()),
        ([{"errorCode": 5}], ()),
        ([], ()),
        (None, ()),
        ("text", ()),
    ],
)
def test_errors_are_found_in_whatever_shape_they_come(value, found):
    assert responses.errors_of(value) == found


def test_a_text_that_repeats_a_long_value_keeps_what_follows_it():
    text = f"Description: data value too large: {'x' * 50_000} (max length=32000)"
    (found,) = responses.errors_of([ERROR | {"message": text}])
    assert len(found.text) < responses.MAX_MESSAGE + 50
    told = error_codes.failure(found, Kind.REJECT, "case")
    assert told.text == "Description: data value too large: … (max length=32000)"


def test_an_error_is_bounded_and_without_secrets():
    secrets.add("00D!a-secret-token")
    try:
        found = responses.errors_of([{"errorCode": "X", "message": "00D!a-secret-token " + "x" * 10_000}] * 1000)
    finally:
        secrets.clear()
    assert len(found) <= responses.MAX_ERRORS
    assert len(found[0].text) <= responses.MAX_MESSAGE
    assert "secret" not in found[0].text.replace("[secret]", "")


@pytest.mark.parametrize(
    ("item", "result"),
    [
        ({"id": "500x", "success": True, "errors": []}, Result("500x", None)),
        ({"id": "500x", "success": True, "errors": [], "created": False}, Result("500x", False)),
        (
            {"success": False, "errors": [{"statusCode": "X", "message": "y", "fields": []}]},
            Result(None, None, (SfError("X", "y"),)),
        ),
        (
            {"id": None, "success": False, "errors": [{"statusCode": "X", "message": "y"}], "created": True},
            Result(None, True, (SfError("X", "y"),)),
        ),
    ],
)
def test_a_collection_has_one_result_for_each_record(item, result):
    assert responses.results_of([item], 1) == [result]


@pytest.mark.parametrize("errors", [[], None, "x", [{}]])
def test_a_failure_without_a_reason_is_a_failure_all_the_same(errors):
    results = responses.results_of([{"success": False, "errors": errors}], 1)
    assert results is not None
    assert [error.code for error in results[0].errors] == ["UNEXPLAINED"]


@pytest.mark.parametrize(
    "value",
    [
        [],
        [{"id": "500x", "success": True}] * 2,
        [{"id": "500x"}],
        [{"id": "500x", "success": "yes"}],
        [None],
        {"success": True},
        None,
    ],
)
def test_an_answer_that_does_not_fit_the_records_says_nothing_about_any(value):
    assert responses.results_of(value, 1) is None


@pytest.mark.parametrize(
    ("value", "page"),
    [
        ({"totalSize": 1, "done": True, "records": [{"Id": "1"}]}, ([{"Id": "1"}], "")),
        ({"done": False, "nextRecordsUrl": "/services/data/v60.0/query/01g-2000", "records": []}, ([], "01g-2000")),
        ({"done": False, "nextRecordsUrl": "https://elsewhere/query/01g-2000", "records": []}, ([], "01g-2000")),
        ({"done": False, "records": []}, ([], "")),
        ({"done": True}, None),
        ([], None),
        (None, None),
    ],
)
def test_a_page_of_a_query_names_the_next(value, page):
    assert responses.records_of(value) == page


@pytest.mark.parametrize(
    ("value", "usage"),
    [
        ({"DailyApiRequests": {"Max": 15000, "Remaining": 14998}}, Usage(2, 15000, 1.0)),
        ({"DailyApiRequests": {}}, None),
        ({"DailyApiRequests": None}, None),
        ({}, None),
        ([], None),
    ],
)
def test_the_limits_tell_the_calls_of_the_org(value, usage):
    assert responses.daily_of(value, 1.0) == usage


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html><head><title>Down for\n maintenance</title></head><body>x</body></html>", "Down for maintenance"),
        (b"<html><script>var a = 1;</script><p>Too many &amp; too fast</p></html>", "Too many & too fast"),
        (b"\xff\xfe plain", "\ufffd\ufffd plain"),
        (b"", ""),
    ],
)
def test_a_page_is_told_in_words(body, words):
    assert responses.readable(body) == words


def test_what_a_page_says_is_bounded():
    assert len(responses.readable(b"x" * 1_000_000)) <= responses.MAX_FOREIGN


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 100_000, b"\xff\xff", b'{"a": '])
def test_what_is_not_json_is_none(body):
    assert responses.decode(body) is None
