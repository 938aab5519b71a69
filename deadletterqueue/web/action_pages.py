"""The pages that ask before something is done, and those that tell how far it is and what came of it."""

from collections import Counter
from collections.abc import Sequence

from markupsafe import Markup

from deadletterqueue.target import MAX_REPLAYS, ORIGIN, Leave, Route, Target, target_of
from deadletterqueue.terminal import local
from deadletterqueue.web.html import EMPTY, html, joined
from deadletterqueue.web.job_outcome import Outcome
from deadletterqueue.web.jobs import Job
from deadletterqueue.web.layout import Visit, meant, note, page, post
from deadletterqueue.web.snapshot import Row, View, seen

#: Examples that a question shows.
SHOWN = 5


def route_of(where: str, queue: str, *, often: bool) -> Route:
    """Given the fields of a form, return where letters are to go; `often`: those that went round in circles too."""
    most = None if often else MAX_REPLAYS
    if where == "queue":
        return Route(to_queue=queue.strip(), max_replays=most)
    return Route(to_exchange=ORIGIN if where == "origin" else None, max_replays=most)


def targets(rows: Sequence[Row], route: Route, source: str) -> tuple[Counter[Target], Counter[str]]:
    """Return how many go where, and how many stay for which reason."""
    going: Counter[Target] = Counter()
    staying: Counter[str] = Counter()
    for row in rows:
        target = target_of(row.letter, route, source)
        if isinstance(target, Leave):
            staying[target.reason] += 1
        else:
            going[target] += 1
    return going, staying


def replay_question(
    visit: Visit,
    view: View,
    rows: Sequence[Row],
    route: Route,
    going: Counter[Target],
    staying: Counter[str],
    changed: str = "",
) -> Markup:
    """Ask whether to send these back; `changed` says what is no longer as the person saw it."""
    total = going.total()
    hidden = {
        **meant(view),
        "seen": seen(rows),
        "where": "queue" if route.to_queue is not None else "origin" if route.to_exchange else "",
        "queue": route.to_queue or "",
        "often": "" if route.max_replays is not None else "yes",
        "confirmed": "yes",
    }
    send = html('<button class="main">Send {count} back</button>', count=f"{total:,}")
    content = html(
        '{changed}<h1>Send {count} back?</h1><table class="plan"><tbody>{going}{staying}</tbody></table>'
        "<p>Each leaves this queue once the broker has confirmed it where it goes; what is not sent stays, in order."
        "</p>"
        '{examples}<div class="actions">{send}<a class="button" href="/">Leave them</a></div>{elsewhere}',
        changed=note(changed, "warning"),
        count=f"{len(rows):,} dead letter{'s'[: len(rows) != 1]}",
        going=joined(_plan(count, f"to {target}", "going") for target, count in going.most_common()),
        staying=joined(_plan(count, f"stay: {reason}", "staying") for reason, count in staying.most_common()),
        examples=_examples(rows),
        send=post(visit, "/replay", send, hidden) if total else EMPTY,
        elsewhere=_elsewhere(visit, view, rows, route),
    )
    return page(visit, "Send back?", content)


def _elsewhere(visit: Visit, view: View, rows: Sequence[Row], route: Route) -> Markup:
    """The ways to send them elsewhere; they ask again."""
    ways = [
        ("", "back to the queue that each died in", route.to_queue is None and route.to_exchange is None),
        ("origin", "to the exchange that each was first published to", bool(route.to_exchange)),
        ("queue", "to the queue", route.to_queue is not None),
    ]
    choices = joined(
        html(
            '<label><input type="radio" name="where" value="{value}"{checked}> {text}</label>',
            value=value,
            checked=html(" checked") if checked else EMPTY,
            text=text,
        )
        for value, text, checked in ways
    )
    often = html(" checked") if route.max_replays is None else EMPTY
    form = html(
        '{choices}<input type="text" name="queue" value="{queue}" aria-label="Queue">'
        '<label><input type="checkbox" name="often" value="yes"{often}> also those that were sent back'
        " {most} times already</label><button>See what that does</button>",
        choices=choices,
        queue=route.to_queue or "",
        often=often,
        most=MAX_REPLAYS,
    )
    hidden = {**meant(view), "seen": seen(rows)}
    plain = route == Route()
    return html(
        "<details{open}><summary>Send them elsewhere</summary>{form}</details>",
        open=EMPTY if plain else html(" open"),
        form=post(visit, "/replay", form, hidden, css="elsewhere"),
    )


def purge_question(visit: Visit, view: View, rows: Sequence[Row], changed: str = "") -> Markup:
    """Ask whether to remove these for good."""
    count = f"{len(rows):,} dead letter{'s'[: len(rows) != 1]}"
    content = html(
        "{changed}<h1>Remove {count} for good?</h1><p>They cannot be had back. <code>deadletter-queue export</code>"
        ' keeps a copy in a file.</p>{examples}<div class="actions">{purge}<a class="button" href="/">Leave them</a>'
        "</div>",
        changed=note(changed, "warning"),
        count=count,
        examples=_examples(rows),
        purge=post(
            visit,
            "/purge",
            html('<button class="danger">Remove {count} for good</button>', count=f"{len(rows):,}"),
            {**meant(view), "seen": seen(rows), "confirmed": "yes"},
        ),
    )
    return page(visit, "Purge?", content)


def _plan(count: int, text: str, kind: str) -> Markup:
    return html(
        '<tr class="{kind}"><td class="number">{count}</td><td>{text}</td></tr>',
        kind=kind,
        count=f"{count:,}",
        text=text,
    )


def _examples(rows: Sequence[Row]) -> Markup:
    lines = joined(
        html(
            '<li>{name} <span class="quiet">{code} {text}</span></li>',
            name=n,
            code=row.letter.code,
            text=row.letter.text,
        )
        for row in rows[:SHOWN]
        if (n := row.letter.message_id or "(no message id)")
    )
    more = len(rows) - SHOWN
    rest = html("<li>and {more} more</li>", more=f"{more:,}") if more > 0 else EMPTY
    return html('<ul class="examples">{lines}{rest}</ul>', lines=lines, rest=rest)


def job_page(visit: Visit, job: Job) -> Markup:
    """How far a work is; what came of it."""
    if job.outcome is not None and job.ended:
        return page(visit, job.outcome.title, _outcome(job.outcome))
    bar = html('<progress max="{total}" value="{done}"></progress>', total=job.total, done=job.done)
    content = html(
        '<h1>{title} …</h1><p>{bar} {told}</p><p class="quiet">since {started}; this page renews itself</p>{stop}',
        title=job.title,
        bar=bar if job.total else html("<progress></progress>"),
        told=f"{job.done:,} of {job.total:,}" if job.total else "",
        started=local(job.started),
        stop=post(visit, f"/job/{job.number}/stop", html("<button>Stop</button>")),
    )
    return page(visit, f"{job.title} …", content)


def _outcome(outcome: Outcome) -> Markup:
    doubt = joined(html("<li>{id}</li>", id=each) for each in outcome.in_doubt)
    return html(
        '<h1>{title}</h1>{failure}<table class="plan"><tbody>{lines}</tbody></table>{doubt}'
        '<p><a class="button" href="/">All causes</a></p>',
        title=outcome.title,
        failure=note(outcome.failure, "warning"),
        lines=joined(_plan(count, text, "line") for count, text in outcome.lines),
        doubt=html("<p>May lie in both places:</p><ul>{ids}</ul>", ids=doubt) if outcome.in_doubt else EMPTY,
    )
