"""Parses SOQL: SELECT, WHERE, ORDER BY, LIMIT and OFFSET over one object and its parents.

Does not know the objects. An error is MALFORMED_QUERY with an excerpt and a caret, as in an org.
"""

import re
from dataclasses import field
from decimal import Decimal
from typing import Any

from connectorlib.dataclass import dataclass
from sfconnector.sandbox.refusals import ApiError, refused

MAX_LENGTH = 100_000  # characters of a statement
MAX_DEPTH = 50  # of parentheses and NOTs, so that no statement exhausts Python's stack
MAX_DIGITS = 10  # of LIMIT and OFFSET
_BEFORE, _AFTER = 45, 30  # characters of the excerpt around an error

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<string>'(?:[^'\\]|\\.)*')
      | (?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d))
      | (?P<date>\d{4}-\d\d-\d\d(?![\w.-]))
      | (?P<number>[+-]?\d+(?:\.\d+)?(?![\w.]))
      | (?P<name>[A-Za-z]\w*(?:\.[A-Za-z]\w*)*(?::\d+)?)
      | (?P<sign>!=|<>|<=|>=|=|<|>|\(|\)|,)""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\"}
_ESCAPES |= {"N": "\n", "R": "\r", "T": "\t", "B": "\b", "F": "\f"}
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_OPERATORS = {"=": "=", "!=": "!=", "<>": "!=", "<": "<", ">": ">", "<=": "<=", ">=": ">="}
_RESERVED = frozenset(
    {"and", "asc", "desc", "from", "in", "like", "limit", "not", "null", "nulls", "or", "select", "where"}
)
_DAYS = re.compile(r"TODAY|YESTERDAY|TOMORROW|(?:LAST|NEXT)_N_DAYS:\d{1,5}", re.IGNORECASE)
_SCOPES = frozenset({"all", "standard", "custom"})


@dataclass(frozen=True, slots=True)
class Lexeme:
    kind: str
    text: str
    at: int

    def is_word(self, *words: str) -> bool:
        return self.kind == "name" and self.text.lower() in words


@dataclass(frozen=True, slots=True)
class Literal:
    kind: str  # string | number | boolean | null | date | datetime | days
    value: Any
    at: int


@dataclass(frozen=True, slots=True)
class FieldPath:
    """A field, or that of a parent: ("Contact", "Email")."""

    names: tuple[str, ...]
    at: int

    def __str__(self) -> str:
        return ".".join(self.names)


@dataclass(frozen=True, slots=True)
class Count:
    """COUNT(path) alias; both are None for COUNT()."""

    path: FieldPath | None
    alias: str | None
    at: int


@dataclass(frozen=True, slots=True)
class AllFields:
    scope: str  # all | standard | custom
    at: int


@dataclass(frozen=True, slots=True)
class Compare:
    path: FieldPath
    operator: str  # = != < > <= >= like in not in
    values: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: "Condition"


@dataclass(frozen=True, slots=True)
class Every:
    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Some:
    parts: tuple["Condition", ...]


Condition = Compare | Not | Every | Some


@dataclass(frozen=True, slots=True)
class Order:
    path: FieldPath
    descending: bool
    nulls_first: bool


@dataclass(frozen=True, slots=True)
class Query:
    text: str
    columns: tuple[FieldPath | Count | AllFields, ...]
    sobject: str
    sobject_at: int
    where: Condition | None = None
    order: tuple[Order, ...] = field(default=())
    limit: int | None = None
    offset: int = 0


def refusal(text: str, at: int, message: str, code: str = "MALFORMED_QUERY") -> ApiError:
    """Return the error at a position of a statement: an excerpt, a caret below it, then the message."""
    start = max(0, at - _BEFORE)
    excerpt = " ".join(text[start : at + _AFTER].split("\n"))
    row, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    marked = f"\n{excerpt}\n{' ' * (at - start)}^\nERROR at Row:{row}:Column:{column}\n{message}"
    return refused(code, marked, None)


def malformed(message: str) -> ApiError:
    return refused("MALFORMED_QUERY", message, None)


def _tokens(text: str) -> list[Lexeme]:
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise malformed(f"line 1:{at} no viable alternative at character '{text[at]}'")
        kind = match.lastgroup or ""
        if kind != "space":
            found.append(Lexeme(kind, match[0], at))
        at = match.end()
    return found


def parse(text: str) -> Query:
    """Parse a statement. Raise ApiError (MALFORMED_QUERY)."""
    if len(text) > MAX_LENGTH:
        raise malformed(f"SOQL statements cannot be longer than {MAX_LENGTH} characters.")
    return _Parser(text).query()


