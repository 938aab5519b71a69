"""When a query is run by a cron expression in a time zone.

What is due is decided by functions of two times; daylight saving is as in Debian's cron, whose rules cronsim follows.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from connectorlib.dataclass import dataclass
from connectorlib.service import logs
from dbconnector.settings import Cron

logger = logging.getLogger(__name__)

#: A run that begins within so many seconds after its time is not late.
PUNCTUAL_S = 60.0
#: How long to sleep at most: the clock may be set, and the machine may sleep meanwhile.
LONGEST_SLEEP_S = 60.0
#: By how much the clocks of machines that share a state may differ.
CLOCKS_S = 600.0
FIELDS = 5


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done now. `handled` is the last time that needs no other run, once this one is done."""

    run: bool
    handled: datetime
    #: Seconds until the next time.
    next_in: float


def check_zone(zone: str) -> bool:
    """Return True. Raise ValueError if there is no such time zone."""
    try:
        ZoneInfo(zone)
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(f"there is no time zone {zone!r}; expected a name such as Europe/Vienna") from error
    return True


def check_expression(expression: str, zone: str) -> None:
    """Raise ValueError, with what is wrong, for what is no cron expression."""
    if len(expression.split()) != FIELDS:
        raise ValueError("expected five fields: minute, hour, day of the month, month, day of the week")
    try:
        following(Cron(expression, zone), datetime.now(UTC))
    except CronSimError as error:
        raise ValueError(f"{str(error).lower()} in {expression!r}") from error
    except StopIteration as error:
        raise ValueError(f"{expression!r} never comes") from error


def following(cron: Cron, after: datetime) -> datetime:
    """Return the first time after a moment, in UTC."""
    return next(CronSim(cron.expression, after.astimezone(ZoneInfo(cron.zone)))).astimezone(UTC)


def latest(cron: Cron, now: datetime) -> datetime:
    """Return the last time up to a moment, in UTC."""
    later = now.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    return next(CronSim(cron.expression, later.astimezone(ZoneInfo(cron.zone)), reverse=True)).astimezone(UTC)


def decide(cron: Cron, handled: datetime, now: datetime, *, begun: bool = False) -> Due:
    """Given the last time that has been handled, return what is due now. Several times that have passed are one run.

    `begun`: a run since then has begun, here or elsewhere, and is not known to be complete. So it was not missed.
    A time that lies too far in the future is from before the clock was set back: what comes from now on is due.
    """
    if is_too_late(handled, now):
        handled = now
    if following(cron, handled) > now:
        return Due(False, handled, _seconds(following(cron, now) - now))
    last = latest(cron, now)
    punctual = _seconds(now - last) <= PUNCTUAL_S
    return Due(begun or punctual or cron.missed == "once", last, _seconds(following(cron, now) - now))


def last_handled(shared: datetime | None, own: datetime, now: datetime) -> datetime:
    """Return the last time that has been handled, given what all processes share and what this one knows.

    What is shared holds, unless there is nothing, or a machine with a wrong clock has written it: a time that lies too
    far in the future would silently suppress every run until then.
    """
    return own if shared is None or is_too_late(shared, now) else shared


def is_too_late(shared: datetime, now: datetime) -> bool:
    """Return whether a time that was handled lies further in the future than clocks differ."""
    return _seconds(shared - now) > CLOCKS_S


def _seconds(delta: timedelta) -> float:
    return delta.total_seconds()


def utc_now() -> datetime:
    return datetime.now(UTC)


class CronSchedule:
    """Runs by a cron expression. What was due before it was made is not known to it."""

    def __init__(self, cron: Cron, clock: Callable[[], datetime] = utc_now) -> None:
        self.cron = cron
        self._clock = clock
        self._handled = clock()
        self._begun = self._handled

    def log_start(self) -> None:
        self.log_next()

    def due_in(self) -> float:
        due = self.decide(self._clock())
        if due.run:
            return 0.0
        self.note(due)
        return min(max(due.next_in, 0.001), LONGEST_SLEEP_S)

    def begin(self) -> bool:
        self._begun = self._clock()
        return True

    def finish(self, *, complete: bool) -> None:
        # A retry may have begun later than the time that it was due, and then stands for all up to its beginning.
        if complete:
            self._handled = max(self._handled, self._begun)

    def next_in(self) -> float:
        now = self._clock()
        return _seconds(following(self.cron, now) - now)

    def log_next(self, **fields: object) -> None:
        first = self.local(following(self.cron, self._clock()))
        logs.event(
            logger, logging.INFO, "scheduled", cron=self.cron.expression, zone=self.cron.zone, next=first, **fields
        )

    def decide(self, now: datetime) -> Due:
        return decide(self.cron, self._handled, now)

    def note(self, due: Due) -> None:
        """Take note of what needs no run; log it if that is a time which was missed."""
        if due.handled > self._handled:
            logs.event(logger, logging.INFO, "missed run skipped", due=self.local(due.handled))
        self._handled = due.handled

    def local(self, moment: datetime) -> str:
        """Return a moment as a text in the zone."""
        return moment.astimezone(ZoneInfo(self.cron.zone)).isoformat(timespec="minutes")
