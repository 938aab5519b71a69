"""A query that is run again and again, as the monitoring sees it: a turn that fails is a pause until the next."""

import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from connectorlib.errors import Failure
from connectorlib.policy import Pause

if TYPE_CHECKING:
    from connectorlib.monitoring.watch import Watch

Progress = Callable[[int], None]


class Turns:
    """What the turns have come to so far. `every` is seconds; None: there is only one."""

    queue = ""
    held = 0

    def __init__(self, name: str, progress: Progress | None, every: float | None) -> None:
        self.name = name
        self.every = every
        self.counts: Counter[str] = Counter()
        self.active = False
        self.pause: Pause | None = None
        self.on_pause: Callable[[Pause], object] = lambda pause: None
        self._progress = progress
        self._before = 0
        self._since_text = ""

    def watched_by(self, watch: "Watch") -> None:
        watch.attach(self.counts, self, self)

    def progress(self, sent: int) -> None:
        """So many rows of this turn are confirmed."""
        self.counts["done"] = self._before + sent
        if self._progress is not None:
            self._progress(sent)

    def begin(self) -> None:
        self._before = self.counts["done"]

    def succeeded(self) -> None:
        self.active, self.pause = True, None

    def failed(self, failure: Failure) -> None:
        now = time.monotonic()
        if self.pause is None:
            self.pause = Pause(failure, now)
            self._since_text = datetime.now().astimezone().strftime("%H:%M:%S")
            self.on_pause(self.pause)
        elif self.pause.changed(failure):
            self.on_pause(self.pause)
        self.pause.next_try = now + (self.every or 0.0)

    def advice(self, pause: Pause) -> str:
        """Return what a person can do about a turn that failed."""
        from connectorlib.pausing import hint

        return hint(pause.failure, far_side="database")

    def line(self, pause: Pause, waiting: object) -> dict[str, object]:
        """Return the fields of the pause line; nothing waits in a queue."""
        failure = pause.failure
        return {
            "select": self.name,
            "since": self._since_text,
            "cause": failure.code,
            "text": f"{failure.place}: {failure.text}" if failure.place else failure.text,
            "next_try": f"{max(0.0, pause.next_try - time.monotonic()):.0f}s",
        }
