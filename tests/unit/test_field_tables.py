"""No header that a broker can send costs the connection or changes its value."""

import struct
from datetime import UTC, datetime
from decimal import Decimal

import pika
import pytest

from connectorlib.amqp import field_tables


def field(kind, value, name=b"x"):
    return bytes([len(name)]) + name + kind + value


def sized(value):
    return struct.pack(">I", len(value)) + value


def headers_of(table, behind=b"\x07later"):
    """Decode properties that have these headers and a message id behind them, as pika does."""
    flags = pika.BasicProperties.FLAG_HEADERS | pika.BasicProperties.FLAG_MESSAGE_ID
    properties = pika.BasicProperties().decode(struct.pack(">H", flags) + sized(table) + b"\x05later")
    assert properties.message_id == "later"
    return properties.headers


def nested(depth, kind):
    value = b""
    for _ in range(depth):
        value = field(b"F", sized(value)) if kind == "table" else b"A" + sized(value)
    return value if kind == "table" else field(b"", value)


@pytest.mark.parametrize(
    ("kind", "encoded", "value"),
    [
        (b"t", b"\x01", True),
        (b"b", b"\xff", -1),
        (b"B", b"\xff", 255),
        (b"s", b"\xff\xfe", -2),
        (b"u", b"\xff\xfe", 65534),
        (b"I", b"\xff\xff\xff\xff", -1),
        (b"i", b"\xff\xff\xff\xff", 2**32 - 1),
        (b"l", b"\x7f" + b"\xff" * 7, 2**63 - 1),
        (b"d", struct.pack(">d", 1.75), Decimal("1.75")),
        (b"f", struct.pack(">f", -0.5), Decimal("-0.5")),
        (b"D", b"\x02" + struct.pack(">i", -314), Decimal("-3.14")),
        (b"D", b"\xff" + struct.pack(">i", 1), Decimal("1E-255")),
        (b"T", struct.pack(">Q", 1_700_000_000), datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        (b"V", b"", None),
        (b"S", sized("é😀".encode()), "é😀"),
        (b"S", sized(b"\xff"), b"\xff"),
        (b"x", sized(b"abc"), b"abc"),
        (b"A", sized(b"I\x00\x00\x00\x01V"), [1, None]),
        (b"F", sized(field(b"t", b"\x00", b"y")), {"y": False}),
        # What pika cannot decode.
        (b"T", struct.pack(">Q", 2**63), str(2**63)),
        (b"d", struct.pack(">d", float("nan")), "nan"),
        (b"d", struct.pack(">d", float("-inf")), "-inf"),
    ],
)
def test_a_header_has_its_value(kind, encoded, value):
    found = headers_of(field(kind, encoded) + field(b"t", b"\x01", b"next"))
    assert found == {"x": value, "next": True}
    assert type(found["x"]) is type(value)


def test_names_that_are_no_utf8_are_text():
    assert headers_of(field(b"t", b"\x01", b"a\xff")) == {"a\\xff": True}
    assert field_tables.decode_short_string(b"\x02\xff\xfe...", 0) == ("\\xff\\xfe", 3)


@pytest.mark.parametrize("kind", ["table", "array"])
def test_deep_nesting_is_cut(kind):
    assert "nested deeper than 32 levels" in str(headers_of(nested(5000, kind)))


@pytest.mark.parametrize(
    "table",
    [field(b"?", b"abc"), field(b"S", b"\xff\xff\xff\xff"), field(b"l", b"\x01"), b"\x09abc"],
    ids=["a type that nobody knows", "a text longer than the frame", "half a number", "half a name"],
)
def test_what_cannot_be_read_costs_the_headers_only(table):
    assert list(headers_of(table)) == [field_tables.UNREADABLE]
