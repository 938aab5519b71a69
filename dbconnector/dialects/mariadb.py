"""MariaDB, through MariaDB Connector/ODBC (measured: 3.1), and what MySQL shares with it.

The driver cuts text at a NUL, drops microseconds, turns a UUID into an empty string, removes the sign of a time and
makes a zero date NULL. The database rounds fractions in integer columns.
"""

import os
import re
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from connectorlib.errors import Kind
from dbconnector.columns import Column, ColumnType, column_class, name_parts, numbers_of
from dbconnector.dialects.base import LIMIT, Demand, Dialect, Driver, Query, RefusalTexts, Savepoints, Setting, codes
from dbconnector.dialects.conversions import Bindings, boolean_text
from dbconnector.dialects.fetch_plan import Decode, to_date, to_datetime, to_time
from dbconnector.dialects.horizon import HorizonQuestion, Session, rows_of
from dbconnector.dialects.number_bindings import whole, whole_text
from dbconnector.dialects.row_documents import by_document, rows_query
from dbconnector.watermark import Horizon, moment_of

_CODES = {
    # Lock wait, deadlock, lock table full, record changed, interrupted, to be prepared again (the server; the driver,
    # whose result has other columns), statement time limit (MariaDB, MySQL), NOWAIT.
    **codes(Kind.RETRY, 1205, 1206, 1213, 1020, 1317, 1614, 1615, 2057, 1907, 1969, 3024, 3572),
    # No server, too many connections, shutdown, killed, network errors, TLS.
    **codes(Kind.UNAVAILABLE, 2002, 2003, 2004, 2005, 2006, 2012, 2013, 2026, 2055),
    **codes(Kind.UNAVAILABLE, 1040, 1053, 1080, 1129, 1158, 1159, 1160, 1161, 1184, 1203, 1226, 1927),
    # Disk full (also as EE_WRITE 3 and through the storage engine, in a commit, in a temporary file), memory, threads,
    # undo slots, crashed tables.
    **codes(Kind.UNAVAILABLE, 3, 1021, 1026, 1028, 1030, 1037, 1038, 1041, 1114, 1135, 1180, 1181, 1194, 1195),
    **codes(Kind.UNAVAILABLE, 1637, 1878),
    # Read-only: the option, the transaction, the mode.
    **codes(Kind.UNAVAILABLE, 1290, 1792, 1836),
    **codes(Kind.REFUSED, 1044, 1045, 1130, 1251, 1698, 1820, 1862, 2059),
    **codes(Kind.CONFIGURATION, 1046, 1049, 1364),
    # Data truncated, incorrect value, packet or row too large for this one message, SIGNAL, CHECK in MySQL.
    **codes(Kind.REJECT, 1118, 1153, 1265, 1366, 1411, 1644, 3140, 3819),
}


#: JSON is a longtext with a condition.
_JSON = (
    "SELECT SUBSTRING(check_clause, 13, CHAR_LENGTH(check_clause) - 14) FROM information_schema.check_constraints"
    " WHERE constraint_schema = {} AND table_name = ? AND check_clause LIKE 'json_valid(`%`)'"
)


def columns_query(table: str, kind: str = "column_type", *, more: tuple[str, ...] = ()) -> Query:
    # Without a function around them the server opens only this table.
    *schema, name = name_parts(table)
    query = (
        f"SELECT column_name, {kind} FROM information_schema.columns"
        f" WHERE table_schema = {'?' if schema else 'DATABASE()'} AND table_name = ? ORDER BY ordinal_position"
    )
    return query, (*more, *schema[-1:], name)


def _columns_query(table: str) -> Query:
    *schema, name = name_parts(table)
    with_json = _JSON.format("?" if schema else "DATABASE()")
    kind = f"IF(column_name IN ({with_json}), 'json', column_type)"
    return columns_query(table, kind, more=(*schema[-1:], name))


def _required_query(table: str) -> Query:
    query = (
        "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ?"
        " AND is_nullable = 'NO' AND column_default IS NULL AND extra NOT LIKE '%auto_increment%'"
        " AND COALESCE(generation_expression, '') = '' ORDER BY ordinal_position"
    )
    return query, (name_parts(table)[-1],)


def _unfit_query(table: str) -> Query:
    *schema, name = name_parts(table)
    query = (
        "SELECT CONCAT('is of the engine ', t.engine, ', which cannot roll back: ALTER TABLE ', t.table_name,"
        " ' ENGINE=InnoDB') FROM information_schema.tables t JOIN information_schema.engines e ON e.engine = t.engine"
        " WHERE t.table_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND t.table_name = ? AND e.transactions = 'NO'"
    )
    return query, (schema[-1] if schema else "", name)


_WORDS = re.compile(r"'((?:[^']|'')*)'")
#: A duration, which may be longer than a day.
_LENGTH = re.compile(r"-?\d{2,3}:[0-5]\d(:[0-5]\d(\.\d{1,6})?)?", re.ASCII)


