"""How many records go into one call: what the org's governor limits and the time of its answers make of it."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from sfconnector.batch_send import CallSizes
from sfconnector.record_outcome import CALM_CALLS, CallSize

CROWDED = "crowded"
#: What one call after the other brings (its records, and the seconds until its answer), and the sizes after each.
CONVERSATIONS: dict[str, tuple[list[tuple[int, float | str]], list[int]]] = {
    "A fast org gets 200": ([(200, 0.3), (200, 1.9)], [200, 200]),
    "Above 5 s a call is halved, below 2 s doubled, and in between left": (
        [(200, 5.1), (100, 2.0), (100, 5.0), (100, 9.0), (50, 1.9), (100, 1.9), (200, 1.9)],
        [100, 100, 100, 50, 100, 200, 200],
    ),
    "What is still slow with few records is so for another reason": (
        [(200, 9.0), (100, 9.0), (50, 9.0), (25, 9.0), (25, 120.0), (25, 1.0)],
        [100, 50, 25, 25, 25, 50],
    ),
    "A small call that is slow says nothing of large ones": ([(25, 9.0), (3, 9.0)], [200, 200]),
    "A small call that is fast says nothing of large ones": (
        [(200, 9.0), (3, 0.1), (99, 0.1), (100, 0.1)],
        [100, 100, 100, 200],
    ),
    "Calls that were under way at the same time are halved once": ([(200, 6.0)] * 8, [100] * 8),
    "At a governor limit it is halved, to one in the end": (
        [(n, CROWDED) for n in (200, 100, 50, 25, 12, 6, 3, 1)],
        [100, 50, 25, 12, 6, 3, 1, 1],
    ),
    "After a governor limit it is doubled after ten calls": (
        [(200, CROWDED), *[(100, 0.1)] * CALM_CALLS, (200, CROWDED), (100, 0.1)],
        [100, *[100] * (CALM_CALLS - 1), 200, 100, 100],
    ),
    "After both it is as careful as after the governor limit": (
        [(200, CROWDED), (100, 6.0), *[(50, 0.1)] * CALM_CALLS, (100, 0.1)],
        [100, 50, *[50] * (CALM_CALLS - 1), 100, 100],
    ),
    "A slow answer does not make it larger than the governor limit did": ([(200, CROWDED), (200, 6.0)], [100, 100]),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_the_size_of_a_call(name: str) -> None:
    calls, sizes = CONVERSATIONS[name]
    size, found = CallSize(), []
    for sent, came in calls:
        seconds = came if isinstance(came, float) else 0.1
        size = size.after(sent, seconds, crowded=came == CROWDED)
        found.append(size.records)
    assert found == sizes


def test_the_lanes_of_a_division_have_one_size(caplog: pytest.LogCaptureFixture) -> None:
    sizes = CallSizes("case of hvac")
    with ThreadPoolExecutor(8) as lanes:
        list(lanes.map(lambda _: sizes.note(200, 6.0), range(80)))
    assert sizes.size.records == 100
    (told,) = caplog.records
    assert vars(told)["event"] == "batch size reduced"
