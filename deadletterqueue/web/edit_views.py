"""The pages that change messages before they are sent back."""

from werkzeug.wrappers import Request, Response

from connectorlib.values.line_diff import differences
from deadletterqueue.changes import with_body
from deadletterqueue.edit_command import problems
from deadletterqueue.letter import Letter
from deadletterqueue.plain_letter import changed, plain_letter
from deadletterqueue.readable_body import indented
from deadletterqueue.replay import missing
from deadletterqueue.target import Leave, Route, Target, target_of
from deadletterqueue.web.message_form import edited_text, uneditable
from deadletterqueue.web.visit import Answer, Visit, begun

#: Lines of a diff that are shown.
MAX_DIFF = 400


def edit(visit: Visit, request: Request, identity: str) -> Answer:
    """The body as a text to be changed; the change, and whether to send it."""
    found = visit.opened(identity)
    if isinstance(found, Response):
        return found
    original = plain_letter(found).delivery.body

    def page(text: str | None, problem: str = "", target: Target | None = None) -> Answer:
        diff, no_diff = _difference(original.decode(), text or "") if target is not None else ([], "")
        values = {"diff": diff, "no_diff": no_diff, "most_lines": MAX_DIFF}
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


def _difference(old: str, new: str) -> tuple[list[tuple[str, str]], str]:
    """Return the lines of a diff with their kinds; without any, why there are none."""
    if old == new:
        return [], "Nothing: it goes back as it is."
    before, after = indented(old).splitlines(), indented(new).splitlines()
    kinds = {"+": "added", "-": "removed", "@": "place"}
    lines = list(differences(before, after, ("in the queue", "changed")))[2:]
    return [(kinds.get(line[:1], "same"), line) for line in lines], "Only white space, or its order."
