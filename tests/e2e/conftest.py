"""The installed command, run as a user runs it: a configuration file, a process, its log and its exit code."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from connectorlib.pipeline import blame
from connectorlib.values.backoff import Backoff
from tests.conftest import VARIANTS, fresh
from tests.services import fork_server
from tests.services.database import Database
from tests.services.rabbitmq import Vhost
from tests.services.salesforce import Org
from tests.services.waiting import eventually

if TYPE_CHECKING:
    from tests.e2e.cases import Divisions

#: From here on its queue exists; that the connection is there is told before, with the same word in its name.
CONSUMING = " consuming queue="

#: Runs a command and prints the most memory (KiB) that it had. Asked of a small process in between: the figure of a
#: child begins with the memory of the process that started it, and a test run is a large one.
MEASURE = (
    "import resource, subprocess, sys\n"
    "code = subprocess.call(sys.argv[1:])\n"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    "sys.exit(code)"
)

#: For what a command does with values and statements: on both drivers of PostgreSQL. What else it does is the same with
#: either.
EACH_DRIVER = pytest.mark.parametrize("database", VARIANTS, indirect=True)

TABLE = (
    "CREATE TABLE reading (id integer NOT NULL PRIMARY KEY, device varchar(20) NOT NULL, "
    "value numeric(12,4) CHECK (value < 1000))"
)
INSERT = {"statement": "INSERT INTO reading (id, device, value) VALUES (:id, :device, :value)"}


def reading(id: int, device: str | None = "p-1", value: Any = 1.5, **more: Any) -> bytes:
    """Return the body of one message that INSERT can write into TABLE."""
    return json.dumps({"id": id, "device": device, "value": value, **more}).encode()


def installed(command: str) -> Path:
    """Return the path of one of the project's commands."""
    return Path(sys.executable).with_name(command)


class Running:
    """A command that goes on until it is stopped."""

    def __init__(self, process: "subprocess.Popen[bytes] | fork_server.Forked", log: Path) -> None:
        self.process = process
        #: What it must exit with at the end of its block.
        self.code = 0
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for(self, text: str, timeout: float = 30.0, *, times: int = 1) -> str:
        """Wait until the log holds the text, so many times; return the log."""
        eventually(
            lambda: self.log.count(text) >= times or self.process.poll() is not None,
            timeout,
            what=f"{text!r} in the log",
        )
        assert self.log.count(text) >= times, self.log
        return self.log

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self, timeout: float = 30.0) -> int:
        """Ask it to stop; return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)


class Command:
    """One of the installed commands, run in a folder of its own."""

    command = "dbconnector"
    #: Whether a process that has imported it is forked; otherwise it is started as it is installed.
    forks = True
    #: What the commands have instead of the product's constants: shorter waits.
    constants: fork_server.Constants = fork_server.NOTHING

    @property
    def program(self) -> list[str]:
        return [str(installed(self.command))]

    def __init__(self, folder: Path, vhost: Vhost) -> None:
        self.folder = folder
        self.vhost = vhost
        self._logs = 0

    def run(self, *arguments: str, timeout: float = 60.0, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        if not self._may_fork(environment):
            return self._run([*self.program, *arguments], timeout, environment)
        env = os.environ | environment
        return fork_server.run(
            self.command, arguments, cwd=self.folder, env=env, timeout=timeout, constants=self.constants
        )

    def measured(
        self, *arguments: str, timeout: float = 60.0, **environment: str
    ) -> "tuple[subprocess.CompletedProcess[str], float]":
        """Run a command to its end; return it, and the most memory that it had, in MB of 1,048,576 bytes."""
        done = self._run([sys.executable, "-ISc", MEASURE, *self.program, *arguments], timeout, environment)
        *lines, peak = done.stdout.splitlines(keepends=True)
        done.stdout = "".join(lines)
        return done, int(peak) / 1024

    def _may_fork(self, environment: Mapping[str, str]) -> bool:
        """Return whether a fork differs in nothing from the installed command, but for the time of its start."""
        is_ours = self.program == [str(installed(self.command))]
        forks = self.forks and is_ours and not any(name.startswith("PYTHON") for name in environment)
        assert forks or not self.constants, "an installed command has the constants that it has"
        return forks

    def _started(
        self, arguments: Sequence[str], environment: Mapping[str, str], stdout: int, stderr: int
    ) -> "subprocess.Popen[bytes] | fork_server.Forked":
        env = os.environ | environment
        if self._may_fork(environment):
            streams = {"stdout": stdout, "stderr": stderr}
            return fork_server.start(
                self.command, arguments, cwd=self.folder, env=env, constants=self.constants, **streams
            )
        return subprocess.Popen([*self.program, *arguments], cwd=self.folder, env=env, stdout=stdout, stderr=stderr)

    def _run(
        self, command: Sequence[str | Path], timeout: float, environment: Mapping[str, str]
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command,
            cwd=self.folder,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    @contextlib.contextmanager
    def running(self, *arguments: str, ready: str = CONSUMING, times: int = 1, **environment: str) -> Iterator[Running]:
        """Run a command until the end of the block, where it is stopped and must exit with 0."""
        self._logs += 1
        log = self.folder / f"log-{self._logs}"
        with log.open("wb") as stderr, self._started(arguments, environment, 1, stderr.fileno()) as it:
            running = Running(it, log)
            try:
                if ready:
                    running.wait_for(ready, times=times)
                yield running
                killed = it.poll() == -signal.SIGKILL
                assert killed or running.stop() == running.code, running.log
            finally:
                if it.poll() is None:
                    running.kill()
                print(running.log)  # pytest shows it when the test fails

    def dead(self, queue: str = "dead-letter") -> list[tuple[bytes, dict[str, Any]]]:
        """Take what is in the dead-letter queue: bodies and headers."""
        taken = self.vhost.get_all(queue)
        return [(body, dict(properties.headers or {})) for _, properties, body in taken]


class Connector(Command):
    """dbconnector between one vhost and one database."""

    def __init__(self, folder: Path, vhost: Vhost, database: Database) -> None:
        super().__init__(folder, vhost)
        self.database = database
        self.file = folder / "db.config"

    def configure(
        self,
        *,
        write: Any = (INSERT,),
        database: Mapping[str, Any] | None = None,
        broker: Mapping[str, Any] | None = None,
        **sections: Any,
    ) -> Path:
        """Write db.config: from the queue `readings` into the table `reading`, but for what is said."""
        source = {"queue": "readings", "exchange": "devices", "routing_keys": ["reading.#"]}
        config = {
            "database": self.database.config(**({"write": list(write)} if write else {})) | dict(database or {}),
            "broker": self.vhost.config(**{"source": source, **(broker or {})}),
            "format": {"type": "json"},
            "retry": {"attempts": 2, "first_ms": 50},
        } | sections
        self.file.write_text(json.dumps(config, indent=2))
        return self.file

    def subscribed(self, ready: str = CONSUMING, **environment: str) -> contextlib.AbstractContextManager[Running]:
        return self.running("subscribe", "-c", str(self.file), ready=ready, times=1, **environment)

    def publish(self, *bodies: bytes, queue: str = "readings", **properties: Any) -> None:
        self.vhost.publish("", queue, list(bodies), **properties)


@pytest.fixture
def as_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start the commands as they are installed, where memory, the start or what the system shows matters."""
    monkeypatch.setattr(Command, "forks", False)


