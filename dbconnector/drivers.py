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


@dataclass(frozen=True, slots=True)
class Savepoints:
    """The statements of one dialect; `{}` stands for the name. `release` is None where there is none."""

    set: str = "SAVEPOINT {}"
    back: str = "ROLLBACK TO SAVEPOINT {}"
    release: str | None = "RELEASE SAVEPOINT {}"


STANDARD_SAVEPOINTS = Savepoints()


@dataclass(frozen=True, slots=True)
class Driver:
    """One row of the table. `defaults` are put under the connection's own keys and shown by `check`."""

    name: str
    kind: str  # postgresql | mariadb | sqlite | sqlserver | oracle | generic
    defaults: Mapping[str, str] = field(default_factory=dict)
    #: Added for a connection that only reads.
    reading: Mapping[str, str] = field(default_factory=dict)
    max_parameters: int = PYODBC_PARAMETERS
    #: Rows in one VALUES list; 1: the dialect is not known to take more.
    max_rows: int = 1
    savepoints: Savepoints | None = None
    paging: str = "fetch"  # limit: LIMIT n · fetch: FETCH FIRST n ROWS ONLY · top: SELECT TOP n
    #: Reads a result of any size in bounded memory; else a large select needs `key`.
    streams: bool = False
    #: An INSERT with RETURNING / OUTPUT hands its row out.
    returning: bool = True
    #: Turns `INSERT INTO t … VALUES …` into one that skips the rows that are there and does not count them.
    #: {"verb": "INSERT IGNORE"} or {"suffix": "ON CONFLICT DO NOTHING"}; empty: a plain INSERT, duplicates are errors.
    insert_or_ignore: Mapping[str, str] = field(default_factory=dict)
    #: Text travels as UTF-8 bytes instead of SQL_C_WCHAR: psqlodbc's ANSI driver does not know that type, and
    #: MariaDB's stores text of more than 255 characters wrong and reads it back shorter.
    utf8: bool = False
    #: Whether the number in the text is the server's own code (psqlodbc's is not).
    native_codes: bool = True
    natives: Mapping[int, Kind] = field(default_factory=dict)
    #: SQLSTATEs for which the native code is asked first (there it says more than the state).
    measured: bool = True


def _codes(kind: Kind, *codes: int) -> dict[int, Kind]:
    return dict.fromkeys(codes, kind)


