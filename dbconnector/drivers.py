"""What differs between ODBC drivers, as a table, and what their error codes mean. Pure: imports neither pyodbc nor I/O.

Measured against psqlodbc 13.02, MariaDB Connector/ODBC 3.1 and sqliteodbc 0.9998. The entries with `measured=False`
come from the vendors' documentation. A driver that is not in the table gets `GENERIC`: single rows, no savepoints,
classes of SQLSTATE only, so that the worst it can be is slow.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from connectorlib.errors import Kind

#: pyodbc counts parameter markers in 16 bits with a sign.
PYODBC_PARAMETERS = 32_767


RETURNING = re.compile(r"\b(RETURNING|OUTPUT)\b", re.IGNORECASE)
NO_RETURNING = (
    "this driver does not hand out the row of RETURNING; name a statement after it instead that reads the key,"
    " such as SELECT last_insert_rowid() AS id"
)


@dataclass(frozen=True, slots=True)
class Savepoints:
    """The statements of one dialect; `{}` stands for the name. Never released: the commit does that."""

    set: str = "SAVEPOINT {}"
    back: str = "ROLLBACK TO SAVEPOINT {}"
    #: Whether one still stands after going back to it. If that is not sure it is set anew.
    stay: bool = True


STANDARD_SAVEPOINTS = Savepoints()


@dataclass(frozen=True, slots=True)
class Driver:
    """One row of the table. `defaults` are put under the connection's own keys and shown by `check`."""

    name: str
    kind: str  # postgresql | mariadb | sqlite | sqlserver | oracle | generic
    defaults: Mapping[str, str] = field(default_factory=dict)
    #: Added for a connection that only reads.
    reading: Mapping[str, str] = field(default_factory=dict)
    #: Put over the connection's own keys: without these values would be damaged.
    forced: Mapping[str, str] = field(default_factory=dict)
    #: Run on every new connection, before `on_connect`.
    session: tuple[str, ...] = ()
    max_parameters: int = PYODBC_PARAMETERS
    #: Rows in one VALUES list; 1: the dialect is not known to take more.
    max_rows: int = 1
    savepoints: Savepoints | None = None
    paging: str = "fetch"  # limit: LIMIT n · fetch: FETCH FIRST n ROWS ONLY · top: SELECT TOP n
    #: Reads a result of any size in bounded memory; else a large select needs `key`.
    streams: bool = False
    #: The same for a query with parameters (sqliteodbc reads those into memory).
    streams_parameters: bool = True
    #: An INSERT with RETURNING / OUTPUT hands its row out.
    returning: bool = True
    #: Turns `INSERT INTO t … VALUES …` into one that skips the rows that are there and does not count them.
    #: {"verb": "INSERT IGNORE"} or {"suffix": "ON CONFLICT DO NOTHING"}; empty: a plain INSERT, duplicates are errors.
    insert_or_ignore: Mapping[str, str] = field(default_factory=dict)
    #: An INSERT, UPDATE or DELETE gives one result, whatever its triggers do. Where they add theirs, an error may come
    #: with any of them.
    one_result: bool = False
    #: Text travels as UTF-8 bytes instead of SQL_C_WCHAR: psqlodbc's ANSI driver does not know that type,
    #: MariaDB's stores text of more than 255 characters wrong and reads it back shorter, sqliteodbc's reads
    #: characters from U+100000 on as others and ends a statement at one beyond the BMP.
    utf8: bool = False
    #: The driver manager makes a character of every byte of a column's name: there is no function for wide ones, or
    #: (sqliteodbc) it is not used because statements are sent as UTF-8.
    widens_names: bool = False
    #: A statement with one character beyond the BMP in it gets all that is not ASCII wrong: unixODBC turns UTF-8 into
    #: UCS-2 for a driver that has only wide functions. Parameters are not touched by that.
    bmp_only: bool = False
    #: An error of SQLSTATE 01000 (MariaDB: 1265, a value that its column cannot take) comes as a success with a message
    #: when a prepared statement is run: nothing was done, and nothing is raised.
    hides_errors: bool = False
    #: Whether the number in the text is the server's own code (psqlodbc's is not).
    native_codes: bool = True
    natives: Mapping[int, Kind] = field(default_factory=dict)
    #: False: from the vendor's documentation only.
    measured: bool = True


def _codes(kind: Kind, *codes: int) -> dict[int, Kind]:
    return dict.fromkeys(codes, kind)


