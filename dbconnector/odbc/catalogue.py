"""What the database's catalogue says of the tables in use: their columns, and whether these are still so."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from connectorlib.errors import Failed, Failure, Kind
from dbconnector.columns import UNKNOWN, ColumnType, plain_name
from dbconnector.dialects.base import Query
from dbconnector.dialects.row_sets import Independence, independence
from dbconnector.odbc.server import Server
from dbconnector.sql import Target, tables_of

Rows = Sequence[Sequence[Any]]

#: Returns the rows of a question to the catalogue; none if there is no question. Raises Failed.
Ask = Callable[[Query | None], Rows]
#: As Ask, and returns why, as a text, if the server refuses the question and only its answer is lost.
Try = Callable[[Query], Rows | str]


class Catalogue:
    """The tables of one connection that something was asked about; `clear` forgets them."""

    def __init__(self, server: Server, ask: Ask, try_ask: Try) -> None:
        self._server = server
        self._ask = ask
        self._try_ask = try_ask
        #: Name and type of each column of a table.
        self._columns: dict[str, Sequence[tuple[str, str]]] = {}
        #: What changes with them.
        self._versions: dict[str, Sequence[Any]] = {}
        self._independence: dict[tuple[str, bool], Independence] = {}

    def clear(self) -> None:
        self._columns.clear()
        self._versions.clear()
        self._independence.clear()

    def described(self, table: str) -> Sequence[tuple[str, str]]:
        """Return name and type of each column of a table; none if that is not known."""
        if table not in self._columns:
            found = self._ask_columns(table)
            if found:  # else it is no table, or nothing can be asked of it
                self._versions[table] = found
                if self._has_version(table):  # in this order: the columns are not older
                    found = self._ask_columns(table)
            self._columns[table] = found
        return self._columns[table]

    def column(self, target: Target | None) -> ColumnType:
        """Return what is known of a column; UNKNOWN if that is nothing, as the statement will report."""
        if target is None:
            return UNKNOWN
        folds = self._server.dialect.folds_names
        wanted = plain_name(target.column, fold=folds)
        types = {name if folds else name.lower(): each for name, each in self.described(target.table)}
        found = types.get(wanted if folds else wanted.lower())
        if found is None:
            return UNKNOWN
        column = self._server.dialect.column_type(found)
        return column if target.stored else column.compared()

    def of_result(self, sql: str, names: Sequence[str]) -> list[ColumnType]:
        """Return what is known of the columns of a query: those that have the name that they have in the table, of the
        described tables which the text names. UNKNOWN where two tables differ."""
        described = [self._columns[table] for table in tables_of(sql) if self._columns.get(table)]
        found: dict[str, set[str]] = {}
        for name, kind in (column for columns in described for column in columns):
            found.setdefault(name.lower(), set()).add(kind)
        kinds = [found.get(name.lower(), set()) for name in names]
        return [self._server.dialect.column_type(*each) if len(each) == 1 else UNKNOWN for each in kinds]

    def keeps_instants(self, sql: str) -> bool:
        """Return whether a described table that the text names has a column that is UTC whatever the clock is."""
        kinds = {kind for table in tables_of(sql) for _, kind in self._columns.get(table, ())}
        return any(self._server.dialect.column_type(kind).utc for kind in kinds)

    def independence(self, table: str, *, deletes: bool) -> Independence:
        """Return by what the rows of a table could depend on each other; as if they did if that is not known."""
        key = (table, deletes)
        if key not in self._independence:
            self._independence[key] = independence(self._ask(self._server.dialect.rows_query(table, deletes=deletes)))
        return self._independence[key]

    def refuse_unfit(self, table: str, place: str) -> None:
        """Raise Failed if a batch that fails in this table could not be undone."""
        for (reason,) in self._ask(self._server.dialect.unfit_query(table)):
            raise Failed(Failure(Kind.CONFIGURATION, "table", f"{table} {reason}", place))

    def altered(self) -> bool:
        """Ask whether a described table has other columns since."""
        return any(self._version(table) != found for table, found in self._versions.items())

    def commit_text(self) -> str | None:
        """Return what commits unless a described table is altered, in one round trip; None if the dialect has no such
        text, or no table was described."""
        make, versions = self._server.dialect.commit_unaltered, self._versions
        if make is None or not versions or None in map(self._server.dialect.version_query, versions):
            return None
        return make({table: version for table, (version,) in versions.items()})

    def _has_version(self, table: str) -> bool:
        """Ask for the version of a table for the first time. A server or a user that may not have it costs the faster
        question only."""
        question = self._server.dialect.version_query(table)
        if question is None:
            return False
        found = self._try_ask(question)
        if isinstance(found, str):
            self._server.lacks += (self._server.without("version_query", found),)
            return False
        self._versions[table] = self._version_in(found, table)
        return True

    def _version(self, table: str) -> Sequence[Any]:
        """Return what differs once the columns of a table do."""
        question = self._server.dialect.version_query(table)
        return self._ask_columns(table) if question is None else self._version_in(self._ask(question), table)

    def _version_in(self, rows: Rows, table: str) -> Sequence[Any]:
        dialect = self._server.dialect
        found = [re.sub(dialect.version_noise, "", str(row[1])) for row in rows]
        return self._ask_columns(table) if any(re.match(dialect.version_blind, each) for each in found) else found

    def _ask_columns(self, table: str) -> Sequence[tuple[str, str]]:
        return [(str(name), str(kind)) for name, kind in self._ask(self._server.dialect.columns_query(table))]
