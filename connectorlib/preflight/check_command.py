"""The command `check`: prints what was found, line by line, and returns the exit code."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from connectorlib.dataclass import dataclass
from connectorlib.errors import ConfigurationError, Failed, Kind
from connectorlib.preflight.findings import (
    PLAIN_SIGNS,
    SIGNS,
    Finding,
    Group,
    as_json,
    bad,
    exit_code_of,
    line,
    odd,
    run,
    summary,
)
from connectorlib.preflight.message_options import MESSAGE_FILE, envelope, envelope_options, read_body
from connectorlib.preflight.sample import Sample
from connectorlib.service import logs
from connectorlib.service.cli_options import config_option, exit_codes
from connectorlib.service.exit_codes import ExitCode
from connectorlib.service.reload import Loaded
from connectorlib.shared_settings import Logging


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What was asked for on the command line, beyond the configuration."""

    #: A message to map.
    sample: Sample | None = None
    #: The address of the management API.
    management_url: str | None = None
    #: Whether to send a test notice through the channels of `notify`.
    test_notice: bool = False


NO_OPTIONS = CheckOptions()

notify_option = click.option(
    "--notify", is_flag=True, help="Also send a test notice through every channel of `notify`."
)

#: Given the configuration and the options, returns what to ask.
Planner = Callable[[Loaded, CheckOptions], Sequence[Group]]


def check_command(
    program: str, file: str, *, systems: str, remark: str, load: Callable[[str], Loaded], plan: Planner[Loaded]
) -> click.Command:
    """Return the command of a connector. `systems` it asks, in words; `remark` is one more sentence of its help."""

    @click.command(
        "check",
        help=f"""Check the configuration against the live {systems}, without taking a message.

        One line for each finding: ✔ is as expected, ! is a warning, ✘ must be fixed; the text
        after the arrow says what to do. {remark}

        \b
        {program} check -c {file}
        {program} check -c {file} --sample message.json
        {program} check -c {file} --notify
        {program} check -c {file} --json

        With --sample a message is mapped with the real columns, fields and lookups, and not written. The options after
        it set the properties of the message.
        """,
        epilog=exit_codes(
            " 0  OK (warnings possible)",
            " 1  at least one error",
            " 2  usage error",
            "69  something is unreachable, and there is no other error",
            "77  login or permission refused",
            "78  bad configuration, or does not match what exists",
        ),
    )
    @config_option()
    @click.option("--sample", metavar="FILE", type=MESSAGE_FILE, help="A message to map (- is standard input).")
    @envelope_options
    @click.option(
        "--management-url",
        metavar="URL",
        help="Address of RabbitMQ's management API. [its default port on the first host]",
    )
    @notify_option
    @click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    @click.pass_context
    def command(
        ctx: click.Context,
        /,
        file: str,
        sample: str | None,
        management_url: str | None,
        notify: bool,
        as_json: bool,
        **options: Any,
    ) -> None:
        logs.configure(Logging(level="error"), program)  # the findings are printed
        message = None if sample is None else Sample(sample, read_body(sample), envelope(**options))
        ctx.exit(check(file, load, plan, CheckOptions(message, management_url, notify), json=as_json))

    return command


def check(
    file: str,
    load: Callable[[str], Loaded],
    plan: Planner[Loaded],
    options: CheckOptions = NO_OPTIONS,
    *,
    json: bool,
) -> ExitCode:
    """Print one line for each finding, and return the exit code."""
    signs = SIGNS if can_print("".join(SIGNS.values())) else PLAIN_SIGNS
    found: list[Finding] = []
    for finding in _findings(file, load, plan, options):
        found.append(finding)
        if not json:
            click.echo(line(finding, signs))
    code = exit_code_of(found)
    click.echo(_json_of(found, code) if json else summary(found))
    return code


def _findings(
    file: str, load: Callable[[str], Loaded], plan: Planner[Loaded], options: CheckOptions
) -> Iterator[Finding]:
    try:
        config = load(file)
    except ConfigurationError as error:
        *others, last = map(str, error.problems)
        yield from (bad(error.file, problem, kind=Kind.CONFIGURATION) for problem in others)
        do = "correct the file, or set the variables that it needs; nothing else was checked"
        yield bad(error.file, last, do, Kind.CONFIGURATION)
        return
    except Failed as error:
        yield bad(file, error.failure.text, kind=error.failure.kind)
        return
    yield from (odd(file, warning) for warning in config.warnings)
    yield from run(plan(config, options))


def _json_of(found: Sequence[Finding], code: ExitCode) -> str:
    return json.dumps(as_json(found, code), indent=2, ensure_ascii=not can_print("✔"))


def can_print(text: str) -> bool:
    """Return whether standard output takes these characters."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
