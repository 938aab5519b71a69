"""A row becomes one message: what AMQP cannot carry is refused, what it can arrives as it is."""

import json
import uuid
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from connectorlib.errors import Failed, Kind
from connectorlib.formats import compile_format
from connectorlib.shared_settings import Destination, Limits
from dbconnector.row_message import MessageMapping

FORMAT = compile_format({"type": "json"}, Limits())
COLUMNS = ("id", "device", "payload", "value")
ROW = (7, "pump-1", b"\x00\xff", Decimal("1.50"))


def made(destination, row=ROW, columns=COLUMNS):
    return MessageMapping(destination, FORMAT).maker(columns)(row)


def failure(destination, row=ROW, columns=COLUMNS):
    with pytest.raises(Failed) as raised:
        made(destination, row, columns)
    return raised.value.failure


def test_a_row_is_one_message_in_the_format_with_an_id_of_its_own():
    maker = MessageMapping(Destination("rows", routing_key="row.{device}"), FORMAT).maker(("id", "device"))
    one, other = maker((1, "a")), maker((2, "b"))
    assert (one.exchange, one.routing_key, other.routing_key) == ("rows", "row.a", "row.b")
    assert json.loads(one.body) == {"id": 1, "device": "a"}
    assert one.properties["content_type"] == FORMAT.content_type
    ids = {uuid.UUID(message.properties["message_id"]) for message in (one, other)}
    assert len(ids) == 2
    assert {(each.version, each.variant) for each in ids} == {(4, uuid.RFC_4122)}


def test_properties_come_from_columns_templates_and_constants():
    message = made(
        Destination(
            "rows",
            routing_key="fixed",
            content_type="application/{device}",
            message_id="{device}:{id}",
            correlation_id="id",
            priority={"path": "id"},
            expiration={"value": 60000},
            headers={"device": "device", "value": "value", "site": {"value": "b"}, "n": "id", "raw": "payload"},
        )
    )
    assert message.routing_key == "fixed"
    assert message.properties == {
        "content_type": "application/pump-1",
        "message_id": "pump-1:7",
        "correlation_id": "7",
        "priority": 7,
        "expiration": "60000",
        "headers": {"device": "pump-1", "value": "1.50", "site": "b", "n": 7, "raw": b"\x00\xff"},
    }


@pytest.mark.parametrize(
    ("column", "body"), [("payload", b"\x00\xff"), ("device", b"pump-1"), ("value", b"1.50"), ("id", b"7")]
)
def test_a_column_can_be_the_body_as_it_is(column, body):
    message = made(Destination("rows", body=column))
    assert message.body == body
    assert "content_type" not in message.properties


@pytest.mark.parametrize(
    ("value", "header"),
    [
        (None, None),
        (True, True),
        (2**63 - 1, 2**63 - 1),
        (2**63, str(2**63)),
        (0.1, "0.1"),
        (datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "2026-01-02T03:04:05.000006+00:00"),
        ([1, Decimal("0.10")], [1, "0.10"]),
        ({"a": {"b": 0.5}}, {"a": {"b": "0.5"}}),
    ],
)
def test_a_header_keeps_every_digit(value, header):
    message = made(Destination("rows", headers={"h": {"value": value}}))
    assert message.properties["headers"] == {"h": header}


def test_a_null_column_leaves_an_optional_property_out():
    destination = Destination("rows", correlation_id="device", content_type="{device}", headers={"a": "x/{device}"})
    message = made(destination, (7, None, b"", None))
    assert message.properties.keys() == {"message_id", "headers"}
    assert message.properties["headers"] == {}


