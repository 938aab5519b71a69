"""CBOR and MessagePack: the same tree as JSON, exact and as strict."""

import struct
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import cbor2
import msgpack
import pytest

from connectorlib.errors import Failed, Kind
from connectorlib.expressions import Scope, compile_expression
from connectorlib.formats import compile_format
from connectorlib.messages import Delivery, Properties
from connectorlib.shared_settings import Limits

LIMITS = Limits(body_bytes=200_000, records=100, depth=8)
CBOR = compile_format({"type": "cbor"}, LIMITS)
MSGPACK = compile_format({"type": "msgpack"}, LIMITS)
BOTH = pytest.mark.parametrize(
    ("form", "pack"), [(CBOR, cbor2.dumps), (MSGPACK, msgpack.packb)], ids=["cbor", "msgpack"]
)


def tagged(number, value):
    return cbor2.dumps(cbor2.CBORTag(number, value))


def refusal(form, body):
    with pytest.raises(Failed) as caught:
        form.decode(body)
    failure = caught.value.failure
    assert failure.kind is Kind.REJECT
    assert failure.place == "format"
    assert 0 < len(failure.text) <= 200
    assert failure.text.isprintable()
    return failure


@BOTH
@pytest.mark.parametrize(
    ("value", "records"),
    [
        ({"a": {"b": [1, None, True]}}, [{"a": {"b": [1, None, True]}}]),
        ([{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 2}]),
        ([], []),
        ("é😀", ["é😀"]),
        (-1.5, [-1.5]),
        ({"a": b"\x00\xff"}, [{"a": b"\x00\xff"}]),
        ({"a": 2**64 - 1, "b": -(2**63)}, [{"a": 2**64 - 1, "b": -(2**63)}]),
        ({"a": 0.1, "b": 5e-324, "c": 1e308}, [{"a": 0.1, "b": 5e-324, "c": 1e308}]),
    ],
)
def test_a_body_becomes_its_records(form, pack, value, records):
    decoded = form.decode(pack(value))
    assert decoded == records
    assert str(decoded) == str(records)


WIDENED = struct.unpack(">f", struct.pack(">f", 0.1))[0]


@pytest.mark.parametrize(
    ("form", "body", "value"),
    [
        pytest.param(CBOR, b"\xfa" + struct.pack(">f", 0.1), WIDENED, id="float32, cbor"),
        pytest.param(MSGPACK, b"\xca" + struct.pack(">f", 0.1), WIDENED, id="float32, msgpack"),
        pytest.param(CBOR, b"\xf9\x3e\x00", 1.5, id="float16"),
        pytest.param(CBOR, b"\x9f\x01\x9f\x02\xff\xff", [1, [2]], id="a list of no stated length"),
        pytest.param(CBOR, b"\xbf\x61a\x7f\x61b\x61c\xff\xff", {"a": "bc"}, id="an object of no stated length"),
        pytest.param(CBOR, cbor2.dumps(2**70), 2**70, id="a long integer"),
        pytest.param(CBOR, tagged(4, [-2, 27315]), Decimal("273.15"), id="a decimal"),
        pytest.param(CBOR, tagged(4, [2, -3]), Decimal("-3E+2"), id="a decimal with an exponent"),
        pytest.param(CBOR, tagged(4, [-30, 2**100]), Decimal("1.267650600228229401496703205376"), id="a long decimal"),
        pytest.param(
            CBOR,
            tagged(0, "2013-03-21T20:04:00.5+01:00"),
            datetime(2013, 3, 21, 20, 4, 0, 500_000, timezone(timedelta(hours=1))),
            id="a time as text",
        ),
        pytest.param(CBOR, tagged(1, 1363896240), datetime(2013, 3, 21, 20, 4, tzinfo=UTC), id="a time as an integer"),
        pytest.param(CBOR, tagged(1, -0.5), datetime(1969, 12, 31, 23, 59, 59, 500_000, UTC), id="a time as a float"),
        pytest.param(CBOR, tagged(1004, "2024-05-01"), date(2024, 5, 1), id="a date as text"),
        pytest.param(CBOR, tagged(100, 19844), date(2024, 5, 1), id="a date as a number of days"),
        pytest.param(CBOR, tagged(37, bytes(15) + b"\x01"), "00000000-0000-0000-0000-000000000001", id="a UUID"),
        pytest.param(CBOR, tagged(55799, {"a": [1]}), {"a": [1]}, id="a body that says that it is CBOR"),
        pytest.param(CBOR, tagged(23, b"\x01"), b"\x01", id="bytes that are meant for base16"),
        pytest.param(
            MSGPACK, msgpack.packb(datetime(2024, 5, 1, 12, 0, 0, 5, UTC), datetime=True),
            datetime(2024, 5, 1, 12, 0, 0, 5, UTC), id="a timestamp",
        ),
    ],
)  # fmt: skip
def test_what_json_has_not_is_read_exactly(form, body, value):
    decoded = form.decode(body)
    assert decoded == (value if isinstance(value, list) else [value])
    assert type(decoded[0]) is type(value) or isinstance(value, list)


