"""Queries as text: whatever a message says stays inside its quotes."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from urllib.parse import quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sfconnector import soql
from sfconnector.sandbox.soql_parser import Compare, parse


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ann@example.com", "'ann@example.com'"),
        ("O'Neil", "'O\\'Neil'"),
        ("a\\", "'a\\\\'"),
        ('say "x"', "'say \\\"x\\\"'"),
        ("a\nb\rc\td\be\ff", "'a\\nb\\rc\\td\\be\\ff'"),
        ("100 %_", "'100 %_'"),
        ("Pümpe 🔥", "'Pümpe 🔥'"),
        ("", "''"),
        (True, "true"),
        (False, "false"),
        (7, "7"),
        (Decimal("1.50"), "1.50"),
        (1e16, "10000000000000000"),
        (1e-7, "0.0000001"),
        (date(2026, 11, 24), "2026-11-24"),
        (datetime(2026, 11, 24, 2, 3, 4, 567890), "2026-11-24T02:03:04.567Z"),
        (datetime(2026, 11, 24, 1, tzinfo=timezone(timedelta(hours=2))), "2026-11-23T23:00:00.000Z"),
        (datetime(2026, 11, 24, tzinfo=UTC), "2026-11-24T00:00:00.000Z"),
    ],
)
def test_a_value_is_written_as_soql_reads_it(value, text):
    assert soql.literal(value) == text


@pytest.mark.parametrize("value", [None, [1], {"a": 1}, b"x", float("nan"), float("inf")])
def test_what_has_no_literal_is_refused(value):
    with pytest.raises(ValueError, match=r"is not allowed in a query|not a number"):
        soql.literal(value)


@given(st.lists(st.text(), min_size=1, max_size=5))
@example(["' OR Name != '", "\\", "\\'", "') LIMIT 1 --"])
def test_a_parser_reads_the_same_texts_back(texts):
    query = parse(soql.select("Contact", ["Id"], {"Email": [soql.quote(text) for text in texts]}))
    assert isinstance(query.where, Compare)
    assert [literal.value for literal in query.where.values] == texts
    assert query.limit == soql.MAX_ROWS


def test_a_query_has_its_parts_in_order():
    where = {"Email": ["'a'", "'b'"], "Account.Name": ["'x'"]}
    query = soql.select("Contact", ["Id", "AccountId"], where, "CreatedDate DESC", limit=5)
    assert query == (
        "SELECT Id, AccountId FROM Contact WHERE Email IN ('a', 'b') AND Account.Name = 'x' "
        "ORDER BY CreatedDate DESC LIMIT 5"
    )


@pytest.mark.parametrize("name", ["Contact", "Device__c", "a1"])
def test_api_names_of_objects_are_taken(name):
    assert soql.object_name(name) == name


@pytest.mark.parametrize("name", ["", "1a", "Contact c", "Contact.Name", "Cöntact", "A-B", "A'", None, 7, "A\n"])
def test_other_names_of_objects_are_refused(name):
    with pytest.raises(ValueError, match="is not the API name of an object"):
        soql.object_name(name)


@pytest.mark.parametrize("name", ["Email", "Serial__c", "Account.Name", "Device__r.Owner.Email"])
def test_api_names_of_fields_are_taken(name):
    assert soql.field_path(name) == name


@pytest.mark.parametrize("name", ["", "A.", ".A", "A..B", "A B", "COUNT()", "A,B", "A)", None, ["A"], "A\n"])
def test_other_names_of_fields_are_refused(name):
    with pytest.raises(ValueError, match="is not the API name of a field"):
        soql.field_path(name)


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("CreatedDate", "CreatedDate"),
        ("CreatedDate desc", "CreatedDate DESC"),
        (" LastName  asc  nulls last ,Account.Name", "LastName ASC NULLS LAST, Account.Name"),
        ("Name NULLS FIRST", "Name NULLS FIRST"),
    ],
)
def test_an_order_has_one_spelling(text, order):
    assert soql.order_by(text) == order


@pytest.mark.parametrize("text", ["", "a,", "Name DOWN", "Name LIMIT 1", "Name) --", "Name desc desc", 5, None])
def test_anything_else_is_no_order(text):
    with pytest.raises(ValueError, match="is not an order"):
        soql.order_by(text)


@pytest.mark.parametrize("text", ["a\0", "\x01", "\x7f", "\ud83d", "a\udc00b"])
def test_no_record_holds_what_cannot_be_sent(text):
    assert not soql.can_be_held(text)


@given(st.text())
def test_an_address_is_not_longer_than_it_was_said_to_be(text):
    assert len(quote_plus(text)) <= soql.encoded_length(text)
