"""Tries a driver that nobody knows before values are trusted to it: some go there and come back.

What comes back as something else is bound in another way, or the driver is refused by name; what few drivers carry is
refused value by value. A form that the server does not understand proves nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

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


class Limit(NamedTuple):
    """What a driver may be unable to carry, though it carries other values of the type."""

    what: str
    type: type
    #: Whether a value is one of these.
    holds: Callable[[Any], bool]
    tried: Sequence[tuple[str, Any]]

    def refuse(self, value: Any) -> None:
        if self.holds(value):
            raise ValueError(f"{quoted(value)}: this driver alters {self.what}")


_LIMITS = (
    Limit("characters beyond U+FFFF", str, lambda text: max(text, default="") > "\uffff", [("VARCHAR(40)", "a 😀 b")]),
    Limit(
        "whole numbers beyond 32 bits",
        int,
        lambda number: not -(2**31) <= number < 2**31,
        [("BIGINT", 2**40 + 1), ("BIGINT", -(2**40))],
    ),
)


class Trial(NamedTuple):
    #: Whether the server understood any form of the question.
    understood: bool
    limits: Sequence[Limit] = ()


#: Runs a query with one parameter and returns the one value of its result. Raises pyodbc.Error.
Ask = Callable[[str, Any], Any]


def try_driver(ask: Ask, use_utf8: Callable[[], object], name: str) -> Trial:
    """Return what is known of the driver then.

    `use_utf8` makes the connection send text as UTF-8; it is called if text comes back changed, or not at all though
    numbers do. Raise Failed if values come back changed all the same.
    """
    found = _found(ask, _VALUES)
    if found and not all(any(sent == text and _same(sent, answer) for sent, answer in found) for text in _TEXTS):
        use_utf8()
        found = _found(ask, _VALUES)
    for sent, answer in found:
        if not _same(sent, answer):
            text = f"{name} gives {quoted(answer)} for {quoted(sent)}: values are not safe with it, use another driver"
            raise Failed(Failure(Kind.CONFIGURATION, "driver", text, "database.connection"))
    altered = [each for each in _LIMITS if not all(_same(*pair) for pair in _found(ask, each.tried))]
    return Trial(bool(found), altered)


def _found(ask: Ask, values: Sequence[tuple[str, Any]]) -> list[tuple[Any, Any]]:
    """Return each value with what came back for it, if anything did."""
    return [(value, answer) for kind, value in values for answer in _answers(ask, kind, value)]


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
