"""What is bound for a value, by dialect and column; what is fetched for what a database hands out."""

import datetime
import decimal
import enum
import re
import uuid
from decimal import Decimal

import pytest

from connectorlib.errors import Failed, Kind
from dbconnector.binder import make_binder
from dbconnector.columns import Column, plain_name
from dbconnector.dialects import GENERIC, fetch_plan, known, mariadb, oracle, postgresql, sqlite, sqlserver

PG, MARIA, SQLITE = postgresql.DIALECT, mariadb.DIALECT, sqlite.DIALECT
ALL = [*known(), GENERIC]
UTC = datetime.UTC
EAST = datetime.timezone(datetime.timedelta(hours=2))
MOMENT = datetime.datetime(2024, 1, 2, 3, 4, 5, 123456)
HERE = MOMENT.replace(tzinfo=EAST)
WIDE = 2**64 - 1


def bound(dialect, column, value):
    (result,) = make_binder(dialect, [column], ["x"])((value,))
    return result


def refused(dialect, column, value):
    with pytest.raises(Failed) as caught:
        make_binder(dialect, [column], ["x"], "write[0]")((value,))
    failure = caught.value.failure
    assert (failure.kind, failure.code, failure.place) == (Kind.REJECT, "bad-value", "write[0]")
    assert failure.detail.startswith("write[0].values.x: ")
    return failure.text


@pytest.mark.parametrize("dialect", ALL)
@pytest.mark.parametrize("column", list(Column))
def test_null_stays_null(dialect, column):
    assert bound(dialect, column, None) is None


@pytest.mark.parametrize("dialect", ALL)
@pytest.mark.parametrize("column", [c for c in Column if c is not Column.BINARY])
def test_a_nul_in_a_text_is_refused(dialect, column):
    assert "NUL" in refused(dialect, column, "a\0b")


@pytest.mark.parametrize("dialect", ALL)
@pytest.mark.parametrize("value", [[1], {"a": 1}, (1,), object(), datetime.timedelta(1), 1j])
def test_what_is_no_single_value_is_refused(dialect, value):
    assert "cannot be a parameter" in refused(dialect, Column.UNKNOWN, value)


@pytest.mark.parametrize("dialect", ALL)
@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (False, "false"), (5, "5"), (WIDE, str(WIDE)), (Decimal("1.50"), "1.50"), (0.1, "0.1")],
)
def test_what_is_no_text_arrives_in_a_text_column_as_its_text(dialect, value, text):
    assert bound(dialect, Column.TEXT, value) == text


@pytest.mark.parametrize("dialect", ALL)
def test_binary_data_for_a_text_column_is_refused(dialect):
    assert "binary" in refused(dialect, Column.TEXT, b"abc")
    assert bound(dialect, Column.BINARY, bytearray(b"abc")) == b"abc"


@pytest.mark.parametrize("dialect", [PG, MARIA, SQLITE])
def test_text_for_a_binary_column_is_its_utf8(dialect):
    assert bound(dialect, Column.BINARY, "é\\x41") == "é\\x41".encode()
    assert "binary" in refused(dialect, Column.BINARY, 5)


