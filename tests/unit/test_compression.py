"""Compressed bodies: unpacked within their limit, whole, and by the coding that the message names."""

import gzip
import sys
import zlib

import pytest
from backports import zstd
from pika import BasicProperties

from connectorlib.amqp.frame_reader import LazyDelivery
from connectorlib.errors import Failed, Kind
from connectorlib.expressions import Scope, compile_expression
from connectorlib.formats import compile_format, compression, records_of
from connectorlib.messages import Delivery, Properties
from connectorlib.shared_settings import Limits

LIMITS = Limits(body_bytes=10_000)
JSON = compile_format({"type": "json"}, LIMITS)
TEXT = compile_format({"type": "text"}, LIMITS)
BODY = b'{"a": 1}'


def raw_deflate(body):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


def message(body, coding, **properties):
    return Delivery(1, 1, "q", "x", "k", False, Properties(content_encoding=coding, **properties), body, 0.0)


def refusal(delivery, fmt=JSON):
    with pytest.raises(Failed) as caught:
        records_of(delivery, fmt)
    failure = caught.value.failure
    assert failure.kind is Kind.REJECT
    assert failure.place == "format"
    assert len(failure.text) <= 200
    return failure


def packed(body):
    """Return a body as gzip without the time, which would be in the names of tests."""
    return gzip.compress(body, mtime=0)


PACKED = {
    "gzip": packed(BODY),
    "x-gzip": packed(BODY),
    "GZIP ": packed(BODY),
    "deflate": zlib.compress(BODY),
    "zstd": zstd.compress(BODY),
}


@pytest.mark.parametrize("coding", PACKED)
def test_a_body_is_unpacked_by_the_coding_that_its_message_names(coding):
    delivery = message(PACKED[coding], coding)
    assert records_of(delivery, JSON) == [{"a": 1}]
    assert (delivery.body, delivery.unpacked) == (PACKED[coding], len(BODY))


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        pytest.param("deflate", raw_deflate(BODY), id="deflate without the zlib format"),
        pytest.param("gzip", gzip.compress(b'{"a"') + gzip.compress(b"") + gzip.compress(b": 1}"), id="gzip members"),
        pytest.param("zstd", zstd.compress(b'{"a"') + zstd.compress(b": 1}"), id="frames of zstd"),
        pytest.param("zstd", b"\x50\x2a\x4d\x18\x03\0\0\0xyz" + zstd.compress(BODY), id="a skippable frame"),
        *(
            pytest.param(coding, BODY, id=f"plain, {coding!r}")
            for coding in (None, "", "identity", "utf-8", "UTF-8", "ISO-8859-1", "us-ascii", "binary", "8bit", "json")
        ),
    ],
)
def test_what_means_the_same_is_read_the_same(coding, body):
    assert records_of(message(body, coding), JSON) == [{"a": 1}]


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
def test_members_are_counted_because_each_takes_time(coding, pack):
    form = compile_format({"type": "text"}, Limits())
    assert records_of(message(pack(b"") * 10_000, coding), form) == [{}]
    failure = refusal(message(pack(b"") * 10_001, coding), form)
    assert (failure.code, failure.text) == ("too-large", f"{coding} of more than 10000 members")


