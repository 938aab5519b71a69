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
from deadletterqueue.web.links import local_path, login_path
from deadletterqueue.web.message_form import LARGEST_BODY
from deadletterqueue.web.views import respond
from deadletterqueue.web.visit import Visit, html, template

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
        if request.path == "/login":
            return self._log_in(request, session)
        if not self._access.is_session(session):
            return self._outside(request)
        if request.method == "POST" and not self._access.is_form_token(session, request.form.get("form_token", "")):
            return _alone("Out of date", _OUT_OF_DATE, 403)
        response = self._page(request, session)
        if request.path == "/logout":
            self._access.end(session)
            response.delete_cookie(self._cookie)
        return response

    def _outside(self, request: Request) -> Response:
        """Answer one who has no session, or follows a link of another site, for which browsers send no cookie."""
        if request.method == "POST":
            return redirect("/login", 303) if self._access.needs_token else _alone("Out of date", _OUT_OF_DATE, 403)
        if self._access.needs_token or request.path != "/":  # a mere link must not have a letter fetched
            return redirect(login_path(_asked(request)), 303)
        session = self._access.new_session()
        response = self._page(request, session)
        self._set_cookie(response, session, request)
        return response

    def _page(self, request: Request, session: str) -> Response:
        here = _asked(request) if request.method == "GET" and not request.path.startswith("/job/") else "/"
        visit = Visit(self._workspace, self._access.form_token(session), self._access.needs_token, here)
        return respond(visit, request)

    def _log_in(self, request: Request, session: str) -> Response:
        """Ask for the token, if one is needed, and go on to the page that was asked for: from here browsers send the
        cookie again."""
        needed, known = self._access.needs_token, self._access.is_session(session)
        onward = local_path(request.values.get("next", ""))
        if request.method == "POST":
            if not self._access.admits(request.form.get("token", "")):
                return _alone("Sign in", "That is not the token.", 403, kind="warning", sign_in=needed, onward=onward)
            response = redirect(onward, 303)
            if needed or not known:
                self._set_cookie(response, self._access.new_session(), request)
            return response
        if request.method not in ("GET", "HEAD"):
            return _plain("", 405)
        if known or (onward == "/" and not needed):
            return redirect(onward, 303)
        return _alone("Sign in" if needed else "Dead letters", "", 200, sign_in=needed, onward=onward)

    def _set_cookie(self, response: Response, session: str, request: Request) -> None:
        behind_tls = request.headers.get("Origin", "").startswith("https:")
        age = SESSION_S if self._access.needs_token else None
        response.set_cookie(self._cookie, session, max_age=age, httponly=True, samesite="Strict", secure=behind_tls)


def _is_foreign(request: Request) -> bool:
    # Where the headers do not tell, the token in the form decides.
    headers = request.headers
    return is_foreign_form(headers.get("Host"), headers.get("Origin"), headers.get("Sec-Fetch-Site"))


def _asked(request: Request) -> str:
    """Return the path and query of a request."""
    query = request.query_string.decode("latin-1")
    return f"{request.path}?{query}" if query else request.path


def _alone(
    title: str, text: str, status: int, *, kind: str = "note", sign_in: bool = False, onward: str = ""
) -> Response:
    """Return a page for somebody who need not have signed in; with `onward` it leads on to that path."""
    page = template("alone.html").render(title=title, text=text, kind=kind, sign_in=sign_in, onward=onward)
    return html(page, status)


def _plain(text: str, status: int) -> Response:
    return Response(text, status, content_type="text/plain; charset=utf-8")
