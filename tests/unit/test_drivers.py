"""Which dialect and driver a name finds, what their errors mean, and how a connection string is put together."""

import pytest

from connectorlib.errors import Kind
from dbconnector import dialects
from dbconnector.dialects import (
    GENERIC,
    UNKNOWN_DRIVER,
    mariadb,
    mysql,
    oracle,
    postgresql,
    sqlite,
    sqlserver,
    sqlstate,
)
from dbconnector.odbc import connection_string
from dbconnector.odbc.connection_string import TimeLimits

PG, MARIA, SQLITE = postgresql.DIALECT, mariadb.DIALECT, sqlite.DIALECT
MSSQL, ORACLE = sqlserver.DIALECT, oracle.DIALECT
REJECT, RETRY, UNAVAILABLE = Kind.REJECT, Kind.RETRY, Kind.UNAVAILABLE
REFUSED, CONFIGURATION, UNKNOWN = Kind.REFUSED, Kind.CONFIGURATION, Kind.UNKNOWN


@pytest.mark.parametrize(
    ("name", "dialect", "driver"),
    [
        ("PostgreSQL Unicode", PG, postgresql.UNICODE),
        ("PostgreSQL ANSI", PG, postgresql.ANSI),
        ("/usr/lib/x86_64-linux-gnu/odbc/psqlodbca.so", PG, postgresql.ANSI),
        ("psqlodbcw.so", PG, postgresql.UNICODE),
        ("MariaDB Unicode", MARIA, mariadb.CONNECTOR),
        ("libmaodbc.so", MARIA, mariadb.CONNECTOR),
        ("MySQL ODBC 8.0 Unicode Driver", mysql.DIALECT, mysql.CONNECTOR),
        ("SQLite3", SQLITE, sqlite.SQLITEODBC),
        ("ODBC Driver 18 for SQL Server", MSSQL, sqlserver.MSODBCSQL),
        ("FreeTDS", MSSQL, sqlserver.FREETDS),
        ("Oracle 21 ODBC driver", ORACLE, oracle.DRIVER),
        ("IBM DB2 ODBC DRIVER", GENERIC, UNKNOWN_DRIVER),
        ("", GENERIC, UNKNOWN_DRIVER),
    ],
)
def test_a_driver_is_found_by_its_name_or_library(name, dialect, driver):
    assert dialects.find_driver(name) == (dialect, driver)


def test_an_unknown_driver_is_used_with_caution():
    assert GENERIC.savepoints is None
    assert GENERIC.max_rows == 1
    assert not GENERIC.insert_or_ignore


