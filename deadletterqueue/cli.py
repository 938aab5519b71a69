"""The command line of deadletter-queue. Only click and the standard library are imported before a command runs."""

import sys
from typing import Any

import click

from connectorlib.service.cli_commands import (
    Commands,
    Duration,
    add_completion,
    exit_codes,
    needing,
    without_core_dumps,
)
from deadletterqueue.options import (
    Connection,
    Filters,
    connection_options,
    connection_options_but_port,
    filter_options,
    json_option,
)
from deadletterqueue.replay_options import Sending, sending_options

EXIT_CODES = exit_codes(
    " 0  done                      3  nothing there",
    " 1  failed, or stopped       69  broker cannot be reached",
    " 2  wrong usage              77  a log-in or a permission was refused",
    "                             78  bad configuration, or made otherwise",
)
HELP_OPTIONS = {"help_option_names": ["-h", "-?", "--help"]}


@click.group(
    cls=Commands, invoke_without_command=True, no_args_is_help=True, epilog=EXIT_CODES, context_settings=HELP_OPTIONS
)
@click.version_option(package_name="amqp-connectors", prog_name="deadletter-queue")
@click.option("--exchange", help="Dead-letter exchange to make.  [dead-letter]")
@click.option("--queue", help="Dead-letter queue to make.  [dead-letter]")
@click.option("--type", "kind", type=click.Choice(["quorum", "classic"]), default="quorum", show_default=True)
@click.option(
    "--max-length", type=click.IntRange(min=1), metavar="N", help="Refuse more than so many: the connectors pause then."
)
@click.option("--ttl", type=Duration(), help="Delete dead letters that are older, e.g. 30d. They are gone for good.")
@click.option("--policy", is_flag=True, help="Print the policy that gives existing queues this exchange.")
@click.option("--apply-policy", is_flag=True, help="Set that policy, through the management API.")
@click.option(
    "--policy-pattern",
    metavar="REGEX",
    help="The queues that the policy is for.  [all but the dead-letter queue and the broker's own]",
)
@json_option
@connection_options
@click.pass_context
def main(ctx: click.Context, /, connection: Connection, **given: Any) -> None:
    """Make the dead-letter queue of a virtual host; look into it, put right what is there, send it back.

    \b
    deadletter-queue --vhost plant           make exchange, queue and binding
    deadletter-queue group --vhost plant     a line for each cause
    deadletter-queue list --vhost plant      a line for each dead letter
    deadletter-queue show 1 --vhost plant    all there is to know of the first

    What exists is left as it is. Looking changes nothing: the order stays, nothing is lost.
    """
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
    from deadletterqueue.session import reported
    from deadletterqueue.setup_command import run_set_up  # late, see the module

    ctx.exit(reported(lambda: run_set_up(connection, **given)))


@main.command("list", short_help="A line for each dead letter, in the order of the queue.")
@filter_options
@json_option
@connection_options
@click.pass_context
def list_(ctx: click.Context, connection: Connection, filters: Filters, as_json: bool) -> None:
    """List dead letters, the oldest first; 100 of them unless --limit or --json says otherwise.

    \b
    deadletter-queue list --where code=22001 --since 2h
    deadletter-queue list --match 'device.id=p-7' --json
    """
    from deadletterqueue.list_command import run_list  # late, see the module
    from deadletterqueue.session import reported

    ctx.exit(reported(lambda: run_list(connection, filters, as_json=as_json)))


@main.command(short_help="All there is to know of a few, body and headers included.")
@click.argument("position", type=click.IntRange(min=1), required=False)
@filter_options
@json_option
@connection_options
@click.pass_context
def show(ctx: click.Context, connection: Connection, filters: Filters, position: int | None, as_json: bool) -> None:
    """Show dead letters with body, headers and properties: the one at POSITION of `list`, or those that are chosen.

    \b
    deadletter-queue show 3 --vhost plant
    deadletter-queue show --where code=22001 --limit 2 --json
    """
    from deadletterqueue.list_command import run_show  # late, see the module
    from deadletterqueue.session import reported

    ctx.exit(reported(lambda: run_show(connection, filters, position, as_json=as_json)))


