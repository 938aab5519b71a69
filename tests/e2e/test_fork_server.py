"""A command that is forked does what the installed one does."""

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Connector
from tests.services.fork_server import start


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (("--version",), {}),
        (("recieve",), {}),
        (("check", "--help"), {"COLUMNS": "60"}),
        (("explain", "-c", "db.config", "message.json"), {"TZ": "Asia/Tokyo"}),
    ],
)
def test_it_ends_alike(on_sqlite: Connector, arguments: tuple[str, ...], environment: dict[str, Any]) -> None:
    on_sqlite.configure()
    (on_sqlite.folder / "message.json").write_text('{"id": 1, "device": "ä", "value": 1.5}')
    assert on_sqlite._may_fork(environment)
    forked = on_sqlite.run(*arguments, **environment)
    on_sqlite.forks = False
    installed = on_sqlite.run(*arguments, **environment)
    assert (forked.returncode, forked.stdout) == (installed.returncode, installed.stdout)
    assert _without_times(forked.stderr) == _without_times(installed.stderr)


def _without_times(log: str) -> list[str]:
    return [line[19:] if line[:2] == "20" else line for line in log.splitlines()]


def test_a_signal_ends_it_and_is_its_exit_code(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        arguments = ["receive", "-c", "/dev/stdin", "--wait", "60s"]
        process = start("dbconnector", arguments, cwd=tmp_path, env={}, stdout=log.fileno(), stderr=log.fileno())
        assert process.wait(30) == 78  # nothing is on its standard input
        daemon = start("sfconnector", ["sandbox", "--port", "0"], cwd=tmp_path, env={}, stdout=1, stderr=log.fileno())
        assert daemon.poll() is None
        daemon.kill()
        assert daemon.wait(10) == -signal.SIGKILL
    assert "/dev/stdin" in (tmp_path / "log").read_text()
