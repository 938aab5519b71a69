"""The configurations that we hand out, in config/ and in the README, are good ones."""

import json
import re
from pathlib import Path

import pytest

from dbconnector import config

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(path.name for path in (ROOT / "config").glob("*.json"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_a_valid_configuration(name, monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", "x")
    monkeypatch.setenv("AMQP_PASSWORD", "x")
    loaded = config.load(ROOT / "config" / name)
    assert loaded.database.select or loaded.database.write


def test_the_configuration_of_the_readme_is_valid_and_ten_lines_long(tmp_path):
    (block,) = re.findall(r"```json\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    path = tmp_path / "db.config"
    path.write_text(block)
    loaded = config.load(path)
    assert loaded.source
    assert loaded.source.queue == "readings"
    assert len(block.splitlines()) == 10


def test_every_file_that_the_readme_names_is_there():
    text = (ROOT / "README.md").read_text()
    named = {*re.findall(r"\]\(([^)#:]+)\)", text), *re.findall(r"^(scripts/\w+)", text, re.MULTILINE), "config"}
    assert {"scripts/demo", "scripts/test", "LICENSE"} <= named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_readme_lists_the_exit_codes_that_the_commands_use():
    from connectorlib.process import ExitCode

    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", (ROOT / "README.md").read_text(), re.MULTILINE)}
    assert listed == {int(code) for code in ExitCode}


def test_the_demo_uses_the_examples():
    demo = (ROOT / "scripts" / "demo.py").read_text()
    used = re.findall(r'"(weather\.\w+\.json)"', demo)
    assert sorted(used) == [name for name in EXAMPLES if name.startswith("weather.")]
    assert all(json.loads((ROOT / "config" / name).read_text())["database"]["connection"] for name in used)
