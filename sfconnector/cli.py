"""The command line of sfconnector: the daemon, and the table of its other commands. Imports only click and the standard
library until the daemon runs."""

import click

from connectorlib.service.cli_options import HELP_OPTIONS, config_option, exit_codes
from connectorlib.service.lazy_group import Lazy, LazyGroup
from connectorlib.version import VERSION
from sfconnector import LAST_SUCCESS

EXIT_CODES = exit_codes(
    " 0  stopped                  75  hung; restart it",
    " 1  failed                   77  login of every division refused",
    " 2  usage error              78  bad configuration",
)
NAMES = ("sfconnector", "config.json")
COMMANDS = {
    "init": Lazy("sfconnector.init:init", "Write a first configuration after a few questions."),
    "status": Lazy(
        "connectorlib.monitoring.status_command:status_command",
        "Show the status of the running process.",
        (*NAMES, LAST_SUCCESS),
    ),
    "check": Lazy("sfconnector.preflight:check", "Check the configuration against the live broker and Salesforce."),
    "explain": Lazy("sfconnector.explain:explain", "Print the Cases that a message would become, offline."),
    "test": Lazy("sfconnector.explain:test", "Run the configuration's tests (messages in, Cases out), offline."),
    "schema": Lazy(
        "connectorlib.preflight.schema_command:schema_command", "Print the JSON Schema of the configuration.", NAMES
    ),
    "org": Lazy("sfconnector.metadata.org_command:org", "Write what Salesforce needs, as a project."),
    "sandbox": Lazy(
        "sfconnector.sandbox.sandbox_command:command",
        "Run a simulated Salesforce on this machine, to try a configuration with.",
    ),
    "completion": Lazy(
        "connectorlib.service.completion_command:completion_command",
        "Print the shell completion script.",
        NAMES[:1],
    ),
}


@click.group(
    cls=LazyGroup, lazy=COMMANDS, invoke_without_command=True, epilog=EXIT_CODES, context_settings=HELP_OPTIONS
)
@click.version_option(VERSION, prog_name="sfconnector")
@config_option(required=False)
@click.pass_context
def main(ctx: click.Context, file: str | None) -> None:
    """Create Salesforce Cases from RabbitMQ messages, for each division, until SIGTERM.

    \b
    sfconnector init                     write a first configuration
    sfconnector -i config.json           create Cases until stopped
    sfconnector status -i config.json    status of the running process
    sfconnector check -i config.json     check it against broker and Salesforce
    sfconnector explain -i config.json message.json
                                         what one message would become
    sfconnector org -i config.json --out org
                                         what Salesforce needs for it, as files
    sfconnector sandbox                  a simulated Salesforce, to try it with

    An outage pauses the divisions that it affects; they resume automatically. SIGUSR1 retries paused divisions
    immediately, also after a refused login. SIGHUP reloads the configuration. The first SIGTERM or Ctrl-C finishes
    the work in progress, the second quits immediately.
    """
    if ctx.invoked_subcommand is not None:
        if file is not None:
            raise click.UsageError(f"-i is an option of the daemon; {ctx.invoked_subcommand} does not take it")
        return
    if file is None:
        raise click.UsageError("Missing option '-c' / '-i' / '--config': the configuration file.")
    from connectorlib.service.early_signals import keep_early_signals  # late, as all else: --help does without

    keep_early_signals()
    from connectorlib.service.bootstrap import loading_logs, running
    from sfconnector import config, daemon

    with running("sfconnector") as life:
        ctx.exit(daemon.run(file, life, load=loading_logs(config.load, "sfconnector")))