def _column_type(type_name: str) -> ColumnType:
    """Given a type as the catalogue writes it, return what the server takes for it, and what it would alter."""
    found, name = numbers_of(type_name), re.split(r"[( ]", type_name.lower(), maxsplit=1)[0]
    match name:
        case "enum" | "set":
            words = frozenset(word.replace("''", "'") for word in _WORDS.findall(type_name))
            return ColumnType(Column.TEXT, name, members=words, several=name == "set")
        case "bit":
            return ColumnType(Column.INTEGER, name, within=range(2 ** (found[0] if found else 1)))
        case "year":
            return ColumnType(Column.INTEGER, name, within=range(1901, 2156))
        case "decimal" | "float" | "double":
            kind = {"decimal": Column.DECIMAL, "float": Column.SINGLE, "double": Column.FLOAT}[name]
            digits = found[0] if name == "decimal" else None
            return ColumnType(kind, name, digits=digits, scale=found[1] if len(found) > 1 else None)
        case "datetime" | "timestamp" | "time":
            form = _LENGTH if name == "time" else None
            utc = name == "timestamp"
            return ColumnType(column_class(name), name, scale=found[0] if found else 0, form=form, utc=utc)
        case "varchar" | "varbinary":
            return ColumnType(column_class(name), name, size=found[0])
        case "tinytext" | "text":
            return ColumnType(Column.TEXT, name, size=2**8 - 1 if name == "tinytext" else 2**16 - 1, octets=True)
        case "inet4" | "inet6" | "uuid":
            return ColumnType(Column.FORM, name)
    return ColumnType(column_class(type_name), name)


def _bindings(column: ColumnType) -> Bindings:
    match column.kind:
        case Column.BOOLEAN:
            return {str: _truth_text, float: whole, Decimal: whole}
        case Column.UNKNOWN:
            return {bool: int}
    return dict.fromkeys((bytes, bytearray), int.from_bytes) if column.name == "bit" else {}


def _truth_text(value: str) -> int | str:
    found = boolean_text(value)
    return whole_text(found) if isinstance(found, str) else found


def _from_bytes(decode: Decode) -> Decode:
    return lambda value: None if value is None else decode(value.decode())


# --- how far a table is complete ------------------------------------------------------------------------------------

#: The oldest statement. One that waits for a metadata lock is in no transaction yet, and its NOW() is its own start.
_STATEMENTS = (
    "SELECT id, UTC_TIMESTAMP(6) - INTERVAL {elapsed} MICROSECOND FROM information_schema.processlist"
    " WHERE id <> CONNECTION_ID() AND command IN ('Query', 'Execute', 'Prepare') ORDER BY 2 LIMIT 1"
)
#: Its times are those of the server's system, whatever the session's time zone is.
_TRANSACTIONS = (
    "SELECT /* {mark} */ trx_mysql_thread_id, CONVERT_TZ(trx_started, 'SYSTEM', '+00:00'), CONNECTION_ID(),"
    " COALESCE(trx_query LIKE '%{mark}%', 0) FROM information_schema.innodb_trx ORDER BY 2"
)
_PROCESS = re.compile(r"(ALL PRIVILEGES|\bPROCESS\b).* ON \*\.\*")


#: innodb_trx is a cache that is filled again only when nobody has read it for 0.1 s. Whoever reads it at an interval, a
#: moment after somebody else with the same interval, would find an old answer each time; so it is read twice.
REFILL_S = 0.11


def _transactions(session: Session) -> list[tuple[Any, ...]]:
    """Return the thread and the beginning of each transaction, and our own thread; none if the answer is an old one."""
    session.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    found = rows_of(session, _TRANSACTIONS.format(mark=os.urandom(8).hex()))
    return [row[:3] for row in found] if any(row[3] for row in found) else []


def time_horizon(elapsed: str) -> HorizonQuestion:
    """Return what asks for the horizon; `elapsed` says for how many microseconds a statement has been running.

    Since innodb_trx is a cache, an answer is believed only if it has this very statement as what the session is
    executing: the session itself could be there from an earlier transaction. A transaction shows there from its first
    access on.
    """

    def ask(session: Session, _ignore: Sequence[str]) -> Horizon:
        ((now,),) = rows_of(session, "SELECT UTC_TIMESTAMP(6)")
        latest = moment_of(now)
        if not any(_PROCESS.search(grant) for (grant,) in rows_of(session, "SHOW GRANTS")):
            return Horizon(latest, exact=False, latest=latest)
        statements = rows_of(session, _STATEMENTS.format(elapsed=elapsed))
        transactions = _transactions(session)
        if not transactions:
            time.sleep(REFILL_S)  # not cut short by a stop: no longer than a call takes
            transactions = _transactions(session)
        if not transactions:
            return Horizon(None, "innodb_trx, which is read too often to be filled again")
        begun = [(moment_of(at), f"session {thread}") for thread, at, own in transactions if thread != own]
        running = [(moment_of(at), f"the statement of session {thread}") for thread, at in statements]
        return Horizon(*min([(latest, ""), *begun, *running]), latest=latest)

    return HorizonQuestion(ask)


