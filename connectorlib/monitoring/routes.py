"""Which path is answered with what. Knows nothing of sockets."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from connectorlib.monitoring.metrics import Metrics
from connectorlib.monitoring.monitor import Monitor
from connectorlib.monitoring.status import document
from connectorlib.monitoring.status_page import STYLE, page

TEXT = "text/plain; charset=utf-8"
_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    content_type: str
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: HEADERS)


class Answers:
    """Answers GET requests about one process."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self._metrics = Metrics(monitor)
        self._paths: dict[str, Callable[[str], Answer]] = {
            "/": self._page,
            "/style.css": lambda accept: Answer(200, "text/css; charset=utf-8", STYLE.encode()),
            "/status": self._status,
            "/metrics": self._write_metrics,
            "/healthz": self._health,
            "/readyz": self._readiness,
        }

    def answer(self, path: str, accept: str = "") -> Answer:
        """Return the answer to a GET of this path, its query left out."""
        found = self._paths.get(path.partition("?")[0])
        if found is None:
            return _text(404, f"not here; there are {', '.join(self._paths)}")
        return found(accept)

    def _page(self, accept: str) -> Answer:
        return Answer(200, "text/html; charset=utf-8", page(document(self.monitor)).encode())

    def _status(self, accept: str) -> Answer:
        body = json.dumps(document(self.monitor), indent=2)
        return Answer(200, "application/json", f"{body}\n".encode())

    def _write_metrics(self, accept: str) -> Answer:
        return Answer(200, *self._metrics.write(accept))

    def _health(self, accept: str) -> Answer:
        hangs = self.monitor.stuck()
        return _text(503, f"stuck: {hangs}") if hangs else _text(200, "alive")

    def _readiness(self, accept: str) -> Answer:
        reasons = self.monitor.unready()
        return _text(503, "\n".join(reasons)) if reasons else _text(200, "running")


def _text(status: int, text: str) -> Answer:
    from connectorlib.service.redaction import secrets

    return Answer(status, TEXT, f"{secrets.redact(text)}\n".encode())
