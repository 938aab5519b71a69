"""A header keeps type and value on every way that a dead letter goes: octet by octet, for every type of AMQP."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pika
import pytest

from connectorlib.amqp import field_tables
from connectorlib.amqp.field_tables import Field, field
from connectorlib.errors import Failure, Kind
from connectorlib.messages import Dead, Delivery, Outgoing, Properties
from connectorlib.pipeline.dead_letter import dead_letter
from connectorlib.shared_settings import DeadLetterSettings
from deadletterqueue.changes import compile_set, compile_text, compile_unset, text_of
from deadletterqueue.delivery_limit import copied
from deadletterqueue.jsonl import line_of, outgoing_of
from deadletterqueue.letter import letter
from deadletterqueue.target import Target, replayed
from tests.services.headers import REFUSED, SENT, fields, octets

ALL = {**SENT, **REFUSED}


def received(outgoing: Outgoing) -> Delivery:
    """Return a message as the next consumer gets it."""
    raw = b"".join(pika.BasicProperties(**outgoing.properties).encode())
    properties = Properties(**vars(pika.BasicProperties().decode(raw)))
    return Delivery(1, 1, "q", outgoing.exchange, outgoing.routing_key, False, properties, outgoing.body, 0.0)


def died(delivery: Delivery) -> Outgoing:
    dead = Dead(Failure(Kind.REJECT, "22001", "value too long"))
    return dead_letter(delivery, dead, settings=DeadLetterSettings(), connector="c", now=datetime.now(UTC))


def exported(delivery: Delivery) -> Outgoing:
    return outgoing_of(json.loads(json.dumps(line_of(delivery))), "q")


def changed(assignment: str) -> Callable[[Delivery], Outgoing]:
    return lambda delivery: replayed(compile_set(assignment)(letter(delivery)), Target("", "q"))


def edited(delivery: Delivery) -> Outgoing:
    original = letter(delivery)
    return replayed(compile_text(text_of(original).replace("body ---\n", "body ---\nx"), original), Target("", "q"))


WAYS: Mapping[str, Callable[[Delivery], Outgoing]] = {
    "a dead letter": died,
    "moved to the end of the queue": lambda delivery: copied(delivery, "q"),
    "sent back": lambda delivery: replayed(letter(delivery), Target("", "q")),
    "exported and imported": exported,
    "with another header set": changed("$headers.site=b"),
    "with a property set": changed("$message_id=m-2"),
    "with another header removed": lambda delivery: replayed(
        compile_unset("$headers.more")(compile_set("$headers.more=b")(letter(delivery))), Target("", "q")
    ),
    "with a value of its body set": changed("a=1"),
    "with its body edited": edited,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ALL)
def test_a_header_is_sent_on_as_it_came(way: str, name: str) -> None:
    first = received(Outgoing("", "q", b"{}", {"headers": {name: Field(ALL[name]), "site": "a"}}))
    assert octets(received(WAYS[way](first)).headers)[name] == ALL[name]


def test_all_at_once_on_all_ways_one_after_the_other() -> None:
    delivery = received(Outgoing("", "q", b"{}", {"headers": fields(ALL)}))
    for way in WAYS.values():
        delivery = received(way(delivery))
    assert {**octets(delivery.headers), **ALL} == octets(delivery.headers)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("b 5", {"$int8": 5}),
        ("l 5", {"$int64": 5}),
        ("I 5", 5),
        (f"l {2**63 - 1}", 2**63 - 1),
        ("d 1.5", 1.5),
        ("f 1.5", {"$float": "1.5"}),
        ("D 300 / 10^2", {"$decimal": "3.00"}),
        ("d nan", {"$double": "nan"}),
        ("T 1764000000", {"$time": "2025-11-24T16:00:00+00:00"}),
        ("F that looks like a type", {"$table": {"$time": "2026-01-02"}}),
        ("S not UTF-8", {"$amqp": "UwAAAAL/AA=="}),
    ],
)
def test_an_export_has_the_types_of_json_where_they_are_those_of_the_message(name: str, shown: Any) -> None:
    delivery = received(Outgoing("", "q", b"", {"headers": fields(ALL)}))
    assert line_of(delivery)["headers"][name] == shown


@pytest.mark.parametrize(
    ("old", "value", "new"),
    [
        ("b 5", "7", field("b", 7)),
        ("b 5", "700", 700),
        ("l 5", "7", field("l", 7)),
        ("f 1.5", "2.25", field("f", 2.25)),
        ("D 300 / 10^2", "4.50", field("D", "4.50")),
        ("D 300 / 10^2", "text", "text"),
        ("I 5", "1.25", 1.25),
        ("S", "5", "5"),
    ],
)
def test_a_number_that_is_set_keeps_its_type_if_it_fits(old: str, value: str, new: Any) -> None:
    delivery = received(Outgoing("", "q", b"{}", {"headers": {"n": Field(ALL[old])}}))
    changed = compile_set(f"$headers.n={value}")(letter(delivery))
    assert octets(changed.delivery.headers) == octets(field_tables.received({"n": new}))


@pytest.mark.parametrize(
    "header",
    [
        {"$int8": 300},
        {"$int8": "5"},
        {"$float": []},
        {"$float": 1e300},
        {"$decimal": "1E+999999999"},
        {"$decimal": "0.12345678901"},
        {"$decimal": "NaN"},
        {"$decimal": "x"},
        {"$bytes": 5},
        {"$time": 5},
        {"$table": []},
        {"$amqp": "Yg=="},
        {"$amqp": "YgUF"},
        {"$amqp": "Pz8="},
        {"$amqp": ""},
    ],
)
def test_a_value_that_does_not_fit_its_type_is_refused_in_a_file(header: Any) -> None:
    with pytest.raises(ValueError, match=r"no (value|number)|base64"):
        outgoing_of({"body": "", "headers": {"a": header}}, "q")


def test_a_header_that_cannot_be_sent_is_refused_before_it_is() -> None:
    delivery = received(Outgoing("", "q", b"{}", {"headers": {"n": 1}}))
    with pytest.raises(ValueError, match="cannot be sent"):
        compile_set(f"$headers.n={2**70}")(letter(delivery))


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (1.5, Decimal("1.5")),
        (Decimal("1.50"), Decimal("1.5")),
        (Decimal("-1E-300"), Decimal("-1E-300")),
        (Decimal("0.12345678901234567890"), "0.12345678901234567890"),
        (Decimal("1E+999"), "1E+999"),
    ],
)
def test_a_decimal_is_sent_as_a_double_where_that_is_exact(value: Any, sent: Any) -> None:
    assert field_tables.received({"n": value, "list": [value]}) == {"n": sent, "list": [sent]}
