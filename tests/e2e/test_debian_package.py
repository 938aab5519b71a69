"""The Debian package in a bare Debian: installed by apt, used by its own user, upgraded, removed, purged.

`scripts/package --test` runs it; it takes minutes, and needs root and debootstrap. The bare system is made once, below
~/.cache/amqp-connectors-matrix, and copied for each run. One test runs the command of a unit on a real broker, under
its user and with its credentials, but without systemd; the other lets systemd boot the system (systemd-container).
"""

import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest

from connectorlib.version import VERSION
from tests.services.debian import Debian, bare
from tests.services.waiting import eventually

pytestmark = [pytest.mark.package, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]
CACHE = Path.home() / ".cache/amqp-connectors-matrix"
PROGRAMS = ("dbconnector", "sfconnector", "deadletter-queue")
COMPLETIONS = "/usr/share/bash-completion/completions"
HIGHER = "9.0"
HAS_BYTECODE = """
import glob, sys
folder = "/opt/amqp-connectors/lib/python%d.%d/site-packages" % sys.version_info[:2]
print(bool(glob.glob(f"{folder}/dbconnector/__pycache__/cli.*.pyc")))
"""


def build(out: Path) -> Path:
    """Build everything into a folder and return the Debian package."""
    subprocess.run([ROOT / "scripts/package", "--out", out], check=True)
    (package,) = out.glob("*.deb")
    return package


