"""The life of a process: exit codes, signals, systemd. Imports only errors; knows nothing of brokers and databases."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import FrameType, TracebackType
from typing import Any, Self

from connectorlib.errors import Failure, Kind

logger = logging.getLogger(__name__)


class ExitCode(IntEnum):
    """What the commands exit with; the systemd units rely on it."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOTHING = 3  # nothing there: the queue is empty, the query gives no rows
    UNREACHABLE = 69  # EX_UNAVAILABLE: the other side cannot be reached
    STUCK = 75  # EX_TEMPFAIL: past its own deadline; restart me
    REFUSED = 77  # EX_NOPERM: a log-in was refused
    BAD_CONFIGURATION = 78  # EX_CONFIG: restarting does not help


_CODES = {
    Kind.UNAVAILABLE: ExitCode.UNREACHABLE,
    Kind.REFUSED: ExitCode.REFUSED,
    Kind.CONFIGURATION: ExitCode.BAD_CONFIGURATION,
}


def exit_code(failure: Failure) -> ExitCode:
    """Return what a one-shot command exits with after this failure."""
    return _CODES.get(failure.kind, ExitCode.FAILED)


class Life:
    """From start to stop: `with Life() as life:` and then wait on `life.stop`.

    The first SIGTERM or SIGINT sets `stop` and runs the callbacks; the second quits at once. SIGUSR1 sets `nudge`
    (whoever waits clears it). SIGHUP is taken only by `on_reload`; without, it ends the process as everywhere. With
    `install=False`, for use inside somebody else's program, no handler is touched.

    A thread does the work, woken through a file descriptor: a Python signal handler would have to wait until the
    main thread comes back from a hung ODBC call, and may not take a lock that the main thread is just holding.
    """

    def __init__(self, *, install: bool = True, quit: Callable[[int], Any] = os._exit) -> None:
        self.stop = threading.Event()
        self.nudge = threading.Event()
        self.started = time.monotonic()
        self._install = install
        self._signalled = False
        self._quit = quit
        self._on_stop: list[Callable[[], object]] = []
        self._on_nudge: list[Callable[[], object]] = []
        self._on_reload: Callable[[], object] | None = None
        self._previous: dict[signal.Signals, Any] = {}
        self._previous_fd = -1
        self._sockets: tuple[socket.socket, socket.socket] | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._install:
            self._take_signals()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._sockets is not None:
            self._give_signals_back(*self._sockets)
            self._sockets = None

    def on_stop(self, callback: Callable[[], object]) -> None:
        """Call it when the process is asked to stop; at once, when that has happened already."""
        self._on_stop.append(callback)
        if self.stop.is_set():
            _call(callback)

    def on_nudge(self, callback: Callable[[], object]) -> None:
        """Call it at each SIGUSR1: stop waiting and try now."""
        self._on_nudge.append(callback)

    def on_reload(self, callback: Callable[[], object]) -> None:
        """Call it at each SIGHUP, in a thread of its own: it may take its time, and the next signal cannot wait. To be
        called in the main thread."""
        self._on_reload = callback
        if self._sockets is not None:
            self._previous.setdefault(signal.SIGHUP, signal.signal(signal.SIGHUP, _nothing))

    def request_nudge(self) -> None:
        """Do what SIGUSR1 does."""
        self.nudge.set()
        for callback in list(self._on_nudge):
            _call(callback)

    def request_stop(self) -> None:
        """Do what the first SIGTERM does; asking again changes nothing."""
        if self.stop.is_set():
            return
        self.stop.set()
        for callback in list(self._on_stop):
            _call(callback)

    def _take_signals(self) -> None:
        reader, writer = socket.socketpair()
        writer.setblocking(False)  # set_wakeup_fd demands it
        self._sockets = (reader, writer)
        self._previous_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            self._previous[number] = signal.signal(number, _nothing)
        self._thread = threading.Thread(target=self._listen, args=(reader,), name="signals", daemon=True)
        self._thread.start()

    def _give_signals_back(self, reader: socket.socket, writer: socket.socket) -> None:
        signal.set_wakeup_fd(self._previous_fd)
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        writer.close()  # ends the thread
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(1.0)
        reader.close()

    def _listen(self, reader: socket.socket) -> None:
        while received := reader.recv(64):
            for number in received:
                self._on_signal(number)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGUSR1:
            logger.info("nudged: trying now", extra={"event": "nudged"})
            self.request_nudge()
        elif number == signal.SIGHUP and self._on_reload is not None:
            threading.Thread(target=_call, args=(self._on_reload,), name="reload", daemon=True).start()
        elif number in (signal.SIGTERM, signal.SIGINT):
            self._on_stop_signal(number)

    def _on_stop_signal(self, number: int) -> None:
        name = signal.Signals(number).name
        if self._signalled:
            logger.warning("quitting at once", extra={"event": "quitting", "fields": {"signal": name}})
            self._quit(128 + number)
        self._signalled = True
        logger.info("stopping", extra={"event": "stopping", "fields": {"signal": name}})
        self.request_stop()


