"""`group`: prints a line for each cause of dead letters."""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any

import click

from connectorlib.dataclass import dataclass
from connectorlib.service.exit_codes import ExitCode
from connectorlib.values.text import cut_bytes
from deadletterqueue.letter import Letter
from deadletterqueue.list_command import MAX_TEXT, browsing, depth_of, print_json, report_nothing, what
from deadletterqueue.options import EXIT_CODES, Connection, Filters, connection_options, filter_options, json_option
from deadletterqueue.session import outcome, reported
from deadletterqueue.terminal import span, table

GROUP_COLUMNS = ("count", "reason", "code", "in queue", "fingerprint", "died", "example")


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
    depth = depth_of(filters, filters.limit)
    with browsing(connection, filters, depth) as (walk, chosen):
        groups = grouped(islice(chosen, filters.limit))
    if as_json:
        print_json(group.as_json() for group in groups)
        return outcome(walk, ExitCode.DONE if groups else ExitCode.NOTHING)
    if not groups:
        return report_nothing(walk)
    table(GROUP_COLUMNS, [_group_row(group) for group in groups], right=("count",), below=("died", "example"))
    total = sum(group.count for group in groups)
    print(f"{total:,} of {walk.ready:,} in {walk.queue}; list --where fingerprint=… shows those of one line")
    return outcome(walk, ExitCode.DONE)


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

    To select one group in any other command, use `--where fingerprint=…`.
    """
    ctx.exit(reported(lambda: run_group(connection, filters, as_json=as_json)))
