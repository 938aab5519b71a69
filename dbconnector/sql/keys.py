"""Whether a statement for the row with one key may be run for many keys at once. Pure. In doubt it may not."""

from collections.abc import Sequence

from connectorlib.dataclass import dataclass
from dbconnector.sql.inserts import computes_nothing
from dbconnector.sql.lexer import T, Token, sent
from dbconnector.sql.targets import column_before
from dbconnector.sql.token_reader import solid_places

_NOT_BEFORE_KEY = {"OR", "BETWEEN", "CASE", "(", "XOR"}


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


def any_of(tokens: Sequence[Token]) -> AnyOf | None:
    """Given a statement's tokens, return how to run it for many keys at once.

    None unless it is an UPDATE or DELETE that ends with `WHERE … AND column = :name AND …`, has no other parameters,
    and computes nothing that another of the rows could change.
    """
    places = [at for at in solid_places(tokens) if tokens[at].text != ";"]
    statement = [tokens[at] for at in places]
    words = [token.upper for token in statement]
    parameters = sum(token.type is T.PARAMETER for token in tokens)
    start = len(places) - 4 * parameters + 1  # a condition has three tokens, with an AND before the next one
    if words[:1] not in (["UPDATE"], ["DELETE"]) or words.count("WHERE") != 1 or not parameters or start < 1:
        return None
    columns = tuple(_key_column(statement, at) for at in range(start, len(places), 4))
    head, tail = tokens[: places[start]], tokens[places[-1] + 1 :]
    before = words[words.index("WHERE") + 1 : start]
    if not all(columns) or _NOT_BEFORE_KEY & set(before) or not computes_nothing(statement[:start]):
        return None
    return AnyOf(sent(head), columns, sent(tail))


def _key_column(tokens: Sequence[Token], at: int) -> str:
    """Return the column of the condition `column = :name` at a position; "" if there is none."""
    before, _, equals, parameter = tokens[at - 1 : at + 3]
    if before.upper in ("WHERE", "AND") and equals.text == "=" and parameter.type is T.PARAMETER:
        return column_before(tokens, at + 1)
    return ""
