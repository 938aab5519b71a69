"""PostgreSQL, through psqlodbc (measured: 13.02).

The driver cuts text at a NUL, stores `true` in a text column as `1`, turns `infinity` into the year 9999, changes years
BC and ignores time zones. It sends every parameter as a literal without a type, so text is always the exact form.
"""

import datetime
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from connectorlib.errors import Kind
from dbconnector.columns import Column, plain_name
from dbconnector.dialects.base import LIMIT, Dialect, Driver, Query, Savepoints
from dbconnector.dialects.conversions import UTC, Bindings, digits_of, true_false
from dbconnector.dialects.fetch_plan import Decode, FetchPlan, aliases, bare, to_date, to_datetime, to_time


def _type_query(table: str, column: str) -> Query:
    """to_regclass takes the table as it is written in SQL: quotes, schema and search path included."""
    query = (
        "SELECT format_type(CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END, NULL) FROM pg_attribute a"
        " JOIN pg_type t ON t.oid = a.atttypid WHERE a.attrelid = to_regclass(?) AND a.attname = ?"
        " AND NOT a.attisdropped"
    )
    return query, (table, plain_name(column, fold=True))


def _required_query(table: str) -> Query:
    query = (
        "SELECT a.attname FROM pg_attribute a WHERE a.attrelid = to_regclass(?) AND a.attnum > 0"
        " AND NOT a.attisdropped AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' ORDER BY a.attnum"
    )
    return query, (table,)


def _bindings(column: Column) -> Bindings:
    own: Bindings = {}
    if column in (Column.UNKNOWN, Column.DECIMAL, Column.FLOAT):
        own |= {Decimal: digits_of, float: repr}  # NaN and infinities included
    if column is Column.UNKNOWN:
        own |= {bool: true_false, datetime.datetime: _with_offset, datetime.time: datetime.time.isoformat}
    return own


def _with_offset(value: datetime.datetime) -> str:
    return str(value.astimezone(UTC)) if value.tzinfo else str(value)


_DECODERS: Mapping[type, Decode] = {
    datetime.datetime: to_datetime,
    datetime.date: to_date,
    datetime.time: to_time,
}


def _fetch_plan(sql: str, columns: Sequence[tuple[str, type]]) -> FetchPlan:
    """Fetch dates and times as text."""
    names = tuple(name for name, _ in columns)
    decoders = tuple(_DECODERS.get(kind) for _, kind in columns)
    if not any(decoders):
        return FetchPlan(sql, names)
    short = aliases(len(names))
    items = ", ".join(f"CAST({a} AS text)" if decode else a for a, decode in zip(short, decoders, strict=True))
    return FetchPlan(f"SELECT {items} FROM (\n{bare(sql)}\n) AS q({', '.join(short)})", names, decoders)


def _guid(value: Any) -> str | None:
    """Return a UUID as PostgreSQL writes it, in lower case; psqlodbc's own text of it is in upper case."""
    return None if value is None else str(uuid.UUID(bytes_le=value))


UNICODE = Driver(
    name="PostgreSQL (psqlodbc, Unicode)",
    pattern="psqlodbc|postgres",
    defaults={
        "BoolsAsChar": "0",  # else a boolean is read as the text '1'
        "ByteaAsLongVarBinary": "1",
        "CommLog": "0",  # Debian's odbcinst.ini sets 1: a world-readable log in /tmp for every process
        "KeepaliveInterval": "5",
        "KeepaliveTime": "30",
        # -0: no SAVEPOINT of the driver's own around every statement (it halves the speed of single rows).
        # In return an error aborts the transaction and commit() would report success all the same: see Database.
        "Protocol": "7.4-0",
        "Pqopt": "tcp_user_timeout={socket_ms}",
    },
    reading={"UseDeclareFetch": "1", "Fetch": "1000"},
    streams=True,
    converters={-11: _guid},
)
ANSI = replace(
    UNICODE,
    name="PostgreSQL (psqlodbc, ANSI)",
    pattern="psqlodbca|postgres.*ansi",
    utf8=True,
    widens_names=True,
    session=("SET client_encoding = 'UTF8'",),
)

DIALECT = Dialect(
    name="postgresql",
    order=1,
    drivers=(ANSI, UNICODE),
    schemes=("postgresql", "postgres"),
    installed_as="PostgreSQL Unicode",
    session=(
        "SELECT set_config('TimeZone', 'UTC', false), set_config('statement_timeout', '{statement_ms}', false),"
        " set_config('lock_timeout', '{lock_ms}', false)",
    ),
    short_locks="SELECT set_config('lock_timeout', '{short_ms}', true) FROM pg_settings"
    " WHERE name = 'lock_timeout' AND (setting::int = 0 OR setting::int > {short_ms})",
    # libpq takes the description of parameters (6 bytes and 4 for each) for garbage beyond 30,000 bytes, and hangs up:
    # "lost synchronization with server".
    max_parameters=7_498,
    max_rows=10_000,
    savepoints=Savepoints(),
    paging=LIMIT,
    insert_or_ignore="INSERT INTO {table} VALUES {rows} ON CONFLICT DO NOTHING",
    one_result=True,
    explains=True,
    explains_constants=True,
    # psqlodbc reports 08001 and no SQLSTATE of the server for everything that goes wrong while connecting, so only the
    # text tells the causes apart. The server speaks the language of its lc_messages: in another one than English all of
    # them count as "unavailable", which pauses and probes as well.
    connect_texts=(
        (r"authentication failed|no password supplied|no pg_hba\.conf entry|role \".*\" does not exist", Kind.REFUSED),
        (r"is not permitted to log in|password .*expired", Kind.REFUSED),
        (r"database \".*\" does not exist|conflicts with other|invalid connection option", Kind.CONFIGURATION),
    ),
    type_query=_type_query,
    required_query=_required_query,
    own_bindings=_bindings,
    fetch_plan=_fetch_plan,
)
