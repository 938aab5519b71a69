"""The command line of sfconnector as a stranger meets it: help, usage, configuration errors, the sandbox's extra."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry

from connectorlib.service.exit_codes import ExitCode
from connectorlib.version import VERSION
from tests.services import fork_server

SECRETS = {"SF_SECRET": "s3cr;t}/w%rd=1", "SF_PASSWORD": "pa ss\"word'2", "SF_TOKEN": "t0ken+3&"}
EXAMPLE = Path(__file__).resolve().parents[2] / "config" / "sfconnector.example.json"


def run(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return fork_server.run("sfconnector", arguments, cwd=cwd, env=os.environ | SECRETS)


def test_help_tells_the_options() -> None:
    done = run("-h")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: sfconnector")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "-h, --help" in done.stdout


def test_the_help_lists_the_commands_and_exit_codes_that_there_are() -> None:
    text = run("--help").stdout
    assert "-c, -i, --config" in text
    listed = re.findall(r"^  (\w+)  ", text.partition("Commands:")[2], re.MULTILINE)
    assert listed[-3:] == ["org", "sandbox", "completion"]
    assert {int(code) for code in re.findall(r"\b(\d+)  [a-z]", text)} == {0, 1, 2, 75, 77, 78} <= {*ExitCode}


def test_version_is_that_of_the_package() -> None:
    assert run("--version").stdout.strip() == f"sfconnector, version {VERSION}"


def test_wrong_usage_exits_with_2(tmp_path: Path) -> None:
    done = run("-i", "x", "schema", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "-i is an option of the daemon" in done.stderr


@pytest.mark.parametrize("option", ["-i", "-c", "--config"])
def test_five_mistakes_in_the_configuration_are_five_lines_and_exit_78(option: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(
        """{
  "tenant": {
    "salesforce": {"client_id": "app", "client_secret": "${NOT_SET}"},
    "amqp": {"port": "5672"}
  },
  "divisions": {
    "pumps": {
      "salesforce": {"username": "${SF_TOKEN}"},
      "case": {
        "mapping": {"Subject": "{alarm"},
        "trunkate": true
      }
    }
  }
}
"""
    )
    done = run(option, file)
    assert (done.returncode, done.stdout) == (78, "")
    lines = done.stderr.splitlines()
    assert [re.findall(r"line (\d+): (\S+):", line) for line in lines] == [
        [("3", "tenant.salesforce.client_secret")],
        [("4", "tenant.amqp.port")],
        [("8", "divisions.pumps.salesforce")],
        [("10", "divisions.pumps.case.mapping.Subject")],
        [("11", "divisions.pumps.case.trunkate")],
    ]
    assert not [secret for secret in SECRETS.values() if secret in done.stderr]


def test_a_file_that_is_not_there_exits_with_78(tmp_path: Path) -> None:
    done = run("-i", "none.json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (78, "")
    assert "none.json: cannot be read: No such file or directory" in done.stderr


def test_the_schema_stands_alone_and_takes_the_example() -> None:
    schema = json.loads(run("schema").stdout)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema, registry=Registry())  # knows no other document
    validator.validate(json.loads(EXAMPLE.read_text()))
    assert list(validator.iter_errors({"tenant": {}, "divisions": {}})) != []


def test_without_its_extra_the_sandbox_says_how_to_get_it() -> None:
    code = "import sys; sys.modules['werkzeug'] = None; from sfconnector.cli import main; main(['sandbox'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "pip install 'amqp-connectors[sandbox]'" in done.stderr
    assert "Traceback" not in done.stderr
