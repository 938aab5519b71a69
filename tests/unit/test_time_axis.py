"""When dead letters died, as bars: buckets, colours, labels, and what a link to one selects."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from werkzeug.datastructures import MultiDict

from connectorlib.dataclass import replace
from deadletterqueue.web.snapshot import Row, Snapshot, View, identity
from deadletterqueue.web.time_axis import COLOURS, HEIGHT, LEAST, MOST, colours, step_of, time_axis
from deadletterqueue.web.visit import address, view_of
from tests.services.deadletters import DIED, dead, letter_of

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def died(*after, code="22001"):
    """Return letters of one cause that died so long after 03:00."""
    start = DIED.replace(minute=0, second=0)
    return [letter_of(dead(code=code, time=start + each)) for each in after]


def clock(time: datetime) -> str:
    return f"{time:%d %H:%M:%S}"


WEEK = 604800


@pytest.mark.parametrize(
    ("seconds", "step"),
    [
        *((0.5, 1), (MOST, 1), (MOST + 1, 2), (3600, 120), (6 * 3600, 600), (86400, 1800), (7 * 86400, 14400)),
        *((30 * 86400, 86400), (WEEK * MOST, WEEK), (WEEK * MOST + 1, 2 * WEEK), (WEEK * MOST * 100, WEEK * 100)),
    ],
)
def test_a_bucket_is_the_shortest_that_gives_few_enough(seconds, step):
    assert step_of(seconds) == step


@pytest.mark.parametrize(
    ("offset", "first"),
    [(0, "24 00:00:00"), (3600, "24 00:00:00"), (5 * 3600 + 1800, "23 23:30:00"), (-8 * 3600, "24 00:00:00")],
)
def test_buckets_begin_at_round_times_of_the_local_zone(offset, first):
    start = datetime(2026, 11, 24, 0, 10, tzinfo=UTC)
    axis = time_axis(died(HOUR), {}, start, start + 40 * HOUR, offset)
    assert axis is not None
    assert (axis.step, clock(axis.start)) == (3600, first)


def test_a_fraction_of_a_second_makes_no_bar_longer():
    end = DIED + timedelta(seconds=0.5)
    axis = time_axis(died(), {}, end - DAY, end)
    assert axis is not None
    assert axis.step == 1800


@pytest.mark.parametrize(("hours", "step"), [(1, 120), (6, 600), (24, 1800), (7 * 24, 14400), (30 * 24, 86400)])
def test_the_fraction_of_a_second_makes_no_bar_longer(hours, step):
    now = DIED.replace(microsecond=500_000)
    axis = time_axis([], {}, now - hours * HOUR, now)
    assert axis is not None
    assert axis.step == step
    assert axis.start <= now - hours * HOUR
    assert now <= axis.end


BUCKETS = {
    "one": ([timedelta()], None, ["24 03:00:00 1"], 0),
    "at the same time": ([timedelta(), timedelta()], None, ["24 03:00:00 2"], 0),
    "the first and the last of a minute": (
        [timedelta(), timedelta(seconds=1), timedelta(seconds=60)],
        None,
        ["24 03:00:00 2", "24 03:01:00 1"],
        0,
    ),
    "what is at the end belongs to the next": (
        [timedelta(), timedelta(seconds=30), HOUR],
        (timedelta(), HOUR),
        ["24 03:00:00 2"],
        1,
    ),
    "before and after": ([-HOUR, timedelta(minutes=59), 2 * HOUR], (timedelta(), HOUR), ["24 03:58:00 1"], 2),
    "only before": ([-HOUR], (timedelta(), HOUR), [], 1),
    "none": ([], (timedelta(), HOUR), [], 0),
}


@pytest.mark.parametrize(("times", "period", "expected", "left_out"), BUCKETS.values(), ids=BUCKETS)
def test_each_letter_is_in_the_bucket_of_its_time(times, period, expected, left_out):
    start = DIED.replace(minute=0, second=0)
    axis = time_axis(died(*times), {}, *((start + each for each in period) if period else ()))
    assert axis is not None
    assert [f"{clock(each.start)} {each.count}" for each in axis.buckets] == expected
    assert all(each.end - each.start == timedelta(seconds=axis.step) for each in axis.buckets)
    assert (axis.total, axis.left_out) == (len(times) - left_out, left_out)


def test_a_letter_without_a_time_is_counted_as_left_out():
    axis = time_axis([*died(HOUR), replace(died(HOUR)[0], time=None)], {})
    assert axis is not None
    assert (axis.total, axis.left_out) == (1, 1)


@pytest.mark.parametrize(
    ("letters", "start", "end"),
    [([], None, None), ([], DIED, None), ([], DIED, DIED), ([], DIED, DIED - DAY), (died(HOUR), DIED + DAY, DIED)],
)
def test_without_a_period_there_is_no_drawing(letters, start, end):
    assert time_axis(letters, {}, start, end) is None


@pytest.mark.parametrize("offset", [0, 14 * 3600, -12 * 3600])
def test_a_period_up_to_the_ends_of_the_calendar_is_drawn(offset):
    edges = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
    letters = [replace(died(HOUR)[0], time=each) for each in edges]
    for start, end in ((None, None), edges):
        axis = time_axis(letters, {}, start, end, offset)
        assert axis is not None
        assert len(axis.labels) == 5
        assert axis.total + axis.left_out == 2


@pytest.mark.parametrize(
    ("length", "forms"),
    [
        (timedelta(seconds=20), "%H:%M:%S"),
        (HOUR, "%H:%M"),
        (DAY, "%H:%M"),
        (3 * DAY, "%m-%d %H:%M"),
        (60 * DAY, "%Y-%m-%d"),
    ],
)
def test_labels_are_as_exact_as_the_bars(length, forms):
    start = DIED.replace(hour=0, minute=0, second=0)
    axis = time_axis([], {}, start, start + length)
    assert axis is not None
    assert axis.labels[0] == f"{axis.start.astimezone():{forms}}"
    assert axis.labels[-1] == f"{axis.end.astimezone():{forms}}"


def test_the_most_frequent_causes_have_colours_and_the_others_share_one():
    letters = [each for at in range(COLOURS + 2) for each in died(*[HOUR] * (9 - at), code=f"code-{at}")]
    colour_of = colours(letters)
    by_code = {letter.code: colour_of.get(letter.fingerprint) for letter in letters}
    assert list(by_code.values()) == [*range(COLOURS), None, None]
    axis = time_axis(letters, colour_of)
    assert axis is not None
    (bucket,) = axis.buckets
    counts = {layer.colour: layer.count for layer in bucket.layers}
    assert counts == {**{at: 9 - at for at in range(COLOURS)}, COLOURS: 3 + 2}


def test_a_single_letter_is_visible_beside_thousands_and_nothing_exceeds_the_drawing():
    many, one = died(*[HOUR] * 5000), died(HOUR, 3 * HOUR, code="23503")
    axis = time_axis([*many, *one], colours([*many, *one]))
    assert axis is not None
    assert axis.highest == 5001
    for bucket in axis.buckets:
        below = float(HEIGHT)
        for layer in bucket.layers:
            assert layer.height >= LEAST
            assert layer.y + layer.height == pytest.approx(below, abs=0.02)
            below = layer.y
        assert below >= -0.02


def test_a_link_to_a_bar_selects_what_the_bar_counts():
    letters = [*died(timedelta(), timedelta(minutes=10), HOUR, 40 * HOUR), replace(died(HOUR)[0], time=None)]
    snapshot = Snapshot([Row(at, identity(each), 0, each) for at, each in enumerate(letters, 1)], 5)
    axis = time_axis(letters, {})
    assert axis is not None
    for bucket in axis.buckets:
        link = address("/", View(since="1h", start=bucket.start, end=bucket.end))
        view = view_of(MultiDict(parse_qs(urlsplit(link).query)))
        assert (view.start, view.end) == (bucket.start, bucket.end)
        assert len(view.rows(snapshot)) == bucket.count


@pytest.mark.parametrize(
    ("link", "count"),
    [
        ("from=2026-11-24T03:00:00Z&to=2026-11-24T03:02:11Z", 0),
        ("from=2026-11-24T03:02:11Z&to=2026-11-24T03:02:12Z", 1),
        ("from=2026-11-24T04:02:11%2B01:00", 1),
        ("to=2026-11-24T03:02:11Z", 0),
        ("to=2026-11-25", 1),
        ("from=2026-11-25&to=2026-11-23", 0),
        ("from=yesterday&to=0001-01-01T00:00:00%2B14:00", 1),
        ("from=&to=", 1),
    ],
)
def test_the_times_of_a_link_are_read_and_what_is_none_selects_all(link, count):
    letter = letter_of(dead())
    snapshot = Snapshot([Row(1, identity(letter), 0, letter)], 1)
    assert len(view_of(MultiDict(parse_qs(link))).rows(snapshot)) == count