def parse_condition(text: str) -> Condition:
    """Parse the condition after WHERE. Raise ApiError (MALFORMED_QUERY)."""
    parser = _Parser(text)
    condition = parser.condition()
    parser.end()
    return condition


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.place = 0
        self.depth = 0

    def peek(self, ahead: int = 0) -> Lexeme:
        place = self.place + ahead
        return self.tokens[place] if place < len(self.tokens) else Lexeme("end", "<EOF>", len(self.text))

    def next(self) -> Lexeme:
        token = self.peek()
        self.place += 1
        return token

    def unexpected(self, token: Lexeme) -> ApiError:
        return refusal(self.text, token.at, f"unexpected token: '{token.text}'")

    def word(self, *words: str) -> bool:
        """Consume the next token if it is one of these words."""
        if self.peek().is_word(*words):
            self.place += 1
            return True
        return False

    def sign(self, text: str) -> bool:
        if self.peek().kind == "sign" and self.peek().text == text:
            self.place += 1
            return True
        return False

    def expect(self, taken: bool) -> None:
        if not taken:
            raise self.unexpected(self.peek())

    def end(self) -> None:
        if self.peek().kind != "end":
            raise self.unexpected(self.peek())

    def query(self) -> Query:
        self.expect(self.word("select"))
        columns = [self.column()]
        while self.sign(","):
            columns.append(self.column())
        self.expect(self.word("from"))
        source = self.name()
        where = self.condition() if self.word("where") else None
        order: list[Order] = []
        if self.word("order"):
            self.expect(self.word("by"))
            order.append(self.order())
            while self.sign(","):
                order.append(self.order())
        limit = self.count() if self.word("limit") else None
        offset = self.count() if self.word("offset") else 0
        self.end()
        return Query(self.text, tuple(columns), source.text, source.at, where, tuple(order), limit, offset)

    def name(self) -> Lexeme:
        token = self.peek()
        if token.kind != "name" or ":" in token.text or token.is_word(*_RESERVED):
            raise self.unexpected(token)
        return self.next()

    def path(self) -> FieldPath:
        token = self.name()
        return FieldPath(tuple(token.text.split(".")), token.at)

    def count(self) -> int:
        token = self.next()
        if token.kind != "number" or not token.text.isdigit() or len(token.text) > MAX_DIGITS:
            raise self.unexpected(token)
        return int(token.text)

    def column(self) -> FieldPath | Count | AllFields:
        token = self.peek()
        called = self.peek(1).kind == "sign" and self.peek(1).text == "("
        if not called or not token.is_word("count", "fields"):
            return self.path()
        self.place += 2
        if token.is_word("fields"):
            scope = self.name().text.lower()
            if scope not in _SCOPES:
                raise self.unexpected(self.tokens[self.place - 1])
            self.expect(self.sign(")"))
            return AllFields(scope, token.at)
        if self.sign(")"):
            return Count(None, None, token.at)
        path = self.path()
        self.expect(self.sign(")"))
        alias = self.next().text if self.peek().kind == "name" and not self.peek().is_word("from") else None
        return Count(path, alias, token.at)

    def order(self) -> Order:
        path = self.path()
        descending = self.word("desc")
        if not descending:
            self.word("asc")
        nulls_first = True
        if self.word("nulls"):
            nulls_first = self.word("first")
            self.expect(nulls_first or self.word("last"))
        return Order(path, descending, nulls_first)

    def condition(self) -> Condition:
        """Parse terms with AND or with OR; mixing them needs parentheses."""
        first = self.term()
        word = "and" if self.peek().is_word("and") else "or"
        parts: list[Condition] = [first]
        while self.word(word):
            parts.append(self.term())
        if len(parts) == 1:
            return first
        return Every(tuple(parts)) if word == "and" else Some(tuple(parts))

    def term(self) -> Condition:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.unexpected(self.peek())
        term = self.nested()
        self.depth -= 1
        return term

    def nested(self) -> Condition:
        if self.word("not"):
            return Not(self.term())
        if self.sign("("):
            inside = self.condition()
            self.expect(self.sign(")"))
            return inside
        return self.comparison()

    def comparison(self) -> Compare:
        path = self.path()
        token = self.next()
        if token.kind == "sign" and token.text in _OPERATORS:
            return Compare(path, _OPERATORS[token.text], (self.literal(),))
        if token.is_word("like"):
            return Compare(path, "like", (self.literal(pattern=True),))
        if token.is_word("in"):
            return Compare(path, "in", self.literals())
        if token.is_word("not") and self.word("in"):
            return Compare(path, "not in", self.literals())
        raise self.unexpected(token)

    def literals(self) -> tuple[Literal, ...]:
        self.expect(self.sign("("))
        found = [self.literal()]
        while self.sign(","):
            found.append(self.literal())
        self.expect(self.sign(")"))
        return tuple(found)

    def literal(self, *, pattern: bool = False) -> Literal:
        token = self.next()
        match token.kind:
            case "string":
                return Literal("string", unquote(token.text, pattern=pattern), token.at)
            case "number":
                return Literal("number", Decimal(token.text), token.at)
            case "date" | "datetime":
                return Literal(token.kind, token.text, token.at)
            case "name" if token.is_word("true", "false"):
                return Literal("boolean", token.is_word("true"), token.at)
            case "name" if token.is_word("null"):
                return Literal("null", None, token.at)
            case "name" if _DAYS.fullmatch(token.text):
                return Literal("days", token.text.upper(), token.at)
        raise self.unexpected(token)


def unquote(text: str, *, pattern: bool = False) -> str:
    """Return the text of a string literal. Raise ApiError for an unknown escape.

    In a `pattern` of LIKE the escapes `\\%`, `\\_` and `\\\\` keep the backslash.
    """

    def replace(match: re.Match[str]) -> str:
        escape = match[1]
        if escape in ("%", "_"):
            return match[0] if pattern else escape
        if escape == "\\" and pattern:
            return match[0]
        if len(escape) == 5:
            return chr(int(escape[1:], 16))
        if escape not in _ESCAPES:
            message = f"Invalid string literal {text}. Illegal character sequence '\\{escape}' in string literal."
            raise malformed(message)
        return _ESCAPES[escape]

    return _ESCAPE.sub(replace, text[1:-1])
