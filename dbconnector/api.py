"""The Python API of the original: three methods that return True, False or None, and never raise.

    from dbconnector import DBConnector
    DBConnector("db.config").subscribeNInsert()

No signal handler is installed, and no log is set up. Heavy modules are imported when a method runs, not before.
"""

import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from connectorlib.service import logs
from connectorlib.service.exit_codes import ExitCode
from connectorlib.service.process import Life

if TYPE_CHECKING:
    from dbconnector.settings import DbConfig

logger = logging.getLogger(__name__)

#: What messages call a configuration that is no file.
UNNAMED = "configuration"
#: True: success. None: nothing there. Everything else is False.
_RESULTS: Mapping[ExitCode, bool | None] = {ExitCode.DONE: True, ExitCode.NOTHING: None}


class DBConnector:
    """One configuration and three things to do with it. `stop()` ends those that run, from another thread; so does the
    end of a `with` block, which waits for them."""

    def __init__(self, config: str | os.PathLike[str] | Mapping[str, Any]) -> None:
        """`config`: a file, or what would be in it; there relative paths begin at the working directory. Raise
        TypeError or ValueError for a mapping that is not JSON."""
        given = isinstance(config, Mapping)
        self._file = UNNAMED if isinstance(config, Mapping) else os.fspath(config)
        self._text = json.dumps(config, indent=2, ensure_ascii=False) if given else None
        self._lives: list[Life] = []
        self._ended = threading.Condition()
        #: How many messages or rows of the last run had which outcome: `done`, `dead`, `failed`, …
        self.counts: Mapping[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        with self._ended:
            self._ended.wait_for(lambda: not self._lives)

    def selectNSend(self, params: Mapping[str, Any] | None = None) -> bool | None:
        """Run the query and send one message per row. True: all are confirmed; None: no rows, or stopped before the
        end; False: see the log."""

        def run(life: Life) -> ExitCode:
            from dbconnector.commands.select import run_select  # late, see the module

            _quiet_pika()
            return run_select(self._file, life, params=params or {}, stopped=ExitCode.NOTHING, load=self._load)

        return self._run(run)

    def receiveNInsert(self) -> bool | None:
        """Write one message. True: written and acknowledged; None: the queue is empty, or stopped before there
        was a message; False: dead-lettered, or requeued because the database or the broker failed: see the log."""

        def run(life: Life) -> ExitCode:
            from dbconnector.commands.receive import run_receive  # late, see the module

            _quiet_pika()
            return run_receive(self._file, life, stopped=ExitCode.NOTHING, load=self._load)

        return self._run(run)

    def subscribeNInsert(self) -> bool | None:
        """Write what comes until `stop()`. True: stopped; False: the configuration is bad, see the log."""

        def run(life: Life) -> ExitCode:
            from dbconnector.commands.subscribe import run_subscribe  # late, see the module

            _quiet_pika()
            return run_subscribe(self._file, life, load=self._load)

        return self._run(run)

    def stop(self) -> None:
        """Make every running method finish its work in hand and return. Later calls run as usual."""
        for life in list(self._lives):
            life.request_stop()

    def _load(self, file: str) -> "DbConfig":
        from dbconnector.config import load  # late, see the module

        return load(file, text=self._text)

    def _run(self, run: Callable[[Life], ExitCode]) -> bool | None:
        life = Life(install=False)
        self._lives.append(life)
        try:
            return _RESULTS.get(run(life), False)
        except Exception:  # the original's contract: never raise
            logger.exception("bug", extra={"event": "bug"})
            return False
        finally:
            self.counts = dict(life.counts)
            with self._ended:
                self._lives.remove(life)
                self._ended.notify_all()


def _quiet_pika() -> None:
    from connectorlib.amqp.io_thread import THREADS  # late, see the module

    logs.quiet_pika(THREADS)
