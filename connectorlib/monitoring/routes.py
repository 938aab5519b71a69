"""The WSGI application of the monitoring port: which path gets which response."""

import hmac
import json
import secrets
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from connectorlib.monitoring.metrics import Metrics
from connectorlib.monitoring.monitor import Monitor
from connectorlib.monitoring.other_connectors import OtherConnectors
from connectorlib.monitoring.status import document
from connectorlib.monitoring.status_page import page
from connectorlib.service import pages, redaction
from connectorlib.service.form_origin import is_foreign_form, is_strange_host
from connectorlib.shared_settings import Monitoring
from connectorlib.values.hosts import is_loopback

TEXT = "text/plain; charset=utf-8"
#: Bytes of the largest form.
LARGEST_FORM = 200
RETRY = "/retry"

#: Status code, content type and body.
Response = tuple[int, str, bytes]


class Routes:
    """Answers requests about one process. What is paused can be retried through it, by the button of the page, and only
    where the port is that of this machine alone: the page asks for no password."""

    def __init__(self, monitor: Monitor, settings: Monitoring, others: OtherConnectors) -> None:
        self._monitor = monitor
        self._dead_letter_page = settings.dead_letter_page
        self._others = others
        self._metrics = Metrics(monitor)
        self._token = secrets.token_urlsafe(16) if is_loopback(settings.host) else None
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
        headers = {**pages.headers(forms=self._token is not None), "Content-Type": content_type}
        headers["Content-Length"] = str(len(body))
        if status == 303:
            headers["Location"] = "/"
        start_response(f"{status} {HTTPStatus(status).phrase}", list(headers.items()))
        return [body]

    def _respond(self, environ: dict[str, Any]) -> Response:
        if environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"] == RETRY and self._token:
            return self._retry(environ, self._token)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _text(501, "GET and HEAD only")
        found = self._paths.get(environ["PATH_INFO"])
        if found is None:
            return _text(404, f"not here; there are {', '.join(self._paths)}")
        return found(environ.get("HTTP_ACCEPT", ""))

    def _retry(self, environ: dict[str, Any], token: str) -> Response:
        """As for the page of dead letters: the form has to come from our own page, by a name that is ours."""
        host = environ.get("HTTP_HOST")
        if is_strange_host(host) or is_foreign_form(
            host, environ.get("HTTP_ORIGIN"), environ.get("HTTP_SEC_FETCH_SITE")
        ):
            return _text(403, "this form was sent by another page")
        given = parse_qs(environ["wsgi.input"].read().decode("latin-1")).get("form_token", [""])[0]
        if not hmac.compare_digest(given.encode(), token.encode()):
            return _text(403, "this form is out of date: reload the page")
        self._monitor.retry()
        return 303, TEXT, b""

    def _page(self, accept: str) -> Response:
        shown = page(
            document(self._monitor),
            self._monitor.last_success,
            self._monitor.history.drawings(time.monotonic()),
            form_token=self._token,
            dead_letter_page=self._dead_letter_page,
            others=self._others.seen,
        )
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
    return status, TEXT, f"{redaction.secrets.redact(text)}\n".encode()
