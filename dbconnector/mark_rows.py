"""`on_sent` and `on_failed`: a statement that is run for each row of a query, with the row's columns as parameters.

Many rows are marked by one statement where that cannot make a difference: as a set of rows, or by a list of keys.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from dbconnector.bisect import LARGEST, statements
from dbconnector.mark_parameters import positions
from dbconnector.odbc.database import Database
from dbconnector.row_source import Row
from dbconnector.sql import compile_statement


class RowMark:
    """One of the two statements; `place` names it in errors."""

    def __init__(self, text: str, place: str, database: Database) -> None:
        """Compile the statement for a connected database. Raise ValueError if it is none."""
        self.place = place
        self._statement = compile_statement(text)
        self._database = database
        self._bind_to_connection()
        #: The position of each parameter's column; None for `:error`.
        self._positions: list[int | None] = []

    def bind(self, columns: Sequence[str]) -> None:
        """Find the column of each parameter in a result. Raise Failed if one has none."""
        self._positions = positions(self._statement.names, columns, self.place)

    @property
    def positions(self) -> frozenset[int]:
        """The columns that the statement needs."""
        return frozenset(at for at in self._positions if at is not None)

    def values(self, row: Row, error: str = "") -> Sequence[Any]:
        """Return what the statement needs of one row of the query."""
        return [error if at is None else row[at] for at in self._positions]

    def parameters(self, row: Row, error: str = "") -> Sequence[Any]:
        """Return the statement's parameters for one row of the query."""
        return self.bound(self.values(row, error))

    def bound(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return the statement's parameters for what `values` has returned, on the connection that there is now."""
        self._rebind()
        return self._binder(values)

    def parameters_together(self, rows: Sequence[Row]) -> Sequence[Sequence[Any]]:
        """Return `parameters` of many rows, for a statement that has a parameter and no `:error`."""
        self._rebind()
        columns = [[row[at] for row in rows] for at in self._positions if at is not None]
        together = self._binder.together(columns) if len(columns) == len(self._positions) > 0 else None
        return [self.parameters(row) for row in rows] if together is None else together

    def run(self, rows: Sequence[Sequence[Any]]) -> int:
        """Run the statement in the transaction, given its parameters for each row; return how many rows changed."""
        changed = 0
        for sql, parameters in self._executions(rows):
            changed += max(self._database.execute(sql, parameters, place=self.place), 0)
        return changed

    def _executions(self, rows: Sequence[Sequence[Any]]) -> Iterator[tuple[str, Sequence[Any]]]:
        """Yield the statements that together mark all rows, with their parameters. A list of keys costs less than a set
        that has a parameter for each value, and more than one that does not."""
        any_of, row_set = self._statement.any_of, self._row_set
        if row_set is not None and (any_of is None or not row_set.sized):
            if any_of is not None:  # the same again would change nothing, but run by itself
                rows = [*dict.fromkeys(map(tuple, rows))]
            for sql, parameters, _ in row_set.executions(self._statement.sql, rows, LARGEST):
                yield sql, parameters
            return
        largest = min(LARGEST, self._database.dialect.rows_at_once(any_of.width)) if any_of else 1
        yield from statements(rows, largest, self._sql)

    def _rebind(self) -> None:
        if self._opened != self._database.opened:
            self._bind_to_connection()

    def _bind_to_connection(self) -> None:
        database = self._database
        self._binder = database.binder(self._statement, place=self.place)
        self._row_set = database.row_set(self._statement)
        #: How many connections the database had opened then.
        self._opened = database.opened

    def _sql(self, rows: int) -> str:
        any_of = self._statement.any_of
        return any_of.sql(rows) if any_of and rows > 1 else self._statement.sql
