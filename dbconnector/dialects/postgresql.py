"""PostgreSQL, through psqlodbc (measured: 13.02).

The driver cuts text at a NUL, stores `true` in a text column as `1`, turns `infinity` into the year 9999, changes years
BC and ignores time zones. It sends every parameter as a literal without a type, so text is always the exact form.
"""

import datetime
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

from connectorlib.errors import Kind
from connectorlib.values.text import Structured, quoted
from dbconnector.columns import Column, ColumnType, column_class, numbers_of
from dbconnector.dialects.array_text import array_list, array_text
from dbconnector.dialects.base import ALTERED, LIMIT, Dialect, Driver, Query, RefusalTexts, Savepoints, Setting
from dbconnector.dialects.column_bindings import true_false
from dbconnector.dialects.conversions import Bindings, Convert, unfit
from dbconnector.dialects.fetch_plan import (
    Decode,
    FetchPlan,
    ResultColumn,
    aliases,
    to_date,
    to_datetime,
    to_json,
    to_time,
)
from dbconnector.dialects.horizon import APPLICATION, HorizonQuestion, Session, rows_of
from dbconnector.dialects.number_bindings import digits_of, number_in, numbers
from dbconnector.dialects.row_arrays import by_arrays, rows_query
from dbconnector.dialects.temporal_bindings import UTC
from dbconnector.sql import bare
from dbconnector.watermark import Horizon, moment_of


