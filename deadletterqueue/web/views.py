"""A function for each path of the page: from a request to a template and the values in it."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import urlencode

from markupsafe import Markup
from werkzeug.exceptions import NotFound
from werkzeug.routing import Map, Rule
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from connectorlib.service import pages
from connectorlib.values.line_diff import differences
from connectorlib.values.text import printable
from deadletterqueue.changes import with_body
from deadletterqueue.edit_command import problems
from deadletterqueue.letter import Letter
from deadletterqueue.list_command import what
from deadletterqueue.plain_letter import changed, plain_letter
from deadletterqueue.readable_body import indented, readable
from deadletterqueue.replay import missing
from deadletterqueue.show_command import facts
from deadletterqueue.target import MAX_REPLAYS, ORIGIN, Leave, Route, Target, target_of
from deadletterqueue.terminal import local, span
from deadletterqueue.web.jobs import Busy, Job, Workspace
from deadletterqueue.web.snapshot import Row, View, groups, seen, timeline

if TYPE_CHECKING:
    from jinja2 import Environment, Template

#: Bytes of a body that can be changed in a browser.
LARGEST_BODY = 1024 * 1024
#: Lines of a page of letters, and letters that a question shows as examples.
LINES, EXAMPLES = 50, 5
#: Characters of a body that are shown, and lines of a diff.
MAX_SHOWN, MAX_DIFF = 64 * 1024, 400
_RENEW = {"Refresh": "1"}
_SINCE_TEXTS = {"": "all times", "1h": "the last hour", "24h": "the last 24 hours", "7d": "the last 7 days"}
_HTML = "text/html; charset=utf-8"


class Visit(NamedTuple):
    """Whose request it is: what all share, and the token that the forms of this session carry."""

    workspace: Workspace
    form_token: str
    #: Whether there is something to sign out of.
    signed_in: bool


Answer = Response | str
Handler = Callable[..., Answer]


def respond(visit: Visit, request: Request) -> Response:
    """Return the response to a request. Raise HTTPException for one that makes no sense."""
    handler, values = _ROUTES.bind("deadletters").match(request.path, method=request.method)
    try:
        answer = cast(Handler, handler)(visit, request, **values)
    except Busy as busy:
        answer = Response(_page(visit, "job.html", job=busy.job), 409, _RENEW, content_type=_HTML)
    return answer if isinstance(answer, Response) else html(answer)


def html(page: str, status: int = 200) -> Response:
    return Response(page, status, content_type=_HTML)


def template(name: str) -> "Template":
    """Return a template. Values become text: escaped, and with control characters and marks that turn the direction of
    writing as visible escapes."""
    return environment().get_template(name)


@cache
def environment() -> "Environment":
    environment = pages.environment(__package__, _text)
    environment.filters |= {"local": local, "what": what}
    environment.globals |= {"span": span, "since_texts": _SINCE_TEXTS}
    return environment


def _text(value: object) -> object:
    if isinstance(value, Markup):
        return value
    return "" if value is None else printable(str(value), lines=True)


def _page(visit: Visit, name: str, **values: Any) -> str:
    workspace, token, signed_in = visit
    return template(name).render(
        workspace=workspace, snapshot=workspace.snapshot, token=token, signed_in=signed_in, **values
    )


# -- one function for each path


def causes(visit: Visit, request: Request) -> Answer:
    """The first page: a line for each cause."""
    view, snapshot = _view(request.args), visit.workspace.snapshot
    rows = view.rows(snapshot) if snapshot is not None else []
    times: dict[str, list[datetime]] = {}
    for row in rows:
        if row.letter.time is not None:
            times.setdefault(row.letter.fingerprint, []).append(row.letter.time)
    known = [time for each in times.values() for time in each]
    first, last = (min(known), max(known)) if known else (None, None)
    lines = [
        (
            group,
            _address("/letters", View(group.fingerprint, view.find, view.since)),
            timeline(times.get(group.fingerprint, ()), first, last),
        )
        for group in groups(rows)
    ]
    return _page(visit, "causes.html", view=view, rows=rows, first=first, last=last, groups=lines)


def letters(visit: Visit, request: Request) -> Answer:
    """The letters of a view, a page of them."""
    view, snapshot = _view(request.args), visit.workspace.snapshot
    rows = view.rows(snapshot) if snapshot is not None else []
    most = max((len(rows) + LINES - 1) // LINES, 1)
    number = min(max(request.args.get("page", 1, type=int), 1), most)
    return _page(
        visit,
        "letters.html",
        view=view,
        rows=rows,
        shown=rows[(number - 1) * LINES : number * LINES],
        hidden=_hidden(view, rows),
        back=_address("/", View(find=view.find, since=view.since)),
        number=number,
        pages=most,
        earlier=_address("/letters", view, page=str(number - 1)) if number > 1 else "",
        later=_address("/letters", view, page=str(number + 1)) if number < most else "",
    )


def letter(visit: Visit, request: Request, identity: str) -> Answer:
    """One letter with its reasons, properties, headers and body."""
    found = _opened(visit, identity)
    if isinstance(found, Response):
        return found
    body = readable(plain_letter(found).delivery.body, most=MAX_SHOWN, whole="the download has all")
    return _page(visit, "letter.html", identity=identity, letter=found, facts=facts(found), body=body)


def body(visit: Visit, request: Request, identity: str) -> Answer:
    found = _opened(visit, identity)
    if isinstance(found, Response):
        return found
    headers = {"Content-Disposition": f'attachment; filename="{identity}.bin"'}
    return Response(found.delivery.body, 200, headers, content_type="application/octet-stream")


def edit(visit: Visit, request: Request, identity: str) -> Answer:
    """The body as a text to be changed; the change, and whether to send it."""
    found = _opened(visit, identity)
    if isinstance(found, Response):
        return found
    original = plain_letter(found).delivery.body

    def page(text: str | None, problem: str = "", target: Target | None = None) -> Answer:
        diff, no_diff = _difference(original.decode(), text or "") if target is not None else ([], "")
        values = {"diff": diff, "no_diff": no_diff, "most_lines": MAX_DIFF}
        about = {"identity": identity, "letter": found}
        return _page(visit, "edit.html", text=text, problem=problem, target=target, **values, **about)

    if why := uneditable(original):
        return page(None, f"This body cannot be changed in a browser: {why}. Use deadletter-queue on the command line.")
    if request.method != "POST":
        return page(original.decode())
    text = edited_text(request.form.get("body", ""), original)

    def change(letter: Letter) -> Letter:
        return changed(letter, lambda plain: with_body(plain, text.encode()))

    if request.form.get("again"):
        return page(text)
    if against := problems(found, change(found), visit.workspace.check):
        return page(text, f"It would die again: {against[0]}")
    route = Route(max_replays=None)
    if request.form.get("confirmed"):
        row = _row(visit, identity)
        return _begun(visit.workspace.replay([row], route, change))
    target = target_of(found, route, visit.workspace.session.queue)
    if isinstance(target, Leave):
        return page(text, f"It stays here: {target.reason}")
    if (gone := missing(visit.workspace.session.broker, target)) is not None:
        return page(text, gone)
    return page(text, target=target)


def look(visit: Visit, request: Request) -> Answer:
    return _begun(visit.workspace.look())


def replay(visit: Visit, request: Request) -> Answer:
    """Ask whether to send letters back and where to; then send them."""
    view, rows, changed = _chosen(visit, request)
    if not rows:
        return _page(visit, "nothing.html")
    form = request.form
    where, often = form.get("where", ""), bool(form.get("often"))
    route = route_of(where, form.get("queue", ""), often=often)
    if where == "queue" and not route.to_queue:
        changed, where = "Which queue? Its name is missing.", ""
        route = route_of(where, "", often=often)
    if form.get("confirmed") and not changed:
        return _begun(visit.workspace.replay(rows, route))
    going, staying = targets(rows, route, visit.workspace.session.queue)
    for target in list(going):
        if (why := missing(visit.workspace.session.broker, target)) is not None:
            staying[why] += going.pop(target)
    return _page(
        visit,
        "replay.html",
        changed=changed,
        rows=rows,
        examples=EXAMPLES,
        hidden=_hidden(view, rows),
        where=where,
        often="yes" if often else "",
        queue=route.to_queue or "",
        most_replays=MAX_REPLAYS,
        total=going.total(),
        going=[(count, f"to {target}") for target, count in going.most_common()],
        staying=[(count, f"stay: {reason}") for reason, count in staying.most_common()],
    )


def purge(visit: Visit, request: Request) -> Answer:
    """Ask whether to remove letters for good; then remove them."""
    view, rows, changed = _chosen(visit, request)
    if not rows:
        return _page(visit, "nothing.html")
    if request.form.get("confirmed") and not changed:
        return _begun(visit.workspace.purge(rows))
    return _page(visit, "purge.html", changed=changed, rows=rows, examples=EXAMPLES, hidden=_hidden(view, rows))


def job(visit: Visit, request: Request, number: int) -> Answer:
    """How far a job is; what came of it."""
    found = _job(visit, number)
    if not found.ended:
        return Response(_page(visit, "job.html", job=found), 200, _RENEW, content_type=_HTML)
    if found.outcome is not None and found.outcome.onward:
        return redirect(found.outcome.onward, 303)
    return _page(visit, "job.html", job=found)


def stop(visit: Visit, request: Request, number: int) -> Answer:
    found = _job(visit, number)
    found.stop.set()
    return _begun(found)


def log_out(visit: Visit, request: Request) -> Answer:
    return redirect("/login", 303)


# -- from a request to letters, and back


def _view(values: Any) -> View:
    return View(
        values.get("group", ""), values.get("find", ""), values.get("since", ""), tuple(values.getlist("letter"))
    )


def _hidden(view: View, rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Return the fields of a form that say which letters it is about, as the person saw them."""
    fields = [("group", view.group), ("find", view.find), ("since", view.since), ("seen", seen(rows))]
    return [(name, value) for name, value in fields if value] + [("letter", each) for each in view.letters]