_MARIADB_CODES = {
    # Lock wait, deadlock, record changed, interrupted, statement time limit (MariaDB, MySQL), NOWAIT.
    **_codes(Kind.RETRY, 1205, 1213, 1020, 1317, 1614, 1907, 1969, 3024, 3572),
    # No server, too many connections, shutdown, killed, network errors, TLS.
    **_codes(Kind.UNAVAILABLE, 2002, 2003, 2004, 2005, 2006, 2012, 2013, 2026, 2055),
    **_codes(Kind.UNAVAILABLE, 1040, 1053, 1080, 1129, 1158, 1159, 1160, 1161, 1184, 1203, 1226, 1927),
    # Disk full (also as EE_WRITE 3 and through the storage engine), memory, crashed tables.
    **_codes(Kind.UNAVAILABLE, 3, 1021, 1026, 1028, 1030, 1037, 1038, 1041, 1114, 1194, 1195),
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
        "Pqopt": (
            "options='-c timezone=UTC -c statement_timeout={statement_ms} -c lock_timeout={lock_ms}'"
            " tcp_user_timeout={socket_ms}"
        ),
    },
    reading={"UseDeclareFetch": "1", "Fetch": "1000"},
    max_rows=10_000,
    savepoints=STANDARD_SAVEPOINTS,
    paging="limit",
    streams=True,
    insert_or_ignore={"suffix": "ON CONFLICT DO NOTHING"},
    native_codes=False,
)
POSTGRESQL = _POSTGRESQL
POSTGRESQL_ANSI = replace(_POSTGRESQL, name="PostgreSQL (psqlodbc, ANSI)", utf8=True)
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
        "CHARSET": "utf8mb4",
        "INITSTMT": (
            "SET SESSION time_zone='+00:00', max_statement_time={statement_s}, innodb_lock_wait_timeout={lock_s}"
        ),
    },
    max_rows=10_000,
    savepoints=STANDARD_SAVEPOINTS,
    paging="limit",
    utf8=True,
    # Not ON DUPLICATE KEY UPDATE: with OPTION=2 that counts the duplicates as well.
    insert_or_ignore={"verb": "INSERT IGNORE"},
    natives=_MARIADB_CODES,
)
#: The MySQL server has max_execution_time (SELECT only) instead of max_statement_time, the connector other keys.
MYSQL = replace(
    MARIADB,
    name="MySQL",
    defaults={"CHARSET": "utf8mb4", "OPTION": "2", "INITSTMT": "SET SESSION time_zone='+00:00'"},
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
    returning=False,
    insert_or_ignore={"suffix": "ON CONFLICT DO NOTHING"},
    natives=_SQLITE_CODES,
)
SQLSERVER = Driver(
    name="SQL Server",
    kind="sqlserver",
    defaults={"ConnectRetryCount": "0"},  # a silent reconnect would lose the session's settings
    max_parameters=2_090,  # 2,100, of which the driver's sp_prepexec takes some
    max_rows=1_000,
    savepoints=Savepoints("SAVE TRANSACTION {}", "ROLLBACK TRANSACTION {}", None),
    paging="top",
    streams=True,
    natives=_SQLSERVER_CODES,
    measured=False,
)
FREETDS = replace(SQLSERVER, name="SQL Server (FreeTDS)", defaults={"TDS_Version": "7.4", "ClientCharset": "UTF-8"})
ORACLE = Driver(
    name="Oracle",
    kind="oracle",
    savepoints=Savepoints("SAVEPOINT {}", "ROLLBACK TO SAVEPOINT {}", None),
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


# --- connection strings ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Seconds after which a call has to be over; each longer than the one before it."""

    login: int = 10
    lock: int = 20
    statement: int = 60
    #: Of a silent connection. Longer than a statement, so that the server's clearer error comes first.
    socket: int = 75

    def words(self) -> dict[str, int]:
        """Return the numbers that stand in `Driver.defaults` as `{login_s}`, `{lock_ms}` and so on."""
        seconds = {"login": self.login, "lock": self.lock, "statement": self.statement, "socket": self.socket}
        return {f"{k}_s": v for k, v in seconds.items()} | {f"{k}_ms": v * 1000 for k, v in seconds.items()}


def quote_value(value: str) -> str:
    """Return a value for a connection string, in braces only if it needs them.

    psqlodbc takes `Port={5432}` for the text `{5432}`, so braces are no harmless default. Raise ValueError for
    characters that no driver can carry.
    """
    if re.search(r"[\0\r\n]", value):
        raise ValueError("a connection value cannot hold a line break or NUL")
    if value == "" or not re.search(r"[;{}\[\](),?*=!@]|^\s|\s$", value):
        return value
    return "{" + value.replace("}", "}}") + "}"


def split_connection(text: str) -> dict[str, str]:
    """Given `Driver=x;Pwd={a;b}`, return its keywords. Raise ValueError for what is not one."""
    pairs: dict[str, str] = {}
    rest = text.strip()
    while rest:
        match = re.match(r"\s*([^={};]+?)\s*=\s*(\{(?:[^}]|\}\})*\}|[^;]*)\s*(?:;|$)", rest)
        if match is None:
            raise ValueError(f"not a keyword=value pair, after {', '.join(pairs) or 'the start'}")
        key, value = match.groups()
        pairs[key] = value[1:-1].replace("}}", "}") if value.startswith("{") else value.strip()
        rest = rest[match.end() :].lstrip("; \t")
    return pairs


def merge_defaults(
    driver: Driver, own: Mapping[str, str], limits: TimeLimits = TimeLimits(), *, reading: bool = False
) -> dict[str, str]:
    """Return the connection's keywords with the driver's defaults under them; keywords are the same in any case."""
    mine = {key.lower() for key in own}
    table = {**driver.defaults, **(driver.reading if reading else {})}
    words = limits.words()
    defaults = {key: value.format(**words) for key, value in table.items() if key.lower() not in mine}
    return {**{key: str(value) for key, value in own.items()}, **defaults}


def join_connection(pairs: Mapping[str, str]) -> str:
    """Return the connection string. Raise ValueError for a value that it cannot hold."""
    return ";".join(f"{key}={quote_value(value)}" for key, value in pairs.items())


# --- errors ---------------------------------------------------------------------------------------------------------

_STATES: Mapping[str, Kind] = {
    # retry: serialization, deadlock, lock, cancelled by a time limit
    **dict.fromkeys(("40001", "40P01", "55P03", "55006", "57014", "HY018", "HYT00", "HY008"), Kind.RETRY),
    "40003": Kind.UNAVAILABLE,  # statement completion unknown
    "25006": Kind.UNAVAILABLE,  # read-only: a standby, or a primary just demoted
    "HYT01": Kind.UNAVAILABLE,
    **dict.fromkeys(("P0001", "P0002", "P0003", "P0004", "45000"), Kind.REJECT),
    # what pyodbc or the driver manager says of a value that cannot be bound
    **dict.fromkeys(("HY105", "HY004", "HY003", "HY104", "07006"), Kind.REJECT),
    "21S01": Kind.CONFIGURATION,  # as many columns as values: the statement
    "21S02": Kind.CONFIGURATION,
    "23001": Kind.REJECT,
}
_CLASSES: Mapping[str, Kind] = {
    "08": Kind.UNAVAILABLE,
    "53": Kind.UNAVAILABLE,  # PostgreSQL: disk full, out of memory, too many connections
    "57": Kind.UNAVAILABLE,  # PostgreSQL: shutting down, crashed, starting up, database dropped
    "58": Kind.UNAVAILABLE,  # PostgreSQL: I/O error
    "21": Kind.REJECT,
    "22": Kind.REJECT,
    "23": Kind.REJECT,
    "27": Kind.REJECT,
    "44": Kind.REJECT,  # WITH CHECK OPTION
    "40": Kind.RETRY,
    "28": Kind.REFUSED,
    "07": Kind.CONFIGURATION,
    "0A": Kind.CONFIGURATION,
    "34": Kind.CONFIGURATION,
    "37": Kind.CONFIGURATION,
    "3D": Kind.CONFIGURATION,
    "3F": Kind.CONFIGURATION,
    "42": Kind.CONFIGURATION,
    "IM": Kind.CONFIGURATION,  # driver manager: no such driver, no such data source
    "HYC": Kind.CONFIGURATION,
}
#: psqlodbc gives 08001 and no SQLSTATE of the server for everything that goes wrong while connecting, so only the
#: text tells them apart. The server speaks the language of its lc_messages: in another one than English all of them
#: count as "unavailable", which pauses and probes as well.
_CONNECT_TEXTS: tuple[tuple[str, Kind], ...] = (
    (r"authentication failed|no password supplied|no pg_hba\.conf entry|role \".*\" does not exist", Kind.REFUSED),
    (r"is not permitted to log in|password .*expired|Access denied|Login failed", Kind.REFUSED),
    (r"database \".*\" does not exist|conflicts with other|invalid connection option", Kind.CONFIGURATION),
)
#: The driver manager itself: 01000 when a driver's library is missing.
_MANAGER_TEXTS: tuple[tuple[str, Kind], ...] = (
    (r"\[Driver Manager\].*(Can't open lib|file not found)", Kind.CONFIGURATION),
    (r"Unexpected EOF from the server", Kind.UNAVAILABLE),
    (r"Attempt to use a closed connection", Kind.UNAVAILABLE),
    (r"parameter markers, but \d+ parameters were supplied", Kind.CONFIGURATION),
)
_KINDS = {kind.value: kind for kind in Kind}


def classify(driver: Driver, state: str, native: int | None, text: str, *, connecting: bool = False) -> Kind:
    """Given an error as the driver told it, return what to do about it. Code before class, native before state."""
    if driver.native_codes and native is not None and native in driver.natives:
        return driver.natives[native]
    texts = _CONNECT_TEXTS + _MANAGER_TEXTS if connecting else _MANAGER_TEXTS
    for pattern, kind in texts:
        if re.search(pattern, text, re.IGNORECASE):
            return kind
    for table, key in ((_STATES, state), (_CLASSES, state[:3]), (_CLASSES, state[:2])):
        if key in table:
            return table[key]
    return Kind.UNAVAILABLE if connecting and state == "HY000" else Kind.UNKNOWN


def code_of(driver: Driver, state: str, native: int | None) -> str:
    """Return the code to show: the SQLSTATE, with the native code where the state alone says nothing."""
    vague = state in ("", "HY000", "01000") or (driver.native_codes and native in driver.natives)
    if native and driver.native_codes and vague and state[:2] not in ("22", "23"):
        return f"{state or 'HY000'}/{native}"
    return state or "HY000"


def override(errors: Mapping[str, str], state: str, native: int | None) -> str | None:
    """Return what `errors` of the configuration says: `23000/1062` before `23000` before `23`; None: nothing."""
    for key in (f"{state}/{native}", state, state[:2]):
        if key in errors:
            return errors[key].lower()
    return None


def overridden_kind(word: str | None) -> Kind | None:
    """Return the kind that an override means. `done` is a reject that the writer takes as *already there*."""
    return Kind.REJECT if word == "done" else _KINDS.get(word or "")


# --- secrets --------------------------------------------------------------------------------------------------------

_SECRET_KEYS = re.compile(r"pwd|password|secret|token|passphrase", re.IGNORECASE)


def secrets(keywords: Mapping[str, str]) -> list[str]:
    """Return the values among connection keywords that must not be shown."""
    return [value for key, value in keywords.items() if value and _SECRET_KEYS.search(key)]


def hide_secrets(keywords: Mapping[str, str]) -> dict[str, str]:
    """Return the keywords fit to be printed."""
    return {key: "***" if _SECRET_KEYS.search(key) else value for key, value in keywords.items()}
