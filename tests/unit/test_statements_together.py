"""Which statements may be run for many keys at once (`on_sent` of a page), and what they become."""

import pytest

from dbconnector.sql import compile_statement


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("UPDATE o SET s = 1 WHERE id = :id", "UPDATE o SET s = 1 WHERE id IN (?,?)"),
        (
            "update o set s = now() where s is null and id = :id",
            "update o set s = now() where s is null and id IN (?,?)",
        ),
        ("UPDATE o SET n = n + 1 WHERE id = :id;", "UPDATE o SET n = n + 1 WHERE id IN (?,?);"),
        ('DELETE FROM o WHERE "id" = :id', 'DELETE FROM o WHERE "id" IN (?,?)'),
        (
            "DELETE FROM o WHERE site = :site AND id = :id",
            "DELETE FROM o WHERE ((site = ? AND id = ?) OR (site = ? AND id = ?))",
        ),
    ],
)
def test_a_statement_of_one_key_becomes_one_of_many(one: str, many: str) -> None:
    any_of = compile_statement(one).any_of
    assert any_of is not None
    assert any_of.sql(2) == many


@pytest.mark.parametrize(
    "alone",
    [
        "UPDATE o SET s = :s WHERE id = :id",  # another value for each row
        "UPDATE o SET s = 1 WHERE id = :id OR x = :x",
        "UPDATE o SET s = 1 WHERE x = 1 OR y = 2 AND id = :id",  # would ask for x = 1 once more, or not: not worth it
        "UPDATE o SET s = 1 WHERE NOT id = :id",
        "UPDATE o SET s = 1 WHERE id >= :id",
        "UPDATE o SET s = 1 WHERE lower(id) = :id",
        "UPDATE o SET s = 1 WHERE id = :id RETURNING id",
        "UPDATE o SET s = 1 WHERE id = :id LIMIT 1",
        "UPDATE o SET s = (SELECT max(s) + 1 FROM o) WHERE id = :id",  # one number for all
        "UPDATE o SET s = nextval('numbers') WHERE id = :id",
        "UPDATE o SET s = @n := @n + 1 WHERE id = :id",
        "UPDATE o SET s = random() WHERE id = :id",
        "INSERT INTO sent (id) SELECT id FROM o WHERE id = :id",
        "CALL mark(:id)",
        "SELECT mark(id) FROM o WHERE id = :id",
        "UPDATE o SET s = 1",
    ],
)
def test_what_could_do_something_else_runs_for_each_key(alone: str) -> None:
    assert compile_statement(alone).any_of is None
