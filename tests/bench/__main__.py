"""`python -m tests.bench`: the connectors beside their limits and naive twins, in one run on services of its own."""

import re
import shutil
from pathlib import Path

import click

from tests.bench import running, soaking, table
from tests.bench.cases import CASES

#: Of the queue in most cases; larger rows and slower calls have fewer.
MESSAGES, QUICK_MESSAGES = 60_000, 15_000


@click.command()
@click.option("--quick", is_flag=True, help="Only the cases with a ratio to hold, with fewer messages.")
@click.option("--only", metavar="PATTERN", help="Only cases whose name has this (a regular expression).")
@click.option("--list", "listing", is_flag=True, help="Show the names and stop.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="The median of so many is shown.")
@click.option(
    "--messages", type=click.IntRange(100), help=f"In the queue. [default: {MESSAGES}, quick {QUICK_MESSAGES}]"
)
@click.option("--soak", type=click.IntRange(2), metavar="SECONDS", help="Instead: is its memory flat so long?")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures of all runs there.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the table there, between its marks.")
def main(
    *,
    quick: bool,
    only: str | None,
    listing: bool,
    rounds: int,
    messages: int | None,
    soak: int | None,
    json_file: Path | None,
    markdown: Path | None,
) -> None:
    """Measure each case beside its limit and its naive twin, in turns."""
    cases = [case for case in CASES if case.quick or not quick]
    cases = [case for case in cases if re.search(only or "", case.name, re.IGNORECASE)]
    if soak:
        click.echo(soaking.run(soak, table.say))
        return
    if listing:
        click.echo("\n".join(case.name for case in cases))
        return
    for case in cases:
        if not is_there(case.needs):
            table.say(f"{case.name}: left out, for there is no {case.needs}")
    cases = [case for case in cases if is_there(case.needs)]
    if not cases:
        raise click.ClickException("no such case; --list shows them")
    report = running.run(cases, messages or (QUICK_MESSAGES if quick else MESSAGES), rounds, table.say)
    table.show(report)
    if json_file:
        json_file.write_text(table.as_json(report))
    if markdown:
        old = markdown.read_text() if markdown.exists() else ""
        markdown.write_text(table.put_into(old, table.as_markdown(report)))


def is_there(program: str) -> bool:
    return not program or shutil.which(program) is not None


if __name__ == "__main__":
    main()
