"""`on_sent` and `on_failed`: a statement that is run for a row of the query, its parameters taken from the columns."""

from collections.abc import Sequence
from typing import Any

from connectorlib.errors import Failed, Failure, Kind
from dbconnector.bisect import LARGEST, statements
from dbconnector.odbc.database import Database
from dbconnector.sql import compile_statement

#: What `:error` of on_failed stands for; it hides a column of that name.
ERROR = "error"
Row = tuple[Any, ...]


class Mark:
    """One of the two statements; `place` is what errors call it."""

    def __init__(self, text: str, place: str, database: Database) -> None:
        """Given a connected database, which says what its columns take. Raise ValueError for what is no statement."""
        self.place = place
        self.statement = compile_statement(text)
        self._binder = database.binder(self.statement, place=place)
        self._places: list[int | None] = []

    def bind(self, columns: Sequence[str]) -> None:
        """Find the column of each parameter. Raise Failed for one that has none."""
        self._places = [self._place_of(name, columns) for name in self.statement.names]

    def parameters(self, row: Row, error: str = "") -> Sequence[Any]:
        return self._binder([error if at is None else row[at] for at in self._places])

    def run(self, database: Database, rows: Sequence[Sequence[Any]]) -> int:
        """Run the statement for the parameters of each row, in the transaction, for as many rows at once as it allows;
        return how many rows changed."""
        any_of, changed = self.statement.any_of, 0
        largest = min(LARGEST, database.dialect.rows_at_once(any_of.width)) if any_of else 1
        for sql, parameters in statements(rows, largest, self._sql):
            changed += max(database.execute(sql, parameters, place=self.place), 0)
        return changed

    def _sql(self, rows: int) -> str:
        any_of = self.statement.any_of
        return any_of.sql(rows) if any_of and rows > 1 else self.statement.sql

    def _place_of(self, name: str, columns: Sequence[str]) -> int | None:
        """Return the position of the column, the name as it is before the name in another case; None: the error."""
        if name == ERROR and self.place == "on_failed":
            return None
        if name in columns:
            return columns.index(name)
        lower = [column.lower() for column in columns]
        if lower.count(name.lower()) == 1:
            return lower.index(name.lower())
        text = f":{name} is no column of the query; they are {', '.join(columns)}"
        raise Failed(Failure(Kind.CONFIGURATION, "missing-field", text, self.place))
