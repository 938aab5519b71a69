"""On what was measured: the machine, and the versions of everything that takes part."""

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

from tests.bench.services import Services

PACKAGES = ("amqp-connectors", "pika", "pyodbc", "lxml", "requests")


def describe(services: Services) -> dict[str, str]:
    """Return names and versions, those of the services only where they were started."""
    memory = int(_found(r"MemTotal:\s+(\d+)", "/proc/meminfo") or 0) / 1024 / 1024
    model = _found(r"model name\s*: (.+)", "/proc/cpuinfo") or platform.machine()
    found = {
        "processor": f"{os.cpu_count()} × {model}",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.freedesktop_os_release().get('PRETTY_NAME', '')}, Linux {platform.release()}",
        "Python": platform.python_version(),
    }
    return found | services.versions() | {name: version(name) for name in PACKAGES}


def is_busy() -> bool:
    """Return whether other work takes more than a quarter of the processors."""
    return os.getloadavg()[0] > 0.25 * (os.cpu_count() or 1)


def _found(pattern: str, file: str) -> str | None:
    match = re.search(pattern, Path(file).read_text())
    return match[1].strip() if match else None
