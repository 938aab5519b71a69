"""MariaDB, through MariaDB Connector/ODBC (measured: 3.1), and what MySQL shares with it.

The driver cuts text at a NUL, drops microseconds, turns a UUID into an empty string, removes the sign of a time and
makes a zero date NULL. The database rounds fractions in integer columns.
"""

from connectorlib.errors import Kind
from dbconnector.columns import Column, name_parts, plain_name
from dbconnector.dialects.base import LIMIT, Dialect, Driver, Query, Savepoints, codes
from dbconnector.dialects.conversions import Bindings, boolean_text
from dbconnector.dialects.fetch_plan import Decode, to_date, to_datetime, to_time

_CODES = {
    # Lock wait, deadlock, lock table full, record changed, interrupted, to be prepared again, statement time limit
    # (MariaDB, MySQL), NOWAIT.
    **codes(Kind.RETRY, 1205, 1206, 1213, 1020, 1317, 1614, 1615, 1907, 1969, 3024, 3572),
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


def _type_query(table: str, column: str) -> Query:
    *schema, name = name_parts(table)
    query = (
        "SELECT column_type FROM information_schema.columns WHERE table_schema = COALESCE(NULLIF(?, ''), DATABASE())"
        " AND table_name = ? AND column_name = ?"
    )
    return query, (schema[-1] if schema else "", name, plain_name(column))


def _required_query(table: str) -> Query:
    query = (
        "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ?"
        " AND is_nullable = 'NO' AND column_default IS NULL AND extra NOT LIKE '%auto_increment%'"
        " AND COALESCE(generation_expression, '') = '' ORDER BY ordinal_position"
    )
    return query, (name_parts(table)[-1],)


def _bindings(column: Column) -> Bindings:
    if column is Column.BOOLEAN:
        return {str: boolean_text}
    return {bool: int} if column is Column.UNKNOWN else {}


def _from_bytes(decode: Decode) -> Decode:
    return lambda value: None if value is None else decode(value.decode())


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
    converters={91: _from_bytes(to_date), 92: _from_bytes(to_time), 93: _from_bytes(to_datetime)},
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
    session=(
        "SET SESSION time_zone = '+00:00', max_statement_time = {statement_s}, innodb_lock_wait_timeout = {lock_s}",
    ),
    max_rows=10_000,
    savepoints=Savepoints(),
    paging=LIMIT,
    # Not ON DUPLICATE KEY UPDATE: with OPTION=2 that counts the duplicates as well.
    insert_or_ignore="INSERT IGNORE INTO {table} VALUES {rows}",
    one_result=True,
    natives=_CODES,
    # Of one parameter, under a code that can mean anything (1105).
    texts=((r"longer than 'max_allowed_packet'", Kind.REJECT),),
    type_query=_type_query,
    required_query=_required_query,
    own_bindings=_bindings,
    duplicate=r"\((1062|1586)\)$",
)
