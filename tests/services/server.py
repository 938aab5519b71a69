"""A server process of the run's own: started in its own process group, stopped, killed, paused and resumed."""

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from tests.services.reaper import Reaper, kill_group
from tests.services.waiting import eventually


class Run:
    """What all servers of one run share: the folder, and the reaper that cleans up behind it."""

    def __init__(self) -> None:
        self.reaper = Reaper()
        self.folder = Path(tempfile.mkdtemp(prefix="amqp-connectors-"))
        self.folder.chmod(0o755)  # servers that refuse to run as root have to pass through
        self.reaper.remove(self.folder)

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self.reaper.close()


def free_port() -> int:
    """Return a port that nobody listens on.

    It lies below Linux's ephemeral range: inside it, a client that keeps connecting to a stopped server may be given
    that very port as its own and connect to itself, and then the server cannot come back.
    """
    for port in random.sample(range(20_000, 32_000), 200):
        with socket.socket() as candidate, contextlib.suppress(OSError):
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            candidate.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port between 20000 and 32000")


def binary(name: str, *folders: str) -> str:
    """Return the path of a program; fail with what to do when it is missing."""
    found = shutil.which(name, path=os.pathsep.join([*folders, os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))
    if not found:
        raise RuntimeError(f"{name} is not installed: run scripts/setup")
    return found


def as_user(user: str) -> list[str]:
    """Return the prefix of a command that must not run as root; nothing when we are not root."""
    if os.geteuid() != 0:
        return []
    return [binary("setpriv"), f"--reuid={user}", f"--regid={user}", "--init-groups", "--"]


class Server:
    """One server on 127.0.0.1. Sub-classes say how it is prepared once, how it is started and when it is ready."""

    name = "server"
    user = ""  # the system user it runs as when the run belongs to root
    stop_signal = signal.SIGTERM
    start_timeout = 60.0

    def __init__(self, run: Run) -> None:
        self._run = run
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=run.folder))
        self.host = "127.0.0.1"
        self.port = free_port()
        self._groups: list[subprocess.Popen[bytes]] = []
        self.give(self.folder)

    # What differs between servers.

    def commands(self) -> Sequence[Sequence[str]]:
        """Return the commands of the processes to run, in order; the last one is the server itself."""
        raise RuntimeError("not said")

    def environment(self) -> Mapping[str, str]:
        return {}

    def is_ready(self) -> bool:
        raise RuntimeError("not said")

    # What is the same.

    @property
    def running(self) -> bool:
        return bool(self._groups) and self._groups[-1].poll() is None

    def start(self) -> None:
        """Start it and wait until it answers. Nothing happens if it runs."""
        if self.running:
            return
        for command in self.commands():
            self._spawn(command)
        eventually(self._ready_or_dead, self.start_timeout, 0.05, f"{self.name} ready (see {self.log})")

    def stop(self, timeout: float = 60.0) -> None:
        """Stop it in its own orderly way and wait for its end."""
        if self.running:
            self.resume()
            self._groups[-1].send_signal(self.stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._groups[-1].wait(timeout)
        self.discard()

    def kill(self) -> None:
        """End it without a warning, as a power cut does."""
        self.discard()

    def discard(self) -> None:
        """End it; nobody needs it any more."""
        for process in reversed(self._groups):
            kill_group(process.pid)
            process.wait(30)
            # The process started may be a shell: its port is free only when the server behind it is gone too.
            eventually(partial(_is_over, process.pid), 30, what=f"{self.name} ended")
            self._run.reaper.forget(process.pid)
        self._groups.clear()

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        self.stop()
        self.start()

    @property
    def log(self) -> Path:
        return self._run.folder / f"{self.folder.name}.log"

    def give(self, path: Path) -> None:
        """Make `path` belong to the user that the server runs as."""
        if self.user and os.geteuid() == 0:
            account = pwd.getpwnam(self.user)
            os.chown(path, account.pw_uid, account.pw_gid)

    def prepare(self, command: Sequence[str]) -> None:
        """Run a command that ends by itself, such as the one that makes the data folder."""
        done = subprocess.run(
            [*as_user(self.user), *command] if self.user else [*command],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed with {done.returncode}:\n{done.stdout}{done.stderr}")

    def _spawn(self, command: Sequence[str]) -> None:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [*as_user(self.user), *command] if self.user else [*command],
                cwd=self.folder,
                env={**os.environ, **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._groups.append(process)
        self._run.reaper.watch(process.pid)

    def _ready_or_dead(self) -> bool:
        if not self.running:
            tail = self.log.read_text(errors="replace")[-3000:]
            raise RuntimeError(f"{self.name} ended with {self._groups[-1].returncode}:\n{tail}")
        return self.is_ready()

    def _signal(self, number: int) -> None:
        if self._groups:
            group = self._groups[-1].pid
            # PostgreSQL's sessions leave the group, but not their parent.
            for process in {*members(group), *children(members(group))}:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)


def members(group: int) -> list[int]:
    """Return the living processes of a process group; one that nobody has reaped yet is not living.

    Looked at thread by thread: of a killed process the first thread may be over while another still holds its port.
    """
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if _state_and_group(status)[1] != group:
                continue
            threads = status.parent.glob("task/*/stat")
            if any(_state_and_group(thread)[0] != "Z" for thread in threads):
                found.add(int(status.parent.name))
    return sorted(found)


def _state_and_group(status: Path) -> tuple[str, int]:
    state, _parent, group, *_ = status.read_text().rpartition(")")[2].split()
    return state, int(group)


def children(parents: Iterable[int]) -> list[int]:
    """Return the processes that these have started."""
    found = []
    wanted = set(parents)
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            _, parent, *_ = status.read_text().rpartition(")")[2].split()
            if int(parent) in wanted:
                found.append(int(status.parent.name))
    return found


def _is_over(group: int) -> bool:
    return not members(group)


def answers(host: str, port: int, hello: bytes, expected: bytes) -> bool:
    """Return whether a server says `expected` first, after it was told `hello`."""
    try:
        with socket.create_connection((host, port), timeout=2) as link:
            link.settimeout(2)
            link.sendall(hello)
            return link.recv(len(expected)) == expected
    except OSError:
        return False