@pytest.mark.parametrize(
    ("coding", "body", "told"),
    [
        ("gzip", BODY, "content_encoding is gzip, and the body is not: incorrect header check"),
        ("gzip", zlib.compress(BODY), "content_encoding is gzip, and the body is not"),
        ("gzip", b"", "ends in the middle of it"),
        ("gzip", packed(BODY)[:-1], "ends in the middle of it"),
        ("gzip", packed(BODY)[:-8] + b"\0" * 8, "incorrect data check"),
        ("gzip", packed(BODY) + b"x", "content_encoding is gzip, and the body"),
        ("gzip", packed(BODY) + b"xyz", "incorrect header check"),
        ("gzip", packed(BODY) + packed(BODY)[:9], "ends in the middle of it"),
        ("deflate", zlib.compress(BODY)[:-1], "ends in the middle of it"),
        ("deflate", zlib.compress(BODY) + b"xyz", "there are 3 bytes behind its end"),
        ("deflate", raw_deflate(BODY)[:-2], "ends in the middle of it"),
        ("deflate", b"\xff\xff\xff", "invalid block type"),
        ("zstd", BODY, "content_encoding is zstd, and the body is not"),
        ("zstd", zstd.compress(BODY)[:-1], "ends in the middle of it"),
        ("br", BODY, "content_encoding 'br' is not unpacked here; gzip, deflate, zstd are"),
        ("compress", BODY, "is not unpacked here"),
        ("X-Compress", BODY, "is not unpacked here"),
        ("base64", BODY, "is not unpacked here"),
        ("gzip, gzip", packed(packed(BODY)), "one at a time"),
    ],
)  # fmt: skip
def test_what_is_not_what_its_message_says_is_not_decodable(coding, body, told):
    failure = refusal(message(body, coding), TEXT)
    assert failure.code == "not-decodable"
    assert told in failure.text


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, raw_deflate, zstd.compress])
def test_a_body_is_unpacked_to_its_limit_and_no_further(pack):
    coding = {gzip.compress: "gzip", zstd.compress: "zstd"}.get(pack, "deflate")
    assert records_of(message(pack(b"x" * LIMITS.body_bytes), coding), TEXT) == [{}]
    for size in (LIMITS.body_bytes + 1, 50_000_000):
        failure = refusal(message(pack(b"x" * size), coding), TEXT)
        assert failure.code == "too-large"
        assert f"of {coding} unpack to more than limits.body_bytes, which is 10000" in failure.text


def test_a_window_of_zstd_that_is_larger_than_the_limit_is_not_made():
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.content_size_flag: 0}
    packer = zstd.ZstdCompressor(options=options)
    body = packer.compress(BODY) + packer.flush()
    failure = refusal(message(body, "zstd"))
    assert failure.code == "not-decodable"
    assert "too much memory" in failure.text
    assert records_of(message(body, "zstd"), compile_format({"type": "json"}, Limits(body_bytes=1 << 26)))


def test_a_message_in_zstd_without_the_library_names_the_extra(monkeypatch):
    for name in ("backports", "backports.zstd", "compression", "compression.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    failure = refusal(message(PACKED["zstd"], "zstd"))
    assert failure.code == "not-decodable"
    assert "pip install 'amqp-connectors[zstd]'" in failure.text


def test_the_text_of_a_compressed_message_is_its_unpacked_body():
    delivery = message(gzip.compress("21.5 °C".encode()), "gzip")
    assert compile_expression("$body").evaluate({}, Scope(delivery, {}, fmt=TEXT)) == "21.5 °C"


@pytest.mark.parametrize(
    ("properties", "coding"),
    [
        ({}, None),
        ({"content_type": "text/plain"}, None),
        ({"content_encoding": "gzip"}, "gzip"),
        ({"content_type": "text/plain", "content_encoding": "gzip", "headers": {"a": 1}, "message_id": "m"}, "gzip"),
        ({"content_type": "", "content_encoding": ""}, ""),
    ],
)
def test_the_coding_is_read_without_the_other_properties(properties, coding):
    delivery = LazyDelivery(1, 1, "q", "x", "k", False, b"".join(BasicProperties(**properties).encode()), b"", 0.0)
    assert delivery.content_encoding == coding
    assert delivery.properties.content_encoding == coding


def test_a_header_that_ends_too_early_has_no_coding():
    for raw in (b"", b"\x40", b"\x40\x00", b"\xc0\x00", b"\xc0\x00\x05te"):
        assert LazyDelivery(1, 1, "q", "x", "k", False, raw, b"", 0.0).content_encoding is None


def test_names_are_looked_up_only_if_they_are_known():
    before = len(sys.modules["encodings"]._cache)
    for number in range(1000):
        assert compression.coding_of(f"made-up-{number}") is None
    assert len(sys.modules["encodings"]._cache) <= before + 1
