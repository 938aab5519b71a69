"""What on_sent needs of the rows that are confirmed while their query is still open, in bounded memory."""

import os
import pickle
from collections.abc import Iterator, Sequence
from typing import Any

from dbconnector.temporary_file import temporary_file, using_file

PLACE = "on_sent"
#: Rows that are written, and read again, at a time.
ROWS = 1000

Values = Sequence[Any]


class MarkSpool:
    """The values of rows, in their order, which can be read any number of times; `close` deletes them. Raise Failed if
    the temporary file cannot be written."""

    def __init__(self) -> None:
        self._file = temporary_file()
        self._waiting: list[Values] = []

    def add(self, rows: Sequence[Values]) -> None:
        self._waiting.extend(rows)
        if len(self._waiting) >= ROWS:
            with using_file(PLACE):
                self._file.seek(0, os.SEEK_END)
                pickle.dump(self._waiting, self._file)
            self._waiting = []

    def __iter__(self) -> Iterator[Sequence[Values]]:
        """Yield all rows, some at a time."""
        with using_file(PLACE):
            end = self._file.seek(0, os.SEEK_END)
            self._file.seek(0)
            while self._file.tell() < end:
                yield pickle.load(self._file)  # noqa: S301 - written above
        if self._waiting:
            yield self._waiting

    def close(self) -> None:
        self._file.close()
