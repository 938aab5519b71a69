"""Which bodies are read: those that fit, or one alone; never those over the limit."""

from collections.abc import Sequence

import pytest

from connectorlib.amqp.receive_window import ReceiveWindow

MB = 1024 * 1024


@pytest.mark.parametrize(
    ("room", "refused_above", "sizes", "read"),
    [
        (10, None, [4, 4, 4], [True, True, False]),
        (10, None, [4, 6, 1], [True, True, False]),
        (10, None, [40, 1], [True, False]),  # one alone, however large
        (10, None, [4, 40, 6], [True, False, True]),
        (10, 5, [6, 4, 6, 6, 5], [False, True, False, False, True]),
        (10, 50, [40, 1], [True, False]),
        (10, 0, [1], [False]),
    ],
)
def test_a_body_is_read_if_it_fits(room: int, refused_above: int | None, sizes: Sequence[int], read: Sequence[bool]):
    window = ReceiveWindow(room * MB, None if refused_above is None else refused_above * MB)
    assert [window.admit(tag, size * MB) for tag, size in enumerate(sizes, 1)] == read


def test_more_than_one_is_read_however_large_if_so_many_are_asked_for():
    window = ReceiveWindow(10 * MB, 50 * MB)
    window.fewest = 2
    assert [window.admit(tag, size * MB) for tag, size in enumerate([40, 60, 40, 1], 1)] == [True, False, True, False]
    window.settle([1])
    assert window.admit(5, 40 * MB)


def test_what_is_settled_makes_room_once():
    window = ReceiveWindow(10 * MB)
    assert window.admit(1, 6 * MB)
    assert window.admit(2, 4 * MB)
    window.settle([3, 1])
    window.settle([1])
    assert not window.admit(4, 7 * MB)
    assert window.admit(5, 6 * MB)
    window.settle([2, 5])
    assert window.admit(6, 100 * MB)
