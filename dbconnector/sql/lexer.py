"""Splits SQL of any dialect into tokens, so that `:name` is found only where it is a parameter.

The joined tokens are the text again, character for character. Imports `dataclass` alone of this project.

Databases disagree about a backslash before a quote, `#`, and `/*` inside a comment. Each possible reading is tried; one
that leaves a quote or bracket open is discarded. If two readings remain and find different parameters, the statement is
refused.
"""

import re
from collections.abc import Iterable, Iterator
from enum import Enum, auto
from itertools import product

from connectorlib.dataclass import dataclass


class T(Enum):
    """Type of a token."""

    SPACE = auto()
    COMMENT = auto()
    STRING = auto()
    NAME = auto()  # a quoted identifier
    WORD = auto()  # a keyword or an identifier
    NUMBER = auto()
    PARAMETER = auto()
    MARKER = auto()  # a question mark
    SYMBOL = auto()  # an operator or punctuation


@dataclass(frozen=True, slots=True)
class Token:
    type: T
    text: str

    @property
    def upper(self) -> str:
        return self.text.upper()


@dataclass(frozen=True, slots=True)
class Reading:
    """One combination of the rules that databases disagree about."""

    backslash: bool  # '\'' is one quote (MariaDB, MySQL), else a backslash is a character like any other (the standard)
    hash_comment: bool  # MariaDB, MySQL; else an operator (PostgreSQL)
    nested: bool  # comments nest (PostgreSQL, SQL Server)


class Unreadable(ValueError):
    """The text is not valid under this reading."""


