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

from connectorlib.process import ExitCode, Life

logger = logging.getLogger(__name__)

#: True: success. None: nothing there. Everything else is False.
_MEANING: Mapping[ExitCode, bool | None] = {ExitCode.DONE: True, ExitCode.NOTHING: None}


class DBConnector:
    """One configuration, three things to do with it. `stop()` ends any of them, from another thread."""

    def __init__(self, config: str | os.PathLike[str]) -> None:
        self._file = os.fspath(config)
        self._life = Life(install=False)

    def selectNSend(self, params: Mapping[str, Any] | None = None) -> bool | None:
        """Run the query and send one message per row. True: all are confirmed; None: no rows; False: see the log."""
        return self._run(lambda runs: runs.run_select(self._file, self._life, params=params or {}))

    def receiveNInsert(self) -> bool | None:
        """Write one message. True: written and acknowledged; None: the queue is empty; False: dead-lettered, or given
        back because the database or the broker failed: see the log."""
        return self._run(lambda runs: runs.run_receive(self._file, self._life))

    def subscribeNInsert(self) -> bool | None:
        """Write what comes until `stop()`. True: stopped; False: the configuration is bad, see the log."""
        return self._run(lambda runs: runs.run_subscribe(self._file, self._life))

    def stop(self) -> None:
        """Let the method that runs finish what it has in hand, and return."""
        self._life.request_stop()

    def _run(self, run: Callable[[ModuleType], ExitCode]) -> bool | None:
        try:
            from dbconnector import runs  # late, see the module

            return _MEANING.get(run(runs), False)
        except Exception:  # the original's contract: never raise
            logger.exception("bug", extra={"event": "bug"})
            return False
