"""The reference says what the programs say, and nothing else."""

import pytest

from scripts.reference import FOLDER, pages

PAGES = pages()


def test_there_is_a_page_for_each_and_no_other():
    assert sorted(PAGES) == sorted(path.name for path in FOLDER.iterdir())


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_the_reference_is_what_the_programs_say_now(name):
    assert (FOLDER / name).read_text() == PAGES[name], "run scripts/reference.py"
