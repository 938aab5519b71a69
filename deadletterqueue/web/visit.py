"""One request to the page: who asks, what all share, and how an answer is rendered."""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from markupsafe import Markup
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from connectorlib.monitoring.humanize import ago
from connectorlib.service import pages
from connectorlib.values.text import printable
from deadletterqueue.letter import Letter, instant
from deadletterqueue.list_command import what
from deadletterqueue.terminal import local, span
from deadletterqueue.web.jobs import Job, Workspace
from deadletterqueue.web.snapshot import Row, View, seen
from deadletterqueue.web.time_axis import COLOURS

if TYPE_CHECKING:
    from jinja2 import Environment, Template

HTML = "text/html; charset=utf-8"

Answer = Response | str


class Gone(Exception):
    """The last scan has not found the dead letter that was asked for, or there was none yet."""


class Visit(NamedTuple):
    """Whose request it is: what all share, and the token that the forms of this session carry."""

    workspace: Workspace
    form_token: str
    #: Whether there is something to sign out of.
    signed_in: bool
    #: The path to come back to after a scan.
    here: str

    def page(self, name: str, **values: Any) -> str:
        workspace, token, signed_in, here = self
        return template(name).render(
            workspace=workspace, snapshot=workspace.snapshot, token=token, signed_in=signed_in, here=here, **values
        )

    def opened(self, identity: str) -> Letter | Response:
        """Return a letter with its body, or a redirect to the page to wait on when fetching it takes long.
        Raise Gone."""
        if (found := self.workspace.opened(identity)) is not None:
            return found
        onward = self.here if self.here != "/" else f"/letter/{identity}"
        job = self.workspace.open(self.row(identity), onward)
        job.wait()
        return self.workspace.opened(identity) or begun(job)

    def row(self, identity: str) -> Row:
        """Return the row of a letter. Raise Gone."""
        snapshot = self.workspace.snapshot
        row = snapshot.find(identity) if snapshot is not None else None
        if row is None:
            raise Gone
        return row

    def chosen(self, request: Request) -> tuple[View, list[Row], str]:
        """Return what a form is about, and what has changed since the person saw it."""
        view, snapshot, before = view_of(request.form), self.workspace.snapshot, request.form.get("seen", "")
        if snapshot is None or not (view.letters or before):  # without both it is the boxes of a list, none ticked
            return view, [], ""
        rows = view.rows(snapshot)
        if before and before != seen(rows):
            was, now = before.partition(".")[0], f"{len(rows):,}"
            return view, rows, f"The queue has changed: there were {was} when you saw them, now there are {now}."
        return view, rows, ""


def html(page: str, status: int = 200) -> Response:
    return Response(page, status, content_type=HTML)


def template(name: str) -> "Template":
    """Return a template. Values become text: escaped, and with control characters and marks that turn the direction of
    writing as visible escapes."""
    return environment().get_template(name)


@cache
def environment() -> "Environment":
    environment = pages.environment(__package__, _text)
    environment.filters |= {"local": local, "what": what, "duration": ago}
    environment.globals |= {"span": span, "others": COLOURS}
    return environment


def _text(value: object) -> object:
    if isinstance(value, Markup):
        return value
    return "" if value is None else printable(str(value), lines=True)


def begun(job: Job) -> Response:
    """Wait a moment, in which most jobs end, and go on to the page of the job."""
    job.wait()
    return redirect(f"/job/{job.number}", 303)


# -- from a request to letters, and back


def view_of(values: Any) -> View:
    """Return what the values of a query or form choose."""
    return View(
        values.get("group", ""),
        values.get("find", ""),
        values.get("since", ""),
        tuple(values.getlist("letter")),
        instant(values.get("from")),
        instant(values.get("to")),
    )


def hidden_fields(view: View, rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Return the fields of a form that say which letters it is about, as the person saw them."""
    fields = [*view.query.items(), ("seen", seen(rows))]
    return [(name, value) for name, value in fields if value] + [("letter", each) for each in view.letters]


def address(path: str, view: View, **more: str) -> str:
    """Return a link to what a view shows."""
    query = urlencode({name: value for name, value in (view.query | more).items() if value}, safe=":")
    return f"{path}?{query}" if query else path


def page_before(view: View) -> str:
    """Return the path of the page on which these letters were chosen: that of a letter, or a list."""
    if len(view.letters) == 1 and not any(view.query.values()):
        return f"/letter/{view.letters[0]}"
    return address("/letters", view)
