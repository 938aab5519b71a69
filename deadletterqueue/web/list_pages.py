"""The pages that tell many at once: the causes, and the letters of one."""

from collections.abc import Sequence
from datetime import datetime

from markupsafe import Markup

from deadletterqueue.list_command import Group, what
from deadletterqueue.terminal import local, span
from deadletterqueue.web.histogram import timeline
from deadletterqueue.web.html import EMPTY, html, joined
from deadletterqueue.web.layout import Visit, address, cause, meant, name_of, note, page, post
from deadletterqueue.web.snapshot import SINCE, Row, Snapshot, View, groups, seen

#: Lines of a page.
LINES = 50
_SINCE_TEXTS = {"": "all times", "1h": "the last hour", "24h": "the last 24 hours", "7d": "the last 7 days"}


def causes(visit: Visit, view: View) -> Markup:
    """The first page: a line for each cause."""
    snapshot = visit.desk.snapshot
    if snapshot is None:
        return page(visit, "Dead letters", _not_looked(visit))
    rows = view.rows(snapshot)
    if not snapshot.rows:
        content = html('<p class="empty">The queue is empty. Nothing is dead.</p>')
        return page(visit, "Dead letters", joined([note(snapshot.note, "warning"), content]))
    times: dict[str, list[datetime]] = {}
    for row in rows:
        if row.letter.time is not None:
            times.setdefault(row.letter.fingerprint, []).append(row.letter.time)
    known = [time for each in times.values() for time in each]
    first, last = (min(known), max(known)) if known else (None, None)
    found = groups(rows)
    lines = joined(_cause_line(group, view, timeline(times.get(group.fingerprint, ()), first, last)) for group in found)
    content = html(
        '{notes}<h1>{count}</h1>{filters}<table class="causes"><thead><tr><th class="number">how many</th>'
        '<th>why</th><th>died in</th><th class="when">when: {span}</th></tr></thead><tbody>{lines}</tbody></table>',
        notes=_notes(snapshot),
        count=_count(len(rows), snapshot) + f", {len(found):,} cause{'s'[: len(found) != 1]}",
        filters=_filters("/", view),
        span=span(first, last),
        lines=lines,
    )
    return page(visit, "Dead letters", content)


