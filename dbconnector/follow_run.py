"""Rounds of `follow`: publish what was inserted or changed, and remember how far.

The order that loses nothing: the lease, the horizon, the rows, the confirms, the watermark. No transaction is open
while rows are published. A crash after the confirms publishes rows once more, with the same message ids.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from itertools import takewhile
from threading import Event
from typing import Any

from connectorlib.amqp import Broker, topology
from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed
from connectorlib.pipeline.pause import PauseWait
from connectorlib.service import logs
from dbconnector.cursor_table import STATE, CursorTable, work_of
from dbconnector.follow_stats import FollowStats
from dbconnector.lease_table import Lease, process_name
from dbconnector.mark_rows import RowMark
from dbconnector.odbc.database import Database
from dbconnector.poll import Progress
from dbconnector.row_message import Record
from dbconnector.row_sender import RowSender, compiled
from dbconnector.row_source import Batch, IntervalSource, Row
from dbconnector.settings import DbConfig, Follow
from dbconnector.watermark import (
    Horizon,
    Interval,
    Position,
    Seen,
    before,
    lateness,
    later,
    message_id_of,
    next_interval,
    resumed,
    version,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a round works with."""

    config: DbConfig
    follow: Follow
    table: Database
    state: CursorTable
    broker: Broker
    stop: Event
    stats: FollowStats
    pause: PauseWait | None


class Follower:
    """One of perhaps several that follow a table; only the one with the lease reads it.

    `databases`: the one of the table, and the one of the state, which may be the same connection.
    """

    def __init__(
        self,
        config: DbConfig,
        databases: tuple[Database, Database],
        broker: Broker,
        stop: Event,
        params: Mapping[str, Any],
        pause: PauseWait | None = None,
    ) -> None:
        settings = config.database.select
        assert settings is not None
        assert settings.follow is not None
        self.stats = FollowStats(settings.follow.overlap_s)
        state = CursorTable(
            *(settings.follow.state.table, config.name, process_name(), databases[1]),
            place=STATE,
            work=compiled(lambda: work_of(settings)),
        )
        self._parts = _Parts(config, settings.follow, databases[0], state, broker, stop, self.stats, pause)
        self._settings = settings
        self._values = {**settings.params, **params}
        self._lease: Lease | None = None
        self._source: IntervalSource | None = None
        #: How many connections to the database and to the broker had been opened when this was set up.
        self._opened = (0, 0)

    def round(self, progress: Progress) -> bool:
        """Publish what there is; return whether there was anything. Raise Failed."""
        source = self._connected()
        lease = self._taken()
        if lease is None:
            return False
        horizon = self._horizon(source)
        lease = self._resumed(lease, horizon)
        found = compiled(lambda: next_interval(self._parts.follow, lease.watermark, horizon, source.digits))
        if found is None:
            return False
        with closing(_Round(self._parts, source, lease, progress)) as work:
            return work.run(found)

    def close(self) -> None:
        """Let another follower go on at once, if the database answers."""
        if self._lease is not None:
            with suppress(Failed):
                self._parts.state.release(self._lease)

    def _connected(self) -> IntervalSource:
        """Return the rows' source; on new connections what is needed is made first."""
        table, broker, config = self._parts.table, self._parts.broker, self._parts.config
        table.connect()
        if table.outdated():
            table.connect()
        opened = (table.opened, broker.opened)
        if self._source is None or opened != self._opened:
            table.log_connected(logger)
            assert config.destination is not None
            topology.ensure(broker, config.broker, None, config.destination)
            self._source = compiled(lambda: IntervalSource(self._settings, table, self._values))
            if self._parts.state.ensure():
                logs.event(logger, logging.INFO, "state tables made", table=self._parts.follow.state.table)
            self._opened = opened
        return self._source

    def _taken(self) -> Lease | None:
        """Return the lease; None if another follower has it."""
        if self._lease is None:
            self._parts.state.demand_own()
        taken = self._parts.state.take()
        if isinstance(taken, str):
            if taken != self.stats.holder:
                logs.event(logger, logging.INFO, "another follower reads the table", owner=taken)
            self.stats.holder, self._lease = taken, None
            return None
        if self._lease is None:
            logs.event(logger, logging.INFO, "following", name=self._parts.config.name, watermark=taken.watermark)
        self.stats.holder, self.stats.watermark, self._lease = "", taken.watermark, taken
        return taken

    def _horizon(self, source: IntervalSource) -> Horizon:
        """Ask how far the table is complete, in a transaction of its own, before that of the rows, so that their
        snapshot is not older."""
        self._parts.table.connect()
        self.stats.horizon = source.horizon()
        return self.stats.horizon

    def _resumed(self, lease: Lease, horizon: Horizon) -> Lease:
        """Return the lease with the watermark to go on from."""
        watermark = compiled(lambda: resumed(self._parts.follow, lease.watermark, horizon))
        if watermark != lease.watermark:
            text = "rows that are written now lie below what was read: a clock was set back, or the database restored"
            fields = {"watermark": lease.watermark, "now": horizon.latest, "again_from": watermark}
            logs.event(logger, logging.WARNING, "reading again", text=text, **fields)
        return lease._replace(watermark=watermark)


