"""From the sizes of bodies to the prefetch."""

import random

import pytest

from connectorlib.pipeline.body_sizes import CALM, FIRST, BodySizes

MB = 1_000_000


def begun(most: int = 1_000, room: int = 64 * MB, largest: int | None = MB) -> BodySizes:
    return BodySizes.unknown(most, room, largest)


@pytest.mark.parametrize(
    ("most", "room", "largest", "first"),
    [
        (1_000, 64 * MB, MB, 64),
        (1_000, 64 * MB, 50_000, 1_000),
        (1_000, 64 * MB, None, 32),
        (20, 64 * MB, MB, 20),
        (1_000, 64 * MB, 4 * MB, 16),
        (1_000, 64 * MB, 40 * MB, 1),
        (1_000, 64 * MB, 100 * MB, 1),
        (1, 1, 1, 1),
    ],
)
def test_it_begins_with_as_many_as_surely_fit(most: int, room: int, largest: int | None, first: int) -> None:
    assert begun(most, room, largest).prefetch == first


@pytest.mark.parametrize(
    ("largest", "each", "prefetches"),
    [
        # Messages and bytes of each batch, and what follows.
        (MB, [(64, 200)], [1_000]),
        (MB, [(32, 200), (32, 200)], [64, 1_000]),
        (40 * MB, [(1, 200), (31, 200)], [32, 1_000]),
        (MB, [(64, 60_000)], [512]),
        (MB, [(64, 100_000)], [256]),
        (MB, [(64, MB)], [64]),
        (40 * MB, [(1, 30 * MB), (1, 30 * MB)], [1, 1]),
        (40 * MB, [(1, 10 * MB), (1, 10 * MB)], [4, 4]),
        (MB, [(64, 200), (1_000, 200), (1_000, MB), (1_000, MB)], [1_000, 1_000, 125, 62]),
        (MB, [(64, MB), (1_000, 200), (9_000, 200)], [64, 512, 1_000]),
    ],
)
def test_the_prefetch_follows_the_mean_size(largest: int, each: list[tuple[int, int]], prefetches: list[int]) -> None:
    sizes, found = begun(largest=largest), []
    for number, size in each:
        sizes = sizes.after(number, number * size)
        found.append(sizes.prefetch)
    assert found == prefetches


def test_whatever_comes_the_prefetch_at_its_mean_fits_or_is_one() -> None:
    chance = random.Random(5)
    for _ in range(300):
        most, room = chance.choice([1, 7, 400, 1_000, 65_535]), chance.choice([1, 10_000, 64 * MB])
        sizes = begun(most, room, chance.choice([None, 100, MB]))
        for _ in range(50):
            before = sizes.prefetch
            number, size = chance.randrange(1, 600), int(10 ** chance.uniform(0, 8))
            if chance.random() < 0.1:
                sizes = sizes.after_overflow(chance.randrange(600), [size] * number)
            else:
                sizes = sizes.after(number, number * size)
            assert 1 <= sizes.prefetch <= most
            assert sizes.prefetch == 1 or sizes.prefetch * sizes.mean <= room
            assert sizes.prefetch <= max(before, FIRST * sizes.seen)


def test_what_did_not_fit_makes_it_small_at_once_and_it_grows_slowly() -> None:
    sizes = begun().after(64, 64 * 200)
    assert sizes.prefetch == 1_000
    sizes = sizes.after_overflow(2, [30 * MB] * 998)
    assert sizes.prefetch == 2
    sizes = sizes.after(1, 200)
    assert sizes.prefetch == 2
    sizes = sizes.after(10_000, 10_000 * 200)
    assert sizes.prefetch >= 2
    sizes = sizes.after(CALM * 2, CALM * 2 * 200)
    assert sizes.prefetch > 2


@pytest.mark.parametrize(("mean", "several"), [(0, 11), (90, 11), (300, 3), (600, 2), (5000, 2)])
def test_several_are_as_many_as_fit_and_two_of_each_queue_at_least(mean: int, several: int) -> None:
    assert BodySizes.unknown(1, 1_000, None).after(1, mean).several(11) == several
    assert BodySizes.unknown(8, 8_000, None).after(1, mean).several(11, 8) == 8 * several
