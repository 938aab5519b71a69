"""Waiting for a condition instead of for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def eventually(predicate: Callable[[], Value], timeout: float = 10.0, every: float = 0.02, what: str = "") -> Value:
    """Return the first truthy value of `predicate`; fail with its last value when `timeout` seconds have passed.

    An AssertionError inside `predicate` counts as "not yet" and is what is raised at the end.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            value = predicate()
            failure = None
        except AssertionError as error:
            failure = error
        else:
            if value:
                return value
        if time.monotonic() >= deadline:
            if failure:
                raise failure
            raise AssertionError(f"{what or 'the condition'} did not hold within {timeout:g} s; last value: {value!r}")
        time.sleep(every)
