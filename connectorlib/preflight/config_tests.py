"""The command `test`: runs the tests of a configuration and prints what differs."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed
from connectorlib.formats.body_position import TextPosition
from connectorlib.preflight import diff, tests_file
from connectorlib.preflight.check_command import can_print
from connectorlib.preflight.explanation import Explanation, Given, Offline, RowOffline, indented_json, located, together
from connectorlib.preflight.message_options import MESSAGE_FILE
from connectorlib.preflight.tests_file import ConfigTest
from connectorlib.service.cli_options import config_option, exit_codes
from connectorlib.service.exit_codes import ExitCode
from connectorlib.service.process import exit_code
from connectorlib.service.redaction import secrets
from connectorlib.values.text import printable


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one test: the lines that differ, none if it passed."""

    name: str
    lines: tuple[str, ...] = ()


def config_tests_command(program: str, file: str, opened: Callable[[str], Offline]) -> click.Command:
    """Return the command of a connector whose configuration is called `file` in examples."""

    @click.command(
        "test",
        epilog=exit_codes(
            " 0  all pass",
            " 1  at least one fails",
            " 2  usage error",
            "78  one of the two files is invalid",
        ),
        help=f"""Run the tests of a configuration: each is a message and what it has to become.

        \b
        {program} test -c {file}
        {program} test -c {file} --tests other.tests.json

        Uses no network and needs no secret. For a failed test it prints the differences. `schema --tests` prints the
        JSON Schema of the file.
        """,
    )
    @config_option()
    @click.option(
        "--tests",
        metavar="FILE",
        type=MESSAGE_FILE,
        help="The tests file. [db.config.tests.json for db.config, config.tests.json for config.json]",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    @click.pass_context
    def test(ctx: click.Context, /, file: str, tests: str | None, as_json: bool) -> None:
        try:
            offline = opened(file)
            if tests is None and not Path(tests_file.path_for(file)).exists():
                click.echo("\n".join(_beginning(program, file, offline)), err=True)
                ctx.exit(ExitCode.BAD_CONFIGURATION)
            wanted = tests_file.load(tests or tests_file.path_for(file), program)
        except Failed as failed:
            click.echo(str(failed), err=True)
            ctx.exit(exit_code(failed.failure))
        ctx.exit(_report([run(offline, each) for each in wanted], as_json=as_json))

    return test


def _beginning(program: str, config: str, offline: Offline) -> Iterator[str]:
    """Yield how to begin where there is no tests file."""
    yield f"{config} has no tests yet. Write the first into {tests_file.path_for(config)}, in this form:"
    yield ""
    yield indented_json({"tests": [offline.example()]})
    yield ""
    option = "--row row.json" if "row" in offline.example() else "message.json"
    yield f"Put in an input of yours. `{program} explain -c {config} {option} --json` prints what has to be expected."


def _report(results: list[Result], *, as_json: bool) -> ExitCode:
    count, wrong = len(results), sum(bool(result.lines) for result in results)
    if as_json:
        found = {"tests": [_as_json(result) for result in results]}
        click.echo(printable(json.dumps(found, indent=2, ensure_ascii=False), lines=True))
    else:
        for result in results:
            click.echo("\n".join(printable(line, lines=True) for line in _lines_of(result)))
        click.echo(f"{wrong} of {count} failed" if wrong else f"all {count} passed" if count > 1 else "passed")
    return ExitCode.FAILED if wrong else ExitCode.DONE


def run(offline: Offline, test: ConfigTest) -> Result:
    """Run one test."""
    try:
        explanation, position = _explained(offline, test)
    except (ValueError, Failed) as error:
        return Result(test.name, (str(error),))
    found = diff.outcome(explanation, test.expected, position)
    if lines := diff.differences(test.expected, found):
        lines += diff.unexpected_rejection(explanation, test.expected, position)
    return Result(test.name, tuple(lines))


def _explained(offline: Offline, test: ConfigTest) -> tuple[Explanation, TextPosition | None]:
    """Return what the input becomes, and where in it stands what is wrong. Raise Failed where the configuration is not
    for such an input, ValueError for an input that is none."""
    given = Given(test.now, test.lookups)
    if test.row is not None:
        assert isinstance(offline, RowOffline)  # the schema has rows
        rows = test.row if isinstance(test.row, list) else [test.row]
        return together(offline.explain_rows(rows, given)), None
    delivery = test.envelope.delivery(test.body, _queue(offline, test))
    explanation = offline.explain(delivery, given)
    return explanation, located(offline, delivery, explanation)


def _queue(offline: Offline, test: ConfigTest) -> str:
    """Return the queue that the message reaches. Raise ValueError if that is not clear."""
    try:
        queues = test.envelope.queues(offline)
    except click.UsageError as error:
        raise ValueError(f"message: {error.message.replace('--', '')}") from error
    if len(queues) > 1:
        raise ValueError(f"message: it comes into {', '.join(queues)}: say which, with queue")
    return queues[0]


def _lines_of(result: Result) -> list[str]:
    signs = ("✔", "✘") if can_print("✔✘") else ("ok", "X ")
    lines = [secrets.redact(line) for line in result.lines]
    return [f"{signs[bool(lines)]} {result.name}", *(f"    {line}".rstrip() for line in lines)]


def _as_json(result: Result) -> dict[str, Any]:
    return {"name": result.name, "passed": not result.lines, "differences": list(result.lines)}