@pytest.mark.parametrize(
    ("destination", "row", "code", "place"),
    [
        (Destination("x", routing_key="{device}"), (7, None, b"", 1), "missing-field", "destination.routing_key"),
        (Destination("x", message_id="device"), (7, None, b"", 1), "missing-field", "destination.message_id"),
        (Destination("x", body="payload"), (7, "a", None, 1), "missing-field", "destination.body"),
        (Destination("x", routing_key="{device}"), (7, "ä" * 128, b"", 1), "bad-value", "destination.routing_key"),
        (Destination("x", message_id="device"), (7, "x" * 256, b"", 1), "bad-value", "destination.message_id"),
        (Destination("x", priority="id"), (256, "a", b"", 1), "bad-value", "destination.priority"),
        (Destination("x", priority="value"), (7, "a", b"", Decimal("1.5")), "bad-value", "destination.priority"),
        (Destination("x", priority="device"), (7, "a", b"", 1), "bad-value", "destination.priority"),
        (Destination("x", expiration="id"), (-1, "a", b"", 1), "bad-value", "destination.expiration"),
        (Destination("x", headers={"h": "value"}), (1, "a", b"", Decimal("NaN")), "bad-value", "destination.headers.h"),
        (Destination("x"), (1, "a", b"", float("nan")), "not-encodable", "destination.body"),
    ],
)
def test_a_row_that_cannot_be_sent_is_refused_with_its_place(destination, row, code, place):
    found = failure(destination, row)
    assert (found.kind, found.code, found.place) == (Kind.REJECT, code, place)


def test_exactly_255_bytes_are_short_enough():
    assert made(Destination("x", routing_key="{device}"), (1, "ä" * 127 + "a", b"", 1)).routing_key == "ä" * 127 + "a"


@pytest.mark.parametrize(
    "destination",
    [
        Destination("x", routing_key="{devise}"),
        Destination("x", message_id="devise"),
        Destination("x", headers={"h": "devise"}),
        Destination("x", correlation_id="{devise}"),
    ],
)
def test_a_column_that_is_not_there_is_a_mistake_in_the_configuration(destination):
    found = failure(destination)
    assert found.kind is Kind.CONFIGURATION
    assert "device" in found.text


def test_two_columns_with_one_name_are_refused():
    assert failure(Destination("x"), (1, 2), ("id", "id")).code == "repeated-column"


def test_headers_that_route_are_refused():
    with pytest.raises(ValueError, match="BCC"):
        MessageMapping(Destination("x", headers={"BCC": "device"}), FORMAT)


def test_the_number_of_the_row_can_be_used():
    maker = MessageMapping(Destination("x", routing_key="{$index}"), FORMAT).maker(("id",))
    assert [maker((1,)).routing_key, maker((1,)).routing_key] == ["0", "1"]


@pytest.mark.parametrize("now", [None, datetime(2026, 11, 30, tzinfo=UTC)])
def test_messages_that_are_made_together_are_those_that_are_made_one_by_one(now):
    destination = Destination("rows", routing_key="row.{$index}", headers={"at": "$now"} if now else {}, priority="id")
    columns, rows = ("id", "device"), [(each, f"pump-{each}") for each in range(3)]
    together = MessageMapping(destination, FORMAT).maker(columns, now=now).together(rows)
    assert together is not None
    make = MessageMapping(destination, FORMAT).maker(columns, now=now)
    alone = [make(row) for row in rows]
    ids = {uuid.UUID(message.properties.pop("message_id")) for message in (*together, *alone)}
    assert together == alone
    assert len(ids) == 6
    assert {(each.version, each.variant) for each in ids} == {(4, uuid.RFC_4122)}


@pytest.mark.parametrize(
    ("destination", "row"),
    [
        (Destination("rows", routing_key="row.{$index}", message_id="id"), (None, "pump-1")),
        (Destination("rows", routing_key="row.{$index}"), (1, ["a list"])),
        (Destination("rows", routing_key="row.{$index}", body="device"), (1, "pump-1")),
    ],
)
def test_rows_that_are_not_made_together_keep_their_numbers(destination, row):
    make = MessageMapping(destination, FORMAT).maker(("id", "device"))
    assert make.together([(0, "pump-0"), row]) is None
    assert make((0, "pump-0")).routing_key == "row.0"
