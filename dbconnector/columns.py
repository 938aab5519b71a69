"""Classes of columns: what a column holds, as far as binding a value is concerned. Pure."""

import re
from enum import StrEnum


class Column(StrEnum):
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


_TYPES: tuple[tuple[str, Column], ...] = (
    (r".*\[\]$", Column.UNKNOWN),
    (r"tinyint\(1\)|bool", Column.BOOLEAN),
    (r"tinyint|smallint|mediumint|integer|bigint|int\b|int[248]\b|year|oid$", Column.INTEGER),
    (r"numeric|decimal|dec\b|number", Column.DECIMAL),
    (r"real|double|float", Column.FLOAT),
    (r"timestamp|datetime", Column.TIMESTAMP),
    (r"date", Column.DATE),
    (r"time", Column.TIME),
    (r"bytea|.*blob|.*binary", Column.BINARY),
    (r"jsonb?$", Column.JSON),
    (r".*char|.*text|name$|enum|bpchar", Column.TEXT),
)


def column_class(type_name: str) -> Column:
    """Given a type as the catalogue of a database names it, return the class of the column."""
    name = type_name.strip().lower()
    return next((column for pattern, column in _TYPES if re.match(pattern, name)), Column.UNKNOWN)


def plain_name(name: str, *, fold: bool = False) -> str:
    """Return an identifier without its quotes; an unquoted one in lower case if `fold`."""
    name = name.strip()
    for opening, closing in (('"', '"'), ("`", "`"), ("[", "]")):
        if len(name) > 1 and name.startswith(opening) and name.endswith(closing):
            return name[1:-1].replace(closing * 2, closing)
    return name.lower() if fold else name


def name_parts(table: str) -> list[str]:
    """Split a table's name at its dots; return the parts without their quotes, the table last."""
    parts = re.findall(r'"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|[^.\s]+', table)
    return [plain_name(part) for part in parts] or [table]
