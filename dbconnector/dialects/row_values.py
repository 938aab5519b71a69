"""Sets of rows for SQLite: a list of VALUES, in which every parameter keeps the type that it is bound as. Pure.

A column of such a list has neither affinity nor collation, so that it is compared with a column of the table, on the
left, as a parameter is.
"""

import unicodedata
from collections.abc import Hashable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from dbconnector.columns import ColumnType, name_parts
from dbconnector.dialects.base import PYODBC_PARAMETERS, Query
from dbconnector.dialects.row_sets import SOURCE, Independence, Row, RowSet, SetStatement, of_any
from dbconnector.sql.keyed_change import KeyedChange

#: A temporary table of the same name would be the one that is meant.
_ROWS = """
WITH s AS (SELECT type, name, tbl_name, sql FROM sqlite_master UNION ALL
 SELECT 'temporary', name, tbl_name, sql FROM sqlite_temp_master),
t AS (SELECT ? COLLATE NOCASE AS name)
SELECT 'plain', '' FROM t WHERE
 (SELECT group_concat(s.type) FROM s WHERE s.name = t.name AND s.sql NOT LIKE 'CREATE VIRTUAL%') = 'table'
 AND NOT EXISTS (SELECT 1 FROM s WHERE s.tbl_name = t.name AND s.type IN ('trigger', 'temporary'))
UNION ALL SELECT 'cascades', '' FROM t, s, pragma_foreign_key_list(s.name) AS f
 WHERE s.type = 'table' AND f."table" = t.name AND (s.name = t.name OR f.on_delete NOT IN ('NO ACTION', 'RESTRICT'))
UNION ALL SELECT 'cascades', '' FROM t, pragma_table_xinfo(t.name) AS c WHERE lower(c.name) = 'rowid'
UNION ALL SELECT 'computed', c.name FROM t, pragma_table_xinfo(t.name) AS c WHERE c.hidden IN (2, 3)
UNION ALL SELECT 'unclear', '' FROM t, pragma_index_list(t.name) AS i WHERE i."unique" AND
 (i.partial OR EXISTS (SELECT 1 FROM pragma_index_info(i.name) AS c WHERE c.name IS NULL))
UNION ALL SELECT 'key', (SELECT group_concat(c.name, char(10)) FROM pragma_index_info(i.name) AS c)
 FROM t, pragma_index_list(t.name) AS i WHERE i."unique" AND NOT i.partial
UNION ALL SELECT 'key', group_concat(c.name, char(10)) FROM t, pragma_table_info(t.name) AS c
 WHERE c.pk GROUP BY t.name
"""

#: Other names of a key that is an integer.
_ROWIDS = {"rowid", "_rowid_", "oid"}


def rows_query(table: str, *, deletes: bool = False) -> Query:
    parts = name_parts(table)
    return _ROWS, (parts[-1] if len(parts) == 1 else "",)


def by_values(change: KeyedChange, _kinds: Sequence[ColumnType], found: Independence) -> RowSet | None:
    """Join the rows as a list of VALUES. A parameter that is not compared with a column on its left runs alone."""
    width = len(change.operands)
    if None in change.operands or change.changed & _ROWIDS:
        return None
    row = f"({','.join('?' * width)})"

    def text(rows: int) -> str:
        source = f"(VALUES {','.join([row] * rows)}) AS {SOURCE}"
        where = change.where(_column)
        if change.deletes:
            looked_up = f"SELECT {change.name}.rowid FROM {source} CROSS JOIN {change.reference} {where}"
            return f"DELETE FROM {change.reference} WHERE {change.name}.rowid IN ({looked_up})"
        return f"UPDATE {change.reference} {change.set(_column)}FROM {source} {where}"

    def statement(rows: Sequence[Row]) -> SetStatement:
        return text(len(rows)), [value for row in rows for value in row]

    return RowSet(
        statement,
        tuple((at, of_any(_key)) for at, _ in change.keys),
        found.has_one_row(change),
        # Only compiled: the right to write is one connection's at a time.
        (f"EXPLAIN {text(1)}", [None] * width),
        most=PYODBC_PARAMETERS // width,
        sized=True,
    )


def _column(at: int) -> str:
    return f"{SOURCE}.column{at + 1}"


def _key(value: Any) -> Hashable:
    """Return the same for all values that could be equal in any column and by any collation of SQLite's own."""
    if isinstance(value, bytes):
        return value
    try:
        number = Decimal(int(value) if isinstance(value, bool) else str(value).strip())
    except InvalidOperation:
        number = Decimal("NaN")
    return float(number) if number.is_finite() else unicodedata.normalize("NFKC", str(value)).casefold().rstrip()
