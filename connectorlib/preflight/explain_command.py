"""The command `explain`: prints what one message would become. Asks no network, and needs no secret."""

from collections.abc import Callable
from typing import Any

import click

from connectorlib.errors import Failed
from connectorlib.preflight.explanation import Offline, as_json, as_text, indented_json, located
from connectorlib.preflight.message_options import (
    MESSAGE_FILE,
    STANDARD_INPUT,
    Envelope,
    envelope,
    envelope_options,
    read_body,
)
from connectorlib.service.cli_options import config_option, exit_codes
from connectorlib.service.exit_codes import ExitCode
from connectorlib.service.process import exit_code
from connectorlib.values.text import printable

Opener = Callable[[str], Offline]


def explain_command(program: str, file: str, opened: Opener) -> click.Command:
    """Return the command of a connector whose configuration is called `file` in examples."""

    @click.command(
        "explain",
        epilog=exit_codes(
            " 0  the message would be accepted",
            " 1  it would be dead-lettered",
            " 2  usage error, or no source queue takes it",
            "78  bad configuration",
        ),
        help=f"""Print what the message in the file MESSAGE (- is standard input) would become, or why it would be
        rejected, and where in its body that stands.

        \b
        {program} explain -c {file} message.json
        {program} explain -c {file} - --header site=Ulm < message.json

        Uses no network and needs no secret. The options set what accompanies the body.
        """,
    )
    @config_option()
    @click.argument("message", metavar="MESSAGE", type=MESSAGE_FILE)
    @envelope_options
    @click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    @click.pass_context
    def explain(ctx: click.Context, /, file: str, message: str, as_json: bool, **options: Any) -> None:
        ctx.exit(_explain(opened, file, message, envelope(**options), json=as_json))

    return explain


def _explain(opened: Opener, file: str, message: str, envelope: Envelope, *, json: bool) -> ExitCode:
    try:
        offline = opened(file)
    except Failed as failed:
        click.echo(str(failed), err=True)
        return exit_code(failed.failure)
    body, name = read_body(message), "message" if message == STANDARD_INPUT else message
    found = []
    for queue in envelope.queues(offline):
        delivery = envelope.delivery(body, queue)
        explanation = offline.explain(delivery)
        found.append((queue, explanation, located(offline, delivery, explanation)))
    if json:
        values = [as_json(explanation, position, queue) for queue, explanation, position in found]
        click.echo(printable(indented_json(values[0] if len(values) == 1 else values), lines=True))
    else:
        texts = [as_text(explanation, position, name) for _, explanation, position in found]
        if len(found) > 1:  # every queue that is bound gets a copy
            texts = [f"queue {queue}\n{text}" for (queue, _, _), text in zip(found, texts, strict=True)]
        click.echo(printable("\n\n".join(texts), lines=True))
    return ExitCode.FAILED if any(explanation.rejection for _, explanation, _ in found) else ExitCode.DONE
