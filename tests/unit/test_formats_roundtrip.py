"""What `select` writes, `subscribe` reads back to the same values, given the same columns and types."""

import json
import time as clock
from datetime import UTC, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from connectorlib.errors import Failed
from connectorlib.expressions import Scope, compile_expression
from connectorlib.formats import compile_format
from connectorlib.shared_settings import Limits

QUICK = settings(max_examples=40)

#: Text with many of the characters that something means to some format.
SPECIAL = st.sampled_from("|~,;'\"\\ \t\r\n\0<>&]:-\ufeff\u2028\u0085é😀\x1f\x1eN")
TEXTS = st.text(st.one_of(SPECIAL, SPECIAL, st.characters(exclude_categories=["Cs"])), max_size=12)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False).filter(lambda number: -300 < number.adjusted() < 300)
ZONES = st.one_of(
    st.none(), st.just(UTC), st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
)
COLUMNS = {
    "text": (None, TEXTS),
    "integer": ("integer", st.integers(-(2**70), 2**70)),
    "decimal": ("decimal", DECIMALS),
    "float": ("float", st.floats(allow_nan=False, allow_infinity=False)),
    "boolean": ("boolean", st.booleans()),
    "date": ("date", st.dates()),
    "time": ("time", st.times()),
    "timestamp": ("timestamp", st.datetimes(timezones=ZONES)),
    "binary": ("base64", st.binary(max_size=20)),
    "other text": (None, TEXTS),
}
ROWS = st.lists(
    st.fixed_dictionaries({name: st.none() | values for name, (_, values) in COLUMNS.items()}), min_size=1, max_size=4
)
READ = {
    name: compile_expression({"path": f'"{name}"', "type": kind} if kind else f'"{name}"').evaluate
    for name, (kind, _) in COLUMNS.items()
}
NAMES = list(COLUMNS)
FORMATS: dict[str, dict[str, Any]] = {
    "json": {"type": "json"},
    "ndjson": {"type": "ndjson"},
    "xml": {"type": "xml", "record": "row"},
    "xml in a root": {"type": "xml", "record": "row", "root": "all"},
    "comma": {"type": "delimited", "columns": NAMES},
    "pipe": {"type": "delimited", "delimiter": "|", "columns": NAMES, "null": "\\N", "trailing_delimiter": True},
    "two characters": {"type": "delimited", "delimiter": "||", "columns": NAMES, "record_separator": "~~\n"},
    "header, trimmed": {"type": "delimited", "delimiter": "\t", "header": True, "trim": True, "quote": "'"},
    "utf-16": {"type": "delimited", "delimiter": ";", "columns": NAMES, "encoding": "utf-16", "header": True},
    "no quotes": {
        "type": "delimited",
        "delimiter": "\x1f",
        "record_separator": "\x1e",
        "columns": NAMES,
        "quote": None,
    },
    "no quotes, two": {"type": "delimited", "delimiter": "--", "columns": NAMES, "quote": None, "null": "\\N"},
    "cbor": {"type": "cbor"},
    "msgpack": {"type": "msgpack"},
    "latin": {"type": "delimited", "delimiter": "|", "columns": NAMES, "encoding": "latin-1"},
}


def read(records):
    scope = Scope(None)
    return [{name: evaluate(record, scope) for name, evaluate in READ.items()} for record in records]


def kinds(rows):
    return [
        {name: (type(value), getattr(value, "tzinfo", None) is None) for name, value in row.items()} for row in rows
    ]


def attempt(action, value):
    """Given what a format does and with what, return its result, and the failure where it refuses."""
    try:
        return action(value), None
    except Failed as refused:
        return None, refused.failure


@pytest.mark.parametrize("name", FORMATS)
@QUICK
@given(rows=ROWS)
def test_rows_read_back_to_the_same_values_or_are_refused(name, rows):
    form = compile_format(FORMATS[name], Limits())
    body, failure = attempt(form.encode, rows)
    if failure:
        assert failure.code == "not-encodable"
        return
    back = read(form.decode(body))
    assert back == rows
    assert kinds(back) == kinds(rows)


@pytest.mark.parametrize("name", FORMATS)
@QUICK
@given(rows=ROWS)
def test_rows_that_are_put_together_piece_by_piece_read_back_to_the_same_values_or_are_refused(name, rows):
    form = compile_format(FORMATS[name], Limits())
    assembly = form.assembly(NAMES)
    pieces, failure = attempt(lambda rows: [assembly.piece(row) for row in rows], rows)
    if failure:
        assert failure.code == "not-encodable"
        return
    assert len(assembly.head(0)) == len(assembly.head(len(rows)))
    body = assembly.head(len(rows)) + assembly.between.join(pieces) + assembly.tail
    back = read(form.decode(body))
    assert back == rows
    assert kinds(back) == kinds(rows)


@pytest.mark.parametrize("name", FORMATS)
@settings(QUICK, max_examples=120)
@given(text=TEXTS | st.none())
def test_a_text_alone_reads_back_or_is_refused(name, text):
    section = {**FORMATS[name], "columns": ["a"]} if FORMATS[name]["type"] == "delimited" else FORMATS[name]
    form = compile_format(section, Limits())
    body, failure = attempt(form.encode, [{"a": text}, {"a": text}])
    if failure is None:
        assert form.decode(body) == [{"a": text}, {"a": text}]


