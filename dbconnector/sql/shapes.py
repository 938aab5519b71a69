"""What a statement looks like: may its rows be written together, and where does each parameter end up. Pure.

Both answers err on the side of "no" and "unknown": a row written alone is slow, a row rearranged may be wrong.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from dbconnector.sql.lexer import T, Token, sent

_LITERAL_WORDS = {"NULL", "TRUE", "FALSE"}
_LITERAL_PREFIXES = {"DATE", "TIME", "TIMESTAMP", "N", "X", "B"}
#: Functions of an upsert's tail that depend on their arguments alone.
_PLAIN_FUNCTIONS = {"VALUES", "VALUE", "COALESCE", "IFNULL", "NULLIF", "GREATEST", "LEAST", "MIN", "MAX", "CAST"}
#: Words that may stand before a bracket without calling anything.
_NOT_CALLS = {"CONFLICT", "SET", "WHERE", "AND", "OR", "NOT", "IN", "WHEN", "THEN", "ELSE", "IS", "ON", "ROW", "KEY"}
_CLOCKS = {"CURRENT_TIMESTAMP", "NOW", "LOCALTIMESTAMP"}
_NEVER_IN_TAIL = {"RETURNING", "SELECT", "OUTPUT", "INTO", "NEXT", "NEXTVAL", "CURRVAL", "LASTVAL"}
_COMPARES = {"=", "<>", "!=", "<", ">", "<=", ">=", "<=>"}
_AFTER_CONDITION = {"RETURNING", "ORDER", "GROUP", "LIMIT", "FOR"}
_AFTER_COMPARED = {")", ",", ";", "AND", "OR", "WHERE", "ON", "WHEN", "THEN"} | _AFTER_CONDITION
_BEFORE_COMPARED = {"(", ",", "AND", "OR", "WHERE", "ON", "SET", "UPDATE", "WHEN", "HAVING", "NOT"}


class Target(NamedTuple):
    """A column and its table as they stand in the text, quotes included.

    So `SELECT {column} FROM {table} WHERE 1 = 0` asks the database about it.
    """

    table: str
    column: str


@dataclass(frozen=True, slots=True)
class MultiRow:
    """An INSERT of one row, cut where more rows can be put in. `width`: parameters per row."""

    head: str
    row: str
    tail: str
    width: int

    def sql(self, rows: int) -> str:
        return self.head + ",".join([self.row] * rows) + self.tail


@dataclass(frozen=True, slots=True)
class AnyOf:
    """An UPDATE or DELETE of the row with one key, cut where more keys can be put in. `width`: columns of the key."""

    head: str
    columns: tuple[str, ...]
    tail: str

    @property
    def width(self) -> int:
        return len(self.columns)

    def sql(self, keys: int) -> str:
        if self.width == 1:
            return f"{self.head}{self.columns[0]} IN ({','.join('?' * keys)}){self.tail}"
        key = " AND ".join(f"{column} = ?" for column in self.columns)
        return f"{self.head}({' OR '.join([f'({key})'] * keys)}){self.tail}"


@dataclass(frozen=True, slots=True)
class _Insert:
    """The parts of `INSERT INTO table (columns) VALUES (items) tail`, as positions in the list of tokens."""

    table: str
    columns: tuple[str, ...]
    opening: int  # of the VALUES tuple
    closing: int
    items: tuple[tuple[int, ...], ...]  # per item: positions of its tokens, without space and comments


def multi_row(tokens: Sequence[Token]) -> MultiRow | None:
    """Given a statement's tokens, return how to write many rows of it at once.

    None unless all parameters stand inside one VALUES tuple, every item of it is a parameter, a literal or a CAST of
    one, and the tail neither returns rows nor computes anything a neighbouring row could change.
    """
    insert = _read_insert(tokens)
    if insert is None or not all(_is_plain([tokens[at] for at in item]) for item in insert.items):
        return None
    start, end = insert.opening, insert.closing + 1
    head, row, tail = tokens[:start], tokens[start:end], tokens[end:]
    width = sum(token.type is T.PARAMETER for token in row)
    if not width or any(token.type is T.PARAMETER for token in (*head, *tail)) or not _is_harmless(_solid(tail)):
        return None
    return MultiRow(sent(head), sent(row), sent(tail), width)


def any_of(tokens: Sequence[Token]) -> AnyOf | None:
    """Given a statement's tokens, return how to run it for many keys at once.

    None unless it is an UPDATE or DELETE that ends with `WHERE … AND column = :name AND …`, has no other parameters,
    and computes nothing that another of the rows could change.
    """
    places = [at for at, token in enumerate(tokens) if _is_solid(token) and token.text != ";"]
    words = [tokens[at].upper for at in places]
    parameters = sum(token.type is T.PARAMETER for token in tokens)
    if words[:1] not in (["UPDATE"], ["DELETE"]) or words.count("WHERE") != 1 or not parameters:
        return None
    start = len(words)
    columns: list[str] = []
    while start > 3 and len(columns) < parameters:
        if tokens[places[start - 1]].type is not T.PARAMETER or words[start - 2] != "=":
            return None
        column = _column_ending_at(tokens, places, words, start - 2)
        start -= 3
        if not column or words[start - 1] not in ("AND", "WHERE"):
            return None
        columns.insert(0, column)
        start -= len(columns) < parameters  # the AND before it
    head, tail = tokens[: places[start]], tokens[places[-1] + 1 :]
    before = words[words.index("WHERE") + 1 : start]
    if {"OR", "BETWEEN", "CASE", "(", "XOR"} & set(before) or not _computes_nothing(_solid(head)):
        return None
    return AnyOf(sent(head), tuple(columns), sent(tail))


def targets(tokens: Sequence[Token]) -> tuple[Target | None, ...]:
    """Given a statement's tokens, return per parameter the column it is stored in or compared with, or None."""
    found: dict[int, Target] = {}
    insert = _read_insert(tokens)
    if insert is not None:
        for column, item in zip(insert.columns, insert.items, strict=False):
            if len(item) == 1 and len(insert.columns) == len(insert.items):
                found[item[0]] = Target(insert.table, column)
    table = _only_table(tokens)
    if table is not None:
        found |= {at: Target(table, column) for at, column in _compared(tokens)}
    return tuple(found.get(at) for at, token in enumerate(tokens) if token.type is T.PARAMETER)


