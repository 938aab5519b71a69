"""Which statements would take the transaction out of the connector's hands, so that it could neither undo nor confirm
what they do; and which make the database take values that it would refuse. Pure."""

from collections.abc import Sequence
from itertools import pairwise

from dbconnector.sql.lexer import tokenize
from dbconnector.sql.token_reader import solid

_ENDS = {"COMMIT", "ROLLBACK", "ABORT", "END", "SAVEPOINT", "RELEASE", "XA", "UNLOCK"}
#: With the second word.
_PAIRS = {"START TRANSACTION", "PREPARE TRANSACTION", "SET TRANSACTION", "SET IMPLICIT_TRANSACTIONS"}
#: After BEGIN: a transaction, and not a block of a procedure's language.
_TRANSACTION = {"", ";", "TRAN", "TRANSACTION", "WORK", "DEFERRED", "IMMEDIATE", "EXCLUSIVE", "ISOLATION", "READ"}
_BLOCKS = {"BEGIN", "DECLARE", "CREATE"}
_DEFINES = {"CREATE", "ALTER", "DROP", "TRUNCATE", "RENAME", "GRANT", "REVOKE", "LOCK", "ANALYZE", "OPTIMIZE", "REPAIR"}


def objection(text: str, *, ddl_commits: bool = False) -> str:
    """Given a statement, return why it must not run in the connector's transaction, "" if it may.

    `ddl_commits`: the database commits before and after it defines something. Raise ValueError as `tokenize`.
    """
    words = [token.upper for token in solid(tokenize(text))]
    first, second, *_ = (*words, "", "")
    if first in _ENDS or f"{first} {second}" in _PAIRS or (first == "BEGIN" and second in _TRANSACTION):
        return f"{first} takes the transaction away from the connector, which commits when all statements have passed"
    if first == "SET" and "AUTOCOMMIT" in words:
        return "autocommit could leave a message half written: the connector commits when all statements have passed"
    if first == "COPY" and {"STDIN", "STDOUT"} & set(words):
        return "COPY would wait for data from the connector, which sends none: write INSERT"
    if ddl_commits and first in _DEFINES and second != "TEMPORARY":
        return f"{first} commits implicitly on this database: a message could be left half written"
    if first in _BLOCKS:
        ends = {"COMMIT", "ROLLBACK"} & {word for before, word in pairwise(words) if before == ";"}
        return f"{ends.pop()} in a block takes control of the transaction away from the connector" if ends else ""
    return "" if _is_one(words) else "two statements in one: write each on its own"


def ignores_errors(text: str) -> bool:
    """Return whether a statement is MariaDB's INSERT IGNORE or UPDATE IGNORE, which cut what does not fit."""
    first, second, third, *_ = (*(token.upper for token in solid(tokenize(text))), "", "", "")
    return first in ("INSERT", "UPDATE") and (
        second == "IGNORE" or (third == "IGNORE" and second.endswith(("PRIORITY", "DELAYED")))
    )


def _is_one(words: Sequence[str]) -> bool:
    return ";" not in words or set(words[words.index(";") :]) == {";"}
