"""What every page has around it, and the pieces that several pages are made of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from markupsafe import Markup

from deadletterqueue.letter import Letter
from deadletterqueue.terminal import local
from deadletterqueue.web.desk import Desk
from deadletterqueue.web.html import EMPTY, html, joined
from deadletterqueue.web.snapshot import View

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · {queue}</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<header>
<a class="home" href="/">Dead letters</a>
<span class="where">queue <b>{queue}</b> · virtual host <b>{vhost}</b> · {host}</span>
<span class="looked">{looked}</span>
{buttons}
</header>
<main>
{content}
</main>
<footer>Times are those of the clock on this machine's wall.</footer>
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request: the desk, and the token that its forms carry."""

    desk: Desk
    form_token: str
    #: Whether there is something to sign out of.
    token_needed: bool


def page(visit: Visit, title: str, content: Markup) -> Markup:
    """Return a whole page."""
    bench = visit.desk.bench
    host, port = bench.settings.hosts[0]
    again = "Look again" if visit.desk.snapshot is not None else "Look"
    buttons = [post(visit, "/look", html("<button>{text}</button>", text=again))]
    if visit.token_needed:
        buttons.append(post(visit, "/logout", html('<button class="quiet">Sign out</button>')))
    return html(
        _PAGE,
        title=title,
        queue=bench.queue,
        vhost=bench.settings.virtual_host,
        host=f"{host}:{port}",
        looked=_looked(visit.desk),
        buttons=joined(buttons),
        content=content,
    )


def bare_page(title: str, content: Markup) -> Markup:
    """Return a page for somebody who has not signed in: it says nothing of the queue."""
    return html(
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport"'
        ' content="width=device-width, initial-scale=1"><title>{title}</title>'
        '<link rel="stylesheet" href="/style.css"></head><body class="alone"><main><h1>{title}</h1>{content}'
        "</main></body></html>",
        title=title,
        content=content,
    )


def _looked(desk: Desk) -> Markup:
    current = desk.jobs.current
    if current is not None:
        return html('<a href="/job/{number}">{title}…</a>', number=current.number, title=current.title)
    snapshot = desk.snapshot
    if snapshot is None:
        return html("not looked yet")
    old = html(' · <b class="warning">something was done since</b>') if snapshot.outdated else EMPTY
    return html("looked {at} ({seconds} s){old}", at=local(snapshot.at), seconds=f"{snapshot.seconds:.1f}", old=old)


def post(
    visit: Visit, action: str, content: Markup, hidden: Mapping[str, str | Iterable[str]] | None = None, css: str = ""
) -> Markup:
    """Return a form that does something."""
    return html(
        '<form method="post" action="{action}" class="{css}">{token}{hidden}{content}</form>',
        action=action,
        css=css,
        token=field("form_token", visit.form_token),
        hidden=hidden_fields(hidden or {}),
        content=content,
    )


def hidden_fields(values: Mapping[str, str | Iterable[str]]) -> Markup:
    return joined(
        field(name, each)
        for name, value in values.items()
        for each in ([value] if isinstance(value, str) else value)
        if each
    )


def field(name: str, value: str) -> Markup:
    return html('<input type="hidden" name="{name}" value="{value}">', name=name, value=value)


def meant(view: View) -> dict[str, str | Iterable[str]]:
    """Return the fields of a form that say which letters it is about."""
    return {"group": view.group, "find": view.find, "since": view.since, "letter": view.letters}


def address(path: str, view: View, **more: str) -> str:
    """Return a link to what a view shows."""
    values = {"group": view.group, "find": view.find, "since": view.since, **more}
    query = urlencode({name: value for name, value in values.items() if value})
    return f"{path}?{query}" if query else path


def note(text: str, kind: str = "note") -> Markup:
    return html('<p class="{kind}">{text}</p>', kind=kind, text=text) if text else EMPTY


def cause(reason: str, code: str) -> Markup:
    """Return reason and code as they are shown everywhere."""
    return html(
        '<b class="code">{code}</b> <span class="reason">{reason}</span>', code=code, reason=reason or "no reason given"
    )


def name_of(letter: Letter) -> str:
    return letter.message_id or "(no message id)"