@main.command(short_help="A line for each cause: how many, since when, an example.")
@filter_options
@json_option
@connection_options
@click.pass_context
def group(ctx: click.Context, connection: Connection, filters: Filters, as_json: bool) -> None:
    """Group dead letters by cause: reason, code, and the field or statement; the most frequent first.

    \b
    deadletter-queue group --vhost plant
    deadletter-queue group --connector dbconnector --since 1d

    `--where fingerprint=…` chooses those of one line for every other command.
    """
    from deadletterqueue.list_command import run_group  # late, see the module
    from deadletterqueue.session import reported

    ctx.exit(reported(lambda: run_group(connection, filters, as_json=as_json)))


@main.command(short_help="Send them back to the queue they died in.")
@filter_options
@sending_options
@click.option(
    "--max-replays",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    metavar="N",
    help="Leave what was sent back so often already: it only goes round in circles.",
)
@json_option
@connection_options
@click.pass_context
def replay(
    ctx: click.Context, connection: Connection, filters: Filters, sending: Sending, max_replays: int, as_json: bool
) -> None:
    """Send dead letters back, each to the queue it died in, whoever dead-lettered it. The rest stays in order.

    \b
    deadletter-queue replay --where code=22001 --dry-run    what would go where
    deadletter-queue replay --where code=22001 --rate 50/s
    deadletter-queue replay --queue readings --to-queue readings.retry

    A message leaves the dead-letter queue when the broker has confirmed it where it goes: killed at any instant, none
    is lost and at most one doubled, which an idempotent connector takes for what it is. Only what was there at the
    beginning is sent, so one that dies again is not sent twice.
    """
    from deadletterqueue.replay_command import run_replay  # late, see the module
    from deadletterqueue.session import reported

    ctx.exit(reported(lambda: run_replay(connection, filters, sending, max_replays, as_json=as_json)))


@main.command(short_help="Change them and send them back: in your editor, by --set, or by a JSON Patch.")
@click.argument("position", type=click.IntRange(min=1), required=False)
@filter_options
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="PATH=VALUE",
    help="device.id=p-7 in JSON or XML, '$headers.NAME=…', '$message_id=…'; repeatable.",
)
@click.option("--patch", type=click.Path(dir_okay=False), help="A file with a JSON Patch (RFC 6902) for each body.")
@click.option(
    "--originals", type=click.Path(dir_okay=False), help="Add what was to this file.  [originals-TIME.jsonl, here]"
)
@sending_options
@json_option
@connection_options
@click.pass_context
def edit(
    ctx: click.Context,
    /,
    connection: Connection,
    filters: Filters,
    sending: Sending,
    position: int | None,
    as_json: bool,
    **changes: Any,
) -> None:
    """Change dead letters and send them back: the one at POSITION of `list`, or those that are chosen.

    \b
    deadletter-queue edit 3        in $EDITOR, headers and all
    deadletter-queue edit --where code=22001 --set device.id=p-7 --dry-run
    deadletter-queue edit --where code=22001 --patch mend.json -c db.config

    Given a connector's configuration with -c, a changed message is decoded and mapped as the connector would, without
    its database or Salesforce, before it is sent; else JSON and XML have to be readable. What would die again stays as
    it is. Originals leave the queue when the new message is confirmed, and are kept in a file that `import` reads.
    """
    from deadletterqueue.edit_command import Changes, run_edit  # late, see the module
    from deadletterqueue.session import reported

    def ask(question: str) -> bool:
        return sys.stdin.isatty() and click.confirm(question, default=True, err=True)

    given = Changes(**changes)
    ctx.exit(reported(lambda: run_edit(connection, filters, sending, given, position, ask=ask, as_json=as_json)))


