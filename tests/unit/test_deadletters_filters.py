"""Which dead letters a command is about."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deadletterqueue.filter import chooser, parse_instant
from tests.services.deadletters import DIED, dead, letter_of

LETTER = {
    "code": "22001",
    "reason": "reject",
    "text": "value too long for type character varying(10)",
    "connector": "plant",
    "queue": "readings",
    "message_id": "m-7",
}


def chosen(body: bytes = b"{}", *, of: dict[str, Any] | None = None, **filters: Any) -> bool:
    return chooser(**filters)(letter_of(dead(body, **LETTER | (of or {}))))


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"where": ["code=22001"]},
        {"where": ["code=22*", "text=*too long*"]},
        {"where": ["code=2200?"]},
        {"where": ["message_id=m-7"]},
        {"where": ["message-id=m-7"]},
        {"where": ["replays=0", "attempts=1", "by_broker=false"]},
        {"where": [" code = 22001 "]},
        {"where": ["routing_key=reading.*", "exchange=devices"]},
        {"queue": "readings", "connector": "plant", "reason": "reject"},
        {"queue": "read*"},
        {"since": DIED, "until": DIED},
    ],
)
def test_everything_that_is_given_holds(filters: dict[str, Any]) -> None:
    assert chosen(**filters)


@pytest.mark.parametrize(
    "filters",
    [
        {"where": ["code=22001", "queue=others"]},
        {"where": ["code=22"]},
        {"where": ["code="]},
        {"queue": "reading"},
        {"connector": "field"},
        {"reason": "bug"},
        {"since": DIED + timedelta(seconds=1)},
        {"until": DIED - timedelta(seconds=1)},
    ],
)
def test_one_thing_that_does_not_hold_is_enough(filters: dict[str, Any]) -> None:
    assert not chosen(**filters)


def test_a_letter_without_a_time_is_in_no_span_of_time() -> None:
    untold = letter_of((b"{}", {"headers": {}}))
    assert not chooser(until=DIED)(untold)
    assert chooser()(untold)


@pytest.mark.parametrize(
    ("body", "content_type", "match"),
    [
        (b'{"device": {"id": "p-7"}}', "application/json", "device.id=p-7"),
        (b'{"device": {"id": "p-7"}}', None, "device.id=p-*"),
        (b'{"device": {"id": "p-7"}}', "application/vnd.plant+json; charset=utf-8", "device.id=p-7"),
        (b'{"id": 7, "value": 1.50}', None, "value=1.50"),
        (b'{"ok": true}', None, "ok=true"),
        (b'[{"id": 1}, {"id": 2}]', None, "id=2"),
        (b"<reading><device id='p-7'/></reading>", "application/xml", 'device."@id"=p-7'),
        (b" <reading><device>p-7</device></reading>", None, "device=p-7"),
        (b'{"a=b": "x"}', None, '"a=b"=x'),
        (b'{"id": 1}\n{"id": 2}', "application/x-ndjson", "id=2"),
        (b"\xa1\x62id\x07", "application/cbor", "id=7"),
        (b"\x81\xa2id\x07", "application/vnd.msgpack", "id=7"),
        (b"{}", None, "$message_id=m-7"),
        (b"{}", None, "$routing_key=reading.#"),
        (b"{}", None, "$exchange=devices"),
        (b"{}", None, "$queue=readings"),
        (b'{"text": "a=b"}', None, "text=a=b"),
    ],
)
def test_a_body_is_read_by_its_type(body: bytes, content_type: str | None, match: str) -> None:
    assert chosen(body, of={"content_type": content_type}, match=[match])


@pytest.mark.parametrize("body", [b"", b"{", b"<a", b"\xff\xfe", b'{"id": 1}', b"7", b'{"device": null}', b"[" * 500])
def test_a_body_that_cannot_be_read_or_has_no_such_value_fits_nothing(body: bytes) -> None:
    assert not chosen(body, match=["device.id=*"])


@pytest.mark.parametrize(
    ("filters", "problem"),
    [
        ({"where": ["colour=red"]}, "has to be FIELD=PATTERN, with one of the fields reason, code, text"),
        ({"where": ["code"]}, "has to be FIELD=PATTERN"),
        ({"match": ["device"]}, "has to be EXPRESSION=PATTERN"),
        ({"match": ["$nothing=1"]}, r"unknown \$nothing"),
        ({"match": ["device..id=1"]}, "device"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(filters: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        chooser(**filters)


NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("1h30m", NOW - timedelta(minutes=90)),
        ("7d", NOW - timedelta(days=7)),
        ("2026-11-24T03:00Z", datetime(2026, 11, 24, 3, 0, tzinfo=UTC)),
        ("2026-11-24T04:00+01:00", datetime(2026, 11, 24, 3, 0, tzinfo=UTC)),
        ("2026-11-24", datetime(2026, 11, 24).astimezone()),  # as the clock on the wall shows it
    ],
)
def test_an_instant_is_a_duration_ago_or_a_time(text: str, instant: datetime) -> None:
    assert parse_instant(text, NOW) == instant


@pytest.mark.parametrize("text", ["", "now", "5", "yesterday", "-2h", "99999999999d"])
def test_other_instants_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither a duration such as"):
        parse_instant(text, NOW)
