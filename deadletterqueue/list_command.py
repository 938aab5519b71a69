"""`list`, `show` and `group`: what is in the dead-letter queue, told without changing it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import click

from connectorlib.service.process import ExitCode
from connectorlib.values.text import cut_bytes
from deadletterqueue.browse import Looker
from deadletterqueue.filter import Chosen
from deadletterqueue.jsonl import line_of
from deadletterqueue.letter import Letter
from deadletterqueue.options import EXIT_CODES, Connection, Filters, connection_options, filter_options, json_option
from deadletterqueue.readable_body import readable
from deadletterqueue.session import letters, reported, workbench
from deadletterqueue.terminal import JsonList, Progress, json_text, local, pairs, progress, span, table

#: What a terminal shows when nobody says how many.
LISTED, SHOWN = 100, 10
MAX_TEXT = 300  # of a cell, characters

LIST_COLUMNS = ("#", "died", "reason", "code", "in queue", "replays", "message id", "what")
GROUP_COLUMNS = ("count", "reason", "code", "in queue", "fingerprint", "died", "example")


def run_list(connection: Connection, filters: Filters, *, as_json: bool) -> ExitCode:
    """Tell the letters in the order of the queue, a line each."""
    meant = filters.chooser()
    limit = filters.limit or (None if as_json else LISTED)
    walk = _walk(filters, limit)
    with (
        workbench(connection, filters.source) as bench,
        bench.looker(limit=walk) as looker,
        progress("looking") as show,
    ):
        found = islice(_chosen(looker, meant, show), limit)
        if as_json:
            count = _print_json({"position": at, **letter.told()} for at, letter in found)
            return ExitCode.DONE if count else ExitCode.NOTHING
        rows = [_row(at, letter) for at, letter in found]
    if not rows:
        return _nothing(looker)
    table(LIST_COLUMNS, rows, right=("#", "replays"), below=("what",), spare=("message id", "replays"))
    more = looker.looked < looker.ready and len(rows) == limit
    print(f"{len(rows):,} of {looker.ready:,} in {looker.queue}" + ("; --limit N shows more" if more else ""))
    return ExitCode.DONE


def run_show(connection: Connection, filters: Filters, position: int | None, *, as_json: bool) -> ExitCode:
    """Tell all there is to know of a few letters, body and headers included."""
    meant = filters.chooser()
    limit = 1 if position else filters.limit or (None if as_json else SHOWN)
    walk = position or _walk(filters, limit)
    with (
        workbench(connection, filters.source) as bench,
        bench.looker(limit=walk) as looker,
        progress("looking") as show,
    ):
        found = ((at, letter) for at, letter in _chosen(looker, meant, show) if at == (position or at))
        if as_json:
            whole = (_whole(at, letter) for at, letter in islice(found, limit))
            return ExitCode.DONE if _print_json(whole) else ExitCode.NOTHING
        kept = list(islice(found, limit))
    if not kept:
        return _nothing(looker, position)
    for at, letter in kept:
        _show(at, letter)
    if not position and looker.looked < looker.ready and len(kept) == limit:
        print(f"{len(kept):,} shown; --limit N shows more")
    return ExitCode.DONE


def _whole(at: int, letter: Letter) -> dict[str, Any]:
    line = line_of(letter.delivery)
    del line["exchange"], line["routing_key"]  # those of the dead-letter exchange; the letter has those of its life
    return {"position": at, **letter.told(), **line}


@dataclass(slots=True)
class Group:
    """Letters of one cause."""

    fingerprint: str
    reason: str
    code: str
    queue: str
    #: The field or the statement.
    spot: str
    count: int
    first: datetime | None
    last: datetime | None
    #: What the first of them says, and its position in the queue.
    example: str
    position: int

    def add(self, letter: Letter) -> None:
        self.count += 1
        if letter.time is not None:
            self.first = min(self.first or letter.time, letter.time)
            self.last = max(self.last or letter.time, letter.time)

    def told(self) -> dict[str, Any]:
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
    """Return the groups of letters, the largest first. Letters are not kept."""
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
    """Tell how many there are of each cause."""
    meant = filters.chooser()
    walk = _walk(filters, filters.limit)
    with (
        workbench(connection, filters.source) as bench,
        bench.looker(limit=walk) as looker,
        progress("looking") as show,
    ):
        groups = grouped(islice(_chosen(looker, meant, show), filters.limit))
    if as_json:
        _print_json(group.told() for group in groups)
        return ExitCode.DONE if groups else ExitCode.NOTHING
    if not groups:
        return _nothing(looker)
    table(GROUP_COLUMNS, [_group_row(group) for group in groups], right=("count",), below=("died", "example"))
    total = sum(group.count for group in groups)
    print(f"{total:,} of {looker.ready:,} in {looker.queue}; list --where fingerprint=… shows those of one line")
    return ExitCode.DONE


def _walk(filters: Filters, limit: int | None) -> int | None:
    """Return how many messages to look at: all of them where something chooses among them."""
    return None if filters.given else limit


def _chosen(looker: Looker, meant: Chosen, show: Progress) -> Iterator[tuple[int, Letter]]:
    """Return the letters that are meant, with their places in the queue, from 1 on."""
    for at, letter in enumerate(letters(looker), 1):
        show(at, looker.total)
        if meant(letter):
            yield at, letter


def _print_json(values: Iterator[dict[str, Any]]) -> int:
    count = 0
    with JsonList() as array:
        for value in values:
            array.add(value)
            count += 1
    return count


def _nothing(looker: Looker, position: int | None = None) -> ExitCode:
    if position is not None and 0 < looker.ready < position:
        print(f"there is no number {position:,}: {looker.ready:,} in {looker.queue}")
    elif looker.ready:
        print(f"none of the {looker.ready:,} in {looker.queue} is meant")
    else:
        print(f"{looker.queue} is empty")
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
    """Return detail and text, without saying twice what both say."""
    if not letter.text or letter.text in letter.detail:
        return letter.detail
    return f"{letter.detail}: {letter.text}" if letter.detail else letter.text


def facts(letter: Letter) -> dict[str, str]:
    """Return all there is to know of a letter but its body, by name; empty where nothing says more."""
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
