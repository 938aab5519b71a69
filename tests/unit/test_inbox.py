"""What the inbox makes of the row count of its insert, which not every driver tells."""

from collections.abc import Sequence
from typing import Any

import pytest

from connectorlib.errors import Failed, Kind
from connectorlib.expressions import Scope
from dbconnector import drivers
from dbconnector.drivers import Driver
from dbconnector.inbox_table import Inbox
from dbconnector.settings import Idempotency


class Counts:
    """A database that takes every statement and answers with the row counts it was given."""

    def __init__(self, driver: Driver, *counts: int) -> None:
        self.driver = driver
        self._counts = list(counts)

    def execute(self, sql: str, parameters: Sequence[Any] = (), *, place: str = "") -> int:
        return self._counts.pop(0)


def new(driver: Driver, keys: int, *counts: int) -> int:
    inbox = Inbox(Idempotency("inbox", "id"), "consumer")
    database: Any = Counts(driver, *counts)
    made: list[Any] = [inbox.key({"id": number}, Scope(None)) for number in range(keys)]
    return inbox.insert(database, made)


@pytest.mark.parametrize("driver", [drivers.POSTGRESQL, drivers.MARIADB, drivers.SQLITE], ids=lambda d: d.kind)
def test_an_insert_that_skips_says_how_many_keys_are_new(driver):
    assert new(driver, 1, 0) == 0
    assert new(driver, 1, 1) == 1


@pytest.mark.parametrize("driver", [drivers.SQLSERVER, drivers.ORACLE, drivers.GENERIC], ids=lambda d: d.kind)
@pytest.mark.parametrize("count", [-1, 0, 1])
def test_a_plain_insert_that_succeeds_has_inserted_all_whatever_the_driver_counts(driver, count):
    assert new(driver, 1, count) == 1
    assert new(driver, 3, *[count] * 3) == 3


def test_an_insert_that_skips_and_is_not_counted_is_no_guess():
    with pytest.raises(Failed) as raised:
        new(drivers.POSTGRESQL, 1, -1)
    failure = raised.value.failure
    assert (failure.kind, failure.code, failure.place) == (Kind.CONFIGURATION, "no-count", "inbox")
