"""The command line of sfconnector. Only click and the standard library are imported before a command runs."""

from typing import TYPE_CHECKING

import click

from connectorlib.preflight.commands import add_proofs, tests_schema
from connectorlib.service.cli_commands import (
    HELP_OPTIONS,
    Commands,
    Later,
    add_completion,
    add_init,
    add_status,
    config_option,
    exit_codes,
    logging_as_told,
    running,
)
from sfconnector.proofs import PROOFS

if TYPE_CHECKING:
    from sfconnector.settings import SfConfig

EXIT_CODES = exit_codes(
    " 0  stopped                  75  stuck, restart me",
    " 1  failed                   77  the log-in of every division was refused",
    " 2  wrong usage              78  bad configuration",
)


@click.group(cls=Commands, invoke_without_command=True, epilog=EXIT_CODES, context_settings=HELP_OPTIONS)
@click.version_option(package_name="amqp-connectors", prog_name="sfconnector")
@config_option(required=False)
@click.pass_context
def main(ctx: click.Context, file: str | None) -> None:
    """Turn messages from RabbitMQ into Salesforce Cases, division by division, until SIGTERM.

    \b
    sfconnector init                     write a configuration, to begin
    sfconnector -i config.json           make Cases, for ever
    sfconnector status -i config.json    how the running one is doing
    sfconnector check -i config.json     does it fit broker and Salesforce?
    sfconnector explain -i config.json message.json
                                         what one message would become
    sfconnector sandbox                  a Salesforce on this machine, to try

    An outage pauses the divisions that it hits; they go on by themselves. SIGUSR1 makes paused ones try at once,
    a refused log-in too; SIGHUP loads the configuration anew. The first SIGTERM or Ctrl-C finishes what is in hand,
    the second quits at once.
    """
    if ctx.invoked_subcommand is not None:
        if file is not None:
            raise click.UsageError(f"-i belongs to the daemon; {ctx.invoked_subcommand} does not take it")
        return
    if file is None:
        raise click.UsageError("Missing option '-c' / '-i' / '--config': the configuration file.")
    from sfconnector import daemon  # late, see the module

    with running("sfconnector") as life:
        ctx.exit(daemon.run(file, life, load=_load))


def _init() -> click.Command:
    from sfconnector.init import init  # late, see the module

    return init


add_init(main, _init)


add_status(main, "sfconnector", "config.json")


add_proofs(main, PROOFS)


@main.command(
    short_help="Print the JSON Schema of the configuration.", epilog=exit_codes("0  printed", "2  wrong usage")
)
@click.option("--tests", is_flag=True, help="That of a tests file instead.")
def schema(tests: bool) -> None:
    """Print the JSON Schema of the configuration, for editors that complete and check by it.

    \b
    sfconnector schema > config.schema.json
    sfconnector schema --tests > config.tests.schema.json

    A configuration names it in "$schema".
    """
    from sfconnector import config  # late, see the module

    click.echo(tests_schema(PROOFS.program) if tests else config.schema_text())


def _sandbox() -> click.Command:
    from sfconnector.sandbox.sandbox_command import command  # late, see the module

    return command


main.add_command(Later("sandbox", "Run a Salesforce on this machine, to try a configuration with.", _sandbox))


add_completion(main, "sfconnector")


def _load(file: str) -> "SfConfig":
    from sfconnector import config  # late, see the module

    return logging_as_told(config.load, "sfconnector")(file)
