"""The life of a process: signals, systemd, its end. Imports only errors, `dataclass` and modules of this folder."""

import logging
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.service.early_signals import no_action
from connectorlib.service.exit_codes import ExitCode, is_unwritable
from connectorlib.service.log_writer import flush_all

logger = logging.getLogger(__name__)

_CODES = {
    Kind.UNAVAILABLE: ExitCode.UNREACHABLE,
    Kind.REFUSED: ExitCode.REFUSED,
    Kind.CONFIGURATION: ExitCode.BAD_CONFIGURATION,
}


def exit_code(failure: Failure) -> ExitCode:
    """Return the exit code of a one-shot command after this failure."""
    return _CODES.get(failure.kind, ExitCode.FAILED)


#: Codes of this project's own; their text needs no code in front of it, and may have several lines.
_SELF_EXPLANATORY = ("configuration", "log-file")


def report(failed: Failed, event: str) -> None:
    """Log a failure: one line, or one for each mistake in a configuration."""
    text = failed.failure.text if failed.failure.code in _SELF_EXPLANATORY else str(failed)
    for line in text.splitlines():
        logger.error("%s", line, extra={"event": event})


def reported(run: Callable[[], ExitCode]) -> ExitCode:
    """Run a command; log its failure and return the exit code for it."""
    try:
        return run()
    except Failed as failed:
        report(failed, "failed")
        return exit_code(failed.failure)
    except Exception as error:  # a bug: only the log takes the secrets out of its traceback
        if is_unwritable(error):
            raise  # `LazyGroup` says so
        logger.exception("bug", extra={"event": "bug"})
        return ExitCode.FAILED


def end_now(code: int) -> None:
    """End the process without waiting for anything but the last lines of the log."""
    flush_all()
    os._exit(code)


class Life:
    """From start to stop: `with Life() as life:` and then wait on `life.stop`.

    The first SIGTERM or SIGINT sets `stop` and runs the callbacks; the second quits immediately. SIGUSR1 sets `nudge`,
    which its reader clears. SIGHUP is handled only after `on_reload`; without it, it ends the process as usual. With
    `install=False`, for use inside another program, no signal handler is installed.

    A thread woken through a file descriptor runs the callbacks: a Python signal handler would have to wait for the
    main thread to return from a hung ODBC call, and must not take a lock that the main thread holds.
    """

    def __init__(self, *, install: bool = True, quit: Callable[[int], Any] = end_now) -> None:
        self.stop = threading.Event()
        self.nudge = threading.Event()
        self.started = time.monotonic()
        #: How many messages or rows had which outcome, as far as the work has told.
        self.counts: Counter[str] = Counter()
        self._install = install
        self._signalled = False
        self._quit = quit
        self._on_stop: list[Callable[[], object]] = []
        self._on_nudge: list[Callable[[], object]] = []
        self._on_reload: Callable[[], object] | None = None
        #: Guards the next two: whether a thread reloads, and whether it has to once more.
        self._reload_lock = threading.Lock()
        self._reloading = self._reload_again = False
        self._previous: dict[signal.Signals, Any] = {}
        self._previous_fd = -1
        self._pipe: tuple[int, int] | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._install:
            self._take_signals()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._pipe is not None:
            self._restore_signals(*self._pipe)
            self._pipe = None

    def on_stop(self, callback: Callable[[], object]) -> None:
        """Call it when the process is to stop; at once if it is stopping already."""
        self._on_stop.append(callback)
        if self.stop.is_set():
            _call(callback)

    def on_nudge(self, callback: Callable[[], object]) -> None:
        """Call it at each SIGUSR1: to try now instead of waiting."""
        self._on_nudge.append(callback)

    def on_reload(self, callback: Callable[[], object]) -> None:
        """Call it at each SIGHUP, in a thread of its own: it may take long, and the next signal must not wait. What
        comes while it runs is one more call after it. Call this in the main thread."""
        self._on_reload = callback
        if self._pipe is not None:
            self._previous.setdefault(signal.SIGHUP, signal.signal(signal.SIGHUP, no_action))
        if self._reload_again:  # a SIGHUP came while the configuration was read
            self._request_reload()

    def request_nudge(self) -> None:
        """Do what SIGUSR1 does."""
        self.nudge.set()
        for callback in list(self._on_nudge):
            _call(callback)

    def request_stop(self) -> None:
        """Do what the first SIGTERM does; further calls have no effect."""
        if self.stop.is_set():
            return
        self.stop.set()
        for callback in list(self._on_stop):
            _call(callback)

    def _take_signals(self) -> None:
        reader, writer = os.pipe()  # it holds 65,536 signals; a socket some 270, and a SIGTERM after them would be lost
        os.set_blocking(writer, False)  # set_wakeup_fd requires it
        self._pipe = (reader, writer)
        self._previous_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            self._previous[number] = signal.signal(number, no_action)  # the descriptor has received it
        self._thread = threading.Thread(target=self._listen, args=(reader,), name="signals", daemon=True)
        self._thread.start()

    def _restore_signals(self, reader: int, writer: int) -> None:
        signal.set_wakeup_fd(self._previous_fd)
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        os.close(writer)  # ends the thread
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(1.0)
        if self._thread is None or not self._thread.is_alive():  # else it still reads there
            os.close(reader)

    def _listen(self, reader: int) -> None:
        while received := os.read(reader, 4096):
            for number in received:
                self._on_signal(number)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGUSR1:
            logger.info("retry requested: retrying now", extra={"event": "nudged"})
            self.request_nudge()
        elif number == signal.SIGHUP:
            self._request_reload()
        elif number in (signal.SIGTERM, signal.SIGINT):
            self._on_stop_signal(number)

    def _request_reload(self) -> None:
        with self._reload_lock:
            self._reload_again = True
            if self._reloading or self._on_reload is None:
                return
            self._reloading = True
        threading.Thread(target=self._reload, args=(self._on_reload,), name="reload", daemon=True).start()

    def _reload(self, callback: Callable[[], object]) -> None:
        while True:
            with self._reload_lock:
                if not self._reload_again:
                    self._reloading = False
                    return
                self._reload_again = False
            _call(callback)

    def _on_stop_signal(self, number: int) -> None:
        name = signal.Signals(number).name
        if self._signalled:
            logger.warning("quitting at once", extra={"event": "quitting", "fields": {"signal": name}})
            self._quit(128 + number)
        self._signalled = True
        logger.info("stopping", extra={"event": "stopping", "fields": {"signal": name}})
        self.request_stop()