def _address(path: str, view: View, **more: str) -> str:
    """Return a link to what a view shows."""
    values = {"group": view.group, "find": view.find, "since": view.since, **more}
    query = urlencode({name: value for name, value in values.items() if value})
    return f"{path}?{query}" if query else path


def _chosen(visit: Visit, request: Request) -> tuple[View, list[Row], str]:
    """Return what a form is about, and what has changed since the person saw it."""
    view, snapshot, before = _view(request.form), visit.workspace.snapshot, request.form.get("seen", "")
    if snapshot is None or not (view.letters or before):  # without both it is the boxes of a list, and none is ticked
        return view, [], ""
    rows = view.rows(snapshot)
    if before and before != seen(rows):
        was = before.partition(".")[0]
        return view, rows, f"The queue has changed: there were {was} when you saw them, now there are {len(rows):,}."
    return view, rows, ""


def _opened(visit: Visit, identity: str) -> Any:
    """Return a letter with its body, or a redirect to the page to wait on when fetching it takes long."""
    if (found := visit.workspace.opened(identity)) is not None:
        return found
    job = visit.workspace.open(_row(visit, identity))
    job.wait()
    return visit.workspace.opened(identity) or _begun(job)


def _row(visit: Visit, identity: str) -> Row:
    snapshot = visit.workspace.snapshot
    row = snapshot.find(identity) if snapshot is not None else None
    if row is None:
        raise NotFound("The last scan did not find this dead letter: it was sent back or purged, or not scanned yet.")
    return row


