"""Walks over the tokens of a statement. Pure."""

from collections.abc import Sequence

from dbconnector.sql.lexer import T, Token


def solid_places(tokens: Sequence[Token]) -> list[int]:
    """Return the positions of the tokens that are neither space nor comments."""
    return [at for at, token in enumerate(tokens) if token.type not in (T.SPACE, T.COMMENT)]


def solid(tokens: Sequence[Token]) -> list[Token]:
    return [tokens[at] for at in solid_places(tokens)]


class TokenReader:
    """Takes solid tokens from the left. A method that does not find what it is named after takes nothing."""

    def __init__(self, tokens: Sequence[Token], at: int = 0) -> None:
        self._tokens = tokens
        self.at = at

    @property
    def upper(self) -> str:
        return self._tokens[self.at].upper if self.at < len(self._tokens) else ""

    def word(self, *words: str) -> bool:
        """Take one of the words; return whether there was one."""
        taken = self.upper in words
        self.at += taken
        return taken

    def identifier(self) -> str:
        """Take a name, dots included, and return it as written; "" if there is none."""
        start, dotted = self.at, True
        while self.at < len(self._tokens):
            token = self._tokens[self.at]
            if token.type not in (T.WORD, T.NAME) if dotted else token.text != ".":
                break
            dotted = not dotted
            self.at += 1
        return "".join(token.text for token in self._tokens[start : self.at])

    def brackets(self) -> list[tuple[int, ...]] | None:
        """Take `(a, b, …)` and return the positions of the tokens of each item; None if there is no bracket."""
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
                items[-1].append(self.at)
            self.at += 1
        self.at += 1
        return [tuple(item) for item in items]
