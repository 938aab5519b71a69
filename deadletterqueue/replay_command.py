"""`replay`: what the command does, and how it tells what became of the letters."""

import sys

import click

from connectorlib.service.exit_codes import ExitCode
from connectorlib.values.text import printable
from deadletterqueue.options import (
    EXIT_CODES,
    Connection,
    Filters,
    Sending,
    connection_options,
    filter_options,
    json_option,
    sending_options,
)
from deadletterqueue.replay import Options, Replay, Report
from deadletterqueue.session import open_session, reported
from deadletterqueue.target import Route
from deadletterqueue.terminal import json_text, progress, table

#: Reasons that are printed; a change may fail for each letter with another one.
MOST_REASONS = 20


def run_replay(
    connection: Connection, filters: Filters, sending: Sending, max_replays: int, *, as_json: bool
) -> ExitCode:
    """Send letters back; tell how many went where, and what was left for which reason."""
    chosen = filters.chooser()
    options = options_of(sending, filters.limit, max_replays)
    with open_session(connection, filters.source) as session:
        with progress("replaying") as show:
            replay = Replay(session, chosen, options, show=show)
            try:
                replay.run()
            except BaseException:  # any: what was sent until then has to be reported
                tell(replay.report, session.queue, dry_run=options.dry_run, as_json=as_json)
                raise
        return tell(replay.report, session.queue, dry_run=options.dry_run, as_json=as_json)


def options_of(sending: Sending, limit: int | None, max_replays: int | None) -> Options:
    return Options(
        Route(sending.to_exchange, sending.to_queue, max_replays),
        rate=sending.rate,
        in_flight=sending.in_flight,
        limit=limit,
        dry_run=sending.dry_run,
    )


def tell(report: Report, queue: str, *, dry_run: bool, as_json: bool) -> ExitCode:
    """Print what became of the letters, and return what to exit with."""
    if as_json:
        print(json_text({**report.as_json(), "dry_run": dry_run}))
    else:
        _tell(report, queue, "would be sent" if dry_run else "sent")
    if report.left or report.stopped or report.taken:
        return ExitCode.FAILED
    return ExitCode.DONE if report.sent else ExitCode.NOTHING


def _tell(report: Report, queue: str, sent: str) -> None:
    rows = [(f"{count:,}", f"{sent} to {target}") for target, count in report.sent.most_common()]
    rows += [(f"{count:,}", f"left: {reason}") for reason, count in report.left.most_common(MOST_REASONS)]
    if len(report.left) > MOST_REASONS:
        rows.append(("", f"left for {len(report.left) - MOST_REASONS:,} further reasons; --json tells them all"))
    if rows:
        table(("count", "what"), rows, right=("count",))
    others = f"{report.others:,} others as before" if report.others else "no others"
    print(f"{report.sent.total():,} {sent} back, {report.left.total():,} left, {others} in {queue}")
    for delivery in report.in_doubt:
        identity = printable(repr(delivery.properties.message_id or "without a message id"))
        print(f"in doubt, it may be in both places: message {identity}", file=sys.stderr)
    if report.taken:
        print(f"{report.taken:,} were not found: another consumer had taken them", file=sys.stderr)
    if report.stopped:
        print("stopped early; run it again for the rest", file=sys.stderr)


@click.command(epilog=EXIT_CODES)
@filter_options
@sending_options
@click.option(
    "--max-replays",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    metavar="N",
    help="Skip messages that were sent back this often already.",
)
@json_option
@connection_options
@click.pass_context
def replay(
    ctx: click.Context, connection: Connection, filters: Filters, sending: Sending, max_replays: int, as_json: bool
) -> None:
    """Send dead letters back, each to the queue that it was dead-lettered from. The rest stays in order.

    \b
    deadletter-queue replay --where code=22001 --dry-run    what would go where
    deadletter-queue replay --where code=22001 --rate 50/s
    deadletter-queue replay --queue readings --to-queue readings.retry

    A message leaves the dead-letter queue after the broker has confirmed it at its destination. If the command is
    killed, no message is lost and at most one is duplicated, which an idempotent connector recognises. Only messages
    that were there at the start are sent, so one that is dead-lettered again is not sent twice.
    """
    ctx.exit(reported(lambda: run_replay(connection, filters, sending, max_replays, as_json=as_json)))