_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<comment>--[^\r\n]*)
    | (?P<block>/\*)
    | (?P<alternative>\b[nN]?[qQ]'(?=\S))
    | (?P<escaped>\b[eE]')
    | (?P<dollar>(?<![\w$])\$(?:[^\W\d]\w*)?\$)
    | (?P<quote>['"`])
    | (?P<number>(?:\d+(?:\.\d*)?|(?<![\w\])"`])\.\d+)(?:[eE][+-]?\d+)?(?![\w$]))
    | (?P<word>\w[\w$]*)
    | (?P<parameter>(?<![\w$:)\]'"`]):(?P<name>[^\W\d]\w*))
    | (?P<symbol>::|:=|\*/|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_QUOTED = {  # the rest of a quoted thing, its closing quote included; a doubled quote is one of its characters
    quote: re.compile(rf"(?:[^{quote}]|{quote}{quote})*{quote}(?!{quote})") for quote in "'\"`"
}
_ESCAPED = {
    **_QUOTED,  # backslashes never escape a backtick
    "'": re.compile(r"(?:[^'\\]|\\.|'')*'(?!')", re.DOTALL),
    '"': re.compile(r'(?:[^"\\]|\\.|"")*"(?!")', re.DOTALL),
}
_BRACKETED = re.compile(r"\[(?:[^\]]|\]\])*\](?!\])")
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_CONFUSING = re.compile(r"[?'\"`]")
_LINE_END = re.compile(r"[\r\n]")
_CLOSES = {")": "(", "]": "[", "}": "{"}
_ORACLE_CLOSE = {"[": "]", "{": "}", "(": ")", "<": ">"}
_BEFORE_TABLE = {"INTO", "FROM", "JOIN", "UPDATE", "TABLE", "EXISTS", "MERGE", "USING"}


class _Lexer:
    def __init__(self, text: str, reading: Reading) -> None:
        self._text = text
        self._reading = reading
        self._open: list[str] = []
        self._last: Token | None = None  # but for space and comments
        self._touching = False  # no space or comment since `_last`

    def tokens(self) -> Iterator[Token]:
        at = 0
        while match := _TOKEN.match(self._text, at):
            token_type, end = self._token(match)
            token = Token(token_type, self._text[at:end])
            yield token
            self._touching = token_type not in (T.SPACE, T.COMMENT)
            self._last = token if self._touching else self._last
            at = end
        if self._open:
            raise Unreadable(f"{self._open[-1]} is not closed")

    def _token(self, match: re.Match[str]) -> tuple[T, int]:
        at, end, text = match.start(), match.end(), match.group()
        match match.lastgroup:
            case "space":
                return T.SPACE, end
            case "comment":
                return T.COMMENT, end
            case "block":
                return T.COMMENT, self._comment_end(end)
            case "alternative":  # Oracle's q'[…]'
                return T.STRING, self._after(_ORACLE_CLOSE.get(self._text[end], self._text[end]) + "'", end + 1, at)
            case "dollar":
                return T.STRING, self._after(text, end, at)
            case "escaped":
                return T.STRING, self._quoted(_ESCAPED["'"], end, at)
            case "quote":
                patterns = _ESCAPED if self._reading.backslash else _QUOTED
                return T.STRING if text == "'" else T.NAME, self._quoted(patterns[text], end, at)
            case "number":
                return T.NUMBER, end
            case "word":
                return T.WORD, end
            case "name" | "parameter":
                return T.PARAMETER, end
        return self._symbol(text, at, end)

    def _symbol(self, text: str, at: int, end: int) -> tuple[T, int]:
        if text == "#" and self._is_comment(at):
            return T.COMMENT, at + len(_LINE_END.split(self._text[at:], maxsplit=1)[0])
        if text == "[" and not self._is_subscript():
            return T.NAME, self._quoted(_BRACKETED, at, at)
        if text == "*/":
            raise Unreadable("*/ without /*")
        if text in "([{":
            self._open.append(text)
        elif text in _CLOSES and (not self._open or self._open.pop() != _CLOSES[text]):
            raise Unreadable(f"{text} without {_CLOSES[text]}")
        return T.MARKER if text == "?" else T.SYMBOL, end

    def _is_comment(self, at: int) -> bool:
        """Return whether this `#` begins a comment: always at the start of its line, else if the reading says so."""
        following = self._text[at + 1 : at + 2]
        if following == ">":  # #> and #>>: paths into JSON
            return False
        if following.isalnum() and self._last is not None and self._last.upper in _BEFORE_TABLE:
            return False  # a temporary table of SQL Server
        starts_line = not self._text[:at].rpartition("\n")[2].strip()
        return starts_line or self._reading.hash_comment

    def _is_subscript(self) -> bool:
        """Return whether this `[` opens a subscript or an array; else it quotes an identifier (SQL Server, SQLite)."""
        last = self._last
        if last is None:
            return False
        if last.upper == "ARRAY" or (self._open and self._open[-1] == "[" and last.text in ("[", ",")):
            return True
        return self._touching and (last.type in (T.WORD, T.NAME, T.PARAMETER) or last.text in (")", "]"))

    def _comment_end(self, at: int) -> int:
        depth = 1
        while depth:
            edge = _COMMENT_EDGE.search(self._text, at)
            if edge is None:
                raise Unreadable("/* is not closed")
            at = edge.end()
            if edge.group() == "*/":
                depth -= 1
            elif self._reading.nested:
                depth += 1
        return at

    def _after(self, closing: str, start: int, at: int) -> int:
        end = self._text.find(closing, start)
        if end < 0:
            raise Unreadable(f"{self._shown(at)} is not closed")
        return end + len(closing)

    def _quoted(self, pattern: re.Pattern[str], start: int, at: int) -> int:
        match = pattern.match(self._text, start)
        if match is None:
            raise Unreadable(f"the quote at {self._shown(at)} is not closed")
        return match.end()

    def _shown(self, at: int) -> str:
        return repr(self._text[at : at + 20])


def tokenize(text: str) -> list[Token]:
    """Given SQL, return its tokens; joined they are the text.

    Raise ValueError if a quote, comment or bracket is left open, or if databases disagree about the parameters.
    """
    readings: list[list[Token]] = []
    problem: Unreadable | None = None
    for backslash, hash_comment, nested in product(
        (False, True) if "\\" in text else (False,),
        (True, False) if "#" in text else (True,),
        (True, False) if text.count("/*") > 1 else (True,),
    ):
        try:
            tokens = list(_Lexer(text, Reading(backslash, hash_comment, nested)).tokens())
        except Unreadable as exc:
            problem = problem or exc
            continue
        if _markers(tokens) not in [_markers(other) for other in readings]:
            readings.append(tokens)
    if not readings:
        raise ValueError(str(problem)) from problem
    if len(readings) > 1:
        raise ValueError(_ambiguous(text))
    return readings[0]


def sent(tokens: Iterable[Token]) -> str:
    """Return the SQL that is sent to the driver: a `?` for each parameter.

    A comment that contains a question mark or a quote is omitted (a hint is not): sqliteodbc counts parameters itself,
    and takes such a `?` for one, or the rest of the statement for a literal.
    """
    return "".join(map(_sent, tokens))


def _sent(token: Token) -> str:
    if token.type is T.PARAMETER:
        return "?"
    if token.type is T.COMMENT and _CONFUSING.search(token.text) and not token.text.startswith(("/*!", "/*+")):
        return " "
    return token.text


def _markers(tokens: list[Token]) -> list[tuple[int, str]]:
    """Return the positions and texts of the parameters."""
    found, at = [], 0
    for token in tokens:
        if token.type in (T.PARAMETER, T.MARKER):
            found.append((at, token.text))
        at += len(token.text)
    return found


def _ambiguous(text: str) -> str:
    causes = [
        cause
        for sign, cause in (
            ("\\'", "a backslash before a quote (write '' for a quote, or make the text a parameter)"),
            ('\\"', 'a backslash before a quote (write "" for a quote, or make the text a parameter)'),
            ("#", "# (write -- for a comment; for the operator put the expression in parentheses of its own)"),
            ("/*", "/* inside a comment"),
        )
        if sign in text
    ]
    return f"databases read this differently, and find other parameters: {' or '.join(causes)}"
