"""Where it is kept how far a followed table has been read: the row of its follower, and the versions of rows that were
published in the overlap."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from dbconnector.bisect import LARGEST, statements
from dbconnector.columns import name_parts, plain_name
from dbconnector.lease_table import Lease, LeaseTable, ddl
from dbconnector.settings import Select
from dbconnector.sql import compile_statement
from dbconnector.watermark import Position, Seen, later, text_of_position

#: The section of the configuration that names it.
STATE = "select.follow.state"


def work_of(select: Select) -> str:
    """Return what a follower reads: the first table of the query, and the column; "" where no table is named."""
    assert select.follow is not None
    tables = compile_statement(select.query).tables
    return f"{name_parts(tables[0])[-1]}.{plain_name(select.follow.column)}".lower() if tables else ""


def seen_ddl(table: str) -> str:
    """Return the statement that makes the second table."""
    return (
        f"CREATE TABLE {table}_seen (\n"
        "  follower varchar(255) NOT NULL,\n"
        "  row_digest char(64) NOT NULL,\n"
        "  row_position varchar(40) NOT NULL,\n"
        "  PRIMARY KEY (follower, row_digest)\n"
        ")"
    )


class CursorTable(LeaseTable):
    """The state of one follower. Every method leaves no transaction open."""

    def advance(self, lease: Lease, watermark: Position, seen: Sequence[Seen] = (), *, forget: Position | None) -> bool:
        """Set the watermark, renew the lease, remember rows, and forget those below a position, in one transaction;
        return False, with nothing done, if another follower has taken the lease."""
        database = self._database
        database.connect()
        until = f"{database.dialect.epoch} + {self.lease_s}"
        if not self._set(lease, f"watermark = ?, lease_until = {until}", text_of_position(watermark)):
            database.rollback()
            return False
        rows = [(self._flow, each.digest, text_of_position(each.position)) for each in seen]
        for sql, parameters in statements(rows, min(LARGEST, database.dialect.rows_at_once(3)), self._insert):
            self._execute(sql, parameters)
        if forget is not None:
            sql = f"DELETE FROM {self._table}_seen WHERE follower = ? AND row_position < ?"
            self._execute(sql, (self._flow, text_of_position(forget)))
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

    # --- within -----------------------------------------------------------------------------------------------------

    def _tables(self) -> Sequence[tuple[str, str]]:
        return [(self._table, ddl(self._table)), (f"{self._table}_seen", seen_ddl(self._table))]

    def _insert(self, rows: int) -> str:
        """Return the insert of so many rows. One that is there already was published twice, which is no mistake."""
        insert = self._database.dialect.insert_or_ignore or "INSERT INTO {table} VALUES {rows}"
        values = ", ".join(["(?, ?, ?)"] * rows)
        return insert.format(table=f"{self._table}_seen (follower, row_digest, row_position)", rows=values)

    def _matching(self, digests: Sequence[tuple[str]]) -> Iterator[Any]:
        for sql, parameters in statements(digests, LARGEST, self._select):
            yield from (row[0] for row in self._rows(sql, [self._flow, *parameters]))

    def _select(self, rows: int) -> str:
        marks = ", ".join("?" * rows)
        return f"SELECT row_digest FROM {self._table}_seen WHERE follower = ? AND row_digest IN ({marks})"
