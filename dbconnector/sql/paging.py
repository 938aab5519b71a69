"""Rewrites a query so that it returns one page at a time: the first rows only, or those from a unique key on. Pure.

`:name` parameters are kept.
"""

from collections.abc import Sequence
from itertools import pairwise

from connectorlib.dataclass import dataclass
from dbconnector.sql.lexer import T, Token, tokenize

_LIMITED = {"LIMIT", "FETCH", "OFFSET", "TOP"}
#: What a query says that claims its rows, puts them elsewhere, or draws a number from a sequence.
_HOLDS = {"FOR", "READPAST", "INTO", "NEXTVAL"}
#: Words before a bracket in a query that call nothing, or what only computes.
_COMPUTES = {
    *("SELECT", "DISTINCT", "FROM", "JOIN", "ON", "USING", "AS", "BY", "OVER", "UNION", "ALL", "EXCEPT", "INTERSECT"),
    *("WHERE", "AND", "OR", "NOT", "IN", "ANY", "EXISTS", "LIKE", "BETWEEN", "CASE", "WHEN", "THEN", "ELSE"),
    *("COUNT", "SUM", "AVG", "MIN", "MAX", "COALESCE", "IFNULL", "NULLIF", "GREATEST", "LEAST", "CAST", "CONVERT"),
    *("CONCAT", "LOWER", "UPPER", "TRIM", "SUBSTRING", "SUBSTR", "LENGTH", "REPLACE", "ROUND", "ABS"),
}
_CHANGES = {"INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "TRUNCATE"}


@dataclass(frozen=True, slots=True)
class Paging:
    """The two queries of paging by key. `parameters` names the one for each key column of the last row."""

    first: str
    following: str
    parameters: tuple[str, ...]


def page_by_key(query: str, key: Sequence[str], *, rows: int, words: tuple[str, str], moving: bool = False) -> Paging:
    """Given a query, its unique key columns and the rows of a page, return the queries for the first and later pages.

    A page begins *at* the last key of the page before, not after it: that its row comes again shows that the database
    understands the value exactly, and a second row with the same key that the key is not unique. Either would
    otherwise lose rows silently. `moving`: rows may move on meanwhile, so that the last one need not come again, and a
    page begins after it. `words`: what the dialect puts in place of SELECT and at the end.
    """
    select, limit = (part.format(rows=rows) for part in words)
    inner = f"{select} * FROM (\n{_text(_statement(tokenize(query)))}\n) page"
    order = f"ORDER BY {', '.join(f'page.{column}' for column in key)}{limit}"
    names = tuple(f"page_key_{number}" for number in range(len(key)))
    following = _from_key(key, names, ">" if moving else ">=")
    return Paging(f"{inner} {order}", f"{inner} WHERE {following} {order}", names)


def between(query: str, column: str, *, low: str, high: str) -> str:
    """Return a query with only those of its rows for which `low <= column < high`; no `low`: all below `high`."""
    above = f"followed.{column} >= {low} AND " if low else ""
    return f"SELECT * FROM (\n{_text(_statement(tokenize(query)))}\n) followed WHERE {above}followed.{column} < {high}"


def page_interval(
    query: str, order: Sequence[str], *, low: str, high: str, rows: int, words: tuple[str, str]
) -> Paging:
    """Return the queries for the pages of an interval (see `between`) of the first column of `order`, in that order."""
    return page_by_key(between(query, order[0], low=low, high=high), order, rows=rows, words=words, moving=True)


def limit_rows(query: str, rows: int) -> str:
    """Given a query, return it with a LIMIT, unless it has a limit of its own or is no SELECT.

    For databases with `LIMIT n`, which goes before `FOR UPDATE`: no more rows are read, and locked, than are used.
    """
    tokens = _statement(tokenize(query))
    outer = _outer(tokens)
    words = [tokens[at].upper for at in outer]
    if words[:1] not in (["SELECT"], ["WITH"], ["VALUES"]) or _LIMITED & set(words):
        return query
    locking = (
        place
        for place, word, following in zip(outer, words, [*words[1:], ""], strict=True)
        if (word == "FOR" and following in ("UPDATE", "SHARE", "NO", "KEY")) or (word == "LOCK" and following == "IN")
    )
    at = next(locking, len(tokens))
    return f"{_text(tokens[:at])}\nLIMIT {rows} {_text(tokens[at:])}".rstrip()


def only_reads(query: str) -> bool:
    """Return whether a query changes nothing: its rows may be read in part, and read again."""
    tokens = [token for token in tokenize(query) if token.type not in (T.SPACE, T.COMMENT)]
    words = [token.upper for token in tokens]
    if words[:1] != ["WITH"]:
        return not _CHANGES & set(words[:1])
    return not any(word in _CHANGES and before in ("(", ")") for before, word in pairwise(words))


def holds_nothing(query: str) -> bool:
    """Return whether a transaction that has run a query may end before its rows are used: it is certainly a SELECT that
    claims none of them and calls nothing that could."""
    tokens = [token for token in tokenize(query) if token.type not in (T.SPACE, T.COMMENT)]
    words = {token.upper for token in tokens}
    calls = {
        token.upper for token, following in pairwise(tokens) if following.text == "(" and token.type in (T.WORD, T.NAME)
    }
    claims = _HOLDS & words or any("LOCK" in word for word in words)
    return tokens[0].upper == "SELECT" and not claims and calls <= _COMPUTES


def bare(query: str) -> str:
    """Return a query without what may end it: to be put in brackets, with a line of its own for each of them."""
    return _text(_statement(tokenize(query))).strip()


def _from_key(key: Sequence[str], names: Sequence[str], end: str) -> str:
    """Return `key >= last key`, column by column: not every database compares tuples. `end` is the comparison."""
    alternatives: list[str] = []
    for last, column in enumerate(key):
        operator = end if last == len(key) - 1 else ">"
        equal = [f"page.{key[at]} = :{names[at]}" for at in range(last)]
        alternatives.append(" AND ".join([*equal, f"page.{column} {operator} :{names[last]}"]))
    return alternatives[0] if len(alternatives) == 1 else "(" + ") OR (".join(alternatives) + ")"


def _statement(tokens: list[Token]) -> list[Token]:
    """Return the tokens without the semicolons that may end them and what follows those."""
    end = len(tokens)
    for at in range(len(tokens) - 1, -1, -1):
        if tokens[at].text == ";":
            end = at
        elif tokens[at].type not in (T.SPACE, T.COMMENT):
            break
    return tokens[:end]


def _outer(tokens: Sequence[Token]) -> list[int]:
    """Return the positions of the words outside all brackets."""
    depth, found = 0, []
    for at, token in enumerate(tokens):
        depth += (token.text in ("(", "[", "{")) - (token.text in (")", "]", "}"))
        if not depth and token.type is T.WORD:
            found.append(at)
    return found


def _text(tokens: Sequence[Token]) -> str:
    return "".join(token.text for token in tokens)