# Rows as the drivers gave them (PostgreSQL, MariaDB, SQLite) or as documented (the others).
STATEMENT_ERRORS = [
    (PG, "23505", 1, 'ERROR: duplicate key value violates unique constraint "w_pkey"', REJECT, "23505"),
    (PG, "23502", 1, "ERROR: null value in column", REJECT, "23502"),
    (PG, "22001", 1, "ERROR: value too long", REJECT, "22001"),
    (PG, "22P02", 1, "ERROR: invalid input syntax for type integer", REJECT, "22P02"),
    (PG, "21000", 1, "ERROR: ON CONFLICT DO UPDATE command cannot affect row a second time", REJECT, "21000"),
    (PG, "P0001", 1, "ERROR: raised by a trigger", REJECT, "P0001"),
    (PG, "44000", 1, "ERROR: new row violates check option", REJECT, "44000"),
    (PG, "42601", 1, "ERROR: syntax error", CONFIGURATION, "42601"),
    (PG, "42P01", 1, "ERROR: relation does not exist", CONFIGURATION, "42P01"),
    (PG, "42501", 1, "ERROR: permission denied for table", CONFIGURATION, "42501"),
    (PG, "0A000", 1, "ERROR: not supported", CONFIGURATION, "0A000"),
    (PG, "40001", 1, "ERROR: could not serialize access", RETRY, "40001"),
    (PG, "40P01", 1, "ERROR: deadlock detected", RETRY, "40P01"),
    (PG, "55P03", 1, "ERROR: canceling statement due to lock timeout", RETRY, "55P03"),
    (PG, "57014", 1, "ERROR: canceling statement due to statement timeout", RETRY, "57014"),
    (PG, "57P01", 108, "FATAL: terminating connection due to administrator command", UNAVAILABLE, "57P01"),
    (PG, "53100", 1, "ERROR: could not extend file: No space left on device", UNAVAILABLE, "53100"),
    (PG, "58030", 1, "ERROR: could not write block", UNAVAILABLE, "58030"),
    (PG, "25006", 1, "ERROR: cannot execute INSERT in a read-only transaction", UNAVAILABLE, "25006"),
    (PG, "54000", 1, "ERROR: index row size 2712 exceeds btree version 4 maximum 2704", REJECT, "54000"),
    (PG, "26000", 1, 'ERROR: prepared statement "_PLAN0x1" does not exist', UNAVAILABLE, "26000"),
    (PG, "08S01", 26, "could not send Query(connection dead)", UNAVAILABLE, "08S01"),
    (PG, "HY000", 35, "The connection has been lost", UNAVAILABLE, "HY000"),
    # psqlodbc's native codes are its own: 19 is no constraint of SQLite's.
    (PG, "HY000", 19, "something", UNKNOWN, "HY000"),
    (PG, "XX000", 1, "ERROR: cache lookup failed", UNKNOWN, "XX000"),
    (MARIA, "23000", 1062, "Duplicate entry '1' for key 'PRIMARY'", REJECT, "23000"),
    (MARIA, "23000", 4025, "CONSTRAINT `c` failed", REJECT, "23000"),
    (MARIA, "22001", 1406, "Data too long for column 'v' at row 1", REJECT, "22001"),
    (MARIA, "22007", 1366, "Incorrect integer value", REJECT, "22007"),
    (MARIA, "45000", 1644, "raised by a trigger", REJECT, "45000/1644"),
    (MARIA, "HY000", 1105, "Parameter is longer than 'max_allowed_packet' bytes", REJECT, "HY000/1105"),
    (MARIA, "42S02", 1146, "Table doesn't exist", CONFIGURATION, "42S02"),
    (MARIA, "42000", 1064, "You have an error in your SQL syntax", CONFIGURATION, "42000"),
    (MARIA, "HY000", 1364, "Field 'v' doesn't have a default value", CONFIGURATION, "HY000/1364"),
    (MARIA, "HY000", 1205, "Lock wait timeout exceeded", RETRY, "HY000/1205"),
    (MARIA, "40001", 1213, "Deadlock found", RETRY, "40001/1213"),
    (MARIA, "HY018", 1969, "Query execution was interrupted (max_statement_time exceeded)", RETRY, "HY018/1969"),
    (MARIA, "08S01", 2013, "Lost connection to server during query", UNAVAILABLE, "08S01/2013"),
    (MARIA, "HY000", 1114, "The table 't' is full", UNAVAILABLE, "HY000/1114"),
    (MARIA, "HY000", 1021, "Disk full", UNAVAILABLE, "HY000/1021"),
    (MARIA, "HY000", 3, "Error writing file (Errcode: 28 No space left on device)", UNAVAILABLE, "HY000/3"),
    (MARIA, "HY000", 1290, "The server is running with the --read-only option", UNAVAILABLE, "HY000/1290"),
    (MARIA, "25006", 1792, "Cannot execute statement in a READ ONLY transaction", UNAVAILABLE, "25006/1792"),
    (MARIA, "HY000", 1180, "Got error 28 during COMMIT", UNAVAILABLE, "HY000/1180"),
    (MARIA, "HY000", 1181, "Got error 5 during ROLLBACK", UNAVAILABLE, "HY000/1181"),
    (MARIA, "HY000", 1135, "Can't create a new thread (errno 11)", UNAVAILABLE, "HY000/1135"),
    (MARIA, "HY000", 1637, "Too many active concurrent transactions", UNAVAILABLE, "HY000/1637"),
    (MARIA, "HY000", 1878, "Temporary file write failure", UNAVAILABLE, "HY000/1878"),
    (MARIA, "HY000", 1206, "The total number of locks exceeds the lock table size", RETRY, "HY000/1206"),
    (MARIA, "HY000", 1615, "Prepared statement needs to be re-prepared", RETRY, "HY000/1615"),
    (MARIA, "HY000", 9999, "never heard of", UNKNOWN, "HY000/9999"),
    (MARIA, "HY000", 0, "", UNKNOWN, "HY000"),
    (SQLITE, "HY000", 19, "UNIQUE constraint failed: w.id (19)", REJECT, "HY000/19"),
    (SQLITE, "HY000", 20, "datatype mismatch", REJECT, "HY000/20"),
    (SQLITE, "HY000", 1, "no such table: nope (1)", CONFIGURATION, "HY000/1"),
    (SQLITE, "HY000", 26, "file is not a database (26)", CONFIGURATION, "HY000/26"),
    (SQLITE, "HY000", 5, "database is locked (5)", RETRY, "HY000/5"),
    (SQLITE, "HY000", 6, "database table is locked", RETRY, "HY000/6"),
    (SQLITE, "HY000", 8, "attempt to write a readonly database", UNAVAILABLE, "HY000/8"),
    (SQLITE, "HY000", 10, "disk I/O error", UNAVAILABLE, "HY000/10"),
    (SQLITE, "HY000", 13, "database or disk is full", UNAVAILABLE, "HY000/13"),
    (MSSQL, "42000", 1205, "was deadlocked", RETRY, "42000/1205"),
    (MSSQL, "42000", 1222, "Lock request time out period exceeded", RETRY, "42000/1222"),
    (MSSQL, "HYT00", 0, "Query timeout expired", RETRY, "HYT00"),
    (MSSQL, "42000", 2628, "String or binary data would be truncated", REJECT, "42000/2628"),
    (MSSQL, "23000", 2627, "Violation of PRIMARY KEY constraint", REJECT, "23000"),
    (MSSQL, "42000", 9002, "The transaction log is full", UNAVAILABLE, "42000/9002"),
    (MSSQL, "01000", 20017, "Unexpected EOF from the server", UNAVAILABLE, "01000/20017"),
    (MSSQL, "42S02", 208, "Invalid object name", CONFIGURATION, "42S02/208"),
    (MSSQL, "42000", 102, "Incorrect syntax near 'x'.", CONFIGURATION, "42000/102"),
    (MSSQL, "42000", 229, "The INSERT permission was denied on the object", CONFIGURATION, "42000/229"),
    # Its drivers say 42000 of whatever they have no SQLSTATE for.
    (MSSQL, "42000", 8169, "Conversion failed when converting from a character string", UNKNOWN, "42000/8169"),
    (MSSQL, "42000", 6005, "SHUTDOWN is in progress.", UNAVAILABLE, "42000/6005"),
    (MSSQL, "42000", 596, "Cannot continue: the session is in the kill state.", UNAVAILABLE, "42000/596"),
    (MSSQL, "42000", 6401, "Cannot roll back connector. No savepoint of that name was found.", RETRY, "42000/6401"),
    (MSSQL, "42000", 3930, "The current transaction cannot be committed", RETRY, "42000/3930"),
    (MSSQL, "HYT00", 0, "Timeout expired", RETRY, "HYT00"),
    (MSSQL, "08S01", 20006, "Write to the server failed", UNAVAILABLE, "08S01/20006"),
    (ORACLE, "23000", 1, "ORA-00001: unique constraint violated", REJECT, "23000"),
    (ORACLE, "HY000", 60, "ORA-00060: deadlock detected", RETRY, "HY000/60"),
    (ORACLE, "HY000", 20001, "ORA-20001: raised by a trigger", REJECT, "HY000/20001"),
    (ORACLE, "HY000", 1653, "ORA-01653: unable to extend table", UNAVAILABLE, "HY000/1653"),
    (GENERIC, "23000", 1, "duplicate", REJECT, "23000"),
    (GENERIC, "40001", 1205, "deadlock", RETRY, "40001"),
    (GENERIC, "08003", 0, "connection does not exist", UNAVAILABLE, "08003"),
    (GENERIC, "HY000", 1205, "whatever it is", UNKNOWN, "HY000"),
    # what pyodbc and the driver manager say themselves
    (PG, "HY105", None, "Invalid parameter type. param-index=0 param-type=dict", REJECT, "HY105"),
    (PG, "HY000", None, "The SQL contains 1 parameter markers, but 2 parameters were supplied", CONFIGURATION, "HY000"),
    (PG, "", None, "Attempt to use a closed connection.", UNAVAILABLE, "HY000"),
]


