"""The pages about one letter: all there is to know of it, and its body to be changed."""

from markupsafe import Markup

from connectorlib.values.line_diff import differences
from deadletterqueue.letter import Letter
from deadletterqueue.list_command import facts
from deadletterqueue.readable_body import indented, readable
from deadletterqueue.web.html import EMPTY, html, joined, raw
from deadletterqueue.web.layout import Visit, cause, name_of, note, page, post

MAX_SHOWN = 64 * 1024  # characters of a body
MAX_DIFF = 400  # lines


def letter_page(visit: Visit, identity: str, letter: Letter) -> Markup:
    """One letter with its reasons, properties, headers and body."""
    told = facts(letter)
    lines = joined(
        html("<dt>{name}</dt><dd>{value}</dd>", name=name, value=value) for name, value in told.items() if value
    )
    one = {"letter": identity}
    content = html(
        '<p class="path"><a href="/">All causes</a> › <a href="/letters?group={group}">{cause}</a></p>'
        '<h1>{name}</h1><div class="actions">{replay}{edit}{purge}</div><dl class="facts">{lines}</dl>'
        '<h2>Body</h2><pre class="body">{body}</pre><p><a href="/letter/{identity}/body">Download the body</a></p>',
        group=letter.fingerprint,
        cause=cause(letter.reason, letter.code),
        name=name_of(letter),
        replay=post(visit, "/replay", html('<button class="main">Send back …</button>'), one),
        edit=html('<a class="button" href="/letter/{identity}/edit">Edit …</a>', identity=identity),
        purge=post(visit, "/purge", html('<button class="danger">Purge …</button>'), one),
        lines=lines,
        body=readable(letter.delivery.body, most=MAX_SHOWN, whole="the download has all"),
        identity=identity,
    )
    return page(visit, name_of(letter), content)


def edit_page(visit: Visit, identity: str, letter: Letter, body: str, problem: str = "") -> Markup:
    """The body as a text to be changed."""
    form = post(
        visit,
        f"/letter/{identity}/edit",
        html(
            # A parser drops one line end behind the tag, so there is one to drop.
            '<textarea name="body" rows="18" spellcheck="false" aria-label="Body">\n{body}</textarea>'
            '<div class="actions"><button class="main">Check the change …</button>'
            '<a class="button" href="/letter/{identity}">Leave it</a></div>',
            body=raw(body),
            identity=identity,
        ),
        css="edit",
    )
    return page(visit, "Edit", _about(identity, letter, "Edit the body", joined([note(problem, "warning"), form])))


def change_page(visit: Visit, identity: str, letter: Letter, body: str, target: str) -> Markup:
    """The change, and whether to send it."""
    old = letter.delivery.body.decode()
    content = html(
        '<p>{target}</p><h2>What changes</h2>{diff}<p class="quiet">The original leaves this queue once the broker'
        " has confirmed the changed one.</p>{form}",
        target=target,
        diff=_difference(old, body),
        form=post(
            visit,
            f"/letter/{identity}/edit",
            html(
                '{body}<div class="actions"><button class="main" name="confirmed" value="yes">Send it back so</button>'
                '<button name="again" value="yes">Edit further</button>'
                '<a class="button" href="/letter/{identity}">Leave it</a></div>',
                body=html('<textarea name="body" hidden>\n{body}</textarea>', body=raw(body)),
                identity=identity,
            ),
        ),
    )
    return page(visit, "Edit", _about(identity, letter, "Send the changed message back?", content))


def not_editable(visit: Visit, identity: str, letter: Letter, why: str) -> Markup:
    text = f"This body cannot be changed in a browser: {why}. Use deadletter-queue on the command line."
    return page(visit, "Edit", _about(identity, letter, "Edit the body", note(text, "warning")))


def _about(identity: str, letter: Letter, title: str, content: Markup) -> Markup:
    return html(
        '<p class="path"><a href="/">All causes</a> › <a href="/letter/{identity}">{name}</a></p>'
        "<h1>{title}</h1>{content}",
        identity=identity,
        name=name_of(letter),
        title=title,
        content=content,
    )


def _difference(old: str, new: str) -> Markup:
    if old == new:
        return note("Nothing: it goes back as it is.")
    before, after = indented(old).splitlines(), indented(new).splitlines()
    lines = list(differences(before, after, ("in the queue", "changed")))[2:]
    if not lines:
        return note("Only white space, or its order.")
    cut = note(f"… and {len(lines) - MAX_DIFF:,} more lines") if len(lines) > MAX_DIFF else EMPTY
    kinds = {"+": "added", "-": "removed", "@": "place"}
    shown = joined(
        html('<span class="{kind}">{line}</span>\n', kind=kinds.get(line[:1], "same"), line=line)
        for line in lines[:MAX_DIFF]
    )
    return html('<pre class="diff">{shown}</pre>{cut}', shown=shown, cut=cut)
