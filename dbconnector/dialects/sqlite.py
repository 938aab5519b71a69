"""SQLite, through sqliteodbc (measured: 0.9998).

The driver cuts text at a NUL, prints doubles with 15 digits and returns NULL for a text in a numeric column. The
database keeps dates and times as text, and numbers as 64-bit integers or doubles whatever the column is declared as.
"""

import datetime
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from connectorlib.errors import Failed, Kind
from dbconnector.columns import Column, ColumnType, name_parts
from dbconnector.dialects.base import LIMIT, Dialect, Driver, Query, Savepoints, Setting, codes
from dbconnector.dialects.column_bindings import true_false
from dbconnector.dialects.conversions import Bindings, boolean_text, plain_text
from dbconnector.dialects.fetch_plan import Decode, FetchPlan, ResultColumn, aliases
from dbconnector.dialects.horizon import PLACE, HorizonQuestion, Session, rows_of
from dbconnector.dialects.number_bindings import MAX_INT, MIN_INT, finite, finite_digits, number_in, refuse_rounding
from dbconnector.dialects.row_values import by_values, rows_query
from dbconnector.sql import bare
from dbconnector.watermark import Horizon, moment_of

_CODES = {
    **codes(Kind.REJECT, 18, 19, 20),  # too big, constraint, datatype mismatch
    **codes(Kind.RETRY, 5, 6, 9, 17),  # busy, locked, interrupted, schema changed
    **codes(Kind.UNAVAILABLE, 7, 8, 10, 11, 13, 14, 15),  # memory, read-only, I/O, corrupt, full, cannot open, lock
    **codes(Kind.REFUSED, 3, 23),
    **codes(Kind.CONFIGURATION, 1, 25, 26),  # any error in the SQL, parameter out of range, not a database
}


def _keywords(_host: str, _port: int | None, name: str) -> dict[str, str]:
    return {"Database": name}


# --- columns --------------------------------------------------------------------------------------------------------

#: The rules of affinity in their order (sqlite.org/datatype3.html §3.1), with the names that we tell apart in between.
_AFFINITIES: tuple[tuple[str, Column], ...] = (
    (r"^$", Column.UNKNOWN),
    (r"bool", Column.BOOLEAN),
    (r"timestamp|datetime", Column.TIMESTAMP),
    (r"int", Column.INTEGER),
    (r"char|clob|text", Column.TEXT),
    (r"blob", Column.BINARY),
    (r"real|floa|doub", Column.FLOAT),
    (r"json", Column.JSON),
    (r"date", Column.DATE),
    (r"time", Column.TIME),
)


def _column_type(type_name: str) -> ColumnType:
    name = type_name.strip().lower()
    kind = next((column for pattern, column in _AFFINITIES if re.search(pattern, name)), Column.DECIMAL)
    return ColumnType(kind, type_name)


def _columns_query(table: str) -> Query:
    return "SELECT name, type FROM pragma_table_xinfo(?)", (name_parts(table)[-1],)


def _required_query(table: str) -> Query:
    query = 'SELECT name FROM pragma_table_info(?) WHERE "notnull" = 1 AND dflt_value IS NULL AND pk = 0'
    return query, (name_parts(table)[-1],)


# --- values in ------------------------------------------------------------------------------------------------------


def _bindings(column: ColumnType) -> Bindings:
    """SQLite keeps any value in any column, so nothing is refused but what it would alter; and it keeps dates and times
    as the text that they are given as."""
    if column.kind in (Column.TEXT, Column.BINARY):
        return {}
    own: Bindings = {datetime.datetime: str, datetime.date: datetime.date.isoformat, datetime.time: _iso_time}
    match column.kind:
        case Column.UNKNOWN:
            return own | {int: _exact_int, Decimal: _exact_decimal}
        case Column.FLOAT:
            return own | {**_EXACT, int: _exact_real, Decimal: _to_real, str: _real_text}
        case Column.BOOLEAN:
            return own | {**_EXACT, str: _truth_text}
        case Column.JSON:
            return {**_EXACT, bool: true_false}
    return own | _EXACT


def _iso_time(value: datetime.time) -> str:
    return value.isoformat()


def _exact_int(value: int) -> int:
    if not MIN_INT <= value <= MAX_INT:
        raise ValueError(f"{value} does not fit in 64 bits")
    return value


def _exact_real(value: int) -> int:
    refuse_rounding(Decimal(value))
    return value


def _to_real(value: Decimal) -> float:
    refuse_rounding(value)
    return finite(float(value))


def _exact_decimal(value: Decimal) -> int | str:
    """Return a number so that SQLite, which keeps 64-bit integers and doubles, returns the same digits, or raise."""
    digits = finite_digits(value)
    if len(digits) > 15:
        if MIN_INT <= value <= MAX_INT and value == int(value):
            return int(value)
        refuse_rounding(value)
    return digits


def _exact_text(value: str) -> int | str:
    """Check a text that looks like a number in the same way: SQLite makes a number of it."""
    number = _number(value)
    if number is None or (len(value) <= 15 and number.adjusted() < 18):
        return plain_text(value)
    exact = _exact_decimal(number)
    return exact if isinstance(exact, int) else value


