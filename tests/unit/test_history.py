"""What the status page draws: timelines of figures, and the bars that come of them."""

import pytest

from connectorlib.monitoring.history import HEIGHT, LEAST, MINUTES, Bar, FlowReading, History

NOW = 7200.0
RIGHT = MINUTES - 1


def seen(
    written: int = 0, *, dead: int = 0, waiting: int | None = 0, paused: bool = False, ms: float = 0
) -> FlowReading:
    return FlowReading("readings", written, dead, written // 10, written // 10 * ms / 1000, waiting, paused)


def drawn(*timeline: tuple[float, FlowReading], at: float = NOW):
    history = History()
    for now, reading in timeline:
        history.add([reading], now)
    (flow,) = history.drawings(at)
    return {each.title: each for each in flow.drawings}, flow.pauses


def test_counts_are_those_of_each_minute_and_the_newest_is_on_the_right():
    steps = [(NOW - 120, seen(100)), (NOW - 70, seen(160)), (NOW - 60, seen(400)), (NOW, seen(520))]
    drawings, _ = drawn(*steps)
    written = drawings["written per minute"]
    assert written.bars == [
        Bar(RIGHT - 2, round(60 / 240 * HEIGHT, 1)),
        Bar(RIGHT - 1, HEIGHT),
        Bar(RIGHT, round(120 / 240 * HEIGHT, 1)),
    ]
    assert (written.highest, written.latest) == (240, 120)


def test_what_was_counted_before_the_first_look_is_in_no_minute():
    drawings, _ = drawn((NOW, seen(1_000_000, dead=7)))
    assert drawings["written per minute"].bars == drawings["dead-lettered per minute"].bars == []


def test_what_is_small_beside_something_large_is_visible_and_nothing_is_not():
    drawings, _ = drawn(
        (NOW - 120, seen()), (NOW - 119, seen(1_000_000)), (NOW - 60, seen(1_000_001)), (NOW, seen(1_000_001))
    )
    assert drawings["written per minute"].bars == [Bar(RIGHT - 2, HEIGHT), Bar(RIGHT - 1, LEAST)]


def test_a_minute_without_a_batch_has_no_duration_and_an_unknown_queue_no_length():
    drawings, _ = drawn(
        (NOW - 60, seen(100, ms=20)), (NOW - 59, seen(200, ms=20)), (NOW, seen(200, ms=20, waiting=None))
    )
    assert drawings["milliseconds per batch"].bars == [Bar(RIGHT - 1, HEIGHT)]
    assert drawings["milliseconds per batch"].highest == pytest.approx(20)
    assert drawings["milliseconds per batch"].latest is None
    assert drawings["waiting in the queue"].latest is None


def test_pauses_are_joined_and_one_look_within_a_minute_is_enough():
    steps = [
        (NOW - 300, seen(paused=True)),
        (NOW - 290, seen()),
        (NOW - 240, seen(paused=True)),
        (NOW - 60, seen(paused=True)),
        (NOW, seen()),
    ]
    assert drawn(*steps)[1] == [(RIGHT - 5, 2), (RIGHT - 1, 1)]


def test_what_is_older_than_the_last_hours_is_gone_and_takes_no_memory():
    history = History()
    for minute in range(3 * MINUTES):
        history.add([seen(minute, paused=True)], minute * 60.0)
    (flow,) = history.drawings(3 * MINUTES * 60.0 + 59)
    assert [bar.x for bar in flow.drawings[0].bars] == list(range(RIGHT))
    assert flow.pauses == [(0, RIGHT)]
    assert len(history._minutes["readings"]) == MINUTES
