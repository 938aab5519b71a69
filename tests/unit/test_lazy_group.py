"""A program lists its commands without importing them, and imports one when it is used."""

import subprocess
import sys

import click
import click.formatting
import pytest
from click.testing import CliRunner

from connectorlib.service.lazy_group import Lazy, LazyGroup, help_width
from tests.programs import PROGRAMS

MODULE = """
import click

@click.command(help="All about it.")
@click.option("--times", default=1)
def hello(times):
    click.echo("hello " * times)

def greet(name):
    return click.Command("greet", callback=lambda: click.echo("hello " + name))
"""


@pytest.fixture
def group(tmp_path, monkeypatch):
    (tmp_path / "module_of_a_test.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "module_of_a_test", raising=False)
    table = {
        "hello": Lazy("module_of_a_test:hello", "Greet."),
        "greet": Lazy("module_of_a_test:greet", "Greet one.", ("Ada",)),
        "broken": Lazy("module_of_a_test:nothing", "Is not there."),
    }
    return LazyGroup("program", lazy=table)


PROGRAM = """
import os, sys
import click
from connectorlib.service.lazy_group import LazyGroup

group = LazyGroup("program", lazy={})
group.add_command(click.Command("open", callback=lambda: sys.exit(os.open(os.devnull, os.O_RDONLY))))
group.main(["open"])
"""


def test_no_file_takes_the_number_of_a_standard_stream():
    """A driver prints to number 2, whatever that is."""
    command = ["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, PROGRAM]
    assert subprocess.run(command, check=False).returncode > 2


def test_its_help_lists_the_table_and_imports_nothing(group):
    shown = CliRunner().invoke(group, ["--help"]).output
    assert [line.split(None, 1) for line in shown.partition("Commands:\n")[2].splitlines()] == [
        ["hello", "Greet."],
        ["greet", "Greet one."],
        ["broken", "Is not there."],
    ]
    assert "module_of_a_test" not in sys.modules


@pytest.mark.parametrize(
    ("words", "shown"),
    [("hello --times 2", "hello hello"), ("hello --help", "All about it."), ("greet", "hello Ada")],
)
def test_a_command_is_imported_when_it_runs_or_its_help_is_asked_for(group, words, shown):
    done = CliRunner().invoke(group, words.split())
    assert (done.exit_code, shown in done.output) == (0, True)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_entry_of_a_program_is_a_command_with_that_name(program):
    group = PROGRAMS[program]
    assert {name: group.load(name).name for name in group.commands if name != "sandbox"} == {
        name: name for name in group.commands if name != "sandbox"
    }


@pytest.mark.parametrize("columns", ["", "40", "60", "200"])
def test_a_help_is_as_wide_as_click_makes_it(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    assert help_width() == click.HelpFormatter().width
    monkeypatch.setattr(click.formatting, "FORCED_WIDTH", 100)
    assert help_width() is None
