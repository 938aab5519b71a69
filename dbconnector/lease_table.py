"""The row of a flow in a state table: how far the flow has come (the watermark), and which process works on it now.

A lease is taken by a short statement that is committed at once: a lock that is held for a round would itself be an old
transaction, which no horizon passes. Who takes it raises the fence, and whatever an earlier holder still wants to write
is for a fence that is no longer valid.
"""

import os
import socket
from collections.abc import Sequence
from typing import Any, NamedTuple

from connectorlib.errors import Failed, Failure, Kind
from dbconnector.odbc.call_guard import Duplicate
from dbconnector.odbc.database import Database
from dbconnector.watermark import Position, position_of_text, text_of_position

#: Seconds for which a lease is kept after its holder has last renewed it.
LEASE_S = 30
#: What is between a process and its work in the column `owner`, and characters of that.
OF, OWNER = " of ", 255


class Lease(NamedTuple):
    """What a holder knows: the watermark as it was left, None at the very beginning."""

    fence: int
    watermark: Position | None


class Standing(NamedTuple):
    """What a row says to who does not take the lease."""

    watermark: Position | None = None
    #: Who has the lease, or had it last and has not completed its work; "": nobody.
    owner: str = ""
    #: Whether the lease has not ended.
    held: bool = False

    @property
    def holder(self) -> str:
        """Who has the lease at present; "": nobody."""
        return self.owner if self.held else ""


def process_name() -> str:
    """Return a name for this process among all that share a state table."""
    return f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"


def ddl(table: str) -> str:
    """Return the statement that makes the table, for any of the databases."""
    return (
        f"CREATE TABLE {table} (\n"
        "  follower varchar(255) NOT NULL PRIMARY KEY,\n"
        "  watermark varchar(40),\n"
        "  owner varchar(255),\n"
        "  lease_until decimal(19) NOT NULL,\n"
        "  fence decimal(19) NOT NULL\n"
        ")"
    )


