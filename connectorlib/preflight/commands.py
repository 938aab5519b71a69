"""The commands that prove a configuration, alike in both connectors. Imports only click and the standard library before
a command runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from connectorlib.preflight.explain_options import beside, beside_options
from connectorlib.service.cli_commands import config_option, exit_codes

if TYPE_CHECKING:
    from connectorlib.preflight.explanation import Offline
    from connectorlib.preflight.parallel import Group
    from connectorlib.preflight.sample import Sample


#: Shells complete the names of files; whether it is there is told when it is read.
MESSAGE = click.Path(dir_okay=False, allow_dash=True)


@dataclass(frozen=True, slots=True)
class Proofs:
    """What a connector has to give. Each imports what it needs when it is called."""

    program: str
    #: How its configuration is called in examples.
    file: str
    #: What a message becomes: `rows`, `Cases`.
    becomes: str
    offline: "Callable[[str], Offline]"
    #: Loads the configuration, secrets and all.
    load: Callable[[str], Any]
    #: What is to be asked of the live systems: see `checks.command`.
    plan: "Callable[[Any, Sample | None, str | None], Sequence[Group]]"
    #: What they are, in words.
    systems: str
    #: What else there is to know of `check`.
    remark: str


def add_proofs(group: click.Group, proofs: Proofs) -> None:
    """Add the commands to those of a connector."""
    for command in (_check, _explain, _test):
        group.add_command(command(proofs))


def _check(proofs: Proofs) -> click.Command:
    @click.command(
        "check",
        short_help=f"Prove it against the live {proofs.systems}.",
        help=f"""Prove the configuration against the live {proofs.systems}, without taking a message.

        One line for each finding: ✔ is as it should be, ! works but is worth a look, ✘ has to be put right; behind the
        arrow stands what to do. {proofs.remark}

        \b
        {proofs.program} check -c {proofs.file}
        {proofs.program} check -c {proofs.file} --sample message.json
        {proofs.program} check -c {proofs.file} --json

        With --sample a message is mapped, with what the live systems say; it is written nowhere. The options after it
        stand for what travels beside its body.
        """,
        epilog=exit_codes(
            " 0  nothing is wrong (there may be lines with !)",
            " 1  something is wrong",
            " 2  wrong usage",
            "69  something cannot be reached, and nothing else is wrong",
            "77  a log-in or a right is refused",
            "78  the configuration is wrong, or does not fit what is there",
        ),
    )
    @config_option()
    @click.option("--sample", metavar="FILE", type=MESSAGE, help="A message to map (- is standard input).")
    @beside_options
    @click.option("--management-url", metavar="URL", help="Of RabbitMQ's management API, else looked for on its port.")
    @click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
    @click.pass_context
    def check(
        ctx: click.Context,
        /,
        file: str,
        sample: str | None,
        management_url: str | None,
        as_json: bool,
        **given: Any,
    ) -> None:
        from connectorlib.preflight import check as command
        from connectorlib.preflight.explain_command import read_body
        from connectorlib.preflight.sample import Sample
        from connectorlib.service import logs  # late, see the module
        from connectorlib.shared_settings import Logging

        logs.configure(Logging(level="error"), proofs.program)  # what there is to say is printed
        message = None if sample is None else Sample(sample, read_body(sample), beside(given))
        ctx.exit(command.check(proofs.load, proofs.plan, file, message, management_url=management_url, json=as_json))

    return check


def _explain(proofs: Proofs) -> click.Command:
    @click.command(
        "explain",
        short_help=f"Print the {proofs.becomes} that a message would become; asks nobody.",
        epilog=exit_codes(
            " 0  the message would be taken",
            " 1  it would become a dead letter",
            " 2  wrong usage, or no source queue takes it",
            "78  the configuration is wrong",
        ),
        help=f"""Print what the message in the file MESSAGE (- is standard input) would become, or why it would be
        rejected, and where in its body that stands.

        \b
        {proofs.program} explain -c {proofs.file} message.json
        {proofs.program} explain -c {proofs.file} - --header site=Ulm < message.json

        Asks no network and needs no secret; the options stand for what travels beside the body.
        """,
    )
    @config_option()
    @click.argument("message", metavar="MESSAGE", type=MESSAGE)
    @beside_options
    @click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
    @click.pass_context
    def explain(ctx: click.Context, /, file: str, message: str, as_json: bool, **given: Any) -> None:

        from connectorlib.preflight import explain_command  # late, see the module

        ctx.exit(explain_command.explain(proofs.offline, file, message, beside(given), json=as_json))

    return explain


def _test(proofs: Proofs) -> click.Command:
    @click.command(
        "test",
        short_help=f"Run its tests: messages in, {proofs.becomes} out; asks nobody.",
        epilog=exit_codes(
            " 0  all pass",
            " 1  one fails",
            " 2  wrong usage",
            "78  one of the two files is wrong",
        ),
        help=f"""Run the tests of a configuration: each is a message, and what it has to become.

        \b
        {proofs.program} test -c {proofs.file}
        {proofs.program} test -c {proofs.file} --tests other.tests.json

        Asks no network and needs no secret. A test that fails is told with what differs. `schema --tests` prints the
        JSON Schema of the file.
        """,
    )
    @config_option()
    @click.option(
        "--tests",
        metavar="FILE",
        type=MESSAGE,
        help="The tests; without it db.config.tests.json (of config.json config.tests.json).",
    )
    @click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
    @click.pass_context
    def test(ctx: click.Context, /, file: str, tests: str | None, as_json: bool) -> None:
        from connectorlib.preflight import config_tests  # late, see the module

        ctx.exit(config_tests.test(proofs.offline, proofs.program, file, tests, as_json=as_json))

    return test


def tests_schema(program: str) -> str:
    """Return the JSON Schema of a connector's tests file as `schema --tests` prints it."""
    from connectorlib.config import printed  # late, see the module
    from connectorlib.preflight.tests_file import schema

    return printed(schema(program))
