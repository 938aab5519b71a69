"""JSON bodies: exact, strict, bounded."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from uuid import UUID

import pytest

from connectorlib.errors import Failed, Kind
from connectorlib.expressions import Scope, compile_expression
from connectorlib.formats import compile_format
from connectorlib.shared_settings import Limits

LIMITS = Limits(body_bytes=100_000, records=100, depth=8)
JSON = compile_format({"type": "json"}, LIMITS)


def refusal(body, form=JSON):
    with pytest.raises(Failed) as caught:
        form.decode(body)
    failure = caught.value.failure
    assert failure.kind is Kind.REJECT
    assert failure.place == "format"
    assert len(failure.text) <= 200
    assert failure.text.isprintable()
    return failure


@pytest.mark.parametrize(
    ("body", "records"),
    [
        (b'{"a": 1}', [{"a": 1}]),
        (b' \r\n{"a": 1}\n', [{"a": 1}]),
        (b'[{"a": 1}, {"a": null}]', [{"a": 1}, {"a": None}]),
        (b"[]", []),
        (b"21.5", [Decimal("21.5")]),
        (b'"on"', ["on"]),
        (b"null", [None]),
        (b'\xef\xbb\xbf{"a": 1}', [{"a": 1}]),
        (b'{"a": 9007199254740993}', [{"a": 2**53 + 1}]),
        (b'{"a": 1.10, "b": 1e308, "c": -0.0}', [{"a": Decimal("1.10"), "b": Decimal("1E+308"), "c": Decimal("-0.0")}]),
        (b'{"a": 5e-324}', [{"a": Decimal("5E-324")}]),
        ('{"a": "é😀\u2028"}'.encode(), [{"a": "é😀\u2028"}]),
        (rb'{"a": "\u00e9\ud83d\ude00\\u0000"}', [{"a": "é😀\\u0000"}]),
        (b'{"a": {"a": 1}}', [{"a": {"a": 1}}]),
        (b'{"a": "{{{{{{{{{{[[[[[[[["}', [{"a": "{{{{{{{{{{[[[[[[[["}]),
        (b'[{"a": [1]}, {"a": [1]}, {"a": [1]}, {"a": [1]}]', [{"a": [1]}] * 4),
    ],
)
def test_a_body_becomes_its_records(body, records):
    decoded = JSON.decode(body)
    assert decoded == records
    assert str(decoded) == str(records)


@pytest.mark.parametrize("digits", [29, 100, 4000])
def test_no_digit_of_a_fraction_is_lost(digits):
    text = "0." + "1234567890" * (digits // 10) + "7"
    assert str(JSON.decode(f'{{"a": {text}}}'.encode())[0]["a"]) == text


def test_a_long_number_without_exponent_is_exact():
    text = "9" * 400
    assert JSON.decode(f"[{text}, {text}.5, 0.{'0' * 400}1]".encode()) == [
        int(text),
        Decimal(text + ".5"),
        Decimal("1E-401"),
    ]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "the body is empty"),
        (b" ", "Expecting value"),
        (b"\xef\xbb\xbf", "Expecting value"),
        (b"{", "Expecting property name"),
        (b'{"a": 1,}', "line 1"),
        (b'{"a": 1} x', "text behind the value, at character 9"),
        (b'{"a": 1}{"a": 2}', "text behind the value"),
        (b"{'a': 1}", "Expecting property name"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"[1e400]", "'1e400' is out of range"),
        (b"[1E-400]", "'1E-400' is out of range"),
        (b"[-1.5e309]", "out of range"),
        (b"[1e99999999999]", "is not a number"),
        (b"[0e400]", "out of range"),
        pytest.param(b"[" + b"9" * 5000 + b"]", "a number of more than 4300 digits", id="an integer of 5000 digits"),
        pytest.param(
            b"[0." + b"9" * 5000 + b"]", "a number of more than 4300 digits", id="5000 digits behind the point"
        ),
        (b'{"a": 1, "b": 2, "a": 3}', "the name 'a' occurs twice in one object"),
        (rb'{"a": 1, "\u0061": 3}', "the name 'a' occurs twice"),
        (rb'{"a": "x\u0000y"}', "NUL"),
        (rb'{"a\u0000": 1}', "NUL"),
        (b'{"a": "x\x00y"}', "Invalid control character"),
        (rb'{"a": ["\ud800"]}', "half a character"),
        (rb'{"\udc00": 1}', "half a character"),
        (rb'["\ude00\ud83d"]', "half a character"),
        (b'{"a": "x\ny"}', "Invalid control character"),
        (b'{"a": "\xff"}', "can't decode byte 0xff"),
        (b'{"a": "\xed\xa0\x80"}', "can't decode byte"),
        (b'{"a": "\xc0\x80"}', "can't decode byte"),
        ('{"a": "é"}'.encode("latin-1"), "can't decode byte"),
        ('{"a": 1}'.encode("utf-16"), "can't decode byte"),
        ('{"a": 1}'.encode("utf-16-le"), "Expecting property name"),
        ('{"a": 1}'.encode("utf-32"), "can't decode byte"),
        (b"[01]", "Expecting ',' delimiter"),
        (b"[.5]", "Expecting value"),
        (b"[+1]", "Expecting value"),
        (b"[0x10]", "Expecting ',' delimiter"),
        (b'["\\x41"]', "Invalid \\\\escape"),
        (b"\x00", "Expecting value"),
        (b"<a/>", "Expecting value"),
        (b"\x1f\x8b\x08\x00", "can't decode byte"),
    ],
)
def test_what_is_not_strict_json_is_not_decodable(body, text):
    failure = refusal(body)
    assert failure.code == "not-decodable"
    assert text.replace("\\\\", "\\") in failure.text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        pytest.param(b'"' + b"x" * 100_000 + b'"', "100002 bytes, and limits.body_bytes is 100000", id="bytes"),
        pytest.param(b"[" + b"1," * 100 + b"1]", "101 records, and limits.records is 100", id="records"),
        pytest.param(b"[" * 9 + b"]" * 9, "nested deeper than limits.depth, which is 8", id="9 lists"),
        pytest.param(b'{"a":' * 9 + b"1" + b"}" * 9, "nested deeper", id="9 objects"),
        pytest.param(b"[" * 50_000 + b"]" * 50_000, "nested deeper", id="50000 lists"),
        pytest.param(b'{"a":' * 15_000 + b"1" + b"}" * 15_000, "nested deeper", id="15000 objects"),
        pytest.param(b"[" * 99_999, "nested deeper", id="99999 open lists"),
    ],
)
def test_what_is_too_large_says_which_limit(body, text):
    failure = refusal(body)
    assert failure.code == "too-large"
    assert text in failure.text


def test_a_body_as_deep_as_the_limit_passes():
    assert JSON.decode(b"[" * 8 + b"]" * 8)
    assert JSON.decode(b'{"a":' * 8 + b"1" + b"}" * 8)


def test_a_surrogate_in_a_body_too_deep_does_not_overflow_the_stack():
    failure = refusal(b"[" * 900 + rb'"\ud800"' + b"]" * 900)
    assert failure.code == "too-large"


def test_one_row_becomes_an_object_and_several_a_list():
    assert JSON.encode([{"a": 1}]) == b'{"a":1}'
    assert JSON.encode([{"a": 1}, {"a": None}]) == b'[{"a":1},{"a":null}]'
    assert JSON.encode([]) == b"[]"


def test_every_kind_of_value_is_written_exactly():
    row = {
        "decimal": Decimal("1.10"),
        "zero": Decimal("0E-4"),
        "large": 2**63 - 1,
        "float": 0.1,
        "bool": True,
        "null": None,
        "text": 'é😀 "q" \\ \n',
        "stamp": datetime(2024, 5, 1, 12, 0, 0, 123456, UTC),
        "date": date(2024, 5, 1),
        "time": time(1, 2, 3, 4),
        "bytes": b"\x00\xff",
        "array": bytearray(b"\x01"),
        "uuid": UUID(int=1),
    }
    assert JSON.encode([row]).decode() == (
        '{"decimal":1.10,"zero":0.0000,"large":9223372036854775807,"float":0.1,"bool":true,"null":null,'
        '"text":"é😀 \\"q\\" \\\\ \\n","stamp":"2024-05-01T12:00:00.123456+00:00","date":"2024-05-01",'
        '"time":"01:02:03.000004","bytes":"AP8=","array":"AQ==","uuid":"00000000-0000-0000-0000-000000000001"}'
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), "column 'b': nan is not a number"),
        (float("inf"), "column 'b': inf is not a number"),
        (Decimal("NaN"), "column 'b': NaN is not a number"),
        (Decimal("1E+99999"), "column 'b': a number of more than 4300 digits"),
        ("\ud800", "column 'b': half a character"),
        ("a\0b", "column 'b': a NUL character"),
        (object(), "column 'b': a object cannot be written"),
        pytest.param(10**5000, "column 'b': ", id="an integer of 5001 digits"),
    ],
)
def test_what_json_cannot_carry_is_not_encodable_and_names_the_column(value, text):
    with pytest.raises(Failed) as caught:
        JSON.encode([{"a": 1, "b": value}])
    assert caught.value.failure.code == "not-encodable"
    assert text in caught.value.failure.text


def test_the_text_of_an_escaped_nul_is_only_text():
    assert JSON.decode(JSON.encode([{"a": "\\u0000"}])) == [{"a": "\\u0000"}]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"type": "yaml"}, "unknown format type 'yaml'; known are json, ndjson, text, cbor, msgpack, xml, delimited"),
        ({"type": "json", "record": "row"}, "unknown key 'record'"),
        ({"type": "xml", "recrd": "row"}, "unknown key 'recrd'; did you mean 'record'?"),
    ],
)
def test_a_bad_format_section_is_refused(settings, text):
    with pytest.raises(ValueError, match=r".") as caught:
        compile_format(settings, LIMITS)
    assert text in str(caught.value)


def test_a_depth_that_would_overflow_the_stack_is_refused_at_the_start():
    with pytest.raises(ValueError, match=r"limits\.depth can be 200 at most"):
        compile_format({"type": "json"}, Limits(depth=201))


@pytest.mark.parametrize(("begin", "end", "levels"), [(b'{"a":', b"}", 200), (b"[", b"]", 199)])
def test_a_body_as_deep_as_allowed_at_all_can_be_decoded_searched_and_written(begin, end, levels):
    deep = compile_format({"type": "json"}, Limits(depth=200))
    value = begin * levels + '"😀"'.encode() + end * levels
    body = (value if begin != b"[" else b"[" + value + b"]").replace("😀".encode(), b"\\ud83d\\ude00")
    records = deep.decode(body)
    assert deep.encode(records) == value
    whole = compile_expression({"jmespath": "@", "type": "json"}).evaluate(records[0], Scope(None))
    assert whole.encode() == value


# -- one value a line


NDJSON = compile_format({"type": "ndjson"}, Limits(records=3, depth=4))


@pytest.mark.parametrize(
    ("body", "records"),
    [
        (b'{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        (b'{"a": 1}\r\n\r\n  [1]\r\n7', [{"a": 1}, [1], 7]),
        (b"\xef\xbb\xbf\n{}", [{}]),
        (b" \n\n", []),
    ],
)
def test_each_line_of_ndjson_is_a_record(body, records):
    assert NDJSON.decode(body) == records


@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        (b'{"a": 1}\n{"a": }', "not-decodable", "line 2 column 7"),
        (b'\n{"a": 1}\n\n{"a": 1} x', "not-decodable", "line 3: text behind the value"),
        (b'{"a": 1, "a": 2}', "not-decodable", "line 1: the name"),
        (b"{}\n{}\n{}\n{}", "too-large", "limits.records"),
        (b"{}\n[[[[[]]]]]", "too-large", "line 2: nested deeper than limits.depth"),
        (b"{}\n" + b"[" * 50_000, "too-large", "line 2: nested deeper than limits.depth"),
        (b'{}\n"\\u0000"', "not-decodable", "NUL"),
        (b"", "not-decodable", "empty"),
        (b"\xff", "not-decodable", "utf-8"),
    ],
)
def test_what_is_wrong_in_a_line_of_ndjson_is_told_with_its_number(body, code, told):
    failure = refusal(body, NDJSON)
    assert failure.code == code
    assert told in failure.text