@pytest.mark.parametrize("name", ["json", "xml", "comma", "pipe", "two characters"])
@QUICK
@given(text=st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs", "Cn"]), max_size=30))
def test_text_without_control_characters_is_never_refused(name, text):
    form = compile_format(FORMATS[name], Limits())
    row = {**dict.fromkeys(NAMES), "text": text, "other text": f'{text}|"\r\n'}
    assert read(form.decode(form.encode([row]))) == [row]


@pytest.mark.parametrize("name", ["json", "xml", "comma"])
def test_a_text_of_a_hundred_kilobytes_reads_back(name):
    form = compile_format(FORMATS[name], Limits())
    row = {**dict.fromkeys(NAMES), "text": 'ä"😀\n' * 12_500}
    assert read(form.decode(form.encode([row]))) == [row]


@pytest.mark.parametrize("name", FORMATS)
@QUICK
@given(body=st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused_with_a_designed_code(name, body):
    check_decoded_or_refused(FORMATS[name], body)


FRAGMENTS = {
    "json": ["{", "}", "[", "]", '"a"', ":", ",", "1", "1e400", "NaN", "null", '"\\ud800"', '"\\u0000"', "-", "\ufeff"],
    "xml": ["<row>", "</row>", "<a/>", "<a>", "</a>", "&lt;", "&x;", "<!--", "-->", "<![CDATA[", "]]>", "<!DOCTYPE r>"],
    "comma": ['"', '""', ",", "\r", "\n", "x", " ", "\ufeff", ",,,,,,,,,"],
}  # fmt: skip


@pytest.mark.parametrize("name", FRAGMENTS)
@QUICK
@given(data=st.data())
def test_any_mixture_of_its_tokens_is_decoded_or_refused(name, data):
    text = "".join(data.draw(st.lists(st.sampled_from(FRAGMENTS[name]), max_size=25)))
    check_decoded_or_refused(FORMATS[name], text.encode())


def check_decoded_or_refused(section, body):
    records, failure = attempt(compile_format(section, Limits()).decode, body)
    if failure:
        assert failure.code in {"not-decodable", "too-large"}
        assert len(failure.text) <= 200
        assert failure.text.isprintable()
    for record in records or []:
        _assert_clean(record)


def _assert_clean(value):
    if isinstance(value, str):
        value.encode("utf-8")
        assert "\0" not in value
    elif isinstance(value, dict):
        for name, member in value.items():
            _assert_clean(name)
            _assert_clean(member)
    elif isinstance(value, list):
        for member in value:
            _assert_clean(member)


@QUICK
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=12,
    )
)
def test_json_is_read_as_the_standard_library_reads_it_where_both_do(value):
    body = json.dumps(value).encode()
    records, failure = attempt(compile_format({"type": "json"}, Limits()).decode, body)
    assume(failure is None)
    expected = json.loads(body, parse_float=Decimal)
    assert records == (expected if isinstance(expected, list) else [expected])


WORST = {
    "json lists": ("json", b"[" * 500_000 + b"]" * 500_000),
    "json names": ("json", b"{" + b",".join(b'"%d":1' % number for number in range(90_000)) + b"}"),
    "json numbers": ("json", b"[" + b",".join([b"9" * 4300] * 240) + b"]"),
    "json fractions": ("json", b"[[" + b",".join([b"0." + b"9" * 4000] * 260) + b"]]"),
    "json escapes": ("json", b'["' + b"\\ud83d\\ude00" * 87_000 + b'"]'),
    "xml elements": ("xml", b"<row>" + b"<a/>" * 260_000 + b"</row>"),
    "xml attributes": ("xml", b"<row " + b" ".join(b'a%d=""' % number for number in range(90_000)) + b"/>"),
    "xml levels": ("xml", b"<a>" * 300_000),
    "quotes": ("comma", b'"' * 1_048_575),
    "delimiters": ("comma", b"," * 1_048_576),
    "a repeated name": ("json", b"{" + b",".join(b'"%d":1' % number for number in range(90_000)) + b',"89999":1}'),
    "header": ("header, trimmed", b"\t".join(b"%d" % number for number in range(140_000)) + b"\n1"),
    "xml namespaces": ("xml", b"<row " + b" ".join(b'xmlns:a%d="u%d"' % (n, n) for n in range(30_000)) + b"/>"),
    "lines": ("comma", b"\n" * 1_048_576),
    "quoted lines": ("comma", b'"",,,,,,,,,\n' * 87_000),
    "two characters": ("two characters", b'"x"' + b"|" * 1_000_000),
    "cbor times": ("cbor", b"\x81\x9a" + (500_000).to_bytes(4) + b"\xc1\x01" * 500_000),
    "cbor lists": ("cbor", b"\x9f" * 1_000_000),
    "msgpack lists": ("msgpack", b"\x91\xdd" + (1_000_000).to_bytes(4) + b"\x90" * 1_000_000),
}


@pytest.mark.parametrize("name", WORST)
def test_the_size_of_a_body_bounds_the_time_it_takes(name):
    kind, body = WORST[name]
    begin = clock.thread_time()
    check_decoded_or_refused(FORMATS[kind], body)
    assert clock.thread_time() - begin < Limits().seconds
