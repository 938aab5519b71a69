"""The command `test`: runs the tests of a configuration and tells what differs."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from connectorlib.errors import Failed
from connectorlib.preflight import diff, tests_file
from connectorlib.preflight.check import can_print
from connectorlib.preflight.explain_command import located, queues_of
from connectorlib.preflight.explain_options import Beside
from connectorlib.preflight.explanation import Explanation, Given, Offline
from connectorlib.preflight.made_up_message import made_up
from connectorlib.preflight.tests_file import Trial
from connectorlib.service.process import ExitCode, exit_code
from connectorlib.service.redaction import secrets

_OUTER = ("queue", "exchange", "routing_key")


@dataclass(frozen=True, slots=True)
class Result:
    """How one test went: the lines that say what differs, none if it passed."""

    name: str
    lines: tuple[str, ...] = ()


def test(opener: Callable[[str], Offline], package: str, config: str, tests: str | None, *, as_json: bool) -> ExitCode:
    """Run the tests of a configuration; return 0 if all pass, 1 if one fails, 78 if one of the two files is wrong."""
    try:
        offline = opener(config)
        trials = tests_file.load(tests or tests_file.beside(config), package)
    except Failed as failed:
        click.echo(str(failed), err=True)
        return exit_code(failed.failure)
    results = [run(offline, trial) for trial in trials]
    wrong = [result for result in results if result.lines]
    if as_json:
        click.echo(json.dumps({"tests": [_as_json(result) for result in results]}, indent=2, ensure_ascii=False))
    else:
        for result in results:
            click.echo("\n".join(_told(result)))
        count = len(results)
        click.echo(f"{len(wrong)} of {count} failed" if wrong else f"all {count} passed" if count > 1 else "passed")
    return ExitCode.FAILED if wrong else ExitCode.DONE


def run(offline: Offline, trial: Trial) -> Result:
    """Return how one test went."""
    given = trial.beside
    properties = {name: value for name, value in given.items() if name not in _OUTER}
    try:
        queue = _queue(offline, given)
    except ValueError as error:
        return Result(trial.name, (str(error),))
    delivery = made_up(
        trial.body,
        queue=queue,
        exchange=given.get("exchange", ""),
        routing_key=given.get("routing_key", ""),
        properties=properties,
    )
    explanation = offline.explain(delivery, Given(trial.now, trial.lookups))
    place = located(offline, delivery, explanation)
    return Result(trial.name, tuple(_lines(trial, explanation, place)))


def _lines(trial: Trial, explanation: Explanation, place: Any) -> list[str]:
    found = diff.outcome(explanation, trial.expected, place)
    lines = diff.differs(trial.expected, found)
    return [*lines, *diff.why(explanation, trial.expected, place)] if lines else []


def _queue(offline: Offline, given: Any) -> str:
    """Return the queue that the message comes into. Raise ValueError if that is not clear."""
    named = {name: given.get(name) for name in _OUTER}
    beside = Beside(**named, header=(), message_id=None, correlation_id=None, timestamp=None)
    try:
        queues = queues_of(offline, beside)
    except click.UsageError as error:
        raise ValueError(f"message: {error.message.replace('--', '')}") from error
    if len(queues) > 1:
        raise ValueError(f"message: it comes into {', '.join(queues)}: say which, with queue")
    return queues[0]


def _told(result: Result) -> list[str]:
    signs = ("✔", "✘") if can_print("✔✘") else ("ok", "X ")
    lines = [secrets.redact(line) for line in result.lines]
    return [f"{signs[bool(lines)]} {result.name}", *(f"    {line}".rstrip() for line in lines)]


def _as_json(result: Result) -> dict[str, Any]:
    return {"name": result.name, "passed": not result.lines, "differences": list(result.lines)}