def _real_text(value: str) -> str:
    if (number := _number(value)) is not None:
        refuse_rounding(number)
    return plain_text(value)


def _truth_text(value: str) -> int | str:
    found = boolean_text(value)
    return _exact_text(found) if isinstance(found, str) else found


_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


def _number(value: str) -> Decimal | None:
    """Return the number that SQLite makes of a text; None if it makes none."""
    return number_in(value) if _NUMBER.fullmatch(value) else None


#: Columns of which SQLite makes integers or doubles.
_EXACT: Bindings = {
    **{str: _exact_text, bool: int, int: _exact_int, Decimal: _exact_decimal, float: finite},
    **dict.fromkeys((bytes, bytearray, memoryview), bytes),
}


# --- values out -----------------------------------------------------------------------------------------------------

#: One letter for the type of the value itself, then its exact text. A text with a NUL in it would be cut: in hex. 17
#: digits would be enough for a double if SQLite's printf were exact; with 20 every one is read back.
_ITEM = (
    "CASE typeof({0}) WHEN 'integer' THEN 'i'||{0} WHEN 'real' THEN 'r'||printf('%!.20g',{0})"
    " WHEN 'text' THEN CASE WHEN instr({0},char(0)) THEN 'x'||hex({0}) ELSE 't'||{0} END"
    " WHEN 'blob' THEN 'b'||hex({0}) END"
)
_DECODERS: Mapping[str, Decode] = {
    "i": int,
    "r": float,
    "t": str,
    "b": bytes.fromhex,
    "x": lambda text: bytes.fromhex(text).decode(),
}


def _fetch_plan(sql: str, columns: Sequence[ResultColumn]) -> FetchPlan:
    short = aliases(len(columns))
    items = ", ".join(_ITEM.format(alias) for alias in short)
    text = f"WITH q({', '.join(short)}) AS (\n{bare(sql)}\n) SELECT {items} FROM q"
    return FetchPlan(text, _names(columns), tuple(_boolean if column.type is bool else _value for column in columns))


_REPEATED = re.compile(r"(.*):\d+", re.DOTALL)


def _names(columns: Sequence[ResultColumn]) -> tuple[str, ...]:
    """Return the names of a described query's columns: SQLite calls the second `id` of a subquery `id:1`."""
    known = {column.name.lower() for column in columns}
    repeated = ((column.name, _REPEATED.fullmatch(column.name)) for column in columns)
    return tuple(found[1] if found and found[1].lower() in known else name for name, found in repeated)


def _value(text: str) -> Any:
    return _DECODERS[text[0]](text[1:])


def _boolean(text: str) -> Any:
    """A column declared BOOLEAN holds 0 and 1; any other value in it is returned as it is."""
    return {"i0": False, "i1": True}[text] if text in ("i0", "i1") else _value(text)


# --- how far a table is complete ------------------------------------------------------------------------------------

_READ_ONLY = "(8)"


def _time_horizon(session: Session, _ignore: Sequence[str]) -> Horizon:
    """Whoever has begun to write has the only right to; once that is ours, all that others wrote is committed."""
    try:
        session.execute("ROLLBACK", place=PLACE)  # what the driver has begun, in which this could not begin
        session.execute("BEGIN IMMEDIATE", place=PLACE)
        ((now,),) = rows_of(session, "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')")
    except Failed as failed:
        if failed.failure.kind is Kind.RETRY:
            return Horizon(None, "a connection that is writing")
        if _READ_ONLY in failed.failure.text:
            latest = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
            return Horizon(latest, exact=False, latest=latest)
        raise
    return Horizon(moment_of(now), latest=moment_of(now))


SQLITEODBC = Driver(
    name="SQLite (sqliteodbc)",
    pattern="sqlite",
    defaults={"BigInt": "1", "FKSupport": "1", "LongNames": "1", "StepAPI": "0", "Timeout": "{lock_ms}"},
    reading={"StepAPI": "1"},
    utf8=True,
    widens_names=True,
    streams=True,
    streams_exclusively=True,
    returning=False,
)

DIALECT = Dialect(
    name="sqlite",
    one_writer=True,
    order=4,
    # Without LongNames the driver takes what is before a point in a name for a table, and with it asks for the table.
    session=tuple(
        Setting(f"PRAGMA {name} = {value}", "names of columns have that of their table before them")
        for name, value in (("full_column_names", "OFF"), ("short_column_names", "ON"))
    ),
    drivers=(SQLITEODBC,),
    schemes=("sqlite",),
    installed_as="SQLite3",
    says="SQLite",
    keywords=_keywords,
    file_keyword="Database",
    max_rows=10_000,
    savepoints=Savepoints(),
    paging=LIMIT,
    insert_or_ignore="INSERT INTO {table} VALUES {rows} ON CONFLICT DO NOTHING",
    one_result=True,
    explains=True,
    natives=_CODES,
    column_type=_column_type,
    columns_query=_columns_query,
    required_query=_required_query,
    rows_query=rows_query,
    row_set=by_values,
    own_bindings=_bindings,
    duplicate=r"^UNIQUE constraint failed",
    fetch_plan=_fetch_plan,
    horizon=HorizonQuestion(_time_horizon, texts=r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?"),
    epoch="CAST(strftime('%s', 'now') AS INTEGER)",
)
