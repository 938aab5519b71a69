"""Which statements for the row with one key may be run for a set of rows, and what they become on each database."""

import json
from decimal import Decimal
from typing import Any

import pytest

from dbconnector.columns import ColumnType
from dbconnector.dialects import mariadb, postgresql, sqlite
from dbconnector.dialects.base import Dialect
from dbconnector.dialects.row_sets import Independence, RowSet, independence
from dbconnector.sql import Target, compile_statement

TYPES = {
    "postgresql": {
        **{"id": "bigint", "n": "integer", "site": "text", "name": "character varying"},
        "at": "timestamp without time zone",
    },
    "sqlite": {},
    "mariadb": {"id": "bigint(20)", "n": "int(11)", "site": "text", "name": "varchar(10)", "at": "datetime(6)"}
    | {"built": "year(4)", "size": "enum('s','m')", "price": "decimal(30,10)"},
}
KEYS = (frozenset({"id"}), frozenset({"site", "name"}))
TABLE = Independence(plain=True, keys=KEYS, collations={"site": "utf8mb4_general_ci"})


def changed_in_sets(text: str) -> str | None:
    """Return what is run for each row of the set `r`, if the text may be run for one."""
    change = compile_statement(text).keyed_change
    if change is None:
        return None
    set_and_where = change.set(lambda at: f"r.{at}") + change.where(lambda at: f"r.{at}")
    return f"{change.reference}, r {set_and_where}"


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("UPDATE t SET a = :a WHERE id = :id", "t, r SET a = r.0 WHERE id = r.1"),
        ("update t set n = n + 1 where id = :id;", "t, r set n = n + 1 where id = r.0"),
        ("UPDATE t SET n = n + :n, a = :a WHERE id = :id", "t, r SET n = n + r.0, a = r.1 WHERE id = r.2"),
        (
            'UPDATE "S"."t" AS x -- why\n SET a = :a -- ?\n WHERE x."id" = :id -- one',
            '"S"."t" AS x, r SET a = r.0  \n WHERE x."id" = r.1',
        ),
        (
            "UPDATE t SET a = :a, at = now() WHERE site = :site AND id = :id AND (at IS NULL OR at < :at)",
            "t, r SET a = r.0, at = now() WHERE site = r.1 AND id = r.2 AND (at IS NULL OR at < r.3)",
        ),
        (
            "UPDATE t SET a = CASE WHEN b > :b THEN :a ELSE a END WHERE a IS DISTINCT FROM :a AND id = :id",
            "t, r SET a = CASE WHEN b > r.0 THEN r.1 ELSE a END WHERE a IS DISTINCT FROM r.2 AND id = r.3",
        ),
        ("DELETE FROM t WHERE site = :site AND id = :id", "t, r WHERE site = r.0 AND id = r.1"),
        (
            "UPDATE t SET a = COALESCE(:a, a) WHERE id = :id AND b = COALESCE(:b, b)",
            "t, r SET a = COALESCE(r.0, a) WHERE id = r.1 AND b = COALESCE(r.2, b)",
        ),
        ("DELETE FROM t x WHERE x.id = :id", "t x, r WHERE x.id = r.0"),
    ],
)
def test_a_statement_for_one_key_becomes_one_for_a_set(one: str, many: str) -> None:
    assert changed_in_sets(one) == many


