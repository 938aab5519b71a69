"""The quick decoder of JSON gives what the thorough one gives, or asks it; and so does the quick writer."""

import json
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from itertools import product
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectorlib.errors import Failed
from connectorlib.formats import compile_format, json_codec
from connectorlib.formats.json import _FRACTIONS, JsonFormat, NdjsonFormat
from connectorlib.formats.json_codec import json_bytes, parse_json
from connectorlib.formats.quick_json import quick_decode, quick_encode_objects
from connectorlib.shared_settings import Limits
from connectorlib.values.text import Structured, json_text

LIMITS = Limits(depth=4)
#: Names of which two are often the same, with what could be taken for the end of one.
NAMES = st.sampled_from(['"a"', '"b"', '""', '":"', '"a:"', '"ä"', r'"\u0061"', r'"\""', r'"\":"', r'"\\"', '"a'])
STRINGS = NAMES | st.sampled_from(
    [r'"\u0000"', r'"\ud800"', r'"\ud83d\ude00"', '"\0"', '"\t"', '"\x7f"', r'"\x"', '"{["']
)
NUMBERS = st.sampled_from(
    ["0", "-0", "-0.0", "1.10", "01", "1.", ".5", "+1", "1e5", "1E-5", "NaN", "-Infinity", "0x1", "1_0"]
)
NUMBERS |= st.sampled_from(["1e400", "5e-324", "1e999999999", "1e-999999999", "9" * 400, "9" * 4301, "0." + "1" * 5000])
NUMBERS |= st.sampled_from(["9007199254740993", "18446744073709551616", "-9223372036854775809", "-", "1e"])
WORDS = st.sampled_from(["true", "false", "null", "tru", "None"])
SPACE = st.sampled_from(["", "", "", " ", "\n", "\r\n\t", "\f"])


@st.composite
def objects(draw, values):
    members = draw(st.lists(st.tuples(SPACE, NAMES, SPACE, SPACE, values), max_size=4))
    return "{" + ",".join(f"{a}{name}{b}:{c}{value}" for a, name, b, c, value in members) + draw(SPACE) + "}"


@st.composite
def lists(draw, values):
    return "[" + ",".join(draw(st.lists(values, max_size=3))) + draw(SPACE) + "]"


TEXTS = st.recursive(STRINGS | NUMBERS | WORDS, lambda values: objects(values) | lists(values), max_leaves=8)


@st.composite
def bodies(draw):
    body = (draw(st.sampled_from(["", "", "\ufeff", " "])) + draw(TEXTS) + draw(SPACE)).encode()
    if draw(st.booleans()):
        return body
    at = draw(st.integers(0, len(body)))
    return (
        body[:at]
        + draw(st.sampled_from([b"", b'"', b"\xff", b"\xed\xa0\x80", b"\0", b",", b"}", b":"]))
        + body[at + 1 :]
    )


def outcome(decode, body):
    """Return the records with their types, or what is wrong."""
    try:
        return repr(decode(body))
    except Failed as failed:
        return failed.failure


@given(bodies())
@example(b'{"a": 1, "a": 2}')
@example(b'{"a": "x", "a": 1, "b": ":"}')
@example(b'{"a" : 1, "a" : 2, "b": "\xc3\xa4"}')
@example(b'[{"a": {"b": 1, "b": 1}}]')
@example(b'{"a": [[[[1]]]]}')
@example(b'{"a": [[[[1]]]], "a": 1}')
@example(b'{"a": "\\u0000"}')
def test_a_body_means_the_same_to_the_quick_decoder(body):
    first, later = compile_format({"type": "json"}, LIMITS), compile_format({"type": "json"}, LIMITS)
    for _ in range(2):
        later.decode(b"1")
    assert outcome(later.decode, body) == outcome(first.decode, body)


OBJECT = b'{"a": 1, "b": "x", "c": 1.5, "d": null, "e": true}'


FLAT = objects(STRINGS | NUMBERS | WORDS).map(str.encode)


@given(st.lists(bodies() | FLAT | st.just(OBJECT), min_size=2, max_size=4))
@example([OBJECT] * 50)
@example([b'{"a": 1}, {"b": 2}', b""])
@example([b'{"a": [{}', b"{}]}", b'{"a": 1}, {"a": 1}'])
@example([b'{"a": "', b'"}', b'{"a": 1}, 0, {"a": 1}'])
@example([b'{"a": 1, "a": "x"}', OBJECT])
@example([b"{}]", b"[{}"])
def test_bodies_mean_the_same_together_as_one_by_one(found):
    fmt = JsonFormat(LIMITS)
    together = fmt.decode_objects(found)
    assert together is None or repr(together) == repr([record for body in found for record in fmt.decode(body)])


@pytest.mark.parametrize(
    "other",
    [
        *(b"{}, {}", b"", b'{"a": 1}}', b"[{}]", b"1", b'{"a": {}}', b'{"a": 1, "a": 1}', rb'{"a": "\n"}', b"{"),
        b'{"a": 1e999999999}',
    ],
)
def test_only_plain_objects_are_decoded_together(other):
    fmt = JsonFormat(LIMITS)
    assert fmt.decode_objects([OBJECT, OBJECT]) == fmt.decode(OBJECT) * 2
    for bodies in product([OBJECT, other], repeat=3):
        assert (fmt.decode_objects(bodies) is None) is (other in bodies)


