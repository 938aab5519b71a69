"""One fresh database of a test: what the connector is told, and a way to look inside that is not ODBC.

The reading side uses another driver on purpose (psycopg, PyMySQL, sqlite3): what ODBC damages on the way in must not be
hidden by the same damage on the way out.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Cursor(Protocol):
    def execute(self, sql: str, params: Sequence[Any] = ..., /) -> object: ...
    def fetchall(self) -> Sequence[Sequence[Any]]: ...
    def close(self) -> object: ...


class Connection(Protocol):
    """A DB-API connection in autocommit mode."""

    def cursor(self) -> Any: ...
    def close(self) -> object: ...


class Database:
    """`kind` is postgresql, mariadb or sqlite; `variant` tells the drivers apart: also postgresql-ansi."""

    placeholder = "%s"

    def __init__(self, kind: str, variant: str, name: str, connection: Mapping[str, str], server: Any) -> None:
        self.kind = kind
        self.variant = variant
        self.name = name
        self.connection = dict(connection)
        #: The server, for stop(), start(), kill(), pause(), resume(); None for SQLite, which has none.
        self.server = server
        self._open: Connection | None = None

    def __repr__(self) -> str:
        return f"<{self.variant} {self.name}>"

    def config(self, **overrides: Any) -> dict[str, Any]:
        """Return the `database` section of a configuration file."""
        return {"connection": self.connection, **overrides}

    def connect(self) -> Connection:
        """Open one more connection that is not ODBC, in autocommit mode; whoever asks closes it."""
        raise RuntimeError("not said")

    def execute(self, sql: str, *params: Any) -> None:
        """Run a statement (`?` for its parameters) and commit it."""
        cursor = self._cursor()
        try:
            cursor.execute(*self._translated(sql, params))
        finally:
            cursor.close()

    def script(self, *statements: str) -> None:
        for statement in statements:
            self.execute(statement)

    def rows(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query as tuples."""
        cursor = self._cursor()
        try:
            cursor.execute(*self._translated(sql, params))
            return [tuple(row) for row in cursor.fetchall()]
        finally:
            cursor.close()

    def value(self, sql: str, *params: Any) -> Any:
        """Return the first column of the only row."""
        ((value, *_),) = self.rows(sql, *params)
        return value

    def count(self, table: str) -> int:
        return int(self.value(f"SELECT count(*) FROM {table}"))

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _cursor(self) -> Any:
        if self._open is None:
            self._open = self.connect()
        return self._open.cursor()

    def _translated(self, sql: str, params: Sequence[Any]) -> tuple[Any, ...]:
        if not params:
            return (sql,)
        if self.placeholder == "?":
            return sql, params
        return sql.replace("%", "%%").replace("?", self.placeholder), params
