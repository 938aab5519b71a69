"""`show`: prints everything about a few dead letters, body and headers included."""

from itertools import islice
from typing import Any

import click

from connectorlib.service.exit_codes import ExitCode
from deadletterqueue.jsonl import line_of
from deadletterqueue.letter import Letter
from deadletterqueue.list_command import browsing, depth_of, print_json, report_nothing
from deadletterqueue.options import EXIT_CODES, Connection, Filters, connection_options, filter_options, json_option
from deadletterqueue.plain_letter import plain_letter, size_of_body
from deadletterqueue.readable_body import readable
from deadletterqueue.session import outcome, reported
from deadletterqueue.terminal import json_text, local, pairs

#: Letters that `show` prints by default.
SHOWN = 10


def run_show(connection: Connection, filters: Filters, position: int | None, *, as_json: bool) -> ExitCode:
    """Print everything about a few letters, body and headers included."""
    limit = 1 if position else filters.limit or (None if as_json else SHOWN)
    depth = position or depth_of(filters, limit)
    with browsing(connection, filters, depth) as (walk, chosen):
        found = ((at, letter) for at, letter in chosen if at == (position or at))
        if as_json:
            whole = (_whole(at, letter) for at, letter in islice(found, limit))
            return outcome(walk, ExitCode.DONE if print_json(whole) else ExitCode.NOTHING)
        kept = list(islice(found, limit))
    if not kept:
        return report_nothing(walk, position)
    for at, letter in kept:
        _show(at, letter)
    if not position and walk.looked < walk.ready and len(kept) == limit:
        print(f"{len(kept):,} shown; --limit N shows more")
    return outcome(walk, ExitCode.DONE)


def _whole(at: int, letter: Letter) -> dict[str, Any]:
    line = line_of(letter.delivery)
    del line["exchange"], line["routing_key"]  # those of the dead-letter exchange; the letter has the original ones
    return {"position": at, **letter.as_json(), **line}


def facts(letter: Letter) -> dict[str, str]:
    """Return everything about a letter except the body, by name; "" if unknown."""
    line = line_of(letter.delivery)
    own = {name: value for name, value in line["headers"].items() if not name.startswith("dead-")}
    return {
        "died": f"{local(letter.time)} ({letter.time.isoformat(timespec='milliseconds')})" if letter.time else "",
        "in queue": letter.queue,
        "reason": letter.reason + (" (by the broker)" if letter.by_broker else ""),
        "code": letter.code,
        "detail": letter.detail,
        "text": letter.text,
        "published to": _origin(letter),
        "connector": letter.connector,
        "attempts": str(letter.attempts or ""),
        "replays": str(letter.replays or ""),
        "fingerprint": letter.fingerprint,
        **{f"property {name}": str(value) for name, value in line["properties"].items()},
        **{f"header {name}": json_text(value) for name, value in own.items()},
        "body": size_of_body(letter.delivery),
    }


def _show(at: int, letter: Letter) -> None:
    print(f"── {at} " + "─" * 60)
    pairs(facts(letter))
    print(readable(plain_letter(letter).delivery.body))
    print()


def _origin(letter: Letter) -> str:
    if not letter.queue:
        return ""
    exchange = repr(letter.exchange) if letter.exchange else "the default exchange"
    return f"{exchange} with routing key {letter.routing_key!r}"


@click.command(epilog=EXIT_CODES)
@click.argument("position", type=click.IntRange(min=1), required=False)
@filter_options
@json_option
@connection_options
@click.pass_context
def show(ctx: click.Context, connection: Connection, filters: Filters, position: int | None, as_json: bool) -> None:
    """Show dead letters with body, headers and properties: the one at POSITION of `list`, or those that the filters
    select.

    \b
    deadletter-queue show 3 --vhost plant
    deadletter-queue show --where code=22001 --limit 2 --json
    """
    ctx.exit(reported(lambda: run_show(connection, filters, position, as_json=as_json)))
