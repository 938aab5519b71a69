"""A function for each path of the page: from a request to a template and the values in it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, cast

from werkzeug.exceptions import NotFound
from werkzeug.routing import Map, Rule
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from connectorlib.dataclass import replace
from deadletterqueue.group_command import Group
from deadletterqueue.plain_letter import plain_letter
from deadletterqueue.readable_body import readable
from deadletterqueue.replay import missing
from deadletterqueue.show_command import facts
from deadletterqueue.target import MAX_REPLAYS, Leave, Route, Target, target_of
from deadletterqueue.web.destination import Destination, destination_of
from deadletterqueue.web.edit_views import edit, edit_many, preview
from deadletterqueue.web.jobs import Busy, Job
from deadletterqueue.web.links import local_path
from deadletterqueue.web.snapshot import Row, Snapshot, View, groups
from deadletterqueue.web.time_axis import COLOURS, TimeAxis, colours, time_axis
from deadletterqueue.web.visit import (
    HTML,
    Answer,
    Gone,
    Visit,
    address,
    begun,
    hidden_fields,
    html,
    page_before,
    view_of,
)

#: Lines of a page of letters, and letters that a question shows as examples.
LINES, EXAMPLES = 50, 5
#: Characters of a body that are shown.
MAX_SHOWN = 64 * 1024
#: Periods by the `since` of a link.
PERIODS = {"": "all", "1h": "1 h", "6h": "6 h", "24h": "24 h", "7d": "7 d", "30d": "30 d"}
#: The least height of a bar where many drawings share a page.
LEAST_OF_MANY = 10.0
#: Causes with a drawing of their own, the most frequent first.
DRAWN = 50
_RENEW = {"Refresh": "1"}

Handler = Callable[..., Answer]


def respond(visit: Visit, request: Request) -> Response:
    """Return the response to a request. Raise HTTPException for one that makes no sense."""
    handler, values = _ROUTES.bind("deadletters").match(request.path, method=request.method)
    try:
        answer = cast(Handler, handler)(visit, request, **values)
    except Busy as busy:
        answer = Response(visit.page("job.html", job=busy.job), 409, _RENEW, content_type=HTML)
    except Gone:
        answer = html(visit.page("gone.html"), 404)
    return answer if isinstance(answer, Response) else html(answer)


def causes(visit: Visit, request: Request) -> Answer:
    """The first page: a line for each cause."""
    view, snapshot = view_of(request.args), visit.workspace.snapshot
    if snapshot is None:
        return visit.page("causes.html")
    rows = view.rows(snapshot)
    chart = _chart("/", view, snapshot, rows)
    axis, members = chart["axis"], defaultdict(list)
    for row in rows:
        members[row.letter.fingerprint].append(row.letter)

    def timeline(group: Group) -> TimeAxis | None:
        among = members[group.fingerprint]
        return axis and time_axis(among, chart["colour_of"], axis.start, axis.end, axis.utc_offset_s, LEAST_OF_MANY)

    lines = [
        (group, address("/letters", replace(view, group=group.fingerprint)), timeline(group) if at < DRAWN else None)
        for at, group in enumerate(groups(rows))
    ]
    return visit.page("causes.html", view=view, rows=rows, groups=lines, **chart)


def letters(visit: Visit, request: Request) -> Answer:
    """The letters of a view, a page of them."""
    view, snapshot = view_of(request.args), visit.workspace.snapshot
    if snapshot is None:
        return visit.page("letters.html")
    rows = view.rows(snapshot)
    most = max((len(rows) + LINES - 1) // LINES, 1)
    number = min(max(request.args.get("page", 1, type=int), 1), most)
    return visit.page(
        "letters.html",
        view=view,
        rows=rows,
        shown=rows[(number - 1) * LINES : number * LINES],
        hidden=hidden_fields(view, rows),
        ticked=[(name, value) for name, value in view.query.items() if value],
        back=address("/", replace(view, group="")),
        number=number,
        pages=most,
        earlier=address("/letters", view, page=str(number - 1)) if number > 1 else "",
        later=address("/letters", view, page=str(number + 1)) if number < most else "",
        **_chart("/letters", view, snapshot, rows),
    )


def _chart(path: str, view: View, snapshot: Snapshot, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the time axis of the rows, and what leads from it to other periods."""
    colour_of = colours(row.letter for row in snapshot.rows)
    offset = snapshot.at.astimezone().utcoffset() or timedelta()
    names = {COLOURS: "others"}
    for row in rows:
        if row.letter.fingerprint in colour_of:
            names[colour_of[row.letter.fingerprint]] = row.letter.code or row.letter.reason or "no reason given"
    whole = replace(view, start=None, end=None)
    return {
        "axis": time_axis([row.letter for row in rows], colour_of, *view.period(snapshot), int(offset.total_seconds())),
        "colour_of": colour_of,
        "names": names,
        "periods": [
            (text, address(path, replace(whole, since=since)), since == view.since and not (view.start or view.end))
            for since, text in PERIODS.items()
        ],
        "part": lambda bucket: address(path, replace(whole, since="", start=bucket.start, end=bucket.end)),
    }