def _nothing(number: int, frame: FrameType | None) -> None:
    """The wake-up descriptor has it already; without a handler the signal would do its default."""


def _call(callback: Callable[[], object]) -> None:
    try:
        callback()
    except Exception:  # any: one broken callback must not cost the others, nor the second signal
        logger.exception("bug in a callback", extra={"event": "bug"})


def notify(state: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Tell systemd `READY=1`, `STATUS=…`, `WATCHDOG=1`, `STOPPING=1`. Return whether there was one to tell.

    The protocol is one datagram to $NOTIFY_SOCKET, see sd_notify(3); a leading @ names an abstract socket.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.setblocking(False)  # a full queue must not hold up the caller
            channel.sendto(state.encode(), address)
    except OSError as error:
        logger.debug("systemd was not told %s: %s", state.partition("=")[0], error)
        return False
    return True


def notify_status(text: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Show a text in `systemctl status`, on one line."""
    return notify(f"STATUS={' '.join(text.split())}", environment)


@dataclass(slots=True)
class _Watched:
    check: Callable[[], str | None]
    deadline_s: float
    stuck_since: float | None = None


class Watchdog:
    """Pings systemd while all checks are content, and ends the process when one is not for longer than its deadline.

    A check returns None, or says what it is waiting for. A hung ODBC or HTTP call releases the interpreter, so a
    pinger that does not ask would keep a dead worker looking alive. Without systemd it watches all the same.
    """

    def __init__(
        self,
        *,
        interval_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        quit: Callable[[int], Any] = os._exit,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._clock = clock
        self._quit = quit
        self._environment = environment
        self._ping_s = _ping_interval(environment)
        self._interval_s = min(interval_s, self._ping_s) if self._ping_s else interval_s
        #: One line about what the process does; whenever it changes systemd is told.
        self.status: Callable[[], str] = lambda: ""
        self._status = ""
        self._watched: dict[str, _Watched] = {}
        self._pinged = float("-inf")
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def register(self, name: str, check: Callable[[], str | None], *, deadline_s: float = 0.0) -> None:
        """Watch this; a check with a deadline of its own needs none here."""
        self._watched[name] = _Watched(check, deadline_s)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end.set()
        self._thread.join(5.0)

    def look(self) -> None:
        """Ask every check once; ping, or quit."""
        now = self._clock()
        stuck = {name: text for name, each in list(self._watched.items()) if (text := self._ask(each, now))}
        for name, text in stuck.items():
            each = self._watched[name]
            if each.stuck_since is not None and now - each.stuck_since >= each.deadline_s:
                fields = {"part": name, "waiting_for": text, "exit": int(ExitCode.STUCK)}
                logger.critical("stuck, restart me", extra={"event": "stuck", "fields": fields})
                notify_status(f"stuck: {name}: {text}")
                self._quit(ExitCode.STUCK)
        if not stuck and self._ping_s and now - self._pinged >= self._ping_s:
            self._pinged = now
            notify("WATCHDOG=1", self._environment)
        if not stuck:
            self._tell_status()

    def _tell_status(self) -> None:
        try:
            status = self.status()
        except Exception:  # any: what is only told must not end what watches
            logger.exception("bug in the status", extra={"event": "bug"})
            return
        if status != self._status:
            self._status = status
            notify_status(status, self._environment)

    def _ask(self, each: _Watched, now: float) -> str | None:
        try:
            text = each.check()
        except Exception as error:  # any: a check that fails says nothing good about what it watches
            text = f"its check failed: {type(error).__name__}: {error}"
        if text is None:
            each.stuck_since = None
        elif each.stuck_since is None:
            each.stuck_since = now
        return text

    def _run(self) -> None:
        while not self._end.wait(self._interval_s):
            self.look()


def _ping_interval(environment: Mapping[str, str]) -> float | None:
    """Return a third of what systemd waits (sd_watchdog_enabled(3) advises less than half), None when it does not."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    if not microseconds.isdigit() or environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 1_000_000 / 3 or None
