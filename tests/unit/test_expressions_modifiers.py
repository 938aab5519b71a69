"""What a full value expression does with its value; docs/expressions.md has an example of each."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectorlib.errors import Failed
from connectorlib.expressions import MISSING, Scope, compile_expression


def value(spec, v, **more):
    return compile_expression({"path": "v"} | spec).evaluate({"v": v} | more, Scope(None))


@pytest.mark.parametrize(
    ("spec", "given", "expected"),
    [
        ({"strip": True, "slice": [0, 2]}, " abc ", "ab"),
        ({"slice": [-2]}, "abc", "bc"),
        ({"slice": [None, 2]}, 12345, "12"),
        ({"slice": [5, 9]}, "abc", ""),
        ({"upper": True, "map": {"OK": 1}}, "ok", 1),
        ({"lower": True, "upper": False}, "OK", "ok"),
        ({"parse": "json"}, "[1, 2]", [1, 2]),
        ({"parse": "json"}, ' {"a": 1.50} ', {"a": Decimal("1.50")}),
        ({"parse": "json"}, "7", 7),
        ({"parse": "json", "then": "[1]"}, "[1, 2]", 2),
        ({"parse": "json", "then": {"path": "n", "type": "integer"}, "default": 0}, '{"m": 1}', 0),
        ({"parse": "json", "then": "n", "type": "text"}, '{"n": 1}', "1"),
        ({"map": {"1.50": "a"}}, 1.5, "a"),
        ({"map": {"1": "a"}, "default": "b"}, True, "b"),
        ({"type": "decimal", "decimal": ","}, "-1 234 567,80", Decimal("-1234567.80")),
        ({"type": "integer", "decimal": ","}, "1.234", 1234),
        ({"type": "float", "decimal": ","}, 1.5, 1.5),
        ({"type": "decimal", "decimal": "."}, "1.5", Decimal("1.5")),
        ({"as": "%Y"}, datetime(2026, 1, 2, tzinfo=UTC), "2026"),
        ({"type": "date", "as": "%d.%m.%Y"}, "2026-01-02", "02.01.2026"),
        ({"type": "date", "default": "2026-01-02", "as": "%j"}, None, "002"),
        ({"as": "%m"}, date(2026, 3, 1), "03"),
    ],
)
def test_the_modifiers_work_in_their_order(spec, given, expected):
    assert value(spec, given) == expected


@pytest.mark.parametrize(
    ("spec", "given"),
    [
        ({"parse": "json"}, "{"),
        ({"parse": "json"}, '{"a": 1, "a": 2}'),
        ({"parse": "json"}, 7),
        ({"decimal": ",", "type": "decimal"}, "1.5"),
        ({"decimal": ",", "type": "decimal"}, "1.23.456,7"),
        ({"decimal": ",", "type": "decimal"}, "1.234 567"),
        ({"decimal": ",", "type": "decimal"}, ",5"),
        ({"as": "%Y"}, "2026-01-02"),
        ({"lower": True}, Decimal("1e5000")),
    ],
)
def test_what_a_modifier_does_not_take_is_a_bad_value(spec, given):
    with pytest.raises(Failed) as failed:
        value(spec, given)
    assert failed.value.failure.code == "bad-value"


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"parse": "xml"}, 'parse is "json"'),
        ({"then": "a"}, "then needs"),
        ({"parse": "json", "then": "a..b"}, "unexpected"),
        ({"strip": "x"}, "strip is true or false"),
        ({"slice": [1, 2, 3]}, "slice is a list"),
        ({"slice": [True]}, "slice is a list"),
        ({"slice": 3}, "slice is a list"),
        ({"decimal": ","}, "decimal needs a type"),
        ({"decimal": ";", "type": "float"}, 'decimal is ","'),
        ({"as": "date"}, "directives"),
        ({"as": "%Y", "type": "integer"}, "as writes times"),
        ({"map": []}, "map is an object"),
        ({"zone": "UTC"}, "need a type"),
        ({"uper": True}, "did you mean"),
    ],
)
def test_a_wrong_modifier_is_refused(spec, told):
    with pytest.raises(ValueError, match=told):
        compile_expression({"path": "v"} | spec)


@pytest.mark.parametrize("missing", [None, MISSING])
def test_what_is_missing_passes_all_but_default(missing):
    spec = {"path": "v", "parse": "json", "then": "a", "strip": True, "slice": [0], "upper": True, "map": {}}
    record = {} if missing is MISSING else {"v": missing}
    assert compile_expression(spec | {"type": "date", "as": "%Y"}).evaluate(record, Scope(None)) is missing


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**12), max_value=10**12))
def test_a_number_with_a_comma_and_groups_is_that_number(number):
    written = f"{number:,}".replace(",", " ").replace(".", ",")
    assert value({"type": "decimal", "decimal": ","}, written) == number
