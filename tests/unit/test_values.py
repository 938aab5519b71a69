"""What is bound for a value, by dialect and column; what is fetched for what a database hands out."""

import datetime
import decimal
import enum
import re
import struct
import uuid
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectorlib.errors import Failed, Kind
from connectorlib.expressions import MISSING
from dbconnector.binder import make_binder
from dbconnector.columns import Column, ColumnType, plain_name
from dbconnector.dialects import GENERIC, fetch_plan, known, mariadb, oracle, postgresql, sqlite, sqlserver
from dbconnector.dialects.fetch_plan import ResultColumn as Col

PG, MARIA, SQLITE = postgresql.DIALECT, mariadb.DIALECT, sqlite.DIALECT
ALL = [*known(), GENERIC]
UTC = datetime.UTC
EAST = datetime.timezone(datetime.timedelta(hours=2))
MOMENT = datetime.datetime(2024, 1, 2, 3, 4, 5, 123456)
HERE = MOMENT.replace(tzinfo=EAST)
WIDE = 2**64 - 1


def typed(dialect, column):
    """Return the type of a column, given its class, or its name in the catalogue."""
    return ColumnType(column, str(column)) if isinstance(column, Column) else dialect.column_type(column)


def bound(dialect, column, value):
    (result,) = make_binder(dialect, [typed(dialect, column)], ["x"])((value,))
    return result


def refusal(dialect, column, value):
    with pytest.raises(Failed) as caught:
        make_binder(dialect, [typed(dialect, column)], ["x"], "write[0]")((value,))
    failure = caught.value.failure
    assert (failure.kind, failure.code, failure.place) == (Kind.REJECT, "bad-value", "write[0]")
    assert failure.detail.startswith("write[0].values.x: ")
    return failure


def refused(dialect, column, value):
    return refusal(dialect, column, value).text


@pytest.mark.parametrize("dialect", ALL)
@pytest.mark.parametrize("column", list(Column))
def test_null_stays_null(dialect, column):
    assert bound(dialect, column, None) is None


@pytest.mark.parametrize("dialect", ALL)
@pytest.mark.parametrize("column", [c for c in Column if c is not Column.BINARY])
def test_a_nul_in_a_text_is_refused(dialect, column):
    assert re.search("NUL|ISO 8601", refused(dialect, column, "a\0b"))


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
    (PG, "timestamp without time zone", "infinity", "infinity"),
    (PG, "timestamp with time zone", "2024-01-02T03:04:05.5", "2024-01-02T03:04:05.5+00"),
    (PG, "timestamp with time zone", "2024-01-02", "2024-01-02 00:00+00"),
    (PG, "timestamp with time zone", HERE, "2024-01-02 01:04:05.123456+00:00"),
    (PG, "timestamp with time zone", MOMENT, "2024-01-02 03:04:05.123456+00:00"),
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
    (MARIA, Column.UNKNOWN, HERE, "2024-01-02 01:04:05.123456"),
    (SQLITE, Column.INTEGER, 2**63 - 1, 2**63 - 1),
    (SQLITE, Column.DECIMAL, Decimal("12.50"), "12.50"),
    (SQLITE, Column.DECIMAL, Decimal(2**60), 2**60),
    (SQLITE, Column.DECIMAL, Decimal("0.30000000000000004"), "0.30000000000000004"),
    (SQLITE, Column.TEXT, Decimal("1" * 50), "1" * 50),
    (SQLITE, Column.FLOAT, Decimal("0.1"), 0.1),
    (SQLITE, Column.BOOLEAN, "true", 1),
    (SQLITE, Column.TIMESTAMP, HERE, "2024-01-02 03:04:05.123456+02:00"),
    (SQLITE, Column.TIMESTAMP, "2024-01-02T03:04:05+02:00", "2024-01-02T03:04:05+02:00"),
    (SQLITE, Column.DECIMAL, "123456789012345678", 123456789012345678),
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
    (SQLITE, Column.DECIMAL, Decimal("1234567890123456.78"), "more digits"),
    (SQLITE, Column.DECIMAL, "1234567890123456.78", "more digits"),
    (SQLITE, Column.INTEGER, str(2**64 + 1), "more digits"),
    (SQLITE, Column.UNKNOWN, Decimal("1" * 40), "more digits"),
    (PG, Column.DATE, MOMENT, "only a date"),
    (MARIA, Column.TIME, MOMENT, "for a column of time"),
    (MARIA, Column.TIME, datetime.time(1, tzinfo=UTC), "zone"),
    (oracle.DIALECT, Column.TEXT, "", "NULL"),
]


