"""One connector as a process of its own: killed, stopped for a while, started again, measured."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.faults.checker import Usage
from tests.services.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
CONSUMING = " consuming queue="
#: An exit by which a supervisor knows that it shall start it again: stuck past its own deadline.
STUCK = 75


class Worker:
    """`ends` collects how it ended each time, but for the ends that were asked of it."""

    def __init__(self, folder: Path, name: str, *command: str, ready: str = CONSUMING) -> None:
        self.log_file = folder / f"{name}.log"
        self.log_file.touch()
        self.ends: list[int] = []
        self.usages: list[Usage] = []
        self._folder = folder
        self._command = command
        self._ready = ready
        self._told = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *hooks: str, wait: bool = True) -> None:
        """Start it, with hooks of tests.faults.child that hold for this life; wait until it consumes."""
        told, self._told = self.log.count(self._ready), self.log_file.stat().st_size
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.child", *hooks, "--", *self._command],
                cwd=self._folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if wait:
            self.wait_for(self._ready, times=told + 1)

    def wait_for(self, text: str, timeout: float = 30.0, *, times: int = 1) -> str:
        """Wait until its log holds the text, so many times; return the log."""
        eventually(lambda: self.log.count(text) >= times or not self.alive, timeout, what=f"{text!r} in the log")
        log = self.log
        assert log.count(text) >= times, log
        return log

    def wait_for_the_end(self, timeout: float = 60.0) -> int:
        """Wait until it ends by itself (a hook, its watchdog); return how, negative for a signal."""
        assert self._process is not None
        code = self._process.wait(timeout)
        self.ends.append(code)
        self._process = None
        return code

    def mind(self) -> None:
        """Do what systemd does: start it again when it has died."""
        if self._process is not None and self._process.poll() is not None:
            self.wait_for_the_end()
            self.start(wait=False)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def stop(self, timeout: float = 60.0) -> int:
        """Ask it to stop, and return its exit code; 0 when it does not run. Kill it when it does not end in time."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            # Before its first line it does not mind signals yet.
            eventually(lambda: not self.alive or self.log_file.stat().st_size > self._told, 30, what="started")
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        self._process.kill()
        code = self._process.wait(30)
        self._process = None
        return code

    def measure(self) -> None:
        """Note what it uses now."""
        if not self.alive:
            return
        with contextlib.suppress(OSError):
            status = dict(
                line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines() if ":" in line
            )
            files = len(list(Path(f"/proc/{self.pid}/fd").iterdir()))
            self.usages.append(Usage(int(status["VmRSS"].split()[0]), files, int(status["Threads"])))
