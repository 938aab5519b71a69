"""Wraps a query so that it gives one page at a time, in the order of its unique key. Pure.

A page begins *at* the last key of the page before, not after it: the row that comes again shows that the key is unique,
a second one with the same key that it is not, and rows would otherwise be lost without a word.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dbconnector.statements.lexer import T, tokenize

#: How a database limits rows, by the style that the driver table names: around `SELECT … ` and its end.
_LIMITS = {
    "limit": ("SELECT", " LIMIT {rows}"),
    "fetch": ("SELECT", " FETCH FIRST {rows} ROWS ONLY"),
    "top": ("SELECT TOP {rows}", ""),
}


@dataclass(frozen=True, slots=True)
class Paging:
    """Two queries; `key_parameters` are positions in the last key, to be bound after the other parameters."""

    first: str
    following: str
    key_parameters: tuple[int, ...]


def page_by_key(sql: str, key: Sequence[str], *, rows: int, style: str = "limit") -> Paging:
    """Given a query, its unique key columns and the rows of a page, return the queries for the first and later pages.

    `style` is one of the driver table: `limit`, `fetch` or `top`.
    """
    select, limit = (part.format(rows=rows) for part in _LIMITS[style])
    inner = f"{select} * FROM (\n{_without_end(sql)}\n) page"
    order = f"ORDER BY {', '.join(f'page.{column}' for column in key)}{limit}"
    condition, positions = _from_key(key)
    return Paging(f"{inner} {order}", f"{inner} WHERE {condition} {order}", positions)


def _without_end(sql: str) -> str:
    """Return the query without the semicolon that may end it, and what stands behind that."""
    tokens = tokenize(sql)
    end = next((at for at in range(len(tokens) - 1, -1, -1) if tokens[at].type not in (T.SPACE, T.COMMENT)), 0)
    return "".join(token.text for token in (tokens[:end] if tokens[end].text == ";" else tokens))


def _from_key(key: Sequence[str]) -> tuple[str, tuple[int, ...]]:
    """Return `key >= last key` in the order of its columns, written out, for not every database compares tuples."""
    alternatives: list[str] = []
    positions: list[int] = []
    for last, column in enumerate(key):
        operator = ">=" if last == len(key) - 1 else ">"
        equal = [f"page.{name} = ?" for name in key[:last]]
        alternatives.append(" AND ".join([*equal, f"page.{column} {operator} ?"]))
        positions.extend(range(last + 1))
    if len(alternatives) == 1:
        return alternatives[0], tuple(positions)
    return "(" + ") OR (".join(alternatives) + ")", tuple(positions)