def letters(visit: Visit, view: View, number: int) -> Markup:
    """The letters of a view, a page of them."""
    snapshot = visit.desk.snapshot
    if snapshot is None:
        return page(visit, "Dead letters", _not_looked(visit))
    rows = view.rows(snapshot)
    pages = max((len(rows) + LINES - 1) // LINES, 1)
    number = min(max(number, 1), pages)
    shown = rows[(number - 1) * LINES : number * LINES]
    head = cause(rows[0].letter.reason, rows[0].letter.code) if view.group and rows else html("Dead letters")
    content = html(
        '{notes}<p class="path"><a href="{back}">All causes</a></p><h1>{head}</h1><p>{count}</p>{filters}'
        "{all_of_them}{table}{pager}",
        notes=_notes(snapshot),
        back=address("/", View(find=view.find, since=view.since)),
        head=head,
        count=_count(len(rows), snapshot),
        filters=_filters("/letters", view),
        all_of_them=_for_all(visit, view, rows) if rows else EMPTY,
        table=_table(visit, shown) if rows else html('<p class="empty">None.</p>'),
        pager=_pager(view, number, pages),
    )
    return page(visit, "Dead letters", content)


def _not_looked(visit: Visit) -> Markup:
    return html(
        '<div class="empty"><p>Looking takes all messages of the queue in hand for a moment and gives them back in'
        " order. Nothing is changed; meanwhile nobody else can work on the queue.</p>{form}</div>",
        form=post(visit, "/look", html('<button class="main">Look into the queue</button>')),
    )


def _notes(snapshot: Snapshot) -> Markup:
    behind = snapshot.ready - len(snapshot.rows)
    text = f"Only the first {len(snapshot.rows):,} of {snapshot.ready:,} were looked at." if behind > 0 else ""
    return joined([note(snapshot.note, "warning"), note(text, "warning")])


def _count(number: int, snapshot: Snapshot) -> str:
    total = len(snapshot.rows)
    noun = "dead letter" if total == 1 else "dead letters"
    return f"{number:,} {noun}" if number == total else f"{number:,} of {total:,} {noun}"


def _filters(path: str, view: View) -> Markup:
    options = joined(
        html(
            '<option value="{value}"{selected}>{text}</option>',
            value=value,
            selected=html(" selected") if value == view.since else EMPTY,
            text=text,
        )
        for value, text in _SINCE_TEXTS.items()
        if not value or value in SINCE
    )
    return html(
        '<form method="get" action="{path}" class="filters">{group}<input type="search" name="find" value="{find}"'
        ' placeholder="words in text, queue, message id …" aria-label="Words">'
        '<select name="since" aria-label="Died in">{options}</select><button>Filter</button></form>',
        path=path,
        group=html('<input type="hidden" name="group" value="{group}">', group=view.group) if view.group else EMPTY,
        find=view.find,
        options=options,
    )


def _cause_line(group: Group, view: View, picture: Markup) -> Markup:
    there = View(group.fingerprint, view.find, view.since)
    return html(
        '<tr><td class="number"><a href="{href}">{count}</a></td><td class="why"><a href="{href}">{cause}</a>'
        '<div class="quiet">{example}</div></td><td class="queue">{queue}</td>'
        '<td class="when">{picture}<div class="quiet">{span}</div></td></tr>',
        href=address("/letters", there),
        count=f"{group.count:,}",
        cause=cause(group.reason, group.code),
        example=group.example,
        queue=group.queue,
        picture=picture,
        span=span(group.first, group.last),
    )


def _for_all(visit: Visit, view: View, rows: Sequence[Row]) -> Markup:
    """The buttons for all of a view, so that nobody has to tick a thousand boxes."""
    text = "this one" if len(rows) == 1 else f"all {len(rows):,}"
    hidden = {**meant(view), "seen": seen(rows)}
    return html(
        '<div class="actions">{replay}{purge}</div>',
        replay=post(visit, "/replay", html('<button class="main">Send {text} back …</button>', text=text), hidden),
        purge=post(visit, "/purge", html('<button class="danger">Purge {text} …</button>', text=text), hidden),
    )


def _table(visit: Visit, rows: Sequence[Row]) -> Markup:
    table = html(
        '<table class="letters"><thead><tr><th></th><th class="number">#</th><th class="time">died</th>'
        "<th>message</th><th>what</th></tr></thead><tbody>{lines}</tbody></table>"
        '<div class="actions"><span>The ticked ones:</span>'
        '<button formaction="/replay">Send back …</button>'
        '<button formaction="/purge" class="danger">Purge …</button></div>',
        lines=joined(map(_letter_line, rows)),
    )
    return post(visit, "/replay", table)


def _letter_line(row: Row) -> Markup:
    letter = row.letter
    again = html(' <span class="tag">sent back {times}×</span>', times=letter.replays) if letter.replays else EMPTY
    return html(
        '<tr><td class="tick"><input type="checkbox" name="letter" value="{identity}" aria-label="{label}"></td>'
        '<td class="number">{position}</td><td class="time">{time}</td>'
        '<td class="message"><a href="/letter/{identity}">{name}</a>{again}<div class="quiet">{queue}</div></td>'
        "<td>{what}</td></tr>",
        identity=row.identity,
        label=f"Tick {name_of(letter)}",
        position=f"{row.position:,}",
        time=local(letter.time),
        name=name_of(letter),
        again=again,
        queue=letter.queue,
        what=what(letter),
    )


def _pager(view: View, number: int, pages: int) -> Markup:
    if pages == 1:
        return EMPTY
    ways = [("Earlier in the queue", number - 1), ("Later in the queue", number + 1)]
    links = [
        html('<a href="{href}">{text}</a>', href=address("/letters", view, page=str(to)), text=text)
        for text, to in ways
        if 1 <= to <= pages
    ]
    return html(
        '<p class="pager">{links} <span>page {number} of {pages}</span></p>',
        links=joined(links, " "),
        number=number,
        pages=pages,
    )
