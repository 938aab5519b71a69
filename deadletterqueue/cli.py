"""The command line of deadletter-queue: the making of a queue, and the table of the other commands. Imports only click
and the standard library until one of them runs."""

from typing import Any

import click

from connectorlib.service.cli_options import Duration
from connectorlib.service.lazy_group import Lazy, LazyGroup
from connectorlib.version import VERSION
from deadletterqueue.options import EXIT_CODES, Connection, connection_options, json_option

HELP_OPTIONS = {"help_option_names": ["-h", "-?", "--help"]}
COMMANDS = {
    "list": Lazy("deadletterqueue.list_command:list_", "A line for each dead letter, in the order of the queue."),
    "show": Lazy("deadletterqueue.show_command:show", "Full details of some letters, including body and headers."),
    "group": Lazy("deadletterqueue.group_command:group", "A line for each cause: how many, since when, an example."),
    "replay": Lazy("deadletterqueue.replay_command:replay", "Send them back to the queue they died in."),
    "edit": Lazy(
        "deadletterqueue.edit_command:edit",
        "Change them and send them back: in your editor, by --set, or by a JSON Patch.",
    ),
    "export": Lazy(
        "deadletterqueue.transfer_command:export", "Write dead letters into a file; they stay in the queue."
    ),
    "import": Lazy("deadletterqueue.transfer_command:import_", "Put exported messages back into the queue."),
    "purge": Lazy("deadletterqueue.purge_command:purge", "Remove dead letters permanently."),
    "trace": Lazy("deadletterqueue.trace_command:trace", "What became of each delivery of a message."),
    "serve": Lazy("deadletterqueue.serve_command:serve", "The workbench as a page in a browser."),
    "completion": Lazy(
        "connectorlib.service.completion_command:completion_command",
        "Print the shell completion script.",
        ("deadletter-queue",),
    ),
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    invoke_without_command=True,
    no_args_is_help=True,
    epilog=EXIT_CODES,
    context_settings=HELP_OPTIONS,
)
@click.version_option(VERSION, prog_name="deadletter-queue")
@click.option("--exchange", help="Dead-letter exchange to create.  [dead-letter]")
@click.option("--queue", help="Dead-letter queue to create.  [dead-letter]")
@click.option("--type", "kind", type=click.Choice(["quorum", "classic"]), default="quorum", show_default=True)
@click.option(
    "--max-length",
    type=click.IntRange(min=1),
    metavar="N",
    help="Refuse more messages than this; the connectors then pause.",
)
@click.option(
    "--ttl", type=Duration(), help="Delete dead letters that are older than this, e.g. 30d. They are lost permanently."
)
@click.option("--policy", is_flag=True, help="Print the policies that give existing queues this exchange.")
@click.option("--apply-policy", is_flag=True, help="Set them, through the management API.")
@click.option(
    "--policy-pattern",
    metavar="REGEX",
    help="The queues that the policies apply to.  [all except the dead-letter queue and the broker's own]",
)
@json_option
@connection_options
@click.pass_context
def main(ctx: click.Context, /, connection: Connection, **given: Any) -> None:
    """Set up the dead-letter queue of a virtual host; inspect, correct and resend what is in it.

    \b
    deadletter-queue --vhost plant           create exchange, queue and binding
    deadletter-queue group --vhost plant     a line for each cause
    deadletter-queue list --vhost plant      a line for each dead letter
    deadletter-queue show 1 --vhost plant    full details of the first

    Existing objects are left unchanged. Scanning changes nothing: the order is kept, nothing is lost.
    """
    from connectorlib.service.bootstrap import without_core_dumps  # late: --help does without it

    without_core_dumps()
    if ctx.invoked_subcommand is not None:
        for name, value in given.items():
            if value and ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
                option = (
                    "--type" if name == "kind" else "--json" if name == "as_json" else f"--{name.replace('_', '-')}"
                )
                raise click.UsageError(f"{option} belongs behind {ctx.invoked_subcommand}, or to the making of a queue")
        ctx.obj = connection
        return
    from deadletterqueue.session import reported  # late: they import AMQP
    from deadletterqueue.setup_command import run_set_up

    ctx.exit(reported(lambda: run_set_up(connection, **given)))
