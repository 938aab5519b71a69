"""What is built of the project: its version, its metadata, and its README where none of our files are."""

import importlib
import re
import runpy
import tomllib
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

from connectorlib.version import VERSION
from tests.programs import PROGRAMS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SETUP = runpy.run_path(str(ROOT / "setup.py"))
RELEASES = re.findall(r"^## \[([\d.]+)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("package", ["connectorlib", "dbconnector", "deadletterqueue", "sfconnector"])
def test_every_package_knows_the_version(package):
    assert importlib.import_module(package).__version__ == VERSION


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_prints_the_version(program):
    assert CliRunner().invoke(PROGRAMS[program], ["--version"]).output == f"{program}, version {VERSION}\n"


def test_the_changelog_has_the_version_with_its_day():
    assert RELEASES[0][0] == VERSION
    assert [date.fromisoformat(day) for _, day in RELEASES] == sorted(
        (date.fromisoformat(day) for _, day in RELEASES), reverse=True
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](docs/a.md)", "[a](https://x.example/docs/a.md)"),
        ("[a](docs/a.md#b) [c](LICENSE)", "[a](https://x.example/docs/a.md#b) [c](https://x.example/LICENSE)"),
        ("![a](docs/a.svg)", "![a](https://x.example/docs/a.svg)"),
        ("[a](https://y.example/b)", "[a](https://y.example/b)"),
        ("[a](mailto:b@y.example) [c](#d) <http://127.0.0.1:8080>", "[a](mailto:b@y.example) [c](#d) <http://127.0.0.1:8080>"),
        ("`list[int](b)`[1](c)", "`list[int](https://x.example/b)`[1](https://x.example/c)"),
    ],
)  # fmt: skip
def test_a_relative_link_becomes_an_address(text, expected):
    assert SETUP["absolute"](text, "https://x.example") == expected


def test_the_readme_of_the_metadata_leads_to_the_files_of_its_version():
    links = re.findall(r"\]\(([^)\s]+)\)", SETUP["readme"]())
    base = f"{PROJECT['urls']['Source']}/blob/v{VERSION}/"
    assert len(links) > 10
    assert [link for link in links if "://" not in link] == []
    ours = [link.removeprefix(base).partition("#")[0] for link in links if link.startswith(base)]
    assert [name for name in ours if not (ROOT / name).exists()] == []
    assert len(ours) > 10