@pytest.mark.parametrize(
    ("form", "body", "told"),
    [
        (CBOR, b"", "the body is empty"),
        (MSGPACK, b"", "the body is empty"),
        (CBOR, b"\xa1\x61a", "premature end"),
        (MSGPACK, b"\x81\xa1a", "incomplete input"),
        (CBOR, b"\xa1\x61a\x01\x00\x00", "2 bytes behind the value"),
        (MSGPACK, b"\x81\xa1a\x01\x00\x00", "2 bytes behind the value"),
        (CBOR, b"\xa2\x61a\x01\x61a\x02", "Duplicate map key: 'a'"),
        (MSGPACK, b"\x82\xa1a\x01\xa1a\x02", "the name 'a' occurs twice in one object"),
        (CBOR, b"\xa1\x01\x02", "map key must be a text string"),
        (CBOR, b"\xa1\x41a\x02", "a name that is no text"),
        (MSGPACK, b"\x81\x01\x02", "a name that is no text"),
        (MSGPACK, b"\x81\xc4\x01a\x02", "a name that is no text"),
        (CBOR, b"\xf9\x7e\x00", "nan is no number"),
        (CBOR, b"\x81\xf9\x7c\x00", "inf is no number"),
        (MSGPACK, b"\xcb\xff\xf0" + bytes(6), "-inf is no number"),
        (CBOR, b"\x61\xff", "can't decode byte 0xff"),
        (CBOR, b"\x63\xed\xa0\x80", "can't decode byte"),
        (MSGPACK, b"\xa3\xed\xa0\x80", "can't decode byte"),
        (CBOR, b"\x61\x00", "a NUL character inside a text"),
        (MSGPACK, b"\x81\xa1\x00\x01", "a NUL character inside a text"),
        (CBOR, b"\xf7", "a value of the kind"),
        (CBOR, b"\xf8\x20", "a value of the kind"),
        (CBOR, b"\xff", "break code"),
        (MSGPACK, b"\xc1", "a byte that MessagePack does not have"),
        (CBOR, cbor2.dumps(2**14_300), "a number of more than 4300 digits"),
        (CBOR, tagged(4, [10**9, 1]), "a number of more than 4300 digits"),
        (CBOR, tagged(4, [-(10**9), 1]), "a number of more than 4300 digits"),
        (CBOR, tagged(4, [4299, 1000]), "a number of more than 4300 digits"),
        (CBOR, tagged(4, [1]), "a decimal fraction is a list of two integers"),
        (CBOR, tagged(4, "x"), "a decimal fraction is a list of two integers"),
        (CBOR, tagged(0, 1), "a time of tag 0 is text"),
        (CBOR, tagged(0, "yesterday"), "Invalid isoformat string"),
        (CBOR, tagged(1, "x"), "a time of tag 1 is a number"),
        (CBOR, tagged(1, 1e300), "semantic tag 1"),
        (CBOR, tagged(1, 2**62), "semantic tag 1"),
        (CBOR, tagged(100, 2**62), "semantic tag 100"),
        (CBOR, tagged(37, b"x"), "semantic tag 37"),
        *(
            (CBOR, tagged(number, "x"), f"tag {number} is not accepted")
            for number in (5, 25, 30, 35, 36, 52, 54, 256, 258, 260, 261, 999, 43000)
        ),
        (CBOR, b"\xd8\x1c\x81\xd8\x1d\x00", "tag 29 is not accepted"),
        (MSGPACK, b"\xd4\x05a", "extension type 5 is not accepted"),
        (MSGPACK, b"\xc7\x0c\xff" + bytes(4) + b"\x7f" + b"\xff" * 7, "too large"),
    ],
)  # fmt: skip
def test_what_is_not_strict_is_not_decodable(form, body, told):
    failure = refusal(form, body)
    assert failure.code == "not-decodable"
    assert told in failure.text