@pytest.mark.parametrize(("dialect", "state", "native", "text", "kind", "code"), STATEMENT_ERRORS)
def test_the_error_of_a_statement_is_classified(dialect, state, native, text, kind, code):
    assert sqlstate.classify(dialect, state, native, text) is kind
    assert sqlstate.code_of(dialect, state, native) == code


@pytest.mark.parametrize(("dialect", "state", "native", "text", "kind", "code"), STATEMENT_ERRORS)
def test_only_what_a_unique_key_refuses_is_a_duplicate(dialect, state, native, text, kind, code):
    unique = (state == "23505" or native in {1062, 2601, 2627} or "UNIQUE" in text or "unique" in text) and (
        kind is REJECT
    )
    shown = text if text.endswith(f"({native})") else f"{text} ({native})"
    assert sqlstate.is_duplicate(dialect, state, shown) is unique


CONNECT_ERRORS = [
    (PG, "08001", 101, 'FATAL: password authentication failed for user "app"', REFUSED),
    (PG, "08001", 101, 'FATAL: role "nobody" does not exist', REFUSED),
    (PG, "08001", 101, 'FATAL: no pg_hba.conf entry for host "10.0.0.1"', REFUSED),
    (PG, "08001", 101, "fe_sendauth: no password supplied", REFUSED),
    (PG, "08001", 101, 'FATAL: database "nodb" does not exist', CONFIGURATION),
    (PG, "08001", 101, "Connection refused Is the server running on that host", UNAVAILABLE),
    (PG, "08001", 101, "timeout expired", UNAVAILABLE),
    (PG, "08001", 101, "FATAL: the database system is starting up", UNAVAILABLE),
    (PG, "08001", 101, "FATAL: sorry, too many clients already", UNAVAILABLE),
    (MARIA, "28000", 1045, "Access denied for user 'app'@'localhost' (using password: YES)", REFUSED),
    (MARIA, "42000", 1044, "Access denied for user 'app'@'%' to database 'x'", REFUSED),
    (MARIA, "42000", 1049, "Unknown database 'nodb'", CONFIGURATION),
    (MARIA, "HY000", 2002, "Can't connect to server on '127.0.0.1' (115)", UNAVAILABLE),
    (MARIA, "08004", 1040, "Too many connections", UNAVAILABLE),
    (SQLITE, "HY000", 14, "connect failed", UNAVAILABLE),
    (MSSQL, "28000", 18456, "Login failed for user", REFUSED),
    # FreeTDS 1.3.17, as it was seen
    (MSSQL, "42000", 18456, "Login failed for user 'app'.", REFUSED),
    (MSSQL, "42000", 18401, "Login failed for user. Reason: Server is in script upgrade mode.", UNAVAILABLE),
    (MSSQL, "42000", 17809, "the maximum number of '5' user connections has already been reached", UNAVAILABLE),
    (MSSQL, "42000", 33999, "never heard of", UNAVAILABLE),
    (MSSQL, "08S01", 20009, "Unable to connect: Adaptive Server is unavailable or does not exist", UNAVAILABLE),
    (MSSQL, "08001", 0, "Unable to connect to data source", UNAVAILABLE),
    (MSSQL, "HYT00", 0, "Timeout expired", UNAVAILABLE),
    (MSSQL, "42000", 4060, "Cannot open database requested by the login", CONFIGURATION),
    (MSSQL, "HYT00", 0, "Login timeout expired", UNAVAILABLE),
    (GENERIC, "28000", 1, "Login failed", REFUSED),
    (GENERIC, "HY000", 1, "could not connect", UNAVAILABLE),
    (GENERIC, "01000", 0, "[unixODBC][Driver Manager]Can't open lib 'No Such' : file not found", CONFIGURATION),
    (GENERIC, "IM002", 0, "[unixODBC][Driver Manager]Data source name not found", CONFIGURATION),
]


