"""The cursors of one connection: prepared ones are kept, and all are closed together with it, out of the way."""

import contextlib
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

#: Prepared cursors kept; a batch that is split in four needs about five for each statement.
PREPARED = 64

_ROWS_ONLY = re.compile(r"\s*(INSERT|UPDATE|DELETE|MERGE|REPLACE)\b", re.IGNORECASE)


class Cursors:
    """Holds every cursor of a connection, so that none is freed in the caller's thread when the link is dead: that
    could hang as close() does."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._prepared: OrderedDict[str, Any] = OrderedDict()
        self._open: list[Any] = []

    def prepared(self, sql: str) -> Any:
        """Return the cursor that is kept for this text: pyodbc prepares again when a cursor changes its text."""
        cursor = self._prepared.get(sql)
        if cursor is None:
            if len(self._prepared) >= PREPARED:
                self._prepared.popitem(last=False)[1].close()
            cursor = self._prepared[sql] = self.connection.cursor()
        else:
            self._prepared.move_to_end(sql)
        return cursor

    def forget(self, cursor: Any) -> None:
        """Close a prepared cursor that is not fit to be used again."""
        for sql in [sql for sql, kept in self._prepared.items() if kept is cursor]:
            self._prepared.pop(sql).close()

    def open(self) -> Any:
        """Return a cursor for one query, to be given to `release`."""
        cursor = self.connection.cursor()
        self._open.append(cursor)
        return cursor

    def release(self, cursor: Any) -> None:
        self._open.remove(cursor)
        cursor.close()

    def close(self) -> threading.Thread:
        """Close the connection in a thread of its own: it rolls back first and hangs on a link that swallows all."""

        def close() -> None:
            with contextlib.suppress(Exception):  # it is thrown away, whatever it says
                for cursor in (*self._prepared.values(), *self._open):
                    cursor.close()
                self.connection.close()

        thread = threading.Thread(target=close, name="database-close", daemon=True)
        thread.start()
        return thread


def hidden_error(messages: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Given what a driver said beside a success (`[01000] (1265)` and a text), return it as pyodbc says an error."""
    head, text = messages[0]
    state, native = head.strip("[").split("] ", 1)
    return state, f"[{state}] {text} {native}"


def is_single(sql: str) -> bool:
    """Return whether this text is surely one INSERT, UPDATE or the like, and not several statements or a procedure."""
    return ";" not in sql and _ROWS_ONLY.match(sql) is not None


def drain(cursor: Any, check: Callable[[Any], None], *, single: bool) -> None:
    """Read results to their end, looking at each: procedures report the errors of later statements only there.

    `single`: what was run gives one result, so that a row count is not asked for a next one, which takes the drivers
    2 to 3 µs.
    """
    rows = cursor.description is not None
    if rows:
        cursor.fetchall()
    if rows or not single:
        while cursor.nextset():
            check(cursor)
