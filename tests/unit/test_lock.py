"""The lock of the tests' environment has all that pyproject.toml asks for, in versions that it allows."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def locked() -> dict[str, list[str]]:
    """Return the versions of each package; several where they differ by Python."""
    found: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "tests/requirements.lock").read_text(), re.MULTILINE):
        found.setdefault(canonicalize_name(name), []).append(version)
    return found


def asked() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = [*project["dependencies"], *(text for extra in project["optional-dependencies"].values() for text in extra)]
    return [each for each in map(Requirement, texts) if each.name != project["name"]]


def test_everything_that_is_asked_for_is_locked():
    versions = locked()
    missing = [
        str(each)
        for each in asked()
        if not (its := versions.get(canonicalize_name(each.name))) or not all(map(each.specifier.contains, its))
    ]
    assert missing == [], "scripts/lock writes it anew"


def test_every_locked_package_has_hashes():
    entries = re.split(r"^(?=[\w.-]+==)", (ROOT / "tests/requirements.lock").read_text(), flags=re.MULTILINE)[1:]
    assert len(entries) > 50
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


#: The newest version of each that has a hole which the next one closed (CONTRIBUTING.md says which).
LAST_WITH_A_HOLE = {"jinja2": "3.1.5", "pyjwt": "2.12.1", "requests": "2.32.5", "urllib3": "2.6.3", "werkzeug": "3.1.5"}


def test_no_version_with_a_known_hole_is_admitted():
    admitted = [
        f"{each}: {bad}"
        for each in asked()
        if (bad := LAST_WITH_A_HOLE.get(canonicalize_name(each.name))) and each.specifier.contains(bad)
    ]
    assert admitted == []
