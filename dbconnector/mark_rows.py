"""`on_sent` and `on_failed`: a statement that is run for each row of a query, with the row's columns as parameters."""

from collections.abc import Sequence
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
        self._binder = database.binder(self._statement, place=place)
        #: How many connections the database had opened when the binder was made.
        self._opened = database.opened
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
        any_of, changed, database = self._statement.any_of, 0, self._database
        largest = min(LARGEST, database.dialect.rows_at_once(any_of.width)) if any_of else 1
        for sql, parameters in statements(rows, largest, self._sql):
            changed += max(database.execute(sql, parameters, place=self.place), 0)
        return changed

    def _rebind(self) -> None:
        if self._opened != self._database.opened:
            self._binder = self._database.binder(self._statement, place=self.place)
            self._opened = self._database.opened

    def _sql(self, rows: int) -> str:
        any_of = self._statement.any_of
        return any_of.sql(rows) if any_of and rows > 1 else self._statement.sql