@pytest.mark.parametrize(("dialect", "state", "native", "text", "kind"), CONNECT_ERRORS)
def test_the_error_of_a_connection_is_classified(dialect, state, native, text, kind):
    assert sqlstate.classify(dialect, state, native, text, connecting=True) is kind


#: Two messages of one error, as pyodbc joins them.
TERMINATED = (
    "[23000] [Microsoft][ODBC Driver 17 for SQL Server][SQL Server]Violation of PRIMARY KEY constraint 'PK'. (2627) "
    "(SQLExecDirectW); [23000] [Microsoft][ODBC Driver 17 for SQL Server][SQL Server]The statement has been terminated."
    " (3621)"
)


@pytest.mark.parametrize(
    ("args", "read"),
    [
        (("23505", "[23505] ERROR: dup (1) (SQLExecDirectW)"), ("23505", 1)),
        (("HY000", "[HY000] Lock wait timeout; try (1205) (SQLExecDirectW)"), ("HY000", 1205)),
        (("23000", TERMINATED), ("23000", 2627)),
        (("The SQL contains 1 parameter markers, but 2 parameters were supplied", "HY000"), ("HY000", None)),
        (("Attempt to use a closed connection.",), ("", None)),
        (("HY000", ""), ("HY000", None)),
        ((), ("", None)),
    ],
)
def test_the_sqlstate_is_found_in_either_place_and_the_native_code_in_the_text(args, read):
    assert sqlstate.read_error(args)[:2] == read


