"""From a message to the event of its alarm, as a table."""

from datetime import UTC, datetime
from typing import Any

import pytest

from connectorlib.errors import Failed
from connectorlib.expressions import Scope
from connectorlib.messages import Delivery, Properties
from sfconnector.alarms.alarm import AlarmRules, Effect
from sfconnector.alarms.alarm_event import MOST_KEY, EventReader, Read, key_prefix, stored_key
from sfconnector.settings import AlarmSettings, Severity, Silence

NOW = datetime(2026, 11, 30, 10, tzinfo=UTC).timestamp()


def read(
    record: Any,
    *,
    redelivered: bool = False,
    headers: Any = None,
    id: str | None = "m-1",
    index: int = 0,
    **settings: Any,
) -> Read:
    given: dict[str, Any] = {"key": "{device}", "at": "at", "clear_when": {"state": "ok"}} | settings
    properties = Properties(headers=headers or {}, message_id=id)
    delivery = Delivery(7, 3, "q", "", "q", redelivered, properties, b"", 0.0)
    reader = EventReader(AlarmSettings(rules=AlarmRules(), **given), "hvac")
    return reader.read(record, Scope(delivery, index=index), NOW)


@pytest.mark.parametrize(
    ("record", "clears", "key"),
    [
        ({"device": "p-1"}, False, "hvac:p-1"),
        ({"device": " p-1 ", "state": "ok"}, True, "hvac:p-1"),
        ({"device": 17, "state": "bad"}, False, "hvac:17"),
    ],
)
def test_an_event(record: Any, clears: bool, key: str) -> None:
    found = read(record)
    assert (found.event.clears, found.key, found.event.id) == (clears, key, "m-1")


@pytest.mark.parametrize("record", [{}, {"device": ""}, {"device": None}, {"device": " "}])
def test_a_message_without_a_key_is_refused(record: Any) -> None:
    with pytest.raises(Failed, match="no-key"):
        read(record)


@pytest.mark.parametrize("key", [{"path": "device"}, "device"])
def test_a_key_that_is_no_text_is_refused(key: Any) -> None:
    with pytest.raises(Failed, match="bad-value"):
        read({"device": ["p-1"]}, key=key)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("2026-11-30T09:59:00Z", -60),
        ("2026-11-30T10:59:00+01:00", -60),
        ("2026-11-30T09:59:00", -60),
        (NOW - 60, -60),
        (int(NOW - 60) * 1000, -60),
        # A clock that is off by more than ten minutes.
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-30T09:49:00Z", 0),
        ("2026-11-30T10:11:00Z", 0),
    ],
)
def test_the_time_of_an_event(given: Any, seconds: float) -> None:
    assert read({"device": "a", "at": given}).event.at == NOW + seconds


def test_the_time_of_the_broker_is_the_measure_where_it_stamps_messages() -> None:
    yesterday = NOW - 86_400
    stamped = {"timestamp_in_ms": int(yesterday * 1000)}
    assert read({"device": "a", "at": yesterday + 60}, headers=stamped).event.at == yesterday + 60
    assert read({"device": "a", "at": 0}, headers=stamped).event.at == yesterday


def test_what_is_replayed_keeps_its_time_unless_it_is_in_the_future() -> None:
    replayed = {"dead-replays": 1}
    assert read({"device": "a", "at": NOW - 86_400}, headers=replayed).event.at == NOW - 86_400
    assert read({"device": "a", "at": NOW + 86_400}, headers=replayed).event.at == NOW


@pytest.mark.parametrize("at", ["soon", [1], True, 1e300])
def test_a_time_that_is_none_is_refused(at: Any) -> None:
    with pytest.raises(Failed, match="bad-value"):
        read({"device": "a", "at": at})


def test_what_was_delivered_before_or_replayed_says_nothing_about_its_order() -> None:
    assert read({"device": "a"}, redelivered=True).event.again
    assert read({"device": "a"}, headers={"dead-replays": 2}).event.again
    assert not read({"device": "a"}).event.again


def test_without_an_id_every_delivery_is_an_event_of_its_own() -> None:
    assert read({"device": "a"}, id=None).event.id != read({"device": "a"}, id=None).event.id


def test_the_records_of_one_message_are_events_of_their_own() -> None:
    assert read({"device": "a"}).event.id != read({"device": "a"}, index=1).event.id


@pytest.mark.parametrize(("severity", "rank"), [("minor", 0), ("major", 1), ("huge", -1), (None, -1)])
def test_the_severity_is_its_position(severity: Any, rank: int) -> None:
    found = read({"device": "a", "level": severity}, severity=Severity("level", ("minor", "major")))
    assert found.event.severity == rank


@pytest.mark.parametrize(
    ("record", "why"),
    [({"site": "hall-3"}, Effect.SILENCED), ({"site": "hall-4"}, None), ({"site": "hall-3", "state": "ok"}, None)],
)
def test_a_raise_is_silenced(record: Any, why: Effect | None) -> None:
    silence = (Silence({"site": "hall-3"}, NOW - 1, NOW + 1),)
    assert read({"device": "a"} | record, silence=silence).event.only_counts is why


@pytest.mark.parametrize(("begin", "end"), [(-9, 0), (1, 9)])
def test_a_silence_has_a_begin_and_an_end(begin: float, end: float) -> None:
    assert read({"device": "a"}, silence=(Silence({}, NOW + begin, NOW + end),)).event.only_counts is None


@pytest.mark.parametrize(("age", "why"), [(3599, None), (3601, Effect.TOO_OLD)])
def test_a_raise_that_waited_too_long_only_counts(age: float, why: Effect | None) -> None:
    assert read({"device": "a", "at": NOW - age}, max_age=3600.0).event.only_counts is why
    stamped = {"timestamp_in_ms": int((NOW - age) * 1000)}
    assert read({"device": "a"}, headers=stamped, max_age=3600.0).event.only_counts is why
    assert read({"device": "a", "at": NOW - age}).event.only_counts is None


@pytest.mark.parametrize("key", ["ü" * 300, "a\0b", "x" * 196, "half \ud800"])
def test_an_odd_key_is_cut_and_stays_unique(key: str) -> None:
    stored = stored_key("hvac", key)
    assert len(stored) <= MOST_KEY
    assert stored.startswith("hvac:")
    assert stored != stored_key("hvac", key + "!")
    assert stored.isprintable()


@pytest.mark.parametrize(
    ("one", "other"), [(("a", "b:x"), ("a:b", "x")), (("a%3Ab", "x"), ("a:b", "x")), (("a", ":b:x"), ("a:", "b:x"))]
)
def test_the_keys_of_two_divisions_never_meet(one: tuple[str, str], other: tuple[str, str]) -> None:
    stored = [stored_key(*each) for each in (one, other)]
    assert stored[0] != stored[1]
    assert not stored[0].startswith(key_prefix(other[0]))
    assert not stored[1].startswith(key_prefix(one[0]))


def test_the_longest_key_that_is_kept() -> None:
    assert stored_key("hvac", "x" * 195) == "hvac:" + "x" * 195