@pytest.mark.parametrize(
    "alone",
    [
        "UPDATE t SET a = :a",
        "UPDATE t SET a = 1 WHERE b = 2",
        "UPDATE t SET id = :new WHERE id = :id",  # the next row may have this key
        'UPDATE t SET "ID" = :new WHERE id = :id',
        "UPDATE t SET a = :a WHERE id = :id OR b = :b",
        "UPDATE t SET a = :a WHERE NOT id = :id",
        "UPDATE t SET a = :a WHERE NOT t.id = :id",
        "UPDATE t SET a = :a WHERE a IS NOT t.id = :id",
        "UPDATE t SET a = :a WHERE id = :id AND a = 1 || b = 2",  # in MariaDB: OR
        "UPDATE t SET a = a + 1 WHERE id = :id AND a IN t",
        "UPDATE t SET a = a + 1 WHERE id = :id AND a IN (TABLE t)",
        "UPDATE t SET a = :a WHERE (id = :id)",
        "UPDATE t SET a = :a WHERE id >= :id",
        "UPDATE t SET a = :a WHERE id = :id + 1",
        "UPDATE t SET a = :a WHERE :id = id",  # whose collation would be another one
        "UPDATE t SET a = :a WHERE lower(id) = :id",
        "UPDATE t SET a = :a WHERE id = :id AND b BETWEEN :b AND :c",
        "UPDATE t SET a = :a WHERE id IN (:id)",
        "UPDATE t SET a = :a WHERE id = :id RETURNING a",
        "UPDATE t SET a = :a WHERE id = :id ORDER BY a LIMIT 1",
        "UPDATE t SET a = :a OUTPUT INSERTED.a WHERE id = :id",
        "UPDATE t SET a = (SELECT max(a) FROM t) WHERE id = :id",
        "UPDATE t SET a = :a WHERE id = :id AND EXISTS (SELECT 1 FROM u)",
        "UPDATE t SET a = u.a FROM u WHERE t.id = :id",
        "UPDATE t, u SET a = :a WHERE id = :id",
        "UPDATE t JOIN u ON t.id = u.id SET a = :a WHERE t.id = :id",
        "UPDATE t SET (a, b) = (:a, :b) WHERE id = :id",
        "UPDATE t SET a[1] = :a WHERE id = :id",
        "UPDATE t SET a = DEFAULT WHERE id = :id",  # which may be the next of a sequence
        "UPDATE t SET a = nextval('s') WHERE id = :id",
        "UPDATE t SET a = random() WHERE id = :id",
        "UPDATE t SET a = @n := @n + 1 WHERE id = :id",
        "UPDATE ONLY t SET a = :a WHERE id = :id",
        "UPDATE OR IGNORE t SET a = :a WHERE id = :id",
        "UPDATE IGNORE t SET a = :a WHERE id = :id",
        "UPDATE LOW_PRIORITY t SET a = :a WHERE id = :id",
        "UPDATE t PARTITION (p) SET a = :a WHERE id = :id",
        "UPDATE /*! IGNORE */ t SET a = :a WHERE id = :id",
        "UPDATE t SET a = :a WHERE CURRENT OF c AND id = :id",
        "DELETE FROM t USING u WHERE t.id = :id",
        "DELETE t FROM t JOIN u WHERE t.id = :id",
        "DELETE QUICK FROM t WHERE id = :id",
        "DELETE FROM t",
        "MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN UPDATE SET a = :a WHERE id = :id",
        "WITH x AS (SELECT 1) UPDATE t SET a = :a WHERE id = :id",
        "INSERT INTO t (a) VALUES (:a)",
        "SELECT a FROM t WHERE id = :id",
        "CALL p(:a)",
    ],
)
def test_what_could_do_something_else_has_no_set(alone: str) -> None:
    assert changed_in_sets(alone) is None


@pytest.mark.parametrize(
    ("text", "chained"),
    [
        ("UPDATE t SET a = a + 1, b = :b WHERE id = :id", False),
        ("UPDATE t SET a = b, b = :b WHERE id = :id", False),
        ("UPDATE t SET b = :b, a = t.`B` WHERE id = :id", True),
        ("UPDATE t SET b = :b, b = b + 1 WHERE id = :id", True),
    ],
)
def test_a_value_may_need_what_was_changed_before(text: str, chained: bool) -> None:
    change = compile_statement(text).keyed_change
    assert change is not None
    assert change.chained is chained


@pytest.mark.parametrize(
    ("text", "table", "together"),
    [
        ("UPDATE t SET at = :at WHERE id = :id", TABLE, True),
        ("DELETE FROM t WHERE id = :id", TABLE, True),
        ("UPDATE t SET at = :at WHERE id = :id", Independence(), False),  # nothing is known: no table, perhaps
        ("UPDATE t SET at = :at WHERE id = :id", TABLE._replace(plain=False), False),
        ("UPDATE t SET at = :at WHERE id = :id", TABLE._replace(cascades=True), True),
        ("DELETE FROM t WHERE id = :id", TABLE._replace(cascades=True), False),
        ("UPDATE t SET at = :at WHERE id = :id", TABLE._replace(unclear=True), False),
        ("DELETE FROM t WHERE id = :id", TABLE._replace(unclear=True), True),
        ("UPDATE t SET at = :at WHERE id = :id", TABLE._replace(ordered=True), True),
        ("DELETE FROM t WHERE id = :id", TABLE._replace(ordered=True), False),
        ("UPDATE t SET at = :at WHERE id = :id", TABLE._replace(computed=frozenset({"n"})), True),
        ("UPDATE t SET at = :at WHERE id = :id AND n = :n", TABLE._replace(computed=frozenset({"n"})), False),
        ("UPDATE t SET at = :at WHERE id = :id", TABLE._replace(computed=frozenset({"name"})), False),
        ("DELETE FROM t WHERE name = :name", TABLE._replace(computed=frozenset({"name"})), True),
        ("UPDATE t SET Name = :name WHERE id = :id", TABLE, False),  # the name may be one that the next row gives up
    ],
)
def test_the_catalogue_says_whether_rows_depend_on_each_other(text: str, table: Independence, together: bool) -> None:
    change = compile_statement(text).keyed_change
    assert change is not None
    assert table.allows(change) is together


