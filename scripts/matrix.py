#!/usr/bin/env python3
"""Runs the tests on this machine and on other releases of Debian, and writes the outcome into docs/compatibility.md.

A leg is `host`, a release of Debian, or a Python of this machine, by name or path. Each leg has a copy of the checkout
with a `.venv` of its own. A release is made once, by debootstrap, as a folder that later runs use again; it brings its
own broker, databases, drivers and Python. That needs root. What cannot be had is named, with the reason, and is no
failure as long as something was run. Arguments after `--` go to pytest; then the page is not written, for a part of a
suite says nothing of the whole.
"""

import argparse
import datetime
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts import matrix_table  # noqa: E402  # found through the line above

PAGE = ROOT / "docs" / "compatibility.md"
DEBIANS = ("bookworm", "trixie", "forky")
LEGS = ("host", "trixie", "forky")
DEBOOTSTRAP_SCRIPTS = Path("/usr/share/debootstrap/scripts")
#: Run by bash in a mount namespace of its own: what it mounts is gone with its last process, however that ends.
ENTER = 'for each in proc dev dev/pts; do mount --bind "/$each" "$0/$each"; done; exec chroot "$0" "$@"'


class NotAvailable(Exception):
    """A leg cannot be run here; the text says why."""


@dataclass(frozen=True)
class Leg:
    """A system to run the tests on. `folder` is a whole Debian, or the copy of the checkout on this machine."""

    name: str
    folder: Path

    @property
    def is_debian(self) -> bool:
        return self.name in DEBIANS

    @property
    def checkout(self) -> Path:
        return self.folder / "srv" / "checkout" if self.is_debian else self.folder

    @property
    def system(self) -> str:
        """The name that the system gives itself."""
        release = (self.folder if self.is_debian else Path("/")) / "etc/os-release"
        found = re.search(r'^PRETTY_NAME="?(.*?)"?$', release.read_text(), re.MULTILINE)
        return found[1].replace("GNU/Linux ", "") if found else self.name

    def command(self, *words: str) -> list[str]:
        """Return the command that runs another one in the leg's checkout."""
        if not self.is_debian:
            python = [] if self.name == "host" else [f"PYTHON={self.name}"]
            return ["env", "-C", str(self.checkout), *python, *words]
        enter = ["unshare", "--mount", "bash", "-ec", ENTER, str(self.folder)]
        return [*enter, "env", "-C", "/srv/checkout", "HOME=/root", *words]

    def ask(self, *words: str) -> str:
        """Return what a command prints; its exit code says nothing (dpkg-query fails if one of many is unknown)."""
        return subprocess.run(self.command(*words), stdout=subprocess.PIPE, text=True, check=False).stdout.strip()


def say(text: str) -> None:
    print(f"matrix: {text}", flush=True)


def run_logged(command: Sequence[str], log: Path) -> int:
    """Run a command with all that it prints in a file, and return its exit code."""
    with log.open("wb") as file:
        return subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False).returncode


def last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def must(command: Sequence[str], log: Path, what: str) -> None:
    if run_logged(command, log):
        raise NotAvailable(f"{what} failed: {last_line(log)} ({log})")


