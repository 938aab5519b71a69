"""What fuzzing has found interesting stays fixed, and the fuzzer itself finds what it should."""

from random import Random

import pytest

from tests.fuzz.running import Fuzzer, TooLong, kept, limited
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_every_input_that_was_kept_still_holds(target):
    fuzzer = Fuzzer(target, Random(1))
    assert [f"{finding.why}: {finding.data!r}" for finding in fuzzer.findings.values()] == []
    assert fuzzer.tried == len(target.seeds) + len(kept(target.name))


def breaks_on_three(data):
    """Each letter of the word is one kind of answer nearer."""
    progress = next((at for at in (3, 2, 1) if b"abc"[:at] in data), 0)
    assert progress < 3
    return str(progress)


def test_it_finds_its_way_to_a_mistake_by_new_kinds_of_answers():
    fuzzer = Fuzzer(Target("none", breaks_on_three, [b"x"], [b"a", b"b", b"c"]), Random(1))
    for _ in range(20_000):
        fuzzer.step()
        if fuzzer.findings:
            break
    (finding,) = fuzzer.findings.values()
    assert b"abc" in finding.data


def test_an_input_that_takes_too_long_is_ended():
    def forever():
        while True:
            pass

    with pytest.raises(TooLong), limited(0.05):
        forever()
