"""What scripts/matrix reads from pytest and dpkg, and how it becomes the table of docs/compatibility.md."""

from pathlib import Path

import pytest

from scripts import matrix_table
from scripts.matrix_table import BEGIN, COLUMNS, END, NOT_RUN

PAGE = Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"
DEBIAN_12 = """\
erlang-base 1:25.2.3+dfsg-1+deb12u3
libsqliteodbc 0.9998-3+b1
mariadb-server 1:10.11.14-0+deb12u2
odbc-mariadb 3.1.15-3
odbc-postgresql 1:13.02.0000-2+b1
postgresql-15 15.14-0+deb12u1
postgresql-15-jit 15.99-0
postgresql-client-15 15.99-0
rabbitmq-server 3.10.8-1.1+deb12u1
rabbitmq-server-doc
"""


@pytest.mark.parametrize(
    ("code", "last_line", "cell"),
    [
        (0, "6333 passed in 265.61s (0:04:25)", "6,333"),
        (0, "1088 passed, 5 deselected, 2 warnings in 9.14s", "1,088"),
        (1, "=== 2 failed, 34 passed in 57.47s ===", "34, 2 failed"),
        (1, "1 failed, 1086 passed, 1 error in 57.47s", "1,086, 2 failed"),
        (1, "34 passed, 3 errors in 57.47s", "34, 3 failed"),
        (1, "1 failed in 0.10s", "0, 1 failed"),
        (2, "12 passed in 3.20s", "broken off after 12"),
        (-9, "...........", "broken off after 0"),
        (1, "bash: .venv/bin/python: No such file or directory", "broken off after 0"),
        (5, "3 deselected in 0.02s", "broken off after 0"),
        (0, "", "broken off after 0"),
    ],
)
def test_a_cell_says_how_many_passed_and_what_did_not(code, last_line, cell):
    assert matrix_table.outcome(code, last_line) == cell


@pytest.mark.parametrize(
    ("cell", "failed"),
    [("6,333", False), (NOT_RUN, False), ("34, 2 failed", True), ("broken off after 12", True)],
)
def test_a_row_has_failed_when_one_of_its_suites_has(cell, failed):
    assert matrix_table.has_failed(row(e2e=cell)) == failed


def test_versions_are_those_of_upstream():
    assert matrix_table.versions(DEBIAN_12) == [
        "3.10.8",
        "25.2.3",
        "15.14",
        "13.02.0000",
        "10.11.14",
        "3.1.15",
        "0.9998",
    ]


def test_what_is_not_installed_has_no_version():
    assert set(matrix_table.versions("")) == {"?"}


def row(system="Debian 12", python="3.11.2", day="2026-11-30", packages=DEBIAN_12, **outcomes):
    return matrix_table.row(system, python, day, packages, outcomes)


def test_a_row_has_a_cell_for_every_column():
    made = dict(zip(COLUMNS, row(unit="6,333", faults="20"), strict=True))
    assert made["System"] == "Debian 12"
    assert made["RabbitMQ"] == "3.10.8"
    assert [made[suite] for suite in matrix_table.SUITES] == ["6,333", NOT_RUN, "20", NOT_RUN]


def test_a_table_is_read_as_it_was_written():
    rows = [row(unit="6,333"), row("Debian 13", "3.13.5", e2e="1, 2 failed")]
    assert matrix_table.rows(matrix_table.table(rows)) == rows


def test_a_run_replaces_the_row_of_its_system_and_python_and_leaves_the_others():
    other, elsewhere = row(python="3.12.1", unit="1"), row("Debian 13", unit="1")
    new = row(day="2026-12-24", unit="2")
    assert matrix_table.merged([row(unit="1", e2e="1"), other, elsewhere], [new]) == [new, other, elsewhere]


def test_suites_of_one_day_and_the_same_versions_share_a_row():
    assert matrix_table.merged([row(unit="1", e2e="1")], [row(unit="2", faults="3")]) == [
        row(unit="2", faults="3", e2e="1")
    ]


def test_suites_of_different_versions_do_not_share_a_row():
    new = row(packages=DEBIAN_12.replace("3.10.8", "3.10.9"), unit="2")
    assert matrix_table.merged([row(unit="1", e2e="1")], [new]) == [new]


def test_only_what_stands_between_the_markers_is_written():
    page = f"# Page\n\n{BEGIN}\nold\n\n{END}\n| no | row |\n"
    once = matrix_table.written(page, [row(unit="1")])
    assert once == f"# Page\n\n{BEGIN}\n{matrix_table.table([row(unit='1')])}\n{END}\n| no | row |\n"
    assert matrix_table.written(once, [row(e2e="2")]) == once.replace(f"| {NOT_RUN} |\n", "| 2 |\n")


def test_a_page_without_a_place_for_the_table_is_refused():
    with pytest.raises(ValueError, match="no place"):
        matrix_table.written(f"# Page\n{BEGIN}", [row()])


def test_the_page_has_a_place_and_rows_that_can_be_read():
    page = PAGE.read_text()
    begin, end = page.index(BEGIN), page.index(END)
    assert all(len(each) == len(COLUMNS) for each in matrix_table.rows(page[begin:end]))
    assert matrix_table.written(page, []) == page
