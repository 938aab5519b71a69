"""A shell that was told to completes the commands, options and files of each program."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import installed

#: What bash does at a tab: `words` so far, the last one unfinished.
TAB = """
source <({program} completion bash)
COMP_WORDS=({program} {words}) COMP_CWORD={at}
{function} {program}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def completed(program: str, *words: str) -> list[str]:
    function = f"_{program.replace('-', '_')}_completion"
    quoted = " ".join(f"'{word}'" for word in words)
    script = TAB.format(program=program, words=quoted, at=len(words), function=function)
    done = subprocess.run(
        ["bash", "-c", script], env=os.environ | {"PATH": PATH}, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("dbconnector s", ["select", "subscribe", "status", "schema"]),
        ("sfconnector check --js", ["--json"]),
        ("dbconnector init --mode s", ["subscribe", "select"]),
        ("deadletter-queue re", ["replay"]),
        ("sfconnector sandbox --po", ["--port"]),
    ],
)
def test_bash_completes_commands_options_and_choices(words: str, wanted: list[str]) -> None:
    program, *rest = words.split()
    assert completed(program, *rest) == wanted


@pytest.mark.parametrize(("shell", "wanted"), [("zsh", "#compdef sfconnector"), ("fish", "complete --no-files")])
def test_zsh_and_fish_get_a_script_of_theirs(shell: str, wanted: str) -> None:
    done = subprocess.run([installed("sfconnector"), "completion", shell], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip().startswith(wanted) or wanted in done.stdout
    assert "_SFCONNECTOR_COMPLETE" in done.stdout
