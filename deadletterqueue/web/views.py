"""One request: who it is from, what it wants, and the page that answers it."""

import logging
from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import Any, cast

from markupsafe import Markup
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from connectorlib.errors import Failed
from connectorlib.service import http_server
from connectorlib.service.redaction import secrets
from deadletterqueue.changes import with_body
from deadletterqueue.edit_command import problems
from deadletterqueue.replay import missing
from deadletterqueue.session import told
from deadletterqueue.target import Leave, Route, target_of
from deadletterqueue.web import action_pages, letter_pages, list_pages, textarea
from deadletterqueue.web.access import SESSION_S, Access
from deadletterqueue.web.desk import Desk
from deadletterqueue.web.html import html, joined
from deadletterqueue.web.jobs import Busy, Job
from deadletterqueue.web.layout import Visit, bare_page, note, page
from deadletterqueue.web.snapshot import Row, View, seen

logger = logging.getLogger(__name__)

#: Of a form, with a body in it that grows threefold on its way.
LARGEST_FORM = 4 * textarea.MOST
_RENEW = {"Refresh": "1"}
_OUT_OF_DATE = "This page is out of date. Go back, load it again, and do it once more."

StartResponse = Callable[..., Any]
Answer = Response | Markup
Handler = Callable[..., Answer]


class Application:
    """What the HTTP server calls."""

    def __init__(self, desk: Desk, access: Access, cookie: str) -> None:
        """`cookie` is the name of the session's: cookies of one host do not know its ports."""
        self._desk = desk
        self._access = access
        self._cookie = cookie
        self._style = files(__package__).joinpath("style.css").read_bytes()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        request.max_form_memory_size = LARGEST_FORM
        response = self._answer(request)
        response.headers.update(http_server.HEADERS)
        response.headers["Content-Security-Policy"] = http_server.security_policy(forms=True)
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        try:
            if self._access.strange_host(request.headers.get("Host")):
                return _plain("Nobody of that name is here; --allow-host makes a name known.\n", 421)
            if request.path == "/style.css":
                return Response(self._style, content_type="text/css; charset=utf-8")
            if request.method == "POST" and self._is_foreign(request):
                return _plain("This form was sent by another page.\n", 403)
            return self._inside(request)
        except HTTPException as error:
            return _page(bare_page(error.name, note(error.description or "")), error.code or 500)
        except Failed as failed:
            return _page(bare_page("That did not work", note(secrets.redact(told(failed)))), 502)
        except Exception:  # a bug of ours: the log knows what must not be shown
            logger.exception("bug", extra={"event": "bug"})
            return _page(bare_page("A bug", note("The log of deadletter-queue says more.")), 500)

    def _is_foreign(self, request: Request) -> bool:
        headers = request.headers
        return self._access.foreign(headers.get("Host"), headers.get("Origin"), headers.get("Sec-Fetch-Site"))

    def _inside(self, request: Request) -> Response:
        """Answer one who has a session, or may have one."""
        session = request.cookies.get(self._cookie, "")
        fresh = not self._access.is_session(session)
        if request.path == "/login":
            return self._log_in(request)
        if fresh:
            if self._access.needs_token:
                return redirect("/login", 303)
            if request.method == "POST":
                return _page(bare_page("Out of date", note(_OUT_OF_DATE)), 403)
            if request.path != "/":  # not for a link of another site: with one, a letter could be made to be fetched
                return redirect("/", 303)
            session = self._access.new_session()
        if request.method == "POST" and not self._access.is_form_token(session, request.form.get("form_token", "")):
            return _page(bare_page("Out of date", note(_OUT_OF_DATE)), 403)
        visit = Visit(self._desk, self._access.form_token(session), self._access.needs_token)
        response = self._handled(visit, request)
        if fresh:
            self._give(response, session, request)
        if request.path == "/logout":
            self._access.end(session)
            response.delete_cookie(self._cookie)
        return response

    def _handled(self, visit: Visit, request: Request) -> Response:
        handler, values = _ROUTES.bind("deadletters").match(request.path, method=request.method)
        try:
            answer = cast(Handler, handler)(visit, request, **values)
        except Busy as busy:
            answer = Response(action_pages.job_page(visit, busy.job), 409, _RENEW, content_type=_HTML)
        return answer if isinstance(answer, Response) else _page(answer)

    def _log_in(self, request: Request) -> Response:
        if request.method == "POST":
            if self._access.admits(request.form.get("token", "")):
                response = redirect("/", 303)
                self._give(response, self._access.new_session(), request)
                return response
            return _page(bare_page("Sign in", joined([note("That is not the token.", "warning"), _SIGN_IN])), 403)
        if request.method not in ("GET", "HEAD"):
            return _plain("", 405)
        return redirect("/", 303) if not self._access.needs_token else _page(bare_page("Sign in", _SIGN_IN))

    def _give(self, response: Response, session: str, request: Request) -> None:
        behind_tls = request.headers.get("Origin", "").startswith("https:")
        age = SESSION_S if self._access.needs_token else None
        response.set_cookie(self._cookie, session, max_age=age, httponly=True, samesite="Strict", secure=behind_tls)


