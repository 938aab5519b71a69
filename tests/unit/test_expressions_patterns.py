"""`when` and `match`."""

import time
from decimal import Decimal

import pytest
from pika import BasicProperties

from connectorlib.expressions import Scope, compile_patterns, compile_tests, compile_topic, compile_wildcard
from connectorlib.messages import Delivery


def keyed(routing_key, **headers):
    properties = BasicProperties(headers=headers)
    return Scope(Delivery(1, 1, "q", "x", routing_key, False, properties, b"", 0.0))


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("abc", "abc", True),
        ("abc", "ABC", False),
        ("a*", "a", True),
        ("a*", "abc\ndef", True),
        ("a*", "ba", False),
        ("*c", "abc", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("a*b*c", "aXbXbXc", True),
        ("a*b*c", "aXcXb", False),
        ("**", "", True),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
        ("a.c", "abc", False),
        ("*a*", "xay", True),
        ("?", "", False),
    ],
)
def test_wildcards_fit_a_whole_text(pattern, text, fits):
    assert compile_wildcard(pattern)(text) is fits


@pytest.mark.parametrize(
    ("pattern", "key", "fits"),
    [
        ("#", "", True),
        ("#", "a.b.c", True),
        ("*", "a", True),
        ("*", "a.b", False),
        ("a.#", "a", True),
        ("a.#", "a.b.c", True),
        ("a.#", "ab", False),
        ("#.z", "z", True),
        ("#.z", "a.b.z", True),
        ("a.*.c", "a.b.c", True),
        ("a.*.c", "a..c", True),
        ("a.*.c", "a.c", False),
        ("a.#.c", "a.c", True),
        ("alarm.pump.#", "alarm.pump", True),
        ("alarm.pump.#", "alarm.pumps.x", False),
        ("#.#", "a", True),
        ("", "", True),
        ("", "a", False),
        ("a*", "ab", False),
        ("a+b", "a+b", True),
    ],
)
def test_topic_patterns_fit_as_the_broker_reads_them(pattern, key, fits):
    assert compile_topic(pattern)(key) is fits


def test_all_patterns_must_hold_and_of_a_list_any():
    matches = compile_patterns({"$headers.division": "hvac", "site": ["a*", "b1"]})
    scope = keyed("k", division="hvac")
    assert [matches({"site": site}, scope) for site in ("a7", "b1", "b2")] == [True, True, False]
    assert not matches({"site": "a7"}, keyed("k", division="other"))


def test_the_routing_key_takes_topic_wildcards_and_its_words_take_others():
    matches = compile_patterns({"$routing_key": "alarm.*.#", "$routing_key[1]": "p*"})
    assert matches({}, keyed("alarm.pump.1"))
    assert not matches({}, keyed("alarm.valve.1"))


def test_no_patterns_fit_everything():
    assert compile_patterns({})({}, Scope(None))


@pytest.mark.parametrize(
    ("value", "pattern"),
    [(True, True), (True, "true"), (1, "1"), (1, 1), (Decimal("1.0"), "1.*"), ("x", ["y", "x"]), ("1", 1)],
)
def test_values_are_compared_as_text(value, pattern):
    assert compile_patterns({"v": pattern})({"v": value}, Scope(None))


@pytest.mark.parametrize("record", [{}, {"v": None}, {"v": []}, {"v": {}}])
def test_nothing_fits_no_pattern(record):
    assert not compile_patterns({"v": "*"})(record, Scope(None))


@pytest.mark.parametrize("patterns", [{"a b": "x"}, {"a": None}, {"a": {"b": 1}}, {"a": [["x"]]}])
def test_a_bad_pattern_is_refused(patterns):
    with pytest.raises(ValueError, match=r"."):
        compile_patterns(patterns)


def test_the_expressions_asked_are_told():
    _, expressions = compile_tests({"$result.head.id": "1", "{a}-{b}": "x"})
    assert expressions[0].uses_results == {"head"}
    assert expressions[1].paths == ("a", "b")


def test_many_stars_cost_no_exponential_time():
    test = compile_wildcard("*a" * 30 + "b")
    begin = time.monotonic()
    assert not test("a" * 20_000)
    assert time.monotonic() - begin < 2
