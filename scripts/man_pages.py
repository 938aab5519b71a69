#!/usr/bin/env python3
"""Writes a man page for each program from its commands, as `--help` shows them: scripts/man_pages.py FOLDER.

The day on the pages is SOURCE_DATE_EPOCH (seconds), or today. click-man would write a page for each command, and join
the lines of examples and exit codes.
"""

import datetime
import inspect
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from connectorlib.service.lazy_group import LazyCommand  # noqa: E402  # found through the line above
from connectorlib.version import VERSION  # noqa: E402
from tests.programs import PROGRAMS  # noqa: E402

EXIT_CODES = "Exit codes:\n"
#: Where the Debian package keeps what belongs to a program, and what it is.
FILES = {
    "dbconnector": {
        "/etc/dbconnector/NAME.config": "The configuration of dbconnector@NAME.service and its check.",
        "/etc/dbconnector/NAME.db.pw, /etc/dbconnector/NAME.amqp.pw": "The passwords, readable by root alone.",
        "/var/lib/dbconnector/NAME": "The working directory of the service.",
    },
    "sfconnector": {
        "/etc/sfconnector/config.json": "The configuration of sfconnector.service and its check.",
        "/etc/sfconnector/sf.key, /etc/sfconnector/amqp.pw": "Private key and password, readable by root alone.",
        "/var/lib/sfconnector": "The working directory of the service.",
    },
}
EXAMPLES = {"/usr/share/doc/amqp-connectors/examples": "Configurations to start from."}


def escape(text: str) -> str:
    """Return a text for roff: hyphens can be copied, no line begins with a request, `code` is bold."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"`([^`]+)`", r"\\fB\1\\fR", re.sub(r"^(?=[.'])", r"\\&", text, flags=re.MULTILINE))


def paragraphs(text: str | None) -> Iterator[str]:
    """Yield the paragraphs of a help text; those that click does not wrap (after \\b) stay lines."""
    for each in re.split(r"\n\s*\n", inspect.cleandoc(text or "").strip()):
        lines = each.removeprefix("\b\n")
        if lines != each:
            yield f".PP\n.nf\n{escape(lines)}\n.fi\n"
        elif each:
            yield f".PP\n{escape(' '.join(each.split()))}\n"


def entries(rows: dict[str, str]) -> Iterator[str]:
    """Yield a term and its text for each row."""
    yield from (f".TP\n\\fB{escape(term)}\\fR\n{escape(' '.join(text.split()))}\n" for term, text in rows.items())


def options(ctx: click.Context) -> dict[str, str]:
    """Return the options of a command as its help shows them, but for --help itself."""
    records = (each.get_help_record(ctx) for each in ctx.command.params if isinstance(each, click.Option))
    return dict(filter(None, records))


def commands(ctx: click.Context) -> Iterator[str]:
    """Yield a section for each command of a group, and for those inside it."""
    group = ctx.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if isinstance(command, LazyCommand):
            command = command.command
        if command is None or command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=ctx)
        yield f".SS {escape(inner.command_path)} {escape(' '.join(command.collect_usage_pieces(inner)))}\n"
        yield from paragraphs(command.help)
        yield from entries(options(inner))
        yield from paragraphs(command.epilog)
        if isinstance(command, click.Group):
            yield from commands(inner)


def page(name: str, day: str) -> str:
    """Return the man page of a program; the day is YYYY-MM-DD."""
    group = PROGRAMS[name]
    ctx = click.Context(group, info_name=name)
    first, *rest = paragraphs(group.help)
    summary = first.removeprefix(".PP\n").rstrip(".\n")
    others = ", ".join(f".BR {escape(each)} (1)" for each in PROGRAMS if each != name).replace(", ", " ,\n")
    sections = {
        "NAME": [f"{escape(name)} \\- {summary[0].lower()}{summary[1:]}\n"],
        "SYNOPSIS": [f".B {escape(name)}\n{escape(' '.join(group.collect_usage_pieces(ctx)))}\n"],
        "DESCRIPTION": rest,
        "OPTIONS": entries(options(ctx)),
        "COMMANDS": commands(ctx),
        "EXIT STATUS": paragraphs((group.epilog or "").replace(EXIT_CODES, "")),
        "FILES": entries({**FILES.get(name, {}), **EXAMPLES}),
        "SEE ALSO": [others + "\n"],
    }
    title = f'.TH {escape(name.upper())} 1 {day} "amqp\\-connectors {VERSION}" "User Commands"\n'
    return title + "".join(f".SH {heading}\n{''.join(parts)}" for heading, parts in sections.items())


if __name__ == "__main__":
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    day = datetime.datetime.fromtimestamp(epoch, datetime.UTC).date().isoformat()
    for name in PROGRAMS:
        (Path(sys.argv[1]) / f"{name}.1").write_text(page(name, day))
