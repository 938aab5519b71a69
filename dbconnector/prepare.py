"""Checks statements against the database without running them: tables, columns and rights.

A database that can explain a statement plans it and runs nothing. Others prepare it: one parameter too many is sent,
which pyodbc refuses after the preparation and before the execution.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import count
from typing import Any

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.expressions import text_of
from dbconnector.columns import plain_name
from dbconnector.odbc.database import Database
from dbconnector.sql import compile_statement, only_reads
from dbconnector.sql.inserts import read_insert
from dbconnector.sql.lexer import T, Token, sent, tokenize

_EXPLAINED = {"SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE", "WITH", "VALUES"}
_ONE_TOO_MANY = "parameter markers"
#: Codes of a driver that cannot prepare, and of one without transactions: what a query gives shows when it runs.
_UNTRIED = ("IM001", "no-transactions")


def refusal(database: Database, text: str, place: str) -> Failure | None:
    """Return why the database does not accept a statement, None if it does. Raise Failed if it does not answer.

    Objections to the values are ignored: all of them are NULL.
    """
    database.connect()
    statement = compile_statement(text)
    try:
        database.binder(statement, place=place)  # which refuses tables that values would not be safe in
        if database.dialect.explains and _first_word(text) in _EXPLAINED:
            database.execute(f"EXPLAIN {_with_nulls(text)}", place=place)
            if database.dialect.prepares is not None:
                _prepare(database, text, *database.dialect.prepares, place)
        else:
            database.execute(statement.sql, [None] * (len(statement.names) + 1), place=place)
    except Failed as failed:
        failure = failed.failure
        if failure.kind in (Kind.UNAVAILABLE, Kind.RETRY):
            raise
        if _ONE_TOO_MANY in failure.text or failure.kind is Kind.REJECT:
            return None
        if failure.code in _UNTRIED and only_reads(text):
            return None
        return _named(failure, statement.names)
    finally:
        database.rollback()
    return None


def _prepare(database: Database, text: str, words: str, forget: str, place: str) -> None:
    """Prepare a statement as the driver does. That finds parameters of no type, which NULL in their place does not."""
    numbers = count(1)
    tokens = tokenize(text)
    numbered = (f"${next(numbers)}" if token.type is T.PARAMETER else sent([token]) for token in tokens)
    database.execute(words.format("".join(numbered).strip().rstrip(";")), place=place)
    database.execute(forget, place=place)


def _named(failure: Failure, names: Sequence[str]) -> Failure:
    """Return a failure that calls a parameter by its name in the configuration."""
    found = re.search(r"parameter \$(\d+)", failure.text)
    if found is None or int(found[1]) > len(names):
        return failure
    name = names[int(found[1]) - 1]
    return replace(failure, text=f"{failure.text.replace(found[0], f':{name}')}: write CAST(:{name} AS …) there")


def _first_word(text: str) -> str:
    return next((token.upper for token in tokenize(text) if token.type is T.WORD), "")


def _with_nulls(text: str, position: int = -1, value: str = "") -> str:
    """Return a statement with NULL in place of its parameters, except the one at a position."""
    numbers = count()
    literal = "'" + value.replace("'", "''") + "'"

    def written(token: Token) -> str:
        if token.type is not T.PARAMETER:
            return sent([token])
        return literal if next(numbers) == position else "NULL"

    return "".join(map(written, tokenize(text))).strip().rstrip(";")


def unfilled(database: Database, text: str) -> list[str]:
    """Return the columns that every new row needs and an INSERT does not fill; none if that is unknown."""
    insert = read_insert(tokenize(text))
    question = database.dialect.required_query(insert.table) if insert is not None and insert.columns else None
    if insert is None or question is None:
        return []
    query, parameters = question
    database.connect()
    try:
        needed = [str(row[0]) for _, rows in database.query(query, parameters, place="catalogue") for row in rows]
    except Failed as failed:
        if failed.failure.kind is Kind.UNAVAILABLE:
            raise
        return []
    finally:
        database.rollback()
    filled = {plain_name(column).lower() for column in insert.columns}
    return [column for column in needed if column.lower() not in filled]


def columns(database: Database, query: str, values: Sequence[Any], place: str) -> tuple[str, ...]:
    """Return the names of a query's columns without reading its rows. Raise Failed."""
    sql = compile_statement(query).sql.strip().rstrip(";")
    # One row of nulls, whatever the table contains: without a row the columns would not be reported.
    whole = f"SELECT q.* FROM (SELECT 1 AS one_row{database.dialect.from_dual}) o LEFT JOIN (\n{sql}\n) q ON 1 = 0"
    database.connect()
    try:
        for names, _ in database.query(whole, values, fetch=1, place=place):
            return names
    finally:
        database.rollback()
    return ()


def refused_value(database: Database, text: str, position: int, value: Any) -> str:
    """Return why a parameter's column does not accept a value, "" if it does or if only a row could show it."""
    statement = compile_statement(text)
    database.connect()
    try:
        bound = database.binder(statement)([value if at == position else None for at in range(len(statement.names))])
        if database.dialect.explains_constants and isinstance(bound[position], str | int | float | Decimal):
            # As the driver sends it: as text of the column's type. Constants are parsed when the statement is planned.
            database.execute(f"EXPLAIN {_with_nulls(text, position, text_of(bound[position]))}", place="value")
    except Failed as failed:
        if failed.failure.kind is Kind.UNAVAILABLE:
            raise
        return failed.failure.text
    finally:
        database.rollback()
    return ""