def test_what_the_catalogue_answers() -> None:
    assert independence([]) == Independence()
    found = independence(
        [
            ("plain", ""),
            ("key", "Id"),
            ("key", "site\nname"),
            ("unclear", None),
            ("computed", "N"),
            ("collation utf8mb4_general_ci", "Site"),
        ]
    )
    assert found == TABLE._replace(unclear=True, computed=frozenset({"n"}))


@pytest.mark.parametrize(
    ("text", "one"),
    [
        ("UPDATE t SET a = :a WHERE id = :id", True),
        ("UPDATE t SET a = :a WHERE id = :id AND at < :at", True),
        ("UPDATE t SET a = :a WHERE site = :site AND name = :name AND a = 1", True),
        ("UPDATE t SET a = :a WHERE site = :site", False),
    ],
)
def test_a_key_of_all_columns_that_are_unique_is_one_rows(text: str, one: bool) -> None:
    change = compile_statement(text).keyed_change
    assert change is not None
    assert TABLE.has_one_row(change) is one


def set_of(dialect: Dialect, text: str, table: Independence = TABLE) -> RowSet | None:
    """Return how a dialect runs a statement for many rows of a table with the columns of TYPES."""
    change = compile_statement(text).keyed_change
    assert change is not None
    assert dialect.row_set is not None
    kinds = [_kind(dialect, target) if target else ColumnType() for target in change.operands]
    return dialect.row_set(change, kinds, table)


def _kind(dialect: Dialect, target: Target) -> ColumnType:
    found = dialect.column_type(TYPES[dialect.name].get(target.column, "circle"))
    return found if target.stored else found.compared()


@pytest.mark.parametrize(
    ("one", "many", "parameters"),
    [
        (
            "UPDATE t SET name = :name WHERE id = :id AND at < :at",
            "UPDATE t SET name = connector_rows.p0 FROM unnest(CAST(? AS character varying[]), CAST(? AS bigint[]),"
            " CAST(? AS timestamp without time zone[])) AS connector_rows(p0, p1, p2)"
            " WHERE id = connector_rows.p1 AND at < connector_rows.p2",
            ['{"a\\"b\\\\c",NULL}', "{1,2}", '{"2026-01-02 03:04:05","2026-01-02 03:04:06"}'],
        ),
        (
            "DELETE FROM t x WHERE site = :site AND id = :id",
            "DELETE FROM t x USING unnest(CAST(? AS text[]), CAST(? AS bigint[])) AS connector_rows(p0, p1)"
            " WHERE site = connector_rows.p0 AND id = connector_rows.p1",
            ['{"a\\"b\\\\c",NULL}', "{1,2}"],
        ),
    ],
)
def test_postgresql_takes_an_array_for_each_parameter(one: str, many: str, parameters: list[str]) -> None:
    found = set_of(postgresql.DIALECT, one)
    assert found is not None
    rows = [('a"b\\c', 1, "2026-01-02 03:04:05"), (None, 2, "2026-01-02 03:04:06")]
    assert found.statement([row[: len(parameters)] for row in rows]) == (many, parameters)


