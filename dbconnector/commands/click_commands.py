"""The commands of dbconnector that do its work, with their options."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from connectorlib.service.bootstrap import loading_logs, running
from connectorlib.service.cli_options import Duration, config_option
from dbconnector import config
from dbconnector.cli import EXIT_CODES
from dbconnector.commands import runs

_load = loading_logs(config.load, "dbconnector")


@click.command(epilog=EXIT_CODES)
@config_option()
@click.option("--every", type=Duration(), help="Run the query again and again, e.g. every 30s, 5m, 1h.")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="The value of :NAME in the query.")
@click.pass_context
def select(ctx: click.Context, file: str, every: float | None, params: tuple[str, ...]) -> None:
    """Run the query and send one message per row; done when the broker has confirmed all.

    \b
    dbconnector select -c db.config
    dbconnector select -c db.config --param site=plant-7
    dbconnector select -c db.config --every 30s

    With --every it goes on until SIGTERM: a turn that fails is told, and the next one tries again; SIGHUP loads the
    configuration anew. Without, it exits with 3 if there is no row.
    """
    given = dict(_name_and_value(param) for param in params)
    with running("dbconnector") as life, _progress() as progress:
        ctx.exit(runs.run_select(file, life, params=given, every=every, progress=progress, load=_load))


@click.command(epilog=EXIT_CODES)
@config_option()
@click.option(
    "--wait",
    type=Duration(),
    default="1s",
    show_default=True,
    help="How long to wait for a message where the queue has a single active consumer.",
)
@click.pass_context
def receive(ctx: click.Context, file: str, wait: float) -> None:
    """Write one message of the queue into the database; exit 3 if the queue is empty.

    \b
    dbconnector receive -c db.config
    dbconnector receive -c db.config --wait 5s

    A message that can never be written becomes a dead letter, exit code 1; where the database cannot be reached it is
    given back, exit code 69.
    """
    with running("dbconnector") as life:
        ctx.exit(runs.run_receive(file, life, wait_s=wait, load=_load))


@click.command(epilog=EXIT_CODES)
@config_option()
@click.pass_context
def subscribe(ctx: click.Context, file: str) -> None:
    """Write every message of the queue into the database, in batches, until SIGTERM.

    \b
    dbconnector subscribe -c db.config

    An outage pauses it; it goes on by itself. SIGUSR1 makes a paused one try at once, SIGHUP loads the configuration
    anew. The first SIGTERM or Ctrl-C finishes what is in hand, the second quits at once.
    """
    with running("dbconnector") as life:
        ctx.exit(runs.run_subscribe(file, life, load=_load))


@click.command(epilog=EXIT_CODES)
@config_option()
@click.option("--create", is_flag=True, help="Make the table instead of printing how.")
@click.option("--purge", is_flag=True, help="Delete this connector's keys that are older than --older.")
@click.option("--older", type=Duration(), default="30d", show_default=True, help="For --purge.")
@click.pass_context
def inbox(ctx: click.Context, file: str, create: bool, purge: bool, older: float) -> None:
    """Print, make or trim the table that keeps a message from being written twice (`idempotency`).

    \b
    dbconnector inbox -c db.config
    dbconnector inbox -c db.config --create
    dbconnector inbox -c db.config --purge --older 30d

    A key that is deleted no longer protects: keep them longer than a message can come again.
    """
    with running("dbconnector"):
        ctx.exit(runs.run_inbox(file, create=create, purge_older=older if purge else None, load=_load))


@contextmanager
def _progress() -> Iterator[Callable[[int], None] | None]:
    """Show the number of confirmed rows on a terminal; None where standard error is none."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (SpinnerColumn(), TextColumn("{task.completed:,} rows confirmed"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("sent", total=None)
        yield lambda rows: bar.update(task, completed=rows)


def _name_and_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"expected NAME=VALUE, not {text!r}", param_hint="--param")
    return name, value
