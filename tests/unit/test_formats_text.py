"""Plain text: one record without fields, whose text is `$body`."""

import pytest
from pika import BasicProperties

from connectorlib.errors import Failed
from connectorlib.expressions import Scope, compile_expression
from connectorlib.formats import compile_format
from connectorlib.messages import Delivery
from connectorlib.shared_settings import Limits

TEXT = {"type": "text"}


@pytest.mark.parametrize(("encoding", "text"), [("utf-8", "21.5 °C"), ("iso-8859-1", "21.5 °C"), ("utf-8", "")])
def test_the_text_of_a_message_is_its_body(encoding, text):
    body = text.encode(encoding)
    plain = compile_format(TEXT | {"encoding": encoding}, Limits())
    (record,) = plain.decode(body)
    delivery = Delivery(1, 1, "q", "x", "k", False, BasicProperties(), body, 0.0)
    assert compile_expression("$body").evaluate(record, Scope(delivery, record, fmt=plain)) == text


@pytest.mark.parametrize(
    ("body", "code"), [(b"\xff", "not-decodable"), (b"a\0b", "not-decodable"), (b"12345", "too-large")]
)
def test_what_is_no_text_is_refused(body, code):
    with pytest.raises(Failed) as caught:
        compile_format(TEXT, Limits(body_bytes=4)).decode(body)
    assert caught.value.failure.code == code


def test_rows_cannot_be_written_as_text():
    with pytest.raises(Failed) as caught:
        compile_format(TEXT, Limits()).encode([{"a": 1}])
    assert caught.value.failure.code == "not-encodable"


@pytest.mark.parametrize("encoding", ["base64", "nonsense", 7])
def test_an_unknown_encoding_is_refused(encoding):
    with pytest.raises(ValueError, match="unknown encoding"):
        compile_format(TEXT | {"encoding": encoding}, Limits())
