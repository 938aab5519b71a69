"""The pages that change messages before they are sent back: one by hand, or many by the same change."""

from typing import Any

from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Request, Response

from deadletterqueue.changes import document_of, is_changed, with_body, with_document
from deadletterqueue.connector_check import at_queue
from deadletterqueue.edit_command import as_lines, checked, problems
from deadletterqueue.letter import Letter
from deadletterqueue.plain_letter import changed, plain_letter
from deadletterqueue.replay import missing
from deadletterqueue.target import Leave, Target, target_of
from deadletterqueue.web.destination import destination_of
from deadletterqueue.web.message_form import ChangeTexts, edited_text, uneditable
from deadletterqueue.web.preview import Diff, diff
from deadletterqueue.web.visit import Answer, Visit, begun, hidden_fields, page_before, view_of

#: Lines of a diff that are shown.
MAX_DIFF = 400
#: Characters of a form with a change of many letters, which is kept until it is confirmed.
MAX_FIELDS = 64 * 1024


def edit(visit: Visit, request: Request, identity: str) -> Answer:
    """Body, properties and headers as texts to be changed; the change, and whether to send it."""
    found = visit.opened(identity)
    if isinstance(found, Response):
        return found
    plain = plain_letter(found)
    original, document = plain.delivery.body, document_of(plain)
    fixed = uneditable(original)
    text = None if fixed else original.decode()
    if request.method == "POST":
        document = edited_text(request.form.get("document", document), b"")
        text = None if fixed else edited_text(request.form.get("body", ""), original)
    destination = destination_of(request.form)

    def change(letter: Letter) -> Letter:
        return changed(letter, lambda plain: _edited(plain, document, text))

    def page(problem: str = "", target: Target | None = None) -> Answer:
        lines, no_diff = _difference(found, change(found)) if target is not None else ([], "")
        values: dict[str, Any] = {"text": text, "fixed": fixed, "document": document, "destination": destination}
        values |= {"diff": lines, "no_diff": no_diff, "most_lines": MAX_DIFF, "problem": problem, "target": target}
        original_document = document_of(plain)
        return visit.page("edit.html", identity=identity, letter=found, original_document=original_document, **values)

    if request.method != "POST" or request.form.get("again"):
        return page()
    if destination.problem:
        return page(destination.problem)
    route = destination.route(often=True)
    try:
        against = problems(found, change(found), at_queue(visit.workspace.check, route.to_queue))
    except ValueError as error:
        return page(f"{error}")
    if against:
        return page(f"It would die again: {against[0]}")
    if request.form.get("confirmed"):
        return begun(visit.workspace.replay([visit.row(identity)], route, change))
    target = target_of(found, route, visit.workspace.session.queue)
    if isinstance(target, Leave):
        return page(f"It stays here: {target.reason}")
    if (gone := missing(visit.workspace.session.broker, target)) is not None:
        return page(gone)
    return page(target=target)


def _edited(plain: Letter, document: str, text: str | None) -> Letter:
    """Return a letter with other properties and headers, and another body unless that is None."""
    new = with_document(plain, document)
    return new if text is None else with_body(new, text.encode())


def edit_many(visit: Visit, request: Request) -> Answer:
    """The same change for all that were chosen: what to change, then a dry run of it, then sending."""
    view, rows, since = visit.chosen(request)
    if not rows:
        return visit.page("nothing.html")
    form, fields = request.form, hidden_fields(view, rows)
    texts = ChangeTexts(form.get("sets", ""), form.get("unsets", ""), form.get("patch", ""))
    destination = destination_of(form)

    def page(problem: str) -> Answer:
        values = {"texts": texts, "destination": destination, "problem": problem, "back": page_before(view)}
        return visit.page("edit_many.html", rows=rows, hidden=fields, **values)

    if since or form.get("again") or (texts.empty and not form.get("check")):
        return page(since)
    if destination.problem:
        return page(destination.problem)
    try:
        edit = texts.edit()
    except ValueError as error:
        return page(f"{error}.")
    kept = [*fields, *destination.fields]
    if sum(len(name) + len(value) for name, value in [*kept, *texts.fields.items()]) > MAX_FIELDS:
        return page("That is too much for a form. Use deadletter-queue edit on the command line.")
    route = destination.route(often=True)
    change = checked(lambda letter: changed(letter, edit), at_queue(visit.workspace.check, route.to_queue))
    if form.get("confirmed"):
        return begun(visit.workspace.replay(rows, route, change))
    return begun(visit.workspace.rehearse(rows, route, change, kept, texts))


def preview(visit: Visit, request: Request, number: int) -> Answer:
    """What a change of many would do, and whether to send them."""
    job = visit.workspace.jobs.get(number)
    if job is None or job.outcome is None or job.outcome.preview is None:
        raise NotFound("This preview is gone. Choose the dead letters and enter the change once more.")
    found = job.outcome.preview
    return visit.page("preview.html", preview=found, back=page_before(view_of(MultiDict(found.fields))))


def _difference(old: Letter, new: Letter) -> tuple[Diff, str]:
    """Return the lines of a diff with their kinds; without any, why there are none."""
    if not is_changed(old, new):
        return [], "Nothing: it goes back as it is."
    before, after = (as_lines(plain_letter(each)) for each in (old, new))
    return diff(before, after), "Only white space, or its order."
