"""The quick decoder of JSON gives what the thorough one gives, or asks it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectorlib.errors import Failed
from connectorlib.formats import compile_format
from connectorlib.formats.json import _FRACTIONS
from connectorlib.formats.quick_json import quick_decode
from connectorlib.shared_settings import Limits

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
