"""Whether the rows of an INSERT may be written together. Pure.

In doubt they may not: a row written alone is slow, a row that depends on its neighbours may be wrong.
"""

from collections.abc import Sequence
from itertools import pairwise

from connectorlib.dataclass import dataclass
from dbconnector.sql.lexer import T, Token, sent
from dbconnector.sql.token_reader import TokenReader, solid, solid_places

_LITERAL_WORDS = {"NULL", "TRUE", "FALSE"}
_LITERAL_PREFIXES = {"DATE", "TIME", "TIMESTAMP", "N", "X", "B"}
#: Functions of an upsert's tail that depend on their arguments alone.
_PLAIN_FUNCTIONS = {"VALUES", "VALUE", "COALESCE", "IFNULL", "NULLIF", "GREATEST", "LEAST", "MIN", "MAX", "CAST"}
#: Words that may come before a bracket without calling anything.
_NOT_CALLS = {"CONFLICT", "SET", "WHERE", "AND", "OR", "NOT", "IN", "WHEN", "THEN", "ELSE", "IS", "ON", "ROW", "KEY"}
_CLOCKS = {"CURRENT_TIMESTAMP", "NOW", "LOCALTIMESTAMP"}
_NEVER_IN_TAIL = {"RETURNING", "SELECT", "TABLE", "OUTPUT", "INTO", "NEXT", "NEXTVAL", "CURRVAL", "LASTVAL", "@", ":="}


@dataclass(frozen=True, slots=True)
class MultiRow:
    """An INSERT of one row, cut where more rows can be put in. `width`: parameters per row."""

    head: str
    row: str
    tail: str
    width: int
    #: The parameters of the key of an ON CONFLICT … DO UPDATE; none if the text does not tell.
    conflict: tuple[int, ...] = ()

    def sql(self, rows: int) -> str:
        return self.head + ",".join([self.row] * rows) + self.tail


@dataclass(frozen=True, slots=True)
class Insert:
    """The parts of `INSERT INTO table (columns) VALUES (items) tail`; positions count the solid tokens."""

    table: str
    columns: tuple[str, ...]
    opening: int  # of the VALUES tuple
    closing: int
    items: tuple[tuple[int, ...], ...]  # the tokens of each item


def multi_row(tokens: Sequence[Token]) -> MultiRow | None:
    """Given a statement's tokens, return how to write many rows of it at once.

    None unless all parameters are inside one VALUES tuple, every item of it is a parameter, a literal or a CAST of
    one, and the tail neither returns rows nor computes anything that a neighbouring row could change.
    """
    insert = read_insert(tokens)
    places = solid_places(tokens)
    if insert is None or not all(_is_plain([tokens[places[at]] for at in item]) for item in insert.items):
        return None
    start, end = places[insert.opening], places[insert.closing] + 1
    head, row, tail = tokens[:start], tokens[start:end], tokens[end:]
    width = sum(token.type is T.PARAMETER for token in row)
    if not width or any(token.type is T.PARAMETER for token in (*head, *tail)) or not _is_harmless(solid(tail)):
        return None
    return MultiRow(sent(head), sent(row), sent(tail), width, _conflict(insert, solid(tokens), solid(tail)))


def _conflict(insert: Insert, statement: Sequence[Token], tail: Sequence[Token]) -> tuple[int, ...]:
    """Return the positions of the parameters, among those of a row, that an upsert finds its row by."""
    reader = TokenReader(tail)
    if not (reader.word("ON") and reader.word("CONFLICT")) or "UPDATE" not in [token.upper for token in tail]:
        return ()
    wanted = {tail[item[0]].upper for item in reader.brackets() or () if len(item) == 1}
    parameters = [at for at in range(insert.opening, insert.closing) if statement[at].type is T.PARAMETER]
    stored = zip(insert.columns, insert.items, strict=False)
    places = [item for column, item in stored if column.upper() in wanted]
    return tuple(parameters.index(at) for item in places for at in item if statement[at].type is T.PARAMETER)


def read_insert(tokens: Sequence[Token]) -> Insert | None:
    """Return the parts of an INSERT (or REPLACE) of a single VALUES tuple; None for every other statement."""
    found = solid(tokens)
    reader = TokenReader(found)
    if not _take_verb(reader):
        return None
    table = reader.identifier()
    if reader.word("AS"):
        reader.identifier()
    columns = reader.brackets() or []
    if reader.word("OVERRIDING"):
        reader.word("SYSTEM", "USER")
        reader.word("VALUE")
    if not table or not reader.word("VALUES", "VALUE"):
        return None
    opening = reader.at
    items = reader.brackets()
    if items is None or reader.upper == "," or not all(len(column) == 1 for column in columns):
        return None
    return Insert(table, tuple(found[column[0]].text for column in columns), opening, reader.at - 1, tuple(items))


def _take_verb(reader: TokenReader) -> bool:
    """Take `INSERT … INTO` or `REPLACE INTO`, with the modifiers of MariaDB and SQLite."""
    if reader.word("INSERT"):
        reader.word("LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY")
        if reader.word("OR"):
            reader.word("REPLACE", "IGNORE", "ABORT", "FAIL", "ROLLBACK")
        reader.word("IGNORE")
    elif not reader.word("REPLACE"):
        return False
    return reader.word("INTO")


def _is_plain(item: Sequence[Token]) -> bool:
    """Return whether an item of a VALUES list is a parameter, a literal or a CAST of one."""
    words = [token.upper for token in item]
    if words[:2] == ["CAST", "("] and words[-1] == ")" and "AS" in words:
        divider = len(words) - 1 - words[::-1].index("AS")
        return _is_plain(item[2:divider]) and _is_type(item[divider + 1 : -1])
    if "::" in words:
        divider = words.index("::")
        return _is_plain(item[:divider]) and _is_type(item[divider + 1 :])
    if words[:1] in (["+"], ["-"]):
        return len(item) == 2 and item[1].type is T.NUMBER
    if len(item) == 2:
        return words[0] in _LITERAL_PREFIXES and item[1].type is T.STRING
    return len(item) == 1 and (item[0].type in (T.PARAMETER, T.NUMBER, T.STRING) or words[0] in _LITERAL_WORDS)


def _is_type(tokens: Sequence[Token]) -> bool:
    """Return whether this can be a type: `numeric(10, 2)`, `timestamp with time zone`, `text[]`, `int::text`."""
    return bool(tokens) and all(
        token.type in (T.WORD, T.NAME, T.NUMBER) or token.text in ("(", ")", ",", "[", "]", ".", "::")
        for token in tokens
    )


def _is_harmless(tail: Sequence[Token]) -> bool:
    """Return whether the text after the VALUES list does the same for each row, whatever its neighbours."""
    words = [token.upper for token in tail if token.text != ";"]
    return words[:1] in ([], ["ON"], ["AS"]) and computes_nothing(tail)


def computes_nothing(tokens: Sequence[Token]) -> bool:
    """Return whether solid tokens depend on nothing but the row, its parameters and the clock, and return nothing."""
    if _NEVER_IN_TAIL & {token.upper for token in tokens}:
        return False
    if any(token.upper == "IN" and following.text != "(" for token, following in pairwise(tokens)):
        return False  # SQLite: `IN readings` is a subquery
    calls = {
        token.upper for token, following in pairwise(tokens) if following.text == "(" and token.type in (T.WORD, T.NAME)
    }
    return calls <= _PLAIN_FUNCTIONS | _NOT_CALLS | _CLOCKS
