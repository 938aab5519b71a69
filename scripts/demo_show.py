"""What both parts of the demo share: the console, the configurations, and a connector that runs meanwhile."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from connectorlib.expressions import shorten
from tests.services.rabbitmq import Taken

CONFIGURATIONS = Path(__file__).resolve().parent.parent / "config"
console = Console(highlight=False)


def say(text: str) -> None:
    console.print(f"demo: {text}")


def command(name: str) -> Path:
    """Return the path of one of the project's commands."""
    return Path(sys.executable).with_name(name)


def example(name: str) -> dict[str, Any]:
    """Return one of the configurations that are there to start from."""
    configuration: dict[str, Any] = json.loads((CONFIGURATIONS / name).read_text())
    return configuration


def write(folder: Path, name: str, configuration: Mapping[str, Any]) -> Path:
    path = folder / Path(name).name
    path.touch(mode=0o600)  # there are passwords in it
    path.write_text(json.dumps(configuration, indent=2))
    return path


@contextlib.contextmanager
def running(command: Sequence[str | Path], log: Path, **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a connector meanwhile, and end it as systemd does: SIGTERM, then it has to exit 0."""
    with log.open("w") as stderr:
        process = subprocess.Popen(command, stderr=stderr, env=os.environ | environment)
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            code = process.wait(30)
            assert code == 0, f"{Path(command[0]).name} exited with {code}"
        except BaseException:
            process.kill()
            process.wait(10)
            console.print(log.read_text(), style="dim")
            raise


def reason(letter: Taken, length: int = 80) -> str:
    """Return why a message was dead-lettered, from the headers that it carries, cut to so many characters."""
    headers = letter[1].headers
    return f"{headers['dead-reason']}: {headers['dead-code']}, {shorten(headers['dead-text'], length)}"
