"""A stranger who does what a page says gets what it promises."""

import contextlib

import pytest

from tests.e2e.following import Reader, drivers, is_run, matches
from tests.pages import PAGES
from tests.services.sqlite import SqliteDatabase

SERVERS = {"PostgreSQL Unicode": "postgres_db", "MariaDB Unicode": "maria_db"}
FOLLOWED = [page for page in PAGES if is_run(page)]


@pytest.mark.parametrize("page", FOLLOWED)
def test_a_page_can_be_followed(page, rabbitmq, tmp_path, request):
    named = drivers(page) - {"SQLite3"}
    assert len(named) <= 1, f"{page} has several databases"
    server = request.getfixturevalue(SERVERS[named.pop()]) if named else None
    with contextlib.closing(server or SqliteDatabase(tmp_path / "plant.db")) as database:
        Reader(page, tmp_path, rabbitmq, database).follow()


@pytest.mark.parametrize(
    ("page", "said", "same"),
    [
        ("a\nb\n", "a \nb", True),
        ("up since …\nok", "up since 03:04 (2 s ago)\nok\n", True),
        ("a\n…\nb", "a\n1\n2\nb", True),
        ("a.c", "abc", False),
        ("a", "a\nb", False),
    ],
)
def test_what_a_page_shows_is_compared_line_by_line(page, said, same):
    assert matches(page, said) is same
