"""The sizes in which rows and messages are taken together: few, so that few statements have to be prepared."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from connectorlib.errors import Failed

T = TypeVar("T")
R = TypeVar("R")

#: Rows in one multi-row statement. More brought nothing on PostgreSQL and MariaDB (docs/benchmarks.md).
LARGEST = 500


def ladder(largest: int) -> list[int]:
    """Return the sizes from the largest down to 1: 500, 256, 128, 64, … 2, 1."""
    sizes = [max(1, largest)]
    while sizes[-1] > 1:
        sizes.append(half(sizes[-1]))
    return sizes


def half(size: int) -> int:
    """Return the largest power of two below the size; 1 for 1."""
    return 1 << max(0, (size - 1).bit_length() - 1)


def portions(items: Sequence[T], largest: int) -> Iterator[Sequence[T]]:
    """Cut items into the sizes of the ladder: as many of the largest as there are, then of the next."""
    start = 0
    for size in ladder(largest):
        while len(items) - start >= size:
            yield items[start : start + size]
            start += size


class Sieve:
    """Finds the bad ones among items that can be tried together, with few tries: binary splitting, generalized for
    several bad ones (Hwang, "A method for detecting all defective members in a population by group testing", Journal
    of the American Statistical Association 67, 1972).

    How many are tried at once is learned: twice as many after a piece that passed, half of one that did not. It lives
    as long as the flow, whose next batch is like the last.
    """

    def __init__(self) -> None:
        self.size = 1 << 20  # more than any batch has

    def sift(
        self, items: Sequence[T], attempt: Callable[[Sequence[T]], R | Failed], *, failed: bool = False
    ) -> Iterator[tuple[Sequence[T], R | Failed]]:
        """Give the items in their order, in pieces that passed and single ones that did not, with what was said.

        `attempt` returns Failed if at least one of a piece is bad; what it raises ends the sifting. `failed`: they
        failed together just now.
        """
        start = 0
        suspected = len(items) if failed else 0  # where a piece ends of which it is known that one is bad
        if failed:
            self.size = half(len(items))
        while start < len(items):
            fresh = suspected <= start
            end = start + (self.size if fresh else half(suspected - start))
            piece = items[start:end]
            said = attempt(piece)
            if fresh:
                self._learn(len(piece), said)
            if isinstance(said, Failed) and len(piece) > 1:
                suspected = start + len(piece)
                continue
            yield piece, said
            start += len(piece)
            if isinstance(said, Failed):
                suspected = start  # it was this one; of those after it nothing is known

    def _learn(self, tried: int, said: object) -> None:
        if isinstance(said, Failed):
            self.size = half(tried)
        elif tried == self.size:
            self.size *= 2
