"""The Python API of the original: three methods that return True, False or None, and never raise.

    from dbconnector import DBConnector
    DBConnector("db.config").subscribeNInsert()

No signal handler is installed. Heavy modules are imported when a method runs, not before.
"""

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from connectorlib.service.exit_codes import ExitCode
from connectorlib.service.process import Life

logger = logging.getLogger(__name__)

#: True: success. None: nothing there. Everything else is False.
_RESULTS: Mapping[ExitCode, bool | None] = {ExitCode.DONE: True, ExitCode.NOTHING: None}


class DBConnector:
    """One configuration and three things to do with it. `stop()` ends those that run, from another thread."""

    def __init__(self, config: str | os.PathLike[str]) -> None:
        self._file = os.fspath(config)
        self._lives: list[Life] = []

    def selectNSend(self, params: Mapping[str, Any] | None = None) -> bool | None:
        """Run the query and send one message per row. True: all are confirmed; None: no rows, or stopped before the
        end; False: see the log."""

        def run(life: Life) -> ExitCode:
            from dbconnector.commands.select import run_select  # late, see the module

            return run_select(self._file, life, params=params or {}, stopped=ExitCode.NOTHING)

        return self._run(run)

    def receiveNInsert(self) -> bool | None:
        """Write one message. True: written and acknowledged; None: the queue is empty, or stopped before there
        was a message; False: dead-lettered, or requeued because the database or the broker failed: see the log."""

        def run(life: Life) -> ExitCode:
            from dbconnector.commands.receive import run_receive  # late, see the module

            return run_receive(self._file, life, stopped=ExitCode.NOTHING)

        return self._run(run)

    def subscribeNInsert(self) -> bool | None:
        """Write what comes until `stop()`. True: stopped; False: the configuration is bad, see the log."""

        def run(life: Life) -> ExitCode:
            from dbconnector.commands.subscribe import run_subscribe  # late, see the module

            return run_subscribe(self._file, life)

        return self._run(run)

    def stop(self) -> None:
        """Make every running method finish its work in hand and return. Later calls run as usual."""
        for life in list(self._lives):
            life.request_stop()

    def _run(self, run: Callable[[Life], ExitCode]) -> bool | None:
        life = Life(install=False)
        self._lives.append(life)
        try:
            return _RESULTS.get(run(life), False)
        except Exception:  # the original's contract: never raise
            logger.exception("bug", extra={"event": "bug"})
            return False
        finally:
            self._lives.remove(life)