@pytest.mark.parametrize(("dialect", "column", "value", "words"), REFUSALS)
def test_what_a_database_would_alter_is_refused(dialect, column, value, words):
    assert re.search(words, refused(dialect, column, value))


#: By the type as the catalogue names it: what the server would alter without a word is refused, the rest is left to it.
KEPT = [
    (PG, "numeric(10,2)", Decimal("1.500"), "1.500"),
    (PG, "numeric(10,2)", "2.50", "2.50"),
    (PG, "numeric(5,-2)", 1200, 1200),
    (PG, "numeric", Decimal("1.23456789012345678901"), "1.23456789012345678901"),
    (PG, "numeric(10,2)", Decimal("NaN"), "NaN"),
    (PG, "numeric(10,2)", "abc", "abc"),
    (PG, "real", Decimal("0.1"), "0.1"),
    (PG, "real", 16777216, 16777216),
    (PG, "double precision", Decimal("0.10000000000000001"), "0.10000000000000001"),
    (PG, "double precision", 2**53, 2**53),
    (PG, "character varying(5)", "abcde", "abcde"),
    (PG, "character varying(5)", "abcdef", "abcdef"),
    (PG, "character varying(5)", "abc ", "abc "),
    (PG, "date", "2026-01-02T00:00:00", "2026-01-02"),
    (PG, "date", "infinity", "infinity"),
    (PG, "date", "0044-03-15 BC", "0044-03-15 BC"),
    (PG, "timestamp(0) without time zone", "2026-01-02 03:04:05.000", "2026-01-02 03:04:05.000"),
    (PG, "timestamp(3) with time zone", "2026-01-02T03:04:05.123Z", "2026-01-02 03:04:05.123000+00:00"),
    (PG, "time with time zone", "03:04:05+02", "03:04:05+02"),
    (PG, "interval", "3 days 04:05:06", "3 days 04:05:06"),
    (PG, "cidr", "10.0.0.0/8", "10.0.0.0/8"),
    (PG, "money", "12.50", "12.50"),
    (PG, "oid", 2**32 - 1, 2**32 - 1),
    (PG, "bit(3)", "101", "101"),
    (PG, "jsonb", '{"a": [{"a": 1}]}', '{"a": [{"a": 1}]}'),
    (MARIA, "decimal(10,2) unsigned", Decimal("7.10"), "7.10"),
    (MARIA, "datetime", "2026-01-02T03:04:05", "2026-01-02T03:04:05"),
    (MARIA, "datetime(3)", MOMENT.replace(microsecond=5000), "2024-01-02 03:04:05.005000"),
    (MARIA, "time(2)", "-838:59:59.99", "-838:59:59.99"),
    (MARIA, "enum('a','it''s')", "it's", "it's"),
    (MARIA, "set('a','b')", "b,a", "b,a"),
    (MARIA, "set('a','b')", "", ""),
    (MARIA, "year(4)", "2026", 2026),
    (MARIA, "bit(8)", "255", 255),
    (MARIA, "bit(8)", b"\x05", 5),
    (MARIA, "tinyint(1)", "7", "7"),
    (SQLITE, "INTEGER", "9007199254740993.0", 2**53 + 1),
    (SQLITE, "REAL", "0.1", "0.1"),
]


@pytest.mark.parametrize(("dialect", "name", "value", "expected"), KEPT)
def test_a_value_that_its_column_keeps_is_sent(dialect, name, value, expected):
    result = bound(dialect, name, value)
    assert (result, type(result)) == (expected, type(expected))


