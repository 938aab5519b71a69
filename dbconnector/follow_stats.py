"""How far a followed table has been read, what holds it back, and which rows came late: for the status and metrics."""

import logging
from collections.abc import Sequence

from connectorlib.monitoring.counters import SinkMetric
from connectorlib.service import logs
from dbconnector.watermark import Horizon, Position

logger = logging.getLogger(__name__)


class FollowStats:
    """The figures of one follower. Its thread writes them; any thread may read them."""

    def __init__(self, overlap_s: float) -> None:
        self.watermark: Position | None = None
        self.horizon = Horizon(None)
        #: Who else reads the table; "" if it is this follower.
        self.holder = ""
        #: How many rows came after the watermark had passed them, and by how many seconds the latest of them.
        self.late = 0
        self.latest_s = 0.0
        self._overlap_s = overlap_s

    def came_late(self, seconds: Sequence[float]) -> None:
        """Count rows by how late they came. Beyond half of the overlap it is a warning: what comes later than all of it
        is missed."""
        self.late += len(seconds)
        latest = max(seconds, default=0.0)
        self.latest_s = max(self.latest_s, latest)
        if latest > self._overlap_s / 2:
            fields = {"rows": len(seconds), "latest": f"{latest:.1f}s", "overlap": f"{self._overlap_s:g}s"}
            logs.event(logger, logging.WARNING, "late rows", **fields)

    def about(self) -> str:
        """Return one line for a person."""
        if self.holder:
            return f"read by {self.holder}"
        parts = ["nothing read yet" if self.watermark is None else f"read up to {self.watermark}"]
        if self.horizon.held_by:
            parts.append(f"held by {self.horizon.held_by}")
        if not self.horizon.exact:
            parts.append("open transactions are unknown; only the overlap covers them")
        if self.late:
            parts.append(f"{self.late} rows late, the latest by {self.latest_s:.1f} s")
        return ", ".join(parts)

    def metrics(self) -> Sequence[SinkMetric]:
        return (
            SinkMetric(
                "follow_late_rows", "Rows that came after the watermark had passed them.", "counter", lambda: self.late
            ),
            SinkMetric("follow_latest_seconds", "By how much the latest of them came.", "gauge", lambda: self.latest_s),
        )
