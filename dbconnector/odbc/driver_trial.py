"""Tries a driver that nobody knows before values are trusted to it: some go there and come back.

What comes back as something else is bound in another way, or the driver is refused by name. A form that the server does
not understand proves nothing.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pyodbc

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.values.text import quoted

#: Ways to ask for one value without a table: the standard's, Oracle's, Db2's.
_FRAMES = ("SELECT CAST(? AS {})", "SELECT CAST(? AS {}) FROM DUAL", "VALUES (CAST(? AS {}))")
_TEXTS = ("pump-2", "Grüße, 東京")
_VALUES = (
    *(("VARCHAR(40)", text) for text in _TEXTS),
    *(("INTEGER", number) for number in (0, 7, 2**31 - 1, -(2**31))),
    ("DECIMAL(12,3)", Decimal("-1234567.125")),
)

#: Runs a query with one parameter and returns the one value of its result. Raises pyodbc.Error.
Ask = Callable[[str, Any], Any]


def try_driver(ask: Ask, use_utf8: Callable[[], object], name: str) -> bool:
    """Return whether the server understood any form of the question.

    `use_utf8` makes the connection send text as UTF-8; it is called if text comes back changed, or not at all. Raise
    Failed if values come back changed all the same.
    """
    found = _found(ask)
    if not all(any(sent == text and _same(sent, answer) for sent, answer in found) for text in _TEXTS):
        use_utf8()
        found = _found(ask)
    for sent, answer in found:
        if not _same(sent, answer):
            text = f"{name} gives {quoted(answer)} for {quoted(sent)}: values are not safe with it, use another driver"
            raise Failed(Failure(Kind.CONFIGURATION, "driver", text, "database.connection"))
    return bool(found)


def _found(ask: Ask) -> list[tuple[Any, Any]]:
    """Return each value with what came back for it, if anything did."""
    return [(value, answer) for kind, value in _VALUES for answer in _answers(ask, kind, value)]


def _answers(ask: Ask, kind: str, value: Any) -> Iterator[Any]:
    """Yield what the first form brings back that the server understands, if there is one."""
    for frame in _FRAMES:
        try:
            yield ask(frame.format(kind), value)
        except pyodbc.Error:
            continue
        except ValueError as error:  # what came back is no text at all
            yield error
        return


def _same(value: Any, answer: Any) -> bool:
    if isinstance(value, str):
        return isinstance(answer, str) and answer.rstrip(" ") == value
    try:
        return bool(Decimal(str(answer)) == value)
    except ArithmeticError:
        return False
