"""What decoding and mapping one message may take: time, rows, and the size of what comes out of it.

A body is small, and what a mapping makes of it need not be: a filter runs over half a million elements, a template
repeats one long text for each of ten thousand. Imports only errors and settings.
"""

from collections.abc import Iterable
from time import monotonic, thread_time
from typing import Any, Self

from connectorlib.errors import Failed, reject
from connectorlib.shared_settings import Limits

#: All values of one message together may be that many times as large as a body may be.
MOST_GROWTH = 64


class Effort:
    """One message's. Every method raises Failed (reject), `too-large`, once the message has taken too much.

    What counts is the processor time of this thread, so that no message dies because the machine is busy or was
    suspended. Its clock is slow to read, so the first half of the time is told by the clock on the wall.
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
        """Refuse a message that has taken too long."""
        if self._counted is not None:
            if thread_time() - self._counted > self._half:
                raise _too_large(f"decoding and mapping take longer than limits.seconds, {self._limits.seconds:g} s")
        elif monotonic() - self._begun > self._half:
            self._counted = thread_time()

    def rest(self) -> None:
        """Stop the clocks until `resume`: what follows is not the message's doing."""
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
        """Take note of so many rows more for a statement, given its index."""
        total = self._rows[statement] = self._rows.get(statement, 0) + rows
        if total > self._limits.records:
            raise _too_large(f"{total} rows for one statement, and limits.records is {self._limits.records}")

    def grow(self, values: Iterable[Any]) -> None:
        """Take note of values that were made of the message."""
        for value in values:
            if type(value) is str or type(value) is bytes:
                self._room -= len(value)
        if self._room < 0:
            most = self._limits.body_bytes
            raise _too_large(f"its values take more than {MOST_GROWTH} times limits.body_bytes, which is {most}")
        self.check()


def _too_large(text: str) -> Failed:
    return reject("too-large", text)