@pytest.mark.parametrize(
    ("one", "many"),
    [
        (
            "UPDATE t SET name = :name, n = n + :n WHERE id = :id AND at < :at",
            "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (p0 LONGTEXT PATH '$[0]' ERROR ON ERROR, p1 BIGINT PATH '$[1]'"
            " ERROR ON ERROR, p2 BIGINT PATH '$[2]' ERROR ON ERROR, p3 LONGTEXT PATH '$[3]' ERROR ON ERROR))"
            " AS connector_rows"
            " STRAIGHT_JOIN t SET name = connector_rows.p0, n = n + connector_rows.p1"
            " WHERE id = connector_rows.p2 AND at < connector_rows.p3",
        ),
        (
            "DELETE FROM t WHERE t.site = :site AND n = :n AND id = :id",
            "DELETE t FROM JSON_TABLE(?, '$[*]' COLUMNS (p0 VARCHAR(255) CHARACTER SET utf8mb4 COLLATE"
            " utf8mb4_general_ci PATH '$[0]' ERROR ON ERROR, p1 BIGINT PATH '$[1]' ERROR ON ERROR,"
            " p2 BIGINT PATH '$[2]' ERROR ON ERROR)) AS connector_rows STRAIGHT_JOIN t"
            " WHERE t.site = connector_rows.p0 AND n = connector_rows.p1 AND id = connector_rows.p2",
        ),
    ],
)
def test_mariadb_takes_a_document(one: str, many: str) -> None:
    found = set_of(mariadb.DIALECT, one)
    assert found is not None
    executed = found.statement([('a"b\\c', 1, "7", "2026-01-02"), (None, 2, 8, "2026-01-03")])
    assert executed is not None
    sql, (document,) = executed
    assert sql == many
    ids = [7, 8]
    assert [row[:3] for row in json.loads(document)] == [['a"b\\c', 1, ids[0]], [None, 2, ids[1]]]


@pytest.mark.parametrize(
    ("one", "many"),
    [
        (
            "UPDATE t SET name = :name WHERE id = :id",
            "UPDATE t SET name = connector_rows.column1 FROM (VALUES (?,?),(?,?)) AS connector_rows"
            " WHERE id = connector_rows.column2",
        ),
        (
            "DELETE FROM t AS x WHERE site = :site AND x.id = :id",
            "DELETE FROM t AS x WHERE x.rowid IN (SELECT x.rowid FROM (VALUES (?,?),(?,?)) AS connector_rows"
            " CROSS JOIN t AS x WHERE site = connector_rows.column1 AND x.id = connector_rows.column2)",
        ),
    ],
)
def test_sqlite_takes_a_list_of_values(one: str, many: str) -> None:
    found = set_of(sqlite.DIALECT, one)
    assert found is not None
    assert found.statement([("a", 1), (None, "2")]) == (many, ["a", 1, None, "2"])
    assert set_of(sqlite.DIALECT, "UPDATE t SET n = 1 WHERE id = :id AND :at > at") is None  # by another collation
    assert set_of(sqlite.DIALECT, "UPDATE t SET rowid = :n WHERE id = :id") is None  # which may be the id


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE t SET place = :place WHERE id = :id",  # a circle: a type of which nothing is known
        "UPDATE t SET name = CONCAT(:name, name) WHERE id = :id",  # no column tells the type
        "UPDATE t SET name = COALESCE(:name, :site, name) WHERE id = :id",
        "UPDATE t SET name = :name WHERE at = :at",  # two texts may be the same moment
        "UPDATE t SET at = at + :at WHERE id = :id",  # which is no moment, but a duration
    ],
)
def test_of_what_postgresql_is_not_told_the_type_runs_alone(text: str) -> None:
    change = compile_statement(text).keyed_change
    assert change is None or set_of(postgresql.DIALECT, text) is None


def test_a_value_that_may_be_missing_has_the_type_of_the_column_that_is_kept_then() -> None:
    change = compile_statement("UPDATE t SET a = COALESCE(:a, b), n = COALESCE(:n, n) WHERE id = :id").keyed_change
    assert change is not None
    assert [each and each.column for each in change.operands] == ["b", "n", "id"]
    assert not change.added
    assert change.replaced == {0, 1}


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("UPDATE t SET n = :n, name = n WHERE id = :id", TABLE),  # in an UPDATE of two tables n would be the old one
        ("UPDATE t SET n = :n WHERE place = :place", TABLE),
        ("UPDATE t SET n = :n WHERE built = :built", TABLE),  # a year: 26 is 2026
        ("UPDATE t SET n = :n WHERE size = :size", TABLE._replace(collations={"size": "utf8mb4_bin"})),
        ("UPDATE t SET n = :n WHERE name = CONCAT(:name, 'x') AND id = :id", TABLE),
        ("UPDATE t SET n = :n WHERE site = :site", TABLE._replace(collations={"site": "utf8mb4_danish_ci"})),
        ("UPDATE t SET n = :n WHERE site = :site", TABLE._replace(collations={"site": "latin1_swedish_ci"})),
        (
            "UPDATE t SET site = COALESCE(:site, site) WHERE id = :id",  # alone an illegal mix of collations
            TABLE._replace(collations={"site": "latin1_swedish_ci"}),
        ),
        ("DELETE FROM t AS x WHERE x.id = :id", TABLE),  # alone it is a syntax error before MariaDB 11.6
    ],
)
def test_what_mariadb_could_compare_in_another_way_runs_alone(text: str, table: Independence) -> None:
    change = compile_statement(text).keyed_change
    assert change is None or set_of(mariadb.DIALECT, text, table) is None


