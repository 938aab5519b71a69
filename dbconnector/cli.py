"""The command line of dbconnector: the group and its table. Imports only click and the standard library."""

import click

from connectorlib.service.cli_options import HELP_OPTIONS, exit_codes
from connectorlib.service.lazy_group import Lazy, LazyGroup
from connectorlib.version import VERSION

EXIT_CODES = exit_codes(
    " 0  done                      3  nothing to do",
    " 1  failed                   69  broker or database unreachable",
    " 2  usage error              77  login refused",
    "75  hung; restart it        78  bad configuration",
)
NAMES = ("dbconnector", "db.config")
COMMANDS = {
    "init": Lazy("dbconnector.init:init", "Write a first configuration after a few questions."),
    "select": Lazy("dbconnector.commands.select:command", "Send one message per row of the query.", daemon=True),
    "receive": Lazy("dbconnector.commands.receive:command", "Write one message of the queue."),
    "subscribe": Lazy(
        "dbconnector.commands.subscribe:command", "Write every message of the queue until stopped.", daemon=True
    ),
    "status": Lazy(
        "connectorlib.monitoring.status_command:status_command", "Show the status of the running process.", NAMES
    ),
    "inbox": Lazy(
        "dbconnector.commands.inbox:command", "Print, create or trim the inbox table that prevents duplicates."
    ),
    "check": Lazy("dbconnector.preflight:check", "Check the configuration against the live broker and database."),
    "explain": Lazy("dbconnector.explain:explain", "Print the rows that a message would become, offline."),
    "test": Lazy("dbconnector.explain:test", "Run the configuration's tests (messages in, rows out), offline."),
    "schema": Lazy(
        "connectorlib.preflight.schema_command:schema_command", "Print the JSON Schema of the configuration.", NAMES
    ),
    "completion": Lazy(
        "connectorlib.service.completion_command:completion_command",
        "Print the shell completion script.",
        NAMES[:1],
    ),
}


@click.group(cls=LazyGroup, lazy=COMMANDS, epilog=EXIT_CODES, context_settings=HELP_OPTIONS)
@click.version_option(VERSION, prog_name="dbconnector")
def main() -> None:
    """Move messages between RabbitMQ and any ODBC database.

    \b
    dbconnector init                      write a first configuration
    dbconnector select -c db.config       one message per row of a query
    dbconnector receive -c db.config      one message into the database
    dbconnector subscribe -c db.config    every message into the database
    dbconnector check -c db.config        check it against broker and database
    dbconnector explain -c db.config message.json
                                          what one message would become
    dbconnector status -c db.config       status of the running process
    """
