"""What a process does not import: a start is short only as long as each command leaves out what others need."""

import subprocess
import sys

import pytest

from tests.unit.test_house import ROOT

#: Foreign libraries, and parts of the standard library that take milliseconds.
LIBRARIES = (
    {"pika", "pyodbc", "lxml", "jsonschema", "referencing", "attr", "rich", "jmespath", "jinja2", "prometheus_client"}
    | {"requests", "urllib3", "simple_salesforce", "zeep", "jwt", "cryptography", "werkzeug", "opentelemetry"}
    | {"asyncio", "dataclasses", "email", "http", "importlib.metadata", "logging", "shutil", "signal", "socket", "ssl"}
    | {"xml"}
)


def imported(code: str) -> set[str]:
    """Return what a process has imported after this code."""
    question = f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("package", ["dbconnector", "sfconnector", "deadletterqueue"])
def test_help_of_a_program_imports_only_click_and_the_table_of_commands(package):
    loaded = imported(f"from {package}.cli import main\nmain(['--help'], standalone_mode=False)")
    allowed = {"dataclasses"} if package == "deadletterqueue" else set()
    assert loaded & LIBRARIES <= allowed
    ours = {each.rpartition(".")[2] for each in loaded if each.startswith((package, "connectorlib"))}
    table = {package, "cli", "connectorlib", "service", "cli_options", "lazy_group"}
    table |= {"exit_codes", "values", "durations", "version"}
    assert ours <= table | ({"options", "dataclass"} if allowed else set())


#: What a configuration without a mistake, a token of the broker, XML or JMESPath does without.
RARE = {"asyncio", "attr", "difflib", "jinja2", "jmespath", "jsonschema", "logging.handlers", "lxml", "opentelemetry"}
RARE |= {"prometheus_client", "referencing", "rich", "secrets", "zoneinfo", "cryptography", "jwt", "zeep"}
RARE |= {"connectorlib.formats.cbor", "connectorlib.formats.delimited", "dbconnector.odbc.driver_trial"}
HTTP = {"http", "requests", "urllib3", "importlib.metadata"}


@pytest.mark.parametrize(
    ("command", "config", "file", "left_out"),
    [
        ("dbconnector.commands.subscribe", "dbconnector.config", "weather.subscribe.json", RARE | HTTP),
        ("dbconnector.commands.receive", "dbconnector.config", "weather.subscribe.json", RARE | HTTP),
        ("dbconnector.commands.select", "dbconnector.config", "weather.select.json", RARE | HTTP),
        ("dbconnector.preflight", "dbconnector.config", "weather.subscribe.json", RARE - {"difflib"}),
        ("dbconnector.explain", "dbconnector.config", "weather.subscribe.json", RARE - {"difflib"}),
        ("sfconnector.daemon", "sfconnector.config", "sfconnector.example.json", RARE),
    ],
)
def test_a_command_imports_what_its_configuration_needs(command, config, file, left_out):
    path = str(ROOT / "config" / file)
    loaded = imported(f"import {command}, {config}\n{config}.load({path!r}, resolve_secrets=False)")
    assert loaded & left_out == set()
