"""Sets of rows for MariaDB: one JSON document with all rows, and JSON_TABLE to make rows of it. Pure.

A column of JSON_TABLE has a type, so the values of a parameter are all of the type that they are bound as alone: whole
numbers, floating-point numbers or text. Rows of which that cannot be said run one by one. Where two values are
compared, they have to be compared as they are alone: whole numbers with columns of such numbers, and text with columns
of text that have the same collation as the column of the document.

STRAIGHT_JOIN lets the server look up a row of the table for each row of the document, in the order of the document.
"""

import json
import re
from collections.abc import Hashable, Sequence
from functools import cache
from typing import Any, NamedTuple

from dbconnector.columns import Column, ColumnType, name_parts, plain_name
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
from dbconnector.sql.targets import Target

#: An UPDATE runs its triggers in the order of the rows, and they cannot write to its table; a DELETE takes the order of
#: the table. Triggers are shown only to a user with the right to them.
_ROWS = """
SELECT 'plain', '' FROM information_schema.tables
 WHERE table_schema = {0} AND table_name = ? AND table_type = 'BASE TABLE' AND engine = 'InnoDB'
UNION ALL SELECT 'key', GROUP_CONCAT(column_name SEPARATOR '\n') FROM information_schema.statistics
 WHERE table_schema = {0} AND table_name = ? AND non_unique = 0 GROUP BY index_name
UNION ALL SELECT CONCAT('collation ', collation_name), column_name FROM information_schema.columns
 WHERE table_schema = {0} AND table_name = ? AND collation_name IS NOT NULL
UNION ALL SELECT 'computed', column_name FROM information_schema.columns
 WHERE table_schema = {0} AND table_name = ? AND (extra LIKE '%generated%' OR extra LIKE '%on update%')
UNION ALL SELECT 'ordered', '' FROM information_schema.triggers
 WHERE event_object_schema = {0} AND event_object_table = ?
UNION ALL SELECT 'ordered', '' FROM DUAL WHERE NOT EXISTS (
 SELECT 1 FROM information_schema.user_privileges WHERE privilege_type = 'TRIGGER'
 UNION ALL SELECT 1 FROM information_schema.schema_privileges
  WHERE privilege_type = 'TRIGGER' AND {0} LIKE table_schema
 UNION ALL SELECT 1 FROM information_schema.table_privileges
  WHERE privilege_type = 'TRIGGER' AND table_schema = {0} AND table_name = ?)
"""
#: It takes longer the more tables there are.
_DELETES = """
UNION ALL SELECT 'cascades', '' FROM information_schema.referential_constraints
 WHERE constraint_schema = {0} AND referenced_table_name = ?
  AND (table_name = referenced_table_name OR delete_rule NOT IN ('RESTRICT', 'NO ACTION'))
"""
#: Collations by which two texts of printable ASCII are equal only if they differ by nothing but case and blanks at the
#: end: those of a language may take other letters for the same.
COLLATIONS = r"utf8mb4_(bin|general_ci|unicode_ci|unicode_520_ci|general_nopad_ci|uca1400_ai_ci|uca1400_as_ci)"
_PLAIN = re.compile(r"[ -~]*").fullmatch
_DIGITS = re.compile(r"-?\d{1,18}", re.ASCII).fullmatch
_NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII).fullmatch
#: Types that are compared with a constant by rules of their own.
_OWN = {"bit", "year", "enum", "set"}
#: Characters of a text that is compared.
SIZE = 255


def rows_query(table: str, *, deletes: bool = False) -> Query:
    *schema, name = name_parts(table)
    within = "'" + schema[-1].replace("\\", "\\\\").replace("'", "''") + "'" if schema else "DATABASE()"
    text = _ROWS + _DELETES if deletes else _ROWS
    return text.format(within), (name,) * text.count("?")


