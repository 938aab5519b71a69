"""The column that each parameter of a statement is stored in or compared with. Pure. In doubt there is none."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dbconnector.sql.inserts import read_insert
from dbconnector.sql.lexer import T, Token
from dbconnector.sql.token_reader import TokenReader, solid

_BEFORE_TABLE = {"INTO", "FROM", "JOIN", "USING", "UPDATE"}
_WRITES = {("", "INTO"), ("", "UPDATE"), ("DELETE", "FROM")}
#: Before an UPDATE that names no table.
_NO_UPDATE = {"FOR", "KEY", "DO", "THEN"}
_COMPARES = {"=", "<>", "!=", "<", ">", "<=", ">=", "<=>"}
_AFTER_CONDITION = {"RETURNING", "ORDER", "GROUP", "LIMIT", "FOR"}
_AFTER_COMPARED = {")", ",", ";", "AND", "OR", "WHERE", "ON", "WHEN", "THEN"} | _AFTER_CONDITION
_BEFORE_COMPARED = {"(", ",", "AND", "OR", "WHERE", "ON", "SET", "UPDATE", "WHEN", "HAVING", "NOT"}


#: What a parameter is in: values to be stored, or a condition.
_STORES = {"SET", "UPDATE"}
_CONDITIONS = {"WHERE", "ON", "WHEN", "HAVING"}


class Target(NamedTuple):
    """A column and its table as written in the text, quotes included."""

    table: str
    column: str
    #: Whether the value is stored there; else it is compared, and may be one that the column could not keep.
    stored: bool = True


def targets(tokens: Sequence[Token]) -> tuple[Target | None, ...]:
    """Given a statement's tokens, return per parameter the column it is stored in or compared with, or None."""
    statement = solid(tokens)
    found: dict[int, Target] = {}
    insert = read_insert(tokens)
    if insert is not None and len(insert.columns) == len(insert.items):
        stored = zip(insert.columns, insert.items, strict=True)
        found = {item[0]: Target(insert.table, column) for column, item in stored if len(item) == 1}
    table = _only_table(statement)
    if table is not None:
        found |= {at: Target(table, column, _is_stored(statement, at)) for at, column in _compared(statement)}
    return tuple(found.get(at) for at, token in enumerate(statement) if token.type is T.PARAMETER)


def literals(tokens: Sequence[Token]) -> tuple[str, ...]:
    """Given a statement's tokens, return the columns of an INSERT whose value has no parameter, as written."""
    statement = solid(tokens)
    insert = read_insert(tokens)
    if insert is None or len(insert.columns) != len(insert.items):
        return ()
    stored = zip(insert.columns, insert.items, strict=True)
    return tuple(column for column, item in stored if not any(statement[at].type is T.PARAMETER for at in item))


def tables(tokens: Sequence[Token]) -> tuple[str, ...]:
    """Given a statement's tokens, return what follows INTO, FROM, JOIN, USING and UPDATE, each once."""
    return tuple(dict.fromkeys(name for _, name in _named_tables(tokens)))


def written(tokens: Sequence[Token]) -> frozenset[str]:
    """Return those of the tables that a statement inserts into, updates or deletes from."""
    return frozenset(name for words, name in _named_tables(tokens) if words in _WRITES)


def _named_tables(tokens: Sequence[Token]) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield each table as written, and the two words before it; the first of them only where it matters."""
    statement = solid(tokens)
    for at, token in enumerate(statement):
        before = statement[at - 1].upper if at else ""
        if token.upper in _BEFORE_TABLE and not (token.upper == "UPDATE" and before in _NO_UPDATE):
            reader = TokenReader(statement, at + 1)
            reader.word("ONLY")
            if name := reader.identifier():
                yield (before if token.upper == "FROM" else "", token.upper), name


def _only_table(tokens: Sequence[Token]) -> str | None:
    """Return the one table that a statement names; None if there may be more than one."""
    words = [token.upper for token in tokens]
    tables: set[str] = set()
    for at, word in enumerate(words):
        before = words[at - 1] if at else ""
        if word in ("JOIN", "USING", "MERGE", "WITH") or words[at : at + 2] == ["FROM", "("]:
            return None
        if word in ("INTO", "FROM") or (word == "UPDATE" and before not in _NO_UPDATE):
            reader = TokenReader(tokens, at + 1)
            reader.word("ONLY")
            tables.add(reader.identifier())
            reader.word("AS")
            reader.identifier()
            if reader.upper == ",":
                return None
    tables.discard("")
    return tables.pop() if len(tables) == 1 else None


def _compared(tokens: Sequence[Token]) -> Iterator[tuple[int, str]]:
    """Yield each parameter that is one whole operand of a comparison, with the column that is the other.

    `SET column = :name` looks the same. A longer expression on either side has no column's type.
    """
    words = [token.upper for token in tokens]
    for at, token in enumerate(tokens):
        if token.type is not T.PARAMETER:
            continue
        operator = _operator_before(words, at)
        following = words[at + 1] if at + 1 < len(words) else ";"
        if operator is not None and following in _AFTER_COMPARED and (column := column_before(tokens, operator)):
            yield at, column


def _is_stored(tokens: Sequence[Token], at: int) -> bool:
    """Whether a parameter that follows an operator is a value of SET and not an operand of a condition."""
    closed = 0  # brackets and CASEs that end before it
    for token in reversed(tokens[:at]):
        word = token.upper
        if word in (")", "END"):
            closed += 1
        elif word in ("(", "CASE"):
            closed = max(0, closed - 1)
        elif not closed and word in _STORES | _CONDITIONS:
            return word in _STORES
    return False


def _operator_before(words: Sequence[str], at: int) -> int | None:
    """Return where the operator before a position begins; operators are single-character tokens."""
    start = at
    while start and words[start - 1] in ("<", ">", "=", "!"):
        start -= 1
    if start < at:
        return start if "".join(words[start:at]) in _COMPARES else None
    return at - 1 if at and words[at - 1] in ("LIKE", "ILIKE") else None


def column_before(tokens: Sequence[Token], end: int) -> str:
    """Return the last part of the (dotted) name before a position if the name begins an expression; else ""."""
    start = end
    while start and (tokens[start - 1].type in (T.WORD, T.NAME) or tokens[start - 1].text == "."):
        if tokens[start - 1].upper in _BEFORE_COMPARED:
            break
        start -= 1
    name = tokens[start:end]
    dots_right = all((token.text == ".") == bool(number % 2) for number, token in enumerate(name))
    begins = not start or tokens[start - 1].upper in _BEFORE_COMPARED
    return name[-1].text if len(name) % 2 and dots_right and begins else ""
