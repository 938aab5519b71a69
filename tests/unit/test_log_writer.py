"""Whoever logs never waits, nothing is lost that can be written, and what is lost is counted where it is missing."""

import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator

import pytest

from connectorlib.service.log_writer import LogWriter
from tests.services.waiting import eventually

Pipe = tuple[int, Callable[[bytes], int]]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Return the end to read from, and what writes to the other one."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, lambda data: os.write(writer, data)
    os.close(reader)
    os.close(writer)


def gap(count: int) -> bytes:
    return b"missing %d\n" % count


def come(reader: int) -> bytes:
    """Return what is in the pipe now."""
    try:
        return os.read(reader, 1 << 20)
    except BlockingIOError:
        return b""


def test_all_lines_of_all_threads_come_in_their_order(pipe: Pipe) -> None:
    reader, write = pipe
    writer = LogWriter(write, gap=gap)
    texts = [[b"%d %d\n" % (who, number) for number in range(500)] for who in range(4)]
    threads = [threading.Thread(target=lambda own=own: deque(map(writer.put, own))) for own in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.close()
    lines = come(reader).splitlines(keepends=True)
    assert [[line for line in lines if line.startswith(b"%d " % who)] for who in range(4)] == texts
    assert len(lines) == 2000


def test_a_pipe_that_nobody_reads_holds_nobody_up_and_the_gap_is_told(pipe: Pipe) -> None:
    reader, write = pipe
    writer = LogWriter(write, gap=gap, max_bytes=10_000)
    line = b"x" * 99 + b"\n"
    count = 0
    while writer.flush(0.05):  # until the pipe is full
        count += 1
        writer.put(line)
    for _ in range(500):  # 10,000 bytes of which wait
        writer.put(line)
    seen = b""

    def everything() -> bool:
        nonlocal seen
        seen += come(reader)
        return writer.flush(0.01)

    eventually(everything)
    writer.put(b"after\n")
    assert writer.close()
    *lines, told, after = (seen + come(reader)).splitlines()
    assert (set(lines), after) == ({line[:-1]}, b"after")
    assert len(lines) <= count + 100
    assert told == b"missing %d" % (count + 500 - len(lines))


def test_what_cannot_be_written_is_told_once_and_counted() -> None:
    written, errors, broken = bytearray(), list[Exception](), True

    def write(data: bytes) -> int:
        if broken:
            raise OSError(28, "No space left on device")
        written.extend(data)
        return len(data)

    writer = LogWriter(write, gap=gap, on_failure=errors.append)
    for number in range(3):
        writer.put(b"%d\n" % number)
        assert writer.flush()
    broken = False
    writer.put(b"after\n")
    assert writer.close()
    assert (bytes(written), [str(error) for error in errors]) == (
        b"after\nmissing 3\n",
        ["[Errno 28] No space left on device"],
    )


def test_half_a_line_ends_before_the_next_one() -> None:
    written = bytearray()

    def write(data: bytes) -> int:
        if written == b"hal":
            written.extend(b"|")
            raise OSError("full")
        count = 3 if not written else len(data)
        written.extend(data[:count])
        return count

    writer = LogWriter(write, gap=gap)
    writer.put(b"half a line\n")
    assert writer.flush()
    writer.put(b"next\n")
    assert writer.close()
    assert written == b"hal|\nnext\nmissing 1\n"


# -- as a process


def test_a_flush_ends_though_others_go_on_logging() -> None:
    busy = True

    def write(data: bytes) -> int:
        if busy:
            writer.put(b"again\n")  # there is always one more line
        return len(data)

    writer = LogWriter(write, gap=gap)
    writer.put(b"first\n")
    assert writer.flush()
    busy = False
    assert writer.close()


PROGRAM = """
import logging, sys, threading
from connectorlib.service import logs, process
from connectorlib.shared_settings import Logging
logs.configure(Logging(), "test")
for number in range(COUNT):
    logging.info("line %d %s", number, "x" * 200)
print("done", flush=True)
END
"""


def program(count: int, end: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM.replace("COUNT", str(count)).replace("END", end)]


@pytest.mark.parametrize(("end", "code"), [("", 0), ("sys.exit(3)", 3), ("process.end_now(75)", 75), ("1 / 0", 1)])
def test_the_log_of_a_short_command_is_complete_however_it_ends(end: str, code: int) -> None:
    done = subprocess.run(program(500, end), capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if " INFO line " in line]
    assert (done.returncode, len(lines)) == (code, 500)


@pytest.mark.parametrize("end", ["", "process.end_now(0)"])
def test_a_process_ends_though_nobody_reads_its_log(end: str) -> None:
    with subprocess.Popen(program(1_000, end), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b"done\n"
        assert process.wait(30) == 0