_HTML = "text/html; charset=utf-8"
_SIGN_IN = html(
    '<form method="post" action="/login"><label>Access token <input type="password" name="token" autofocus'
    ' autocomplete="current-password"></label> <button class="main">Sign in</button></form>'
)


def _page(content: Markup, status: int = 200) -> Response:
    return Response(content, status, content_type=_HTML)


def _plain(text: str, status: int) -> Response:
    return Response(text, status, content_type="text/plain; charset=utf-8")


# -- what can be asked for


def causes(visit: Visit, request: Request) -> Answer:
    return list_pages.causes(visit, _view(request.args))


def letters(visit: Visit, request: Request) -> Answer:
    return list_pages.letters(visit, _view(request.args), request.args.get("page", 1, type=int))


def letter(visit: Visit, request: Request, identity: str) -> Answer:
    found = _opened(visit, identity)
    return found if isinstance(found, Response) else letter_pages.letter_page(visit, identity, found)


def body(visit: Visit, request: Request, identity: str) -> Answer:
    found = _opened(visit, identity)
    if isinstance(found, Response):
        return found
    headers = {"Content-Disposition": f'attachment; filename="{identity}.bin"'}
    return Response(found.delivery.body, 200, headers, content_type="application/octet-stream")


def edit(visit: Visit, request: Request, identity: str) -> Answer:
    found = _opened(visit, identity)
    if isinstance(found, Response):
        return found
    original = found.delivery.body
    if why := textarea.hindrance(original):
        return letter_pages.not_editable(visit, identity, found, why)
    if request.method != "POST":
        return letter_pages.edit_page(visit, identity, found, original.decode())
    text = textarea.given_back(request.form.get("body", ""), original)
    changed = with_body(found, text.encode())
    if request.form.get("again"):
        return letter_pages.edit_page(visit, identity, found, text)
    if against := problems(found, changed, visit.desk.check):
        return letter_pages.edit_page(visit, identity, found, text, f"It would die again: {against[0]}")
    if request.form.get("confirmed"):
        row = _row(visit, identity)
        return _begun(
            visit.desk.replay([row], Route(max_replays=None), lambda letter: with_body(letter, text.encode()))
        )
    target = target_of(found, Route(max_replays=None), visit.desk.bench.queue)
    if isinstance(target, Leave):
        return letter_pages.edit_page(visit, identity, found, text, f"It stays here: {target.reason}")
    if (gone := missing(visit.desk.bench.broker, target)) is not None:
        return letter_pages.edit_page(visit, identity, found, text, gone)
    return letter_pages.change_page(visit, identity, found, text, f"It goes to {target}.")


def look(visit: Visit, request: Request) -> Answer:
    return _begun(visit.desk.look())


def replay(visit: Visit, request: Request) -> Answer:
    view, rows, changed = _asked(visit, request)
    if not rows:
        return _none_chosen(visit)
    form = request.form
    where = form.get("where", "")
    route = action_pages.route_of(where, form.get("queue", ""), often=bool(form.get("often")))
    if where == "queue" and not route.to_queue:
        changed, route = "Which queue? Its name is missing.", Route(max_replays=route.max_replays)
    if form.get("confirmed") and not changed:
        return _begun(visit.desk.replay(rows, route))
    going, staying = action_pages.targets(rows, route, visit.desk.bench.queue)
    for target in list(going):
        if (why := missing(visit.desk.bench.broker, target)) is not None:
            staying[why] += going.pop(target)
    return action_pages.replay_question(visit, view, rows, route, going, staying, changed)


