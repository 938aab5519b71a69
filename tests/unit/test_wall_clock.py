"""The clock of a time zone, and how times are bound and told by it."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectorlib.errors import Failed
from dbconnector.binder import make_binder
from dbconnector.columns import UNKNOWN, Column, ColumnType
from dbconnector.dialects import GENERIC, mariadb, postgresql, sqlite
from dbconnector.wall_clock import WallClock

VIENNA, SECOND = WallClock(ZoneInfo("Europe/Vienna")), WallClock(ZoneInfo("Europe/Vienna"), fold=1)
KATHMANDU, LORD_HOWE = WallClock(ZoneInfo("Asia/Kathmandu")), WallClock(ZoneInfo("Australia/Lord_Howe"))
#: It skipped the 30th of December 2011, and put its clock back by a day on the 4th of July 1892.
APIA = WallClock(ZoneInfo("Pacific/Apia"))
CLOCKS = [VIENNA, KATHMANDU, LORD_HOWE, APIA, WallClock(UTC), WallClock(ZoneInfo("America/Sao_Paulo"))]
PG, MARIA, SQLITE = postgresql.DIALECT, mariadb.DIALECT, sqlite.DIALECT


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("clock", "wall", "instant"),
    [
        (VIENNA, "2026-07-01 12:00", "2026-07-01T12:00:00+02:00"),
        (VIENNA, "2026-01-01 00:00", "2026-01-01T00:00:00+01:00"),
        (VIENNA, "2026-10-25 02:30", "2026-10-25T02:30:00+02:00"),
        (SECOND, "2026-10-25 02:30", "2026-10-25T02:30:00+01:00"),
        (SECOND, "2026-10-25 03:00", "2026-10-25T03:00:00+01:00"),
        (KATHMANDU, "2026-01-01 00:00", "2026-01-01T00:00:00+05:45"),
        (LORD_HOWE, "2026-04-05 01:45", "2026-04-05T01:45:00+11:00"),
        (VIENNA, "1890-01-01 00:00", "1889-12-31T22:54:39+00:00"),  # an offset of 1:05:21
        (VIENNA, "9999-12-31 23:59:59.999999", "9999-12-31T23:59:59.999999+01:00"),
    ],
)
def test_a_time_of_the_clock_is_an_instant(clock: WallClock, wall: str, instant: str) -> None:
    assert clock.instant(at(wall)).isoformat() == instant


@pytest.mark.parametrize(
    ("clock", "wall", "reason"),
    [
        (VIENNA, "2026-03-29 02:30", "does not exist in Europe/Vienna"),
        (SECOND, "2026-03-29 02:00", "does not exist in Europe/Vienna"),
        (APIA, "2011-12-30 12:00", "does not exist in Pacific/Apia"),
        (VIENNA, "0001-01-01 00:00", "is not in a known year"),
        (WallClock(ZoneInfo("America/New_York")), "9999-12-31 23:00", "is not in a known year"),
    ],
)
def test_a_time_that_the_clock_never_shows_is_none(clock: WallClock, wall: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        clock.instant(at(wall))


@pytest.mark.parametrize(
    ("clock", "moment", "lowest"),
    [
        (VIENNA, "2026-10-24 23:59:59", "2026-10-25 01:59:59"),
        (VIENNA, "2026-10-25 00:00:00", "2026-10-25 02:00:00"),
        (VIENNA, "2026-10-25 00:30:00", "2026-10-25 02:00:00"),
        (VIENNA, "2026-10-25 00:59:59.999999", "2026-10-25 02:00:00"),
        (VIENNA, "2026-10-25 01:00:00", "2026-10-25 02:00:00"),
        (VIENNA, "2026-10-25 01:30:00", "2026-10-25 02:30:00"),
        (VIENNA, "2026-10-25 02:00:00", "2026-10-25 03:00:00"),
        (VIENNA, "2026-03-29 00:59:59", "2026-03-29 01:59:59"),
        (VIENNA, "2026-03-29 01:00:00", "2026-03-29 03:00:00"),
        (LORD_HOWE, "2026-04-04 14:45:30.5", "2026-04-05 01:30:00"),
        (APIA, "1892-07-04 00:00:00", "1892-07-04 00:00:00"),
        (VIENNA, "0001-01-01 00:00:00", "0001-01-01 01:05:21"),
        (WallClock(ZoneInfo("America/New_York")), "0001-01-01 00:00:00", "0001-01-01 00:00:00"),
    ],
)
def test_what_the_clock_may_still_show(clock: WallClock, moment: str, lowest: str) -> None:
    assert str(clock.lowest(at(moment))) == lowest


@pytest.mark.parametrize(
    ("clock", "wall", "moment"),
    [
        (VIENNA, "2026-07-01 12:00:00", "2026-07-01 10:00:00"),
        (VIENNA, "2026-10-25 02:30:00", "2026-10-25 01:30:00"),
        (VIENNA, "2026-03-29 02:30:00", "2026-03-29 01:00:00"),
        (VIENNA, "2026-03-29 02:30:00.25", "2026-03-29 01:00:00"),
        (VIENNA, "2026-03-29 03:00:00", "2026-03-29 01:00:00"),
        (WallClock(ZoneInfo("America/New_York")), "9999-12-31 23:00:00", "9999-12-31 23:00:00"),
    ],
)
def test_when_the_clock_shows_a_time_for_the_last_time(clock: WallClock, wall: str, moment: str) -> None:
    assert str(clock.latest(at(wall))) == moment


MOMENTS = st.datetimes(datetime(1880, 1, 1), datetime(2037, 1, 1)) | st.integers(-90_000, 90_000).map(
    lambda seconds: datetime(2026, 10, 25, 1) + timedelta(seconds=seconds)
)


@given(st.sampled_from(CLOCKS), MOMENTS, st.integers(0, 30 * 3600), st.integers(0, 7200))
def test_nothing_below_the_horizon_is_still_to_come(clock: WallClock, horizon: datetime, later: int, ago: int) -> None:
    """What `follow` needs: rows below `lowest(horizon)` are complete, a row that was read below it has a position that
    is not above the horizon, and one that will be read again is not forgotten."""
    bound = clock.lowest(horizon)
    written = clock.wall((horizon + timedelta(seconds=later)).replace(tzinfo=UTC))
    assert written >= bound
    before = clock.wall((horizon - timedelta(seconds=ago)).replace(tzinfo=UTC))
    assert clock.lowest(horizon - timedelta(seconds=ago)) <= min(bound, before)
    if before < bound:
        assert clock.latest(before) <= horizon
    else:
        assert clock.latest(before) >= horizon
    assert clock.lowest(clock.latest(before)) <= before


# --- binding ----------------------------------------------------------------------------------------------------------

ZONELESS = {"postgresql": "timestamp without time zone", "mariadb": "datetime(6)", "sqlite": "datetime"}
INSTANTS = {"postgresql": "timestamp with time zone", "mariadb": "timestamp(6)"}


def bound(dialect: Any, column: ColumnType, value: Any, clock: WallClock | None = VIENNA) -> Any:
    (found,) = make_binder(dialect, [column.by(clock)], ["v"], "write[0]")([value])
    return found


@pytest.mark.parametrize("dialect", [PG, MARIA, SQLITE], ids=lambda dialect: dialect.name)
@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("2026-07-01T10:00:00Z", "2026-07-01 12:00:00"),
        ("2026-07-01t10:00:00.5+00:00", "2026-07-01 12:00:00.500000"),
        ("2026-10-25T00:30:00Z", "2026-10-25 02:30:00"),
        ("2026-10-25T01:30:00Z", "2026-10-25 02:30:00"),
        ("1889-12-31T22:54:39Z", "1890-01-01 00:00:00"),
        ("2026-07-01 12:00:00", "2026-07-01 12:00:00"),
        (at("2026-07-01T12:00:00+05:00"), "2026-07-01 09:00:00"),
        (at("2026-07-01 12:00:00"), "2026-07-01 12:00:00"),
    ],
)
def test_an_instant_goes_into_a_column_without_a_zone_as_the_clock_shows_it(
    dialect: Any, value: Any, kept: str
) -> None:
    assert bound(dialect, dialect.column_type(ZONELESS[dialect.name]), value) == kept


@pytest.mark.parametrize("dialect", [PG, MARIA], ids=lambda dialect: dialect.name)
@pytest.mark.parametrize(
    ("value", "utc"),
    [
        ("2026-07-01T10:00:00Z", "2026-07-01 10:00:00"),
        ("2026-07-01 12:00:00", "2026-07-01 10:00:00"),
        ("2026-07-01", "2026-06-30 22:00:00"),
        (date(2026, 7, 1), "2026-06-30 22:00:00"),
        (at("2026-07-01T12:00:00"), "2026-07-01 10:00:00"),
        (at("2026-07-01T12:00:00+05:00"), "2026-07-01 07:00:00"),
        ("1890-01-01 00:00:00", "1889-12-31 22:54:39"),
    ],
)
def test_a_column_with_a_zone_gets_the_instant(dialect: Any, value: Any, utc: str) -> None:
    assert bound(dialect, dialect.column_type(INSTANTS[dialect.name]), value).removesuffix("+00:00") == utc


@pytest.mark.parametrize("dialect", [PG, MARIA, SQLITE, GENERIC], ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("value", ["2026-03-29T02:30:00", "2026-03-29 02:30", at("2026-03-29 02:30"), "2026-02-30"])
def test_a_time_that_does_not_exist_is_refused(dialect: Any, value: Any) -> None:
    column = dialect.column_type(ZONELESS.get(dialect.name, "datetime"))
    with pytest.raises(Failed, match="bad-value"):
        bound(dialect, column, value)
    if value != "2026-02-30":
        bound(dialect, column.compared(), value)  # a row with it may be looked for
        bound(dialect, column, value, None)


@pytest.mark.parametrize("value", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00"])
def test_what_is_beyond_the_years_of_the_clock_is_refused(value: str) -> None:
    clock = VIENNA if value.startswith("9") else WallClock(ZoneInfo("America/New_York"))
    for dialect in (PG, MARIA, SQLITE):
        with pytest.raises(Failed, match="bad-value"):
            bound(dialect, dialect.column_type(ZONELESS[dialect.name]), value, clock)


@pytest.mark.parametrize("value", ["infinity", "10000-01-01", "0044-03-15 BC"])
def test_what_is_no_time_of_python_goes_as_it_is(value: str) -> None:
    assert bound(PG, PG.column_type(ZONELESS["postgresql"]), value) == value


def test_where_nothing_is_known_of_a_column_the_time_has_the_offset_of_the_zone() -> None:
    """PostgreSQL drops it for a column without a zone, which keeps the time of the clock; others get that time."""
    instant, wall = at("2026-07-01T10:00:00+00:00"), at("2026-03-29 02:30")
    assert bound(PG, UNKNOWN, instant) == "2026-07-01 12:00:00+02:00"
    assert bound(PG, UNKNOWN, wall).startswith("2026-03-29 02:30:00+")
    assert bound(MARIA, UNKNOWN, instant) == "2026-07-01 12:00:00"
    assert bound(GENERIC, UNKNOWN, instant) == at("2026-07-01 12:00:00")


def test_an_array_of_times_is_bound_by_the_clock_too() -> None:
    column = PG.column_type("timestamp without time zone[]")
    assert bound(PG, column, ["2026-07-01T10:00:00Z", None]) == '{"2026-07-01 12:00:00",NULL}'


def test_without_a_zone_all_is_as_it_was() -> None:
    column = ColumnType(Column.TIMESTAMP)
    assert bound(PG, column, "2026-07-01T12:00:00+05:00", None) == "2026-07-01 07:00:00"
    assert column.by(None) is column
