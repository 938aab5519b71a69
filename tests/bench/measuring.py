"""What is measured of a process: messages a second, processor time for each, the most memory. From Linux's /proc."""

import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).parents[2]
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
#: Between two looks, which cost the broker or the database something too.
LOOK_S = 0.01


@dataclass(frozen=True)
class Measured:
    """Of one run of one contender: in the steady part, but for the memory, which is the most of the whole run."""

    rate: float  # messages/s
    cpu_us: float  # of the process under test, for each message; of several together
    rss_mb: float  # of 1,048,576 bytes; of several the largest


def median(runs: Iterable[Measured]) -> Measured:
    """Return the median of each figure; the most memory is the most of all."""
    found = list(runs)
    return Measured(
        statistics.median(each.rate for each in found),
        statistics.median(each.cpu_us for each in found),
        max(each.rss_mb for each in found),
    )


class Processes:
    """One process under test or several of the same kind, each given its job as JSON on standard input."""

    def __init__(self, commands: Sequence[Sequence[str]], log: Path, *jobs: Any) -> None:
        self._log = log
        self._file = log.open("wb")
        jobs = jobs or (None,) * len(commands)
        self._all = [_started(command, self._file, job) for command, job in zip(commands, jobs, strict=True)]
        self._cpu_s: dict[int, float] = {}
        self._rss_mb: dict[int, float] = {}

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *error: "type[BaseException] | BaseException | TracebackType | None") -> None:
        for process in self._all:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._all:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            process.wait()
        self._file.close()

    def wait_until(self, condition: Callable[[], bool], every: float = LOOK_S, timeout: float = 300.0) -> float:
        """Wait for it and return when it was; raise RuntimeError with the log if a process failed before that."""
        deadline = time.perf_counter() + timeout
        while not condition():
            self.look()
            failed = [process.returncode for process in self._all if process.poll()]
            if failed or time.perf_counter() > deadline:
                tail = self._log.read_text(errors="replace")[-3000:]
                raise RuntimeError(f"{'exit codes ' + str(failed) if failed else 'took too long'}:\n{tail}")
            time.sleep(every)
        return time.perf_counter()

    def wait(self) -> float:
        """Wait for the end of all and return when it was."""
        return self.wait_until(lambda: all(process.poll() is not None for process in self._all), every=0.001)

    def timed(
        self,
        first: Callable[[], bool],
        last: Callable[[], bool],
        left: Callable[[], int],
        few: int = 0,
        every: float = LOOK_S,
    ) -> Measured:
        """Measure from the first condition until, after the last one, no more than `few` messages are left to go.

        `left` may cost what is measured something, so it is asked at the first and after the last only.
        """
        started = self.wait_until(first, every)
        cpu_s, most = self.cpu_s, left()
        rest = most

        def is_over() -> bool:
            nonlocal rest
            rest = left() if last() else most
            return rest <= few

        if most <= few:
            raise RuntimeError("it was over before it was seen to begin: this needs more --messages")
        ended = self.wait_until(is_over, every)
        count = most - rest
        return Measured(count / (ended - started), (self.cpu_s - cpu_s) / count * 1e6, self.rss_mb)

    def look(self) -> None:
        """Note what they have used so far; one that is over keeps what was seen last."""
        for process in self._all:
            with contextlib.suppress(OSError, ValueError):
                folder = Path(f"/proc/{process.pid}")
                _, _, rest = (folder / "stat").read_text().rpartition(") ")
                fields = rest.split()
                peak = re.search(r"VmHWM:\s+(\d+) kB", (folder / "status").read_text())
                if peak:  # one that is over has no memory any more
                    self._cpu_s[process.pid] = (int(fields[11]) + int(fields[12])) * TICK_S
                    self._rss_mb[process.pid] = int(peak[1]) / 1024

    @property
    def cpu_s(self) -> float:
        self.look()
        return sum(self._cpu_s.values())

    @property
    def rss_mb(self) -> float:
        return max(self._rss_mb.values(), default=0.0)


def _started(command: Sequence[str], log: Any, job: Any) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        command, cwd=ROOT, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log
    )
    assert process.stdin
    if job is not None:
        process.stdin.write(json.dumps(job).encode())
    process.stdin.close()
    return process


def _environment() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
