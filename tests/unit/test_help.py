"""What every command says of itself: examples that are right, exit codes, lines that fit; and completion."""

import re
import shlex

import click
import pytest
from click.testing import CliRunner

from tests.programs import PROGRAMS


def commands():
    """Every command of every program, by what one types."""
    for program, group in PROGRAMS.items():
        yield program, group
        for name in group.commands:
            yield f"{program} {name}", group.load(name)


COMMANDS = dict(commands())


def help_of(name):
    command = COMMANDS[name]
    return command.get_help(click.Context(command, info_name=name, max_content_width=80))


def examples(name):
    """The lines that somebody could type, without what is said beside them."""
    lines = re.findall(rf"^  ({name.split()[0]} .*)$", help_of(name), re.MULTILINE)
    return [re.split(r"   ", line)[0] for line in lines]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_and_exit_codes_in_lines_that_fit(name):
    text = help_of(name)
    assert any(name in line for line in re.findall(r"^  (\S.*)$", text, re.MULTILINE)), text
    assert re.search(r"^  Exit codes:\n( +\d+  \w.*\n?)+", text, re.MULTILINE), text
    assert max(map(len, text.splitlines())) <= 80


def understood(command, name, words, parent=None):
    """Parse what is typed after a command, and return the context of the innermost command."""
    commands = getattr(command, "commands", {})
    at = next((at for at, word in enumerate(words) if word in commands), len(words))
    context = command.make_context(name, words[:at], parent, resilient_parsing=at < len(words))
    if at == len(words):
        return context
    inner = COMMANDS.get(f"{context.command_path} {words[at]}") or commands[words[at]]
    return understood(inner, words[at], words[at + 1 :], context)


@pytest.mark.parametrize("name", COMMANDS)
def test_what_an_example_says_is_understood(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "describe-of-my-case.json").touch()
    lines = examples(name)
    assert lines
    for line in lines:
        program, *words = shlex.split(re.split(r" [|<>] ", line)[0])
        assert understood(PROGRAMS[program], program, words).args == [], line


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_tells_its_version_and_how_a_shell_completes_it(program):
    assert {"--version"} <= {option for each in PROGRAMS[program].params for option in each.opts}
    assert "completion" in PROGRAMS[program].commands


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_with_a_configuration_takes_it_by_three_names(name):
    text = help_of(name)
    assert ("-c, -i, --config" in text) == ("--config" in text)


#: What somebody types, and a part of what is said to it.
WRONG_USAGE = [
    ("dbconnector", "", "Usage:"),
    ("dbconnector", "recieve -c x", "Did you mean 'receive'?"),
    ("dbconnector", "receive", "Missing option '-c' / '-i' / '--config'"),
    ("dbconnector", "receive -c x --nonsense", "No such option"),
    ("dbconnector", "receive -c x more", "unexpected extra argument"),
    ("dbconnector", "receive -c .", "is a directory"),
    ("dbconnector", "receive -c x --wait soon", "expected a duration such as 30s"),
    ("dbconnector", "select -c x --every 0s", "--every"),
    ("dbconnector", "select -c x --param site", "expected NAME=VALUE"),
    ("sfconnector", "", "Missing option '-c' / '-i' / '--config'"),
    ("sfconnector", "shema", "Did you mean 'schema'?"),
    ("sfconnector", "-i x --nonsense", "No such option"),
    ("sfconnector", "-i .", "is a directory"),
    ("sfconnector", "-i x schema", "-i is an option of the daemon"),
    ("sfconnector", "sandbox --port 99999", "99999 is not in the range"),
]


@pytest.mark.parametrize(("program", "words", "said"), WRONG_USAGE)
def test_wrong_usage_exits_with_2_and_prints_nothing(program, words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(PROGRAMS[program], words.split(), prog_name=program)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
