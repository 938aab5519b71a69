"""`purge`: removes dead letters for good."""

from collections.abc import Callable
from itertools import islice

import click

from connectorlib.messages import Delivery
from connectorlib.service.exit_codes import ExitCode
from deadletterqueue.filter import Chosen
from deadletterqueue.options import EXIT_CODES, Connection, Filters, connection_options, filter_options, json_option
from deadletterqueue.session import Session, letters, open_session, reported
from deadletterqueue.terminal import Progress, print_result, progress

#: Letters that are purged with one ack call.
ACK_CHUNK = 100

#: Given what is about to be done, return whether to do it.
Ask = Callable[[str], bool]


def run_purge(connection: Connection, filters: Filters, ask: Ask, *, as_json: bool = False) -> ExitCode:
    """Remove letters for good. They are counted first; letters that arrive meanwhile stay."""
    chosen = filters.chooser()
    with open_session(connection, filters.source) as session:
        count = _count(session, filters, chosen)
        if not count:
            print_result(f"nothing to purge in {session.queue}", {"queue": session.queue, "purged": 0}, as_json=as_json)
            return ExitCode.NOTHING
        if not ask(f"Remove {count:,} dead letters from {session.queue} permanently?"):
            return ExitCode.FAILED
        purged = _purge(session, filters, chosen, count)
    short = f"; somebody else has taken {count - purged:,} meanwhile" if purged < count else ""
    text = f"{purged:,} purged from {session.queue}{short}"
    print_result(text, {"queue": session.queue, "purged": purged}, as_json=as_json)
    return ExitCode.FAILED if short else ExitCode.DONE


def _count(session: Session, filters: Filters, chosen: Chosen) -> int:
    """Return how many letters are chosen; without browsing if no filter is given."""
    whole = session.browse(limit=filters.limit)
    if not filters.given:
        return whole.count()
    with session.browse() as walk, progress("counting") as show:
        found = 0
        for each in letters(walk):
            show(walk.looked, walk.total)
            found += chosen(each)
            if found == filters.limit:
                break
    return found


def _purge(session: Session, filters: Filters, chosen: Chosen, count: int) -> int:
    with progress("purging") as show:
        return purge_letters(session, chosen, count, depth=None if filters.given else count, show=show)


def purge_letters(session: Session, chosen: Chosen, count: int, *, depth: int | None, show: Progress) -> int:
    """Remove the first `count` chosen letters among the first `depth`; return how many were removed."""
    done = 0
    waiting: list[Delivery] = []
    with session.browse(limit=depth, removing=True) as walk:
        for each in islice(filter(chosen, letters(walk)), count):
            waiting.append(each.delivery)
            if len(waiting) == ACK_CHUNK:
                walk.ack(*waiting)
                done += len(waiting)
                waiting.clear()
            show(done, count)
        walk.ack(*waiting)
        done += len(waiting)
    return done


@click.command(epilog=EXIT_CODES)
@filter_options
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
@connection_options
@click.pass_context
def purge(ctx: click.Context, connection: Connection, filters: Filters, yes: bool, as_json: bool) -> None:
    """Remove dead letters permanently. `export` first keeps a copy.

    \b
    deadletter-queue purge --where code=22001 --until 30d
    deadletter-queue purge --from dead-letter.old --yes

    Only messages that were there when you were asked are removed; the rest stays in order.
    """

    def ask(question: str) -> bool:
        return yes or click.confirm(question, err=True)

    ctx.exit(reported(lambda: run_purge(connection, filters, ask, as_json=as_json)))
