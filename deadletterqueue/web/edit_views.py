"""The pages that change messages before they are sent back: one by hand, or many by the same change."""

from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Request, Response

from deadletterqueue.changes import with_body
from deadletterqueue.edit_command import checked, problems
from deadletterqueue.letter import Letter
from deadletterqueue.plain_letter import changed, plain_letter
from deadletterqueue.readable_body import indented
from deadletterqueue.replay import missing
from deadletterqueue.target import Leave, Route, Target, target_of
from deadletterqueue.web.message_form import edit_of, edited_text, uneditable
from deadletterqueue.web.preview import Diff, diff
from deadletterqueue.web.visit import Answer, Visit, begun, hidden_fields

#: Lines of a diff that are shown.
MAX_DIFF = 400
#: Characters of a form with a change of many letters, which is kept until it is confirmed.
MAX_FIELDS = 64 * 1024


def edit(visit: Visit, request: Request, identity: str) -> Answer:
    """The body as a text to be changed; the change, and whether to send it."""
    found = visit.opened(identity)
    if isinstance(found, Response):
        return found
    original = plain_letter(found).delivery.body

    def page(text: str | None, problem: str = "", target: Target | None = None) -> Answer:
        lines, no_diff = _difference(original.decode(), text or "") if target is not None else ([], "")
        values = {"diff": lines, "no_diff": no_diff, "most_lines": MAX_DIFF}
        about = {"identity": identity, "letter": found}
        return visit.page("edit.html", text=text, problem=problem, target=target, **values, **about)

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
        return begun(visit.workspace.replay([visit.row(identity)], route, change))
    target = target_of(found, route, visit.workspace.session.queue)
    if isinstance(target, Leave):
        return page(text, f"It stays here: {target.reason}")
    if (gone := missing(visit.workspace.session.broker, target)) is not None:
        return page(text, gone)
    return page(text, target=target)


def edit_many(visit: Visit, request: Request) -> Answer:
    """The same change for all that were chosen: what to change, then a dry run of it, then sending."""
    view, rows, since = visit.chosen(request)
    if not rows:
        return visit.page("nothing.html")
    sets, patch = request.form.get("sets", ""), request.form.get("patch", "")
    fields = hidden_fields(view, rows)

    def page(problem: str) -> Answer:
        return visit.page("edit_many.html", rows=rows, hidden=fields, sets=sets, patch=patch, problem=problem)

    if since or request.form.get("again") or not (sets.strip() or patch.strip() or request.form.get("check")):
        return page(since)
    try:
        edit = edit_of(sets, patch)
    except ValueError as error:
        return page(f"{error}.")
    if sum(len(name) + len(value) for name, value in [*fields, ("sets", sets), ("patch", patch)]) > MAX_FIELDS:
        return page("That is too much for a form. Use deadletter-queue edit on the command line.")
    route, change = Route(max_replays=None), checked(lambda letter: changed(letter, edit), visit.workspace.check)
    if request.form.get("confirmed"):
        return begun(visit.workspace.replay(rows, route, change))
    return begun(visit.workspace.rehearse(rows, route, change, fields, sets, patch))


def preview(visit: Visit, request: Request, number: int) -> Answer:
    """What a change of many would do, and whether to send them."""
    job = visit.workspace.jobs.get(number)
    if job is None or job.outcome is None or job.outcome.preview is None:
        raise NotFound("This preview is gone. Choose the dead letters and enter the change once more.")
    return visit.page("preview.html", preview=job.outcome.preview)


def _difference(old: str, new: str) -> tuple[Diff, str]:
    """Return the lines of a diff with their kinds; without any, why there are none."""
    if old == new:
        return [], "Nothing: it goes back as it is."
    return diff(indented(old).splitlines(), indented(new).splitlines()), "Only white space, or its order."
