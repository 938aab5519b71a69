"""Starts the commands by forking a process that has imported them: their imports are most of what a start costs, and
the tests start hundreds. What says something of the start itself, or of memory, is run as it is installed.

`start` returns what has the methods of a `subprocess.Popen`. The process is one of its own as any other, with its
signals, standard streams, environment, folder and exit code. Its parent is a small process that waits for it.
"""

import atexit
import functools
import gc
import json
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from types import MappingProxyType, TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]
#: What commands import when they run.
LATE = (
    "sfconnector.daemon",
    "deadletterqueue.setup_command",
    "connectorlib.monitoring.monitoring_server",
    "jsonschema",
)
#: Values by the place of a constant in its module; a list has the arguments of the constant's class.
Constants = Mapping[str, float | list[Any]]
NOTHING: Constants = MappingProxyType({})
_NUMBER = struct.Struct("=i")
_MOST_BYTES = 200_000  # of a request: arguments and environment


class Forked:
    """A process that was started here, with as much of `subprocess.Popen` as the tests use."""

    def __init__(self, args: Sequence[str], answers: socket.socket) -> None:
        self.args = list(args)
        self.returncode: int | None = None
        self._answers = answers
        self.pid: int = _NUMBER.unpack(answers.recv(_NUMBER.size))[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.wait()

    def poll(self) -> int | None:
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raise TimeoutExpired."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._answers], [], [], timeout)[0]:
            self.returncode = os.waitstatus_to_exitcode(_NUMBER.unpack(self._answers.recv(_NUMBER.size))[0])
            self._answers.close()
        return self.returncode


def start(
    command: str,
    arguments: Sequence[str | Path],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdout: int,
    stderr: int,
    constants: Constants = NOTHING,
) -> Forked:
    """Start one of the project's commands; `stdout` and `stderr` are file descriptors. It has no standard input.
    `constants` are values that it has instead of its own: shorter waits, for instance."""
    ours, theirs = socket.socketpair()
    words = [str(each) for each in arguments]
    request = json.dumps([command, words, str(cwd), dict(env), dict(constants)]).encode()
    with theirs, open(os.devnull) as nothing:
        socket.send_fds(_server(), [request], [nothing.fileno(), stdout, stderr, theirs.fileno()])
    return Forked([command, *words], ours)


def run(
    command: str,
    arguments: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] = os.environ,
    timeout: float = 60.0,
    constants: Constants = NOTHING,
) -> subprocess.CompletedProcess[str]:
    """Run one of the project's commands to its end, as `subprocess.run` does that keeps its output. Raise
    TimeoutExpired."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        streams = {"stdout": stdout.fileno(), "stderr": stderr.fileno()}
        with start(command, arguments, cwd=cwd or Path.cwd(), env=env, constants=constants, **streams) as process:
            try:
                code = process.wait(timeout)
            except BaseException:
                process.kill()
                raise
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess(process.args, code, stdout.read(), stderr.read())


@functools.cache
def _server() -> socket.socket:
    """Return the socket for requests to the process that forks. It ends with this process, also if that is killed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-m", "tests.services.fork_server", str(theirs.fileno())]
        nothing = subprocess.DEVNULL
        process = subprocess.Popen(
            command, cwd=ROOT, pass_fds=[theirs.fileno()], start_new_session=True, stdin=nothing, stdout=nothing
        )
    atexit.register(process.wait)
    atexit.register(ours.close)  # before that: it ends the process
    return ours


# In the process that forks


def _serve(requests: socket.socket) -> Callable[[], object]:
    """Fork for each request. Return in a process that was forked, with what is to be run there."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, _MOST_BYTES, 4)
        if not request:
            os._exit(0)
        if os.fork() == 0:
            return _started(request, descriptors)
        for each in descriptors:
            os.close(each)


def _started(request: bytes, descriptors: list[int]) -> Callable[[], object]:
    """Fork once more, wait for that process and tell its exit code. Return in it, with what it is to run."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, answers = descriptors
    pid = os.fork()
    if pid:
        os.write(answers, _NUMBER.pack(pid))
        for each in streams:
            os.close(each)
        os.write(answers, _NUMBER.pack(os.waitpid(pid, 0)[1]))
        os._exit(0)
    for number, each in enumerate(streams):
        os.dup2(each, number)
    os.closerange(3, 256)
    command, arguments, folder, environment, constants = json.loads(request)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    random.seed()
    for path, value in constants.items():
        owner, _, name = path.rpartition(".")
        of = type(resolve_name(path))
        setattr(resolve_name(owner), name, of(*value) if isinstance(value, list) else of(value))
    sys.argv = [command, *arguments]
    return PROGRAMS[command]


if __name__ == "__main__":
    from tests.programs import PROGRAMS

    sys.modules["__main__"].__package__ = None  # else click would call the program `python -m tests…`
    for group in PROGRAMS.values():
        for name in group.commands:
            group.load(name)
    for late in LATE:
        import_module(late)
    gc.collect()
    gc.freeze()  # the pages of what is imported stay shared
    _serve(socket.socket(fileno=int(sys.argv[1])))()
