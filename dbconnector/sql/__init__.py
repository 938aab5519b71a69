"""SQL of the configuration, compiled once: `:name` becomes `?`, everything else is kept.

Pure: independent of databases, drivers and connections.
"""

from connectorlib.dataclass import dataclass
from dbconnector.sql.inserts import MultiRow, multi_row
from dbconnector.sql.keyed_change import KeyedChange, keyed_change
from dbconnector.sql.keys import AnyOf, any_of
from dbconnector.sql.lexer import T, sent, tokenize
from dbconnector.sql.paging import Paging, bare, holds_nothing, limit_rows, only_reads, page_by_key, page_interval
from dbconnector.sql.targets import Target, literals, tables, targets, written
from dbconnector.sql.transactions import ignores_errors, objection

__all__ = [
    "AnyOf",
    "KeyedChange",
    "MultiRow",
    "Paging",
    "Statement",
    "Target",
    "bare",
    "compile_statement",
    "holds_nothing",
    "ignores_errors",
    "limit_rows",
    "objection",
    "only_reads",
    "page_by_key",
    "page_interval",
    "tables_of",
]


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement with named parameters."""

    text: str
    #: The text with a `?` for each parameter, and without the comments that confuse a driver.
    sql: str
    #: The name of each `?`, in order; a name that is used twice is contained twice.
    names: tuple[str, ...]
    #: How to write many rows at once; None where that could change what is written.
    multi_row: MultiRow | None
    #: How to run it for many keys at once; None where that could change what it does.
    any_of: AnyOf | None
    #: How to run it for a set of rows at once; None where that could change what it does.
    keyed_change: KeyedChange | None
    #: Where the value of each `?` is stored or what it is compared with, when the text says so.
    targets: tuple[Target | None, ...]
    #: The columns of an INSERT whose value has no parameter, as written.
    literals: tuple[str, ...]
    #: The tables that it writes or reads, as written in the text; some of the names may be those of no table.
    tables: tuple[str, ...]
    #: Those of them that it writes.
    written: frozenset[str]


def compile_statement(text: str) -> Statement:
    """Given SQL with `:name` parameters, return it compiled.

    Raise ValueError if it cannot be parsed: an open quote, a `?`, no SQL at all.
    """
    tokens = tokenize(text)
    if all(token.type in (T.SPACE, T.COMMENT) or token.text == ";" for token in tokens):
        raise ValueError("there is no SQL in it")
    if any(token.type is T.MARKER for token in tokens):
        raise ValueError(
            "it contains a ?: write a parameter as :name; for the JSON operators ? ?| ?& of PostgreSQL use "
            "jsonb_exists(), jsonb_exists_any(), jsonb_exists_all(), for ODBC drivers take every ? for a parameter"
        )
    return Statement(
        text=text,
        sql=sent(tokens),
        names=tuple(token.text[1:] for token in tokens if token.type is T.PARAMETER),
        multi_row=multi_row(tokens),
        any_of=any_of(tokens),
        keyed_change=keyed_change(tokens),
        targets=targets(tokens),
        literals=literals(tokens),
        tables=tables(tokens),
        written=written(tokens),
    )


def tables_of(text: str) -> tuple[str, ...]:
    """Return `Statement.tables` of a text whose parameters may be `?` already."""
    return tables(tokenize(text))
