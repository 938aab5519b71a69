"""The command `explain`: prints what one message or row would become. Asks no network, and needs no secret."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from connectorlib.errors import Failed
from connectorlib.formats.json import JsonFormat
from connectorlib.preflight.explanation import (
    Explanation,
    Offline,
    RowOffline,
    as_json,
    as_text,
    indented_json,
    located,
    row_as_json,
)
from connectorlib.preflight.message_options import (
    MESSAGE_FILE,
    STANDARD_INPUT,
    Decorated,
    Envelope,
    envelope,
    envelope_options,
    read_body,
)
from connectorlib.service.cli_options import config_option, exit_codes
from connectorlib.service.exit_codes import ExitCode
from connectorlib.service.process import exit_code
from connectorlib.shared_settings import Limits
from connectorlib.values.text import printable

Opener = Callable[[str], Offline]


def explain_command(program: str, file: str, opened: Opener, *, rows: bool = False) -> click.Command:
    """Return the command of a connector whose configuration is called `file` in examples. `rows`: it publishes rows
    too, and `opened` returns a `RowOffline`."""

    @click.command("explain", epilog=_epilog(rows=rows), help=_help(program, file, rows=rows))
    @config_option()
    @click.argument("message", metavar="[MESSAGE]" if rows else "MESSAGE", type=MESSAGE_FILE, required=not rows)
    @(_row_option if rows else _no_option)
    @envelope_options
    @click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    @click.pass_context
    def explain(
        ctx: click.Context, /, file: str, message: str | None, as_json: bool, row: str | None = None, **options: Any
    ) -> None:
        if (message is None) is (row is None):
            raise click.UsageError("give a MESSAGE, or a row with --row" if message is None else "--row goes alone")
        if row is not None and any(options.values()):
            raise click.UsageError("--row: exchange, routing key and headers are for a MESSAGE")
        try:
            offline = opened(file)
            if message is not None:
                done = _explain(offline, message, envelope(**options), json=as_json)
            else:
                done = _explain_rows(offline, str(row), json=as_json)
        except Failed as failed:
            click.echo(str(failed), err=True)
            done = exit_code(failed.failure)
        ctx.exit(done)

    return explain


def _help(program: str, file: str, *, rows: bool) -> str:
    row = f"\n    {program} explain -c {file} --row row.json" if rows else ""
    more = (
        """

    A row is a JSON object, the value of each column by its name; {"type": "timestamp", "value": "…"} is one of that
    type. The file may hold a list of rows."""
        if rows
        else ""
    )
    return f"""Print what the message in the file MESSAGE (- is standard input) would become, or why it would be
    rejected, and where in its body the reason is.

    \b
    {program} explain -c {file} message.json
    {program} explain -c {file} - --header site=Ulm < message.json{row}

    Uses no network and needs no secret. The options set the properties of the message.{more}
    """


def _epilog(*, rows: bool) -> str:
    return exit_codes(
        f" 0  the message{' or row' if rows else ''} would be accepted",
        f" 1  it would be dead-lettered{', or the row could not be published' if rows else ''}",
        " 2  usage error, or no source queue takes it",
        "78  bad configuration",
    )


def _row_option(function: Decorated) -> Decorated:
    about = "A row of the query instead of a message; - is standard input."
    return click.option("--row", metavar="FILE", type=MESSAGE_FILE, help=about)(function)


def _no_option(function: Decorated) -> Decorated:
    return function


def _explain(offline: Offline, message: str, envelope: Envelope, *, json: bool) -> ExitCode:
    body, name = read_body(message), "message" if message == STANDARD_INPUT else message
    found = []
    for queue in envelope.queues(offline):
        delivery = envelope.delivery(body, queue)
        explanation = offline.explain(delivery)
        found.append((queue, explanation, located(offline, delivery, explanation)))
    if json:
        _print_json([as_json(explanation, position, queue) for queue, explanation, position in found])
    else:
        texts = [as_text(explanation, position, name) for _, explanation, position in found]
        if len(found) > 1:  # every queue that is bound gets a copy
            texts = [f"queue {queue}\n{text}" for (queue, _, _), text in zip(found, texts, strict=True)]
        _print("\n\n".join(texts))
    return _exit_code([explanation for _, explanation, _ in found])


def _explain_rows(offline: Offline, file: str, *, json: bool) -> ExitCode:
    assert isinstance(offline, RowOffline)  # where there is the option
    name = "row" if file == STANDARD_INPUT else file
    rows = _rows_of(read_body(file), name)
    try:
        found = offline.explain_rows(rows)
    except ValueError as error:
        raise click.UsageError(f"{name}: {error}") from error
    if json:
        _print_json([row_as_json(explanation) for explanation in found])
    else:
        texts = [as_text(each, None, _name(name, number, found)) for number, each in enumerate(found)]
        _print("\n\n".join([*texts, *(["\n".join(lines)] if (lines := list(offline.query_lines())) else [])]))
    return _exit_code(found)


def _rows_of(body: bytes, name: str) -> Sequence[Mapping[str, Any]]:
    """Return the rows of a file. Raise UsageError if it has none."""
    try:
        rows = JsonFormat(Limits()).decode(body)
    except Failed as failed:
        raise click.UsageError(f"{name} is not JSON: {failed.failure.text}") from failed
    if not rows or not all(isinstance(row, Mapping) for row in rows):
        raise click.UsageError(f'{name}: expected a row such as {{"id": 7, "device": "pump-3"}}, or a list of rows')
    return rows


def _name(name: str, number: int, found: Sequence[Explanation]) -> str:
    return f"{name}, {number + 1} of {len(found)}" if len(found) > 1 else name


def _print_json(values: Sequence[Any]) -> None:
    _print(indented_json(values[0] if len(values) == 1 else list(values)))


def _print(text: str) -> None:
    click.echo(printable(text, lines=True))


def _exit_code(found: Sequence[Explanation]) -> ExitCode:
    return ExitCode.FAILED if any(explanation.rejection for explanation in found) else ExitCode.DONE
