"""`trace`: prints what became of each delivery of a message, from the journal of the connectors."""

import sys
from typing import Any

import click

from connectorlib.monitoring.delivery_journal import Step
from connectorlib.service.exit_codes import ExitCode
from connectorlib.values.text import printable
from deadletterqueue.broker_login import journal_stream
from deadletterqueue.options import EXIT_CODES, Connection, connection_options, json_option, stream_option
from deadletterqueue.session import open_session, reported
from deadletterqueue.terminal import json_text, progress
from deadletterqueue.trace import line, read, replays, summary


def run_trace(connection: Connection, message_id: str, stream: str | None, *, as_json: bool) -> ExitCode:
    """Print the deliveries of a message, the oldest first."""
    stream = stream or journal_stream(connection)
    with open_session(connection) as session, progress("reading the journal") as show:
        found = read(session, stream, message_id, show)
    note = printable(summary(found, message_id, stream))
    if as_json:
        print(json_text([_plain(step) for step in found]))
    elif found:
        print("\n".join(printable("  ".join(line(step))) for step in found))
    if note:
        print(note, file=sys.stderr if as_json or found else sys.stdout)
    return ExitCode.DONE if found else ExitCode.NOTHING


def _plain(step: Step) -> dict[str, Any]:
    return {
        "time": step.at.isoformat(timespec="milliseconds"),
        "connector": step.connector,
        "name": step.name,
        "queue": step.queue,
        "routing_key": step.routing_key,
        "outcome": step.outcome,
        "code": step.code,
        "place": step.place,
        "text": step.text,
        "redelivered": step.redelivered,
        "replays": replays(step),
    }


@click.command(epilog=EXIT_CODES)
@click.argument("message_id")
@stream_option
@json_option
@connection_options
@click.pass_context
def trace(ctx: click.Context, connection: Connection, message_id: str, stream: str | None, as_json: bool) -> None:
    """Print what became of each delivery of a message: written, retried, dead-lettered, sent back.

    \b
    deadletter-queue trace p-7-4711 --vhost plant
    deadletter-queue trace p-7-4711 -c db.config --json

    The connectors write the journal if their configuration has the section `journal`. Exit code 3: the message is not
    in it.
    """
    ctx.exit(reported(lambda: run_trace(connection, message_id, stream, as_json=as_json)))