@pytest.fixture
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow that is paused for its target is tried again after a quarter of the usual time."""
    probes = [0.25, 15.0, 0.25]
    monkeypatch.setattr(blame, "PROBES", Backoff(*probes))
    monkeypatch.setattr(Command, "constants", {"connectorlib.pipeline.blame.PROBES": probes})


@pytest.fixture(params=[variant for variant in VARIANTS if variant != "postgresql-ansi"])
def database(request: pytest.FixtureRequest) -> Database:
    """A fresh database, once for each server."""
    return fresh(request)


@pytest.fixture
def connector(tmp_path: Path, vhost: Vhost, database: Database) -> Connector:
    """On each of the databases."""
    database.execute(TABLE)
    return Connector(tmp_path, vhost, database)


@pytest.fixture
def on_postgres(tmp_path: Path, vhost: Vhost, postgres_db: Database) -> Connector:
    postgres_db.execute(TABLE)
    return Connector(tmp_path, vhost, postgres_db)


@pytest.fixture
def on_sqlite(tmp_path: Path, vhost: Vhost, sqlite_db: Database) -> Connector:
    """Where the database does not matter: the quickest."""
    sqlite_db.execute(TABLE)
    return Connector(tmp_path, vhost, sqlite_db)


@pytest.fixture
def divisions(tmp_path: Path, vhost: Vhost, salesforce: Org) -> "Divisions":
    """sfconnector without a division yet."""
    from tests.e2e.cases import Divisions  # late: it builds on this module

    return Divisions(tmp_path, vhost, salesforce)


@pytest.fixture
def on(tmp_path: Path, vhost: Vhost, request: pytest.FixtureRequest) -> Callable[[str], Connector]:
    """Make one on the database of the fixture with that name, for tests that not every database can run."""

    def make(name: str) -> Connector:
        database: Database = request.getfixturevalue(name)
        database.execute(TABLE)
        return Connector(tmp_path, vhost, database)

    return make
