"""The systemd units that come along are confined as far as they can be."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = sorted((Path(__file__).parents[2] / "config").glob("*.service"))
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
    "Restart": "on-failure",
}


def settings(unit: Path) -> dict[str, str]:
    lines = unit.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_is_hardly_exposed(unit, capsys):
    assert {key: settings(unit).get(key) for key in WANTED} == WANTED
    command = shutil.which("systemd-analyze")
    if command is None:
        with capsys.disabled():
            print("\nsystemd-analyze is not here: the exposure of the units was not measured")
        return
    asked = [command, "security", "--offline=true", "--no-pager", str(unit)]
    told = subprocess.run(asked, capture_output=True, text=True)
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d)", told.stdout)
    assert found, told.stdout + told.stderr
    assert float(found[1]) <= MOST_EXPOSURE, told.stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_no_secret_of_a_unit_comes_from_the_environment(unit):
    assert "Environment" not in settings(unit)
    assert "LoadCredential" in settings(unit)