@BOTH
def test_what_is_too_large_says_which_limit(form, pack):
    assert refusal(form, pack("x" * 200_000)).code == "too-large"
    assert "101 records, and limits.records is 100" in refusal(form, pack([1] * 101)).text
    for levels in (9, 100, 1_000, 100_000):
        failure = refusal(form, pack([0])[:1] * levels + pack(0))
        assert (failure.code, failure.text) == ("too-large", "nested deeper than limits.depth, which is 8")
    assert form.decode(pack([0])[:1] * 8 + pack(0))


@pytest.mark.parametrize(("form", "body"), [(CBOR, b"\x9b" + b"\xff" * 8), (MSGPACK, b"\xdd\xff\xff\xff\xff")])
def test_a_length_that_no_body_has_takes_no_memory(form, body):
    assert refusal(form, body).code == "not-decodable"


def test_tags_that_are_nested_deeper_than_any_value_are_too_deep():
    assert refusal(CBOR, b"\xd9\xd9\xf7" * 50_000 + b"\x00").code == "too-large"


ROW = {
    "decimal": Decimal("1.10"),
    "large": 2**70,
    "float": 0.1,
    "bool": True,
    "null": None,
    "text": "é😀",
    "stamp": datetime(2024, 5, 1, 12, 0, 0, 123456, UTC),
    "date": date(2024, 5, 1),
    "time": time(1, 2, 3, 4),
    "bytes": b"\x00\xff",
    "list": [1, [Decimal("2.50")]],
    "object": {"a": bytearray(b"\x01")},
}


def test_each_kind_of_value_is_written_as_the_format_has_it_and_else_as_text():
    same = {"float": 0.1, "bool": True, "null": None, "text": "é😀", "bytes": b"\x00\xff"}
    times = {"stamp": "2024-05-01T12:00:00.123456+00:00", "date": "2024-05-01", "time": "01:02:03.000004"}
    numbers = {"decimal": Decimal("1.10"), "large": 2**70, "list": [1, [Decimal("2.50")]]}
    assert CBOR.decode(CBOR.encode([ROW])) == [same | times | numbers | {"object": {"a": b"\x01"}}]
    texts = {"decimal": "1.10", "large": str(2**70), "list": [1, ["2.50"]]}
    assert MSGPACK.decode(MSGPACK.encode([ROW])) == [same | times | texts | {"object": {"a": b"\x01"}}]


@BOTH
def test_one_row_becomes_an_object_and_several_a_list(form, pack):
    assert form.encode([{"a": 1}]) == pack({"a": 1})
    assert form.encode([{"a": 1}, {"a": None}]) == pack([{"a": 1}, {"a": None}])
    assert form.encode([]) == pack([])


@BOTH
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), "column 'b': nan is not a number"),
        (Decimal("NaN"), "column 'b': NaN is not a number"),
        (Decimal("1E+99999"), "column 'b': a number of more than 4300 digits"),
        ("\ud800", "column 'b': half a character"),
        ("a\0b", "column 'b': a NUL character"),
        ([{"c": "a\0b"}], "column 'b': a NUL character"),
        (object(), "column 'b': a object cannot be written"),
    ],
)
def test_what_cannot_be_carried_is_not_encodable_and_names_the_column(form, pack, value, text):
    with pytest.raises(Failed) as caught:
        form.encode([{"a": 1, "b": value}])
    assert caught.value.failure.code == "not-encodable"
    assert text in caught.value.failure.text


@BOTH
def test_the_body_as_a_whole_is_bytes(form, pack):
    body = pack({"a": 1})
    delivery = Delivery(1, 1, "q", "x", "k", False, Properties(), body, 0.0)
    assert compile_expression("$body").evaluate({}, Scope(delivery, {}, fmt=form)) == body


@pytest.mark.parametrize(("kind", "library"), [("cbor", "cbor2"), ("msgpack", "msgpack")])
def test_a_format_without_its_library_names_the_extra(monkeypatch, kind, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ValueError, match=rf"type {kind} needs an extra: pip install 'amqp-connectors\[{kind}\]'"):
        compile_format({"type": kind}, LIMITS)
