"""How far a followed table is read, and that no commit is missed, however late it comes."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbconnector.settings import Follow, State
from dbconnector.watermark import (
    EARLIEST,
    Horizon,
    Interval,
    beginning,
    digest,
    floored,
    identity,
    interval,
    lateness,
    message_id,
    moment_of,
    number_of,
    position_of_text,
    resumed,
    text_of_position,
)

NOON = datetime(2026, 1, 31, 12)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


INTERVALS: list[tuple[Any, Horizon, dict[str, Any], Interval]] = [
    (at(10), Horizon(at(12.25)), {}, Interval(at(5), at(12.25))),
    (at(10), Horizon(at(12.25)), {"digits": 0}, Interval(at(5), at(12))),
    (at(10), Horizon(at(12.999)), {"digits": 1}, Interval(at(5), at(12.9))),
    # A horizon that goes back, and one that is held, do not take the watermark back.
    (at(10), Horizon(at(7)), {}, Interval(at(5), at(10))),
    (at(10), Horizon(None, "pg_dump"), {}, Interval(at(5), at(10))),
    (at(10), Horizon(at(12)), {"own_clock": True}, Interval(at(9), at(12))),
    (at(10), Horizon(at(12), exact=False), {"own_clock": True}, Interval(at(5), at(12))),
    (EARLIEST, Horizon(at(12)), {}, Interval(EARLIEST, at(12))),
    (700, Horizon(730), {}, Interval(700, 730)),
    (700, Horizon(None), {}, Interval(700, 700)),
]


@pytest.mark.parametrize(("watermark", "horizon", "more", "expected"), INTERVALS)
def test_a_round_reads_from_the_overlap_to_the_horizon(watermark, horizon, more, expected):
    assert interval(watermark, horizon, overlap_s=5, **more) == expected


FOLLOW = Follow("changed_at", ("id",), State("connector_cursor"), overlap_s=5)
RESUMED: list[tuple[Any, Horizon, str, Any]] = [
    (at(10), Horizon(at(12), latest=at(12)), "", at(10)),
    # The overlap covers a clock that is set back by less.
    (at(10), Horizon(at(5), latest=at(5)), "", at(10)),
    (at(10), Horizon(at(4), latest=at(4)), "", at(4)),
    (at(10), Horizon(at(8.5), latest=at(8.5)), "database", at(8.5)),
    (at(10), Horizon(at(8.5), exact=False, latest=at(8.5)), "database", at(10)),
    # A transaction that has been open for long is no clock that is set back.
    (at(10), Horizon(at(1), "session 7", latest=at(12)), "", at(10)),
    (at(10), Horizon(at(1), "session 7", latest=at(4)), "", at(1)),
    (at(10), Horizon(None, "pg_dump"), "", at(10)),
    (None, Horizon(at(4), latest=at(4)), "", None),
    # The numbers of a database that was restored; those of a standby are not known.
    (700, Horizon(690, latest=710), "", 700),
    (700, Horizon(80, latest=90), "", 80),
    (700, Horizon(690), "", 700),
]


@pytest.mark.parametrize(("watermark", "horizon", "clock", "expected"), RESUMED)
def test_it_goes_on_from_the_horizon_when_what_is_written_now_lies_below_what_is_read(
    watermark, horizon, clock, expected
):
    assert resumed(replace(FOLLOW, clock=clock), watermark, horizon) == expected


BEGINNINGS: list[tuple[str, Horizon, Interval | None]] = [
    ("beginning", Horizon(at(12.5)), Interval(None, at(12))),
    ("now", Horizon(at(12.5)), Interval(at(12), at(12))),
    ("2026-01-31T12:00:03Z", Horizon(at(12.5)), Interval(at(3), at(12))),
    ("2026-01-31T13:00:03+01:00", Horizon(at(12.5)), Interval(at(3), at(12))),
    ("2027-01-01", Horizon(at(12)), Interval(at(12), at(12))),
    ("690", Horizon(700), Interval(690, 700)),
    ("beginning", Horizon(None, "pg_dump"), None),
]


@pytest.mark.parametrize(("start", "horizon", "expected"), BEGINNINGS)
def test_the_first_round_begins_where_the_configuration_says(start, horizon, expected):
    assert beginning(start, horizon, digits=0) == expected


@pytest.mark.parametrize(("watermark", "horizon"), [(at(1), Horizon(700)), (700, Horizon(at(1)))])
def test_what_was_read_of_another_column_is_refused(watermark, horizon):
    with pytest.raises(ValueError, match="column of another type"):
        interval(watermark, horizon, overlap_s=5)
    with pytest.raises(ValueError, match="column of another type"):
        beginning("690" if isinstance(watermark, int) else "2026-01-31", horizon)


@pytest.mark.parametrize("text", ["", "yesterday", "-3", "1.5"])
def test_a_start_that_is_neither_a_moment_nor_a_number_is_refused(text):
    with pytest.raises(ValueError, match="neither a moment"):
        position_of_text(text)


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (datetime(2026, 1, 31, 13, tzinfo=UTC), datetime(2026, 1, 31, 13)),
        (datetime(2026, 1, 31, 13), datetime(2026, 1, 31, 13)),
        ("2026-01-31 13:00:00.5", datetime(2026, 1, 31, 13, 0, 0, 500_000)),
        ("2026-01-31T13:00:00+02:00", datetime(2026, 1, 31, 11)),
        ("-infinity", EARLIEST),
        ("0000-00-00 00:00:00", EARLIEST),
        (None, EARLIEST),
    ],
)
def test_a_value_of_the_column_is_a_moment(value, moment):
    assert moment_of(value) == moment


@pytest.mark.parametrize(("value", "number"), [("728", 728), (728, 728), (b"\0\0\0\0\0\0\x02\xd8", 728)])
def test_a_value_of_the_column_is_a_number(value, number):
    assert number_of(value) == number


@given(st.one_of(st.datetimes(), st.integers(0, 2**64)), st.one_of(st.datetimes(), st.integers(0, 2**64)))
def test_a_position_comes_back_from_its_text_which_sorts_like_it(one, other):
    assert position_of_text(text_of_position(one)) == one
    if type(one) is type(other):
        assert (text_of_position(one) < text_of_position(other)) == (one < other)


@given(st.datetimes(), st.integers(0, 6))
def test_the_floor_is_the_latest_that_the_column_holds(moment, digits):
    found = floored(moment, digits)
    assert isinstance(found, datetime)
    assert timedelta(0) <= moment - found < timedelta(seconds=10**-digits)
    assert floored(found, digits) == found


def test_a_row_is_late_when_the_watermark_has_passed_it():
    assert lateness(at(3), at(5)) == 2
    assert lateness(at(5), at(5)) is None
    assert lateness(at(5), None) is None
    assert lateness(3, 5) is None


def test_a_version_of_a_row_has_one_id_which_fits_into_a_message():
    assert message_id("readings", identity((7, at(1.5)))) == "readings:7:2026-01-31T12:00:01.500000"
    assert len(message_id("r", "x" * 300)) == 64
    assert digest(identity((1, "a"))) != digest(identity((1, "A")))


# --- against a model of late commits ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """A row that a transaction writes. Times are in tenths of a second."""

    begun: int
    #: By how much its time is earlier than the beginning of its transaction: an application's clock.
    early: int
    lasts: int

    @property
    def time(self) -> datetime:
        return at((self.begun - self.early) / 10)

    @property
    def committed(self) -> int:
        return self.begun + self.lasts


@dataclass
class Model:
    """A database with transactions, and a follower of its table that may crash."""

    changes: list[Change]
    overlap_s: float
    digits: int
    watermark: Any = None
    seen: set[int] = field(default_factory=set)
    published: list[int] = field(default_factory=list)

    def horizon(self, now: int) -> Horizon:
        open = [each.begun for each in self.changes if each.begun <= now < each.committed]
        return Horizon(at(min([now, *open]) / 10))

    def round(self, now: int, crashes_after: int) -> None:
        """Read what there is; after so many rows die, between the confirms and the watermark."""
        horizon = self.horizon(now)
        if self.watermark is None:
            found = beginning("beginning", horizon, self.digits)
        else:
            found = interval(self.watermark, horizon, overlap_s=self.overlap_s, digits=self.digits)
        assert found is not None
        rows = [
            number
            for number, each in sorted(enumerate(self.changes), key=lambda pair: (self.stored(pair[1]), pair[0]))
            if each.committed <= now and self.inside(self.stored(each), found) and number not in self.seen
        ]
        self.published += rows[:crashes_after]
        if crashes_after > len(rows):
            self.seen |= set(rows)
            self.watermark = found.high

    def stored(self, change: Change) -> Any:
        return floored(change.time, self.digits)

    @staticmethod
    def inside(position: Any, found: Interval) -> bool:
        return (found.low is None or found.low <= position) and position < found.high


@given(
    st.lists(st.builds(Change, st.integers(0, 200), st.integers(0, 20), st.integers(0, 80)), max_size=30),
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 50)), min_size=1, max_size=20),
    st.integers(0, 3),
)
def test_every_commit_is_published_once_however_late_it_comes(changes, rounds, digits):
    """A crash repeats what was confirmed since the watermark was written, and nothing else does."""
    model = Model(changes, overlap_s=2.0, digits=digits)
    now, crashed = 0, False
    for wait, crashes_after in rounds:
        now += wait
        before = len(model.published)
        model.round(now, crashes_after)
        crashed = crashed or len(model.published) - before == crashes_after
    for later in (max([now, 300]) + 20, 400 + now):
        model.round(later, 1000)
    assert set(model.published) == set(range(len(changes)))
    if not crashed:
        assert len(model.published) == len(changes)


def test_without_the_overlap_an_early_clock_loses_a_row():
    """The model can tell: this is what the overlap is for."""
    model = Model([Change(begun=30, early=20, lasts=0)], overlap_s=0, digits=6)
    for now in (20, 100, 200):
        model.round(now, 1000)
    assert model.published == []
