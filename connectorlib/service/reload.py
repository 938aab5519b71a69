"""Loads the configuration, and again at SIGHUP: then the work starts over with it. A wrong one is refused, and the work
continues unchanged."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from connectorlib.errors import Failed
from connectorlib.service import logs
from connectorlib.service.exit_codes import ExitCode
from connectorlib.service.process import Life, notify, report

logger = logging.getLogger(__name__)


class Configured(Protocol):
    """A loaded configuration."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed but looks wrong."""


Loaded = TypeVar("Loaded", bound=Configured)


def loaded(file: str, load: Callable[[str], Loaded]) -> Loaded:
    """Load the configuration and log its warnings."""
    config = load(file)
    for warning in config.warnings:
        logger.warning("%s: %s", file, warning, extra={"event": "odd-configuration"})
    return config


class Term(Life):
    """The part of a process's life in which one configuration is in force."""

    def __init__(self, life: Life, *, reloaded: bool) -> None:
        super().__init__(install=False)
        self.started = life.started
        self.counts = life.counts
        #: Whether this configuration replaced another. What would keep the process from starting must not end it now:
        #: the next reload may correct it.
        self.reloaded = reloaded
        #: Whether another configuration follows, so that the process does not stop at the end of this term.
        self.replaced = False


class Reloading(Generic[Loaded]):
    """Repeats some work until the life ends, each time with the newest valid configuration."""

    def __init__(self, file: str, life: Life, load: Callable[[str], Loaded], first: Loaded | None = None) -> None:
        """`first`: the configuration to start with, if already loaded. `load` raises Failed for one that is unusable
        for this work."""
        self._first = first
        self._file = file
        self._life = life
        self._load = load
        self._one_at_a_time = threading.Lock()
        self._lock = threading.Lock()
        self._next: Loaded | None = None

    def run(self, work: Callable[[Loaded, Term], ExitCode]) -> ExitCode:
        """Do the work until it ends by itself or the life does. Raise Failed if the first configuration is wrong."""
        self._config = self._first or loaded(self._file, self._load)
        self._term = Term(self._life, reloaded=False)
        self._life.on_stop(lambda: self._term.request_stop())
        self._life.on_nudge(lambda: self._term.request_nudge())
        self._life.on_reload(self.reload)
        while True:
            code = work(self._config, self._term)
            with self._lock:
                if self._next is None or self._life.stop.is_set():
                    return code
                self._config, self._next = self._next, None
                self._term = Term(self._life, reloaded=True)
            if self._life.stop.is_set():  # the stop came between the two terms and reached only the old one
                self._term.request_stop()
            logs.event(logger, logging.INFO, "reloaded", file=self._file)

    def reload(self) -> None:
        """Load the configuration; if it is valid and has changed, end the current term in order to start the next."""
        with self._one_at_a_time:
            notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            logs.event(logger, logging.INFO, "reloading", file=self._file)
            if not self._replace():  # otherwise the next term reports READY=1
                notify("READY=1")

    def _replace(self) -> bool:
        """Return whether another configuration is to take over."""
        try:
            config = loaded(self._file, self._load)
        except Failed as failed:
            report(failed, "reload-refused")
            logger.error("not reloaded: all goes on as before", extra={"event": "reload-refused"})
            return False
        except Exception:  # a bug: systemd must not wait indefinitely for the end of the reload
            logger.exception("bug", extra={"event": "bug"})
            return False
        with self._lock:
            if config != (self._next or self._config):
                self._next = config
                self._term.replaced = True
                self._term.request_stop()
                return True
        logs.event(logger, logging.INFO, "the configuration has not changed", file=self._file)
        self._term.request_nudge()  # what it refers to may have changed, such as a password in a file
        return False
