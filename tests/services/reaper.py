"""Ends what was started when the run that started it is gone, however it went: a process of its own.

Reads lines from its standard input: `+PGID` and `-PGID` keep the list of process groups, `d FOLDER` names a folder.
The end of the input means that the run is over (also by SIGKILL): what is left is killed and removed.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path


class Reaper:
    """The run's end of the pipe. Its write end is inherited by nobody, so the pipe closes when this process ends."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__], stdin=subprocess.PIPE, text=True, start_new_session=True
        )

    def watch(self, group: int) -> None:
        self._tell(f"+{group}")

    def forget(self, group: int) -> None:
        self._tell(f"-{group}")

    def remove(self, folder: Path) -> None:
        self._tell(f"d {folder}")

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(30)

    def _tell(self, line: str) -> None:
        assert self._process.stdin
        print(line, file=self._process.stdin, flush=True)


def kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    groups: list[int] = []
    folders: list[str] = []
    for line in sys.stdin:
        line = line.rstrip("\n")
        if line.startswith("d "):
            folders.append(line[2:])
        elif line.startswith("+"):
            groups.append(int(line[1:]))
        elif int(line[1:]) in groups:
            groups.remove(int(line[1:]))
    for group in reversed(groups):
        kill_group(group)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