def _columns_query(table: str) -> Query:
    """to_regclass takes the table as it is written in SQL: quotes, schema and search path included. Of a domain the
    type below it counts."""
    query = (
        "SELECT a.attname, CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod)"
        " ELSE format_type(a.atttypid, a.atttypmod) END FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
        " WHERE a.attrelid = to_regclass(?) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    )
    return query, (table,)


#: An ALTER TABLE writes the rows of its columns anew, so their transactions differ.
_VERSION = (
    "SELECT string_agg(attnum || ' ' || xmin, ',' ORDER BY attnum) FROM pg_attribute"
    " WHERE attrelid = to_regclass({}) AND attnum > 0"
)


def _version_query(table: str) -> Query:
    return f"SELECT 1, ({_VERSION.format('?')})", (table,)


def _commit_unaltered(versions: Mapping[str, str]) -> str:
    """No SELECT, of which the driver could make a cursor. The text that is no number is made where it is needed: of a
    constant the error would come in any case."""
    differ = (f"({_VERSION.format(_literal(table))}) IS DISTINCT FROM '{found}'" for table, found in versions.items())
    error = f"CAST('{ALTERED} ' || CURRENT_USER AS integer)"
    return f"VALUES (CASE WHEN {' OR '.join(differ)} THEN {error} END); COMMIT"


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"


def _required_query(table: str) -> Query:
    query = (
        "SELECT a.attname FROM pg_attribute a WHERE a.attrelid = to_regclass(?) AND a.attnum > 0"
        " AND NOT a.attisdropped AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' ORDER BY a.attnum"
    )
    return query, (table,)


_CLOCK = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?"
#: What Python has no moment for, and the server means nothing else by: an age before or after its years, and no end.
_DAY, _BC = r"\d{5,6}-\d\d-\d\d", r"\d{4,6}-\d\d-\d\d"
_NO_END, _ZONE = "-?infinity", r"[+-]\d\d(:\d\d){0,2}"
_ADDRESS = r"(\d{1,3}(\.\d{1,3}){3}|[0-9a-f:]*:[0-9a-f:.]*)(/\d{1,3})?"
_LENGTH = r"[+-]?\d+:[0-5]\d(:[0-5]\d(\.\d{1,6})?)?"
_SPAN = rf"-?P[\dTYMWDHS.,-]+|(@ )?([+-]?\d+(\.\d+)? ?[a-z]+,? ?)+({_LENGTH})?( ago)?|{_LENGTH}"
_HEX = "[0-9a-f]"
_QUADS = rf"({_HEX}{{4}}[.-]?){{2}}{_HEX}{{4}}"
_FORMS: Mapping[str, tuple[Column, str]] = {
    "timestamp": (Column.TIMESTAMP, rf"{_NO_END}|{_DAY}([T ]{_CLOCK})?|{_BC}( {_CLOCK})? BC"),
    "timestamptz": (Column.INSTANT, rf"{_NO_END}|{_DAY}[T ]{_CLOCK}{_ZONE}|{_BC} {_CLOCK}{_ZONE} BC"),
    "date": (Column.DATE, rf"{_NO_END}|{_DAY}|{_BC} BC"),
    "time": (Column.TIME, "24:00:00"),
    "timetz": (Column.TIME, r"24:00:00([+-]\d\d(:\d\d)?)?"),
    "interval": (Column.FORM, _SPAN),
    "inet": (Column.FORM, _ADDRESS),
    "cidr": (Column.FORM, _ADDRESS),
    "macaddr": (
        Column.FORM,
        rf"({_HEX}{{2}}[:-]){{5}}{_HEX}{{2}}|{_HEX}{{6}}[:-]{_HEX}{{6}}|({_HEX}{{4}}[.-]?){{2}}{_HEX}{{4}}",
    ),
    "xml": (Column.FORM, r"[^\0]*"),
    "bit": (Column.FORM, "[01]*"),
    "bit varying": (Column.FORM, "[01]*"),
}
_ZONED = {"timestamp with time zone": "timestamptz", "time with time zone": "timetz"}


def _column_type(type_name: str) -> ColumnType:
    """Given a type as format_type writes it, return what the server takes for it, and what it would alter."""
    if type_name.endswith("[]") and type_name != "box[]":  # whose elements have a semicolon between them
        return ColumnType(Column.ARRAY, type_name, element=_column_type(type_name.removesuffix("[]")))
    found, plain = numbers_of(type_name), re.sub(r"\(.*?\)", "", type_name)
    name = _ZONED.get(plain, plain.removesuffix(" without time zone"))
    if name in _FORMS:
        kind, form = _FORMS[name]
        return ColumnType(
            kind, plain, scale=found[0] if found else None, form=re.compile(form, re.ASCII | re.IGNORECASE)
        )
    match name:
        case "numeric":
            digits, scale = (found[0], found[1]) if found else (None, None)
            return ColumnType(Column.DECIMAL, plain, digits=digits, scale=scale)
        case "money":
            return ColumnType(Column.DECIMAL, plain, scale=2)
        case "real":
            return ColumnType(Column.SINGLE, plain)
        case "oid" | "xid" | "cid":
            return ColumnType(Column.INTEGER, plain, within=range(2**32))
        case "name" | '"char"':
            return ColumnType(Column.TEXT, plain, size=63 if name == "name" else 1, octets=True)
        case "character varying":
            return ColumnType(Column.TEXT, plain, size=found[0] if found else None)
    return ColumnType(column_class(type_name), plain)


def _bindings(column: ColumnType) -> Bindings:
    match column.kind:
        case Column.DECIMAL if column.name == "money":
            return {str: _amount(column), bool: partial(unfit, column.name)}
        case Column.DECIMAL | Column.FLOAT | Column.SINGLE:
            return numbers(column, infinite=True)
        case Column.UNKNOWN | Column.ARRAY:
            return {
                **{Decimal: digits_of, float: repr, bool: true_false},
                **{datetime.datetime: _with_offset, datetime.time: datetime.time.isoformat},
            }
    return {}


def _amount(column: ColumnType) -> Convert:
    """Return what binds text as money: the server reads `1,5` as 15, and nothing as 0."""
    digits = numbers(column)[str]

    def bind(value: str) -> Any:
        if digits is None or number_in(value) is None:
            raise ValueError(f"{quoted(value)} is not a number")
        return digits(value)

    return bind


def _with_offset(value: datetime.datetime) -> str:
    return str(value.astimezone(UTC)) if value.tzinfo else str(value)


#: What a column is fetched as, by its Python type and size: dates and times as text; oid (and what else has ten digits)
#: past the driver's 32 bits with a sign; money, whose digits are ten too, as the number that it is.
_EXACT: Mapping[tuple[type, int], tuple[str, Decode | None]] = {
    (int, 10): ("CAST(CAST({} AS text) AS bigint)", None),
    (float, 10): ("CAST({} AS numeric)", None),
}
_TEXTS: Mapping[type, Decode] = {
    datetime.datetime: to_datetime,
    datetime.date: to_date,
    datetime.time: to_time,
}


def _fetch_plan(sql: str, columns: Sequence[ResultColumn]) -> FetchPlan:
    return _planned(sql, columns, "SELECT {items} FROM (\n{sql}\n) AS q({names})")


def _returning_plan(sql: str, columns: Sequence[ResultColumn]) -> FetchPlan:
    """A statement that changes rows can be read from only in WITH."""
    return _planned(sql, columns, "WITH q({names}) AS (\n{sql}\n) SELECT {items} FROM q")


def _types_query(sql: str, count: int) -> str:
    """The server answers it without running the query: of no row anything is joined."""
    short = aliases(count)
    items = ", ".join(f"CAST(pg_typeof({alias}) AS text)" for alias in short)
    return f"SELECT {items} FROM (SELECT 1) AS one LEFT JOIN (\n{bare(sql)}\n) AS q({', '.join(short)}) ON 1 = 0"


def _planned(sql: str, columns: Sequence[ResultColumn], frame: str) -> FetchPlan:
    names = tuple(column.name for column in columns)
    ways = [_way(column) for column in columns]
    if all(way == _AS_IT_IS for way in ways):
        return FetchPlan(sql, names)
    short = aliases(len(names))
    items = ", ".join(item.format(alias) for alias, (item, _) in zip(short, ways, strict=True))
    text = frame.format(items=items, sql=bare(sql), names=", ".join(short))
    return FetchPlan(text, names, tuple(decode for _, decode in ways))


_AS_TEXT = "CAST({} AS text)"
_AS_IT_IS: tuple[str, Decode | None] = ("{}", None)


def _way(column: ResultColumn) -> tuple[str, Decode | None]:
    if column.declared.endswith("[]") and column.declared != "box[]":
        return _AS_TEXT, _array_decoder(column.declared.removesuffix("[]"))
    if column.declared in ("json", "jsonb"):
        return _AS_TEXT, to_json
    if column.type in _TEXTS:
        return _AS_TEXT, _TEXTS[column.type]
    return _EXACT.get((column.type, column.size), _AS_IT_IS)


#: What an element of an array is in JSON, by its type; of other types it is text.
_ELEMENTS: Mapping[str, Decode] = {
    **dict.fromkeys(("smallint", "integer", "bigint", "oid"), int),
    "numeric": Decimal,
    **dict.fromkeys(("real", "double precision"), float),
    "boolean": "t".__eq__,
    "bytea": lambda text: bytes.fromhex(text.removeprefix("\\x")),
    **dict.fromkeys(("json", "jsonb"), to_json),
    **dict.fromkeys(("timestamp without time zone", "timestamp with time zone"), to_datetime),
    "date": to_date,
    **dict.fromkeys(("time without time zone", "time with time zone"), to_time),
}


def _array_decoder(element: str) -> Decode:
    parse = partial(array_list, _ELEMENTS.get(element))
    return lambda text: Structured(text, parse)


def _guid(value: Any) -> str | None:
    """Return a UUID as PostgreSQL writes it, in lower case; psqlodbc's own text of it is in upper case."""
    return None if value is None else str(uuid.UUID(bytes_le=value))


# --- how far a table is complete ------------------------------------------------------------------------------------

#: Sessions of this database that may be in a transaction. One without an xid counts: `BEGIN; SELECT now()` has none,
#: and what it writes later has that now(). One that shows no xact_start may be in one: `track_activities` is off, or
#: was, or the columns are hidden without pg_read_all_stats. It is asked before pg_prepared_xacts, because a transaction
#: that is being prepared appears there first.
_OPEN = (
    "SELECT now(), pg_is_in_recovery(), s.pid, s.application_name, s.xact_start,"
    " s.query IS NOT DISTINCT FROM '<insufficient privilege>'"
    " FROM (SELECT 1) AS one LEFT JOIN pg_stat_activity s ON s.datname = current_database()"
    " AND s.pid <> pg_backend_pid() AND COALESCE(s.backend_type, '') !~ '^(autovacuum|walsender)'"
    " AND COALESCE(s.application_name, '') <> ALL (CAST(? AS text[])) AND (s.xact_start IS NOT NULL"
    " OR COALESCE(s.state, 'idle') <> 'idle' OR s.query IS NOT DISTINCT FROM '<insufficient privilege>')"
    " ORDER BY s.xact_start NULLS FIRST LIMIT 1"
)
_PREPARED = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() ORDER BY prepared LIMIT 1"


def _time_horizon(session: Session, ignore: Sequence[str]) -> Horizon:
    """now() is the start of this transaction, before anything is looked at."""
    rows_of(session, "SELECT set_config('application_name', ?, false)", (APPLICATION,))
    ((now, stand_by, pid, name, begun, hidden),) = rows_of(session, _OPEN, (array_text(str, [APPLICATION, *ignore]),))
    latest = moment_of(now)
    if stand_by:
        return Horizon(latest, exact=False, latest=latest)
    if pid is None:
        return _unless_prepared(session, Horizon(latest, latest=latest))
    who = f"session {pid}{f' of {name}' if name else ''}"
    if begun is not None:
        return _unless_prepared(session, Horizon(min(moment_of(begun), latest), who, latest=latest))
    hint = "is hidden: GRANT pg_read_all_stats" if hidden else "does not show its transactions: track_activities is off"
    return Horizon(None, f"{who} {hint}")


def _unless_prepared(session: Session, horizon: Horizon) -> Horizon:
    """When a prepared transaction was begun is not known, and its rows are not there yet."""
    prepared = rows_of(session, _PREPARED)
    return Horizon(None, f"prepared transaction {prepared[0][0]}") if prepared else horizon


def _xid_horizon(session: Session, _ignore: Sequence[str]) -> Horizon:
    """Below the xmin of a snapshot all transactions have ended, prepared ones too. No right is needed for it."""
    ((xmin, xmax, stand_by),) = rows_of(
        session,
        "SELECT CAST(pg_snapshot_xmin(s) AS text), CAST(pg_snapshot_xmax(s) AS text), pg_is_in_recovery()"
        " FROM pg_current_snapshot() AS s",
    )
    # A standby lags behind the server that was read before, and catches up.
    latest = None if stand_by else int(xmax)
    return Horizon(int(xmin), "" if xmin == xmax else f"transaction {xmin}", latest=latest)


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
    says="PostgreSQL",
    asks="SHOW server_version",  # no SELECT, of which `reading` would make a cursor
    session=(
        Setting("SELECT set_config('TimeZone', '{zone}', false)", "the session has the time zone of the server"),
        Setting("SELECT set_config('statement_timeout', '{statement_ms}', false)", "no statement has a time limit"),
        Setting(
            "SELECT set_config('lock_timeout', '{lock_ms}', false)",
            "no wait for a lock has a time limit",
            {"short_locks": ""},
        ),
    ),
    short_locks="SELECT set_config('lock_timeout', '{short_ms}', true) FROM pg_settings"
    " WHERE name = 'lock_timeout' AND (setting::int = 0 OR setting::int > {short_ms})",
    # libpq takes the description of parameters (6 bytes and 4 for each) for garbage beyond 30,000 bytes, and hangs up:
    # "lost synchronization with server".
    max_parameters=7_498,
    max_rows=10_000,
    savepoints=Savepoints(),
    refusals=RefusalTexts(
        null=r'^ERROR: null value in column "(?P<column>[^"]+)"',
        key=r"Key \((?P<columns>.+?)\)=\((?P<values>.*?)\) (?:already exists|is not present|conflicts with)",
        row=r"Failing row contains \((?P<values>.*)\)",
        value=r'^ERROR: (?:invalid|date/time|time zone|malformed|value|interval).*?"(?P<value>.*)"',
    ),
    paging=LIMIT,
    insert_or_ignore="INSERT INTO {table} VALUES {rows} ON CONFLICT DO NOTHING",
    one_result=True,
    explains=True,
    prepares=("PREPARE connector_check AS {}", "DEALLOCATE connector_check"),
    explains_constants=True,
    # psqlodbc reports 08001 and no SQLSTATE of the server for everything that goes wrong while connecting, so only the
    # text tells the causes apart. The server speaks the language of its lc_messages: in another one than English all of
    # them count as "unavailable", which pauses and probes as well.
    connect_texts=(
        (r"authentication failed|no password supplied|no pg_hba\.conf entry|role \".*\" does not exist", Kind.REFUSED),
        (r"is not permitted to log in|password .*expired", Kind.REFUSED),
        (r"database \".*\" does not exist|conflicts with other|invalid connection option", Kind.CONFIGURATION),
    ),
    column_type=_column_type,
    columns_query=_columns_query,
    version_query=_version_query,
    commit_unaltered=_commit_unaltered,
    folds_names=True,
    # A cached plan whose result has other columns, a WITH with fewer, a parameter of another type.
    stale_states=frozenset({"0A000", "42P10", "42804"}),
    required_query=_required_query,
    rows_query=rows_query,
    row_set=by_arrays,
    one_row_a_key=True,
    own_bindings=_bindings,
    drops_offsets=True,
    fetch_plan=_fetch_plan,
    returning_plan=_returning_plan,
    types_query=_types_query,
    horizon=HorizonQuestion(_time_horizon, zoned=True),
    number_horizon=HorizonQuestion(_xid_horizon, bound="CAST({} AS xid8)"),
    epoch="CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS bigint)",
)
