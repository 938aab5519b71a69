"""Sets of rows for PostgreSQL: an array for each parameter of the statement, and `unnest` to make rows of them. Pure.

However many rows there are, the statement and the number of its parameters are the same.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from dbconnector.columns import Column, ColumnType
from dbconnector.dialects.array_text import array_of
from dbconnector.dialects.base import Query
from dbconnector.dialects.row_sets import (
    SOURCE,
    Independence,
    KeyOf,
    Row,
    RowSet,
    SetStatement,
    of_any,
    parameter,
    whole_number,
)
from dbconnector.sql.keyed_change import KeyedChange

#: Partitioned tables, of which each part may have triggers of its own, count as tables that are not plain.
_ROWS = """
WITH t AS (SELECT c.* FROM pg_class c WHERE c.oid = to_regclass(?))
SELECT 'plain', '' FROM t WHERE relkind = 'r' AND NOT relhasrules AND NOT relhassubclass AND NOT relrowsecurity
 AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = t.oid AND NOT g.tgisinternal)
 AND NOT EXISTS (SELECT FROM pg_attribute a JOIN pg_collation l ON l.oid = a.attcollation WHERE a.attrelid = t.oid
  AND to_jsonb(l) ->> 'collisdeterministic' = 'false')
UNION ALL SELECT 'computed', a.attname FROM t JOIN pg_attribute a ON a.attrelid = t.oid
 WHERE to_jsonb(a) ->> 'attgenerated' IN ('s', 'v')
UNION ALL SELECT 'cascades', '' FROM t JOIN pg_constraint r ON r.contype = 'f' AND r.confrelid = t.oid
 WHERE r.conrelid = t.oid OR r.confdeltype NOT IN ('a', 'r')
UNION ALL SELECT CASE WHEN i.indisunique AND i.indimmediate AND i.indisvalid AND i.indexprs IS NULL
  AND i.indpred IS NULL THEN 'key' ELSE 'unclear' END,
 (SELECT string_agg(a.attname, E'\n') FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attnum = ANY (i.indkey))
 FROM t JOIN pg_index i ON i.indrelid = t.oid WHERE i.indisunique OR i.indisexclusion
"""


def rows_query(table: str, *, deletes: bool = False) -> Query:
    return _ROWS, (table,)


def _uuid(value: Any) -> Hashable:
    return str(value).lower().replace("-", "").strip("{}")


#: Types whose text means the same in an array as alone, and which are not cut by a cast to the type without its length.
_ARRAY_TYPES = {
    *("smallint", "integer", "bigint", "numeric", "real", "double precision", "boolean", "text", "character varying"),
    *("date", "timestamp without time zone", "timestamp with time zone", "time without time zone", "uuid", "bytea"),
    *("json", "jsonb"),
}
_ARRAY_KEYS: Mapping[str, KeyOf] = {
    **dict.fromkeys(("smallint", "integer", "bigint"), whole_number),
    **dict.fromkeys(("text", "character varying"), str),
    "uuid": _uuid,
}
#: Columns of which `column + :name` has the type.
_NUMBERS = {Column.INTEGER, Column.DECIMAL, Column.FLOAT, Column.SINGLE}


def by_arrays(change: KeyedChange, kinds: Sequence[ColumnType], found: Independence) -> RowSet | None:
    """Join the rows as PostgreSQL's arrays, one for each parameter (`unnest`), of the types that the parameters have in
    the statement for one row: a parameter without a type gets that of the column which it is stored in, compared with
    or added to."""
    if not all(kind.name in _ARRAY_TYPES for kind in kinds) or not _is_typed(change, kinds):
        return None
    keys = tuple((at, of_any(_ARRAY_KEYS[kinds[at].name])) for at, _ in change.keys if kinds[at].name in _ARRAY_KEYS)
    arrays = ", ".join(f"CAST(? AS {kind.name}[])" for kind in kinds)
    names = ", ".join(f"p{at}" for at in range(len(kinds)))
    source, where = f"unnest({arrays}) AS {SOURCE}({names})", change.where(parameter)
    if change.deletes:
        text = f"DELETE FROM {change.reference} USING {source} {where}"
    else:
        text = f"UPDATE {change.reference} {change.set(parameter)}FROM {source} {where}"

    def statement(rows: Sequence[Row]) -> SetStatement:
        return text, [array_of(column) for column in zip(*rows, strict=True)]

    return RowSet(statement, keys, found.has_one_row(change), (text, ["{}"] * len(kinds))) if keys else None


def _is_typed(change: KeyedChange, kinds: Sequence[ColumnType]) -> bool:
    return all(kinds[at].kind in _NUMBERS for at in change.added)
