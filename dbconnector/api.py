"""The Python API of the original: three methods that return True, False or None, and never raise.

    from dbconnector import DBConnector
    DBConnector("db.config").subscribeNInsert()

No signal handler is installed. All that is heavy is imported when a method runs, not before.
"""

import logging
import os
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from connectorlib.service.process import ExitCode, Life

logger = logging.getLogger(__name__)

#: True: success. None: nothing there. Everything else is False.
_MEANING: Mapping[ExitCode, bool | None] = {ExitCode.DONE: True, ExitCode.NOTHING: None}


class DBConnector:
    """One configuration, three things to do with it. `stop()` ends those that run, from another thread."""

    def __init__(self, config: str | os.PathLike[str]) -> None:
        self._file = os.fspath(config)
        self._lives: list[Life] = []

    def selectNSend(self, params: Mapping[str, Any] | None = None) -> bool | None:
        """Run the query and send one message per row. True: all are confirmed; None: no rows, or stopped before the
        end; False: see the log."""
        return self._run(
            lambda runs, life: runs.run_select(self._file, life, params=params or {}, stopped=ExitCode.NOTHING)
        )

    def receiveNInsert(self) -> bool | None:
        """Write one message. True: written and acknowledged; None: the queue is empty, or stopped before there
        was a message; False: dead-lettered, or given back because the database or the broker failed: see the log."""
        return self._run(lambda runs, life: runs.run_receive(self._file, life, stopped=ExitCode.NOTHING))

    def subscribeNInsert(self) -> bool | None:
        """Write what comes until `stop()`. True: stopped; False: the configuration is bad, see the log."""
        return self._run(lambda runs, life: runs.run_subscribe(self._file, life))

    def stop(self) -> None:
        """Let what runs finish what it has in hand, and return. What is called later runs as usual."""
        for life in list(self._lives):
            life.request_stop()

    def _run(self, run: Callable[[ModuleType, Life], ExitCode]) -> bool | None:
        life = Life(install=False)
        self._lives.append(life)
        try:
            from dbconnector.commands import runs  # late, see the module

            return _MEANING.get(run(runs, life), False)
        except Exception:  # the original's contract: never raise
            logger.exception("bug", extra={"event": "bug"})
            return False
        finally:
            self._lives.remove(life)
