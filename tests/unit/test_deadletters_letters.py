"""What a dead letter says of itself: one of a connector, one of the broker, one that somebody put there by hand."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from connectorlib.errors import Failure, Kind
from connectorlib.messages import Dead, Delivery, Properties
from connectorlib.pipeline.dead_letter import dead_letter
from connectorlib.shared_settings import DeadLetterSettings
from deadletterqueue.filter import chooser
from deadletterqueue.letter import Letter, letter
from deadletterqueue.show_command import facts
from deadletterqueue.terminal import local, span

DIED = datetime(2026, 11, 24, 3, 2, 11, tzinfo=UTC)


def lying(headers: Any, body: bytes = b"{}", **properties: Any) -> Letter:
    """Return the letter of a message in the dead-letter queue."""
    found = Properties(**properties, headers=headers)
    return letter(Delivery(1, 1, "dead-letter", "dead-letter", "readings", False, found, body, 0.0))


def died(reason: str, queue: str = "readings", **more: Any) -> dict[str, Any]:
    """Return one record of `x-death`."""
    record = {
        "count": 1,
        "reason": reason,
        "queue": queue,
        "time": DIED,
        "exchange": "devices",
        "routing-keys": ["reading.p-1"],
    }
    return record | {name.replace("_", "-"): value for name, value in more.items()}


def test_what_a_connector_wrote_is_read_back() -> None:
    dying = Delivery(1, 1, "readings", "devices", "reading.p-1", False, Properties(message_id="m-1"), b"{}", 0.0)
    failure = Failure(Kind.REJECT, "22001", "value too long", "write[0]", "write[0].values.device: too long")
    settings = DeadLetterSettings()
    made = dead_letter(dying, Dead(failure, "retries-exhausted", 5), settings=settings, connector="plant", now=DIED)

    found = lying(**made.properties)

    assert found.as_json() == {
        "reason": "retries-exhausted",
        "code": "22001",
        "text": "value too long",
        "detail": "write[0].values.device: too long",
        "time": "2026-11-24T03:02:11.000+00:00",
        "queue": "readings",
        "exchange": "devices",
        "routing_key": "reading.p-1",
        "connector": "plant",
        "fingerprint": made.properties["headers"]["dead-fingerprint"],
        "replays": 0,
        "attempts": 5,
        "by_broker": False,
        "message_id": "m-1",
        "bytes": 2,
    }


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("rejected", "a consumer rejected it: the connectors do so only with a body that is over limits.body_bytes"),
        ("expired", "its time to live ran out"),
        ("maxlen", "the queue was full"),
        ("delivery_limit", "it was requeued more often than the queue's delivery limit allows"),
    ],
)
def test_a_death_at_the_broker_is_told_in_words(reason: str, text: str) -> None:
    found = lying({"x-death": [died(reason)], "x-first-death-queue": "readings", "x-first-death-reason": reason})
    assert (found.by_broker, found.reason, found.text, found.queue) == (True, reason, text, "readings")
    assert (found.exchange, found.routing_key, found.time) == ("devices", "reading.p-1", DIED)


def test_deaths_of_one_cause_at_the_broker_are_one_group_and_others_are_not() -> None:
    of_one = {lying({"x-death": [died("expired", count=count)]}).fingerprint for count in (1, 2)}
    others = {
        lying({"x-death": [died("expired", "others")]}).fingerprint,
        lying({"x-death": [died("rejected")]}).fingerprint,
    }
    assert len(of_one) == 1
    assert len(others | of_one) == 3


def test_the_latest_death_says_why_and_the_first_one_where_it_came_from() -> None:
    last = died("rejected", "retry", exchange="retries", routing_keys=["later"])
    found = lying({"x-death": [last, died("expired")]})
    assert (found.reason, found.queue, found.exchange, found.routing_key) == (
        "rejected",
        "retry",
        "devices",
        "reading.p-1",
    )


def test_the_first_death_is_found_though_its_record_has_moved_to_the_front() -> None:
    again = died("expired", "readings", count=2)
    other = died("rejected", "retry", exchange="retries", routing_keys=["later"])
    first = {"x-first-death-queue": "readings", "x-first-death-reason": "expired"}
    assert lying({"x-death": [again, other], **first}).exchange == "devices"


def test_a_replayed_message_that_died_at_the_broker_keeps_its_first_origin_and_its_count() -> None:
    death = died("delivery_limit", exchange="", routing_keys=["readings"])
    kept = {"dead-replays": 2, "dead-exchange": "devices", "dead-routing-key": "reading.p-9"}
    found = lying({"x-death": [death], **kept})
    assert (found.exchange, found.routing_key, found.replays) == ("devices", "reading.p-9", 2)


def test_a_letter_of_a_connector_that_expired_once_more_is_still_its() -> None:
    passed_on = died("expired", "dead-letter", exchange="dead-letter", routing_keys=["readings"])
    found = lying({"dead-reason": "reject", "dead-queue": "readings", "x-death": [passed_on]})
    assert (found.by_broker, found.reason, found.queue) == (False, "reject", "readings")


@pytest.mark.parametrize(("said", "keys"), [("readings", ["readings"]), ("payments", ["reading.p-1"])])
def test_what_was_said_of_an_earlier_life_does_not_count_when_it_died_at_the_broker_since(
    said: str, keys: list[str]
) -> None:
    """A shovel moves a dead letter back as it is, and a publisher can write what it likes."""
    death = died("delivery_limit", exchange="", routing_keys=keys)
    found = lying({"dead-reason": "reject", "dead-code": "22001", "dead-queue": said, "x-death": [death]})
    assert (found.by_broker, found.reason, found.code, found.queue) == (True, "delivery_limit", "", "readings")


def test_a_message_that_says_nothing_is_a_letter_all_the_same() -> None:
    found = lying(None)
    assert (found.reason, found.queue, found.time, found.by_broker, found.message_id) == ("", "", None, False, "")


@pytest.mark.parametrize(
    "headers",
    [
        {"x-death": "no list"},
        {"x-death": []},
        {"x-death": [None, 7, b"x"]},
        {"x-death": [{}]},
        {"x-death": [{"routing-keys": [], "time": "late", "count": "many"}]},
        {"x-death": [{"routing-keys": [7], "queue": b"\xff"}]},
        {"dead-reason": "reject", "dead-replays": True, "dead-attempts": "5", "dead-time": "yesterday"},
        {"dead-reason": "reject", "dead-queue": {"a": 1}, "dead-time": 7, "dead-text": ["x"]},
        {"dead-reason": b"\xff", "x-death": [{"reason": 1}]},
        {"unreadable-headers": "nested deeper than 32 levels"},
    ],
)
def test_no_header_is_trusted(headers: dict[str, Any]) -> None:
    found = lying(headers)
    assert all(isinstance(value, str | int | None) for value in found.as_json().values())
    assert (found.replays, found.attempts, found.time) == (0, 0, None)


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-24T03:02:11.000+00:00",
        "2026-11-24T03:02:11",
        "2026-11-24T04:02:11+01:00",
        datetime(2026, 11, 24, 3, 2, 11),  # AMQP timestamps have no zone
        datetime(2026, 11, 24, 4, 2, 11, tzinfo=timezone(timedelta(hours=1))),
    ],
)
def test_a_time_is_utc_however_it_is_written(written: object) -> None:
    assert lying({"dead-reason": "reject", "dead-time": written}).time == DIED


INSTANTS = [
    "0001-01-01T00:00:00+23:59",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59-23:59",
    "9999-12-31T23:59:59Z",
    datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=UTC),
    "2026-02-30T00:00:00Z",
    "now",
    17,
    ["2026-11-24"],
]


@pytest.fixture(params=["Pacific/Kiritimati", "UTC", "Pacific/Niue"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize("instant", INSTANTS)
@pytest.mark.parametrize("by_broker", [False, True])
def test_no_time_of_a_stranger_keeps_a_letter_from_being_shown(instant: object, by_broker: bool) -> None:
    headers = {"x-death": [died("expired", time=instant)]} if by_broker else {"dead-reason": "x", "dead-time": instant}
    found = lying(headers)
    assert found.as_json()["time"] in (None, found.time and found.time.isoformat(timespec="milliseconds"))
    assert bool(span(found.time, DIED))
    assert bool(local(found.time)) == (found.time is not None)
    assert not chooser(since=DIED, until=DIED)(found)
    assert facts(found)["reason"]
