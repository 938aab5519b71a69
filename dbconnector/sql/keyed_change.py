"""Whether an UPDATE or DELETE of the row with one key may be run for a set of keys at once. Pure. In doubt it may not.

The statement has to be one of a single table, `UPDATE … SET … WHERE key = :name AND …` or `DELETE FROM … WHERE …`. All
that it computes depends only on the row itself, its parameters and the clock: no subquery, no function but plain ones,
no variable, no rows returned. It does not change the columns of its own key. Then two executions with different keys
have no row in common, so that it makes no difference which comes first, nor whether they are one statement.

That other rows do not depend on it either, through triggers and unique columns, is for the catalogue to say.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

from connectorlib.dataclass import dataclass
from dbconnector.columns import plain_name
from dbconnector.sql.inserts import computes_nothing
from dbconnector.sql.lexer import T, Token, sent
from dbconnector.sql.targets import Target, column_before, targets
from dbconnector.sql.token_reader import TokenReader, solid_places

#: Words after UPDATE that are no table.
_MODIFIERS = {"ONLY", "OR", "IGNORE", "LOW_PRIORITY", "QUICK", "TOP"}
#: What makes a statement one of several tables, returns rows, or takes only some of the rows.
_NEVER = {
    "JOIN",
    "USING",
    "RETURNING",
    "ORDER",
    "LIMIT",
    "FETCH",
    "OFFSET",
    "OPTION",
    "CURRENT",
    "PARTITION",
    "DEFAULT",
}
#: In conditions: what would need a closer look at which of them are joined by AND. In MariaDB || is OR.
_NOT_BETWEEN_CONDITIONS = {"OR", "|", "XOR", "BETWEEN", "CASE"}
_ARITHMETIC = {"+", "-", "*", "/"}
#: After an assignment.
_ENDS = {",", "WHERE"}
_EXECUTABLE = ("/*!", "/*+", "/*M!")


@dataclass(frozen=True, slots=True)
class KeyedChange:
    """A statement for the row with one key, in parts."""

    #: The table as written in the text, what it is called in the statement, and both as written.
    table: str
    name: str
    reference: str
    #: The texts between the parameters from SET to WHERE, and from WHERE on.
    assignments: tuple[str, ...]
    conditions: tuple[str, ...]
    deletes: bool
    #: Position and column of each parameter that the key is compared with; the names of columns without their quotes.
    keys: tuple[tuple[int, str], ...]
    #: The columns that SET changes.
    changed: frozenset[str]
    #: Whether a value of SET may need a column that SET has changed before.
    chained: bool
    #: The column that each parameter is stored in, compared with, `replaced` by (COALESCE) or `added` to and
    #: the like.
    operands: tuple[Target | None, ...]
    added: frozenset[int]
    replaced: frozenset[int]

    def set(self, parameter: Callable[[int], str]) -> str:
        """Return the text from SET to WHERE with a name for each parameter; "" for a DELETE."""
        return _joined(self.assignments, parameter, 0)

    def where(self, parameter: Callable[[int], str]) -> str:
        """Return the text from WHERE on with a name for each parameter."""
        return _joined(self.conditions, parameter, len(self.assignments) - 1)


def keyed_change(tokens: Sequence[Token]) -> KeyedChange | None:
    """Given a statement's tokens, return how to run it for many keys at once; None if that could do something else."""
    if any(token.text.startswith(_EXECUTABLE) for token in tokens):
        return None
    tokens = [Token(T.SPACE, " ") if token.type is T.COMMENT else token for token in tokens]
    places = [at for at in solid_places(tokens) if tokens[at].text != ";"]
    statement = [tokens[at] for at in places]
    words = [token.upper for token in statement]
    deletes = words[:1] == ["DELETE"]
    if words.count("WHERE") != 1:
        return None
    table, name, start = _table(statement)
    where = words.index("WHERE")
    if not table or _has_more(words, deletes) or not computes_nothing(statement):
        return None
    changes = [] if deletes else _changes(statement[start + 1 : where])
    keys = _keys(statement, where + 1)
    changed = frozenset(column for column, _ in changes or ())
    if changes is None or not keys or changed & {column for _, column in keys}:
        return None
    first, cut, end = places[start], places[where], places[-1] + 1
    added, replaced = _added(statement, table), _replaced(statement, table)
    return KeyedChange(
        table=table,
        name=name,
        reference=sent(tokens[places[2 if deletes else 1] : first]).rstrip(),
        assignments=_pieces(tokens[first:cut]),
        conditions=_pieces(tokens[cut:end]),
        deletes=deletes,
        keys=keys,
        changed=changed,
        chained=_is_chained(changes),
        operands=tuple((added | replaced).get(at, target) for at, target in enumerate(targets(statement))),
        added=frozenset(added),
        replaced=frozenset(replaced),
    )


def _table(statement: Sequence[Token]) -> tuple[str, str, int]:
    """Return the table of an UPDATE or DELETE, what it is called, and the position of its SET or WHERE; "" for both if
    there is none."""
    reader = TokenReader(statement)
    update = reader.word("UPDATE")
    if not update and not (reader.word("DELETE") and reader.word("FROM")):
        return "", "", 0
    if reader.upper in _MODIFIERS:
        return "", "", 0
    table = name = reader.identifier()
    if reader.word("AS") or reader.upper not in ("SET", "WHERE"):
        name = reader.identifier()
    return (table, name, reader.at) if reader.upper == ("SET" if update else "WHERE") else ("", "", 0)


