"""The WSGI application of the page: who may ask, and what protects the answer."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from connectorlib.errors import Failed
from connectorlib.service import pages
from connectorlib.service.form_origin import is_foreign_form
from connectorlib.service.redaction import secrets
from deadletterqueue.session import failure_text
from deadletterqueue.web.access import SESSION_S, Access
from deadletterqueue.web.jobs import Workspace
from deadletterqueue.web.views import LARGEST_BODY, Visit, html, respond, template

logger = logging.getLogger(__name__)

#: Bytes of a form. A body in it may grow threefold on its way.
LARGEST_FORM = 4 * LARGEST_BODY
_OUT_OF_DATE = "This page is out of date. Go back, load it again, and do it once more."


class Application:
    """What the HTTP server calls."""

    def __init__(self, workspace: Workspace, access: Access, cookie: str) -> None:
        """`cookie` is the name of the session cookie: cookies of one host do not know its ports."""
        self._workspace = workspace
        self._access = access
        self._cookie = cookie

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(environ)
        request.max_form_memory_size = LARGEST_FORM
        response = self._answer(request)
        response.headers.update(pages.headers(forms=True))
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        try:
            if self._access.strange_host(request.headers.get("Host")):
                return _plain("Unknown host name; allow it with --allow-host.\n", 421)
            if request.path == "/style.css":
                return Response(pages.style(), content_type="text/css; charset=utf-8")
            if request.method == "POST" and _is_foreign(request):
                return _plain("This form was sent by another page.\n", 403)
            return self._inside(request)
        except HTTPException as error:
            return _alone(error.name, error.description or "", error.code or 500)
        except Failed as failed:
            return _alone("That did not work", secrets.redact(failure_text(failed)), 502)
        except Exception:  # a bug of ours: the log knows what must not be shown
            logger.exception("bug", extra={"event": "bug"})
            return _alone("A bug", "The log of deadletter-queue says more.", 500)

    def _inside(self, request: Request) -> Response:
        """Answer one who has a session, or may have one."""
        session = request.cookies.get(self._cookie, "")
        is_new = not self._access.is_session(session)
        if request.path == "/login":
            return self._log_in(request)
        if is_new:
            if self._access.needs_token:
                return redirect("/login", 303)
            if request.method == "POST":
                return _alone("Out of date", _OUT_OF_DATE, 403)
            if request.path != "/":  # not for a link of another site: with one, a letter could be made to be fetched
                return redirect("/", 303)
            session = self._access.new_session()
        if request.method == "POST" and not self._access.is_form_token(session, request.form.get("form_token", "")):
            return _alone("Out of date", _OUT_OF_DATE, 403)
        visit = Visit(self._workspace, self._access.form_token(session), self._access.needs_token)
        response = respond(visit, request)
        if is_new:
            self._set_cookie(response, session, request)
        if request.path == "/logout":
            self._access.end(session)
            response.delete_cookie(self._cookie)
        return response

    def _log_in(self, request: Request) -> Response:
        if request.method == "POST":
            if self._access.admits(request.form.get("token", "")):
                response = redirect("/", 303)
                self._set_cookie(response, self._access.new_session(), request)
                return response
            return _alone("Sign in", "That is not the token.", 403, kind="warning", sign_in=True)
        if request.method not in ("GET", "HEAD"):
            return _plain("", 405)
        return redirect("/", 303) if not self._access.needs_token else _alone("Sign in", "", 200, sign_in=True)

    def _set_cookie(self, response: Response, session: str, request: Request) -> None:
        behind_tls = request.headers.get("Origin", "").startswith("https:")
        age = SESSION_S if self._access.needs_token else None
        response.set_cookie(self._cookie, session, max_age=age, httponly=True, samesite="Strict", secure=behind_tls)


def _is_foreign(request: Request) -> bool:
    # Where the headers do not tell, the token in the form decides.
    headers = request.headers
    return is_foreign_form(headers.get("Host"), headers.get("Origin"), headers.get("Sec-Fetch-Site"))


def _alone(title: str, text: str, status: int, *, kind: str = "note", sign_in: bool = False) -> Response:
    return html(template("alone.html").render(title=title, text=text, kind=kind, sign_in=sign_in), status)


def _plain(text: str, status: int) -> Response:
    return Response(text, status, content_type="text/plain; charset=utf-8")
