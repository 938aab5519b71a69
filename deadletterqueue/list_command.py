"""`list`, `show` and `group`: prints what is in the dead-letter queue without changing it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import click

from connectorlib.service.process import ExitCode
from connectorlib.values.text import cut_bytes
from deadletterqueue.browse import Walk
from deadletterqueue.filter import Chosen
from deadletterqueue.jsonl import line_of
from deadletterqueue.letter import Letter
from deadletterqueue.options import EXIT_CODES, Connection, Filters, connection_options, filter_options, json_option
from deadletterqueue.readable_body import readable
from deadletterqueue.session import letters, open_session, reported
from deadletterqueue.terminal import JsonList, Progress, json_text, local, pairs, progress, span, table

#: Letters that `list` and `show` print by default.
LISTED, SHOWN = 100, 10
MAX_TEXT = 300  # of a cell, characters

LIST_COLUMNS = ("#", "died", "reason", "code", "in queue", "replays", "message id", "what")
GROUP_COLUMNS = ("count", "reason", "code", "in queue", "fingerprint", "died", "example")


def run_list(connection: Connection, filters: Filters, *, as_json: bool) -> ExitCode:
    """Print the letters in the order of the queue, one a line."""
    limit = filters.limit or (None if as_json else LISTED)
    depth = _depth(filters, limit)
    with _browsing(connection, filters, depth) as (walk, chosen):
        found = islice(chosen, limit)
        if as_json:
            count = _print_json({"position": at, **letter.as_json()} for at, letter in found)
            return ExitCode.DONE if count else ExitCode.NOTHING
        rows = [_row(at, letter) for at, letter in found]
    if not rows:
        return _nothing(walk)
    table(LIST_COLUMNS, rows, right=("#", "replays"), below=("what",), spare=("message id", "replays"))
    more = walk.looked < walk.ready and len(rows) == limit
    print(f"{len(rows):,} of {walk.ready:,} in {walk.queue}" + ("; --limit N shows more" if more else ""))
    return ExitCode.DONE


def run_show(connection: Connection, filters: Filters, position: int | None, *, as_json: bool) -> ExitCode:
    """Print everything about a few letters, body and headers included."""
    limit = 1 if position else filters.limit or (None if as_json else SHOWN)
    depth = position or _depth(filters, limit)
    with _browsing(connection, filters, depth) as (walk, chosen):
        found = ((at, letter) for at, letter in chosen if at == (position or at))
        if as_json:
            whole = (_whole(at, letter) for at, letter in islice(found, limit))
            return ExitCode.DONE if _print_json(whole) else ExitCode.NOTHING
        kept = list(islice(found, limit))
    if not kept:
        return _nothing(walk, position)
    for at, letter in kept:
        _show(at, letter)
    if not position and walk.looked < walk.ready and len(kept) == limit:
        print(f"{len(kept):,} shown; --limit N shows more")
    return ExitCode.DONE


def _whole(at: int, letter: Letter) -> dict[str, Any]:
    line = line_of(letter.delivery)
    del line["exchange"], line["routing_key"]  # those of the dead-letter exchange; the letter has the original ones
    return {"position": at, **letter.as_json(), **line}


@dataclass(slots=True)
class Group:
    """Letters of one cause."""

    fingerprint: str
    reason: str
    code: str
    queue: str
    #: The field or statement that failed.
    spot: str
    count: int
    first: datetime | None
    last: datetime | None
    #: Detail and text of the first letter, and its position in the queue.
    example: str
    position: int

    def add(self, letter: Letter) -> None:
        self.count += 1
        if letter.time is not None:
            self.first = min(self.first or letter.time, letter.time)
            self.last = max(self.last or letter.time, letter.time)

    def as_json(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "reason": self.reason,
            "code": self.code,
            "queue": self.queue,
            "spot": self.spot,
            "first": self.first.isoformat(timespec="milliseconds") if self.first else None,
            "last": self.last.isoformat(timespec="milliseconds") if self.last else None,
            "fingerprint": self.fingerprint,
            "example": self.example,
            "position": self.position,
        }


def grouped(found: Iterator[tuple[int, Letter]]) -> list[Group]:
    """Return the groups of letters, the largest first, without keeping the letters."""
    groups: dict[str, Group] = {}
    for at, letter in found:
        group = groups.get(letter.fingerprint)
        if group is None:
            groups[letter.fingerprint] = group = Group(
                fingerprint=letter.fingerprint,
                reason=letter.reason,
                code=letter.code,
                queue=letter.queue,
                spot=cut_bytes(letter.detail.partition(":")[0], MAX_TEXT),
                count=0,
                first=None,
                last=None,
                example=cut_bytes(what(letter), MAX_TEXT),
                position=at,
            )
        group.add(letter)
    return sorted(groups.values(), key=lambda group: (-group.count, group.fingerprint))


def run_group(connection: Connection, filters: Filters, *, as_json: bool) -> ExitCode:
    """Print how many letters there are of each cause."""
    depth = _depth(filters, filters.limit)
    with _browsing(connection, filters, depth) as (walk, chosen):
        groups = grouped(islice(chosen, filters.limit))
    if as_json:
        _print_json(group.as_json() for group in groups)
        return ExitCode.DONE if groups else ExitCode.NOTHING
    if not groups:
        return _nothing(walk)
    table(GROUP_COLUMNS, [_group_row(group) for group in groups], right=("count",), below=("died", "example"))
    total = sum(group.count for group in groups)
    print(f"{total:,} of {walk.ready:,} in {walk.queue}; list --where fingerprint=… shows those of one line")
    return ExitCode.DONE


def _depth(filters: Filters, limit: int | None) -> int | None:
    """Return how many messages to browse: all of them (None) if there are filters."""
    return None if filters.given else limit


@contextmanager
def _browsing(
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


def _print_json(values: Iterator[dict[str, Any]]) -> int:
    count = 0
    with JsonList() as array:
        for value in values:
            array.add(value)
            count += 1
    return count


def _nothing(walk: Walk, position: int | None = None) -> ExitCode:
    if position is not None and 0 < walk.ready < position:
        print(f"there is no number {position:,}: {walk.ready:,} in {walk.queue}")
    elif walk.ready:
        print(f"none of the {walk.ready:,} in {walk.queue} is meant")
    else:
        print(f"{walk.queue} is empty")
    return ExitCode.NOTHING


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


def _group_row(group: Group) -> tuple[str, ...]:
    return (
        f"{group.count:,}",
        group.reason,
        group.code,
        group.queue,
        group.fingerprint,
        span(group.first, group.last),
        group.example,
    )


def what(letter: Letter) -> str:
    """Return detail and text, without repeating what is in both."""
    if not letter.text or letter.text in letter.detail:
        return letter.detail
    return f"{letter.detail}: {letter.text}" if letter.detail else letter.text


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
        "body": f"{len(letter.delivery.body):,} bytes",
    }


def _show(at: int, letter: Letter) -> None:
    print(f"── {at} " + "─" * 60)
    pairs(facts(letter))
    print(readable(letter.delivery.body))
    print()


def _origin(letter: Letter) -> str:
    if not letter.queue:
        return ""
    exchange = repr(letter.exchange) if letter.exchange else "the default exchange"
    return f"{exchange} with routing key {letter.routing_key!r}"


@click.command("list", epilog=EXIT_CODES)
@filter_options
@json_option
@connection_options
@click.pass_context
def list_(ctx: click.Context, connection: Connection, filters: Filters, as_json: bool) -> None:
    """List dead letters, the oldest first; 100 of them unless --limit or --json says otherwise.

    \b
    deadletter-queue list --where code=22001 --since 2h
    deadletter-queue list --match 'device.id=p-7' --json
    """
    ctx.exit(reported(lambda: run_list(connection, filters, as_json=as_json)))


@click.command(epilog=EXIT_CODES)
@click.argument("position", type=click.IntRange(min=1), required=False)
@filter_options
@json_option
@connection_options
@click.pass_context
def show(ctx: click.Context, connection: Connection, filters: Filters, position: int | None, as_json: bool) -> None:
    """Show dead letters with body, headers and properties: the one at POSITION of `list`, or those that are chosen.

    \b
    deadletter-queue show 3 --vhost plant
    deadletter-queue show --where code=22001 --limit 2 --json
    """
    ctx.exit(reported(lambda: run_show(connection, filters, position, as_json=as_json)))


@click.command(epilog=EXIT_CODES)
@filter_options
@json_option
@connection_options
@click.pass_context
def group(ctx: click.Context, connection: Connection, filters: Filters, as_json: bool) -> None:
    """Group dead letters by cause: reason, code, and the field or statement; the most frequent first.

    \b
    deadletter-queue group --vhost plant
    deadletter-queue group --connector dbconnector --since 1d

    `--where fingerprint=…` chooses those of one line for every other command.
    """
    ctx.exit(reported(lambda: run_group(connection, filters, as_json=as_json)))
