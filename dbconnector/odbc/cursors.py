"""The cursors of one connection: prepared ones are kept, and all are closed together with it, in another thread."""

import contextlib
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import pyodbc

from connectorlib.errors import Failed, Failure, Kind
from dbconnector.dialects.fetch_plan import ResultColumn, shortest_single

#: Prepared cursors kept; a batch that is split in four needs about five for each statement.
PREPARED = 64

_ROWS_ONLY = re.compile(r"\s*(INSERT|UPDATE|DELETE|MERGE|REPLACE)\b", re.IGNORECASE)


class Cursors:
    """Holds every cursor of a connection, so that none is freed in the caller's thread when the network is dead: that
    could block as close() does."""

    def __init__(self, connection: Any, bmp_only: bool = False) -> None:
        """`bmp_only`: see `Driver`."""
        self.connection = connection
        self._bmp_only = bmp_only
        self._prepared: OrderedDict[str, Any] = OrderedDict()
        self._open: list[Any] = []

    def knows(self, sql: str) -> bool:
        """Return whether there is a prepared cursor for this text already."""
        return sql in self._prepared

    def prepared(self, sql: str) -> Any:
        """Return the cursor that is kept for this text: pyodbc prepares again when a cursor's text changes."""
        cursor = self._prepared.get(sql)
        if cursor is None:
            self._refuse(sql)
            if len(self._prepared) >= PREPARED:
                self._prepared.popitem(last=False)[1].close()
            cursor = self._prepared[sql] = self.connection.cursor()
        else:
            self._prepared.move_to_end(sql)
        return cursor

    def forget(self, cursor: Any) -> None:
        """Close a prepared cursor that must not be used again."""
        for sql in [sql for sql, kept in self._prepared.items() if kept is cursor]:
            self._prepared.pop(sql).close()

    def open(self, sql: str) -> Any:
        """Return a cursor for one query; the caller has to `release` it."""
        self._refuse(sql)
        cursor = self.connection.cursor()
        self._open.append(cursor)
        return cursor

    def release(self, cursor: Any) -> None:
        self._open.remove(cursor)
        cursor.close()

    def _refuse(self, sql: str) -> None:
        if self._bmp_only and (char := max(sql, default="")) > "\uffff":
            text = f"{char} (U+{ord(char):X}) in a statement is damaged by this driver: make it a parameter"
            raise Failed(Failure(Kind.CONFIGURATION, "statement", text))

    def close(self) -> threading.Thread:
        """Close the connection in a thread of its own: it rolls back first, and blocks on a network that drops all."""

        def close() -> None:
            # Errors are ignored: psqlodbc 17 raises one for each if the session is dead. One that is not closed raises
            # when it is freed, and the error turns up in whatever code runs then.
            for each in (*self._prepared.values(), *self._open, self.connection):
                with contextlib.suppress(Exception):
                    each.close()

        thread = threading.Thread(target=close, name="database-close", daemon=True)
        thread.start()
        return thread


def columns_of(cursor: Any, widened: bool) -> list[ResultColumn]:
    """Return the columns of the result, if there is one."""
    return [
        ResultColumn(_narrowed(column[0]) if widened else column[0], column[1], column[3] or 0)
        for column in cursor.description or ()
    ]


def _narrowed(name: str) -> str:
    """Return the name of a column that the driver manager has made wide characters of: each of one byte of UTF-8. In a
    locale of UTF-8 it decodes, and makes as many characters as there were bytes, with anything in the rest."""
    decoded, end, _ = name.partition("\0")
    if end:
        return decoded
    try:
        return name if name.isascii() else name.encode("latin-1").decode()
    except UnicodeError:
        return name


def hidden_error(messages: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Given a message of a success (`[01000] (1265)` and a text), return the args of an error of pyodbc."""
    head, text = messages[0]
    state, native = head.strip("[").split("] ", 1)
    return state, f"[{state}] {text} {native}"


def is_single(sql: str) -> bool:
    """Return whether a text is certainly one INSERT, UPDATE or the like: not several statements, nor a procedure."""
    return ";" not in sql and _ROWS_ONLY.match(sql) is not None


def drain(cursor: Any, check: Callable[[Any], None], *, single: bool, ended: bool = False) -> None:
    """Read all results and check each: procedures report the errors of later statements only there.

    `single`: the statement gives one result, so a row count is not asked for the next one, which takes 2 to 3 µs.
    `ended`: the end of the first result was seen; there are drivers that begin anew if they are asked again.
    """
    rows = cursor.description is not None
    if rows and not ended:
        cursor.fetchall()
    if rows or not single:
        while _has_next(cursor, check):
            pass


def _has_next(cursor: Any, check: Callable[[Any], None]) -> bool:
    """Go to the next result and check it; return whether there was one. MariaDB Connector/ODBC 3.2 reports an error as
    a message, and then fails with another (07005), for there is no result to describe."""
    try:
        return bool(cursor.nextset())
    finally:
        check(cursor)


def refuse_more(cursor: Any, check: Callable[[Any], None], place: str, *, measured: bool) -> None:
    """Raise Failed if another result with rows follows: those would be lost. What fails after the first result is
    reported only there. `measured`: see `Driver`; another one may not know the question."""
    try:
        while _has_next(cursor, check):
            if cursor.description is not None:
                text = "the query gives several results, and the rows of the first only would be used: leave one"
                raise Failed(Failure(Kind.CONFIGURATION, "several-results", text, place))
    except pyodbc.Error:
        if measured:
            raise


def exact_singles(columns: Sequence[ResultColumn], rows: list[Any]) -> list[Any]:
    """Return rows in which a number of single precision has the digits that it was written with."""
    singles = [at for at, column in enumerate(columns) if column.single]
    for at in singles:
        for row in rows:
            row[at] = shortest_single(row[at])
    return rows
