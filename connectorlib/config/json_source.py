"""Reads JSON text with the line of every key and element. Pure; knows nothing of schemas.

The standard library's parser stops at the first mistake and keeps no positions. This one reports all mistakes at once:
common ones (a comma too many or missing, single quotes, `True`, a `//` line) are noted and corrected, and only an
unclosed text or bracket ends the reading.
"""

import bisect
import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from decimal import Decimal
from json import JSONDecodeError, JSONDecoder
from typing import Any

from connectorlib.dataclass import dataclass
from connectorlib.errors import Problem

Path = tuple[str | int, ...]

MAX_DEPTH = 100
MAX_EXPONENT = 308  # of a double; a larger one would make other readers see infinity
COMMENT_KEY = "//"

_BLANK = re.compile(r"[ \t\r\n]*")
_COMMENT = re.compile(r"(?://|#)[^\n]*|/\*.*?\*/", re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORD = re.compile(r"[^\s\"',:\[\]{}]+")
_LOOSE_STRING = re.compile(r"\"((?:[^\"\\\n]|\\[^\n])*)\"")
_SINGLE_QUOTED = re.compile(r"'([^'\n]*)'")
#: As word processors and chats write them.
_TYPOGRAPHIC = "“”„‟«»‹›‘’‚‛"
_OTHER_QUOTES = f"'{_TYPOGRAPHIC}"
_TYPOGRAPHIC_STRING = re.compile(rf"[{_TYPOGRAPHIC}]([^\n\"{_TYPOGRAPHIC}]*)[\"{_TYPOGRAPHIC}]")
#: What looks like a space or like nothing, and is no blank of JSON.
_INVISIBLE = re.compile("[\u00a0\u00ad\u1680\u2000-\u200f\u2028-\u202f\u205f-\u2064\u3000\ufeff]")
_DECIMAL_COMMA = re.compile(r",([0-9]+)(?=\s*[,}])")
_ESCAPE = re.compile(r"\\(?![\"\\/bfnrt]|u[0-9a-fA-F]{4})")
_DECODER = JSONDecoder()
_SURROGATE = re.compile("[\ud800-\udfff]")

_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}
#: Words of other languages, and what they are in JSON.
_FOREIGN_WORDS: dict[str, Any] = {
    "True": True,
    "TRUE": True,
    "False": False,
    "FALSE": False,
    "None": None,
    "NULL": None,
    "Null": None,
    "undefined": None,
}


@dataclass(slots=True)
class Reading:
    """The result. `readable` is False when reading had to stop; `data` is then None."""

    data: Any = None
    problems: list[Problem] = field(default_factory=list)
    lines: dict[Path, int] = field(default_factory=dict)
    readable: bool = True


class _Stop(Exception):
    """Reading cannot continue."""