_MARIADB_CODES = {
    # Lock wait, deadlock, lock table full, record changed, interrupted, to be prepared again, statement time limit
    # (MariaDB, MySQL), NOWAIT.
    **_codes(Kind.RETRY, 1205, 1206, 1213, 1020, 1317, 1614, 1615, 1907, 1969, 3024, 3572),
    # No server, too many connections, shutdown, killed, network errors, TLS.
    **_codes(Kind.UNAVAILABLE, 2002, 2003, 2004, 2005, 2006, 2012, 2013, 2026, 2055),
    **_codes(Kind.UNAVAILABLE, 1040, 1053, 1080, 1129, 1158, 1159, 1160, 1161, 1184, 1203, 1226, 1927),
    # Disk full (also as EE_WRITE 3 and through the storage engine, in a commit, in a temporary file), memory, threads,
    # undo slots, crashed tables.
    **_codes(Kind.UNAVAILABLE, 3, 1021, 1026, 1028, 1030, 1037, 1038, 1041, 1114, 1135, 1180, 1181, 1194, 1195),
    **_codes(Kind.UNAVAILABLE, 1637, 1878),
    # Read-only: the option, the transaction, the mode.
    **_codes(Kind.UNAVAILABLE, 1290, 1792, 1836),
    **_codes(Kind.REFUSED, 1044, 1045, 1130, 1251, 1698, 1820, 1862, 2059),
    **_codes(Kind.CONFIGURATION, 1046, 1049, 1364),
    # Data truncated, incorrect value, packet or row too large for this one message, SIGNAL, CHECK in MySQL.
    **_codes(Kind.REJECT, 1118, 1153, 1265, 1366, 1411, 1644, 3140, 3819),
}
_SQLITE_CODES = {
    **_codes(Kind.REJECT, 18, 19, 20),  # too big, constraint, datatype mismatch
    **_codes(Kind.RETRY, 5, 6, 9, 17),  # busy, locked, interrupted, schema changed
    **_codes(Kind.UNAVAILABLE, 7, 8, 10, 11, 13, 14, 15),  # memory, read-only, I/O, corrupt, full, cannot open, lock
    **_codes(Kind.REFUSED, 3, 23),
    **_codes(Kind.CONFIGURATION, 1, 25, 26),  # any error in the SQL, parameter out of range, not a database
}
_SQLSERVER_CODES = {
    **_codes(Kind.RETRY, 1204, 1205, 1222, 3960, 3961, 41301, 41302, 41305, 41325),
    **_codes(Kind.UNAVAILABLE, 20003, 20004, 20006, 20009, 20017, 20020, 40197, 40501, 40613, 49918, 49919, 49920),
    **_codes(Kind.UNAVAILABLE, 701, 976, 983, 1105, 3906, 9002, 10928, 10929, 17142, 233, 10053, 10054, 10060),
    **_codes(Kind.REFUSED, 18452, 18456, 18470, 18486, 18487, 18488),
    **_codes(Kind.CONFIGURATION, 207, 208, 4060),
    **_codes(Kind.REJECT, 220, 241, 242, 245, 515, 547, 2601, 2627, 2628, 8114, 8115, 8134, 8152, 50000),
}
_ORACLE_CODES = {
    **_codes(Kind.RETRY, 54, 60, 8177, 30006),
    **_codes(Kind.UNAVAILABLE, 257, 1012, 1033, 1034, 1089, 3113, 3114, 3135, 12170, 12514, 12537, 12541, 12543),
    **_codes(Kind.UNAVAILABLE, 1536, 1652, 1653, 1654, 16000, 30036),
    **_codes(Kind.REFUSED, 1005, 1017, 1045, 28000, 28001),
    **_codes(Kind.CONFIGURATION, 900, 903, 904, 907, 911, 917, 923, 933, 936, 942, 12154, 12505),
    **_codes(Kind.REJECT, 1, 1400, 1407, 1438, 1461, 1722, 1839, 1840, 1841, 1843, 1847, 1858, 1861, 2290, 2291, 2292),
    **_codes(Kind.REJECT, 12899),
    **_codes(Kind.REJECT, *range(20000, 21000)),  # RAISE_APPLICATION_ERROR
}

