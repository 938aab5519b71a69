"""Dead letters with compressed bodies: shown, matched and changed unpacked."""

import gzip

import pytest

from deadletterqueue.changes import compile_set, compile_text, is_changed, text_of
from deadletterqueue.edit_command import problems
from deadletterqueue.filter import chooser
from deadletterqueue.plain_letter import MOST, changed, plain_letter, size_of_body
from tests.services.deadletters import dead, letter_of

BODY = b'{"a": 1, "b": "x"}'
VALUE = b"\x00\x53\x77\xa1" + bytes([len(BODY)]) + BODY
GZIP = letter_of(dead(gzip.compress(BODY), content_encoding="gzip", type="reading"))
AMQP_VALUE = letter_of(dead(VALUE, type="amqp-1.0"))
PLAIN = letter_of(dead(BODY, content_encoding="utf-8"))
BOMB = letter_of(dead(gzip.compress(bytes(MOST + 1)), content_encoding="gzip"))
BROKEN = letter_of(dead(BODY, content_encoding="gzip"))
PACKED = pytest.mark.parametrize("letter", [GZIP, AMQP_VALUE], ids=["gzip", "a value of AMQP 1.0"])


def told(letter):
    properties = letter.delivery.properties
    return letter.delivery.body, properties.content_encoding, properties.type


@PACKED
def test_a_packed_body_is_shown_and_matched_plain(letter):
    assert plain_letter(letter).delivery.body == BODY
    assert chooser(match=["a=1", "$body=*x*"])(letter)
    assert not chooser(match=["a=2"])(letter)
    assert not problems(letter, letter, None)


@PACKED
def test_a_changed_body_is_sent_plain(letter):
    new = changed(letter, compile_set("a=2"))
    assert told(new) == (b'{"a":2,"b":"x"}', None, "reading" if letter is GZIP else None)


@PACKED
def test_a_body_that_is_not_changed_stays_packed(letter):
    new = changed(letter, compile_set("$headers.site=b"))
    assert told(new) == told(letter)
    assert new.delivery.headers["site"] == "b"


@PACKED
def test_a_packed_body_is_edited_plain(letter):
    text = text_of(plain_letter(letter))
    assert '"b": "x"' in text
    assert not is_changed(letter, changed(letter, lambda plain: compile_text(text, plain)))
    new = changed(letter, lambda plain: compile_text(text.replace('"x"', '"y"'), plain))
    assert b'"y"' in new.delivery.body
    assert new.delivery.properties.content_encoding is None


@pytest.mark.parametrize("letter", [PLAIN, BROKEN, BOMB], ids=["plain", "broken", "bomb"])
def test_what_is_not_packed_or_cannot_be_unpacked_stays_as_it_is(letter):
    assert plain_letter(letter) is letter
    assert told(changed(letter, compile_set("$content_encoding=identity"))) == (letter.delivery.body, "identity", None)


def test_the_coding_of_a_letter_whose_body_is_none_can_be_set():
    letter = letter_of(dead(gzip.compress(BODY)))
    new = changed(letter, compile_set("$content_encoding=gzip"))
    assert told(new) == (gzip.compress(BODY), "gzip", None)
    assert plain_letter(new).delivery.body == BODY


@pytest.mark.parametrize(
    ("letter", "text"),
    [
        (PLAIN, "18 bytes"),
        (GZIP, f"{len(gzip.compress(BODY))} bytes, unpacked 18"),
        (BOMB, f"{len(BOMB.delivery.body):,} bytes; it unpacks to more than 33,554,432"),
        (BROKEN, "18 bytes; content_encoding is gzip, and the body is not: incorrect header check"),
    ],
)
def test_the_size_of_a_body_is_told_with_what_it_unpacks_to(letter, text):
    assert size_of_body(letter.delivery) == text