def read(text: str) -> Reading:
    """Return the data (fractions as Decimal, without `//` keys), the lines of it, and all mistakes."""
    reader = _Reader(text)
    try:
        reader.reading.data = reader.document()
    except _Stop:
        reader.reading.readable = False
    return reader.reading


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.reading = Reading()
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    # -- positions and complaints

    def line(self, at: int) -> int:
        return bisect.bisect_right(self._starts, at)

    def complain(self, at: int, text: str) -> None:
        line = self.line(at)
        column = at - self._starts[line - 1] + 1
        self.reading.problems.append(Problem(line, "", f"column {column}: {text}"))

    def stop(self, at: int, text: str) -> _Stop:
        self.complain(at, text)
        return _Stop()

    def skip(self) -> str:
        """Skip blanks, and comments with a complaint; return the next character, empty at the end."""
        while True:
            self.at = _BLANK.match(self.text, self.at).end()  # type: ignore[union-attr]  # matches always
            if comment := _COMMENT.match(self.text, self.at):
                self.complain(self.at, 'JSON has no comments; write a key that begins with "//" instead')
                self.at = comment.end()
            elif invisible := _INVISIBLE.match(self.text, self.at):
                self.complain(self.at, f"an invisible character (U+{ord(invisible[0]):04X}); replace it by a space")
                self.at = invisible.end()
            else:
                return self.text[self.at : self.at + 1]

    # -- values

    def document(self) -> Any:
        if not self.skip():
            raise self.stop(self.at, "the file is empty; expected {")
        value = self.value(())
        if self.skip():
            self.complain(self.at, "text after the end of the configuration; is a bracket closed too early?")
        return value

    def value(self, path: Path) -> Any:
        if len(path) > MAX_DEPTH:
            raise self.stop(self.at, f"nested deeper than {MAX_DEPTH}")
        char = self.skip()
        if char == "{":
            return self.object(path)
        if char == "[":
            return self.array(path)
        if char == '"':
            return self.string()
        if char and char in _OTHER_QUOTES:
            return self.wrongly_quoted()
        return self.word()

    def object(self, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for _ in self.members("{", "}"):
            at = self.at
            key = self.key()
            here = (*path, key)
            if not key.startswith(COMMENT_KEY):
                self.place(here, at, repeated=key in result)
            self.colon(key)
            value = self.whole_number(self.value(here))
            if not key.startswith(COMMENT_KEY):
                result[key] = value
        return result

    def array(self, path: Path) -> list[Any]:
        result: list[Any] = []
        for _ in self.members("[", "]"):
            here = (*path, len(result))
            self.reading.lines[here] = self.line(self.at)
            result.append(self.value(here))
        return result

    def members(self, opening: str, closing: str) -> Iterator[None]:
        """Yield before each member, which the caller then reads, up to the closing bracket."""
        opened = self.at
        self.at += 1
        end, comma, first = self.at, None, True
        while (char := self.next_member()) != closing:
            if char in ("", "]", "}"):
                raise self._unclosed(opening, opened, closing, char)
            if not first and comma is None:
                self.complain(end, "missing comma")
            yield
            end, comma, first = self.at, self.take_comma(), False
        if comma is not None:
            self.complain(comma, f"trailing comma before {closing}")
        self.at += 1

    def take_comma(self) -> int | None:
        """Go past a comma; return its position, None if there is none."""
        if self.skip() != ",":
            return None
        self.at += 1
        return self.at - 1

    def next_member(self) -> str:
        while (char := self.skip()) == ",":
            self.complain(self.at, "extra comma")
            self.at += 1
        return char

    def _unclosed(self, opening: str, opened: int, closing: str, char: str) -> _Stop:
        bracket = f"the {opening} of line {self.line(opened)}"
        if char:
            return self.stop(self.at, f"{bracket} is closed by {char}; expected {closing}")
        return self.stop(self.at, f"{bracket} is never closed; expected {closing}")

    def place(self, path: Path, at: int, *, repeated: bool) -> None:
        line = self.line(at)
        if repeated:
            text = f"duplicate key; the first is on line {self.reading.lines[path]}: keep one"
            self.reading.problems.append(Problem(line, show(path), text))
        self.reading.lines[path] = line

    def key(self) -> str:
        char = self.text[self.at]
        if char == '"':
            return self.visible(self.at, self.string())
        if char and char in _OTHER_QUOTES:
            return self.wrongly_quoted()
        word = _WORD.match(self.text, self.at)
        if word is None:
            raise self.stop(self.at, "expected a key in double quotes")
        self.complain(self.at, "a key must be in double quotes")
        self.at = word.end()
        return word[0]

    def visible(self, at: int, key: str) -> str:
        """Return a key without invisible characters, with a complaint if there are any."""
        if found := _INVISIBLE.search(key):
            self.complain(at, f"this key has an invisible character (U+{ord(found[0]):04X}); delete it")
        return _INVISIBLE.sub("", key)

    def colon(self, key: str) -> None:
        char = self.skip()
        if char == ":":
            self.at += 1
        elif char == "=":
            self.complain(self.at, f'between "{key}" and its value, write a colon, not =')
            self.at += 1
        elif char in (",", "}", "]", ""):
            raise self.stop(self.at, f'"{key}" has no value; expected a colon and a value')
        else:
            self.complain(self.at, f'a colon is missing after "{key}"')

    # -- texts, numbers, words

    def string(self) -> str:
        try:
            value, end = _DECODER.raw_decode(self.text, self.at)
        except JSONDecodeError as error:
            return self._bad_string(error)
        if _SURROGATE.search(value):
            self.complain(self.at, "this string contains half of a surrogate pair (\\ud800 to \\udfff come in pairs)")
            value = _SURROGATE.sub("\ufffd", value)
        self.at = end
        return str(value)

    def _bad_string(self, error: JSONDecodeError) -> str:
        loose = _LOOSE_STRING.match(self.text, self.at)
        if loose is None:
            advice = "the closing double quote is missing (a string ends on its line; write a line break as \\n)"
            raise self.stop(self.at, advice)
        escape = _ESCAPE.search(loose[0])
        if escape is not None:
            self.complain(self.at + escape.start(), "write a backslash in a string twice: \\\\")
        else:
            self.complain(error.pos, "write a control character (a tab?) in a string as an escape: \\t")
        self.at = loose.end()
        return loose[1]

    def wrongly_quoted(self) -> str:
        """Read a string in single or typographic quotes, with a complaint."""
        single = self.text[self.at] == "'"
        match = (_SINGLE_QUOTED if single else _TYPOGRAPHIC_STRING).match(self.text, self.at)
        if match is None:
            raise self.stop(self.at, "a string must be in double quotes, and the closing quote is missing")
        instead = "single quotes" if single else f"typographic ones ({match[0][0]})"
        self.complain(self.at, f"a string must be in double quotes, not {instead}")
        self.at = match.end()
        return match[1]

    def word(self) -> Any:
        """Read a number, true, false or null, or complain."""
        word = _WORD.match(self.text, self.at)
        if word is None:
            found = self.text[self.at : self.at + 1]
            raise self.stop(self.at, f"expected a value, not {found}" if found else "the file ends too early")
        at, self.at = self.at, word.end()
        if word[0] in _WORDS:
            return _WORDS[word[0]]
        number = _NUMBER.fullmatch(word[0])
        return self._number(number, at) if number else self._foreign(word[0], at)

    def whole_number(self, value: Any) -> Any:
        """Return the value of a key; correct a decimal comma, with a complaint: no key begins with a digit."""
        comma = _DECIMAL_COMMA.match(self.text, self.at) if type(value) is int else None
        if comma is None:
            return value
        self.complain(self.at, f"a number has a decimal point, not a comma: {value}.{comma[1]}")
        self.at = comma.end()
        return Decimal(f"{value}.{comma[1]}")

    def _number(self, number: re.Match[str], at: int) -> int | Decimal:
        fraction, exponent = number.groups()
        too_large = len(number[0]) > 4000 or (exponent and abs(int(exponent[1:])) > MAX_EXPONENT)
        if too_large:
            self.complain(at, "this number is too large")
            return 0
        return Decimal(number[0]) if fraction or exponent else int(number[0])

    def _foreign(self, word: str, at: int) -> Any:
        # The word is not repeated: it may be a password that lost its quotes.
        if word in _FOREIGN_WORDS:
            json_word = {True: "true", False: "false", None: "null"}[_FOREIGN_WORDS[word]]
            self.complain(at, f"in JSON {word} is written {json_word}")
            return _FOREIGN_WORDS[word]
        if word[0].isdigit() or word[0] in "+-." or word in ("NaN", "Infinity"):
            self.complain(at, "not a JSON number; if it is a string, put it in double quotes")
        else:
            self.complain(at, "a string must be in double quotes")
        return word


_PLAIN_KEY = re.compile(r"[\w@#$*-]+")


def line_of(lines: Mapping[Path, int], path: Path) -> int:
    """Return the line of a path or of its nearest parent; 1 for the whole file."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def show(path: Path) -> str:
    """Return a path as text: `database.write[0].values."serial no"`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (step if _PLAIN_KEY.fullmatch(step) else f'"{step}"')
    return text
