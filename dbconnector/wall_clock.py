"""The clock on the wall of a time zone, for columns that hold its time and no offset. Pure.

Twice a year it is set: then an hour of it does not exist, or comes twice.
"""

from datetime import UTC, datetime, timedelta, tzinfo

from connectorlib.dataclass import dataclass
from connectorlib.values.types import local_time

#: By how much a clock has ever been put back at once: a day, where the date line moved.
_FURTHEST = timedelta(hours=25)
_STEP = timedelta(minutes=30)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class WallClock:
    """The clock of a zone. Of a time that it shows twice `fold` says which is meant: 0 the first, 1 the second."""

    zone: tzinfo
    fold: int = 0

    def wall(self, instant: datetime) -> datetime:
        """Return what the clock shows at an instant. Raise ValueError beyond the years that there are."""
        try:
            return instant.astimezone(self.zone).replace(tzinfo=None)
        except OverflowError as error:
            raise ValueError(f"{instant} is not in a known year in {self.zone}") from error

    def instant(self, wall: datetime) -> datetime:
        """Return the instant at which the clock shows a time (see `whole_offset`). Raise ValueError if it does not."""
        try:
            return whole_offset(local_time(wall, self.zone, self.fold))
        except OverflowError as error:
            raise ValueError(f"{wall} is not in a known year in {self.zone}") from error

    def lowest(self, moment: datetime) -> datetime:
        """Given a moment (UTC, without its zone), return the earliest time that the clock shows from then on: while the
        clock goes on to be put back, the time to which it will be."""
        try:
            start = moment.replace(tzinfo=UTC)
            found, at, end = self.wall(start), start, start + _FURTHEST
            while at < end:
                if self._offset(at + _STEP) < self._offset(at):
                    found = min(found, self.wall(self._change(at, at + _STEP)))
                at += _STEP
        except (OverflowError, ValueError):  # the beginning of all years
            return moment
        return found

    def latest(self, wall: datetime) -> datetime:
        """Return the last moment (UTC, without its zone) at which the clock shows a time; of one that it never shows,
        the moment at which it skips it."""
        try:
            first, last = (wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        except OverflowError:
            return wall
        return (last if first <= last else self._change(last, first)).replace(tzinfo=None)

    def _offset(self, instant: datetime) -> timedelta:
        return instant.astimezone(self.zone).utcoffset() or timedelta()

    def _change(self, before: datetime, after: datetime) -> datetime:
        """Return the first second, after one instant and not after another, at which the clock has been set."""
        offset = self._offset(before)
        while after - before > _SECOND:
            middle = before + (after - before) // _SECOND // 2 * _SECOND
            before, after = (middle, after) if self._offset(middle) == offset else (before, middle)
        return after.replace(microsecond=0) if after.microsecond else after


def whole_offset(instant: datetime) -> datetime:
    """Return an instant with its offset, or in UTC if that has seconds, as it had before 1900: ISO 8601 has none."""
    offset = instant.utcoffset()
    return instant if offset is None or not offset.total_seconds() % 60 else instant.astimezone(UTC)


class ClockText(str):
    """A time of the clock, as a text of ISO 8601 that the database keeps it as."""
