"""Runs by a cron expression that several processes share, and that outlast each of them.

What they share is a row of a state table: its watermark is the last time that was handled, its owner the process that
runs the query, or has begun to and did not complete it. A time is handled when its rows are confirmed. A process that
dies within a run leaves the run to whoever takes the lease next, so a run is repeated rather than lost.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.service import logs
from connectorlib.service.process import Life
from dbconnector.cron_schedule import CronSchedule, Due, decide, following, is_too_late, last_handled, latest, utc_now
from dbconnector.lease_keeper import LeaseKeeper
from dbconnector.lease_table import Lease, LeaseTable, Standing
from dbconnector.settings import Cron
from dbconnector.watermark import Position

logger = logging.getLogger(__name__)

#: The section of the configuration that names the table.
STATE = "select.state"


class SharedSchedule(CronSchedule):
    """The schedule of one process. `halt` is set when a run has to end: at a stop, and when the lease is lost."""

    def __init__(self, cron: Cron, table: LeaseTable, life: Life, clock: Callable[[], datetime] = utc_now) -> None:
        super().__init__(cron, clock)
        self.halt = threading.Event()
        life.on_stop(self.halt.set)
        self._life = life
        self._table = table
        self._keeper = LeaseKeeper(table, self._lost)
        self._lease: Lease | None = None
        #: Whether the row has been read.
        self._read = False
        #: Whether a time is due, so that nobody has asked for the run which begins.
        self._due = False
        #: Whether a run that was due has begun, here or elsewhere, and is not known to be complete.
        self._unfinished = False
        #: What is still to be recorded of a complete run.
        self._unrecorded: datetime | None = None
        #: The time too far in the future that was last warned of.
        self._warned: datetime | None = None
        #: Who else runs the query, and when to look again (monotonic).
        self._holder = ""
        self._look_at = 0.0

    def log_start(self) -> None:
        pass  # the row comes first

    def due_in(self) -> float:
        if not self._read:
            return 0.0
        if (wait := self._look_at - time.monotonic()) > 0:
            return wait
        sleep = super().due_in()
        self._due = not sleep
        return sleep

    def decide(self, now: datetime) -> Due:
        return decide(self.cron, self._handled, now, begun=self._unfinished)

    def begin(self) -> bool:
        if self._unrecorded is not None:
            self._record(self._unrecorded)
            return False
        asked = self._read and not self._due
        self._unfinished = self._unfinished or self._due
        lease = self._taken(asked=asked)
        if lease is None:
            return False
        self._begun = self._clock()
        due = self.decide(self._begun)
        if not (due.run or asked):
            self.note(due)
            self._unfinished = False
            self._table.complete(lease, _position(self._handled))
            return False
        self.halt.clear()
        if self._life.stop.is_set():
            self.halt.set()
        self._lease = lease
        self._keeper.start(lease)
        return True

    def finish(self, *, complete: bool) -> None:
        held = self._keeper.stop()
        if complete and held:
            self._record(max(self._handled, latest(self.cron, self._begun)))
        elif complete:  # as far as it went before the lease was lost
            self._lease = None
        else:
            self.close()

    def close(self) -> None:
        """Let another process go on at once, if the database answers."""
        self._keeper.stop()
        with suppress(Failed):
            if self._unrecorded is not None:
                self._record(self._unrecorded)
            elif self._lease is not None:
                self._table.release(self._lease)
        self._lease = None

    def about(self) -> str:
        """Return one line for a person."""
        if not self._read:
            return "not read yet"
        handled = f"handled up to {self.local(self._handled)}"
        return f"{handled}, run by {self._holder}" if self._holder else handled

    # --- within -----------------------------------------------------------------------------------------------------

    def _taken(self, *, asked: bool) -> Lease | None:
        """Return the lease; None if another process has it. Take over what the row says."""
        if not self._read and self._table.ensure():
            logs.event(logger, logging.INFO, "state table made")
        self._table.demand_own()
        standing = self._table.standing()
        taken = self._table.take()
        self._know(standing.watermark if isinstance(taken, str) else taken.watermark)
        if isinstance(taken, str):
            if asked or taken != self._holder:
                logs.event(logger, logging.INFO, "another process runs the query", owner=taken)
            self._holder, self._unfinished = taken, True
            self._look_at = time.monotonic() + self._table.lease_s / 3
            return None
        self._holder, self._look_at = "", 0.0
        self._unfinished = self._unfinished or bool(standing.owner)
        return taken

    def _know(self, watermark: Position | None) -> None:
        shared, now = _moment(watermark), self._clock()
        if shared is not None and shared != self._warned and is_too_late(shared, now):
            self._warned = shared
            text = "the last run was handled in the future: correct the clock of this machine or of the other"
            logs.event(logger, logging.WARNING, "clocks differ", handled=self.local(shared), text=text)
        self._handled = last_handled(shared, self._handled, now)
        if not self._read:
            self._read = True
            self.log_next(handled="never" if shared is None else self.local(shared))

    def _record(self, handled: datetime) -> None:
        """Record that a run is complete. Raise Failed if that cannot be done now; then it is still to be done."""
        assert self._lease is not None
        self._unrecorded = handled
        if self._table.complete(self._lease, _position(handled)):
            self._handled, self._unfinished = handled, False
        else:
            self._lost()
        self._unrecorded = self._lease = None

    def _lost(self) -> None:
        """Publish nothing more: another process has taken over the run."""
        self.halt.set()
        text = "another process has taken over the run and repeats it"
        logs.event(logger, logging.WARNING, "lease lost", text=text)


def facts(cron: Cron, standing: Standing, now: datetime) -> dict[str, str]:
    """Return what a row says, for a person, each with a name."""
    schedule, handled = CronSchedule(cron, lambda: now), _moment(standing.watermark)
    found = {"handled up to": "never" if handled is None else schedule.local(handled)}
    found["next"] = schedule.local(following(cron, now))
    if standing.held:
        found["lease"] = f"held by {standing.owner}"
    elif standing.owner:
        found["not completed"] = f"a run of {standing.owner}, which is repeated"
    return found


def _position(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


def _moment(watermark: Position | None) -> datetime | None:
    if isinstance(watermark, int):
        text = "the row of this name is that of a followed table: use another table, or another name"
        raise Failed(Failure(Kind.CONFIGURATION, "state-of-follow", text, STATE))
    return watermark and watermark.replace(tzinfo=UTC)
