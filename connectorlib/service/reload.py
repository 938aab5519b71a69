"""SIGHUP: the configuration is loaded anew, and the work begins again with it. A wrong one is refused, and the work
goes on with the one it had."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic

from connectorlib.errors import Failed
from connectorlib.pipeline.run_sink import Loaded, loaded, told
from connectorlib.service import logs
from connectorlib.service.process import ExitCode, Life, notify

logger = logging.getLogger(__name__)


class Term(Life):
    """The part of a life in which one configuration holds."""

    def __init__(self, life: Life, *, reloaded: bool) -> None:
        super().__init__(install=False)
        self.started = life.started
        #: Whether another configuration held before this one: what would keep the process from starting must not end
        #: it now, for the next reload may mend it.
        self.reloaded = reloaded
        #: Whether another one comes after it: the process does not stop then.
        self.replaced = False


class Reloading(Generic[Loaded]):
    """Does some work for as long as a life lasts, each time by the newest configuration that was right."""

    def __init__(self, file: str, life: Life, load: Callable[[str], Loaded], first: Loaded | None = None) -> None:
        """`first`: the configuration to begin with, if it is loaded already. `load` refuses what the work cannot do
        with."""
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
            if self._life.stop.is_set():  # it came in between, and stopped the term before
                self._term.request_stop()
            logs.event(logger, logging.INFO, "reloaded", file=self._file)

    def reload(self) -> None:
        """Load the configuration; if it is right and another one, let the work end in order, to begin with it."""
        with self._one_at_a_time:
            notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            logs.event(logger, logging.INFO, "reloading", file=self._file)
            if not self._is_replaced():  # else whoever begins with the next one says that it is ready
                notify("READY=1")

    def _is_replaced(self) -> bool:
        """Return whether there is another configuration to go on with."""
        try:
            config = loaded(self._file, self._load)
        except Failed as failed:
            for line in told(failed).splitlines():
                logger.error("%s", line, extra={"event": "reload-refused"})
            logger.error("not reloaded: all goes on as before", extra={"event": "reload-refused"})
            return False
        except Exception:  # a bug of ours: whoever waits for the end of the reload must not wait for ever
            logger.exception("bug", extra={"event": "bug"})
            return False
        with self._lock:
            if config != (self._next or self._config):
                self._next = config
                self._term.replaced = True
                self._term.request_stop()
                return True
        logs.event(logger, logging.INFO, "the configuration has not changed", file=self._file)
        self._term.request_nudge()  # what it refers to, a password that was put right, may have
        return False
