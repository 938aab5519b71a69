"""`test` of both connectors as a stranger uses it: the examples pass, and a test that fails says what differs."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry

from tests.services import fork_server

CONFIG = Path(__file__).resolve().parents[2] / "config"
EXAMPLES = {"dbconnector": "db.config.example", "sfconnector": "sfconnector.example"}


def run(command: str, *arguments: str | Path, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    return fork_server.run(command, arguments, cwd=cwd)


@pytest.mark.parametrize("command", EXAMPLES)
def test_the_tests_of_the_example_pass_and_fit_their_schema(command: str) -> None:
    example = CONFIG / f"{EXAMPLES[command]}.json"
    done = run(command, "test", "-c", example)
    assert (done.returncode, done.stderr) == (0, "")
    *lines, last = done.stdout.splitlines()
    assert last == f"all {len(lines)} passed"
    assert [line for line in lines if not line.startswith("✔ ")] == []
    schema = json.loads(run(command, "schema", "--tests").stdout)
    Draft202012Validator.check_schema(schema)
    tests = json.loads((CONFIG / f"{EXAMPLES[command]}.tests.json").read_text())
    Draft202012Validator(schema, registry=Registry()).validate(tests)


def test_a_test_that_fails_is_told_with_a_diff(tmp_path: Path) -> None:
    shutil.copy(CONFIG / "db.config.example.json", tmp_path / "db.config")
    tests = (CONFIG / "db.config.example.tests.json").read_text().replace('"value": 4.25}\n', '"value": 4.5}\n')
    tests = tests.replace('"alarm": 7, "channel": "bar", "value": 4.25', '"alarm": 7, "channel": "bar", "value": 4.5')
    (tmp_path / "db.config.tests.json").write_text(tests)
    done = run("dbconnector", "test", "-c", "db.config", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    first, rest = done.stdout.split("\n", 1)
    assert first == "✘ an alarm becomes a row, and each of its readings another"
    diff, after = rest.partition("✔")[0], rest.partition("✔")[2]
    assert '\n    -        "value": 4.5\n    +        "value": 4.25\n' in diff
    assert after.splitlines()[-1] == "1 of 4 failed"
    as_json = json.loads(run("dbconnector", "test", "-c", "db.config", "--json", cwd=tmp_path).stdout)
    assert [each["passed"] for each in as_json["tests"]] == [False, True, True, True]


def test_without_a_tests_file_it_says_which_one_was_looked_for(tmp_path: Path) -> None:
    shutil.copy(CONFIG / "db.config.example.json", tmp_path / "db.config")
    done = run("dbconnector", "test", "-c", "db.config", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.startswith("db.config has no tests yet. Write the first into db.config.tests.json")
