"""The charset that a message names, in its content_type or, as Spring and kombu do, in its content_encoding."""

import pytest
from pika import BasicProperties

from connectorlib.amqp.frame_reader import LazyDelivery
from connectorlib.errors import Failed
from connectorlib.expressions import Scope, compile_expression
from connectorlib.formats import compile_format, records_of
from connectorlib.messages import Delivery, Properties
from connectorlib.shared_settings import Limits

COLUMNS = {"type": "delimited", "columns": ["a"]}
LATIN = "21.5 °C".encode("iso-8859-1")


def message(body, content_type=None, content_encoding=None):
    properties = Properties(content_type=content_type, content_encoding=content_encoding)
    return Delivery(1, 1, "q", "x", "k", False, properties, body, 0.0)


def text_in(delivery, **settings):
    """Return the one field of a delimited body, and the text of a text body, which have to be the same."""
    (record,) = records_of(delivery, compile_format(COLUMNS | settings, Limits()))
    text = compile_format({"type": "text"} | settings, Limits())
    records_of(delivery, text)
    assert compile_expression("$body").evaluate({}, Scope(delivery, {}, fmt=text)) == record["a"]
    return record["a"]


@pytest.mark.parametrize(
    ("content_type", "content_encoding"),
    [
        ("text/csv; charset=iso-8859-1", None),
        ('text/plain;format=flowed ;Charset = "ISO-8859-1"', None),
        ("text/csv; charset=latin1", "utf-8"),
        ("text/csv;charset=windows-1252", None),
        (None, "iso-8859-1"),
        ("text/csv", "ISO-8859-1"),
    ],
)
def test_a_text_is_read_in_the_charset_that_its_message_names(content_type, content_encoding):
    assert text_in(message(LATIN, content_type, content_encoding)) == "21.5 °C"


@pytest.mark.parametrize("declared", [None, "text/csv", "text/csv; header=present", "text/csv; charset=utf-8"])
def test_a_text_whose_message_names_no_other_is_utf_8(declared):
    assert text_in(message("21.5 °C".encode(), declared)) == "21.5 °C"
    with pytest.raises(Failed, match="can't decode byte 0xb0"):
        text_in(message(LATIN, declared))


@pytest.mark.parametrize("declared", ["text/csv; charset=utf-8", "text/csv; charset=klingon", None])
def test_the_encoding_of_the_configuration_goes_before_what_messages_say(declared):
    assert text_in(message(LATIN, declared), encoding="iso-8859-1") == "21.5 °C"


@pytest.mark.parametrize("name", ["klingon", "", "zlib", "idna", "unicode_escape", "..", "x" * 300])
def test_a_charset_that_is_not_known_is_not_decodable(name):
    for settings in (COLUMNS, {"type": "text"}, {"type": "xml"}):
        with pytest.raises(Failed) as caught:
            records_of(message(b"<a/>", f"text/plain; charset={name}"), compile_format(settings, Limits()))
        failure = caught.value.failure
        assert failure.code == "not-decodable"
        assert "content_type names the charset" in failure.text
        assert len(failure.text) <= 200


@pytest.mark.parametrize("kind", ["json", "ndjson"])
def test_json_is_utf_8_whatever_its_message_says(kind):
    form = compile_format({"type": kind}, Limits())
    for declared in ("application/json; charset=iso-8859-1", "application/json; charset=klingon"):
        assert records_of(message('{"a": "°"}'.encode(), declared, "iso-8859-1"), form) == [{"a": "°"}]


DECLARED = '<?xml version="1.0" encoding="{}"?><a>°</a>'


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (DECLARED.format("iso-8859-1").encode("iso-8859-1"), None),
        (DECLARED.format("iso-8859-1").encode("iso-8859-1"), "application/xml"),
        (DECLARED.format("iso-8859-1").encode(), "application/xml; charset=utf-8"),
        (DECLARED.format("utf-8").encode("iso-8859-1"), "text/xml; charset=iso-8859-1"),
        (DECLARED.format("iso-8859-1").encode("koi8-r"), "text/xml; charset=koi8-r"),
        (DECLARED.format("utf-16").encode("utf-16"), "text/xml; charset=iso-8859-1"),
        (DECLARED.format("utf-8").encode("utf-8-sig"), "text/xml; charset=iso-8859-1"),
        (DECLARED.format("utf-16").encode("utf-16-le"), "text/xml; charset=utf-16le"),
        ("<a>°</a>".encode("iso-8859-1"), "text/xml; charset=iso-8859-1"),
        ("<a>°</a>".encode(), None),
    ],
)
def test_xml_is_read_by_its_byte_order_mark_else_the_charset_else_its_declaration(body, content_type):
    assert records_of(message(body, content_type), compile_format({"type": "xml"}, Limits())) == ["°"]


@pytest.mark.parametrize("properties", [{}, {"content_type": "text/csv", "content_encoding": "gzip"}, {"app_id": "x"}])
def test_the_content_type_is_read_without_the_other_properties(properties):
    raw = b"".join(BasicProperties(**properties).encode())
    delivery = LazyDelivery(1, 1, "q", "x", "k", False, raw, b"", 0.0)
    assert delivery.content_type == properties.get("content_type") == delivery.properties.content_type
