"""Rows on their way out of a database: exactly as they are stored, whatever the driver makes of them. Pure.

psqlodbc turns `infinity` into the year 9999, years before 1 into others and a zone into none; MariaDB's driver takes
the sign off a time and makes a zero date NULL; sqliteodbc prints doubles with 15 digits and gives NULL for a text in
a numeric column. So such columns are fetched as the database's own text and parsed here; what Python has no value for
stays that text.
"""

import datetime
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dbconnector.drivers import Driver

Decode = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Fetch:
    """How to run one query: `sql` in its place, the names of its columns, what to do with each value."""

    sql: str
    names: tuple[str, ...]
    decoders: tuple[Decode | None, ...] = ()

    def rows(self, found: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
        if not any(self.decoders):
            return [tuple(row) for row in found]
        return [
            tuple(
                [v if v is None or f is None else f(v) for f, v in zip(self.decoders, row, strict=True)]  # hot path
            )
            for row in found
        ]


def has_plan(driver: Driver) -> bool:
    """Return whether queries through this driver are described first and then run in another form."""
    return driver.kind in _PLANS


def describing(sql: str) -> str:
    """Return the query that has the same columns and no rows; it fails if `sql` is no plain SELECT."""
    return f"SELECT * FROM (\n{_bare(sql)}\n) described WHERE 1 = 0"


def plan(driver: Driver, sql: str, columns: Sequence[tuple[str, type]]) -> Fetch:
    """Given a query and its columns as described (name, Python type), return how to fetch it exactly."""
    names = tuple(name for name, _ in columns)
    return _PLANS[driver.kind](driver, sql, names, [kind for _, kind in columns])


def _bare(sql: str) -> str:
    return sql.strip().rstrip(";")


def _aliases(count: int) -> list[str]:
    return [f"c{number}" for number in range(1, count + 1)]


# --- PostgreSQL -----------------------------------------------------------------------------------------------------


def _plan_postgresql(driver: Driver, sql: str, names: tuple[str, ...], kinds: Sequence[type]) -> Fetch:
    decoders = tuple(_POSTGRESQL.get(kind) for kind in kinds)
    if not any(decoders):
        return Fetch(sql, names)
    aliases = _aliases(len(names))
    items = ", ".join(f"CAST({a} AS text)" if f else a for a, f in zip(aliases, decoders, strict=True))
    return Fetch(f"SELECT {items} FROM (\n{_bare(sql)}\n) AS q({', '.join(aliases)})", names, decoders)


def to_datetime(text: str) -> datetime.datetime | str:
    """Parse a timestamp; `infinity`, years BC or above 9999 and zero dates stay text."""
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        return text


def to_date(text: str) -> datetime.date | str:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        return text


def to_time(text: str) -> datetime.time | str:
    """Parse a time of day; others (`-01:00:00`, `838:59:59`, `24:00:00`) stay text."""
    if text.startswith("24"):
        return text
    try:
        return datetime.time.fromisoformat(text)
    except ValueError:
        return text


_POSTGRESQL: Mapping[type, Decode] = {
    datetime.datetime: to_datetime,
    datetime.date: to_date,
    datetime.time: to_time,
}


# --- SQLite ---------------------------------------------------------------------------------------------------------

#: One letter for what the value really is, then its exact text. A text with a NUL in it would be cut: in hex. 17 digits
#: would be enough for a double if SQLite's printf were exact; with 20 every one comes back.
_SQLITE_ITEM = (
    "CASE typeof({0}) WHEN 'integer' THEN 'i'||{0} WHEN 'real' THEN 'r'||printf('%!.20g',{0})"
    " WHEN 'text' THEN CASE WHEN instr({0},char(0)) THEN 'x'||hex({0}) ELSE 't'||{0} END"
    " WHEN 'blob' THEN 'b'||hex({0}) END"
)
_SQLITE: Mapping[str, Decode] = {
    "i": int,
    "r": float,
    "t": str,
    "b": bytes.fromhex,
    "x": lambda text: bytes.fromhex(text).decode(),
}


def _plan_sqlite(driver: Driver, sql: str, names: tuple[str, ...], kinds: Sequence[type]) -> Fetch:
    aliases = _aliases(len(names))
    items = ", ".join(_SQLITE_ITEM.format(alias) for alias in aliases)
    text = f"WITH q({', '.join(aliases)}) AS (\n{_bare(sql)}\n) SELECT {items} FROM q"
    return Fetch(text, names, tuple(_sqlite_boolean if kind is bool else _sqlite_value for kind in kinds))


def _sqlite_value(text: str) -> Any:
    return _SQLITE[text[0]](text[1:])


def _sqlite_boolean(text: str) -> Any:
    """A column declared BOOLEAN holds 0 and 1; anything else in it stays what it is."""
    return {"i0": False, "i1": True}[text] if text in ("i0", "i1") else _sqlite_value(text)


_PLANS = {"postgresql": _plan_postgresql, "sqlite": _plan_sqlite}


# --- converters: what the driver hands over as bytes instead of its own value ---------------------------------------


def _of_bytes(decode: Decode) -> Decode:
    return lambda value: None if value is None else decode(value.decode())


#: Per kind of driver: SQL type to conversion (SQL_TYPE_DATE 91, SQL_TYPE_TIME 92, SQL_TYPE_TIMESTAMP 93, SQL_GUID -11).
CONVERTERS: Mapping[str, Mapping[int, Decode]] = {
    "mariadb": {91: _of_bytes(to_date), 92: _of_bytes(to_time), 93: _of_bytes(to_datetime)},
    # psqlodbc's own text of it is in upper case, PostgreSQL's in lower.
    "postgresql": {-11: lambda value: None if value is None else str(uuid.UUID(bytes_le=value))},
}
