"""What kind of column a parameter goes into: how to ask each database, and what its answer means. Pure.

Asking must not need the right to read the table (a writer often may only insert), so the catalogues are asked.
"""

import re
from collections.abc import Mapping
from enum import StrEnum


class Column(StrEnum):
    """What a column holds, as far as binding is concerned."""

    TEXT = "text"
    JSON = "json"
    INTEGER = "integer"
    DECIMAL = "decimal"
    FLOAT = "float"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    DATE = "date"
    TIME = "time"
    BINARY = "binary"
    UNKNOWN = "unknown"


_SERVER_TYPES: tuple[tuple[str, Column], ...] = (
    (r"tinyint\(1\)|bool", Column.BOOLEAN),
    (r".*\[\]|tinyint|smallint|mediumint|integer|bigint|int\b|int[248]\b|year|oid$", Column.INTEGER),
    (r"numeric|decimal|dec\b|number", Column.DECIMAL),
    (r"real|double|float", Column.FLOAT),
    (r"timestamp|datetime", Column.TIMESTAMP),
    (r"date", Column.DATE),
    (r"time", Column.TIME),
    (r"bytea|.*blob|.*binary", Column.BINARY),
    (r"jsonb?$", Column.JSON),
    (r".*char|.*text|name$|enum|bpchar|\"char\"", Column.TEXT),
)


def column_class(kind: str, type_name: str) -> Column:
    """Given a driver's kind and the type as the database writes it, return the class of the column."""
    name = type_name.strip().lower()
    if kind == "sqlite":
        return _sqlite_class(name)
    if name.endswith("[]"):
        return Column.UNKNOWN
    for pattern, column in _SERVER_TYPES:
        if re.match(pattern, name):
            return column
    return Column.UNKNOWN


def _sqlite_class(name: str) -> Column:
    """SQLite's own rules of affinity, in their order (sqlite.org/datatype3.html §3.1), and our names before them."""
    if not name:
        return Column.UNKNOWN
    for words, column in (
        (("bool",), Column.BOOLEAN),
        (("timestamp", "datetime"), Column.TIMESTAMP),
        (("int",), Column.INTEGER),
        (("char", "clob", "text"), Column.TEXT),
        (("blob",), Column.BINARY),
        (("real", "floa", "doub"), Column.FLOAT),
        (("json",), Column.JSON),
        (("date",), Column.DATE),
        (("time",), Column.TIME),
    ):
        if any(word in name for word in words):
            return column
    return Column.DECIMAL


#: How to ask for the type of one column; parameters: table, column, without quotes where the question says so.
#: PostgreSQL's to_regclass takes the table as it is written in SQL, quotes, schema and search path included.
TYPE_QUERIES: Mapping[str, str] = {
    "postgresql": (
        "SELECT format_type(CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END, NULL) FROM pg_attribute a"
        " JOIN pg_type t ON t.oid = a.atttypid WHERE a.attrelid = to_regclass(?) AND a.attname = ?"
        " AND NOT a.attisdropped"
    ),
    "mariadb": (
        "SELECT column_type FROM information_schema.columns WHERE table_schema = COALESCE(NULLIF(?, ''), DATABASE())"
        " AND table_name = ? AND column_name = ?"
    ),
    "sqlite": "SELECT type FROM pragma_table_info(?) WHERE lower(name) = lower(?)",
}


def type_question(kind: str, table: str, column: str) -> tuple[str, tuple[str, ...]] | None:
    """Given a table and a column as they stand in a statement, return the query and parameters that ask for the
    column's type; None where there is no way to ask that cannot fail."""
    query = TYPE_QUERIES.get(kind)
    if query is None:
        return None
    if kind == "postgresql":
        return query, (table, plain_name(column, fold=True))
    *schema, name = _name_parts(table)
    if kind == "mariadb":
        return query, (schema[-1] if schema else "", name, plain_name(column))
    return query, (name, plain_name(column))


def plain_name(name: str, *, fold: bool = False) -> str:
    """Return an identifier without its quotes; unquoted ones in lower case if the database folds them."""
    name = name.strip()
    for opening, closing in (('"', '"'), ("`", "`"), ("[", "]")):
        if len(name) > 1 and name.startswith(opening) and name.endswith(closing):
            return name[1:-1].replace(closing * 2, closing)
    return name.lower() if fold else name


def _name_parts(table: str) -> list[str]:
    parts = re.findall(r'"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|[^.\s]+', table)
    return [plain_name(part) for part in parts] or [table]
