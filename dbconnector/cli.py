"""The command line of dbconnector: the group and its table. Imports only click and the standard library."""

import click

from connectorlib.service.cli_options import HELP_OPTIONS, exit_codes
from connectorlib.service.lazy_group import Lazy, LazyGroup
from connectorlib.version import VERSION

EXIT_CODES = exit_codes(
    " 0  done                      3  nothing there",
    " 1  failed                   69  broker or database cannot be reached",
    " 2  wrong usage              77  a log-in was refused",
    "75  stuck, restart me        78  bad configuration",
)
NAMES = ("dbconnector", "db.config")
COMMANDS = {
    "init": Lazy("dbconnector.init:init", "Write a configuration to start from, after a few questions."),
    "select": Lazy("dbconnector.commands.select:command", "Send one message per row of the query.", daemon=True),
    "receive": Lazy("dbconnector.commands.receive:command", "Write one message of the queue."),
    "subscribe": Lazy(
        "dbconnector.commands.subscribe:command", "Write every message of the queue, for ever.", daemon=True
    ),
    "status": Lazy(
        "connectorlib.monitoring.status_command:status_command", "Tell how the running one is doing.", NAMES
    ),
    "inbox": Lazy("dbconnector.commands.inbox:command", "Print, make or trim the table against doubles."),
    "check": Lazy("dbconnector.preflight:check", "Prove it against the live broker and database."),
    "explain": Lazy("dbconnector.explain:explain", "Print the rows that a message would become; asks nobody."),
    "test": Lazy("dbconnector.explain:test", "Run its tests: messages in, rows out; asks nobody."),
    "schema": Lazy(
        "connectorlib.preflight.schema_command:schema_command", "Print the JSON Schema of the configuration.", NAMES
    ),
    "completion": Lazy(
        "connectorlib.service.completion_command:completion_command",
        "Print what makes a shell complete commands and options.",
        NAMES[:1],
    ),
}


@click.group(cls=LazyGroup, lazy=COMMANDS, epilog=EXIT_CODES, context_settings=HELP_OPTIONS)
@click.version_option(VERSION, prog_name="dbconnector")
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