class _Round:
    """One round with a lease: an interval, page by page."""

    def __init__(self, parts: _Parts, source: IntervalSource, lease: Lease, progress: Progress) -> None:
        self._parts = parts
        self._source = source
        self._lease = lease
        self._watermark = lease.watermark
        settings = parts.config.database.select
        text = settings.on_failed if settings is not None else None
        self._on_failed = compiled(lambda: RowMark(text, "on_failed", parts.table)) if text else None
        marks = [] if self._on_failed is None else [self._on_failed]
        self._sender = compiled(
            lambda: RowSender(
                *(parts.config, parts.broker, parts.stop),
                marks=marks,
                paged=True,
                progress=progress,
                message_id=self._message_id,
                pause=parts.pause,
            )
        )

    def run(self, found: Interval) -> bool:
        """Publish the rows; return whether there were any, and no stop."""
        with closing(self._source.pages(found)) as pages:
            for page in pages:
                if self._parts.stop.is_set() or not self._publish(page):
                    return False
        self._advance_to(found.high, (), last=True)
        return self._sender.sent + self._sender.failed > 0

    def close(self) -> None:
        """Publish nothing more of what is in flight."""
        self._sender.abandon()

    def _publish(self, page: Batch) -> bool:
        """Publish what is new in a page, and remember what is confirmed of it; return whether to go on."""
        columns, rows = page
        versions = [self._version(key) for key in self._source.keys(columns, rows)]
        new = self._new(rows, versions)
        whole = self._sender.send((columns, [row for row, _ in new]))
        whole = self._sender.drain() and whole
        done = self._handled(new)
        late = (lateness(version.position, self._lease.watermark) for version in done)
        self._parts.stats.came_late([seconds for seconds in late if seconds is not None])
        # What is not confirmed comes again: up to there the table has been read.
        last = versions[-1] if len(done) == len(new) else done[-1] if done else None
        going = last is None or self._advance_to(last.position, done)
        self._sender.raise_failure()
        return going and whole

    def _new(self, rows: Sequence[Row], versions: Sequence[Seen]) -> list[tuple[Row, Seen]]:
        """Return the rows that are not remembered."""
        known = self._parts.state.known(versions, self._lease.watermark)
        return [(row, each) for row, each in zip(rows, versions, strict=True) if each.digest not in known]

    def _handled(self, new: Sequence[tuple[Row, Seen]]) -> list[Seen]:
        """Run on_failed for what could not be sent; return the rows up to the first that is still to be published."""
        unsent, sender = self._sender.unsent, self._sender
        if self._on_failed is not None and unsent:
            self._parts.table.connect()
            self._on_failed.run([self._on_failed.parameters(row, error) for row, error in unsent])
            self._parts.table.commit()
        handled = {id(row) for row in sender.confirmed} | {id(row) for row, _ in unsent}
        sender.confirmed, sender.unsent = [], []
        return [version for _, version in takewhile(lambda each: id(each[0]) in handled, new)]

    def _advance_to(self, position: Position, done: Sequence[Seen], *, last: bool = False) -> bool:
        """Remember how far the table has been read; return False if another follower has taken over."""
        mark = position if self._watermark is None or later(position, self._watermark) else self._watermark
        kept = before(mark, self._parts.follow.overlap_s)
        seen = [each for each in done if not later(kept, each.position)]
        if not self._parts.state.advance(self._lease, mark, seen, forget=kept if last else None):
            logs.event(logger, logging.WARNING, "lease lost", name=self._parts.config.name)
            return False
        self._watermark = self._parts.stats.watermark = mark
        return True

    def _version(self, key: Row) -> Seen:
        return version(key, self._source.position(key))

    def _message_id(self, record: Record) -> str:
        """Return `name:key:column` of a row."""
        follow = self._parts.follow
        return message_id_of(self._parts.config.name, (*follow.key, follow.column), record)
