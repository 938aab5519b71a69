"""Renews a lease from a thread of its own, while the work for which it was taken goes on in another."""

import logging
import threading
from collections.abc import Callable

from connectorlib.errors import Failed
from connectorlib.service import logs
from dbconnector.lease_table import Lease, LeaseTable

logger = logging.getLogger(__name__)


class LeaseKeeper:
    """Keeps one lease at a time. Between `start` and `stop` only its thread may use the table and its connection."""

    def __init__(self, table: LeaseTable, on_lost: Callable[[], object]) -> None:
        """`on_lost` is called in the thread when another process has taken the lease; then it is renewed no more."""
        self._table = table
        self._on_lost = on_lost
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self._held = False

    def start(self, lease: Lease) -> None:
        self._end, self._held = threading.Event(), True
        self._thread = threading.Thread(target=self._run, args=(lease, self._end), name="lease", daemon=True)
        self._thread.start()

    def stop(self) -> bool:
        """End the renewing; wait for the call in progress, which has the time limits of every call. Return whether the
        lease was kept, as far as is known."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        return self._held

    def _run(self, lease: Lease, end: threading.Event) -> None:
        failing = False
        while not end.wait(self._table.lease_s / 3):
            try:
                if not self._table.renew(lease):
                    self._held = False
                    self._on_lost()
                    return
            except Failed as failed:  # the work goes on: only the table can say that another process has taken over
                if not failing:
                    logs.event(logger, logging.WARNING, "lease not renewed", text=str(failed.failure))
                failing = True
            else:
                failing = False