def _has_more(words: Sequence[str], deletes: bool) -> bool:
    """Return whether there is a word that makes more of the statement than a change of one row by its own values."""
    froms = sum(word == "FROM" and before != "DISTINCT" for before, word in pairwise(words))
    return bool(_NEVER & set(words)) or froms != deletes


def _changes(assignments: Sequence[Token]) -> list[tuple[str, Sequence[Token]]] | None:
    """Given what is between SET and WHERE, return each column and what it gets; None if it is not a plain list."""
    found: list[tuple[str, Sequence[Token]]] = []
    reader = TokenReader(assignments)
    while True:
        column = reader.identifier()
        if not column or not reader.word("="):
            return None
        depth, start = 0, reader.at
        while reader.upper and (depth or reader.upper != ","):
            depth += (reader.upper in ("(", "[", "{")) - (reader.upper in (")", "]", "}"))
            reader.at += 1
        found.append((plain_name(column.rpartition(".")[2]).lower(), assignments[start : reader.at]))
        if not reader.word(","):
            return found


def _is_chained(changes: Sequence[tuple[str, Sequence[Token]]]) -> bool:
    before: set[str] = set()
    for column, value in changes:
        if column in before or before & {plain_name(token.text).lower() for token in value}:
            return True
        before.add(column)
    return False


def _keys(statement: Sequence[Token], start: int) -> tuple[tuple[int, str], ...]:
    """Return position and column of each parameter of a condition `column = :name`; none if the conditions are not
    all joined by AND."""
    found: list[tuple[int, str]] = []
    number = sum(token.type is T.PARAMETER for token in statement[:start])
    depth, begins = 0, start
    for at in range(start, len(statement) + 1):
        word = statement[at].upper if at < len(statement) else "AND"
        depth += (word in ("(", "[", "{")) - (word in (")", "]", "}"))
        if not depth and word in _NOT_BETWEEN_CONDITIONS:
            return ()
        if depth or word != "AND":
            continue
        condition = statement[begins:at]
        column = _key_column(statement, begins, at)
        if column:
            found.append((number, column))
        number += sum(token.type is T.PARAMETER for token in condition)
        begins = at + 1
    return tuple(found)


def _key_column(statement: Sequence[Token], begins: int, end: int) -> str:
    """Return the column of a condition that is `column = :name`; "" if it is another."""
    if end - begins < 3 or statement[end - 1].type is not T.PARAMETER or statement[end - 2].text != "=":
        return ""
    column = column_before(statement, end - 2)
    name = statement[begins : end - 2]  # with nothing before it, as in `NOT t.id`
    is_name = len(name) % 2 == 1 and all(token.text == "." for token in name[1::2])
    return plain_name(column).lower() if is_name and name[-1].text == column else ""


def _added(statement: Sequence[Token], table: str) -> dict[int, Target]:
    """Return the column of each parameter of `column + :name` or the like."""
    parameters = [at for at, token in enumerate(statement) if token.type is T.PARAMETER]
    columns = ((number, _operand(statement, at)) for number, at in enumerate(parameters))
    return {number: Target(table, column, stored=False) for number, column in columns if column}


def _replaced(statement: Sequence[Token], table: str) -> dict[int, Target]:
    """Return the column of each parameter of `… = COALESCE(:name, column)`."""
    found: dict[int, Target] = {}
    parameters = [at for at, token in enumerate(statement) if token.type is T.PARAMETER]
    for number, at in enumerate(parameters):
        words = [token.upper for token in statement[max(at - 3, 0) : at + 5]]
        if words[:3] == ["=", "COALESCE", "("] and words[4:5] == [","] and words[6:] in ([")", ","], [")", "WHERE"]):
            found[number] = Target(table, statement[at + 2].text)
    return found


def _operand(statement: Sequence[Token], at: int) -> str:
    """Return the column if `column + :name` is a whole expression of SET; "" if it is not."""
    following = statement[at + 1].upper if at + 1 < len(statement) else ""
    if following not in _ENDS or statement[at - 1].text not in _ARITHMETIC:
        return ""
    start = at - 1
    while statement[start - 1].type in (T.WORD, T.NAME) or statement[start - 1].text == ".":
        start -= 1
    name = statement[start : at - 1]
    return name[-1].text if len(name) % 2 and statement[start - 1].text == "=" else ""


def _pieces(tokens: Sequence[Token]) -> tuple[str, ...]:
    """Return the texts between the parameters, as they are sent."""
    pieces: list[list[Token]] = [[]]
    for token in tokens:
        if token.type is T.PARAMETER:
            pieces.append([])
        else:
            pieces[-1].append(token)
    return tuple(sent(piece) for piece in pieces)


def _joined(pieces: Sequence[str], parameter: Callable[[int], str], first: int) -> str:
    text = pieces[0]
    for number, piece in enumerate(pieces[1:], first):
        text += parameter(number) + piece
    return text
