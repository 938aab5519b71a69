"""The sizes in which rows and messages are taken together: few, so that few statements have to be prepared."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")

#: Rows in one multi-row statement. More brought nothing on PostgreSQL and MariaDB (docs/benchmarks.md).
LARGEST = 500
#: Each size is the one before divided by these. Cutting in four or five finds a bad row with fewer statements than
#: cutting in two, for every cut is paid with a savepoint.
STEPS = (4, 5, 5, 5)


def ladder(largest: int) -> list[int]:
    """Return the sizes from the largest down to 1: 500, 125, 25, 5, 1."""
    sizes = [max(1, largest)]
    for step in STEPS:
        if sizes[-1] > 1:
            sizes.append(max(1, sizes[-1] // step))
    return sizes if sizes[-1] == 1 else [*sizes, 1]


def pieces(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut what failed together into the next smaller size; there are at least two items."""
    size = next(size for size in ladder(LARGEST) if size < len(items))
    for start, end in pairwise([*range(0, len(items), size), len(items)]):
        yield items[start:end]


def portions(items: Sequence[T], largest: int) -> Iterator[Sequence[T]]:
    """Cut items into the sizes of the ladder: as many of the largest as there are, then of the next."""
    start = 0
    for size in ladder(largest):
        while len(items) - start >= size:
            yield items[start : start + size]
            start += size
