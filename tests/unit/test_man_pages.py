"""The man pages have all that the commands' help has, and roff finds nothing to complain of."""

import re
import subprocess

import click
import pytest

from connectorlib.version import VERSION
from scripts.man_pages import escape, page, paragraphs
from tests.programs import PROGRAMS


@pytest.fixture(scope="module", params=PROGRAMS)
def rendered(request):
    """A program, and its page as a reader sees it, with single blanks."""
    text = page(request.param, "2026-11-30")
    command = ["groff", "-man", "-ww", "-Tutf8", "-Kutf8", "-P-cbou", "-rHY=0"]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return request.param, " ".join(done.stdout.split())


def test_a_page_begins_with_what_the_program_does_and_ends_with_version_and_day(rendered):
    program, text = rendered
    assert re.search(rf"NAME {program} - [a-z]\w+ [^.]*\w SYNOPSIS {program} \[OPTIONS\] ", text), text[:300]
    assert text.endswith(f"amqp-connectors {VERSION} 2026-11-30 {program.upper()}(1)")


def test_a_page_has_every_command_with_every_option(rendered):
    program, text = rendered
    group = PROGRAMS[program]
    missing = []
    for name in group.commands:
        command = group.load(name)
        options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
        section = re.split(rf"{program} \w+ \[OPTIONS\]", text.partition(f"{program} {name} [OPTIONS]")[2])[0]
        missing += [f"{name} {names}" for option in options if (names := ", ".join(option.opts)) not in section]
    assert missing == []


@pytest.mark.parametrize(
    ("text", "roff"),
    [
        ("--since 2h", r"\-\-since 2h"),
        ("a `-c` b", r"a \fB\-c\fR b"),
        (".config\n'x", "\\&.config\n\\&'x"),
        (r"a\b", r"a\eb"),
    ],
)
def test_nothing_in_a_text_is_taken_for_roff(text, roff):
    assert escape(text) == roff


def test_examples_stay_lines_and_sentences_are_wrapped():
    assert list(paragraphs("One\n    two.\n\n    \b\n    a   b\n      c\n    ")) == [
        ".PP\nOne two.\n",
        ".PP\n.nf\na   b\n  c\n.fi\n",
    ]
