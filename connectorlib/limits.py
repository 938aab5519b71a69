"""Limits of decoding and mapping one message: time, rows, and the size of the values.

A small body can map to much: a filter over half a million elements, a template that repeats a long text for each of
ten thousand. Imports only errors and settings.
"""

from collections.abc import Iterable
from time import monotonic, thread_time
from typing import Any, Self

from connectorlib.errors import Failed, reject
from connectorlib.shared_settings import Limits

#: The size of all values of one message, as a multiple of limits.body_bytes.
MOST_GROWTH = 64


class Effort:
    """The effort of one message. Every method raises Failed (reject), `too-large`, once it is too much.

    The limit is processor time of this thread, so that no message is rejected because the machine is busy or was
    suspended. That clock is slow to read, so the first half of the time is measured by the wall clock.
    """

    __slots__ = ("_begun", "_counted", "_half", "_limits", "_rested", "_room", "_rows")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._half = limits.seconds / 2
        self._room = limits.body_bytes * MOST_GROWTH
        self._rows: dict[int, int] = {}
        self._counted: float | None = None
        self._rested = 0.0
        self._begun = monotonic()

    def check(self) -> None:
        """Raise Failed if the message has taken too long."""
        if self._counted is not None:
            if thread_time() - self._counted > self._half:
                raise _too_large(f"decoding and mapping take longer than limits.seconds, {self._limits.seconds:g} s")
        elif monotonic() - self._begun > self._half:
            self._counted = thread_time()

    def rest(self) -> None:
        """Stop the clocks until `resume`: the time in between is not the message's."""
        self._rested = monotonic() if self._counted is None else thread_time()

    def resume(self) -> None:
        if self._counted is None:
            self._begun += monotonic() - self._rested
        else:
            self._counted += thread_time() - self._rested

    def __enter__(self) -> Self:
        self.resume()
        return self

    def __exit__(self, *_: object) -> None:
        self.rest()

    def count(self, statement: int, rows: int) -> None:
        """Count more rows of a statement, by its index."""
        total = self._rows[statement] = self._rows.get(statement, 0) + rows
        if total > self._limits.records:
            raise _too_large(f"{total} rows for one statement, and limits.records is {self._limits.records}")

    def grow(self, values: Iterable[Any]) -> None:
        """Count the size of values made from the message."""
        for value in values:
            if type(value) is str or type(value) is bytes:
                self._room -= len(value)
        if self._room < 0:
            most = self._limits.body_bytes
            raise _too_large(f"its values take more than {MOST_GROWTH} times limits.body_bytes, which is {most}")
        self.check()


def _too_large(text: str) -> Failed:
    return reject("too-large", text)
