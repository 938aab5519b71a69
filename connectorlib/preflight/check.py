"""The command `check`: prints what was found, line by line, and says the exit code."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

import click

from connectorlib.errors import ConfigurationError, Failed, Kind
from connectorlib.preflight.findings import PLAIN_SIGNS, SIGNS, Finding, as_json, bad, exit_code_of, line, odd, summary
from connectorlib.preflight.parallel import Group, run
from connectorlib.preflight.sample import Sample
from connectorlib.service.process import ExitCode


class Configured(Protocol):
    @property
    def warnings(self) -> tuple[str, ...]:
        """What looks wrong in it, though it is not."""


Loaded = TypeVar("Loaded", bound=Configured)
#: Given the configuration, a sample (or none) and the address of the management API, returns what is to be asked.
Planner = Callable[[Loaded, Sample | None, str | None], Sequence[Group]]


def check(
    load: Callable[[str], Loaded],
    plan: Planner[Loaded],
    file: str,
    sample: Sample | None,
    *,
    management_url: str | None,
    json: bool,
) -> ExitCode:
    """Print one line for each finding; return 0 if nothing is wrong, 1 if something is, 69 if something cannot be
    reached, 77 if a log-in or a right is refused, 78 if the configuration is wrong or does not fit what is there."""
    signs = SIGNS if can_print("".join(SIGNS.values())) else PLAIN_SIGNS
    found: list[Finding] = []
    for finding in _findings(load, plan, file, sample, management_url):
        found.append(finding)
        if not json:
            click.echo(line(finding, signs))
    code = exit_code_of(found)
    click.echo(_printed(found, code) if json else summary(found))
    return code


def _findings(
    load: Callable[[str], Loaded], plan: Planner[Loaded], file: str, sample: Sample | None, management_url: str | None
) -> Iterator[Finding]:
    try:
        config = load(file)
    except ConfigurationError as error:
        do = "put it right; nothing else was looked at"
        yield from (bad(error.file, str(problem), do, Kind.CONFIGURATION) for problem in error.problems)
        return
    except Failed as error:
        yield bad(file, error.failure.text, kind=error.failure.kind)
        return
    yield from (odd(file, warning) for warning in config.warnings)
    yield from run(plan(config, sample, management_url))


def _printed(found: Sequence[Finding], code: ExitCode) -> str:
    return json.dumps(as_json(found, code), indent=2, ensure_ascii=not can_print("✔"))


def can_print(text: str) -> bool:
    """Return whether standard output takes these characters."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