def make_debian(leg: Leg, mirror: str, log: Path) -> None:
    """Make the folder of a leg, unless it is there. debootstrap's own folder in it is gone once it has succeeded."""
    if (leg.folder / "etc/debian_version").exists() and not (leg.folder / "debootstrap").exists():
        return
    if not (program := shutil.which("debootstrap", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")):
        raise NotAvailable("debootstrap is not installed")
    script = DEBOOTSTRAP_SCRIPTS / leg.name
    if not script.exists():  # an older debootstrap does not know the name yet, and all of them are made alike
        script = script.with_name("sid")
    say(f"{leg.name}: making {leg.folder}")
    options = ["--variant=minbase", "--include=ca-certificates"]
    must([program, *options, leg.name, str(leg.folder), mirror, str(script)], log, "debootstrap")
    # A proxy's authority too. The first file lasts until some package has it made of all others, as of the second.
    authorities = Path("/etc/ssl/certs/ca-certificates.crt")
    if authorities.exists():
        for copy in (authorities, Path("/usr/local/share/ca-certificates/matrix.crt")):
            shutil.copyfile(authorities, leg.folder / copy.relative_to("/"))
    # A mirror may be behind the day until which a release that is still tested is valid. Signatures are checked.
    (leg.folder / "etc/apt/apt.conf.d/90matrix").write_text('Acquire::Check-Valid-Until "false";\n')


def copy_checkout(target: Path) -> None:
    """Copy what git knows or would add. A `.venv` from an earlier run stays."""
    target.mkdir(parents=True, exist_ok=True)
    for each in target.iterdir():
        if each.is_dir() and each.name != ".venv":
            shutil.rmtree(each)
        elif not each.is_dir():
            each.unlink()
    listing = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(listing, text=True).strip("\0").split("\0"):
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)


@dataclass(frozen=True)
class Plan:
    """What is run on each leg."""

    suites: Sequence[str]
    chosen: Sequence[str]
    processes: int
    mirror: str
    logs: Path

    def log(self, leg: Leg, of: str) -> Path:
        return self.logs / f"{Path(leg.name).name}-{of}.log"


def prepare(leg: Leg, plan: Plan) -> None:
    """Have the leg with its checkout, ready for the tests; raise NotAvailable."""
    if leg.is_debian:
        if os.geteuid() != 0:
            raise NotAvailable("debootstrap, mount and chroot need root")
        make_debian(leg, plan.mirror, plan.log(leg, "debootstrap"))
    elif leg.name != "host" and not shutil.which(leg.name):
        raise NotAvailable("there is no such Python here, and no such release of Debian")
    copy_checkout(leg.checkout)
    say(f"{leg.name}: scripts/setup")
    must(leg.command("scripts/setup"), plan.log(leg, "setup"), "scripts/setup")


def run_suite(leg: Leg, suite: str, plan: Plan) -> str:
    """Run a suite and return its cell. What measures speed, or takes minutes on purpose, is left out."""
    log = plan.log(leg, suite)
    say(f"{leg.name}: {suite} ({log})")
    pytest = [".venv/bin/python", "-m", "pytest", "--quiet", "--no-header", f"--numprocesses={plan.processes}"]
    choice = ["--dist=worksteal", "-m", "not alone", f"tests/{suite}", *plan.chosen]
    code = run_logged(leg.command("env", "PYTHONUNBUFFERED=1", *pytest, *choice), log)
    cell = matrix_table.outcome(code, last_line(log))
    say(f"{leg.name}: {suite}: {cell}")
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith(("FAILED ", "ERROR ")):
            say(f"{leg.name}: {line}")
    return cell


def run_leg(leg: Leg, plan: Plan) -> matrix_table.Row:
    prepare(leg, plan)
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    packages = leg.ask("dpkg-query", "-W", "-f", r"${Package} ${Version}\n")
    python = leg.ask(".venv/bin/python", "-V").removeprefix("Python ")
    outcomes = {suite: run_suite(leg, suite, plan) for suite in plan.suites}
    return matrix_table.row(leg.system, python, day, packages, outcomes)


def run_legs(legs: Sequence[Leg], plan: Plan) -> list[matrix_table.Row]:
    """Run all legs that can be had and return their rows; print the table, and why a leg could not be had."""
    rows, missing = [], []
    for leg in legs:
        try:
            rows.append(run_leg(leg, plan))
        except NotAvailable as reason:
            missing.append(f"{leg.name}: not run: {reason}")
    print(matrix_table.table(rows))
    for line in missing:
        say(line)
    return rows


def options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/matrix", description=__doc__)
    parser.add_argument(
        "leg", nargs="*", default=LEGS, help=f"default: {' '.join(LEGS)}; also {DEBIANS[0]}, python3.12, …"
    )
    parser.add_argument("--suite", action="append", choices=matrix_table.SUITES, help="only this one; may be repeated")
    parser.add_argument(
        "--folder", type=Path, default=Path.home() / ".cache/amqp-connectors-matrix", help="(%(default)s)"
    )
    parser.add_argument("--mirror", default="http://deb.debian.org/debian", help="(%(default)s)")
    parser.add_argument("--processes", type=int, default=3, help="of pytest (%(default)s)")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> bool:
    """Return whether something was run and nothing failed."""
    end = words.index("--") if "--" in words else len(words)
    chosen, asked = words[end + 1 :], options(words[:end])
    logs = asked.folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    plan = Plan(asked.suite or matrix_table.SUITES, chosen, asked.processes, asked.mirror, logs)
    rows = run_legs([Leg(name, asked.folder / Path(name).name) for name in asked.leg], plan)
    if not chosen:
        PAGE.write_text(matrix_table.written(PAGE.read_text(), rows))
    return bool(rows) and not any(map(matrix_table.has_failed, rows))


if __name__ == "__main__":
    sys.exit(not main(sys.argv[1:]))
