"""SQL as it is written in the configuration, compiled once: `:name` becomes `?`, all that is SQL stays as it is.

Pure: knows nothing of drivers or connections.
"""

from dataclasses import dataclass

from dbconnector.sql.lexer import T, sent, tokenize
from dbconnector.sql.paging import Paging, limit_rows, only_reads, page_by_key
from dbconnector.sql.shapes import AnyOf, MultiRow, Target, any_of, multi_row, targets

__all__ = [
    "AnyOf",
    "MultiRow",
    "Paging",
    "Statement",
    "Target",
    "compile_statement",
    "limit_rows",
    "only_reads",
    "page_by_key",
]


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement with named parameters."""

    text: str
    #: The text with a `?` for each parameter, and without the comments that confuse a driver.
    sql: str
    #: The name of each `?`, in order; a name that is used twice stands here twice.
    names: tuple[str, ...]
    #: How to write many rows at once; None where that could change what is written.
    multi_row: MultiRow | None
    #: How to run it for many keys at once; None where that could change what it does.
    any_of: AnyOf | None
    #: Where the value of each `?` is stored or what it is compared with, when the text says so.
    targets: tuple[Target | None, ...]


def compile_statement(text: str) -> Statement:
    """Given SQL with `:name` parameters, return it compiled.

    Raise ValueError if it cannot be read: an open quote, a `?`, nothing at all.
    """
    tokens = tokenize(text)
    if all(token.type in (T.SPACE, T.COMMENT) or token.text == ";" for token in tokens):
        raise ValueError("there is no SQL in it")
    if any(token.type is T.MARKER for token in tokens):
        raise ValueError(
            "a ? stands in it: write a parameter as :name; for the JSON operators ? ?| ?& of PostgreSQL use "
            "jsonb_exists(), jsonb_exists_any(), jsonb_exists_all(), for ODBC drivers take every ? for a parameter"
        )
    return Statement(
        text=text,
        sql=sent(tokens),
        names=tuple(token.text[1:] for token in tokens if token.type is T.PARAMETER),
        multi_row=multi_row(tokens),
        any_of=any_of(tokens),
        targets=targets(tokens),
    )
