"""The configurations that we hand out, in config/ and in the README, are good ones."""

import json
import re

import pytest
from click.testing import CliRunner

from connectorlib.service.redaction import secrets
from dbconnector import cli as db_cli
from dbconnector import config as db
from sfconnector import cli as sf_cli
from sfconnector import config as sf
from sfconnector.sandbox import demo_data
from tests.pages import ROOT, blocks

CASES = "sfconnector.example.json"
TESTS = ".tests.json"
EXAMPLES = sorted(
    path.name for path in (ROOT / "config").glob("*.json") if path.name != CASES and not path.name.endswith(TESTS)
)


@pytest.fixture(autouse=True)
def _secrets():
    yield
    secrets.clear()


def set_references(monkeypatch, text):
    for name in re.findall(r"\$\{(\w+)\}", text):
        monkeypatch.setenv(name, "x")


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_a_valid_configuration(name, monkeypatch):
    set_references(monkeypatch, (ROOT / "config" / name).read_text())
    loaded = db.load(ROOT / "config" / name)
    assert loaded.database.select or loaded.database.write


def test_the_example_for_cases_has_two_divisions_and_keeps_its_secrets_outside(monkeypatch):
    text = (ROOT / "config" / CASES).read_text()
    set_references(monkeypatch, text)
    loaded = sf.load(ROOT / "config" / CASES)
    assert [division.name for division in loaded.divisions] == ["field-service", "cold-chain"]
    given = re.findall(r'"(?:client_secret|\w*password|\w*token)": "(.*?)"', text)
    assert [value for value in given if not value.startswith("${") and value != "password"] == []


@pytest.mark.parametrize("name", [path.name for path in sorted((ROOT / "config/how-to").glob(f"*{TESTS}"))])
def test_the_tests_of_an_example_of_a_how_to_pass(name):
    config = ROOT / "config/how-to" / name.replace(TESTS, ".json")
    main = sf_cli.main if "divisions" in config.read_text() else db_cli.main
    done = CliRunner().invoke(main, ["test", "-c", str(config)])
    assert done.exit_code == 0, done.output


def test_what_becomes_a_case_by_its_temperature_needs_few_lines():
    assert len((ROOT / "config/how-to/hot-sensors.json").read_text().splitlines()) <= 25


def test_the_examples_of_the_how_tos_are_in_three_formats_and_for_both_connectors():
    texts = {path.name: path.read_text() for path in (ROOT / "config/how-to").glob("*.json")}
    formats = {json.loads(text).get("format", {"type": "json"})["type"] for text in texts.values()}
    assert formats == {"json", "xml", "delimited"}
    assert {name for name, text in texts.items() if '"divisions"' in text} == {
        "alarms.json",
        "hot-sensors.json",
        "jwt.json",
        "ringing-pump.json",
    }
    untested = {name for name in texts if name.replace(".json", TESTS) not in texts and not name.endswith(TESTS)}
    assert untested == {"select.json", "tls.json"}  # nothing is mapped, or nothing that matters


def test_the_configurations_of_the_readme_are_valid_and_short(tmp_path, monkeypatch):
    shown = {block.title: block.text for block in blocks("README.md") if block.language == "json"}
    written, cases = shown["db.config"], shown["config.json"]
    for name, block in {"db.config": written, "config.json": cases}.items():
        (tmp_path / name).write_text(block)
        set_references(monkeypatch, block)
    source = db.load(tmp_path / "db.config").source
    assert source
    assert source.queue == "readings"
    assert [division.source.queue for division in sf.load(tmp_path / "config.json").divisions] == ["sfconnector.pumps"]
    assert (len(written.splitlines()), len(cases.splitlines())) <= (10, 20)


def test_the_sandbox_prints_the_configuration_of_the_tutorial():
    shown = [block.text for block in blocks("docs/tutorials/first-case.md") if block.title == "config.json"]
    assert [each.strip() for each in shown] == [demo_data.configuration("http://127.0.0.1:8080")]


@pytest.mark.parametrize("page", ["README.md", "docs/tutorials/first-case.md", "docs/tutorials/ringing-sensor.md"])
def test_a_first_case_gives_no_warning_in_the_sandbox(page, tmp_path):
    (text,) = [each.text for each in blocks(page) if each.language == "json" and '"divisions"' in each.text]
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "config.json").chmod(0o600)
    config = sf.load(tmp_path / "config.json")
    assert config.warnings == ()
    assert {each.salesforce.auth for each in config.divisions} == {"client_credentials"}
    objects = json.loads((ROOT / "sfconnector/sandbox/schema.json").read_text())["objects"]
    (case,) = [each for each in objects if each["name"] == "Case"]
    (origins,) = [each["picklistValues"] for each in case["fields"] if each["name"] == "Origin"]
    assert {each.case.defaults["Origin"] for each in config.divisions} <= set(origins)


SHOWN = re.findall(r'^("\w+"): +(\{.*\})$', (ROOT / "docs" / "sfconnector.md").read_text(), re.MULTILINE)


def division_with(key, value):
    """A division that says this in the section where it belongs."""
    case = {"mapping": {"Subject": "alarm"}, "external_id": {"field": "Key__c", "value": "id"}}
    division = {"salesforce": {"client_id": "a", "client_secret": "b", "username": "c", "password": "d"}, "case": case}
    if key in ("lanes", "match", "reply"):
        division[key] = value
    elif key == "external_id":
        case[key] = value
    else:
        case["mapping"][key] = value
    return {"tenant": {}, "divisions": {"pumps": division}}


def test_every_line_that_the_user_documentation_shows_is_valid(tmp_path):
    lines = [(json.loads(key), json.loads(value)) for key, value in SHOWN]
    assert {key for key, _ in lines} >= {"match", "external_id", "reply", "ContactId", "OwnerId"}
    for key, value in lines:
        (tmp_path / "config.json").write_text(json.dumps(division_with(key, value)))
        sf.load(tmp_path / "config.json")


def test_every_file_that_the_readme_names_is_there():
    text = (ROOT / "README.md").read_text()
    named = {*re.findall(r"\]\(([^)#:]+)\)", text), *re.findall(r"^(scripts/\w+)", text, re.MULTILINE), "config"}
    assert {"scripts/demo", "scripts/test", "LICENSE"} <= named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_readme_lists_the_exit_codes_that_the_commands_use():
    from connectorlib.service.exit_codes import ExitCode

    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", (ROOT / "README.md").read_text(), re.MULTILINE)}
    assert listed == {int(code) for code in ExitCode}


def test_the_demo_uses_the_examples():
    demo = "".join(each.read_text() for each in sorted((ROOT / "scripts").glob("demo*.py")))
    used = re.findall(r'"(weather\.\w+\.json)"', demo)
    assert sorted(used) == [name for name in EXAMPLES if name.startswith("weather.")]
    assert all(json.loads((ROOT / "config" / name).read_text())["database"]["connection"] for name in used)
    assert CASES in demo
    assert "how-to/ringing-pump.json" in demo