ALTERED = [
    (PG, "numeric(10,2)", Decimal("1.005"), "after the point"),
    (PG, "numeric(10,2)", "1E-7", "after the point"),
    (PG, "numeric(10,2)", 0.125, "after the point"),
    (PG, "numeric(5,-2)", 1234, "after the point"),
    (PG, "numeric(10,2)", "9" * 5000, "4300 digits"),
    (PG, "numeric", "1e999999999", "4300 digits"),
    (PG, "integer", "1e999999999", "4300 digits"),
    (PG, "real", 16777217, "more digits"),
    (PG, "real", Decimal("1e39"), "more digits"),
    (PG, "real", "0.123456789", "more digits"),
    (PG, "double precision", 2**53 + 1, "more digits"),
    (PG, "double precision", "12345678901234567890.1", "more digits"),
    (PG, "double precision", "0x10", "not a decimal"),
    (PG, "integer", "1_0", "not a decimal"),
    (PG, "numeric(10,2)", " -1.5_0", "not a decimal"),
    (PG, "money", "1_000", "not a decimal"),
    (MARIA, "int(11)", "1_000_000", "not a decimal"),
    (PG, "character varying(5)", "abcde ", "keeps 5"),
    (PG, "name", "é" * 32, "keeps 63"),
    (PG, '"char"', "ab", "keeps 1"),
    (PG, "date", "02.01.2026", "ISO 8601"),
    (PG, "interval(0)", "1.6 seconds", "digits of a second"),
    (PG, "timestamp(0) without time zone", "20000-01-01 10:00:00.6", "digits of a second"),
    (MARIA, "int(11)", ".5", "whole number"),
    (MARIA, "time", "-10:00:00.5", "digits of a second"),
    (MARIA, "time(3)", "100:00:00.1234", "digits of a second"),
    (PG, "date", "20260102", "ISO 8601"),
    (PG, "date", "tomorrow", "ISO 8601"),
    (PG, "date", "2026-01-02T03:04:05", "ISO 8601"),
    (PG, "date", 20260102, "epoch_s"),
    (PG, "timestamp without time zone", "yesterday", "ISO 8601"),
    (PG, "timestamp without time zone", "2026-01-02T23:59:60", "ISO 8601"),
    (PG, "timestamp without time zone", True, "epoch_s"),
    (PG, "timestamp(0) without time zone", "2026-01-02T03:04:05.5", "of a second"),
    (PG, "timestamp without time zone", "2026-01-02T03:04:05.1234567", "of a second"),
    (PG, "timestamp(3) with time zone", HERE, "of a second"),
    (PG, "time without time zone", "03:04:05+02", "zone"),
    (PG, "interval", "5", "not written as interval"),
    (PG, "interval", 5, "for a column of interval"),
    (PG, "cidr", "10", "not written as cidr"),
    (PG, "macaddr", "2026-01-02", "not written as macaddr"),
    (PG, "money", "1,5", "not a number"),
    (PG, "money", "1.005", "after the point"),
    (PG, "oid", -1, "0 to 4294967295"),
    (PG, "bit varying(8)", "x41", "not written as bit"),
    (PG, "jsonb", '[{"a": 1, "a": 2}]', "two members"),
    (MARIA, "datetime", "2026-01-02T03:04:05.5", "of a second"),
    (MARIA, "datetime", MOMENT, "of a second"),
    (MARIA, "date", datetime.time(1), "for a column of date"),
    (MARIA, "time(6)", datetime.date(2026, 1, 2), "for a column of time"),
    (MARIA, "time", 112, "epoch_s"),
    (MARIA, "enum('a','b')", 1, "no value of enum"),
    (MARIA, "enum('a','b')", "A", "no value of enum"),
    (MARIA, "set('a','b')", "a,c", "no value of set"),
    (MARIA, "year(4)", 70, "1901 to 2155"),
    (MARIA, "year(4)", "1_999", "not a decimal"),
    (MARIA, "bit(8)", "abc", "0 to 255"),
    (MARIA, "tinyint(1)", 1.5, "whole"),
    (MARIA, "tinyint(1)", "1.5", "whole"),
    (MARIA, "float", "1.23456789", "more digits"),
    (MARIA, "decimal(5,0)", 1.5, "after the point"),
    (MARIA, "tinytext", "é" * 128, "keeps 255"),
    (MARIA, "bigint(20)", b"12", "binary"),
    (SQLITE, "REAL", 2**53 + 1, "more digits"),
    (SQLITE, "INTEGER", "9e999", "more digits"),
    (SQLITE, "DATE", "123456789012345678901", "more digits"),
]


@pytest.mark.parametrize(("dialect", "name", "value", "words"), ALTERED)
def test_a_value_that_its_column_would_alter_is_refused_because_of_the_column(dialect, name, value, words):
    found = refusal(dialect, name, value)
    assert re.search(words, found.text)
    assert found.by_target


@pytest.mark.parametrize("dialect", ALL)
@pytest.mark.parametrize("name", ["character varying(5)", "integer", "date", "tinyint(1)", "bytea", ""])
@pytest.mark.parametrize("value", [[1], {"a": 1}, object()])
def test_a_value_that_no_column_takes_is_refused_because_of_the_message(dialect, name, value):
    assert not refusal(dialect, name, value).by_target


