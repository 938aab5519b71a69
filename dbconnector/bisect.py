"""How many rows go into one statement, and how many messages into one attempt. Pure.

Few different sizes are used, so that few statements have to be prepared.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar

from connectorlib.errors import Failed

T = TypeVar("T")
R = TypeVar("R")

#: Rows in one multi-row statement. More brought nothing on PostgreSQL and MariaDB (docs/benchmarks.md).
LARGEST = 500
#: How many hints in a row may be wrong before no more are followed.
WRONG_HINTS = 3


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


def runs(items: Sequence[T], keys: Iterable[Hashable]) -> Iterator[Sequence[T]]:
    """Yield the items in their order, in runs of which none has a key twice, given the key of each."""
    start, seen = 0, set[Hashable]()
    for at, key in enumerate(keys):
        if key in seen:
            yield items[start:at]
            start, seen = at, set()
        seen.add(key)
    yield items[start:]


def _no_hint(_items: Sequence[Any], _failed: Failed) -> Sequence[int]:
    return ()


class Bisection:
    """Isolates the bad items among items that can be tried together, in few attempts: binary splitting, generalized
    for several bad ones (Hwang, "A method for detecting all defective members in a population by group testing",
    Journal of the American Statistical Association 67, 1972).

    How many are tried at once is learned: twice as many after a piece that passed, half after one that did not. An
    instance lives as long as its sink, whose next batch is like the last.

    A hint names the items that are probably bad. They are tried alone, and what is between them together; so a wrong
    hint costs attempts, and after a few of them no hint is followed.
    """

    def __init__(self) -> None:
        self.size = 1 << 20  # more than any batch has

    def isolate(
        self,
        items: Sequence[T],
        attempt: Callable[[Sequence[T]], R | Failed],
        *,
        failed: Failed | None = None,
        hint: Callable[[Sequence[T], Failed], Sequence[int]] = _no_hint,
    ) -> Iterator[tuple[Sequence[T], R | Failed]]:
        """Yield the items in order, as pieces that passed and single items that did not, each with its result.

        `attempt` returns Failed if at least one item of a piece is bad; what it raises ends the iteration. `failed`:
        why all items together have just failed. `hint` returns the positions in such a piece of the items that its
        failure points to, in ascending order.
        """
        start = wrong = 0
        suspected = 0  # the end of a piece that is known to hold a bad item
        ends = deque[int]()  # where pieces end before and after the items that hints name
        named = set[int]()
        result: R | Failed | None = failed
        piece = items
        while start < len(items):
            if isinstance(result, Failed) and len(piece) > 1:
                found = [start + at for at in hint(piece, result)] if wrong < WRONG_HINTS else []
                if found:
                    named.update(found)
                    ends.extendleft(sorted({end for at in found for end in (at, at + 1)}, reverse=True))
                    suspected = start  # the items that are named may be all that are bad
                else:
                    if suspected <= start and not ends:
                        self.size = half(len(piece))
                    suspected = start + len(piece)
            while ends and ends[0] <= start:
                ends.popleft()
            fresh = suspected <= start
            end = start + (self.size if fresh else half(suspected - start))
            piece = items[start : min(end, ends[0]) if ends else end]
            result = attempt(piece)
            rejected = isinstance(result, Failed)
            if rejected and len(piece) > 1:
                continue
            if fresh and not ends:
                self._learn(len(piece), rejected)
            if len(piece) == 1 and start in named:
                wrong = 0 if rejected else wrong + 1
            yield piece, result
            start += len(piece)
            if rejected:
                suspected = start  # nothing is known of the items after this one

    def _learn(self, tried: int, rejected: bool) -> None:
        if rejected:
            self.size = half(tried)
        elif tried == self.size:
            self.size *= 2
