"""Arrays of PostgreSQL as text: lists into it and back."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectorlib.errors import Failed
from connectorlib.formats import compile_format
from connectorlib.shared_settings import Limits
from connectorlib.values.text import json_text
from dbconnector.binder import make_binder
from dbconnector.dialects import postgresql
from dbconnector.dialects.array_text import array_list, array_text
from dbconnector.dialects.fetch_plan import ResultColumn

DIALECT = postgresql.DIALECT
CBOR = compile_format({"type": "cbor"}, Limits()).encode
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
HARD = st.sampled_from(["", " ", "NULL", "null", '"', "\\", '\\"', "{}", "{", "a,b", "a;b", "x\ny", "\t", "é🦉", None])
#: Lists of lists that have the same length, on up to three levels.
RECTANGLES = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(0, 2), st.lists(TEXTS | HARD, min_size=9))


def bound(type_name: str, value: Any) -> Any:
    return DIALECT.bindings(DIALECT.column_type(type_name))[type(value)](value)  # type: ignore[misc]


def told(type_name: str, text: str) -> str:
    """Return an array as a message of JSON has it."""
    plan = DIALECT.fetch_plan("SELECT v", [ResultColumn("v", str, 255, type_name)])  # type: ignore[misc]
    ((value,),) = plan.rows([(text,)])
    assert value == text  # which is what all formats without lists have
    found = json_text(value)
    assert CBOR([{"v": value}]) == CBOR([{"v": value.value()}])
    return found


@pytest.mark.parametrize(
    ("type_name", "value", "text"),
    [
        ("integer[]", [], "{}"),
        ("integer[]", [1, None, -2], "{1,NULL,-2}"),
        ("integer[]", ["7", Decimal("8.0")], '{"7",8}'),
        ("integer[]", [[1, 2], [3, 4]], "{{1,2},{3,4}}"),
        ("bigint[]", [2**63], f'{{"{2**63}"}}'),
        ("text[]", ["a", "", None, "NULL", "null"], '{"a","",NULL,"NULL","null"}'),
        ("text[]", ['"', "\\", "a,b", "{}", " "], '{"\\"","\\\\","a,b","{}"," "}'),
        ("text[]", [1, True, Decimal("1.50")], '{"1","true","1.50"}'),
        ("character varying(3)[]", ["abc"], '{"abc"}'),
        ("numeric(10,2)[]", [Decimal("1.50"), 2], '{"1.50",2}'),
        ("boolean[]", [True, False, None], "{true,false,NULL}"),
        ("bytea[]", [b"\0\xff"], '{"\\\\x00ff"}'),
        ("timestamp with time zone[]", ["2026-01-01T00:00:00+02:00"], '{"2025-12-31 22:00:00+00:00"}'),
        ("timestamp without time zone[]", ["2026-01-01T00:00:00"], '{"2026-01-01T00:00:00"}'),
        ("jsonb[]", [{"a": [1]}, [2, 3], "null"], '{"{\\"a\\":[1]}","[2,3]","null"}'),
        ("uuid[]", ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"], '{"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}'),
        ("integer[]", "{1,2}", "{1,2}"),
    ],
)
def test_a_list_becomes_the_text_of_an_array(type_name: str, value: Any, text: str) -> None:
    assert bound(type_name, value) == text


@pytest.mark.parametrize(
    ("type_name", "value", "reason"),
    [
        ("integer[]", [[1], [2, 3]], "do not have the same length"),
        ("integer[]", [[1], 2], "do not have the same length"),
        ("integer[]", [[1], None], "do not have the same length"),
        ("integer[]", [[], []], "an empty list inside a list"),
        ("integer[]", [[[[[[[1]]]]]]], "more than 6 levels"),
        ("integer[]", [1.5], "is not a whole number"),
        ("text[]", ["a\0"], "NUL"),
        ("text[]", [{"a": 1}], "an object cannot be"),
        ("character varying(3)[]", ["abcd"], "keeps 3"),
        ("numeric(10,2)[]", [Decimal("1.005")], "more digits after the point"),
        ("timestamp without time zone[]", ["yesterday"], "ISO 8601"),
        ("integer", [1], "a list cannot be a parameter"),
        ("text", [1], "a list cannot be a parameter"),
        ("box[]", ["(1,1),(0,0)"], "a list cannot be a parameter"),
    ],
)
def test_a_list_that_the_column_would_not_keep_is_refused(type_name: str, value: Any, reason: str) -> None:
    bind = make_binder(DIALECT, [DIALECT.column_type(type_name)], ["v"], "write[0]")
    with pytest.raises(Failed, match=reason):
        bind([value])


@pytest.mark.parametrize(
    ("type_name", "text", "json"),
    [
        ("integer[]", "{}", "[]"),
        ("integer[]", "{1,NULL,-2}", "[1,null,-2]"),
        ("bigint[]", "{9223372036854775807}", "[9223372036854775807]"),
        ("integer[]", "{{1,2},{3,NULL}}", "[[1,2],[3,null]]"),
        ("integer[]", "[0:1]={7,8}", "[7,8]"),
        ("integer[]", "[-1:0][2:2]={{7},{8}}", "[[7],[8]]"),
        ("numeric[]", "{1.50,12345678901234567890.10}", "[1.50,12345678901234567890.10]"),
        ("double precision[]", "{0.1,1e+20}", "[0.1,1e+20]"),
        ("boolean[]", "{t,f,NULL}", "[true,false,null]"),
        (
            "text[]",
            '{a,"NULL",null,"",NULL,"a\\"b","\\\\","{}"," x,y"}',
            '["a","NULL","null","",null,"a\\"b","\\\\","{}"," x,y"]',
        ),
        ("timestamp with time zone[]", '{"2026-01-01 00:00:00+00"}', '["2026-01-01T00:00:00+00:00"]'),
        (
            "timestamp without time zone[]",
            '{infinity,"2026-01-01 00:00:00.5"}',
            '["infinity","2026-01-01T00:00:00.500000"]',
        ),
        ("date[]", "{2026-01-01}", '["2026-01-01"]'),
        ("bytea[]", '{"\\\\x00ff"}', '["AP8="]'),
        ("jsonb[]", '{"{\\"a\\": 1.50}",NULL,"null"}', '[{"a":1.50},null,null]'),
        ("uuid[]", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", '["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]'),
        ("jsonb", '{"a": 1.50, "b": [12345678901234567890.123]}', '{"a":1.50,"b":[12345678901234567890.123]}'),
        ("json", " null\n", "null"),
    ],
)
def test_an_array_and_json_are_told_as_json(type_name: str, text: str, json: str) -> None:
    assert told(type_name, text) == json


@pytest.mark.parametrize(
    ("type_name", "text", "reason"),
    [
        ("numeric[]", "{NaN}", "not a number"),
        ("json", '{"a": 1, "a": 2}', "'a' occurs twice"),
        ("json", '"\\u0000"', "NUL"),
        ("json", "1e9999", "out of range"),
        ("json", "[" * 100_000, "deep|levels"),
        ("json[]", '{"{\\"a\\": 1, \\"a\\": 2}"}', "'a' occurs twice"),
        ("integer[]", "{1", "is no array"),
        ("integer[]", "{1}}", "is no array"),
        ("integer[]", "1", "is no array"),
    ],
)
def test_what_json_cannot_tell_exactly_is_refused(type_name: str, text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        told(type_name, text)


def rectangle(outer: int, inner: int, depth: int, items: list[Any]) -> list[Any]:
    row = [items[at % len(items)] for at in range(inner)]
    return [row if depth == 1 else [row] * inner for _ in range(outer)] if depth else items


@given(RECTANGLES)
def test_what_goes_into_an_array_comes_out_of_it(drawn: tuple[int, int, int, list[Any]]) -> None:
    value = rectangle(*drawn)
    assert array_list(None, array_text(str, value)) == value