@pytest.mark.parametrize(("value", "by_target"), [("text", True), ("a\0", False)])
def test_what_an_unknown_driver_would_alter_is_refused_because_of_it(value, by_target):
    def refuse(_text):
        raise ValueError("this driver alters texts")

    assert refusal(replace(GENERIC, checks=((str, refuse),)), "text", value).by_target is by_target


@pytest.mark.parametrize("digits", ["0.1", "16777216", "3.4028235e+38", "-1.1754944e-38", "123456.79", "0"])
def test_a_number_of_single_precision_has_its_shortest_digits(digits):
    (widened,) = struct.unpack("f", struct.pack("f", float(digits)))
    assert fetch_plan.shortest_single(widened) == float(digits)
    assert fetch_plan.shortest_single(0.1) == 0.1  # no number of single precision
    assert fetch_plan.shortest_single(None) is None


def test_a_binder_names_the_value_that_it_refuses():
    bind = make_binder(PG, [ColumnType(Column.TEXT)] * 3, ["a", "b", "c"], "reading")
    with pytest.raises(Failed) as caught:
        bind(("x", 1, "y\0"))
    assert caught.value.failure.detail.startswith("reading.values.c: a NUL")


def test_a_subclass_is_bound_like_its_base():
    class Level(enum.IntEnum):
        HIGH = 3

    assert bound(PG, Column.TEXT, Level.HIGH) == "3"


def test_rows_of_changing_types_are_bound_each_by_its_own():
    bind = make_binder(MARIA, [ColumnType(Column.TEXT), ColumnType(Column.INTEGER)], ["a", "b"])
    rows = [("x", 1), (None, "2"), (True, Decimal(3)), ("y", None), ("x", 1)]
    assert [bind(row) for row in rows] == [("x", 1), (None, "2"), ("true", 3), ("y", None), ("x", 1)]


TYPES = ["bigint", "numeric(12,4)", "numeric", "numeric(5,-2)", "double precision", "real", "boolean", "date", "bytea"]
TYPES += [
    "timestamp",
    "timestamp(3)",
    "timestamp with time zone",
    "varchar(4)",
    "character(4)",
    "text",
    "name",
    "jsonb",
]
NUMBERS = st.integers() | st.integers(-3, 3) | st.decimals(allow_nan=True) | st.decimals(-99, 99, places=2)
DIGITS = st.sampled_from(["1.5", "-2.25", "1.23456", "1E+3", "0.1000", "NaN", "sNaN", "Infinity", "5"]).map(Decimal)
TEXTS = st.text("ab \0\n", max_size=6) | st.sampled_from(["true", "1", "1.0", "12e3", "abcd ", "abcde"])
MOMENTS = st.sampled_from(["2026-01-02T03:04:05.123456", "2026-01-02 03:04:05", "2026-01-02", "2026-01-02T03:04:05Z"])
MOMENTS |= st.sampled_from(["2026-01-02T03:04:05\n2026-01-02T03:04:05", "03:04:05", "2026-01-02T25:04:05", "infinity"])
VALUES = [NUMBERS, DIGITS, TEXTS, MOMENTS, st.floats(), st.booleans(), st.binary(max_size=3), st.just(MISSING)]


@st.composite
def columns(draw):
    """Return a type, and the values of some rows, most of them of one kind."""
    kinds = draw(st.lists(st.sampled_from([*VALUES, st.none()]), min_size=1, max_size=2))
    return draw(st.sampled_from(TYPES)), draw(st.lists(st.one_of(kinds), min_size=1, max_size=5))


