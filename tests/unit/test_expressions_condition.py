"""Conditions: `match`, `when`, `clear_when`, `accept_when`, `ignore_when`."""

import logging
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import BasicProperties

from connectorlib.expressions import Scope, compile_condition, doubts
from connectorlib.messages import Delivery

NOWHERE = Scope(None)


def keyed(routing_key, **headers):
    properties = BasicProperties(headers=headers)
    return Scope(Delivery(1, 1, "q", "x", routing_key, False, properties, b"", 0.0))


def holds(condition, record):
    return compile_condition(condition).matches(record, NOWHERE)


# -- patterns


def test_all_tests_must_hold_and_of_a_list_of_patterns_any():
    matches = compile_condition({"$headers.division": "hvac", "site": ["a*", "b1"]}).matches
    scope = keyed("k", division="hvac")
    assert [matches({"site": site}, scope) for site in ("a7", "b1", "b2")] == [True, True, False]
    assert not matches({"site": "a7"}, keyed("k", division="other"))


def test_the_routing_key_takes_topic_wildcards_and_its_words_take_others():
    matches = compile_condition({"$routing_key": "alarm.*.#", "$routing_key[1]": "p*"}).matches
    assert matches({}, keyed("alarm.pump.1"))
    assert not matches({}, keyed("alarm.valve.1"))


def test_no_tests_hold_for_everything():
    assert holds({}, {})


@pytest.mark.parametrize(
    ("value", "pattern"),
    [
        (True, True),
        (True, "true"),
        (1, "1"),
        (1, 1),
        (3.0, 3),
        (3, 3.0),
        (Decimal("3.00"), 3),
        (Decimal("1.0"), "1.*"),
        ("x", ["y", "x"]),
        ("1", 1),
        (2.5, [1, 2.5]),
    ],
)
def test_texts_are_compared_as_text_and_numbers_by_value(value, pattern):
    assert holds({"v": pattern}, {"v": value})


@pytest.mark.parametrize(("value", "pattern"), [(True, 1), (1, True), ("3.0", 3), (3, "3.0"), (0, False)])
def test_a_text_a_truth_value_and_a_number_differ(value, pattern):
    assert not holds({"v": pattern}, {"v": value})


@pytest.mark.parametrize("record", [{}, {"v": None}, {"v": []}, {"v": {}}, {"v": Decimal("1e5000")}])
def test_what_has_no_text_fits_no_pattern(record):
    assert not holds({"v": "*"}, record)


# -- operators


@pytest.mark.parametrize(
    ("operators", "below", "at", "above"),
    [
        ({"lt": 80}, True, False, False),
        ({"le": 80}, True, True, False),
        ({"gt": 80}, False, False, True),
        ({"ge": 80}, False, True, True),
        ({"ge": 80, "lt": 81}, False, True, False),
    ],
)
@pytest.mark.parametrize("form", [lambda v: v, str, lambda v: Decimal(str(v)), lambda v: f" {v} "])
def test_numbers_are_compared_in_whatever_form_they_come(operators, below, at, above, form):
    found = [holds({"t": operators}, {"t": form(value)}) for value in (79.9, 80, 81.5)]
    assert found == [below, at, above]


@pytest.mark.parametrize("value", [10**400, Decimal("1E+400"), "1" + "0" * 400])
def test_a_number_larger_than_any_float_is_compared(value):
    assert holds({"a": {"gt": 1e308}}, {"a": value})
    assert not holds({"a": {"lt": 80}}, {"a": value})


@pytest.mark.parametrize("operator", ["lt", "le", "gt", "ge"])
@pytest.mark.parametrize(
    "value", [None, "n/a", "", "1,5", "NaN", "Infinity", "1" * 5000, "1_000", True, [], {}, float("nan"), math.inf]
)
def test_what_is_no_number_fits_no_comparison(operator, value):
    assert not holds({"t": {operator: 80}}, {"t": value})
    assert not holds({"t": {operator: 80}}, {})


def test_what_is_no_number_is_told_once_for_each_condition(caplog):
    condition = compile_condition({"t": {"gt": 80}, "u": {"lt": 1}})
    with caplog.at_level(logging.WARNING):
        for record in ({"t": "n/a", "u": 0}, {"t": "n/b", "u": 0}, {"t": 99, "u": None}):
            assert not condition.matches(record, NOWHERE)
    told = [(each.fields["condition"], each.fields["value"]) for each in caplog.records]
    assert told == [("t gt 80", '"n/a"'), ("u lt 1", "null")]


