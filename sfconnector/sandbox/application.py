"""Handles one request: journal entry, latency and faults, then the answer or the end of the connection."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs

from werkzeug.wrappers import Request, Response

from connectorlib.service.form_origin import is_strange_host
from sfconnector.sandbox import admin, case_page, faults, journal, refusals, services, wire
from sfconnector.sandbox.oauth import asked_by
from sfconnector.sandbox.refusals import ApiError, ApiProblem
from sfconnector.sandbox.sandbox_server import close_after_answer, cut
from sfconnector.sandbox.world import Sandbox, World

logger = logging.getLogger(__name__)

MOST_BYTES = 64 * 1024 * 1024  # of an unpacked body
PIECE = 512  # bytes of a slow body that are sent at a time
UNEXPECTED = (
    "An unexpected error occurred. Please include this ErrorId if you contact support: 1933027655-144670 (-464075996)"
)

StartResponse = Callable[..., Any]


class Application:
    """The WSGI application. Page and administration need no log-in, so they answer only to a `Host` that is ours; the
    API needs one."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        _override_method(environ)
        http = Request(environ)
        http.max_form_memory_size = None  # the server limits the size of a body
        path = services.raw_path(http)
        if path.startswith("/services"):
            return self._service(http, path)(environ, start_response)
        if is_strange_host(http.headers.get("Host")):
            response = Response("Open the sandbox by an address or as localhost.\n", 421)
        elif path.startswith("/_sim/"):
            response = admin.respond(self._sandbox, http, path)
        else:
            response = case_page.respond(self._sandbox.world, http, path)
        return response(environ, start_response)

    def _service(self, http: Request, path: str) -> Callable[..., Iterable[bytes]]:
        world = self._sandbox.world
        body = http.get_data(cache=True, parse_form_data=False)
        try:
            body = wire.unpacked(body, http.headers.get("Content-Encoding", ""), MOST_BYTES)
        except ValueError as error:
            return wire.answer(refusals.unreadable(str(error)).body(), 400)
        given = wire.JsonBody(body)
        entry, records = _entry(world, http, path, given)
        try:
            return self._answer(world, http, given, entry, records)
        finally:
            world.journal.end(entry)

    def _answer(
        self, world: World, http: Request, given: wire.JsonBody, entry: journal.JournalEntry, records: list[object]
    ) -> Callable[..., Iterable[bytes]]:
        rule = world.faults.take(faults.IncomingCall(http.method, entry.path, entry.user, records))
        action: Mapping[str, Any] = rule.action if rule else {}
        entry.fault = rule.id if rule else 0
        latency = world.switches.latency_ms + world.switches.latency_per_record_ms * len(records)
        self._wait(latency + action.get("delay_ms", 0))
        reset = bool(action.get("reset"))
        if action.get("drop_before"):
            raise cut(http.environ, reset=reset)
        answer = _faulty_answer(action)
        if answer is None or action.get("commit"):
            done = _handled(world, http, given, rule)
            self._sandbox.changed(http.method)
            answer = answer or done
        self._wait(action.get("delay_after_ms", 0))
        if action.get("drop_after_commit"):
            raise cut(http.environ, reset=reset)
        entry.status = answer.status_code
        if action.get("close"):
            close_after_answer(http.environ)
        if "truncate" in action or "slow_body_ms" in action:
            return self._broken(http, answer, action)
        return answer

    def _broken(self, http: Request, answer: Response, action: Mapping[str, Any]) -> Callable[..., Iterable[bytes]]:
        """Return an answer with a slow body, or one that ends early."""
        body = answer.get_data()
        end = action.get("truncate")

        def pieces() -> Iterator[bytes]:
            for start in range(0, len(body[:end]), PIECE):
                yield body[:end][start : start + PIECE]
                self._wait(action.get("slow_body_ms", 0))
            if end is not None:
                raise cut(http.environ, reset=bool(action.get("reset")))

        def send(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
            start_response(answer.status, list(answer.headers))
            return pieces()

        return send

    def _wait(self, milliseconds: float) -> None:
        if milliseconds > 0:
            self._sandbox.stopping.wait(milliseconds / 1000)


def _override_method(environ: dict[str, Any]) -> None:
    """Take the method from the address: clients without PATCH (older Java) ask by `POST …?_HttpMethod=PATCH`."""
    if environ["REQUEST_METHOD"] == "POST" and "_HttpMethod=" in environ.get("QUERY_STRING", ""):
        (wanted, *_) = parse_qs(environ["QUERY_STRING"]).get("_HttpMethod", ["POST"])
        environ["REQUEST_METHOD"] = wanted.upper()


def _entry(world: World, http: Request, path: str, given: wire.JsonBody) -> tuple[journal.JournalEntry, list[object]]:
    """Return a journal entry for the request, and the records of its body."""
    query = http.query_string.decode("latin-1")
    if path.startswith("/services/oauth2/"):
        form = services.login_form(http)
        who = asked_by(form, services.basic(http))
        return world.journal.begin(http.method, path, user=who, body=services.loggable_form(form)), []
    session = world.accounts.session(services.token_of(http), use=False)
    body = given.peek()
    records = services.records_of(path, body)
    entry = world.journal.begin(
        http.method,
        path,
        query=query,
        user=session.user.username if session else "",
        session=session.number if session else 0,
        headers=journal.kept_headers(dict(http.headers)),
        body=body,
        records=len(records),
    )
    return entry, records


def _handled(world: World, http: Request, given: wire.JsonBody, rule: faults.FaultRule | None) -> Response:
    try:
        return services.respond(world, http, given, rule)
    except Exception:  # a bug of the sandbox is answered as Salesforce answers an internal error
        logger.exception("bug", extra={"event": "bug"})
        return wire.answer(ApiError(ApiProblem("UNKNOWN_EXCEPTION", UNEXPECTED, None)).body(), 500)


def _faulty_answer(action: Mapping[str, Any]) -> Response | None:
    """Return the answer of a fault rule, None if it has none."""
    headers = action.get("headers")
    if "html" in action:
        response = wire.page(str(action["html"]), int(action.get("status", 503)))
        response.headers.update(headers or {})
        return response
    if "body" in action:
        return wire.answer(action["body"], int(action.get("status", 400)), headers)
    if "errorCode" in action:
        fields = tuple(action["fields"]) if "fields" in action else None
        error = ApiError(
            ApiProblem(action["errorCode"], action.get("message", action["errorCode"]), fields),
            status=action.get("status"),
        )
        return wire.answer(error.body(), error.status, headers)
    if "status" in action:
        return Response(status=int(action["status"]), headers=headers)
    return None