CONNECTOR = Driver(
    name="MariaDB / MySQL",
    pattern="libmaodbc|maodbc|mariadb",
    defaults={
        "CONN_TIMEOUT": "{login_s}",
        "READ_TIMEOUT": "{socket_s}",
        "WRITE_TIMEOUT": "{socket_s}",
        # 2: an UPDATE counts the rows that it found, not only those that it altered. Without it a repeated message
        # looks like one for which there was no row (must_change).
        "OPTION": "2",
    },
    forced={"CHARSET": "utf8mb4"},
    utf8=True,
    bmp_only=True,
    hides_errors=True,
    errors_spoil_cursors=True,
    # Of 4, SQL_INTEGER, the driver makes a number with a sign, also where the column has none.
    converters={4: _from_bytes(int), 91: _from_bytes(to_date), 92: _from_bytes(to_time), 93: _from_bytes(to_datetime)},
)

ZONE = Setting("SET SESSION time_zone = '+00:00'", "the session has the time zone of the server")
LOCKS = Setting(
    "SET SESSION innodb_lock_wait_timeout = {lock_s}",
    "no wait for a lock has a time limit of the connector's",
    {"short_locks": "", "usual_locks": ""},
)

DIALECT = Dialect(
    short_locks="SET @connector_locks = @@innodb_lock_wait_timeout,"
    " SESSION innodb_lock_wait_timeout = LEAST(@@innodb_lock_wait_timeout, 1)",
    usual_locks="SET SESSION innodb_lock_wait_timeout = @connector_locks",
    name="mariadb",
    order=2,
    drivers=(CONNECTOR,),
    schemes=("mariadb",),
    installed_as="MariaDB Unicode",
    says="MariaDB",
    asks="SELECT CONCAT_WS(' ', @@version, @@version_comment)",
    session=(ZONE, Setting("SET SESSION max_statement_time = {statement_s}", "no statement has a time limit"), LOCKS),
    # Without strict mode the server clips what does not fit, and takes 0 for the next number of an AUTO_INCREMENT.
    session_forced=("SET SESSION sql_mode = CONCAT_WS(',', @@sql_mode, 'STRICT_TRANS_TABLES,NO_AUTO_VALUE_ON_ZERO')",),
    demands=(
        Demand(
            "SELECT @@sql_mode",
            r"STRICT_(TRANS|ALL)_TABLES",
            "sql_mode is {}: without strict mode the server clips values that do not fit",
        ),
        Demand(
            "SELECT @@sql_mode",
            r"^(?!.*EMPTY_STRING_IS_NULL)",
            "sql_mode has EMPTY_STRING_IS_NULL, which makes nothing of an empty text: take it out",
        ),
        Demand(
            "SELECT @@session.time_zone",
            r"^([+-]00:00|(Etc/)?UTC)$",
            "time_zone is {}, and moments would be stored by its clock: take it out; columns have UTC",
        ),
    ),
    unfit_query=_unfit_query,
    ddl_commits=True,
    max_rows=10_000,
    savepoints=Savepoints(),
    refusals=RefusalTexts(
        null=r"^Column '(?P<column>.+)' cannot be null",
        at=r" at row (?P<row>\d+)(?: \(\d+\))?$",
        ask=("GET DIAGNOSTICS CONDITION 1 @connector_row = ROW_NUMBER", "SELECT @connector_row"),
    ),
    paging=LIMIT,
    # Not ON DUPLICATE KEY UPDATE: with OPTION=2 that counts the duplicates as well.
    insert_or_ignore="INSERT IGNORE INTO {table} VALUES {rows}",
    one_result=True,
    natives=_CODES,
    # Of one parameter, under a code that can mean anything (1105).
    texts=((r"longer than 'max_allowed_packet'", Kind.REJECT),),
    column_type=_column_type,
    columns_query=_columns_query,
    version_query=lambda table: (f"SHOW CREATE TABLE {table}", ()),
    version_noise=r" AUTO_INCREMENT=\d+",
    version_blind=r"CREATE (?!(TEMPORARY )?TABLE)",  # of a view
    no_table=r"\((1142|1146)\)$",
    required_query=_required_query,
    rows_query=rows_query,
    row_set=by_document,
    own_bindings=_bindings,
    duplicate=r"\((1062|1586)\)$",
    horizon=time_horizon("ROUND(time_ms * 1000)"),
    epoch="UNIX_TIMESTAMP()",
)