def test_a_text_is_shown_without_what_the_driver_wraps_around_it():
    postgresql = "[23505] ERROR: dup\nDETAIL: Key (id)=(1).;\nError while executing the query (1) (SQLExecDirectW)"
    assert sqlstate.clean(postgresql) == "ERROR: dup DETAIL: Key (id)=(1)."
    assert sqlstate.clean("[23000] [ma-3.1.15][10.11]Duplicate (1062) (SQLExecDirectW)") == "Duplicate (1062)"
    assert sqlstate.clean("[SQLite]CHECK constraint failed: c (19) (19) (SQLExecDirectW)") == (
        "CHECK constraint failed: c (19)"
    )
    assert len(sqlstate.clean("x" * 5000)) == 1000


def test_what_microsofts_driver_adds_to_an_error_hides_no_duplicate():
    assert sqlstate.clean(TERMINATED) == "Violation of PRIMARY KEY constraint 'PK'. (2627)"
    assert sqlstate.is_duplicate(MSSQL, "23000", sqlstate.clean(TERMINATED))


@pytest.mark.parametrize(
    ("errors", "state", "native", "word"),
    [
        ({"23505": "done"}, "23505", 1, "done"),
        ({"HY000/19": "reject"}, "HY000", 19, "reject"),
        ({"23": "retry", "23000": "unavailable", "23000/1062": "done"}, "23000", 1062, "done"),
        ({"23": "retry", "23000": "unavailable"}, "23000", 1062, "unavailable"),
        ({"23": "retry"}, "23000", 1062, "retry"),
        ({"42": "reject"}, "23000", 1062, None),
    ],
)
def test_the_configuration_overrides_the_most_exact_code_first(errors, state, native, word):
    assert sqlstate.override(errors, state, native) == word


def test_done_is_a_reject_that_the_writer_knows():
    assert sqlstate.overridden_kind("done") is REJECT
    assert sqlstate.overridden_kind("retry") is RETRY
    assert sqlstate.overridden_kind(None) is None


# --- connection strings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("5432", "5432"),
        ("127.0.0.1", "127.0.0.1"),
        ("PostgreSQL Unicode", "PostgreSQL Unicode"),
        ("x;DATABASE=template1", "{x;DATABASE=template1}"),
        ("a}b", "{a}}b}"),
        ("{a", "{{a}"),
        (" padded ", "{ padded }"),
        ("", ""),
        ("é=ü", "{é=ü}"),
    ],
)
def test_a_value_is_in_braces_when_and_only_when_it_needs_them(value, quoted):
    assert connection_string.quote_value(value) == quoted


@pytest.mark.parametrize(
    ("value", "quoted"), [("a}b", "a}b"), (" p@s{s,w(o)r]d= ", " p@s{s,w(o)r]d= "), ("a;b", "{a;b}"), ("{a", "{{a}")]
)
def test_freetds_reads_a_closing_brace_only_without_braces(value, quoted):
    assert connection_string.quote_value(value, sqlserver.FREETDS.braced) == quoted


