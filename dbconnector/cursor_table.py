"""Where it is kept how far a followed table has been read: the watermark, the lease of one follower, the rows seen.

A lease is taken by a short statement that is committed at once: a lock that is held for a round would itself be an old
transaction, which no horizon passes. Who takes it raises the fence, and whatever an earlier holder still wants to write
is for a fence that is no longer so.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from connectorlib.errors import Failed, Failure, Kind
from dbconnector.bisect import LARGEST, statements
from dbconnector.odbc.call_guard import Duplicate
from dbconnector.odbc.database import Database
from dbconnector.watermark import Position, Seen, later, position_of_text, text_of_position

PLACE = "select.follow.state"
#: Seconds for which the lease is kept after the last round of its holder.
LEASE_S = 30


class Lease(NamedTuple):
    """What a holder knows: the watermark as it was left, None at the very beginning."""

    fence: int
    watermark: Position | None


def ddl(table: str) -> tuple[str, str]:
    """Return the statements that make the two tables, for any of the databases."""
    state = (
        f"CREATE TABLE {table} (\n"
        "  follower varchar(255) NOT NULL PRIMARY KEY,\n"
        "  watermark varchar(40),\n"
        "  owner varchar(255),\n"
        "  lease_until decimal(19) NOT NULL,\n"
        "  fence decimal(19) NOT NULL\n"
        ")"
    )
    seen = (
        f"CREATE TABLE {table}_seen (\n"
        "  follower varchar(255) NOT NULL,\n"
        "  row_digest char(64) NOT NULL,\n"
        "  row_position varchar(40) NOT NULL,\n"
        "  PRIMARY KEY (follower, row_digest)\n"
        ")"
    )
    return state, seen


class CursorTable:
    """The state of one follower, by its name, in the table of that name. Every method leaves no transaction open."""

    def __init__(self, table: str, follower: str, owner: str, database: Database) -> None:
        self._table = table
        self._follower = follower
        self._owner = owner
        self._database = database

    def missing(self) -> Failure | None:
        """Return why the tables cannot be read, None if they can. Raise Failed for an outage, and where they would be
        of no use."""
        database = self._database
        database.connect()
        if not database.dialect.epoch:
            text = "the clock of this database is not known: name another one in select.follow.state.connection"
            raise Failed(Failure(Kind.CONFIGURATION, "no-clock", text, PLACE))
        try:
            for table in (self._table, f"{self._table}_seen"):
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
        try:
            for statement in ddl(self._table):
                self._database.execute(statement, place=PLACE)
            self._database.commit()
        except Failed as failed:
            if self.missing() is None:  # another follower has made them
                return False
            how = ";\n".join(ddl(self._table))
            text = f"{why.text}; and it may not be created: {failed.failure.text}. Create it with\n{how};"
            raise Failed(Failure(Kind.CONFIGURATION, "no-state-table", text, PLACE)) from failed
        return True

    def take(self) -> Lease | str:
        """Take the lease, or keep it; return it, or who else has it."""
        database, now = self._database, self._database.dialect.epoch
        database.connect()
        database.execute(
            f"UPDATE {self._table} SET owner = ?, lease_until = {now} + {LEASE_S}, fence = fence + 1"
            f" WHERE follower = ? AND (lease_until < {now} OR owner = ?)",
            (self._owner, self._follower, self._owner),
            place=PLACE,
        )
        found = self._rows(f"SELECT owner, fence, watermark FROM {self._table} WHERE follower = ?", (self._follower,))
        database.commit()
        if not found:
            return self._begin()
        owner, fence, watermark = found[0]
        if owner != self._owner:
            return str(owner)
        return Lease(int(fence), None if watermark is None else position_of_text(str(watermark)))

    def advance(self, lease: Lease, watermark: Position, seen: Sequence[Seen] = (), *, forget: Position | None) -> bool:
        """Set the watermark, remember rows, and forget those below a position, in one transaction; return False, with
        nothing done, if another follower has taken the lease."""
        database = self._database
        database.connect()
        changed = database.execute(
            f"UPDATE {self._table} SET watermark = ?, lease_until = {database.dialect.epoch} + {LEASE_S}"
            " WHERE follower = ? AND fence = ?",
            (text_of_position(watermark), self._follower, lease.fence),
            place=PLACE,
        )
        if changed < 1:
            database.rollback()
            return False
        rows = [(self._follower, each.digest, text_of_position(each.position)) for each in seen]
        for sql, parameters in statements(rows, min(LARGEST, database.dialect.rows_at_once(3)), self._insert):
            database.execute(sql, parameters, place=PLACE)
        if forget is not None:
            database.execute(
                f"DELETE FROM {self._table}_seen WHERE follower = ? AND row_position < ?",
                (self._follower, text_of_position(forget)),
                place=PLACE,
            )
        database.commit()
        return True

    def seen(self, digests: Collection[str]) -> set[str]:
        """Return those of the digests that are remembered."""
        self._database.connect()
        wanted = [(digest,) for digest in digests]
        found = {str(digest) for digest in self._matching(wanted)}
        self._database.rollback()
        return found

    def known(self, versions: Sequence[Seen], watermark: Position | None) -> set[str]:
        """Return the digests of those versions that are remembered. None is above the watermark."""
        old = [each.digest for each in versions if watermark is not None and not later(each.position, watermark)]
        return self.seen(old) if old else set()

    def standing(self) -> tuple[Position | None, str]:
        """Return the watermark, and who has the lease at present ("": nobody), without taking it."""
        self._database.connect()
        query = f"SELECT watermark FROM {self._table} WHERE follower = ?"
        marks = [row[0] for row in self._rows(query, (self._follower,))]
        query = f"SELECT owner FROM {self._table} WHERE follower = ? AND lease_until >= {self._database.dialect.epoch}"
        owners = [str(row[0]) for row in self._rows(query, (self._follower,))]
        self._database.rollback()
        mark = next((position_of_text(str(each)) for each in marks if each is not None), None)
        return mark, next(iter(owners), "")

    def release(self, lease: Lease) -> None:
        """Let another follower take the lease at once. A connection that is not there is not opened for it."""
        if not self._database.connected:
            return
        self._database.connect()
        self._database.execute(
            f"UPDATE {self._table} SET lease_until = 0 WHERE follower = ? AND fence = ?",
            (self._follower, lease.fence),
            place=PLACE,
        )
        self._database.commit()

    # --- within -----------------------------------------------------------------------------------------------------

    def _begin(self) -> Lease | str:
        """Take the lease that nobody has had yet."""
        database = self._database
        try:
            database.execute(
                f"INSERT INTO {self._table} (follower, owner, lease_until, fence)"
                f" VALUES (?, ?, {database.dialect.epoch} + {LEASE_S}, 1)",
                (self._follower, self._owner),
                place=PLACE,
            )
            database.commit()
        except Duplicate:
            database.rollback()
            return "a follower that began at the same time"
        return Lease(1, None)

    def _insert(self, rows: int) -> str:
        """Return the insert of so many rows. One that is there already was published twice, which is no mistake."""
        insert = self._database.dialect.insert_or_ignore or "INSERT INTO {table} VALUES {rows}"
        values = ", ".join(["(?, ?, ?)"] * rows)
        return insert.format(table=f"{self._table}_seen (follower, row_digest, row_position)", rows=values)

    def _matching(self, digests: Sequence[tuple[str]]) -> Iterator[Any]:
        for sql, parameters in statements(digests, LARGEST, self._select):
            yield from (row[0] for row in self._rows(sql, [self._follower, *parameters]))

    def _select(self, rows: int) -> str:
        marks = ", ".join("?" * rows)
        return f"SELECT row_digest FROM {self._table}_seen WHERE follower = ? AND row_digest IN ({marks})"

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return [row for _, rows in self._database.query(sql, parameters, place=PLACE) for row in rows]
