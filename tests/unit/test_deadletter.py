"""What travels with a dead letter, and what must not."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pika import BasicProperties

from connectorlib.errors import Failure, Kind
from connectorlib.messages import PROPERTY_NAMES, Dead, Delivery, Outgoing
from connectorlib.pipeline.dead_letter import (
    AS_HEADERS,
    MAX_HEADER_BYTES,
    PROPERTIES,
    _size,
    dead_letter,
    fingerprint,
    without_properties,
)
from connectorlib.shared_settings import DeadLetterSettings

TOO_LONG = Failure(
    Kind.REJECT, "22001", "value too long", "write[0]", "write[0].values.device <- device.name: too long"
)


def bury(failure: Failure = TOO_LONG, **properties: Any) -> Outgoing:
    bag: Any = BasicProperties(**properties)
    delivery = Delivery(5, 1, "readings", "devices", "reading.7", False, bag, b'{"device": 1}', 0.0)
    now = datetime(2026, 11, 24, 3, 2, 11, tzinfo=UTC)
    return dead_letter(delivery, Dead(failure), settings=DeadLetterSettings(), connector="plant", now=now)


def test_a_dead_letter_keeps_the_body_and_says_why_it_died() -> None:
    letter = bury(message_id="m-1", content_type="application/json", timestamp=1_700_000_000, priority=3)
    assert (letter.exchange, letter.routing_key, letter.body) == ("dead-letter", "readings", b'{"device": 1}')
    assert letter.properties["message_id"] == "m-1"
    assert letter.properties["priority"] == 3
    headers = letter.properties["headers"]
    assert headers["dead-reason"] == "reject"
    assert headers["dead-code"] == "22001"
    assert headers["dead-text"] == "value too long"
    assert headers["dead-detail"] == "write[0].values.device <- device.name: too long"
    assert headers["dead-exchange"] == "devices"
    assert headers["dead-routing-key"] == "reading.7"
    assert headers["dead-queue"] == "readings"
    assert headers["dead-time"] == "2026-11-24T03:02:11.000+00:00"
    assert headers["dead-attempts"] == 1
    assert headers["dead-connector"] == "plant"


def test_expiration_and_user_id_are_told_but_not_set() -> None:
    letter = bury(expiration="60000", user_id="device-7")
    assert "expiration" not in letter.properties
    assert "user_id" not in letter.properties
    assert letter.properties["headers"]["dead-expiration"] == "60000"
    assert letter.properties["headers"]["dead-user-id"] == "device-7"


@pytest.mark.parametrize(
    "name", ["CC", "BCC", "x-death", "x-delivery-count", "x-first-death-queue", "x-last-death-reason"]
)
def test_headers_that_route_or_belong_to_the_broker_are_dropped(name: str) -> None:
    headers = bury(headers={name: ["elsewhere"], "site": "a"}).properties["headers"]
    assert name not in headers
    assert headers["site"] == "a"


def test_a_second_death_keeps_the_first_origin_and_the_count_of_replays() -> None:
    old = {
        "dead-exchange": "first",
        "dead-routing-key": "a.b",
        "dead-replays": 2,
        "dead-code": "old",
        "dead-text": "old",
    }
    headers = bury(headers=old).properties["headers"]
    assert headers["dead-exchange"] == "first"
    assert headers["dead-routing-key"] == "a.b"
    assert headers["dead-replays"] == 2
    assert headers["dead-code"] == "22001"


def test_all_headers_together_stay_under_their_limit_and_what_is_cut_is_named() -> None:
    long = {"big": "ü" * 200_000, "small": "x"} | {f"h{n}": "y" * 500 for n in range(100)}
    headers = bury(Failure(Kind.REJECT, "c", "t" * 50_000, "p", "d" * 50_000), headers=long).properties["headers"]
    assert sum(_size(name, value) for name, value in headers.items()) < MAX_HEADER_BYTES
    assert headers["small"] == "x"
    assert headers["dead-headers-cut"].startswith("big")
    assert "big" not in headers


def test_text_with_a_lone_surrogate_can_be_sent() -> None:
    text = bury(Failure(Kind.REJECT, "not-decodable", "bad \ud800 here")).properties["headers"]["dead-text"]
    assert text.encode("utf-8") == b"bad ? here"


def test_dead_letters_of_one_cause_share_a_fingerprint() -> None:
    other = Failure(
        Kind.REJECT, "22001", "other text", "write[0]", "write[0].values.device <- device.name: 300 characters"
    )
    elsewhere = Failure(Kind.REJECT, "22001", "value too long", "write[0]", "write[0].values.site <- site: too long")
    assert fingerprint("reject", TOO_LONG) == fingerprint("reject", other)
    assert fingerprint("reject", TOO_LONG) != fingerprint("reject", elsewhere)
    assert fingerprint("reject", TOO_LONG) != fingerprint("unknown", TOO_LONG)


def test_what_grew_while_it_was_decoded_fits_again() -> None:
    letter = bury(message_id="\\xff" * 255, app_id="é" * 200, headers={"\\xff" * 100: 1, "site": "a"})
    assert len(letter.properties["message_id"]) == 255
    assert letter.properties["app_id"] == "é" * 127
    assert letter.properties["headers"]["site"] == "a"
    assert "\\xff" in letter.properties["headers"]["dead-headers-cut"]


def test_a_delivery_whose_properties_cannot_be_read_still_says_why_it_died() -> None:
    bag: Any = BasicProperties(message_id="m-1", expiration="60000", headers={"site": "a"})
    delivery = Delivery(5, 1, "readings", "devices", "reading.7", False, bag, b"body", 0.0)
    bare = without_properties(delivery)
    letter = dead_letter(bare, Dead(TOO_LONG), settings=DeadLetterSettings(), connector="plant", now=datetime.now(UTC))
    assert letter.body == b"body"
    assert set(letter.properties) == {"headers"}
    assert letter.properties["headers"]["dead-code"] == "22001"
    assert all(name.startswith("dead-") for name in letter.properties["headers"])
    assert delivery.properties.message_id == "m-1"


def test_what_travels_and_what_a_header_says_instead_are_amqp_properties() -> None:
    assert {*PROPERTIES, *AS_HEADERS} == set(PROPERTY_NAMES) - {"headers", "delivery_mode", "cluster_id"}
