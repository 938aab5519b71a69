"""`list`: prints a line for each dead letter. `show` and `group` walk through the queue in the same way."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import click

from connectorlib.service.exit_codes import ExitCode
from deadletterqueue.browse import Walk
from deadletterqueue.filter import Chosen
from deadletterqueue.letter import Letter
from deadletterqueue.options import EXIT_CODES, Connection, Filters, connection_options, filter_options, json_option
from deadletterqueue.session import letters, open_session, outcome, reported
from deadletterqueue.terminal import JsonList, Progress, local, progress, table

#: Letters that `list` prints by default.
LISTED = 100
MAX_TEXT = 300  # of a cell, characters

LIST_COLUMNS = ("#", "died", "reason", "code", "in queue", "replays", "message id", "what")


def run_list(connection: Connection, filters: Filters, *, as_json: bool) -> ExitCode:
    """Print the letters in the order of the queue, one a line."""
    limit = filters.limit or (None if as_json else LISTED)
    depth = depth_of(filters, limit)
    with browsing(connection, filters, depth) as (walk, chosen):
        found = islice(chosen, limit)
        if as_json:
            count = print_json({"position": at, **letter.as_json()} for at, letter in found)
            return outcome(walk, ExitCode.DONE if count else ExitCode.NOTHING)
        rows = [_row(at, letter) for at, letter in found]
    if not rows:
        return report_nothing(walk)
    table(LIST_COLUMNS, rows, right=("#", "replays"), below=("what",), spare=("message id", "replays"))
    more = walk.looked < walk.ready and len(rows) == limit
    print(f"{len(rows):,} of {walk.ready:,} in {walk.queue}" + ("; --limit N shows more" if more else ""))
    return outcome(walk, ExitCode.DONE)


def depth_of(filters: Filters, limit: int | None) -> int | None:
    """Return how many messages to browse: all of them (None) if there are filters."""
    return None if filters.given else limit


@contextmanager
def browsing(
    connection: Connection, filters: Filters, depth: int | None
) -> Iterator[tuple[Walk, Iterator[tuple[int, Letter]]]]:
    """Walk through the queue during the block; yield the walk, and the chosen letters with their positions."""
    is_chosen = filters.chooser()
    with (
        open_session(connection, filters.source) as session,
        session.browse(limit=depth) as walk,
        progress("looking") as show,
    ):
        yield walk, _chosen(walk, is_chosen, show)


def _chosen(walk: Walk, is_chosen: Chosen, show: Progress) -> Iterator[tuple[int, Letter]]:
    for at, letter in enumerate(letters(walk), 1):
        show(at, walk.total)
        if is_chosen(letter):
            yield at, letter


def print_json(values: Iterator[dict[str, Any]]) -> int:
    count = 0
    with JsonList() as array:
        for value in values:
            array.add(value)
            count += 1
    return count


def report_nothing(walk: Walk, position: int | None = None) -> ExitCode:
    if position is not None and 0 < walk.ready < position:
        print(f"there is no number {position:,}: {walk.ready:,} in {walk.queue}")
    elif walk.ready:
        print(f"none of the {walk.ready:,} in {walk.queue} is meant")
    else:
        print(f"{walk.queue} is empty")
    return outcome(walk, ExitCode.NOTHING)


def _row(at: int, letter: Letter) -> tuple[str, ...]:
    return (
        str(at),
        local(letter.time),
        letter.reason,
        letter.code,
        letter.queue,
        str(letter.replays or ""),
        letter.message_id[:40],
        what(letter)[:MAX_TEXT],
    )


def what(letter: Letter) -> str:
    """Return detail and text, without repeating what is in both."""
    if not letter.text or letter.text in letter.detail:
        return letter.detail
    return f"{letter.detail}: {letter.text}" if letter.detail else letter.text


@click.command("list", epilog=EXIT_CODES)
@filter_options
@json_option
@connection_options
@click.pass_context
def list_(ctx: click.Context, connection: Connection, filters: Filters, as_json: bool) -> None:
    """List dead letters, the oldest first; at most 100 unless --limit or --json is given.

    \b
    deadletter-queue list --where code=22001 --since 2h
    deadletter-queue list --match 'device.id=p-7' --json
    """
    ctx.exit(reported(lambda: run_list(connection, filters, as_json=as_json)))
