"""`inbox`: prints the DDL of the inbox table, creates the table, or deletes old keys from it."""

import logging
from contextlib import closing
from functools import partial

import click

from connectorlib.service import logs
from connectorlib.service.bootstrap import loading_logs, running
from connectorlib.service.cli_options import Duration, config_option
from connectorlib.service.exit_codes import ExitCode
from connectorlib.service.process import reported
from connectorlib.service.reload import loaded
from dbconnector import config as configuration
from dbconnector.cli import EXIT_CODES
from dbconnector.commands.requirements import Load, requiring
from dbconnector.inbox_table import Inbox, ddl
from dbconnector.odbc.database import Database
from dbconnector.settings import DbConfig

logger = logging.getLogger(__name__)


@click.command("inbox", epilog=EXIT_CODES)
@config_option()
@click.option("--create", is_flag=True, help="Create the table instead of printing its DDL.")
@click.option("--purge", is_flag=True, help="Delete this connector's keys that are older than --older.")
@click.option("--older", type=Duration(), default="30d", show_default=True, help="For --purge.")
@click.pass_context
def command(ctx: click.Context, file: str, create: bool, purge: bool, older: float) -> None:
    """Print, create or trim the inbox table, which prevents duplicates (`idempotency`).

    \b
    dbconnector inbox -c db.config
    dbconnector inbox -c db.config --create
    dbconnector inbox -c db.config --purge --older 30d

    A deleted key no longer prevents a duplicate: keep keys longer than a message can be redelivered.
    """
    connects = ("database",) if create or purge else ()
    # Printing connects to nothing, and neither creating nor deleting needs the broker.
    load = partial(configuration.load, resolve_secrets=("idempotency", "logging", *connects))
    with running("dbconnector"):
        ctx.exit(
            run_inbox(
                file,
                create=create,
                purge_older=older if purge else None,
                load=loading_logs(load, "dbconnector"),
            )
        )


def run_inbox(file: str, *, create: bool, purge_older: float | None, load: Load = configuration.load) -> ExitCode:
    """Print the inbox table's DDL, execute it, or delete the keys that are older than so many seconds."""
    return reported(lambda: _inbox(loaded(file, requiring(load, "inbox", "idempotency")), create, purge_older))


def _inbox(config: DbConfig, create: bool, purge_older: float | None) -> ExitCode:
    settings = config.idempotency
    assert settings is not None  # required
    if not create and purge_older is None:
        print(f"{ddl(settings.table)};")
        return ExitCode.DONE
    with closing(Database(config.database)) as database:
        database.connect()
        if create:
            database.execute(ddl(settings.table), place="inbox")
            logs.event(logger, logging.INFO, "inbox table made", table=settings.table)
        if purge_older is not None:
            count = Inbox(settings, config.name).delete_older(database, purge_older)
            logs.event(logger, logging.INFO, "keys deleted", table=settings.table, keys=count)
        database.commit()
    return ExitCode.DONE
