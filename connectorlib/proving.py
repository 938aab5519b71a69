"""The commands that prove a configuration, alike in both connectors. Imports only click and the standard library before
a command runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from connectorlib.commandline import config_option
from connectorlib.explaining.options import beside, beside_options

if TYPE_CHECKING:
    from connectorlib.explaining.explanation import Offline


@dataclass(frozen=True, slots=True)
class Proofs:
    """What a connector has to give. Each imports what it needs when it is called."""

    program: str
    #: What a message becomes: `rows`, `Cases`.
    becomes: str
    offline: "Callable[[str], Offline]"


def add_proofs(group: click.Group, proofs: Proofs) -> None:
    """Add the commands to those of a connector."""
    for command in (_explain,):
        group.add_command(command(proofs))


def _explain(proofs: Proofs) -> click.Command:
    @click.command("explain", short_help=f"Print the {proofs.becomes} that a message would become; asks nobody.")
    @config_option()
    @click.argument("message", metavar="MESSAGE")
    @beside_options
    @click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
    @click.pass_context
    def explain(ctx: click.Context, /, file: str, message: str, as_json: bool, **given: Any) -> None:
        """Print what the message in the file MESSAGE (- is standard input) would become, or why it would be rejected,
        and where in its body that stands.

        Asks no network and needs no secret; the options stand for what travels beside the body. Exits with 0 if the
        message would be taken, 1 if it would become a dead letter.
        """
        from connectorlib.explaining import command  # late, see the module

        ctx.exit(command.explain(proofs.offline, file, message, beside(given), json=as_json))

    return explain
