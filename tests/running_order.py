"""The order of tests that several workers run, so that they end together."""

from collections.abc import Callable, Sequence
from typing import TypeVar

Test = TypeVar("Test")


def running_order(tests: Sequence[Test], rank: Callable[[Test], int], workers: int) -> list[Test]:
    """Return the tests in an order that `--dist worksteal` cuts into an equal run for each worker: it begins with a
    share of the lowest rank and ends with one of the highest.

    Neighbours of one rank stay together, for the sake of what they share. At the end of its run a worker takes half of
    what another has left, from the end of that: while these are quick tests, nobody waits long.
    """
    ordered: list[Test] = []
    left = {each: [test for test in tests if rank(test) == each] for each in sorted({rank(test) for test in tests})}
    for worker in range(workers):
        room = len(tests) * (worker + 1) // workers - len(ordered)
        for each, waiting in left.items():
            share = room if each == max(left) else min(room, round(len(waiting) / (workers - worker)))
            ordered += waiting[:share]
            del waiting[:share]
            room -= share
    return ordered