def _call(callback: Callable[[], object]) -> None:
    try:
        callback()
    except Exception:  # any: the other callbacks and the next signal must still be handled
        logger.exception("bug in a callback", extra={"event": "bug"})


def notify(state: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Send systemd `READY=1`, `STATUS=…`, `WATCHDOG=1` or `STOPPING=1`. Return whether it was sent.

    The protocol is one datagram to $NOTIFY_SOCKET, see sd_notify(3); a leading @ means an abstract socket.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.setblocking(False)  # a full queue must not block the caller
            channel.sendto(state.encode(), address)
    except OSError as error:
        logger.debug("systemd was not told %s: %s", state.partition("=")[0], error)
        return False
    return True


def notify_status(text: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Show a text in `systemctl status`, as one line."""
    return notify(f"STATUS={' '.join(text.split())}", environment)


#: Seconds by which a look may be late before the process counts as having been stopped, and for how long more than that
#: the deadlines are forgiven.
GAP_S, FORGIVING_S = 10.0, 60.0


@dataclass(slots=True)
class _Watched:
    check: Callable[[], str | None]
    deadline_s: float
    stuck_since: float | None = None


class Watchdog:
    """Pings systemd while all checks pass, and ends the process when one fails for longer than its deadline.

    A check returns None, or what it is waiting for. A hung ODBC or HTTP call releases the interpreter, so a thread that
    only pings would keep a dead worker looking alive. Without systemd the process is ended all the same.

    If the watchdog itself has not run, the process was stopped: a snapshot, `docker pause`, SIGSTOP. The clock went on
    meanwhile, so every check seems past its deadline; each gets the time of the gap, and a minute, to show otherwise.
    """

    def __init__(
        self,
        *,
        interval_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        quit: Callable[[int], Any] = end_now,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._clock = clock
        self._quit = quit
        self._environment = environment
        self._ping_s = _ping_interval(environment)
        self._interval_s = min(interval_s, self._ping_s) if self._ping_s else interval_s
        #: Returns one line about what the process does; sent to systemd whenever it changes.
        self.status: Callable[[], str] = lambda: ""
        self._status = ""
        self._watched: dict[str, _Watched] = {}
        self._pinged = float("-inf")
        self._looked = clock()
        self._forgiving_until = float("-inf")
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def register(self, name: str, check: Callable[[], str | None], *, deadline_s: float = 0.0) -> None:
        """Add a check; one that has a deadline itself needs none here."""
        self._watched[name] = _Watched(check, deadline_s)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end.set()
        self._thread.join(5.0)

    def look(self) -> None:
        """Run every check once; ping, or quit."""
        now, before = self._clock(), self._looked
        self._looked = now
        if now - before > self._interval_s + GAP_S:
            self._forgiving_until = now + (now - before) + FORGIVING_S
            gap = f"this process did not run for {now - before:.0f} s: deadlines start over"
            logger.warning("%s", gap, extra={"event": "stopped-meanwhile"})
        stuck = {name: text for name, each in list(self._watched.items()) if (text := self._ask(each, now))}
        if now < self._forgiving_until:
            stuck.clear()
        for name, text in stuck.items():
            each = self._watched[name]
            if each.stuck_since is not None and now - each.stuck_since >= each.deadline_s:
                fields = {"part": name, "waiting_for": text, "exit": int(ExitCode.STUCK)}
                logger.critical("hung; restart it", extra={"event": "stuck", "fields": fields})
                notify_status(f"stuck: {name}: {text}")
                self._quit(ExitCode.STUCK)
        if not stuck and self._ping_s and now - self._pinged >= self._ping_s:
            self._pinged = now
            notify("WATCHDOG=1", self._environment)
        if not stuck:
            self._send_status()

    def _send_status(self) -> None:
        try:
            status = self.status()
        except Exception:  # any: the status must not end the watchdog
            logger.exception("bug in the status", extra={"event": "bug"})
            return
        if status != self._status:
            self._status = status
            notify_status(status, self._environment)

    def _ask(self, each: _Watched, now: float) -> str | None:
        try:
            text = each.check()
        except Exception as error:  # any: a check that raises counts as failed
            text = f"its check failed: {type(error).__name__}: {error}"
        if text is None or now < self._forgiving_until:
            each.stuck_since = None
        elif each.stuck_since is None:
            each.stuck_since = now
        return text

    def _run(self) -> None:
        while not self._end.wait(self._interval_s):
            self.look()


def _ping_interval(environment: Mapping[str, str]) -> float | None:
    """Return a third of systemd's time limit (sd_watchdog_enabled(3) advises less than half), None without one."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    if not microseconds.isdigit() or environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 1_000_000 / 3 or None
