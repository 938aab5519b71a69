"""What is locked has all that pyproject.toml asks for, in versions that it allows, and users get what was tested."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


TESTS, USERS, BUILD = "tests/requirements.lock", "constraints.txt", "scripts/package.lock"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]


def locked(name: str) -> dict[str, list[str]]:
    """Return the versions of each package; several where they differ by Python."""
    found: dict[str, list[str]] = {}
    for package, version in re.findall(r"^([\w.-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE):
        found.setdefault(canonicalize_name(package), []).append(version)
    return found


def asked(*extras: str) -> list[Requirement]:
    """Return what the project requires, with some of its extras."""
    texts = [*PROJECT["dependencies"], *(text for extra in extras for text in EXTRAS[extra])]
    return [each for each in map(Requirement, texts) if each.name != PROJECT["name"]]


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        (TESTS, asked(*EXTRAS)),
        (USERS, asked("cbor", "msgpack", "otel", "sandbox", "web", "zstd")),
        (BUILD, list(map(Requirement, PYPROJECT["dependency-groups"]["package"]))),
    ],
)
def test_everything_that_is_asked_for_is_locked(lock, requirements):
    versions = locked(lock)
    missing = [
        str(each)
        for each in requirements
        if not (its := versions.get(canonicalize_name(each.name))) or not all(map(each.specifier.contains, its))
    ]
    assert missing == [], "scripts/lock regenerates it"


@pytest.mark.parametrize(("lock", "least"), [(TESTS, 50), (BUILD, 10)])
def test_every_locked_package_has_hashes(lock, least):
    entries = re.split(r"^(?=[\w.-]+==)", (ROOT / lock).read_text(), flags=re.MULTILINE)[1:]
    assert len(entries) > least
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_users_get_the_versions_that_the_tests_run_with():
    tested = locked(TESTS)
    users = locked(USERS)
    assert {name: versions for name, versions in users.items() if tested.get(name) != versions} == {}
    assert not users.keys() & {"pytest", "mkdocs"}


#: The newest version of each that has a hole which the next one closed (CONTRIBUTING.md says which).
LAST_WITH_A_HOLE = {"jinja2": "3.1.5", "pyjwt": "2.12.1", "requests": "2.32.5", "urllib3": "2.6.3", "werkzeug": "3.1.5"}


def test_no_version_with_a_known_hole_is_admitted():
    admitted = [
        f"{each}: {bad}"
        for each in asked(*EXTRAS)
        if (bad := LAST_WITH_A_HOLE.get(canonicalize_name(each.name))) and each.specifier.contains(bad)
    ]
    assert admitted == []
