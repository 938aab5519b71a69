"""What an alarm's record keeps: everything, in the bounds of its fields; what others wrote into it is not believed."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies

from sfconnector.alarms import alarm_record
from sfconnector.alarms.alarm import ID_BYTES, MOST_IDS, Alarm, State, Wrote
from sfconnector.alarms.alarm_record import FIELDS, MEMORY, MEMORY_LENGTH, RecordCodec, read_time, written_time

CODEC = RecordCodec(("info", "minor", "major"))
#: To the millisecond, as Salesforce keeps them.
TIMES = strategies.integers(0, 4_102_444_800_000).map(lambda ms: ms / 1000)
TEXTS = strategies.text(strategies.characters(exclude_categories=["Cs"]), max_size=300)
WROTE = strategies.builds(
    Wrote,
    TEXTS.map(lambda text: text[:255]),
    TEXTS.map(lambda text: text[:255]),
    strategies.none() | TEXTS.map(lambda text: text[:255]),
    strategies.integers(-1, 2),
)
ALARMS = strategies.builds(
    Alarm,
    state=strategies.sampled_from(State),
    number=strategies.integers(0, 10**9),
    case_id=strategies.just("500000000000001AAA"),
    count=strategies.integers(0, 10**9),
    first=TIMES,
    last=TIMES,
    severity=strategies.integers(-1, 2),
    ids=strategies.lists(strategies.binary(min_size=ID_BYTES, max_size=ID_BYTES), max_size=MOST_IDS).map(b"".join),
    raised=TIMES,
    cleared=TIMES,
    flips=strategies.lists(TIMES, max_size=20).map(tuple),
    firing=strategies.booleans(),
    due=TIMES,
    wanted=strategies.booleans(),
    unseen=strategies.integers(0, 10**6),
    unseen_first=TIMES,
    wrote=strategies.none() | WROTE,
    comments=strategies.integers(0, 99),
    commented=TIMES,
    commented_count=strategies.integers(0, 10**9),
    noted=strategies.frozensets(strategies.sampled_from(["cleared", "flapping"])),
    stale=strategies.booleans(),
)


@given(ALARMS)
def test_what_is_written_is_read_again(alarm: Alarm) -> None:
    record = json.loads(json.dumps(CODEC.fields(alarm)))
    assert CODEC.alarm({**record, "Case__c": alarm.case_id}) == alarm


def test_the_fields_are_those_of_the_object() -> None:
    assert {*CODEC.fields(Alarm()), alarm_record.CASE} == set(FIELDS)


def test_the_longest_memory_fits_into_its_field() -> None:
    longest = Alarm(
        ids=b"\xff" * ID_BYTES * MOST_IDS,
        raised=4_102_444_800.123,
        cleared=4_102_444_800.123,
        flips=(4_102_444_800.123,) * 50,
        wrote=Wrote("ü" * 999, "o" * 999, "s" * 999, 99),
        commented=4_102_444_800.123,
        noted=frozenset({"repeated", "reopened", "cleared", "flapping", "stale"}),
    )
    assert len(CODEC.fields(longest)[MEMORY]) < MEMORY_LENGTH


@pytest.mark.parametrize(
    "memory",
    [
        *(None, "", "{", "[]", "null", '"text"', "{}", '{"ids":"*"}', '{"ids":"AAAA","raise":"x"}', "[" * 100_000),
        CODEC.fields(Alarm())[MEMORY].replace('"ids":""', '"ids":"AAAA"'),  # half an id
    ],
)
def test_a_memory_that_is_not_ours_is_none(memory: Any) -> None:
    record = {**CODEC.fields(Alarm(State.ACTIVE, number=3, count=7)), MEMORY: memory}
    alarm = CODEC.alarm(record)
    assert (alarm.state, alarm.number, alarm.count) == (State.ACTIVE, 3, 7)
    assert alarm.ids == b""


def test_a_record_with_the_key_only_is_an_alarm_that_nothing_has_happened_to() -> None:
    assert CODEC.alarm({"Key__c": "a", **dict.fromkeys(FIELDS)}) == Alarm()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-30T10:00:00.000+0000", 1_796_032_800.0),
        ("2026-11-30T10:00:00.5Z", 1_796_032_800.5),
        ("2026-11-30T12:00:00+02:00", 1_796_032_800.0),
        (None, 0.0),
        ("", 0.0),
        ("soon", 0.0),
    ],
)
def test_times_of_salesforce(text: Any, seconds: float) -> None:
    assert read_time(text) == seconds


def test_a_time_is_written_to_the_millisecond() -> None:
    assert written_time(1_796_032_800.1239) == "2026-11-30T10:00:00.123Z"
    assert written_time(0.0) is None
