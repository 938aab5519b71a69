"""Several workers run the slow tests first, and all tests once."""

import pytest

from tests.running_order import running_order

#: A letter for what a test takes: s is slow, q is quick.
TESTS = [f"{letter}{number}" for number, letter in enumerate("qqsqqqsqqssqqqqqsq")]


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 25])
def test_every_worker_begins_with_its_share_of_the_slow_ones(workers: int) -> None:
    found = running_order(TESTS, lambda test: "sq".index(test[0]), workers)
    assert sorted(found) == sorted(TESTS)
    runs = "".join(test[0] for test in found)
    for worker in range(workers):
        run = runs[len(runs) * worker // workers : len(runs) * (worker + 1) // workers]
        assert "qs" not in run.strip("q")


def test_neighbours_stay_together() -> None:
    assert running_order("abcABC", str.isupper, 1) == list("abcABC")
    assert running_order("aAbBcCdD", str.isupper, 2) == list("abABcdCD")
