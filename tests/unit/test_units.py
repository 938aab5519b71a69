"""The systemd units that come along are right, alike, and confined as far as they can be."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from connectorlib.service.exit_codes import ExitCode

FOLDER = Path(__file__).parents[2] / "config" / "systemd"
SERVICES = sorted(FOLDER.glob("*.service"))
DAEMONS = [FOLDER / "dbconnector@.service", FOLDER / "sfconnector.service"]
#: Of `systemd-analyze security`: 0 is no risk at all, 10 is a service of root without any limit.
MOST_EXPOSURE = 1.5
#: What it does not look at, or only where it runs.
WANTED = {
    "LimitCORE": "0",
    "NoNewPrivileges": "yes",
    "DynamicUser": "yes",
    "ProtectSystem": "strict",
    "CapabilityBoundingSet": "",
    "SystemCallArchitectures": "native",
    "UMask": "0077",
}
#: Where the commands are installed, as the units say it.
INSTALLED = re.compile(r"/opt/[\w-]+/bin/")


def settings(unit: Path) -> dict[str, str]:
    lines = unit.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def analyze(*arguments: str | Path) -> str:
    """Ask systemd-analyze; return all that it says, of both streams."""
    done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"exit code {done.returncode}")


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_a_unit_is_hardly_exposed(unit):
    assert {key: settings(unit).get(key) for key in WANTED} == WANTED
    told = analyze("security", "--offline=true", "--no-pager", unit)
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d)", told)
    assert found, told
    assert float(found[1]) <= MOST_EXPOSURE, told


def test_systemd_finds_nothing_to_complain_of(tmp_path):
    names = []
    for unit in FOLDER.iterdir():
        names.append(tmp_path / unit.name.replace("@.", "@readings."))
        names[-1].write_text(INSTALLED.sub(f"{Path(sys.executable).parent}/", unit.read_text()))
    assert len(names) == 6
    assert analyze("verify", "--man=no", *names) == ""


def test_all_units_are_confined_alike():
    """What differs are the folders, and the remark about ODBC drivers."""

    def confined(unit: Path) -> list[str]:
        text = unit.read_text().partition("# What it may do")[2].partition("[Install]")[0]
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        return [line for line in lines if not line.startswith(("User=", "StateDirectory=", "WorkingDirectory="))]

    assert len(confined(DAEMONS[0])) > 25
    assert [unit.name for unit in SERVICES if confined(unit) != confined(DAEMONS[0])] == []


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_no_secret_of_a_unit_comes_from_the_environment(unit):
    assert "Environment" not in settings(unit)
    assert "LoadCredential" in settings(unit)


@pytest.mark.parametrize("daemon", DAEMONS, ids=lambda unit: unit.stem)
def test_a_daemon_is_watched_and_started_again_where_that_can_help(daemon):
    found = settings(daemon)
    assert (found["Type"], found["Restart"]) == ("notify", "on-failure")
    assert int(found["WatchdogSec"]) > 0
    hopeless = (ExitCode.USAGE, ExitCode.REFUSED, ExitCode.BAD_CONFIGURATION)
    assert found["RestartPreventExitStatus"].split() == [str(int(code)) for code in hopeless]


def test_no_rows_are_no_failure_of_a_timer():
    assert settings(FOLDER / "dbconnector-select@.service")["SuccessExitStatus"] == str(int(ExitCode.NOTHING))


def secrets_of(unit: Path) -> list[str]:
    return [line for line in unit.read_text().splitlines() if line.startswith("LoadCredential=")]


@pytest.mark.parametrize("daemon", DAEMONS, ids=lambda unit: unit.stem)
def test_a_check_has_the_user_and_the_secrets_of_what_it_checks(daemon):
    check = FOLDER / daemon.name.replace("connector", "connector-check")
    assert secrets_of(check) == secrets_of(daemon)
    assert settings(check)["User"] == settings(daemon)["User"]
    command = settings(daemon)["ExecStart"].replace("sfconnector -i", "sfconnector run -i").split()
    assert settings(check)["ExecStart"].split() == [command[0], "check", *command[2:]]
