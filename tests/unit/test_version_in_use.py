"""The API version of a division beside those that its org has."""

import pytest

from connectorlib.preflight.findings import Mark
from sfconnector.preflight import version_in_use

EVERY = [f"{number}.0" for number in range(41, 69)]


@pytest.mark.parametrize(
    ("version", "known", "mark"),
    [
        ("68.0", EVERY, Mark.GOOD),
        ("62.0", EVERY, Mark.GOOD),
        ("51.0", EVERY, Mark.GOOD),
        ("50.0", EVERY, Mark.ODD),
        ("46.0", EVERY, Mark.ODD),
        ("62.0", ["62.0"], Mark.GOOD),  # as an imitation answers
    ],
)
def test_what_is_among_the_oldest_ends_next(version: str, known: list[str], mark: Mark) -> None:
    found = version_in_use("API", version, known)
    assert (found.mark, found.do) == (mark, "" if mark is Mark.GOOD else "set api_version to 68.0")