def with_version(package: Path, version: str, folder: Path) -> Path:
    """Return the same package with another version."""
    subprocess.run(["dpkg-deb", "--raw-extract", package, folder / "files"], check=True)
    control = folder / "files/DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: .*$", f"Version: {version}", control.read_text()))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", folder / "files", folder], check=True)
    (other,) = folder.glob("*.deb")
    return other


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The package of this commit, and the same with a higher version."""
    first = build(tmp_path_factory.mktemp("first"))
    return first, with_version(first, HIGHER, tmp_path_factory.mktemp("second"))


@pytest.fixture(params=["bookworm", "trixie"])
def debian(request):
    folder = CACHE / f"package-{request.param}-{os.getpid()}"
    try:
        yield bare(request.param, CACHE, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def installed(debian: Debian, package: Path) -> None:
    shutil.copy(package, debian.path("/tmp"))
    debian.apt("install", f"/tmp/{package.name}")
    assert debian.run("dpkg", "--verify", "amqp-connectors") == ""


def written_by_the_unit(debian: Debian, vhost, number: int) -> None:
    """Run what dbconnector@readings runs, under its user, until it has written a message; then end it by SIGTERM."""
    unit = debian.path("/usr/lib/systemd/system/dbconnector@.service").read_text()
    settings = dict(re.findall(r"^(\w+)=(.+)$", unit, re.MULTILINE))
    words = settings["ExecStart"].replace("%i", "readings").split()
    confined = debian.command("env", "CREDENTIALS_DIRECTORY=/run/credentials", *words, user=settings["User"])
    vhost.publish("devices", "reading.p7", json.dumps({"device": "p7", "value": number}))
    with subprocess.Popen(confined, stderr=subprocess.PIPE, text=True) as process:
        try:
            with sqlite3.connect(debian.path("/var/lib/dbconnector/readings/plant.db")) as database:
                query = "SELECT count(*) FROM reading WHERE value = ?"
                eventually(lambda: database.execute(query, [number]).fetchone() == (1,) or process.poll() is not None)
        finally:
            process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log


def configured(debian: Debian, vhost) -> None:
    """Write a configuration as an administrator would, and its credentials where systemd would put them."""
    state, credentials = debian.path("/var/lib/dbconnector/readings"), debian.path("/run/credentials")
    state.mkdir(parents=True)
    credentials.mkdir()
    with sqlite3.connect(state / "plant.db") as database:
        database.execute("CREATE TABLE reading (device text, value integer)")
    broker = vhost.config()
    (credentials / "amqp").write_text(broker["password"])
    configuration = {
        "database": {
            "connection": {"Driver": "SQLite3", "Database": "/var/lib/dbconnector/readings/plant.db"},
            "write": [{"statement": "INSERT INTO reading (device, value) VALUES (:device, :value)"}],
        },
        "broker": {**broker, "password": "${credential:amqp}", "source": {"queue": "readings"}},
    }
    debian.path("/etc/dbconnector/readings.config").write_text(json.dumps(configuration))
    debian.run("chown", "--recursive", "dbconnector:", "/var/lib/dbconnector", "/run/credentials")
    debian.run("chmod", "--recursive", "u=rwX,go=", "/run/credentials")
    debian.run("chmod", "640", "/etc/dbconnector/readings.config")


def test_the_same_commit_gives_the_same_files(packages, tmp_path):
    again = build(tmp_path)
    for file in again.parent.iterdir():
        first = packages[0].parent / file.name
        assert hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(first.read_bytes()).digest(), file.name
    assert len(list(again.parent.iterdir())) == 3


def usable(debian: Debian) -> None:
    """What is installed works for the user of the service, and is what Debian expects."""
    for program in PROGRAMS:
        assert debian.run(program, "--version", user="dbconnector") == f"{program}, version {VERSION}\n"
        assert f"Usage: {program}" in debian.run(program, "--help", user="dbconnector")
        assert "EXIT STATUS" in debian.run("env", "LC_ALL=C.UTF-8", "man", program)
        assert f"complete -o nosort -F _{program.replace('-', '_')}_completion" in debian.read(
            f"{COMPLETIONS}/{program}"
        )
    units = [path.name.replace("@.", "@readings.") for path in (ROOT / "config/systemd").iterdir()]
    assert debian.run("systemd-analyze", "verify", "--man=no", *units) == ""
    modes = debian.run("stat", "-c", "%a %U %G", "/etc/dbconnector", "/etc/sfconnector").splitlines()
    assert modes == ["2750 root dbconnector", "2750 root sfconnector"]
    assert debian.run("python3", "-c", HAS_BYTECODE) == "True\n"


def left_by_systemd(debian: Debian) -> None:
    """Make what systemd leaves of units that were enabled, ran and wrote nothing."""
    wants = debian.path("/etc/systemd/system/multi-user.target.wants")
    wants.mkdir(parents=True, exist_ok=True)
    (wants / "dbconnector@readings.service").symlink_to("/lib/systemd/system/dbconnector@.service")
    for link, folder in {
        "dbconnector/other": "../private/dbconnector/other",
        "sfconnector": "private/sfconnector",
    }.items():
        debian.path(f"/var/lib/{link}").symlink_to(folder)
        debian.path(f"/var/lib/{link}").parent.joinpath(folder).mkdir(parents=True)


def test_a_package_is_installed_used_upgraded_removed_and_purged(packages, debian, vhost):
    first, second = packages
    debian.apt("install", "libsqliteodbc", "systemd", "man-db")
    vhost.declare_queue("readings", "devices", "reading.#")

    installed(debian, first)
    usable(debian)
    configured(debian, vhost)
    written_by_the_unit(debian, vhost, 1)
    debian.run("chmod", "2700", "/etc/sfconnector")

    installed(debian, second)
    assert f" {HIGHER}\n" in debian.run("dpkg-query", "-W", "-f", "${Package} ${Version}\n", "amqp-connectors")
    assert debian.run("stat", "-c", "%a", "/etc/sfconnector") == "2700\n"
    written_by_the_unit(debian, vhost, 2)

    debian.apt("remove", "amqp-connectors")
    assert debian.found("*connector*", "opt", "usr") == []
    assert debian.found("readings*", "etc/dbconnector") == ["etc/dbconnector/readings.config"]
    assert "dbconnector" in debian.read("/etc/passwd")

    left_by_systemd(debian)
    assert "/var/lib/dbconnector is not empty" in debian.apt("purge", "amqp-connectors")
    assert "connector" not in debian.read("/etc/passwd") + debian.read("/etc/group")
    assert debian.found("*connector*", "etc", "opt", "usr", "run", "var/lib") == ["var/lib/dbconnector"]


SERVICES = """
cp /root/readings.config /etc/dbconnector/; chmod 640 /etc/dbconnector/readings.config
for each in db amqp; do echo secret | install -m 600 /dev/stdin /etc/dbconnector/readings.$each.pw; done
systemctl enable --now dbconnector@readings
before=$(systemctl show -P MainPID dbconnector@readings)
test "$(ps -o user:20= -p $before)" = dbconnector
dpkg -i /root/higher.deb
test "$(systemctl is-active dbconnector@readings sfconnector | tr '\\n' ' ')" = "active inactive "
test "$(systemctl show -P MainPID dbconnector@readings)" != $before
systemctl reload dbconnector@readings
dpkg --remove amqp-connectors
test -z "$(pgrep dbconnector)"
dpkg --purge amqp-connectors
"""


# Debian 13's systemd refuses to boot where control groups are those of version 1.
@pytest.mark.parametrize("debian", ["bookworm"], indirect=True)
def test_a_running_service_restarts_with_an_upgrade_and_stops_with_a_removal(packages, debian):
    first, second = packages
    debian.apt("install", "systemd-sysv", "dbus", "procps", "libsqliteodbc")
    installed(debian, first)
    configuration = {
        "database": {
            "connection": {"Driver": "SQLite3", "Database": ":memory:"},
            "write": [{"statement": "INSERT INTO t (v) VALUES (:v)"}],
        },
        "broker": {"host": "127.0.0.1", "port": 1, "password": "${credential:amqp}", "source": {"queue": "readings"}},
    }
    debian.path("/root/readings.config").write_text(json.dumps(configuration))
    shutil.copy(second, debian.path("/root/higher.deb"))
    debian.boot(SERVICES)
    assert debian.found("*connector*", "etc", "opt", "usr", "var/lib") == []
