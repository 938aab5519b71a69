"""The WSGI application of the monitoring port: which path gets which response."""

import json
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from connectorlib.monitoring.metrics import Metrics
from connectorlib.monitoring.monitor import Monitor
from connectorlib.monitoring.status import document
from connectorlib.monitoring.status_page import page
from connectorlib.service import pages
from connectorlib.service.redaction import secrets

TEXT = "text/plain; charset=utf-8"

#: Status code, content type and body.
Response = tuple[int, str, bytes]


class Routes:
    """Answers GET requests about one process; nothing can be changed through it."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._metrics = Metrics(monitor)
        self._paths: dict[str, Callable[[str], Response]] = {
            "/": self._page,
            "/style.css": lambda accept: (200, "text/css; charset=utf-8", pages.style()),
            "/status": self._status,
            "/metrics": lambda accept: (200, *self._metrics.write(accept)),
            "/healthz": self._health,
            "/readyz": self._readiness,
        }

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, content_type, body = self._respond(environ)
        headers = {**pages.headers(forms=False), "Content-Type": content_type, "Content-Length": str(len(body))}
        start_response(f"{status} {HTTPStatus(status).phrase}", list(headers.items()))
        return [body]

    def _respond(self, environ: dict[str, Any]) -> Response:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _text(501, "GET and HEAD only")
        found = self._paths.get(environ["PATH_INFO"])
        if found is None:
            return _text(404, f"not here; there are {', '.join(self._paths)}")
        return found(environ.get("HTTP_ACCEPT", ""))

    def _page(self, accept: str) -> Response:
        shown = page(document(self._monitor), self._monitor.last_success)
        return 200, "text/html; charset=utf-8", shown.encode()

    def _status(self, accept: str) -> Response:
        return 200, "application/json", f"{json.dumps(document(self._monitor), indent=2)}\n".encode()

    def _health(self, accept: str) -> Response:
        stuck = self._monitor.stuck()
        return _text(503, f"stuck: {stuck}") if stuck else _text(200, "alive")

    def _readiness(self, accept: str) -> Response:
        reasons = self._monitor.unready()
        return _text(503, "\n".join(reasons)) if reasons else _text(200, "running")


def _text(status: int, text: str) -> Response:
    return status, TEXT, f"{secrets.redact(text)}\n".encode()