@main.command(short_help="Write dead letters into a file; they stay in the queue.")
@click.argument("target", metavar="[FILE]", type=click.Path(dir_okay=False, allow_dash=True), default="-")
@filter_options
@click.option("--overwrite", is_flag=True, help="Replace FILE when it exists.")
@json_option
@connection_options
@click.pass_context
def export(
    ctx: click.Context, connection: Connection, filters: Filters, target: str, overwrite: bool, as_json: bool
) -> None:
    """Write dead letters, complete, into FILE as JSON Lines (- is standard output). The queue stays as it is.

    \b
    deadletter-queue export letters.jsonl --vhost plant
    deadletter-queue export --where code=22001 | jq .headers
    """
    from deadletterqueue.session import reported
    from deadletterqueue.transfer_command import run_export  # late, see the module

    ctx.exit(reported(lambda: run_export(connection, filters, target, overwrite=overwrite, as_json=as_json)))


@main.command("import", short_help="Put what was exported back into the queue.")
@click.argument("origin", metavar="FILE", type=click.Path(dir_okay=False, allow_dash=True))
@filter_options
@json_option
@connection_options
@click.pass_context
def import_(ctx: click.Context, connection: Connection, filters: Filters, origin: str, as_json: bool) -> None:
    """Put the messages of FILE, as `export` writes it, at the end of the dead-letter queue.

    \b
    deadletter-queue import letters.jsonl --vhost plant
    deadletter-queue import originals.jsonl --where code=22001

    Each is confirmed by the broker. Nothing is sent unless every line is right.
    """
    from deadletterqueue.session import reported
    from deadletterqueue.transfer_command import run_import  # late, see the module

    ctx.exit(reported(lambda: run_import(connection, filters, origin, as_json=as_json)))


@main.command(short_help="Remove dead letters for good.")
@filter_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@connection_options
@click.pass_context
def purge(ctx: click.Context, connection: Connection, filters: Filters, yes: bool, as_json: bool) -> None:
    """Remove dead letters for good. `export` first keeps a copy.

    \b
    deadletter-queue purge --where code=22001 --until 30d
    deadletter-queue purge --from dead-letter.old --yes

    Only what was there when you were asked is removed; the rest stays in order.
    """
    from deadletterqueue.session import reported
    from deadletterqueue.transfer_command import run_purge  # late, see the module

    def ask(question: str) -> bool:
        return yes or click.confirm(question, err=True)

    ctx.exit(reported(lambda: run_purge(connection, filters, ask, as_json=as_json)))


@main.command(short_help="The workbench as a page in a browser.")
@click.option(
    "--port", "web_port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="Of the page; 0: any."
)
@click.option(
    "--listen", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Beyond loopback a token is asked for."
)
@click.option(
    "--token-file", type=click.Path(dir_okay=False), help="File with the access token; asked for on loopback too then."
)
@click.option("--allow-host", multiple=True, metavar="NAME", help="A name by which the page is reached; repeatable.")
@click.option("--from", "source", metavar="QUEUE", help="The dead-letter queue.  [as for list]")
@connection_options_but_port
@click.pass_context
def serve(
    ctx: click.Context,
    connection: Connection,
    web_port: int,
    listen: str,
    token_file: str | None,
    allow_host: tuple[str, ...],
    source: str | None,
) -> None:
    """Serve the workbench as a page: causes, messages, sending back, editing, purging. Until SIGTERM or Ctrl-C.

    \b
    deadletter-queue serve --vhost plant --port 8090
    deadletter-queue serve --host broker:5673 --vhost plant

    --port is the page's here; the broker's is part of --host. Only this machine reaches the page, unless --listen says
    more. All its users then do: --token-file keeps others out.
    """
    with needing("web", "the page"):
        from deadletterqueue.web.serve_command import run_serve  # late, see the module
    from deadletterqueue.session import reported

    ctx.exit(reported(lambda: run_serve(connection, source, listen, web_port, token_file, allow_host)))


add_completion(main, "deadletter-queue")