def _job(visit: Visit, number: int) -> Job:
    found = visit.workspace.jobs.get(number)
    if found is None:
        raise NotFound("Nothing of that number is being done.")
    return found


def _begun(job: Job) -> Response:
    """Wait a moment, in which most jobs end, and go on to the page of the job."""
    job.wait()
    return redirect(f"/job/{job.number}", 303)


def route_of(where: str, queue: str, *, often: bool) -> Route:
    """Given the fields of a form, return where letters are to go; `often` includes those sent back often already."""
    most = None if often else MAX_REPLAYS
    if where == "queue":
        return Route(to_queue=queue.strip(), max_replays=most)
    return Route(to_exchange=ORIGIN if where == "origin" else None, max_replays=most)


def targets(rows: Sequence[Row], route: Route, source: str) -> tuple[Counter[Target], Counter[str]]:
    """Return how many go to which target, and how many stay for which reason."""
    going: Counter[Target] = Counter()
    staying: Counter[str] = Counter()
    for row in rows:
        target = target_of(row.letter, route, source)
        if isinstance(target, Leave):
            staying[target.reason] += 1
        else:
            going[target] += 1
    return going, staying


# -- bodies through the text field of a browser, and back, without a change that nobody made


def uneditable(body: bytes) -> str:
    """Return why a body cannot be changed in a text field; "" if it can."""
    if len(body) > LARGEST_BODY:
        return f"it has {len(body):,} bytes"
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return "it is not UTF-8"
    if "\0" in text:
        return "it holds a null character"
    # A text field knows one kind of line end.
    if text.replace("\r\n", "").count("\r") or ("\r\n" in text and "\n" in text.replace("\r\n", "")):
        return "its line ends are of several kinds"
    return ""


def edited_text(sent: str, original: bytes) -> str:
    """Return what a person wrote: browsers send all line ends as CRLF."""
    text = sent.replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("\n", "\r\n") if b"\r\n" in original else text


def _difference(old: str, new: str) -> tuple[list[tuple[str, str]], str]:
    """Return the lines of a diff with their kinds; without any, why there are none."""
    if old == new:
        return [], "Nothing: it goes back as it is."
    before, after = indented(old).splitlines(), indented(new).splitlines()
    kinds = {"+": "added", "-": "removed", "@": "place"}
    lines = list(differences(before, after, ("in the queue", "changed")))[2:]
    return [(kinds.get(line[:1], "same"), line) for line in lines], "Only white space, or its order."


def _rule(path: str, handler: Handler, *methods: str) -> Rule:
    return Rule(path, endpoint=handler, methods=list(methods))


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