STORED = "UPDATE t SET name = :name WHERE id = :id"
BY_TEXT = "UPDATE t SET n = :n WHERE site = :site"
PRICED = "UPDATE t SET n = :n WHERE id = :id AND price < :price"
RAISED = "UPDATE t SET price = price + :price WHERE id = :id"


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (STORED, [("a", 1), (2, 2)]),  # a text and a number in one column
        (STORED, [(1.5, 1), (2, 2)]),
        (STORED, [(Decimal("1.50"), 1), (Decimal("2"), 2)]),
        (STORED, [(b"a", 1), (b"b", 2)]),
        (STORED, [("a", "x"), ("b", 2)]),
        (STORED, [("a", "9223372036854775808"), ("b", 2)]),
        (BY_TEXT, [(1, "ä"), (2, "b")]),  # which may be equal to an a
        (BY_TEXT, [(1, "x" * 256), (2, "b")]),
        (PRICED, [(1, 1, "0.1234567890123456789"), (2, 2, "1.5")]),  # would be compared as floating-point numbers
        (RAISED, [("", 1), ("1.5", 2)]),  # would be 0
    ],
)
def test_values_that_a_document_could_change_run_alone_in_their_order(text: str, rows: list[tuple[Any, ...]]) -> None:
    found = set_of(mariadb.DIALECT, text)
    assert found is not None
    assert [*found.executions(text, rows, 500)] == [(text, row, 1) for row in rows]


@pytest.mark.parametrize(
    ("dialect", "text", "keys", "layers"),
    [
        (postgresql, STORED, [1, 2, 3], [[1, 2, 3]]),
        (postgresql, STORED, [1, "1", 2, "+01", 2], [[1, 2], ["1", 2], ["+01"]]),
        (postgresql, STORED, [None, None], [[None, None]]),  # NULL is no key of any row
        (postgresql, BY_TEXT, ["a", "A", "a ", "a"], [["a", "A", "a "], ["a"]]),
        (mariadb, BY_TEXT, ["a", "A", "b", "a "], [["a", "b"], ["A"], ["a "]]),
        (sqlite, BY_TEXT, ["a", "A", "b", "a "], [["a", "b"], ["A"], ["a "]]),
        (sqlite, BY_TEXT, [1, "1", "1.0", 1.0, "nan", "NaN"], [[1, "nan"], ["1", "NaN"], ["1.0"], [1.0]]),
        (sqlite, BY_TEXT, [1, True, False, 0], [[1, False], [True, 0]]),
    ],
)
def test_rows_of_one_key_go_one_after_the_other(dialect: Any, text: str, keys: list[Any], layers: list[Any]) -> None:
    found = set_of(dialect.DIALECT, text)
    assert found is not None
    assert [[row[1] for row in layer] for layer in found.layers([(0, key) for key in keys])] == layers


def test_where_there_may_be_triggers_all_rows_stay_in_their_order() -> None:
    found = set_of(mariadb.DIALECT, STORED, TABLE._replace(ordered=True))
    assert found is not None
    assert [[row[1] for row in run] for run in found.layers([(0, key) for key in (1, 2, 1, 3, 4, 3)])] == [
        [1, 2],
        [1, 3, 4],
        [3],
    ]


def test_a_set_has_at_most_so_many_rows() -> None:
    found = set_of(postgresql.DIALECT, STORED)
    assert found is not None
    rows = [("a", key) for key in (1, 2, 3, 4, 5, 5)]
    assert [count for _, _, count in found.executions(STORED, rows, 2)] == [2, 2, 1, 1]
    assert [sql for sql, _, count in found.executions(STORED, rows, 2) if count == 1] == [STORED] * 2


@pytest.mark.parametrize("dialect", [postgresql, mariadb])
def test_a_set_is_halved_until_no_parameter_is_longer_than_a_server_takes(dialect: Any) -> None:
    found = set_of(dialect.DIALECT, STORED)
    assert found is not None
    rows = [("x" * 1_500_000, 1), ("", 2), ("", 3), ("x" * 1_500_000, 4), ("x" * 1_500_000, 5), ("", 6)]
    assert [count for _, _, count in found.executions(STORED, rows, 500)] == [3, 3]
    rows = [("x" * 4_000_001, 1), ("", 2)]
    assert [*found.executions(STORED, rows, 500)] == [(STORED, row, 1) for row in rows]