BINDS = [
    (PG, Column.UNKNOWN, True, "true"),
    (PG, Column.BOOLEAN, True, True),
    (PG, Column.INTEGER, True, 1),
    (PG, Column.INTEGER, WIDE, str(WIDE)),
    (PG, Column.DECIMAL, Decimal("NaN"), None),
    (PG, Column.UNKNOWN, Decimal("1E+3"), "1000"),
    (PG, Column.UNKNOWN, 0.1 + 0.2, "0.30000000000000004"),
    (PG, Column.FLOAT, float("inf"), "inf"),
    (PG, Column.DECIMAL, Decimal("1" * 50 + ".5"), "1" * 50 + ".5"),
    (PG, Column.UNKNOWN, HERE, "2024-01-02 01:04:05.123456+00:00"),
    (PG, Column.TIMESTAMP, HERE, "2024-01-02 01:04:05.123456"),
    (PG, Column.TIMESTAMP, MOMENT, "2024-01-02 03:04:05.123456"),
    (PG, Column.TIMESTAMP, "2024-01-02T03:04:05.5+02:00", "2024-01-02 01:04:05.500000"),
    (PG, Column.TIMESTAMP, "infinity", "infinity"),
    (PG, Column.TIMESTAMP, "yesterday", "yesterday"),
    (PG, Column.TEXT, HERE, "2024-01-02T03:04:05.123456+02:00"),
    (PG, Column.TEXT, "2024-01-02T03:04:05+02:00", "2024-01-02T03:04:05+02:00"),
    (PG, Column.JSON, True, "true"),
    (PG, Column.JSON, Decimal("1.50"), "1.50"),
    (PG, Column.UNKNOWN, uuid.UUID(int=5), str(uuid.UUID(int=5))),
    (PG, Column.TIME, datetime.time(1, 2, 3, 4), "01:02:03.000004"),
    (PG, Column.DATE, datetime.date(2024, 1, 2), "2024-01-02"),
    (PG, Column.DATE, datetime.datetime(2024, 1, 2), "2024-01-02"),
    (MARIA, Column.UNKNOWN, True, 1),
    (MARIA, Column.BOOLEAN, "true", 1),
    (MARIA, Column.BOOLEAN, "False", 0),
    (MARIA, Column.BOOLEAN, "maybe", "maybe"),
    (MARIA, Column.INTEGER, WIDE, str(WIDE)),
    (MARIA, Column.INTEGER, Decimal("2.0"), 2),
    (MARIA, Column.INTEGER, 2.0, 2),
    (MARIA, Column.INTEGER, "17", "17"),
    (MARIA, Column.INTEGER, "-17", "-17"),
    (MARIA, Column.INTEGER, "2.0", "2"),
    (MARIA, Column.INTEGER, "abc", "abc"),
    (MARIA, Column.DECIMAL, Decimal("1E-10"), "0.0000000001"),
    (MARIA, Column.UNKNOWN, Decimal("1.5"), Decimal("1.5")),
    (MARIA, Column.UNKNOWN, Decimal("1" * 39), "1" * 39),
    (MARIA, Column.TIMESTAMP, MOMENT, "2024-01-02 03:04:05.123456"),
    (MARIA, Column.TIMESTAMP, HERE, "2024-01-02 01:04:05.123456"),
    (MARIA, Column.TIMESTAMP, "2024-01-02T03:04:05Z", "2024-01-02 03:04:05"),
    (MARIA, Column.TIMESTAMP, "2024-01-02T03:04:05.123456", "2024-01-02T03:04:05.123456"),
    (MARIA, Column.TIMESTAMP, "2024-13-02T03:04:05Z", "2024-13-02T03:04:05Z"),
    (MARIA, Column.UNKNOWN, HERE, "2024-01-02 01:04:05.123456"),
    (SQLITE, Column.INTEGER, 2**63 - 1, 2**63 - 1),
    (SQLITE, Column.DECIMAL, Decimal("12.50"), "12.50"),
    (SQLITE, Column.DECIMAL, Decimal(2**60), str(2**60)),
    (SQLITE, Column.DECIMAL, Decimal("0.30000000000000004"), "0.30000000000000004"),
    (SQLITE, Column.TEXT, Decimal("1" * 50), "1" * 50),
    (SQLITE, Column.FLOAT, Decimal("0.1"), 0.1),
    (SQLITE, Column.BOOLEAN, "true", 1),
    (SQLITE, Column.TIMESTAMP, HERE, "2024-01-02 03:04:05.123456+02:00"),
    (SQLITE, Column.TIMESTAMP, "2024-01-02T03:04:05+02:00", "2024-01-02T03:04:05+02:00"),
    (SQLITE, Column.DECIMAL, "123456789012345678", "123456789012345678"),
    (SQLITE, Column.DECIMAL, "not a number at all", "not a number at all"),
    (sqlserver.DIALECT, Column.TIMESTAMP, HERE, "2024-01-02T01:04:05.123456"),
    (GENERIC, Column.UNKNOWN, HERE, datetime.datetime(2024, 1, 2, 1, 4, 5, 123456)),
    (GENERIC, Column.UNKNOWN, datetime.date(2024, 1, 2), datetime.date(2024, 1, 2)),
    (oracle.DIALECT, Column.TEXT, "x", "x"),
]


@pytest.mark.parametrize(("dialect", "column", "value", "expected"), [b for b in BINDS if b[3] is not None])
def test_a_value_is_bound_in_a_form_that_the_database_reads_exactly(dialect, column, value, expected):
    result = bound(dialect, column, value)
    assert (result, type(result)) == (expected, type(expected))


