"""Bodies of AMQP 1.0 clients that sent a value instead of data."""

import gzip

import pytest

from connectorlib.errors import Failed
from connectorlib.expressions import Scope, compile_expression
from connectorlib.formats import compile_format, records_of
from connectorlib.messages import Delivery, Properties
from connectorlib.shared_settings import Limits

BODY = b'{"a": 1}'
LONG = b'{"a": "' + b"x" * 300 + b'"}'
TEXT = compile_format({"type": "text"}, Limits())


def message(body, kind="amqp-1.0", **properties):
    return Delivery(1, 1, "q", "x", "k", False, Properties(type=kind, **properties), body, 0.0)


def sized(code, body, octets=1):
    return bytes([code]) + len(body).to_bytes(octets) + body


@pytest.mark.parametrize(
    "section",
    [
        b"\x00\x53\x77" + sized(0xA1, BODY),
        b"\x00\x53\x77" + sized(0xA0, BODY),
        b"\x00\x53\x77" + sized(0xB1, BODY, 4),
        b"\x00\x53\x77" + sized(0xB0, BODY, 4),
        b"\x00\x80" + bytes(7) + b"\x77" + sized(0xA1, BODY),
    ],
)
def test_a_text_or_bytes_are_the_body(section):
    for settings in ({"type": "json"}, {"type": "ndjson"}):
        assert records_of(message(section), compile_format(settings, Limits())) == [{"a": 1}]
    assert compile_expression("$body").evaluate({}, Scope(message(section), {}, fmt=TEXT)) == BODY.decode()


def test_a_value_may_be_long_and_compressed():
    packed = b"\x00\x53\x77" + sized(0xB0, gzip.compress(LONG), 4)
    form = compile_format({"type": "json"}, Limits())
    assert records_of(message(packed, content_encoding="gzip"), form) == [{"a": "x" * 300}]


@pytest.mark.parametrize(
    "section",
    [
        b"\x00\x53\x77" + b"\xc1\x01\x00",  # an empty map
        b"\x00\x53\x77" + b"\x40",  # null
        b"\x00\x53\x77",
        b"\x00\x53\x77" + b"\xa1\x05ab",
        b"\x00\x53\x77" + sized(0xA1, BODY) + b"x",
        b"\x00\x53\x76" + b"\xc0\x01\x00",  # a sequence
    ],
)
@pytest.mark.parametrize("kind", ["json", "xml", "text", "delimited", "cbor"])
def test_any_other_value_is_not_decodable_and_says_what_to_do(section, kind):
    more = {"columns": ["a"]} if kind == "delimited" else {}
    with pytest.raises(Failed) as caught:
        records_of(message(section), compile_format({"type": kind, **more}, Limits()))
    assert caught.value.failure.code == "not-decodable"
    assert "an AMQP 1.0 client has sent" in caught.value.failure.text
    assert "let it send data" in caught.value.failure.text


def test_only_the_type_of_the_message_makes_it_a_value():
    section = b"\x00\x53\x77" + sized(0xA1, BODY)
    with pytest.raises(Failed, match="can't decode byte 0xa1"):
        records_of(message(section, kind="reading"), compile_format({"type": "json"}, Limits()))
