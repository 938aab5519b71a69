"""`sfconnector sandbox fail`: tells a running sandbox to fail. A client of its administration (admin.py)."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from connectorlib.service.cli_options import HELP_OPTIONS, Duration, exit_codes
from connectorlib.service.exit_codes import ExitCode
from sfconnector.sandbox.outages import WORDS, rule_of

URL = "http://127.0.0.1:8080"
PATH = "/_sim/outages"
TIMEOUT_S = 10.0


@click.command(
    context_settings=HELP_OPTIONS,
    epilog=exit_codes(
        " 0  done", " 1  the server at that address is not a sandbox", " 2  usage error", "69  no sandbox answers"
    ),
    help="""Make a running sandbox fail, to rehearse an outage.

    \b
    sfconnector sandbox fail 503 --for 30s
    sfconnector sandbox fail locked-user --user field-service@example.com
    sfconnector sandbox fail ok

    \b
    """
    + "\n    ".join(f"{word:<12} {about}" for word, about in WORDS.items())
    + """

    Without --for a failure lasts until `ok`; the newest takes precedence. After locked-user, sfconnector sends a
    refused password again only after SIGUSR1.
    """,
)
@click.argument("word", type=click.Choice(list(WORDS)))
@click.option("--for", "seconds", type=Duration(), help="How long it lasts, e.g. 30s.")
@click.option("--user", help="Only for this user. [all users]")
@click.option("--url", default=URL, show_default=True, help="The address of the sandbox.")
@click.pass_context
def command(ctx: click.Context, word: str, seconds: float | None, user: str | None, url: str) -> None:
    try:
        rule_of(word, seconds, user)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    ctx.exit(_begin(url.rstrip("/"), {"word": word, "seconds": seconds, "user": user}))


def _begin(url: str, asked: Mapping[str, Any]) -> ExitCode:
    from connectorlib.service.http_client import Lost, NotSent, Session  # late: it takes long to import

    try:
        answer = Session("sfconnector").request("POST", url + PATH, json=asked, timeout=TIMEOUT_S)
        active = answer.json()["active"]
    except (NotSent, Lost) as error:
        click.echo(f"no sandbox answers at {url}: {error.text}", err=True)
        return ExitCode.UNREACHABLE
    except (ValueError, LookupError, TypeError):
        click.echo(f"what answers at {url} (HTTP {answer.status_code}) is no sandbox, or an older one", err=True)
        return ExitCode.FAILED
    click.echo(WORDS[asked["word"]])
    click.echo("\n".join(lines(active)))
    return ExitCode.DONE


def lines(active: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what is printed about the active faults."""
    if not active:
        return ["No fault is active."]
    return [f"active: {each['name']}, {_left(each['seconds'])}" for each in active]


def _left(seconds: float | None) -> str:
    return "until `sfconnector sandbox fail ok`" if seconds is None else f"{seconds:.0f} s left"
