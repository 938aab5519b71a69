"""Exit codes, signals (in processes of their own), and what systemd is told."""

import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from connectorlib.errors import Failure, Kind
from connectorlib.service.exit_codes import ExitCode
from connectorlib.service.process import Life, Watchdog, exit_code, notify, notify_status

EXIT_CODES = [
    (Kind.UNAVAILABLE, 69),
    (Kind.REFUSED, 77),
    (Kind.CONFIGURATION, 78),
    (Kind.REJECT, 1),
    (Kind.RETRY, 1),
    (Kind.UNKNOWN, 1),
]


@pytest.mark.parametrize(("kind", "code"), EXIT_CODES)
def test_every_kind_of_failure_has_its_exit_code(kind, code):
    assert exit_code(Failure(kind, "x", "y")) == code


def test_the_exit_codes_are_those_of_the_documentation():
    assert {code.name: int(code) for code in ExitCode} == {
        "DONE": 0,
        "FAILED": 1,
        "USAGE": 2,
        "NOTHING": 3,
        "UNREACHABLE": 69,
        "STUCK": 75,
        "REFUSED": 77,
        "BAD_CONFIGURATION": 78,
    }


# -- signals


class Child:
    """A Python process that says `ready`, then what its code prints."""

    def __init__(self, code):
        prelude = "import os, signal, sys, threading\nfrom connectorlib.service.process import Life\n"
        # one write for the whole line, so that two threads cannot mix theirs
        say = "def say(*words): os.write(1, (' '.join(map(str, words)) + chr(10)).encode())\n"
        self.process = subprocess.Popen(
            [sys.executable, "-c", prelude + say + code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.line() == "ready"

    def line(self):
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def send(self, number):
        self.process.send_signal(number)

    def end(self):
        output, errors = self.process.communicate(timeout=20)
        return self.process.returncode, output, errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_stops_in_order(number):
    child = Child(
        "with Life() as life:\n"
        "    life.on_stop(lambda: say('callback'))\n"
        "    say('ready')\n"
        "    life.stop.wait(20)\n"
        "say('drained')\n"
    )
    child.send(number)
    assert child.end() == (0, "callback\ndrained\n", "")


def test_the_second_signal_quits_at_once():
    child = Child(
        "with Life() as life:\n"
        "    life.on_stop(lambda: say('stopping'))\n"
        "    say('ready')\n"
        "    life.stop.wait(20)\n"
        "    threading.Event().wait(20)\n"
    )
    child.send(signal.SIGTERM)
    assert child.line() == "stopping"
    child.send(signal.SIGTERM)
    returncode, output, _ = child.end()
    assert (returncode, output) == (128 + signal.SIGTERM, "")


def test_a_stop_from_inside_does_not_make_the_first_signal_the_second():
    child = Child(
        "with Life() as life:\n"
        "    life.request_stop()\n"
        "    again = threading.Event()\n"
        "    say('ready')\n"
        "    again.wait(0.5)\n"
        "say('drained')\n"
    )
    child.send(signal.SIGTERM)
    assert child.end()[:2] == (0, "drained\n")


def test_signals_arrive_although_the_main_thread_is_stuck_in_foreign_code():
    # libc's sleep() stands for a hung ODBC call: Python's own handlers would wait for its end.
    child = Child(
        "import ctypes\n"
        "with Life() as life:\n"
        "    life.on_stop(lambda: say('heard'))\n"
        "    say('ready')\n"
        "    libc = ctypes.CDLL(None)\n"
        "    while True: libc.pause()\n"
    )
    child.send(signal.SIGTERM)
    assert child.line() == "heard"
    child.send(signal.SIGTERM)
    assert child.end()[0] == 128 + signal.SIGTERM


def test_sigusr1_nudges():
    child = Child(
        "with Life() as life:\n"
        "    life.on_nudge(lambda: say('callback'))\n"
        "    say('ready')\n"
        "    life.nudge.wait(20)\n"
        "    say('nudged', life.stop.is_set())\n"
        "    life.nudge.clear()\n"
    )
    child.send(signal.SIGUSR1)
    returncode, output, _ = child.end()
    assert returncode == 0
    assert sorted(output.splitlines()) == ["callback", "nudged False"]


def test_hundreds_of_hangups_are_one_reload_after_the_one_that_runs():
    child = Child(
        """
from connectorlib.service.early_signals import keep_early_signals
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it
keep_early_signals()
begun, go_on, done = threading.Semaphore(0), threading.Event(), []
def reload():
    begun.release()
    go_on.wait()
    done.append(1)
with Life() as life:
    os.kill(os.getpid(), signal.SIGHUP)      # before anybody listens
    os.kill(os.getpid(), signal.SIGHUP)
    life.on_reload(reload)
    say("ready")
    begun.acquire()
    for _ in range(600):
        os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGUSR1)     # comes after all of them
    life.nudge.wait()
    say(sum(thread.name == "reload" for thread in threading.enumerate()))
    go_on.set()
    begun.acquire()
    life.stop.wait()
say(len(done))
"""
    )
    assert child.line() == "1"
    child.send(signal.SIGTERM)
    assert child.end() == (0, "2\n", "")


def test_signals_for_a_daemon_do_not_end_it_before_it_listens():
    child = Child(
        """
from connectorlib.service.early_signals import keep_early_signals
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it
keep_early_signals()
os.kill(os.getpid(), signal.SIGHUP)
os.kill(os.getpid(), signal.SIGUSR1)
say("ready")
say("here")
"""
    )
    assert child.line() == "here"
    assert child.end() == (0, "", "")


def test_afterwards_the_signals_are_as_they_were():
    child = Child(
        "before = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]\n"
        "with Life() as life: pass\n"
        "after = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]\n"
        "assert before == after and signal.set_wakeup_fd(-1) == -1\n"
        "say('ready')\n"
        "threading.Event().wait(20)\n"
    )
    child.send(signal.SIGTERM)
    assert child.end()[0] == -signal.SIGTERM


def test_a_callback_that_fails_does_not_cost_the_others():
    called = []
    life = Life(install=False)
    life.on_stop(lambda: 1 / 0)
    life.on_stop(lambda: called.append("second"))
    life.request_stop()
    life.on_stop(lambda: called.append("late"))
    assert called == ["second", "late"]


def test_inside_another_program_no_handler_is_touched():
    before = signal.getsignal(signal.SIGTERM)
    with Life(install=False) as life:
        assert signal.getsignal(signal.SIGTERM) is before
        assert not life.stop.is_set()


# -- systemd


@pytest.fixture
def systemd(tmp_path):
    """Return a socket as systemd's, and the environment that names it."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(address)
        channel.settimeout(5)
        yield channel, {"NOTIFY_SOCKET": address}


def test_systemd_is_told_in_one_datagram(systemd):
    channel, environment = systemd
    assert notify("READY=1", environment)
    assert channel.recv(100) == b"READY=1"


def test_an_abstract_socket_is_found():
    name = f"connector-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(f"\0{name}")
        channel.settimeout(5)
        assert notify("READY=1", {"NOTIFY_SOCKET": f"@{name}"})
        assert channel.recv(100) == b"READY=1"


def test_a_status_is_one_line(systemd, monkeypatch):
    channel, environment = systemd
    monkeypatch.setenv("NOTIFY_SOCKET", environment["NOTIFY_SOCKET"])
    assert notify_status("paused:\ncause  x")
    assert channel.recv(100) == b"STATUS=paused: cause x"


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/no/such/socket"}])
def test_without_systemd_nobody_is_told_and_nothing_fails(environment):
    assert not notify("READY=1", environment)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def watch(systemd):
    """Return a watchdog that is looked at by hand, its clock, the codes it quit with, and what systemd heard."""
    channel, environment = systemd
    channel.setblocking(False)
    clock = Clock()
    codes: list[int] = []
    told = environment | {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}
    watchdog = Watchdog(clock=clock, quit=codes.append, environment=told)

    def heard():
        try:
            return channel.recv(100)
        except BlockingIOError:
            return None

    return watchdog, clock, codes, heard


def test_the_watchdog_pings_a_third_of_the_time_systemd_waits(watch):
    watchdog, clock, codes, heard = watch
    watchdog.register("loop", lambda: None)
    watchdog.look()
    assert heard() == b"WATCHDOG=1"
    clock.now += 9
    watchdog.look()
    assert heard() is None
    clock.now += 1
    watchdog.look()
    assert heard() == b"WATCHDOG=1"
    assert codes == []


def test_a_process_that_was_stopped_is_not_taken_for_a_stuck_one(watch):
    watchdog, clock, codes, heard = watch
    state: list[str | None] = [None]
    watchdog.register("broker", lambda: state[0])
    watchdog.look()
    clock.now += 67  # SIGSTOP, and SIGCONT
    state[0] = "the I/O thread has not ticked for 67 s"
    watchdog.look()
    assert (codes, [heard(), heard()]) == ([], [b"WATCHDOG=1"] * 2)
    for _ in range(126):
        clock.now += 1
        watchdog.look()
        assert codes == []
    clock.now += 1
    watchdog.look()  # it has not come to life since
    assert codes == [75]


def test_it_does_not_ping_while_one_is_stuck_and_quits_past_the_deadline(watch):
    watchdog, clock, codes, heard = watch
    state = ["COMMIT for 31 s"]
    watchdog.register("loop", lambda: None)
    watchdog.register("database", lambda: state[0], deadline_s=30)
    watchdog.look()
    for _ in range(29):
        clock.now += 1
        watchdog.look()
    assert (heard(), codes) == (None, [])
    clock.now += 1
    watchdog.look()
    assert codes == [75]


def test_one_that_gets_going_again_is_forgiven(watch):
    watchdog, clock, codes, heard = watch
    state: list[str | None] = ["slow"]
    watchdog.register("database", lambda: state[0], deadline_s=30)
    watchdog.look()
    state[0] = None
    clock.now += 20
    watchdog.look()
    assert heard() == b"WATCHDOG=1"
    state[0] = "slow"
    clock.now += 20
    watchdog.look()
    assert codes == []


def test_a_check_that_fails_counts_as_stuck(watch):
    watchdog, _, codes, heard = watch

    def broken():
        raise OSError("gone")

    watchdog.register("broken", broken)
    watchdog.look()
    assert (heard(), codes) == (None, [75])


def test_systemd_is_told_whenever_the_status_changes(watch):
    watchdog, _, _, heard = watch
    watchdog.look()
    assert heard() == b"WATCHDOG=1"
    said = ["running", "running", "readings: paused", "running"]
    for status in said:
        watchdog.status = lambda text=status: text
        watchdog.look()
    assert [heard() for _ in said] == [b"STATUS=running", b"STATUS=readings: paused", b"STATUS=running", None]


def test_a_status_that_fails_ends_no_watch(watch):
    watchdog, _, codes, heard = watch
    watchdog.status = lambda: str(1 / 0)
    watchdog.look()
    assert (heard(), heard(), codes) == (b"WATCHDOG=1", None, [])


def test_another_process_of_the_unit_does_not_ping(systemd):
    channel, environment = systemd
    watchdog = Watchdog(environment=environment | {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"})
    watchdog.look()
    channel.setblocking(False)
    with pytest.raises(BlockingIOError):
        channel.recv(100)


def test_the_watchdog_looks_by_itself():
    looked, quit = threading.Event(), threading.Event()

    def check():
        looked.set()
        return "stuck"

    watchdog = Watchdog(interval_s=0.01, quit=lambda code: quit.set(), environment={})
    watchdog.register("x", check)
    with watchdog:
        assert looked.wait(5)
        assert quit.wait(5)