def inserted(tokens: Sequence[Token]) -> tuple[str, tuple[str, ...]] | None:
    """Return the table of an INSERT of a single VALUES tuple and the columns that it names, as they are written; None
    for every other statement."""
    insert = _read_insert(tokens)
    return None if insert is None else (insert.table, insert.columns)


def _is_solid(token: Token) -> bool:
    return token.type not in (T.SPACE, T.COMMENT)


def _solid(tokens: Sequence[Token]) -> list[Token]:
    return [token for token in tokens if _is_solid(token)]


class _Reader:
    """Walks over the solid tokens of a statement; each method takes what it names, or takes nothing and says so."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._places = [at for at, token in enumerate(tokens) if _is_solid(token)]
        self._next = 0

    @property
    def place(self) -> int:
        return self._places[self._next] if self._next < len(self._places) else len(self._tokens)

    @property
    def taken(self) -> int:
        """The place of the token that was taken last."""
        return self._places[self._next - 1]

    @property
    def upper(self) -> str:
        return self._tokens[self.place].upper if self._next < len(self._places) else ""

    def word(self, *words: str) -> bool:
        taken = self.upper in words
        self._next += taken
        return taken

    def identifier(self) -> str:
        """Take a name, dots and all, and return it as written; "" if there is none."""
        start, dotted = self._next, True
        while self._next < len(self._places):
            token = self._tokens[self.place]
            if dotted and token.type not in (T.WORD, T.NAME):
                break
            if not dotted and token.text != ".":
                break
            dotted = not dotted
            self._next += 1
        return "".join(self._tokens[at].text for at in self._places[start : self._next])

    def brackets(self) -> list[tuple[int, ...]] | None:
        """Take `(a, b, …)` and return the positions of the tokens of each item; None if no bracket opens here."""
        if not self.word("("):
            return None
        items: list[list[int]] = [[]]
        depth = 0
        while depth or self.upper != ")":
            text = self.upper
            depth += (text in ("(", "[", "{")) - (text in (")", "]", "}"))
            if text == "," and not depth:
                items.append([])
            else:
                items[-1].append(self.place)
            self._next += 1
        self._next += 1
        return [tuple(item) for item in items]


def _read_insert(tokens: Sequence[Token]) -> _Insert | None:
    """Return the parts of an INSERT (or REPLACE) of a single VALUES tuple; None for everything else."""
    reader = _Reader(tokens)
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
    opening = reader.place
    items = reader.brackets()
    if items is None or reader.upper == "," or not all(len(column) == 1 for column in columns):
        return None
    names = tuple(tokens[column[0]].text for column in columns)
    return _Insert(table, names, opening, reader.taken, tuple(items))


def _take_verb(reader: _Reader) -> bool:
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
    """Whether an item of a VALUES list is a parameter, a literal or a CAST of one."""
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
    """Whether this can be the name of a type: `numeric(10, 2)`, `timestamp with time zone`, `text[]`, `int::text`."""
    return bool(tokens) and all(
        token.type in (T.WORD, T.NAME, T.NUMBER) or token.text in ("(", ")", ",", "[", "]", ".", "::")
        for token in tokens
    )


def _is_harmless(tail: Sequence[Token]) -> bool:
    """Whether what follows the VALUES list does the same for each row, whatever its neighbours."""
    words = [token.upper for token in tail if token.text != ";"]
    if words and words[0] not in ("ON", "AS"):
        return False
    return _computes_nothing(tail)


def _computes_nothing(tokens: Sequence[Token]) -> bool:
    """Whether these depend on nothing but the row, its parameters and the clock, and give nothing back."""
    words = {token.upper for token in tokens}
    if (_NEVER_IN_TAIL | {"@", ":="}) & words:
        return False
    calls = {
        token.upper for token, following in pairwise(tokens) if following.text == "(" and token.type in (T.WORD, T.NAME)
    }
    return calls <= _PLAIN_FUNCTIONS | _NOT_CALLS | _CLOCKS


def _only_table(tokens: Sequence[Token]) -> str | None:
    """Return the one table that a statement speaks of; None if there may be more than one."""
    solid = _solid(tokens)
    words = [token.upper for token in solid]
    tables: set[str] = set()
    for at, word in enumerate(words):
        before = words[at - 1] if at else ""
        if word in ("JOIN", "USING", "MERGE", "WITH") or words[at : at + 2] == ["FROM", "("]:
            return None
        if word in ("INTO", "FROM") or (word == "UPDATE" and before not in ("FOR", "KEY", "DO", "THEN")):
            reader = _Reader(solid[at + 1 :])
            reader.word("ONLY")
            tables.add(reader.identifier())
            reader.word("AS")
            reader.identifier()
            if reader.upper == ",":
                return None
    tables.discard("")
    return tables.pop() if len(tables) == 1 else None


def _compared(tokens: Sequence[Token]) -> Iterator[tuple[int, str]]:
    """Yield each parameter that stands alone on one side of a comparison, with the column on the other side.

    `SET column = :name` reads the same. A longer expression on either side is none of a column's business.
    """
    places = [at for at, token in enumerate(tokens) if _is_solid(token)]
    words = [tokens[at].upper for at in places]
    for at, place in enumerate(places):
        if tokens[place].type is not T.PARAMETER:
            continue
        start, after = _operator_before(words, at), words[at + 1] if at + 1 < len(words) else ";"
        if start is not None and after in _AFTER_COMPARED:
            column = _column_ending_at(tokens, places, words, start)
            if column:
                yield place, column


def _operator_before(words: Sequence[str], at: int) -> int | None:
    """Return where the operator begins that stands before position `at`; operators come as single characters."""
    start = at
    while start and words[start - 1] in ("<", ">", "=", "!"):
        start -= 1
    if start < at:
        return start if "".join(words[start:at]) in _COMPARES else None
    return at - 1 if at and words[at - 1] in ("LIKE", "ILIKE") else None


def _column_ending_at(tokens: Sequence[Token], places: Sequence[int], words: Sequence[str], end: int) -> str:
    """Return the last part of the (dotted) name that ends before `end` and begins an expression; else ""."""
    start = end
    while start and (tokens[places[start - 1]].type in (T.WORD, T.NAME) or words[start - 1] == "."):
        if words[start - 1] in _BEFORE_COMPARED:
            break
        start -= 1
    name = places[start:end]
    dots_right = all((tokens[at].text == ".") == bool(number % 2) for number, at in enumerate(name))
    if not name or len(name) % 2 == 0 or not dots_right or (start and words[start - 1] not in _BEFORE_COMPARED):
        return ""
    return tokens[name[-1]].text