@pytest.mark.parametrize(
    ("body", "quick"),
    [
        (b'{"a": 1, "b": "x", "c": 1.5, "d": null, "e": true}', True),
        (b'{"a": {"b": ["x", {"c": 1}]}}', True),
        ('{"ä": "é😀"}'.encode(), True),
        (b'{"a": "03:02:11", ":": "\t"}', False),
        (b'{"a": 1, "a": 1}', False),
        (b'{"a": "\\n"}', False),
        (b'{"a": 1e999999999}', False),
    ],
)
def test_only_what_is_doubtful_is_decoded_by_the_thorough_one(body, quick):
    asked: list[bytes] = []
    decode = quick_decode(asked.append, _FRACTIONS.create_decimal, lambda body, value: None)
    decode(body)
    assert (asked == []) is quick


#: Values of a record, also those that msgspec writes in another way, or not at all.
SCALARS = (
    (st.text(max_size=5) | st.sampled_from(["\ud800", "\0", "\x7f\u2028/", Structured("[1]", json.loads)]))
    | (st.none() | st.booleans() | st.integers() | st.sampled_from([10**30, -(10**30)]))
    | (st.floats() | st.decimals() | st.decimals(places=20) | st.sampled_from([Decimal("1E+5"), Decimal("1E+9999")]))
    | st.sampled_from([b"x", date(2026, 11, 30), datetime(2026, 11, 30, tzinfo=UTC), UUID(int=7), {1, 2}, object()])
)
MEMBERS = st.recursive(
    SCALARS, lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=3), each, max_size=3)
)


def written(write, value):
    """Return what JSON says, with numbers as they are written, or which error there is."""
    try:
        text = write(value)
    except (ValueError, TypeError) as error:
        return type(error)
    return json.loads(text, parse_float=lambda digits: f"{float(digits)!r} {Decimal(digits):f}", parse_int=str)


@given(st.dictionaries(st.text(max_size=3), MEMBERS, max_size=4))
@example({"a": math.nan})
@example({"a": [{"b": (Decimal("1.50"), b"x")}]})
def test_an_object_is_written_as_the_other_writer_does(value):
    assert written(json_bytes, value) == written(lambda value: json_text(value).encode(), value)


@pytest.mark.parametrize(
    ("value", "quick"),
    [
        ({"a": "é", "b": [{"c": None, "d": True, "e": 12}], "f": Decimal("1.50"), "g": 0.5, "h": {}}, True),
        ({"a": Decimal("1E+5")}, False),
        ({"a": [math.inf]}, False),
        ({"a": date(2026, 11, 30)}, False),
    ],
)
def test_only_what_is_doubtful_is_written_by_the_other_writer(monkeypatch, value, quick):
    asked: list[object] = []

    def thorough(value):
        asked.append(value)
        return ""

    monkeypatch.setattr(json_codec, "json_text", thorough)
    json_bytes(value)
    assert (asked == []) is quick


INDIA = timezone(timedelta(hours=5, minutes=30))
ROWS = st.lists(
    st.dictionaries(
        st.text(max_size=3), SCALARS | st.datetimes(timezones=st.sampled_from([None, UTC, INDIA])), max_size=4
    ),
    min_size=1,
    max_size=3,
)


@pytest.mark.parametrize("fmt", [JsonFormat(LIMITS), NdjsonFormat(LIMITS)])
@given(records=ROWS)
@example(records=[{"a": 1}, {"a": Decimal("NaN")}])
@example(records=[{"a": math.inf}])
@example(records=[{"a": -0.0, "b": 1e16}, {"a": 0.0001, "b": 9999999999999998.0}])
def test_many_rows_are_written_as_each_is_by_itself(fmt, records):
    together = fmt.encode_objects(records)
    assert together is None or together == [fmt.encode([record]) for record in records]


@pytest.mark.parametrize(
    ("record", "quick"),
    [
        ({"a": "é\n", "b": None, "c": True, "d": 12, "e": Decimal("1.50"), "f": 0.5, "g": 0.0, "h": b"x"}, True),
        ({"a": date(2026, 11, 30), "b": datetime(2026, 11, 30), "c": datetime(2026, 11, 30, tzinfo=INDIA)}, True),
        ({"a": Decimal("1E+5")}, False),
        ({"a": Decimal("1" * 4301)}, False),
        ({"a": 1e-5}, False),
        ({"a": "\0"}, False),
        ({"a": time(3, 2, 11)}, False),
        ({"a": [1]}, False),
    ],
)
def test_only_what_is_doubtful_is_written_one_by_one(record, quick):
    assert (quick_encode_objects([{"a": 1}, record]) is not None) is quick


@given(bodies())
@example(b"1e400")
@example(b'{"a": NaN}')
@example(b'"\\ud800"')
@example("\ufeff1".encode())
@example(b"[" * 100_000)
def test_an_answer_is_read_as_the_standard_library_does(body):
    def outcome(read):
        try:
            return repr(read(body))
        except (ValueError, RecursionError):
            return None

    assert outcome(parse_json) == outcome(json.loads)
