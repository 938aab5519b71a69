"""The targets that read bodies: each format, and what a body may be packed in."""

import gzip
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import cbor2
import msgpack
from backports import zstd

from connectorlib.errors import Failed, Kind
from connectorlib.formats import Format, amqp_value, compile_format, records_of
from connectorlib.formats.compression import coding_of
from connectorlib.formats.content import charset_of, plain_body
from connectorlib.messages import Delivery, Properties
from connectorlib.shared_settings import Limits
from connectorlib.values.text import text_of
from tests.corpus import vectors
from tests.fuzz.target import Target, same_kind

# -- formats


def check_format(form: Format, body: bytes) -> str:
    try:
        records = form.decode(body)
    except Failed as failed:
        return check_refusal(failed)
    for record in records:
        assert_clean(record)
    kind = f"{len(records) > 1} {shape(records[0]) if records else ''}"
    if not records or not all(isinstance(record, dict) for record in records):
        return f"read {kind}"  # only rows are ever written, and each is an object
    try:
        again = form.encode(records)
    except Failed as failed:
        if failed.failure.code != "not-encodable":
            raise
        return f"read {kind}"
    assert in_text(form.decode(again)) == in_text(records), again
    return f"read and written {kind}"


def check_refusal(failed: Failed) -> str:
    failure = failed.failure
    assert failure.kind is Kind.REJECT, failure
    assert failure.code in ("not-decodable", "too-large"), failure
    assert failure.text.isprintable(), failure
    assert 0 < len(failure.text) <= 200, failure
    return same_kind(failed)


def in_text(value: Any) -> Any:
    """Return a tree in which numbers and times are text, as some formats write them."""
    if isinstance(value, dict):
        return {name: in_text(each) for name, each in value.items()}
    if isinstance(value, list):
        return [in_text(each) for each in value]
    return value if isinstance(value, str | bytes) else text_of(value)


def shape(value: Any, depth: int = 0) -> str:
    """Return what a value looks like, roughly."""
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    kinds = sorted({shape(member, depth + 1) for member in members}) if depth < 1 else []
    return f"{type(value).__name__}{''.join(kinds)}"


def assert_clean(value: Any) -> None:
    """Nothing of a message may hold what databases cut off, or what cannot be sent."""
    if isinstance(value, str):
        value.encode("utf-8")
        assert "\0" not in value, value
    elif isinstance(value, dict | list):
        for member in [*value, *value.values()] if isinstance(value, dict) else value:
            assert_clean(member)


#: What other formats read, as seeds.
_TREES: Sequence[Any] = [
    *({"a": {"b": [1, None, True]}}, [{"a": -1.5}, {"a": "é"}], {"a": b"\x00", "b": 2**64 - 1}, 0.1, []),
    {"a": datetime(2026, 1, 1, tzinfo=UTC)},
]
_CBOR = [
    *(b"\xc4\x82\x21\x19\x6a\xb3", b"\xbf\x61a\x9f\x01\xff\xff", b"\xd9\xd9\xf7\xa1\x61a\xf9\x3c\x00"),
    *(b"\xc1\x1a\x51\x4b\x67\xb0", b"\xc2\x49\x01" + bytes(8), b"\xd9\x03\xec\x6a2024-05-01"),
]
_CBOR_TOKENS = bytes.fromhex("a16161bf9fffc0c1c482d81cd9d9f7f7fbf95f7fc23b")
_MSGPACK_TOKENS = bytes.fromhex("81a16192dcded6ffd7ffc70cffcbcac4d9cfd3c0")


def _single(codes: bytes) -> Sequence[bytes]:
    return [bytes([code]) for code in codes]


def other_format(kind: str, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> Target:
    form = compile_format({"type": kind}, Limits(body_bytes=100_000))
    return Target(kind, lambda body: check_format(form, body), seeds, tokens)


# -- contents

_MOST = 10_000
_TEXT = compile_format({"type": "text"}, Limits(body_bytes=_MOST))


def check_content(data: bytes) -> str:
    """A line is the content_encoding, the next the content_type, and the rest the body."""
    coding, _, rest = data.partition(b"\n")
    content_type, _, body = rest.partition(b"\n")
    properties = Properties(content_type.decode("latin-1"), coding.decode("latin-1"), type=amqp_value.TYPE)
    message = Delivery(1, 1, "q", "x", "k", False, properties, body, 0.0)
    try:
        records_of(message, _TEXT)
    except Failed as failed:
        assert message.unpacked <= _MOST
        return check_refusal(failed)
    plain = plain_body(message, _MOST)
    assert len(plain) <= _MOST
    if coding == b"gzip" and not amqp_value.is_encoded(body):
        assert plain == gzip.decompress(body)
    return f"{coding_of(coding.decode('latin-1'))} {charset_of(message)} {amqp_value.is_encoded(body)}"


def _content(coding: bytes, content_type: bytes, body: bytes) -> bytes:
    return b"\n".join([coding, content_type, body])


_CONTENTS = [
    _content(b"gzip", b"text/plain", gzip.compress(b"ab") + gzip.compress(b"c")),
    _content(b"deflate", b"text/plain; charset=utf-16", zlib.compress("abc".encode("utf-16"))),
    _content(b"deflate", b"", zlib.compress(b"abc", wbits=-15)),
    _content(b"zstd", b'text/csv; charset="iso-8859-1"', zstd.compress(b"abc")),
    _content(b"gzip", b"", gzip.compress(bytes(3 * _MOST))),
    _content(b"utf-8", b"", b"\x00\x53\x77\xa1\x03abc"),
    _content(b"br", b"text/plain;charset=x", b"abc"),
]
_CONTENT_TOKENS = [
    *(b"gzip", b"deflate", b"zstd", b"identity", b"charset="),
    *(b"\x00\x53\x77", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"),
]


def format_target(name: str, vectors_of: str, **settings: Any) -> Target:
    form = compile_format({**vectors.FORMATS[vectors_of], **settings}, Limits(body_bytes=100_000))
    tokens = {
        "json": rb'{ } [ ] " : , true null 1 "a" \u0041 \n'.split(),
        "xml": b'<a> </a> <a/> <r> </r> &lt; &x; <!-- --> <![CDATA[ ]]> <!DOCTYPE <?xml ?> x="1" xmlns="u"'.split(),
        "csv": [b",", b";", b'"', b'""', b"\r\n", b"\n", b"a,b,c\n"],
    }[vectors_of]
    return Target(name, lambda body: check_format(form, body), [each.body for each in vectors.read(vectors_of)], tokens)


BODIES = [
    format_target("json", "json"),
    format_target("xml", "xml", record="r"),
    format_target("csv", "csv"),
    format_target("csv-odd", "csv", delimiter="||", quote="'", trim=True, null="\\N", trailing_delimiter=True),
    format_target("csv-plain", "csv", delimiter=";", quote=None, encoding="utf-16"),
    other_format(
        "ndjson", [b'{"a": 1}\n{"a": [2]}\n', b"\n\n1\r\n", b"[[1]]\nnull"], [*rb'{ } [ ] " : , 1'.split(), b"\n"]
    ),
    other_format("text", [b"abc", "21.5 °C".encode(), b"", b"a\x00b"], [b"\x00", b"\xef\xbb\xbf"]),
    other_format("cbor", [*map(cbor2.dumps, _TREES), *_CBOR], _single(_CBOR_TOKENS)),
    other_format("msgpack", [msgpack.packb(tree, datetime=True) for tree in _TREES], _single(_MSGPACK_TOKENS)),
    Target("content", check_content, _CONTENTS, _CONTENT_TOKENS),
]