REFUSALS = [
    (MARIA, Column.INTEGER, Decimal("1.5"), "whole"),
    (MARIA, Column.INTEGER, 1.5, "whole"),
    (MARIA, Column.INTEGER, "1.5", "whole"),
    (MARIA, Column.INTEGER, Decimal("NaN"), "whole"),
    (PG, Column.INTEGER, Decimal("1.5"), "whole"),
    (MARIA, Column.DECIMAL, Decimal("NaN"), "cannot hold|can hold"),
    (MARIA, Column.FLOAT, float("nan"), "can hold"),
    (SQLITE, Column.FLOAT, float("inf"), "can hold"),
    (SQLITE, Column.UNKNOWN, float("nan"), "can hold"),
    (PG, Column.JSON, float("nan"), "JSON"),
    (SQLITE, Column.INTEGER, 2**63, "64 bits"),
    (SQLITE, Column.UNKNOWN, 2**63, "64 bits"),
    (SQLITE, Column.DECIMAL, Decimal("1234567890123456.78"), "SQLite"),
    (SQLITE, Column.DECIMAL, "1234567890123456.78", "SQLite"),
    (SQLITE, Column.INTEGER, str(2**64), "SQLite"),
    (SQLITE, Column.UNKNOWN, Decimal("1" * 40), "SQLite"),
    (PG, Column.DATE, MOMENT, "only a date"),
    (MARIA, Column.TIME, MOMENT, "more than the time"),
    (MARIA, Column.TIME, datetime.time(1, tzinfo=UTC), "zone"),
    (oracle.DIALECT, Column.TEXT, "", "NULL"),
]


@pytest.mark.parametrize(("dialect", "column", "value", "words"), REFUSALS)
def test_what_a_database_would_alter_is_refused(dialect, column, value, words):
    assert re.search(words, refused(dialect, column, value))


def test_a_binder_names_the_value_that_it_refuses():
    bind = make_binder(PG, [Column.TEXT] * 3, ["a", "b", "c"], "reading")
    with pytest.raises(Failed) as caught:
        bind(("x", 1, "y\0"))
    assert caught.value.failure.detail.startswith("reading.values.c: a NUL")


def test_a_subclass_is_bound_like_its_base():
    class Level(enum.IntEnum):
        HIGH = 3

    assert bound(PG, Column.TEXT, Level.HIGH) == "3"


def test_rows_of_changing_types_are_bound_each_by_its_own():
    bind = make_binder(MARIA, [Column.TEXT, Column.INTEGER], ["a", "b"])
    rows = [("x", 1), (None, "2"), (True, Decimal(3)), ("y", None), ("x", 1)]
    assert [bind(row) for row in rows] == [("x", 1), (None, "2"), ("true", 3), ("y", None), ("x", 1)]


def test_exotic_decimals_do_not_depend_on_the_context():
    with decimal.localcontext() as context:
        context.prec = 5
        assert bound(PG, Column.DECIMAL, Decimal("123456789.123456789")) == "123456789.123456789"


# --- columns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "name", "column"),
    [
        (PG, "character varying", Column.TEXT),
        (PG, "text", Column.TEXT),
        (PG, "character", Column.TEXT),
        (PG, "bigint", Column.INTEGER),
        (PG, "integer", Column.INTEGER),
        (PG, "numeric", Column.DECIMAL),
        (PG, "double precision", Column.FLOAT),
        (PG, "boolean", Column.BOOLEAN),
        (PG, "timestamp without time zone", Column.TIMESTAMP),
        (PG, "timestamp with time zone", Column.TIMESTAMP),
        (PG, "date", Column.DATE),
        (PG, "time without time zone", Column.TIME),
        (PG, "bytea", Column.BINARY),
        (PG, "jsonb", Column.JSON),
        (PG, "integer[]", Column.UNKNOWN),
        (PG, "uuid", Column.UNKNOWN),
        (PG, "interval", Column.UNKNOWN),
        (PG, "point", Column.UNKNOWN),
        (MARIA, "varchar(20)", Column.TEXT),
        (MARIA, "longtext", Column.TEXT),
        (MARIA, "enum('a','b')", Column.TEXT),
        (MARIA, "tinyint(1)", Column.BOOLEAN),
        (MARIA, "tinyint(4)", Column.INTEGER),
        (MARIA, "bigint(20) unsigned", Column.INTEGER),
        (MARIA, "decimal(10,2)", Column.DECIMAL),
        (MARIA, "double", Column.FLOAT),
        (MARIA, "datetime(6)", Column.TIMESTAMP),
        (MARIA, "timestamp", Column.TIMESTAMP),
        (MARIA, "time(6)", Column.TIME),
        (MARIA, "varbinary(5)", Column.BINARY),
        (MARIA, "longblob", Column.BINARY),
        (MARIA, "bit(1)", Column.UNKNOWN),
        (SQLITE, "INTEGER", Column.INTEGER),
        (SQLITE, "VARCHAR(20)", Column.TEXT),
        (SQLITE, "DOUBLE", Column.FLOAT),
        (SQLITE, "BLOB", Column.BINARY),
        (SQLITE, "BOOLEAN", Column.BOOLEAN),
        (SQLITE, "TIMESTAMP", Column.TIMESTAMP),
        (SQLITE, "DECIMAL(10,2)", Column.DECIMAL),
        (SQLITE, "", Column.UNKNOWN),
    ],
)
def test_a_type_name_tells_the_class_of_a_column(dialect, name, column):
    assert dialect.column_class(name) is column