def purge(visit: Visit, request: Request) -> Answer:
    view, rows, changed = _asked(visit, request)
    if not rows:
        return _none_chosen(visit)
    if request.form.get("confirmed") and not changed:
        return _begun(visit.desk.purge(rows))
    return action_pages.purge_question(visit, view, rows, changed)


def job(visit: Visit, request: Request, number: int) -> Answer:
    found = _job(visit, number)
    if not found.ended:
        return Response(action_pages.job_page(visit, found), 200, _RENEW, content_type=_HTML)
    if found.outcome is not None and found.outcome.onward:
        return redirect(found.outcome.onward, 303)
    return action_pages.job_page(visit, found)


def stop(visit: Visit, request: Request, number: int) -> Answer:
    found = _job(visit, number)
    found.stop.set()
    return _begun(found)


def log_out(visit: Visit, request: Request) -> Answer:
    return redirect("/login", 303)


# -- what they need


def _view(values: Any) -> View:
    return View(
        values.get("group", ""), values.get("find", ""), values.get("since", ""), tuple(values.getlist("letter"))
    )


def _asked(visit: Visit, request: Request) -> tuple[View, list[Row], str]:
    """Return what a form is about, and what is no longer as the person saw it."""
    view, snapshot, before = _view(request.form), visit.desk.snapshot, request.form.get("seen", "")
    if snapshot is None or not (view.letters or before):  # without both it is the boxes of a list, and none is ticked
        return view, [], ""
    rows = view.rows(snapshot)
    if before and before != seen(rows):
        was = before.partition(".")[0]
        return view, rows, f"The queue has changed: there were {was} when you saw them, now there are {len(rows):,}."
    return view, rows, ""


def _opened(visit: Visit, identity: str) -> Any:
    """Return a letter with its body; the page to wait on where it takes long to fetch it."""
    if (found := visit.desk.opened(identity)) is not None:
        return found
    job = visit.desk.open(_row(visit, identity))
    job.wait()
    return visit.desk.opened(identity) or _begun(job)


def _row(visit: Visit, identity: str) -> Row:
    snapshot = visit.desk.snapshot
    row = snapshot.find(identity) if snapshot is not None else None
    if row is None:
        raise NotFound("The last look has not seen this dead letter: it was sent back or purged, or nobody has looked.")
    return row


def _job(visit: Visit, number: int) -> Job:
    found = visit.desk.jobs.get(number)
    if found is None:
        raise NotFound("Nothing of that number is being done.")
    return found


def _begun(job: Job) -> Response:
    """Wait a moment; most work is done then, and the page tells at once what came of it."""
    job.wait()
    return redirect(f"/job/{job.number}", 303)


def _none_chosen(visit: Visit) -> Markup:
    text = "None is ticked, or they are no longer in the queue."
    return page(visit, "Nothing chosen", joined([note(text, "warning"), html('<p><a href="/">All causes</a></p>')]))


def _rule(path: str, handler: Handler, *methods: str) -> Rule:
    return Rule(path, endpoint=handler, methods=list(methods) or None)


_IDENTITY = "<string(length=32):identity>"
_ROUTES = Map(
    [
        _rule("/", causes, "GET"),
        _rule("/letters", letters, "GET"),
        _rule(f"/letter/{_IDENTITY}", letter, "GET"),
        _rule(f"/letter/{_IDENTITY}/body", body, "GET"),
        _rule(f"/letter/{_IDENTITY}/edit", edit, "GET", "POST"),
        _rule("/look", look, "POST"),
        _rule("/replay", replay, "POST"),
        _rule("/purge", purge, "POST"),
        _rule("/job/<int:number>", job, "GET"),
        _rule("/job/<int:number>/stop", stop, "POST"),
        _rule("/logout", log_out, "POST"),
    ]
)
