"""Python looks for garbage seldom, and nothing is kept because of that."""

import gc
import weakref

import pytest

from connectorlib.service.garbage import YOUNG, exempt_present


class Knot:
    """Refers to itself."""

    def __init__(self):
        self.itself = self


@pytest.fixture(autouse=True)
def _usual():
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)  # as if nothing had been exempted yet
    yield
    gc.set_threshold(*before)
    gc.unfreeze()
    gc.collect()


def test_what_there_is_at_the_start_is_not_searched_again():
    exempt_present()
    assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold()[0] == YOUNG


def test_what_a_reload_leaves_behind_is_freed():
    gc.disable()
    left = weakref.ref(Knot())
    gc.enable()
    exempt_present()
    gc.collect()
    assert left() is not None
    exempt_present()
    assert left() is None