def test_identifiers_lose_their_quotes_and_fold_where_the_database_folds_them():
    assert plain_name('"Or""der"', fold=True) == 'Or"der'
    assert plain_name("Device", fold=True) == "device"
    assert plain_name("`a``b`") == "a`b"
    assert plain_name("[x y]") == "x y"


@pytest.mark.parametrize(
    ("dialect", "table", "column", "parameters"),
    [
        (PG, 'public."Order"', "Id", ('public."Order"', "id")),
        (MARIA, "`plant`.`order`", "id", ("plant", "order", "id")),
        (MARIA, "reading", "id", ("", "reading", "id")),
        (SQLITE, '"reading"', "id", ("reading", "id")),
    ],
)
def test_the_catalogue_is_asked_with_names_as_parameters(dialect, table, column, parameters):
    question = dialect.type_query(table, column)
    assert question is not None
    assert question[1] == parameters


def test_a_driver_without_a_known_catalogue_is_not_asked():
    assert GENERIC.type_query("t", "c") is None


# --- out ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decode", "text", "value"),
    [
        (fetch_plan.to_datetime, "2024-01-02 03:04:05.123456", MOMENT),
        (fetch_plan.to_datetime, "2024-01-02 03:04:05.123456+00", MOMENT.replace(tzinfo=UTC)),
        (fetch_plan.to_datetime, "infinity", "infinity"),
        (fetch_plan.to_datetime, "0044-03-15 00:00:00 BC", "0044-03-15 00:00:00 BC"),
        (fetch_plan.to_datetime, "12000-01-01 00:00:00", "12000-01-01 00:00:00"),
        (fetch_plan.to_datetime, "0000-00-00 00:00:00", "0000-00-00 00:00:00"),
        (fetch_plan.to_date, "2024-01-02", datetime.date(2024, 1, 2)),
        (fetch_plan.to_date, "0000-00-00", "0000-00-00"),
        (fetch_plan.to_time, "01:02:03.456789", datetime.time(1, 2, 3, 456789)),
        (fetch_plan.to_time, "-01:00:00", "-01:00:00"),
        (fetch_plan.to_time, "838:59:59", "838:59:59"),
        (fetch_plan.to_time, "24:00:00", "24:00:00"),
    ],
)
def test_a_moment_is_parsed_and_what_python_cannot_hold_stays_text(decode, text, value):
    assert decode(text) == value


def test_a_query_without_moments_is_run_as_it_is():
    assert postgresql._fetch_plan("SELECT 1", [("a", int), ("b", str)]).sql == "SELECT 1"


def test_a_query_may_end_with_a_semicolon_or_a_comment():
    plan = postgresql._fetch_plan("SELECT now() AS a -- now\n;", [("a", datetime.datetime)])
    assert plan.sql == "SELECT CAST(c1 AS text) FROM (\nSELECT now() AS a -- now\n\n) AS q(c1)"


def test_sqlite_values_come_as_what_they_are():
    plan = sqlite._fetch_plan("SELECT * FROM t", [("a", str), ("b", bool)])
    assert plan.rows(
        [("i5", "i1"), ("r0.30000000000000004", "i0"), ("tx", "i7"), ("b00ff", None), ("x610062", "tyes")]
    ) == [
        (5, True),
        (0.1 + 0.2, False),
        ("x", 7),
        (b"\0\xff", None),
        ("a\0b", "yes"),
    ]