@pytest.mark.parametrize("dialect", [PG, MARIA, SQLITE, GENERIC], ids=lambda dialect: dialect.name)
@given(columns())
@example(("bigint", [1, 2**64]))
@example(("numeric(12,4)", [Decimal("1.5"), Decimal("1.23456")]))
@example(("numeric(12,4)", [Decimal("1.5"), Decimal("1E+3")]))
@example(("timestamp", ["2026-01-02T03:04:05", "2026-01-02T03:04:05\n2026-01-02T03:04:05"]))
@example(("timestamp", ["2026-01-02T03:04:05", "2026-01-02T25:04:05"]))
@example(("timestamp(3)", ["2026-01-02T03:04:05.123", "2026-01-02T03:04:05.1234"]))
@example(("text", ["a", "a\0"]))
@example(("varchar(4)", ["abcd", "abcd "]))
def test_rows_that_are_bound_together_are_bound_as_each_by_itself(dialect, column):
    name, values = column
    bind = make_binder(dialect, [typed(dialect, name)], ["x"])
    try:
        alone = [bind((value,)) for value in values]
    except Failed:
        assert bind.together([values]) is None
    else:
        found = bind.together([values])
        assert found is None or repr(found) == repr(alone)  # None: each is to be bound by itself


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
        (PG, "timestamp with time zone", Column.INSTANT),
        (PG, "date", Column.DATE),
        (PG, "time without time zone", Column.TIME),
        (PG, "bytea", Column.BINARY),
        (PG, "jsonb", Column.JSON),
        (PG, "integer[]", Column.ARRAY),
        (GENERIC, "datetimeoffset(7)", Column.INSTANT),
        (GENERIC, "TIMESTAMP(6) WITH LOCAL TIME ZONE", Column.INSTANT),
        (GENERIC, "datetime2(7)", Column.TIMESTAMP),
        (PG, "uuid", Column.UNKNOWN),
        (PG, "interval", Column.FORM),
        (PG, "point", Column.UNKNOWN),
        (PG, "daterange", Column.UNKNOWN),
        (PG, "datemultirange", Column.UNKNOWN),
        (PG, "time_unit", Column.UNKNOWN),
        (PG, "date_kind", Column.UNKNOWN),
        (PG, "timestamp_source", Column.UNKNOWN),
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
        (MARIA, "bit(1)", Column.INTEGER),
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
    assert dialect.column_type(name).kind is column


def test_identifiers_lose_their_quotes_and_fold_where_the_database_folds_them():
    assert plain_name('"Or""der"', fold=True) == 'Or"der'
    assert plain_name("Device", fold=True) == "device"
    assert plain_name("`a``b`") == "a`b"
    assert plain_name("[x y]") == "x y"


@pytest.mark.parametrize(
    ("dialect", "table", "parameters"),
    [
        (PG, 'public."Order"', ('public."Order"',)),
        (MARIA, "`plant`.`order`", ("plant", "order", "plant", "order")),
        (MARIA, "reading", ("reading", "reading")),
        (SQLITE, '"reading"', ("reading",)),
    ],
)
def test_the_catalogue_is_asked_with_names_as_parameters(dialect, table, parameters):
    question = dialect.columns_query(table)
    assert question is not None
    assert question[1] == parameters


def test_a_driver_without_a_known_catalogue_is_not_asked():
    assert GENERIC.columns_query("t") is None


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
    assert postgresql._fetch_plan("SELECT 1", [Col("a", int, 5), Col("b", str, 0)]).sql == "SELECT 1"


def test_what_a_driver_reads_as_another_number_is_cast():
    columns = [Col("o", int, 10), Col("m", float, 10), Col("i", int, 5), Col("d", datetime.date, 10)]
    items = "CAST(CAST(c1 AS text) AS bigint), CAST(c2 AS numeric), c3, CAST(c4 AS text)"
    query = postgresql._fetch_plan("SELECT * FROM t", columns)
    assert query.sql == f"SELECT {items} FROM (\nSELECT * FROM t\n) AS q(c1, c2, c3, c4)"
    insert = postgresql._returning_plan("INSERT INTO t (i) VALUES (?) RETURNING *;", columns)
    assert (
        insert.sql == f"WITH q(c1, c2, c3, c4) AS (\nINSERT INTO t (i) VALUES (?) RETURNING *\n) SELECT {items} FROM q"
    )
    assert query.names == insert.names == ("o", "m", "i", "d")


def test_a_query_may_end_with_a_semicolon_or_a_comment():
    plan = postgresql._fetch_plan("SELECT now() AS a -- now\n;", [Col("a", datetime.datetime)])
    assert plan.sql == "SELECT CAST(c1 AS text) FROM (\nSELECT now() AS a -- now\n) AS q(c1)"


def test_sqlite_values_come_as_what_they_are():
    plan = sqlite._fetch_plan("SELECT * FROM t", [Col("a", str), Col("b", bool)])
    assert plan.rows(
        [("i5", "i1"), ("r0.30000000000000004", "i0"), ("tx", "i7"), ("b00ff", None), ("x610062", "tyes")]
    ) == [
        (5, True),
        (0.1 + 0.2, False),
        ("x", 7),
        (b"\0\xff", None),
        ("a\0b", "yes"),
    ]
