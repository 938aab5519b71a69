"""How many rows a page has that is to be marked."""

import pytest

from dbconnector.row_source import PAGE_BYTES, next_page, size_of
from dbconnector.wall_clock import ClockText

SMALL = (1, "pump-7", None)
LARGE = (1, b"x" * PAGE_BYTES, None)
MIDDLE = (1, "x" * (PAGE_BYTES // 3), None)


@pytest.mark.parametrize(
    ("size", "rows", "most", "following"),
    [
        (100, [SMALL] * 100, 400, 200),
        (200, [SMALL] * 200, 400, 400),
        (400, [SMALL] * 400, 400, 400),
        (100, [SMALL] * 100, None, 100),
        (200, [MIDDLE, MIDDLE, SMALL], 400, 200),
        (400, [LARGE, SMALL], 400, 200),
        (100, [LARGE, SMALL], 400, 100),
    ],
)
def test_pages_grow_while_their_rows_are_small_together(size, rows, most, following):
    assert next_page(size, size_of(rows), least=100, most=most) == following


def test_the_size_of_rows_is_that_of_their_texts():
    rows = [(1, "abc", None, b"de", ClockText("fg")), (2, None, "h", "i", "j")]
    assert size_of(rows) == 3 + 2 + 2 + 3
    assert size_of([]) == 0
