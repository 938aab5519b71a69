"""`trace`: prints what became of each delivery of a message, from the journal of the connectors."""

from collections.abc import Iterator, Sequence
from typing import Any

import click

from connectorlib.amqp import Broker
from connectorlib.monitoring.delivery_journal import Step, steps
from connectorlib.service.exit_codes import ExitCode
from connectorlib.shared_settings import Journal
from deadletterqueue.options import EXIT_CODES, Connection, connection_options, json_option
from deadletterqueue.session import open_session, reported
from deadletterqueue.terminal import json_text, local

#: Messages of the journal that are in flight.
PREFETCH = 100
#: Seconds without a message after which the end of the journal is reached.
END_S = 2.0


def run_trace(connection: Connection, message_id: str, stream: str, *, as_json: bool) -> ExitCode:
    """Print the deliveries of a message, the oldest first."""
    with open_session(connection) as session:
        found = sorted(read(session.broker, stream, message_id), key=lambda step: step.at)
    if as_json:
        print(json_text([_plain(step) for step in found]))
    elif found:
        print("\n".join(map(_line, found)))
    else:
        print(f"message {message_id!r} is not in the journal {stream!r}")
    return ExitCode.DONE if found else ExitCode.NOTHING


def read(broker: Broker, stream: str, message_id: str) -> Iterator[Step]:
    """Yield what the journal has about a message, up to its end. Raise Failed."""
    with broker.channel() as channel:
        channel.queue_declare(stream, passive=True)  # that it is missing is told as such
    consumer = broker.consumer(stream, PREFETCH)
    consumer.from_start = True
    consumer.open()
    while batch := consumer.take(PREFETCH, 0.0, END_S):
        for delivery in batch:
            yield from steps(delivery.body, message_id)
        consumer.settle(batch[0].generation, [delivery.tag for delivery in batch])
    consumer.requeue()


def _plain(step: Step) -> dict[str, Any]:
    headers = step.properties.headers or {}
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
        "replays": _replays(headers),
    }


def _replays(headers: Any) -> int:
    value = headers.get("dead-replays", 0)
    return value if isinstance(value, int) else 0


def _line(step: Step) -> str:
    why = ": ".join(part for part in (step.place, step.text) if part)
    notes = ["redelivered"] if step.redelivered else []
    if replays := _replays(step.properties.headers or {}):
        notes.append(f"sent back {replays}×")
    what = " ".join(part for part in (step.outcome, step.code, why) if part)
    return f"{local(step.at)}  {step.connector} {step.name}  {step.queue}  {what}{_in_brackets(notes)}"


def _in_brackets(notes: Sequence[str]) -> str:
    return f" ({', '.join(notes)})" if notes else ""


@click.command(epilog=EXIT_CODES)
@click.argument("message_id")
@click.option("--stream", default=Journal().stream, show_default=True, help="The stream that holds the journal.")
@json_option
@connection_options
@click.pass_context
def trace(ctx: click.Context, connection: Connection, message_id: str, stream: str, as_json: bool) -> None:
    """Print what became of each delivery of a message: written, retried, dead-lettered, sent back.

    \b
    deadletter-queue trace p-7-4711 --vhost plant
    deadletter-queue trace p-7-4711 -c db.config --json

    The connectors write the journal if their configuration has the section `journal`. Exit code 3: the message is not
    in it.
    """
    ctx.exit(reported(lambda: run_trace(connection, message_id, stream, as_json=as_json)))