def by_document(change: KeyedChange, kinds: Sequence[ColumnType], found: Independence) -> RowSet | None:
    """Join the rows as one document. A statement whose values need what it has changed before runs one by one: of many
    tables they are all evaluated first. So does a DELETE with another name for its table, which older servers take only
    in a statement of many tables: it has to be refused whatever the size of the batch."""
    texts = [
        _Parameter.of(target, kind, found, added=at in change.added, replaced=at in change.replaced)
        for at, (target, kind) in enumerate(zip(change.operands, kinds, strict=True))
    ]
    if change.chained or (change.deletes and change.name != change.table) or None in texts:
        return None
    uses = [use for use in texts if use is not None]
    keys = tuple((at, of_any(key_of)) for at, _ in change.keys if (key_of := uses[at].key_of) is not None)

    @cache
    def text(types: tuple[str, ...]) -> str:
        columns = ", ".join(f"p{at} {type} PATH '$[{at}]' ERROR ON ERROR" for at, type in enumerate(types))
        source = f"JSON_TABLE(?, '$[*]' COLUMNS ({columns})) AS {SOURCE} STRAIGHT_JOIN {change.reference}"
        where = change.where(parameter)
        return (
            f"DELETE {change.name} FROM {source} {where}"
            if change.deletes
            else (f"UPDATE {source} {change.set(parameter)}{where}")
        )

    def statement(rows: Sequence[Row]) -> SetStatement | None:
        try:
            types, columns = zip(*map(_typed, uses, zip(*rows, strict=True)), strict=True)
        except ValueError:
            return None
        document = json.dumps([*zip(*columns, strict=True)], ensure_ascii=False, separators=(",", ":"))
        return text(types), [document]

    types = [use.text or "BIGINT" for use in uses]
    return (
        RowSet(statement, keys, found.has_one_row(change), (text(tuple(types)), ["[]"]), ordered=found.ordered)
        if keys
        else None
    )


class _Parameter(NamedTuple):
    """What a parameter is used for."""

    #: The column of the document for a text.
    text: str | None
    #: Whether only a whole number means the same there.
    whole: bool = False
    #: The most characters of a text.
    size: int | None = None
    key_of: KeyOf | None = None
    #: Whether a text has to be a number: alone an empty one is refused, in a column it is 0.
    number: bool = False

    @classmethod
    def of(
        cls, target: Target | None, kind: ColumnType, found: Independence, *, added: bool, replaced: bool
    ) -> "_Parameter | None":
        """Return the use of a parameter; None if its values could mean something else in a set."""
        if target is None:
            return None
        collation = found.collations.get(plain_name(target.column).lower(), "")
        if kind.stored:  # COALESCE refuses a parameter and a column of another character set, but not two columns
            return None if replaced and collation and not collation.startswith("utf8mb4") else cls("LONGTEXT")
        if kind.name in _OWN:
            return None
        match kind.kind:
            case Column.INTEGER:
                return cls(None, whole=True, key_of=whole_number)
            case Column.DECIMAL if not added:  # a text in a column would be compared as a floating-point number
                return cls(None)
            case Column.DECIMAL:
                return cls("LONGTEXT", number=True)
            case Column.TIMESTAMP | Column.DATE:
                return cls("LONGTEXT")
            case Column.TEXT:
                if re.fullmatch(COLLATIONS, collation):
                    return cls(
                        f"VARCHAR({SIZE}) CHARACTER SET utf8mb4 COLLATE {collation}", size=SIZE, key_of=_text_key
                    )
        return None

    def takes(self, text: str) -> bool:
        """Return whether a text means the same in a column of the document."""
        return (self.size is None or len(text) <= self.size) and (not self.number or _NUMBER(text) is not None)


def _text_key(value: Any) -> Hashable:
    text = str(value)
    if not _PLAIN(text):
        raise ValueError
    return text.lower().rstrip(" ")


def _typed(use: _Parameter, values: Sequence[Any]) -> tuple[str, Sequence[Any]]:
    """Return the type of a column of the document, and its values. Raise ValueError if they are of several types."""
    kinds = set(map(type, values)) - {type(None)}
    if use.whole and kinds <= {int, str}:
        return "BIGINT", values if str not in kinds else [*map(_whole, values)]
    if not use.whole and len(kinds) < 2:
        if not kinds <= {str} and kinds <= {int}:
            return "BIGINT", values
        if kinds == {float}:
            return "DOUBLE", values
        if kinds <= {str} and use.text and all(each is None or use.takes(each) for each in values):
            return use.text, values
    raise ValueError


def _whole(value: Any) -> int | None:
    if isinstance(value, str) and not _DIGITS(value):
        raise ValueError
    return None if value is None else int(value)