@pytest.mark.parametrize("value", ["a\nb", "a\0b", "a\rb"])
def test_a_value_that_no_driver_can_carry_is_refused(value):
    with pytest.raises(ValueError, match="line break or NUL"):
        connection_string.quote_value(value)


@pytest.mark.parametrize("pwd", ["plain", "a;b", "a}b", "{x}", "}}", ";", " x ", "ü=é"])
def test_a_connection_string_is_read_back_as_it_was_written(pwd):
    pairs = {"Driver": "PostgreSQL Unicode", "Pwd": pwd, "Port": "5432"}
    assert connection_string.split_connection(connection_string.join_connection(pairs)) == pairs


@pytest.mark.parametrize("text", ["Driver", "Driver=x;rubbish", "Pwd={a"])
def test_what_is_no_connection_string_is_refused_without_showing_it(text):
    with pytest.raises(ValueError, match="not a keyword=value pair") as caught:
        connection_string.split_connection("Pwd=hunter2;" + text)
    assert "hunter2" not in str(caught.value)


def test_the_users_keywords_win_over_the_defaults_in_any_case():
    merged = connection_string.merge_defaults(
        postgresql.UNICODE, {"Driver": "PostgreSQL Unicode", "PROTOCOL": "7.4-1", "boolsaschar": "1"}
    )
    assert merged["PROTOCOL"] == "7.4-1"
    assert "Protocol" not in merged
    assert "BoolsAsChar" not in merged
    assert merged["CommLog"] == "0"


def test_time_limits_stand_in_the_defaults_and_the_session():
    limits = TimeLimits(login=3, lock=4, statement=5, socket=6)
    merged = connection_string.merge_defaults(mariadb.CONNECTOR, {}, limits)
    assert (merged["CONN_TIMEOUT"], merged["READ_TIMEOUT"]) == ("3", "6")
    session = [each.statement.format(**limits.words(), zone="UTC") for each in (*MARIA.session, *PG.session)]
    assert "SET SESSION max_statement_time = 5" in session
    assert "SET SESSION innodb_lock_wait_timeout = 4" in session
    assert "SELECT set_config('statement_timeout', '5000', false)" in session


def test_only_a_reading_connection_streams():
    assert "UseDeclareFetch" not in connection_string.merge_defaults(postgresql.UNICODE, {})
    assert connection_string.merge_defaults(postgresql.UNICODE, {}, reading=True)["UseDeclareFetch"] == "1"
    assert connection_string.merge_defaults(sqlite.SQLITEODBC, {}, reading=True)["StepAPI"] == "1"


def test_a_keyword_without_which_text_would_be_damaged_cannot_be_changed():
    driver = mariadb.CONNECTOR
    changed = connection_string.merge_defaults(driver, {"Charset": "latin1"})
    assert changed == connection_string.merge_defaults(driver, {})


def test_secrets_are_hidden_in_keywords_and_texts():
    own = {"Uid": "app", "Pwd": "hunter2", "sslpassword": "x"}
    assert connection_string.hide_secrets(own) == {"Uid": "app", "Pwd": "***", "sslpassword": "***"}
    assert connection_string.hide_in("PWD=hunter2; [unixODBC] x", own) == "PWD=***; [unixODBC] ***"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("53100", "free disk space"),
        ("HY000/1021", "free disk space"),
        ("HY000/1114", "free disk space"),
        ("53300", "connection limit"),
        ("08004/1040", "connection limit"),
        ("25006", "standby"),
        ("HY000/1290", "standby"),
        ("57P03", "starting"),
        ("26000", "PgBouncer"),
        ("42P05", "PgBouncer"),
        ("01000", "odbcinst -q -d"),
        ("IM002", "odbcinst -q -d"),
    ],
)
def test_what_helps_depends_on_the_code_and_not_on_its_class(code, words):
    assert words in sqlstate.advice(code)


@pytest.mark.parametrize("code", ["08001", "HY000", "22001", "HY000/2013", "", "/"])
def test_without_better_advice_the_kind_gives_it(code):
    assert sqlstate.advice(code) == ""