class LeaseTable:
    """The row of one flow, by its name. Every method leaves no transaction open.

    `owner` is this process; `place`: the section of the configuration that names the table. `work` tells flows apart
    that have the same name by mistake.
    """

    def __init__(
        self,
        table: str,
        flow: str,
        owner: str,
        database: Database,
        *,
        place: str,
        lease_s: int | None = None,
        work: str = "",
    ) -> None:
        self.lease_s = lease_s or LEASE_S
        self._table = table
        self._flow = flow
        self._work = work
        self._owner = f"{owner}{OF}{work}"[:OWNER] if work else owner
        self._database = database
        self._place = place

    def missing(self) -> Failure | None:
        """Return why the tables cannot be read, None if they can. Raise Failed for an outage, and where they would be
        of no use."""
        database = self._database
        database.connect()
        if not database.dialect.epoch:
            text = f"the clock of this database is not known: name another one in {self._place}.connection"
            raise Failed(Failure(Kind.CONFIGURATION, "no-clock", text, self._place))
        try:
            for table, _ in self._tables():
                self._rows(f"SELECT follower FROM {table} WHERE 1 = 0")
        except Failed as failed:
            if failed.failure.kind is not Kind.CONFIGURATION:
                raise
            return failed.failure
        finally:
            database.rollback()
        return None

    def ensure(self) -> bool:
        """Make the tables unless they are there; return whether they were made. Raise Failed, with how to make them,
        where that is not allowed."""
        why = self.missing()
        if why is None:
            return False
        self._database.connect()
        statements = [statement for _, statement in self._tables()]
        try:
            for statement in statements:
                self._execute(statement)
            self._database.commit()
        except Failed as failed:
            if self.missing() is None:  # another process has made them
                return False
            how = ";\n".join(statements)
            text = f"{why.text}; and it may not be created: {failed.failure.text}. Create it with\n{how};"
            raise Failed(Failure(Kind.CONFIGURATION, "no-state-table", text, self._place)) from failed
        return True

    def take(self) -> Lease | str:
        """Take the lease, or keep it; return it, or who else has it."""
        database, now = self._database, self._database.dialect.epoch
        database.connect()
        self._execute(
            f"UPDATE {self._table} SET owner = ?, lease_until = {now} + {self.lease_s}, fence = fence + 1"
            f" WHERE follower = ? AND (lease_until < {now} OR owner = ?)",
            (self._owner, self._flow, self._owner),
        )
        found = self._rows(f"SELECT owner, fence, watermark FROM {self._table} WHERE follower = ?", (self._flow,))
        database.commit()
        if not found:
            return self._begin()
        owner, fence, watermark = found[0]
        return Lease(int(fence), _position(watermark)) if owner == self._owner else str(owner)

    def renew(self, lease: Lease) -> bool:
        """Keep the lease for longer; return False if another process has taken it."""
        until = f"{self._database.dialect.epoch} + {self.lease_s}"
        return self._write(lease, f"lease_until = {until}")

    def complete(self, lease: Lease, watermark: Position) -> bool:
        """Set the watermark and give the lease up, with nothing left undone; return False, with nothing changed, if
        another process has taken it."""
        return self._write(lease, "watermark = ?, owner = NULL, lease_until = 0", text_of_position(watermark))

    def release(self, lease: Lease) -> None:
        """Let another process take the lease at once. A connection that is not there is not opened for it."""
        if self._database.connected:
            self._write(lease, "lease_until = 0")

    def standing(self) -> Standing:
        """Return what the row says, without taking the lease."""
        self._database.connect()
        held = f"CASE WHEN lease_until >= {self._database.dialect.epoch} THEN 1 ELSE 0 END"
        rows = self._rows(f"SELECT watermark, owner, {held} FROM {self._table} WHERE follower = ?", (self._flow,))
        self._database.rollback()
        return next((Standing(_position(mark), owner or "", bool(int(held))) for mark, owner, held in rows), Standing())

    def demand_own(self) -> None:
        """Raise Failed if the row is that of other work: one of the two would never be done, or not from where it
        ended."""
        process, _, other = self.standing().owner.partition(OF)
        if other and other != self._work[: OWNER - len(process + OF)]:
            text = (
                f'the row of the name "{self._flow}" in {self._table} is that of {other}, last used by {process}: give'
                " each configuration a name of its own (or set owner to NULL there if the query was changed)"
            )
            raise Failed(Failure(Kind.CONFIGURATION, "other-work", text, self._place))

    # --- within -----------------------------------------------------------------------------------------------------

    def _tables(self) -> Sequence[tuple[str, str]]:
        """Return the tables that are needed, each with the statement that makes it."""
        return [(self._table, ddl(self._table))]

    def _begin(self) -> Lease | str:
        """Take the lease that nobody has had yet."""
        try:
            self._execute(
                f"INSERT INTO {self._table} (follower, owner, lease_until, fence)"
                f" VALUES (?, ?, {self._database.dialect.epoch} + {self.lease_s}, 1)",
                (self._flow, self._owner),
            )
            self._database.commit()
        except Duplicate:
            self._database.rollback()
            return "a process that began at the same time"
        return Lease(1, None)

    def _write(self, lease: Lease, columns: str, *values: Any) -> bool:
        """Set columns of the row and commit; return False, with nothing changed, if the lease is another's."""
        self._database.connect()
        held = self._set(lease, columns, *values)
        self._database.commit() if held else self._database.rollback()
        return held

    def _set(self, lease: Lease, columns: str, *values: Any) -> bool:
        sql = f"UPDATE {self._table} SET {columns} WHERE follower = ? AND fence = ?"
        return self._execute(sql, (*values, self._flow, lease.fence)) >= 1

    def _execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        return self._database.execute(sql, parameters, place=self._place)

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return [row for _, rows in self._database.query(sql, parameters, place=self._place) for row in rows]


def _position(text: Any) -> Position | None:
    return None if text is None else position_of_text(str(text))