def letter(visit: Visit, request: Request, identity: str) -> Answer:
    """One letter with its reasons, properties, headers and body."""
    found = visit.opened(identity)
    if isinstance(found, Response):
        return found
    body = readable(plain_letter(found).delivery.body, most=MAX_SHOWN, whole="the download has all")
    about = {"facts": facts(found), "body": body, "journey": visit.workspace.journey(identity)}
    return visit.page("letter.html", identity=identity, letter=found, **about)


def trace(visit: Visit, request: Request, identity: str) -> Answer:
    """Read what the journal has about a letter; its page then shows it."""
    return begun(visit.workspace.trace(identity, visit.row(identity).letter.message_id))


def body(visit: Visit, request: Request, identity: str) -> Answer:
    found = visit.opened(identity)
    if isinstance(found, Response):
        return found
    headers = {"Content-Disposition": f'attachment; filename="{identity}.bin"'}
    return Response(found.delivery.body, 200, headers, content_type="application/octet-stream")


def look(visit: Visit, request: Request) -> Answer:
    """Scan the queue, then go on to the page on which the person was."""
    return begun(visit.workspace.look(local_path(request.form.get("next", ""))))


def replay(visit: Visit, request: Request) -> Answer:
    """Ask whether to send letters back and where to; then send them."""
    view, rows, changed = visit.chosen(request)
    if not rows:
        return visit.page("nothing.html")
    destination, often = destination_of(request.form), bool(request.form.get("often"))
    if destination.problem:
        changed, destination = destination.problem, Destination()
    route = destination.route(often=often)
    if request.form.get("confirmed") and not changed:
        return begun(visit.workspace.replay(rows, route))
    going, staying = targets(rows, route, visit.workspace.session.queue)
    for target in list(going):
        if (why := missing(visit.workspace.session.broker, target)) is not None:
            staying[why] += going.pop(target)
    return visit.page(
        "replay.html",
        changed=changed,
        rows=rows,
        examples=EXAMPLES,
        hidden=hidden_fields(view, rows),
        back=page_before(view),
        destination=destination,
        often=[("often", "yes")] if often else [],
        most_replays=MAX_REPLAYS,
        total=going.total(),
        going=[(count, f"to {target}") for target, count in going.most_common()],
        staying=[(count, f"stay: {reason}") for reason, count in staying.most_common()],
    )


def purge(visit: Visit, request: Request) -> Answer:
    """Ask whether to remove letters for good; then remove them."""
    view, rows, changed = visit.chosen(request)
    if not rows:
        return visit.page("nothing.html")
    if request.form.get("confirmed") and not changed:
        return begun(visit.workspace.purge(rows))
    values: dict[str, Any] = {"hidden": hidden_fields(view, rows), "back": page_before(view)}
    return visit.page("purge.html", changed=changed, rows=rows, examples=EXAMPLES, **values)


def job(visit: Visit, request: Request, number: int) -> Answer:
    """How far a job is; what came of it."""
    found = _job(visit, number)
    if not found.ended:
        return Response(visit.page("job.html", job=found), 200, _RENEW, content_type=HTML)
    if found.outcome is not None and found.outcome.onward:
        return redirect(found.outcome.onward, 303)
    return visit.page("job.html", job=found)


def stop(visit: Visit, request: Request, number: int) -> Answer:
    found = _job(visit, number)
    found.stop.set()
    return begun(found)


def log_out(visit: Visit, request: Request) -> Answer:
    return redirect("/login", 303)


def _job(visit: Visit, number: int) -> Job:
    found = visit.workspace.jobs.get(number)
    if found is None:
        raise NotFound("Nothing of that number is being done.")
    return found


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


def _rule(path: str, handler: Handler, *methods: str) -> Rule:
    return Rule(path, endpoint=handler, methods=list(methods))


_IDENTITY = "<string(length=32):identity>"
_ROUTES = Map(
    [
        _rule("/", causes, "GET"),
        _rule("/letters", letters, "GET"),
        _rule(f"/letter/{_IDENTITY}", letter, "GET"),
        _rule(f"/letter/{_IDENTITY}/body", body, "GET"),
        _rule(f"/letter/{_IDENTITY}/trace", trace, "POST"),
        _rule(f"/letter/{_IDENTITY}/edit", edit, "GET", "POST"),
        _rule("/look", look, "POST"),
        _rule("/replay", replay, "POST"),
        _rule("/edit", edit_many, "POST"),
        _rule("/edit/<int:number>", preview, "GET"),
        _rule("/purge", purge, "POST"),
        _rule("/job/<int:number>", job, "GET"),
        _rule("/job/<int:number>/stop", stop, "POST"),
        _rule("/logout", log_out, "POST"),
    ]
)
