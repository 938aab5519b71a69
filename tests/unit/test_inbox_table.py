"""What the inbox makes of the row count of its insert, which not every driver tells."""

from collections.abc import Sequence
from typing import Any

import pytest

from connectorlib.errors import Failed, Kind
from connectorlib.expressions import Scope
from dbconnector.dialects import GENERIC, Dialect, mariadb, oracle, postgresql, sqlite, sqlserver
from dbconnector.inbox_table import Inbox
from dbconnector.settings import Idempotency


class Counts:
    """A database that takes every statement and answers with the row counts it was given."""

    def __init__(self, dialect: Dialect, *counts: int) -> None:
        self.dialect = dialect
        self._counts = list(counts)

    def execute(self, sql: str, parameters: Sequence[Any] = (), *, place: str = "") -> int:
        return self._counts.pop(0)


def new(dialect: Dialect, keys: int, *counts: int) -> int:
    inbox = Inbox(Idempotency("inbox", "id"), "consumer")
    database: Any = Counts(dialect, *counts)
    made: list[Any] = [inbox.key({"id": number}, Scope(None)) for number in range(keys)]
    return inbox.insert(database, made)


@pytest.mark.parametrize("dialect", [postgresql.DIALECT, mariadb.DIALECT, sqlite.DIALECT], ids=lambda d: d.name)
def test_an_insert_that_skips_says_how_many_keys_are_new(dialect):
    assert new(dialect, 1, 0) == 0
    assert new(dialect, 1, 1) == 1


@pytest.mark.parametrize("dialect", [sqlserver.DIALECT, oracle.DIALECT, GENERIC], ids=lambda d: d.name)
@pytest.mark.parametrize("count", [-1, 0, 1])
def test_a_plain_insert_that_succeeds_has_inserted_all_whatever_the_driver_counts(dialect, count):
    assert new(dialect, 1, count) == 1
    assert new(dialect, 3, *[count] * 3) == 3


def test_an_insert_that_skips_and_is_not_counted_is_no_guess():
    with pytest.raises(Failed) as raised:
        new(postgresql.DIALECT, 1, -1)
    failure = raised.value.failure
    assert (failure.kind, failure.code, failure.place) == (Kind.CONFIGURATION, "no-count", "inbox")
