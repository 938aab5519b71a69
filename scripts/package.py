#!/usr/bin/env python3
"""Builds what users install, from the commit that is checked out: source distribution, wheel and Debian package.

The same commit gives the same files: the tools and libraries are locked with hashes, and every time in the files is
that of the commit. The Debian package has a virtual environment with the libraries for each Python of PYTHONS, so one
package fits several releases and outlives an upgrade from one to the next; only the bytecode is made where it is
installed. Imports only the standard library.
"""

import argparse
import gzip
import hashlib
import io
import os
import re
import shutil
import string
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
#: Those of Debian 12 and 13, of Ubuntu 24.04, and of what comes next.
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
#: Architectures of Debian, and the wheels for them.
PLATFORMS = {"amd64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}
PREFIX = "opt/amqp-connectors"
DOC = "usr/share/doc/amqp-connectors"
#: What an installer writes beside a package. Without a RECORD pip leaves alone what belongs to dpkg.
INSTALLED_BY = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json")


def run(*words: str | Path, **environment: str) -> None:
    subprocess.run(words, check=True, env={**os.environ, **environment})


def git(*words: str) -> str:
    return subprocess.check_output(["git", "-C", ROOT, *words], text=True).strip()


# -- what is decided


def debian_version(version: str, tags: Collection[str], here: Collection[str], commit: str) -> str:
    """Return the Debian version of a commit: `0.2.0` where the tag v0.2.0 is, something before it until the tag exists,
    and something after it from then on.

    version: that of the sources. tags, here: all tags, and those of the commit. commit: its number and name.
    Raise ValueError if the commit has the tag of another version.
    """
    if f"v{version}" in here:
        return version
    if other := [tag for tag in here if re.fullmatch(r"v\d[\d.]*", tag)]:
        raise ValueError(f"the commit is tagged {other[0]}, but connectorlib/version.py says {version}")
    return f"{version}{'+' if f'v{version}' in tags else '~'}{commit}"


def with_hashes(constraints: str, lock: str) -> str:
    """Return the entries of a lock, with their hashes, for the packages that the constraints name."""
    names = set(re.findall(r"^([\w.-]+)==", constraints, re.MULTILINE))
    entries = re.split(r"^(?=[\w.-]+==)", lock, flags=re.MULTILINE)[1:]
    return "".join(entry for entry in entries if entry.partition("==")[0] in names)


# -- Python


def export(folder: Path) -> None:
    """Write the files of the commit into a folder, with the same modes on every machine."""
    archive = subprocess.check_output(["git", "-C", ROOT, "-c", "tar.umask=0022", "archive", "HEAD"])
    folder.mkdir()
    subprocess.run(["tar", "--extract", "--directory", folder], input=archive, check=True)


def make_tools(lock: Path, folder: Path) -> Path:
    """Have a virtual environment with the locked tools and return its bin/."""
    stamp = folder / "lock"
    if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
        run(sys.executable, "-m", "venv", "--clear", folder)
        pip = (folder / "bin/python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
        run(*pip, "--require-hashes", "--requirement", lock)
        shutil.copyfile(lock, stamp)
    return folder / "bin"


def repack(sdist: Path, epoch: int) -> None:
    """Give a source distribution the times, owners and order that do not depend on who builds it."""
    with tarfile.open(sdist) as old:
        members = [(each, old.extractfile(each)) for each in sorted(old.getmembers(), key=lambda each: each.name)]
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as new:
            for member, content in members:
                member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, "", ""
                member.pax_headers = {}
                new.addfile(member, content)
    sdist.write_bytes(gzip.compress(plain.getvalue(), mtime=epoch))


def build_python(source: Path, tools: Path, epoch: int, out: Path) -> Path:
    """Build and check source distribution and wheel; return the wheel."""
    run(
        tools / "python",
        "-m",
        "build",
        "--quiet",
        "--no-isolation",
        "--outdir",
        out,
        source,
        SOURCE_DATE_EPOCH=str(epoch),
    )
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    repack(sdist, epoch)
    run(tools / "twine", "check", "--strict", sdist, wheel)
    return wheel


# -- Debian


def install_libraries(root: Path, source: Path, wheel: Path, uv: Path, platform: str) -> None:
    """Make the virtual environment: for each Python the libraries, from wheels alone, and one interpreter, Debian's."""
    locked = source / "locked.txt"
    locked.write_text(
        with_hashes((source / "constraints.txt").read_text(), (source / "tests/requirements.lock").read_text())
    )
    for version in PYTHONS:
        site = root / PREFIX / f"lib/python{version}/site-packages"
        target = ("--target", site, "--python-version", version, "--python-platform", platform)
        install = (uv, "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--link-mode", "copy")
        run(*install, *target, "--require-hashes", "--requirement", locked)
        run(*install, *target, wheel)
        shutil.rmtree(site / "bin")
        (site / ".lock").unlink(missing_ok=True)
        for name in INSTALLED_BY:
            for each in site.glob(f"*.dist-info/{name}"):
                each.unlink()
    link_equal_files(root / PREFIX / "lib")
    (root / PREFIX / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    (root / PREFIX / "bin").mkdir()
    (root / PREFIX / "bin/python3").symlink_to("/usr/bin/python3")


def link_equal_files(folder: Path) -> None:
    """Keep files that are equal once, with a hard link for each further one."""
    first: dict[bytes, Path] = {}
    for each in sorted(folder.rglob("*")):
        if each.is_file() and each.stat().st_size:
            kept = first.setdefault(hashlib.sha256(each.read_bytes()).digest(), each)
            if kept is not each:
                each.unlink()
                each.hardlink_to(kept)


def install_commands(root: Path, source: Path, scripts: Mapping[str, str], epoch: int) -> None:
    """Write the commands, with their man pages and the completion of bash, both made by the commands themselves."""
    binaries, man, completion = (
        root / each for each in ("usr/bin", "usr/share/man/man1", "usr/share/bash-completion/completions")
    )
    for folder in (binaries, man, completion):
        folder.mkdir(parents=True)
    site = root / PREFIX / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    environment = {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1", "SOURCE_DATE_EPOCH": str(epoch)}
    for name, target in scripts.items():
        module, _, function = target.partition(":")
        command = root / PREFIX / "bin" / name
        command.write_text(
            f"#!/{PREFIX}/bin/python3\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
        )
        command.chmod(0o755)
        (binaries / name).symlink_to(f"/{PREFIX}/bin/{name}")
        words = [sys.executable, str(command), "completion", "bash"]
        (completion / name).write_bytes(subprocess.check_output(words, env={**os.environ, **environment}))
    run(sys.executable, source / "scripts/man_pages.py", man, **environment)
    for page in man.iterdir():
        pack(page)


def pack(file: Path) -> None:
    file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes(), mtime=0))
    file.unlink()


def install_files(root: Path, source: Path) -> None:
    """Copy units, examples and documentation, and the hook that Debian's python3 calls when its version changes."""
    skip = shutil.ignore_patterns("systemd")
    shutil.copytree(source / "config/systemd", root / "usr/lib/systemd/system")
    shutil.copytree(source / "config", root / DOC / "examples", ignore=skip)
    shutil.copytree(source / "docs", root / DOC / "docs")
    shutil.copyfile(source / "README.md", root / DOC / "README.md")
    shutil.copyfile(source / "scripts/debian/copyright", root / DOC / "copyright")
    shutil.copyfile(source / "CHANGELOG.md", root / DOC / "changelog")
    pack(root / DOC / "changelog")
    hooks = root / "usr/share/python3/runtime.d"
    hooks.mkdir(parents=True)
    shutil.copy(source / "scripts/debian/rtupdate", hooks / "amqp-connectors.rtupdate")


def files_of(root: Path) -> Iterator[Path]:
    yield from (each for each in sorted(root.rglob("*")) if each.is_file() and not each.is_symlink())


def write_control(root: Path, source: Path, facts: Mapping[str, object]) -> None:
    """Write what dpkg reads: the control file, the maintainer scripts and the check sums."""
    sums = [f"{hashlib.md5(each.read_bytes()).hexdigest()}  {each.relative_to(root)}\n" for each in files_of(root)]  # noqa: S324 - dpkg's own
    size = sum({each.stat().st_ino: each.stat().st_size for each in files_of(root)}.values()) // 1024
    folder = root / "DEBIAN"
    folder.mkdir()
    (folder / "md5sums").write_text("".join(sums))
    template = string.Template((source / "scripts/debian/control").read_text())
    (folder / "control").write_text(template.substitute(facts, size=size))
    for name in ("postinst", "prerm", "postrm"):
        shutil.copy(source / "scripts/debian" / name, folder / name)


def build_debian(
    source: Path, wheel: Path, tools: Path, project: Mapping[str, Any], version: str, epoch: int, out: Path
) -> Path:
    """Build the Debian package for the architecture of this machine and return its file."""
    architecture = subprocess.check_output(["dpkg", "--print-architecture"], text=True).strip()
    root = source.with_name("debian")
    install_libraries(root, source, wheel, tools / "uv", PLATFORMS[architecture])
    install_commands(root, source, project["scripts"], epoch)
    install_files(root, source)
    facts = {
        "version": version,
        "architecture": architecture,
        "maintainer": f"{project['authors'][0]['name']} <{project['authors'][0]['email']}>",
        "homepage": project["urls"]["Homepage"],
        "oldest": PYTHONS[0],
        "after": re.sub(r"\d+$", lambda minor: str(int(minor[0]) + 1), PYTHONS[-1]),
    }
    write_control(root, source, facts)
    for each in (root, *root.rglob("*")):
        os.utime(each, (epoch, epoch), follow_symlinks=False)
        if not each.is_symlink():
            each.chmod(0o755 if each.is_dir() or each.stat().st_mode & 0o100 else 0o644)
    file = out / f"amqp-connectors_{version}_{architecture}.deb"
    build = ("dpkg-deb", "--root-owner-group", "--threads-max=1", "-Zxz", "-z3", "--build")
    run(*build, root, file, SOURCE_DATE_EPOCH=str(epoch))
    return file


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser("scripts/package", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="the folder (%(default)s)")
    asked = parser.parse_args(words)
    os.umask(0o022)
    if git("status", "--porcelain"):
        print("package: what is not committed is not packaged", file=sys.stderr)
    epoch = int(git("log", "-1", "--format=%ct"))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        export(source)
        project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
        tools = make_tools(source / "scripts/package.lock", ROOT / "build/package-tools")
        asked.out.mkdir(parents=True, exist_ok=True)
        built = Path(folder) / "built"
        wheel = build_python(source, tools, epoch, built)
        commit = f"{git('rev-list', '--count', 'HEAD')}.g{git('rev-parse', '--short=8', 'HEAD')}"
        tags, here = git("tag").split(), git("tag", "--points-at", "HEAD").split()
        version = debian_version(wheel.name.split("-")[1], tags, here, commit)
        build_debian(source, wheel, tools, project, version, epoch, built)
        for file in sorted(built.iterdir()):
            shutil.move(file, asked.out / file.name)
            print(asked.out / file.name)


if __name__ == "__main__":
    main(sys.argv[1:])