@pytest.mark.parametrize(
    ("wanted", "record", "expected"),
    [
        ({"not": "ok"}, {"v": "down"}, True),
        ({"not": "ok"}, {"v": "ok"}, False),
        ({"not": ["ok", "test*"]}, {"v": "test-7"}, False),
        ({"not": "ok"}, {}, True),
        ({"not": "ok", "missing": False}, {}, False),
        ({"not": 3}, {"v": 3.0}, False),
        ({"missing": True}, {}, True),
        ({"missing": True}, {"v": None}, True),
        ({"missing": True}, {"v": ""}, False),
        ({"missing": False}, {"v": []}, True),
        ({"missing": False}, {}, False),
    ],
)
def test_not_and_missing(wanted, record, expected):
    assert holds({"v": wanted}, record) is expected


def test_one_object_of_a_list_must_hold():
    condition = [{"state": "down"}, {"level": {"ge": 3}, "site": "a*"}]
    records = [{"state": "down"}, {"level": 3, "site": "a1"}, {"level": 3, "site": "b"}, {}]
    assert [holds(condition, record) for record in records] == [True, True, False, False]


@given(
    value=st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.decimals(-1000, 1000),
    bound=st.integers(-1000, 1000),
)
def test_exactly_one_side_of_a_bound_holds(value, bound):
    sides = [holds({"v": {name: bound}}, {"v": value}) for name in ("lt", "ge", "gt", "le")]
    assert sides == [value < bound, value >= bound, value > bound, value <= bound]


# -- what is refused, what looks wrong, and what a person is told


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ({"a b": "x"}, "a b"),
        ({"a": None}, "pattern is text"),
        ({"a": [["x"]]}, "pattern is text"),
        ({"a": {"b": 1}}, "unknown key"),
        ({"a": {}}, "one of lt"),
        ({"a": {"gt": "80"}}, "compares with a number"),
        ({"a": {"gt": True}}, "compares with a number"),
        ({"a": {"gt": float("nan")}}, "compares with a number, not with nan"),
        ({"a": {"missing": "yes"}}, "true or false"),
        ({"a": {"not": {"gt": 1}}}, "pattern is text"),
        ([], "an object or a list of objects"),
        (["a"], "an object or a list of objects"),
        ("a", "an object or a list of objects"),
    ],
)
def test_a_bad_condition_is_refused(condition, told):
    with pytest.raises(ValueError, match=told):
        compile_condition(condition)


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (">80", "compared as text"),
        ("!ok", "compared as text"),
        (["a", "=b"], "compared as text"),
        ({"gt": 80, "lt": 80}, "never holds"),
        ({"ge": 80, "lt": 80}, "never holds"),
        ({"ge": 90, "le": 80}, "never holds"),
        ({"missing": True, "gt": 3}, "never holds"),
    ],
)
def test_a_test_that_can_hardly_hold_is_doubted(wanted, told):
    assert told in str(doubts(wanted))


@pytest.mark.parametrize(
    "wanted", ["80", "a>b", 80, ["x"], {"ge": 80, "le": 80}, {"gt": 1, "le": 2}, {"missing": True}, {"not": "ok"}]
)
def test_nothing_is_doubted_about_others(wanted):
    assert doubts(wanted) is None


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"t": 90, "site": "a1"}, 't: {"gt":80}, site: "a*"'),
        ({"t": 70, "site": "a1"}, 't is 70, not {"gt":80}; state is missing, not "down"'),
        ({"t": 90, "site": "b", "state": "up"}, 'site is "b", not "a*"; state is "up", not "down"'),
        ({"state": "down"}, 'state: "down"'),
    ],
)
def test_the_test_that_decides_is_named(record, reason):
    condition = compile_condition([{"t": {"gt": 80}, "site": "a*"}, {"state": "down"}])
    assert condition.reason(record, NOWHERE) == reason


def test_the_expressions_asked_are_known():
    expressions = compile_condition({"$result.head.id": "1", "{a}-{b}": "x"}).expressions
    assert expressions[0].uses_results == {"head"}
    assert expressions[1].paths == ("a", "b")
