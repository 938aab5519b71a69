"""Where a dead letter goes back to, and as which message."""

from datetime import UTC, datetime
from typing import Any

import pytest

from deadletterqueue.target import Leave, Route, Target, replayed, target_of
from tests.services.deadletters import dead, delivery, letter_of

BACK = Route()
#: What RabbitMQ writes of a message that died twice: first it expired in `readings`, then `retry` was full.
DEATHS = [
    {
        "reason": "maxlen",
        "queue": "retry",
        "exchange": "again",
        "routing-keys": ["retry"],
        "count": 1,
        "time": datetime(2026, 11, 24, tzinfo=UTC),
    },
    {
        "reason": "expired",
        "queue": "readings",
        "exchange": "devices",
        "routing-keys": ["reading.p-1", "copy"],
        "count": 2,
        "original-expiration": "5000",
        "time": datetime(2026, 11, 23, tzinfo=UTC),
    },
]
BY_BROKER = {
    "x-death": DEATHS,
    "x-first-death-queue": "readings",
    "x-first-death-reason": "expired",
    "x-first-death-exchange": "devices",
    "x-last-death-queue": "retry",
    "x-last-death-reason": "maxlen",
    "x-last-death-exchange": "again",
}


def by_broker(**headers):
    return letter_of((b"{}", {"headers": BY_BROKER | headers}))


@pytest.mark.parametrize(
    ("letter", "route", "target"),
    [
        (letter_of(dead()), BACK, Target("", "readings")),
        (letter_of(dead()), Route(to_queue="mended"), Target("", "mended")),
        (letter_of(dead()), Route(to_exchange="origin"), Target("devices", "reading.p-1")),
        (letter_of(dead()), Route(to_exchange="others"), Target("others", "reading.p-1")),
        (letter_of(dead(exchange="", routing_key="readings")), Route(to_exchange="origin"), Target("", "readings")),
        (by_broker(), BACK, Target("", "retry")),
        (by_broker(), Route(to_exchange="origin"), Target("devices", "reading.p-1")),
        (letter_of((b"{}", {})), Route(to_queue="mended"), Target("", "mended")),
    ],
)
def test_it_goes_to_the_queue_it_died_in_unless_told_otherwise(letter, route, target):
    assert target_of(letter, route, "dead-letter") == target


@pytest.mark.parametrize(
    ("letter", "route", "reason"),
    [
        (letter_of((b"{}", {})), BACK, "does not say in which queue"),
        (letter_of((b"{}", {})), Route(to_exchange="origin"), "does not say where it was first published"),
        (letter_of(dead(queue="dead-letter")), BACK, "would only come back"),
        (letter_of(dead()), Route(to_queue="dead-letter"), "would only come back"),
        (letter_of(dead(headers={"dead-replays": 3})), BACK, "sent back 3 times already"),
        (by_broker(**{"dead-replays": 7}), BACK, "sent back 7 times already"),
    ],
)
def test_it_is_left_where_it_could_not_go_or_would_go_round_in_circles(letter, route, reason):
    left = target_of(letter, route, "dead-letter")
    assert isinstance(left, Leave)
    assert reason in left.reason


@pytest.mark.parametrize(("replays", "most", "goes"), [(0, 1, True), (1, 1, False), (2, 3, True), (99, None, True)])
def test_replays_are_counted_over_all_lives(replays, most, goes):
    letter = letter_of(dead(headers={"dead-replays": replays} if replays else {}))
    target = target_of(letter, Route(max_replays=most), "dead-letter")
    assert isinstance(target, Target) == goes
    message = replayed(letter, Target("", "readings"))
    assert message.properties["headers"]["dead-replays"] == replays + 1


def test_its_own_properties_and_headers_travel_and_why_it_died_stays_behind():
    own: dict[str, Any] = {
        "message_id": "m-1",
        "correlation_id": "c-1",
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "timestamp": 1_700_000_000,
        "priority": 3,
        "reply_to": "answers",
        "type": "reading",
        "app_id": "gateway",
    }
    letter = letter_of(dead(b"body", headers={"division": "north", "trace": {"id": 7}}, **own))
    message = replayed(letter, Target("", "readings"))
    assert (message.exchange, message.routing_key, message.body) == ("", "readings", b"body")
    headers = message.properties.pop("headers")
    assert message.properties == own
    assert headers == {
        "division": "north",
        "trace": {"id": 7},
        "dead-replays": 1,
        "dead-exchange": "devices",
        "dead-routing-key": "reading.p-1",
    }


def test_what_would_harm_on_the_way_stays_behind():
    harmful = {
        "CC": ["elsewhere"],
        "BCC": ["secretly"],
        "x-delivery-count": 9,
        "x-delay": 5000,
        "division": "north",
        **BY_BROKER,
    }
    own = {"expiration": "1000", "user_id": "somebody", "reply_to": "amq.rabbitmq.reply-to.abc", "headers": harmful}
    message = replayed(letter_of((b"{}", own)), Target("", "retry"))
    assert set(message.properties) == {"headers"}
    assert message.properties["headers"] == {
        "division": "north",
        "dead-replays": 1,
        "dead-exchange": "devices",
        "dead-routing-key": "reading.p-1",
    }


def test_a_second_death_keeps_the_first_origin():
    first = replayed(letter_of(dead(message_id="m-1")), Target("", "readings"))
    again = dead(first.body, exchange="", routing_key="readings", **first.properties)
    letter = letter_of(again)
    assert (letter.exchange, letter.routing_key, letter.replays) == ("devices", "reading.p-1", 1)
    assert target_of(letter, Route(to_exchange="origin"), "dead-letter") == Target("devices", "reading.p-1")


def test_what_says_nothing_of_its_origin_claims_none():
    message = replayed(letter_of((b"{}", {"headers": {"a": 1}})), Target("", "mended"))
    assert message.properties["headers"] == {"a": 1, "dead-replays": 1}


def test_a_count_from_outside_cannot_make_a_header_that_amqp_cannot_carry():
    letter = letter_of(dead(headers={"dead-replays": 2**63 - 1}))
    assert replayed(letter, Target("", "readings")).properties["headers"]["dead-replays"] <= 2**31


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Target("", "readings"), "queue 'readings'"),
        (Target("devices", "a.b"), "exchange 'devices', routing key 'a.b'"),
    ],
)
def test_a_target_is_told_in_words(target, words):
    assert str(target) == words


def test_the_delivery_itself_is_not_changed():
    body, properties = dead(headers={"a": 1})
    before = dict(properties["headers"])
    replayed(letter_of((body, properties)), Target("", "readings"))
    assert properties["headers"] == before
    assert delivery().headers == {}
