"""Dead letters as lines of a file, and as a person sees them."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectorlib.values.text import printable
from deadletterqueue.delivery_limit import copied
from deadletterqueue.jsonl import line_of, outgoing_of
from deadletterqueue.readable_body import MAX_BODY, indented, readable
from tests.services.deadletters import delivery

HEADER = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.binary() | st.just(datetime.now(UTC)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
PROPERTIES: dict[str, Any] = {
    "message_id": "m-1",
    "content_type": "text/plain",
    "content_encoding": "gzip",
    "correlation_id": "c",
    "type": "t",
    "app_id": "a",
    "reply_to": "r",
    "priority": 3,
    "timestamp": 1_700_000_000,
    "expiration": "60000",
}


@given(body=st.binary(max_size=50), headers=st.dictionaries(st.text(max_size=9), HEADER, max_size=4))
def test_a_message_comes_back_from_its_line_as_it_was(body: bytes, headers: dict[str, Any]) -> None:
    headers = {name: value for name, value in headers.items() if name not in ("CC", "BCC")}
    line = json.loads(json.dumps(line_of(delivery(body, headers=headers, **PROPERTIES))))
    found = outgoing_of(line, "dead-letter")
    assert (found.exchange, found.routing_key, found.body) == ("", "dead-letter", body)
    assert found.properties == {**PROPERTIES, "headers": headers}


def test_a_header_that_looks_like_one_of_ours_is_itself() -> None:
    headers = {"x": {"$bytes": "not base64!", "y": 1}, "z": {"$time": 7}}
    assert outgoing_of(line_of(delivery(headers=headers)), "q").properties["headers"] == headers


def test_the_broker_counts_stay_behind_and_so_does_what_would_route_or_refuse_it() -> None:
    own = {"x-delivery-count": 3, "x-acquired-count": 4, "CC": ["elsewhere"], "BCC": ["there"], "x-death": [], "a": 1}
    dying = delivery(headers=own, user_id="somebody")
    for message in (outgoing_of(line_of(dying), "q"), copied(dying, "q")):
        assert message.properties == {"headers": {"x-death": [], "a": 1}}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ([], "expected an object with body or body_base64"),
        ({}, "expected an object with body or body_base64"),
        ({"body": "a", "body_base64": "YQ=="}, "expected an object with body or body_base64"),
        ({"body": 7}, "the body has to be a text"),
        ({"body": "\ud800"}, "surrogates not allowed"),
        ({"body_base64": "?"}, "base64"),
        ({"body": "", "properties": {"message-id": "1"}}, "no property 'message-id'"),
        ({"body": "", "properties": []}, "have to be objects"),
        ({"body": "", "headers": "x"}, "have to be objects"),
    ],
)
def test_a_line_that_is_no_message_is_refused(line: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        outgoing_of(line, "q")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Grüße 😀 日本", "Grüße 😀 日本"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\x07b\x9bc\x00", "a\\x07b\\u009bc\\x00"),
        ("right\u202eleft", "right\\u202eleft"),
        ("two\nlines\r", "two\\nlines\\r"),
    ],
)
def test_nothing_steers_the_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_body_keeps_its_lines() -> None:
    assert printable("a\n\tb\x1b", lines=True) == "a\n\tb\\x1b"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"a":1.50,"b":[]}', '{\n  "a": 1.50,\n  "b": []\n}'),
        ('[{"n": 12345678901234567890}]', '[\n  {\n    "n": 12345678901234567890\n  }\n]'),
        ('{"a": ",:{\\"[x]"}', '{\n  "a": ",:{\\"[x]"\n}'),
        ("{}", "{}"),
        ("no json", "no json"),
        ("{broken", "{broken"),
        ("<a><b>1</b></a>", "<a>\n  <b>1</b>\n</a>"),
        ("<a", "<a"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_json_and_xml_are_shown_on_many_lines_with_every_value_as_written(text: str, shown: str) -> None:
    assert indented(text) == shown


def test_an_entity_is_not_resolved_to_be_shown(tmp_path: Any) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    text = f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{secret}">]><a>&x;</a>'
    assert "hidden" not in indented(text)


def test_the_beginning_of_a_long_body_is_enough() -> None:
    assert readable(b"x" * 10 * MAX_BODY).startswith("x" * MAX_BODY + "… (163,840 characters")
    assert readable(b"\xff" * 3).startswith("(not UTF-8) b'\\xff")
