"""`lookup` as a value expression: what it becomes for each answer, and what is said of a wrong one."""

import pytest

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.expressions import MISSING, compile_expression
from sfconnector.lookup import AMBIGUOUS, NOT_FOUND, LookupScope, lookup_extra

BY_EMAIL = {"lookup": "Contact", "where": {"Email": "email"}}


def evaluate(spec, record, answer):
    scope = LookupScope(None, record)
    scope.ask = lambda lookup, key: answer
    return compile_expression(spec, extra=lookup_extra()).evaluate(record, scope)


RECORD = {"email": "ann@example.com"}


@pytest.mark.parametrize(
    ("more", "answer", "value"),
    [
        ({}, "003A", "003A"),
        ({}, None, None),
        ({}, NOT_FOUND, MISSING),
        ({}, AMBIGUOUS, MISSING),
        ({"default": "003B"}, NOT_FOUND, "003B"),
        ({"default": "003B"}, None, "003B"),
        ({"map": {"003A": "other"}}, "003A", "other"),
        ({"missing": "reject"}, AMBIGUOUS, MISSING),
        ({"ambiguous": "reject"}, NOT_FOUND, MISSING),
    ],
)
def test_an_answer_is_the_value_of_the_expression(more, answer, value):
    assert evaluate({**BY_EMAIL, **more}, RECORD, answer) == value


def test_a_lookup_may_be_one_of_several():
    spec = {"first_of": ["contact.id", BY_EMAIL, {"value": "none"}]}
    assert evaluate(spec, {"contact": {"id": "003C"}, **RECORD}, "003A") == "003C"
    assert evaluate(spec, RECORD, "003A") == "003A"
    assert evaluate(spec, RECORD, NOT_FOUND) == "none"


@pytest.mark.parametrize(
    ("more", "record", "answer", "code", "detail"),
    [
        (
            {"missing": "reject"},
            RECORD,
            NOT_FOUND,
            "not-found",
            "lookup Contact where Email = 'ann@example.com': not found",
        ),
        (
            {"ambiguous": "reject"},
            RECORD,
            AMBIGUOUS,
            "ambiguous",
            "lookup Contact where Email = 'ann@example.com': several records fit",
        ),
        (
            {"missing": "reject"},
            {"mail": "x"},
            NOT_FOUND,
            "not-found",
            "lookup Contact where Email: Email <- email: no such field; here are mail",
        ),
        (
            {"missing": "reject"},
            {"email": "a\0"},
            NOT_FOUND,
            "not-found",
            "lookup Contact where Email: Email <- no record can have 'a\\x00'",
        ),
        (
            {"missing": "reject"},
            {"email": "🔥" * 2000},
            NOT_FOUND,
            "not-found",
            "lookup Contact where Email: the values are too long to ask for",
        ),
        (
            {},
            RECORD,
            Failure(Kind.UNKNOWN, "ODD", "text", "lookup Contact where Email"),
            "ODD",
            "lookup Contact where Email = 'ann@example.com': ODD text",
        ),
    ],
)
def test_a_failure_says_what_was_looked_up(more, record, answer, code, detail):
    with pytest.raises(Failed) as caught:
        evaluate({**BY_EMAIL, **more}, record, answer)
    assert (caught.value.failure.code, caught.value.failure.detail) == (code, detail)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"lookup": "Contact"}, 'lookup needs "where"'),
        ({"lookup": "Contact", "where": {}}, 'lookup needs "where"'),
        ({"lookup": "Contact", "where": "email"}, 'lookup needs "where"'),
        ({"lookup": "Con'tact", "where": {"Email": "e"}}, "not the API name of an object"),
        ({"lookup": "Contact", "where": {"E mail": "e"}}, "not the API name of a field"),
        ({"lookup": "Contact", "where": {"Email": "e..x"}}, "where.Email: unexpected"),
        ({"lookup": "Contact", "where": {"AccountId": BY_EMAIL}}, "where.AccountId: unknown key 'lookup'"),
        ({**BY_EMAIL, "field": "Id, Name"}, "not the API name of a field"),
        ({**BY_EMAIL, "order_by": "Name; DROP"}, "is not an order"),
        ({**BY_EMAIL, "missing": "first"}, "missing is skip or reject, not 'first'"),
        ({**BY_EMAIL, "ambiguous": "any"}, "ambiguous is skip, reject or first, not 'any'"),
        ({**BY_EMAIL, "cache_seconds": -1}, "cache_seconds is a number of seconds, not -1"),
        ({**BY_EMAIL, "cache_seconds": True}, "cache_seconds is a number of seconds"),
        ({**BY_EMAIL, "ambigous": "first"}, "unknown key 'ambigous'; did you mean 'ambiguous'"),
        ({**BY_EMAIL, "path": "x"}, "exactly one of"),
    ],
)
def test_a_mistake_is_told_when_the_configuration_is_read(spec, text):
    with pytest.raises(ValueError, match=text):
        compile_expression(spec, extra=lookup_extra())
