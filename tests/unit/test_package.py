"""What scripts/package decides, and the files of the Debian package that are shell scripts."""

import io
import itertools
import os
import re
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest

from scripts import package

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts/debian"
MAINTAINER_SCRIPTS = ("postinst", "prerm", "postrm", "rtupdate")


@pytest.mark.parametrize(
    ("tags", "here", "version"),
    [
        ([], [], "0.2.0~7.gabc"),
        (["v0.1.0"], [], "0.2.0~7.gabc"),
        (["v0.1.0", "v0.2.0"], ["v0.2.0"], "0.2.0"),
        (["v0.2.0"], ["nightly", "v0.2.0"], "0.2.0"),
        (["v0.2.0"], [], "0.2.0+7.gabc"),
    ],
)
def test_a_version_is_that_of_its_tag_or_before_it_or_after_it(tags, here, version):
    assert package.debian_version("0.2.0", tags, here, "7.gabc") == version


def test_these_versions_are_in_the_order_of_their_commits():
    versions = ["0.1.0", "0.1.0+9.gabc", "0.2.0~10.gabc", "0.2.0", "0.2.0+12.gabc", "0.2.0+112.gabc"]
    for older, newer in itertools.pairwise(versions):
        assert subprocess.run(["dpkg", "--compare-versions", older, "lt", newer]).returncode == 0, newer


def test_a_tag_of_another_version_is_refused():
    with pytest.raises(ValueError, match=r"tagged v0.3.0, but connectorlib/version.py says 0.2.0"):
        package.debian_version("0.2.0", ["v0.3.0"], ["v0.3.0"], "7.gabc")


def test_the_entries_of_a_lock_for_what_is_constrained_keep_their_hashes():
    entries = ["a==1", "ab==2 ; python_version < '3.12'", "c==3"]
    lock = "# made by\n" + "".join(f"{entry} \\\n    --hash=sha256:{entry[0]}\n" for entry in entries)
    assert package.with_hashes("# x\nab==2\nc==3\n", lock) == lock[lock.index("ab==") :]
    assert package.with_hashes("a==1\n", lock) == "a==1 \\\n    --hash=sha256:a\n"


def test_equal_files_are_kept_once(tmp_path):
    for name, text in {"a/x": "1", "b/x": "1", "b/y": "2", "b/z": ""}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    package.link_equal_files(tmp_path)
    assert (tmp_path / "a/x").samefile(tmp_path / "b/x")
    assert [(tmp_path / name).read_text() for name in ("a/x", "b/x", "b/y", "b/z")] == ["1", "1", "2", ""]
    assert (tmp_path / "b/z").stat().st_nlink == 1


def test_a_source_distribution_says_nothing_of_who_built_it_and_when(tmp_path):
    contents = []
    for number in (1, 2):
        sdist = tmp_path / f"{number}.tar.gz"
        with tarfile.open(sdist, "w:gz") as file:
            for name in ("a", "b") if number == 1 else ("b", "a"):
                member = tarfile.TarInfo(name)
                member.size, member.mtime, member.uid, member.uname = 1, number, number, f"user{number}"
                file.addfile(member, io.BytesIO(name.encode()))
        package.repack(sdist, 1_000_000_000)
        with tarfile.open(sdist) as file:
            assert file.getnames() == ["a", "b"]
        contents.append(sdist.read_bytes())
    assert contents[0] == contents[1]


@pytest.mark.parametrize("name", MAINTAINER_SCRIPTS)
def test_a_maintainer_script_can_be_read_by_a_plain_shell_and_stops_at_an_error(name):
    text = (SCRIPTS / name).read_text()
    assert text.startswith("#!/bin/sh\n")
    assert "\nset -e\n" in text
    assert os.access(SCRIPTS / name, os.X_OK)
    assert subprocess.run(["dash", "-n", SCRIPTS / name], capture_output=True).stderr == b""


def test_every_python_that_the_project_names_is_in_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert named == list(package.PYTHONS)
    assert project["requires-python"] == f">={package.PYTHONS[0]}"
