"""The command line of dbconnector. Only click and the standard library are imported before a command runs."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from connectorlib.preflight.commands import add_proofs, tests_schema
from connectorlib.service.cli_commands import (
    HELP_OPTIONS,
    Commands,
    Duration,
    add_completion,
    add_init,
    add_status,
    config_option,
    exit_codes,
    logging_as_told,
    running,
)
from dbconnector.proofs import PROOFS

if TYPE_CHECKING:
    from dbconnector.settings import DbConfig

EXIT_CODES = exit_codes(
    " 0  done                      3  nothing there",
    " 1  failed                   69  broker or database cannot be reached",
    " 2  wrong usage              77  a log-in was refused",
    "75  stuck, restart me        78  bad configuration",
)


@click.group(cls=Commands, epilog=EXIT_CODES, context_settings=HELP_OPTIONS)
@click.version_option(package_name="amqp-connectors", prog_name="dbconnector")
def main() -> None:
    """Move messages between RabbitMQ and any ODBC database.

    \b
    dbconnector init                      write a configuration, to begin
    dbconnector select -c db.config       one message per row of a query
    dbconnector receive -c db.config      one message into the database
    dbconnector subscribe -c db.config    every message into it, for ever
    dbconnector check -c db.config        does it fit broker and database?
    dbconnector explain -c db.config message.json
                                          what one message would become
    dbconnector status -c db.config       how the running one is doing
    """


def _init() -> click.Command:
    from dbconnector.init import init  # late, see the module

    return init


add_init(main, _init)


@main.command(short_help="Send one message per row of the query.")
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
    from dbconnector.commands import runs  # late, see the module

    given = dict(_name_and_value(param) for param in params)
    with running("dbconnector") as life, _progress() as progress:
        ctx.exit(runs.run_select(file, life, params=given, every=every, progress=progress, load=_load))


@main.command(short_help="Write one message of the queue.")
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
    from dbconnector.commands import runs  # late, see the module

    with running("dbconnector") as life:
        ctx.exit(runs.run_receive(file, life, wait_s=wait, load=_load))


@main.command(short_help="Write every message of the queue, for ever.")
@config_option()
@click.pass_context
def subscribe(ctx: click.Context, file: str) -> None:
    """Write every message of the queue into the database, in batches, until SIGTERM.

    \b
    dbconnector subscribe -c db.config

    An outage pauses it; it goes on by itself. SIGUSR1 makes a paused one try at once, SIGHUP loads the configuration
    anew. The first SIGTERM or Ctrl-C finishes what is in hand, the second quits at once.
    """
    from dbconnector.commands import runs  # late, see the module

    with running("dbconnector") as life:
        ctx.exit(runs.run_subscribe(file, life, load=_load))


add_status(main, "dbconnector", "db.config")


@main.command(short_help="Print, make or trim the table against doubles.")
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
    from dbconnector.commands import runs  # late, see the module

    with running("dbconnector"):
        ctx.exit(runs.run_inbox(file, create=create, purge_older=older if purge else None, load=_load))


add_proofs(main, PROOFS)


@main.command(
    short_help="Print the JSON Schema of the configuration.", epilog=exit_codes("0  printed", "2  wrong usage")
)
@click.option("--tests", is_flag=True, help="That of a tests file instead.")
def schema(tests: bool) -> None:
    """Print the JSON Schema of the configuration, for editors that complete and check by it.

    \b
    dbconnector schema > db.config.schema.json
    dbconnector schema --tests > db.config.tests.schema.json

    A configuration names it in "$schema".
    """
    from dbconnector import config  # late, see the module

    click.echo(tests_schema(PROOFS.program) if tests else config.schema_text())


add_completion(main, "dbconnector")


def _load(file: str) -> "DbConfig":
    from dbconnector import config  # late, see the module

    return logging_as_told(config.load, "dbconnector")(file)


@contextmanager
def _progress() -> Iterator[Callable[[int], None] | None]:
    """Show on a terminal how many rows are confirmed; None where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # late, see the module
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed:,} rows confirmed"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("sent", total=None)
        yield lambda rows: bar.update(task, completed=rows)


def _name_and_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"expected NAME=VALUE, not {text!r}", param_hint="--param")
    return name, value
