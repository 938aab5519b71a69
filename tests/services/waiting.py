"""Waiting for a condition instead of for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def eventually(predicate: Callable[[], Value], timeout: float = 30.0, every: float = 0.05, what: str = "") -> Value:
    """Return the first truthy value of `predicate`; fail with its last value when `timeout` seconds have passed.

    The limit is for what never comes. It is longer than any wait of the product after which something comes by itself.
    `every` is the longest pause between two looks; they are shorter at first, so that a short wait stays short.

    An AssertionError inside `predicate` counts as "not yet" and is what is raised at the end.
    """
    begun = time.monotonic()
    while True:
        try:
            value = predicate()
            failure = None
        except AssertionError as error:
            failure = error
        else:
            if value:
                return value
        waited = time.monotonic() - begun
        if waited >= timeout:
            if failure:
                raise failure
            raise AssertionError(f"{what or 'the condition'} did not hold within {timeout:g} s; last value: {value!r}")
        time.sleep(min(every, 0.005 + waited / 20))
