"""How many rows go into one statement, and how many messages into one attempt. Pure.

Few different sizes are used, so that few statements have to be prepared.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar

from connectorlib.errors import Failed

T = TypeVar("T")
R = TypeVar("R")

#: Rows in one multi-row statement. More brought nothing on PostgreSQL and MariaDB (docs/benchmarks.md).
LARGEST = 500


def chunk_sizes(largest: int) -> list[int]:
    """Return the sizes from the largest down to 1: 500, 256, 128, 64, … 2, 1."""
    sizes = [max(1, largest)]
    while sizes[-1] > 1:
        sizes.append(half(sizes[-1]))
    return sizes


def half(size: int) -> int:
    """Return the largest power of two below the size; 1 for 1."""
    return 1 << max(0, (size - 1).bit_length() - 1)


def chunks(items: Sequence[T], largest: int) -> Iterator[Sequence[T]]:
    """Yield the items in chunks of few sizes: as many of the largest as there are, then of the next."""
    start = 0
    for size in chunk_sizes(largest):
        while len(items) - start >= size:
            yield items[start : start + size]
            start += size


def statements(
    rows: Sequence[Sequence[Any]], largest: int, sql: Callable[[int], str]
) -> Iterator[tuple[str, list[Any]]]:
    """Yield the statements that together take all rows, each with its parameters; `sql` returns the one for so many
    rows."""
    for chunk in chunks(rows, largest):
        yield sql(len(chunk)), list(chain.from_iterable(chunk))


class Bisection:
    """Isolates the bad items among items that can be tried together, in few attempts: binary splitting, generalized
    for several bad ones (Hwang, "A method for detecting all defective members in a population by group testing",
    Journal of the American Statistical Association 67, 1972).

    How many are tried at once is learned: twice as many after a piece that passed, half after one that did not. An
    instance lives as long as its sink, whose next batch is like the last.
    """

    def __init__(self) -> None:
        self.size = 1 << 20  # more than any batch has

    def isolate(
        self, items: Sequence[T], attempt: Callable[[Sequence[T]], R | Failed], *, failed: bool = False
    ) -> Iterator[tuple[Sequence[T], R | Failed]]:
        """Yield the items in order, as pieces that passed and single items that did not, each with its result.

        `attempt` returns Failed if at least one item of a piece is bad; what it raises ends the iteration. `failed`:
        all items together have just failed.
        """
        start = 0
        suspected = len(items) if failed else 0  # the end of a piece that is known to hold a bad item
        if failed:
            self.size = half(len(items))
        while start < len(items):
            fresh = suspected <= start
            piece = items[start : start + (self.size if fresh else half(suspected - start))]
            result = attempt(piece)
            rejected = isinstance(result, Failed)
            if fresh:
                self._learn(len(piece), rejected)
            if rejected and len(piece) > 1:
                suspected = start + len(piece)
                continue
            yield piece, result
            start += len(piece)
            if rejected:
                suspected = start  # nothing is known of the items after this one

    def _learn(self, tried: int, rejected: bool) -> None:
        if rejected:
            self.size = half(tried)
        elif tried == self.size:
            self.size *= 2
