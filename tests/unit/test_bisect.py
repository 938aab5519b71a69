"""The bisection: every bad item is found alone, nothing else is, and few tries are needed for it."""

from collections.abc import Callable, Collection, Sequence
from math import log2
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectorlib.errors import Failed, reject
from dbconnector.bisect import WRONG_HINTS, Bisection, chunk_sizes, chunks, half

REJECTED = reject("bad", "one of them")


class Rejecting:
    """Stands for a database: says no to pieces with a bad item, and counts how often it was asked."""

    def __init__(self, bad: Collection[int]) -> None:
        self.bad = bad
        self.tries: list[int] = []

    def __call__(self, piece: Sequence[int]) -> str | Failed:
        self.tries.append(len(piece))
        return reject("bad", "one of them") if any(item in self.bad for item in piece) else "fine"


@pytest.mark.parametrize(
    ("largest", "sizes"),
    [(500, [500, 256, 128, 64, 32, 16, 8, 4, 2, 1]), (249, [249, 128, 64, 32, 16, 8, 4, 2, 1]), (1, [1]), (0, [1])],
)
def test_the_sizes_of_chunks(largest: int, sizes: list[int]) -> None:
    assert chunk_sizes(largest) == sizes


@pytest.mark.parametrize(("size", "smaller"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 4), (256, 128), (500, 256)])
def test_half_is_a_power_of_two_that_is_smaller(size: int, smaller: int) -> None:
    assert half(size) == smaller


@given(st.integers(0, 1200), st.integers(1, 600))
def test_chunks_are_all_items_in_their_order_in_few_sizes(count: int, largest: int) -> None:
    found = list(chunks(range(count), largest))
    assert [item for chunk in found for item in chunk] == list(range(count))
    assert {len(chunk) for chunk in found} <= set(chunk_sizes(largest))


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))), st.integers(0, 9))
def test_every_bad_item_is_found_alone_and_the_order_is_kept(world: tuple[int, set[int]], power: int) -> None:
    count, bad = world
    bisection = Bisection()
    bisection.size = 2**power
    found = list(bisection.isolate(range(count), Rejecting(bad)))
    assert [item for piece, _ in found for item in piece] == list(range(count))
    assert {item for piece, said in found if isinstance(said, Failed) for item in piece} == bad
    assert all(len(piece) == 1 for piece, said in found if isinstance(said, Failed))


@given(st.sets(st.integers(0, 99), min_size=1))
def test_what_failed_together_is_not_tried_together_again(bad: set[int]) -> None:
    database = Rejecting(bad)
    found = list(Bisection().isolate(range(100), database, failed=REJECTED))
    assert {item for piece, said in found if isinstance(said, Failed) for item in piece} == bad
    assert max(database.tries) < 100


@given(
    st.integers(1, 120).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_whatever_hints_name_the_bad_items_alone_are_found_in_order(
    world: tuple[int, set[int]], random: Random, together: bool
) -> None:
    count, bad = world

    def hint(piece: Sequence[int], _failed: Failed) -> list[int]:
        return sorted(random.sample(range(len(piece)), random.randint(0, len(piece))))

    database = Rejecting(bad)
    failed = database(range(count)) if together else None
    failed = failed if isinstance(failed, Failed) else None
    found = list(Bisection().isolate(range(count), database, failed=failed, hint=hint))
    assert [item for piece, _ in found for item in piece] == list(range(count))
    assert {item for piece, said in found if isinstance(said, Failed) for item in piece} == bad
    assert len(database.tries) <= 4 * count + 1


@pytest.mark.parametrize(
    ("names", "most"),
    [
        (lambda bad: bad[:1], 15),  # the first bad item of a piece, as a database does: it, what is before, the rest
        (lambda bad: bad, 11),  # all of them at once
    ],
)
def test_hints_save_tries_and_teach_nothing(names: Callable[[list[int]], list[int]], most: int) -> None:
    database, bisection = Rejecting({7, 130, 131, 300, 499}), Bisection()
    size = bisection.size

    def hint(piece: Sequence[int], _failed: Failed) -> list[int]:
        return names([at for at, item in enumerate(piece) if item in database.bad])

    list(bisection.isolate(range(500), database, failed=REJECTED, hint=hint))
    assert len(database.tries) <= most
    assert bisection.size == size


def test_hints_that_are_wrong_cost_a_few_tries_and_are_followed_no_more() -> None:
    plain, misled = Rejecting({400}), Rejecting({400})
    list(Bisection().isolate(range(500), plain, failed=REJECTED))
    list(Bisection().isolate(range(500), misled, failed=REJECTED, hint=lambda _piece, _failed: [0]))
    assert len(misled.tries) <= len(plain.tries) + 3 * WRONG_HINTS


def test_one_bad_item_of_many_costs_one_try_for_each_halving() -> None:
    for bad in range(512):
        database = Rejecting({bad})
        list(Bisection().isolate(range(512), database, failed=REJECTED))
        assert len(database.tries) <= log2(512) + 9  # and the pieces that pass after it, which double


def test_the_next_batch_begins_with_what_the_last_has_taught() -> None:
    bisection, database = Bisection(), Rejecting(range(50, 100_000, 100))
    tries = []
    for start in range(0, 20_000, 500):
        before = len(database.tries)
        list(bisection.isolate(range(start, start + 500), database))
        tries.append(len(database.tries) - before)
    # The bound of information theory is log2(binomial(500, 5)) = 38.
    assert sum(tries[1:]) / len(tries[1:]) <= 50
    assert max(database.tries[tries[0] :]) < 500


def test_the_size_grows_again_until_whole_batches_are_tried_at_once() -> None:
    bisection, fine = Bisection(), Rejecting(())
    list(bisection.isolate(range(500), Rejecting(range(0, 500, 5))))
    while len(list(bisection.isolate(range(500), fine))) > 1:
        assert len(fine.tries) < 200
    assert fine.tries[-1] == 500