_POSTGRESQL = Driver(
    name="PostgreSQL (psqlodbc, Unicode)",
    kind="postgresql",
    defaults={
        "BoolsAsChar": "0",  # else a boolean is read as the text '1'
        "ByteaAsLongVarBinary": "1",
        "CommLog": "0",  # Debian's odbcinst.ini sets 1: a world-readable log in /tmp for every process
        "KeepaliveInterval": "5",
        "KeepaliveTime": "30",
        # -0: no SAVEPOINT of the driver's own around every statement (it halves the speed of single rows).
        # In return an error aborts the transaction and commit() would say "done" all the same: see Database.
        "Protocol": "7.4-0",
        "Pqopt": "tcp_user_timeout={socket_ms}",
    },
    reading={"UseDeclareFetch": "1", "Fetch": "1000"},
    session=(
        "SELECT set_config('TimeZone', 'UTC', false), set_config('statement_timeout', '{statement_ms}', false),"
        " set_config('lock_timeout', '{lock_ms}', false)",
    ),
    # libpq takes the description of parameters (6 bytes and 4 for each) for garbage beyond 30,000 bytes, and hangs up:
    # "lost synchronization with server".
    max_parameters=7_498,
    max_rows=10_000,
    savepoints=STANDARD_SAVEPOINTS,
    paging="limit",
    streams=True,
    one_result=True,
    insert_or_ignore={"suffix": "ON CONFLICT DO NOTHING"},
    native_codes=False,
)
POSTGRESQL = _POSTGRESQL
POSTGRESQL_ANSI = replace(
    _POSTGRESQL,
    name="PostgreSQL (psqlodbc, ANSI)",
    utf8=True,
    widens_names=True,
    session=("SET client_encoding = 'UTF8'", *_POSTGRESQL.session),
)
MARIADB = Driver(
    name="MariaDB / MySQL",
    kind="mariadb",
    defaults={
        "CONN_TIMEOUT": "{login_s}",
        "READ_TIMEOUT": "{socket_s}",
        "WRITE_TIMEOUT": "{socket_s}",
        # 2: an UPDATE counts the rows that it found, not only those that it altered. Without it a repeated message
        # looks like one for which there was no row (must_change).
        "OPTION": "2",
    },
    forced={"CHARSET": "utf8mb4"},
    session=(
        "SET SESSION time_zone = '+00:00', max_statement_time = {statement_s}, innodb_lock_wait_timeout = {lock_s}",
    ),
    max_rows=10_000,
    savepoints=STANDARD_SAVEPOINTS,
    paging="limit",
    one_result=True,
    utf8=True,
    bmp_only=True,
    hides_errors=True,
    # Not ON DUPLICATE KEY UPDATE: with OPTION=2 that counts the duplicates as well.
    insert_or_ignore={"verb": "INSERT IGNORE"},
    natives=_MARIADB_CODES,
)
#: The MySQL server has max_execution_time (SELECT only) instead of max_statement_time, the connector other keys.
MYSQL = replace(
    MARIADB,
    name="MySQL",
    hides_errors=False,
    defaults={"OPTION": "2"},
    session=("SET SESSION time_zone = '+00:00', innodb_lock_wait_timeout = {lock_s}",),
    measured=False,
)
SQLITE = Driver(
    name="SQLite (sqliteodbc)",
    kind="sqlite",
    defaults={"BigInt": "1", "FKSupport": "1", "LongNames": "0", "StepAPI": "0", "Timeout": "{lock_ms}"},
    reading={"StepAPI": "1"},
    max_rows=10_000,
    savepoints=STANDARD_SAVEPOINTS,
    paging="limit",
    utf8=True,
    widens_names=True,
    streams=True,
    streams_parameters=False,
    one_result=True,
    returning=False,
    insert_or_ignore={"suffix": "ON CONFLICT DO NOTHING"},
    natives=_SQLITE_CODES,
)
SQLSERVER = Driver(
    name="SQL Server",
    kind="sqlserver",
    defaults={"ConnectRetryCount": "0"},  # a silent reconnect would lose the session's settings
    session=("SET LOCK_TIMEOUT {lock_ms}",),
    max_parameters=2_090,  # 2,100, of which the driver's sp_prepexec takes some
    max_rows=1_000,
    savepoints=Savepoints("SAVE TRANSACTION {}", "ROLLBACK TRANSACTION {}", stay=False),
    paging="top",
    streams=True,
    natives=_SQLSERVER_CODES,
    measured=False,
)
FREETDS = replace(SQLSERVER, name="SQL Server (FreeTDS)", defaults={"TDS_Version": "7.4", "ClientCharset": "UTF-8"})
ORACLE = Driver(
    name="Oracle",
    kind="oracle",
    savepoints=STANDARD_SAVEPOINTS,
    streams=True,
    returning=False,
    natives=_ORACLE_CODES,
    measured=False,
)
GENERIC = Driver(name="unknown driver", kind="generic", native_codes=False, measured=False)

#: First match wins; looked for in the Driver keyword, the library's name and the DBMS's name.
_NAMES: tuple[tuple[str, Driver], ...] = (
    (r"psqlodbca|postgres.*ansi", POSTGRESQL_ANSI),
    (r"psqlodbc|postgres", POSTGRESQL),
    (r"libmaodbc|maodbc|mariadb", MARIADB),
    (r"libmyodbc|myodbc|mysql", MYSQL),
    (r"sqlite", SQLITE),
    (r"freetds|libtdsodbc|tdsodbc", FREETDS),
    (r"msodbcsql|sql server|sqlsrv|sqlncli", SQLSERVER),
    (r"oracle|libsqora|sqora", ORACLE),
)


def find_driver(name: str) -> Driver:
    """Given a driver's name as in odbcinst.ini, or the file of its library, return its entry or GENERIC."""
    for pattern, driver in _NAMES:
        if re.search(pattern, name, re.IGNORECASE):
            return driver
    return GENERIC
