"""How times are bound where columns without a time zone hold the time of one (`database.zone`). Pure.

A time with an offset is an instant; one without is what the clock of the zone shows. So an instant goes into a column
without a zone as that clock shows it, and a time of the clock into a column with one as the instant.
"""

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from dbconnector.columns import Column, ColumnType
from dbconnector.dialects.conversions import Bindings, Convert
from dbconnector.dialects.temporal_bindings import MOMENT
from dbconnector.wall_clock import WallClock


def local_times(found: Bindings, column: ColumnType, clock: WallClock, *, drops_offsets: bool) -> Bindings:
    """Return how times are bound for a column where that is not as `found` without the clock.

    `drops_offsets`: see `Dialect`.
    """
    of_text, of_datetime = found.get(str), found.get(datetime)
    match column.kind:
        case Column.TIMESTAMP | Column.INSTANT if of_text is not None:
            keeps_instants = column.kind is Column.INSTANT or column.utc
            meant = _instant(clock) if keeps_instants else _wall(clock, known=column.stored)
            return {
                str: _of_text(of_text, meant),
                datetime: _of_datetime(of_datetime, meant),
                date: lambda value: _of_text(of_text, meant)(value.isoformat()),
            }
        case Column.UNKNOWN if drops_offsets:
            # With the offset of the zone it is right for a column with a zone, and for one without.
            return {datetime: lambda value: str(_placed(value, clock))}
        case Column.UNKNOWN:
            return {datetime: _of_datetime(of_datetime, _wall(clock, known=False))}
    return {}


def _instant(clock: WallClock) -> Callable[[datetime], datetime]:
    """Return what makes an instant of any time."""
    return lambda value: value if value.tzinfo else clock.instant(value)


def _wall(clock: WallClock, *, known: bool) -> Callable[[datetime], datetime]:
    """Return what makes a time of the clock of any time. `known`: raise ValueError for one that it never shows."""

    def wall(value: datetime) -> datetime:
        if value.tzinfo:
            return clock.wall(value)
        if known:
            clock.instant(value)
        return value

    return wall


def _placed(value: datetime, clock: WallClock) -> datetime:
    """Return a time with the offset of the zone, also one that its clock never shows."""
    return value.astimezone(clock.zone) if value.tzinfo else value.replace(tzinfo=clock.zone, fold=clock.fold)


def _of_datetime(bind: Convert | None, meant: Callable[[datetime], datetime]) -> Convert:
    return lambda value: meant(value) if bind is None else bind(meant(value))


def _of_text(bind: Convert, meant: Callable[[datetime], datetime]) -> Convert:
    def of_text(value: str) -> Any:
        bound = bind(value)  # which refuses what the column would alter
        if not MOMENT.fullmatch(value):
            return bound
        given = datetime.fromisoformat(value.upper())
        found = meant(given)
        return bound if found is given else bind(str(found))

    return of_text
