"""Which statements are asked for further results, and that an error in one of those is seen."""

import pytest

from dbconnector.dialects import GENERIC, sqlserver
from dbconnector.odbc.cursors import Cursors, drain, is_single


class Results:
    """Stands for a cursor of a driver that is not installed here: a row count first, an error behind it."""

    description = None

    def __init__(self, *results: Exception | None) -> None:
        self._results = list(results)

    def nextset(self) -> bool:
        if not self._results:
            return False
        result = self._results.pop(0)
        if result is not None:
            raise result
        return True


def look(_cursor: Results) -> None:
    """There are no messages beside these results."""


def test_an_error_behind_a_row_count_is_not_a_success():
    with pytest.raises(ValueError, match="the second statement"):
        drain(Results(None, ValueError("the second statement")), look, single=False)


def test_every_result_behind_a_row_count_is_looked_at():
    looked: list[Results] = []
    drain(Results(None, None), looked.append, single=False)
    assert len(looked) == 3  # and at the end


def test_the_message_of_a_result_explains_the_error_that_followed_from_it():
    def tell(_cursor: Results) -> None:
        raise LookupError("data truncated")

    with pytest.raises(LookupError):
        drain(Results(ValueError("nothing to describe")), tell, single=False)


def test_a_statement_with_one_result_is_not_asked_for_another():
    looked: list[Results] = []
    drain(Results(ValueError("2 µs for nothing")), looked.append, single=True)
    assert looked == []


@pytest.mark.parametrize(
    ("sql", "single"),
    [
        ("INSERT INTO t VALUES (?)", True),
        ("\n  update t set a = ?", True),
        ("DELETE FROM t", True),
        ("MERGE INTO t USING s ON a = b WHEN MATCHED THEN DELETE", True),
        ("CALL p(?)", False),
        ("{CALL p(?)}", False),
        ("EXEC p ?", False),
        ("INSERT INTO t VALUES (?); EXEC p ?", False),
        ("DECLARE @a int", False),
        ("WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", False),
        ("INSERTED", False),
    ],
)
def test_only_what_is_surely_one_statement_counts_as_one(sql, single):
    assert is_single(sql) is single


def test_where_triggers_may_add_results_every_statement_is_asked():
    assert not any(dialect.one_result for dialect in (sqlserver.DIALECT, GENERIC))


class Complaining:
    """Stands for a cursor or connection of psqlodbc 17 whose session is dead: closed all the same, it complains."""

    def __init__(self) -> None:
        self.cursors: list[Complaining] = []
        self.closed = False

    def cursor(self) -> "Complaining":
        self.cursors.append(Complaining())
        return self.cursors[-1]

    def close(self) -> None:
        self.closed = True
        raise ValueError("The driver did not supply an error!")


def test_a_cursor_that_complains_keeps_no_other_and_no_connection_open():
    connection = Complaining()
    cursors = Cursors(connection)
    for sql in ("INSERT INTO a VALUES (?)", "INSERT INTO b VALUES (?)"):
        cursors.prepared(sql)
    cursors.open("SELECT 1")
    cursors.close().join(10)
    assert [each.closed for each in (*connection.cursors, connection)] == [True] * 4
