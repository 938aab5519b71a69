"""`export` and `import`: writes dead letters to a file, and publishes those of a file."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

import click

from connectorlib.amqp import Publisher
from connectorlib.amqp.field_tables import received
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import Delivery, Outgoing, Properties
from connectorlib.service.exit_codes import ExitCode
from deadletterqueue.filter import Chosen
from deadletterqueue.jsonl import line_of, outgoing_of
from deadletterqueue.letter import Letter, letter
from deadletterqueue.options import EXIT_CODES, Connection, Filters, connection_options, filter_options, json_option
from deadletterqueue.session import letters, open_session, outcome, reported
from deadletterqueue.terminal import json_text, print_result, progress

#: Messages of one call to the publisher.
CHUNK = 500
CHUNK_BYTES = 16 * 1024 * 1024
#: Seconds to wait for the confirms of a chunk.
CONFIRM_S = 60.0


def run_export(
    connection: Connection, filters: Filters, file: str, *, overwrite: bool, as_json: bool = False
) -> ExitCode:
    """Write letters to a file (`-`: standard output), one a line; the queue stays as it is."""
    chosen = filters.chooser()
    count = 0
    depth = None if filters.given else filters.limit
    with (
        _written(file, overwrite) as out,
        open_session(connection, filters.source) as session,
        session.browse(limit=depth) as walk,
        progress("exporting") as show,
    ):
        for letter in islice(filter(chosen, letters(walk)), filters.limit):
            out.write(json_text(line_of(letter.delivery)) + "\n")
            count += 1
            show(walk.looked, walk.total)
    text = f"{count:,} of {walk.ready:,} in {walk.queue} exported"
    # The lines themselves may be on standard output.
    print_result(
        text, {"queue": walk.queue, "exported": count}, as_json=as_json, file=sys.stderr if file == "-" else None
    )
    return outcome(walk, ExitCode.DONE if count else ExitCode.NOTHING)


def run_import(connection: Connection, filters: Filters, file: str, *, as_json: bool = False) -> ExitCode:
    """Publish the messages of a file to the dead-letter queue. Nothing is sent unless every line is valid."""
    chosen = filters.chooser()
    with _readable(file) as lines, open_session(connection, filters.source) as session:
        total = sum(1 for _ in islice(_messages(lines, file, session.queue, chosen), filters.limit))
        lines.seek(0)
        messages = islice(_messages(lines, file, session.queue, chosen), filters.limit)
        count = 0
        with progress("importing") as show:
            for chunk in _chunks(messages):
                if session.stop.is_set():
                    raise _stopped(count, total)
                count += _publish(session.broker.publisher, chunk, count, total)
                show(count, total)
    print_result(
        f"{count:,} imported into {session.queue}", {"queue": session.queue, "imported": count}, as_json=as_json
    )
    return ExitCode.DONE if count else ExitCode.NOTHING


# -- files


@contextmanager
def _written(file: str, overwrite: bool) -> Iterator[IO[str]]:
    """Open a file that only its owner may read. It appears under its name when it is complete."""
    if file == "-":
        yield sys.stdout
        sys.stdout.flush()
        return
    target = Path(file)
    if target.exists() and not overwrite:
        raise _wrong(f"{file} exists; --overwrite replaces it")
    try:
        descriptor, name = tempfile.mkstemp(dir=target.absolute().parent, prefix=f".{target.name}.", suffix=".part")
    except OSError as error:
        raise _wrong(f"{file} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(target)
    except OSError as error:
        raise _wrong(f"{file} cannot be written: {error.strerror}") from error
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def _readable(file: str) -> Iterator[IO[str]]:
    """Open a file that can be read twice; standard input is copied to a temporary file."""
    if file != "-":
        try:
            stream = open(file, encoding="utf-8")  # noqa: SIM115  # closed below
        except OSError as error:
            raise _wrong(f"{file} cannot be read: {error.strerror}") from error
        with stream:
            yield stream
        return
    with tempfile.TemporaryFile("w+", encoding="utf-8") as kept:
        for line in sys.stdin:
            kept.write(line)
        kept.seek(0)
        yield kept


def _messages(lines: IO[str], file: str, queue: str, chosen: Chosen) -> Iterator[Outgoing]:
    """Return the chosen messages of a file. Raise Failed for a line that is not valid."""
    number = 0
    try:
        for line in lines:
            number += 1
            if line.strip():
                outgoing = outgoing_of(json.loads(line), queue)
                if chosen(_letter(outgoing)):
                    yield outgoing
    except UnicodeDecodeError as error:
        raise _wrong(f"{file}, behind line {number}: not UTF-8; nothing was imported") from error
    except (ValueError, RecursionError) as error:
        raise _wrong(f"{file}, line {number}: {error}; nothing was imported") from error


def _letter(outgoing: Outgoing) -> Letter:
    """Return a message of a file as a letter, for the filters."""
    properties = Properties(**{**outgoing.properties, "headers": received(outgoing.properties["headers"])})
    delivery = Delivery(0, 0, outgoing.routing_key, "", outgoing.routing_key, False, properties, outgoing.body, 0.0)
    return letter(delivery)


def _chunks(messages: Iterator[Outgoing]) -> Iterator[list[Outgoing]]:
    chunk: list[Outgoing] = []
    size = 0
    for message in messages:
        chunk.append(message)
        size += len(message.body)
        if len(chunk) == CHUNK or size > CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _publish(publisher: Publisher, chunk: list[Outgoing], done: int, total: int) -> int:
    """Publish a chunk and wait for the confirms. Raise Failed, with the number of messages that were imported."""
    started = time.monotonic()
    ticket = publisher.submit(chunk)
    if not ticket.wait(CONFIRM_S):
        ticket.abandon()
        waited = time.monotonic() - started
        text = f"no confirm for {waited:.0f} s: {done:,} of {total:,} are imported for sure, maybe some more"
        raise Failed(Failure(Kind.UNAVAILABLE, "unconfirmed", text, "import"))
    failures = [failure for failure in ticket.results if failure is not None]
    if failures:
        safe = done + len(chunk) - len(failures)
        text = f"{failures[0].text}; {safe:,} of {total:,} are imported"
        raise Failed(Failure(failures[0].kind, failures[0].code, text, "import"))
    return len(chunk)


def _stopped(count: int, total: int) -> Failed:
    return Failed(Failure(Kind.UNKNOWN, "stopped", f"{count:,} of {total:,} are imported", "import"))


def _wrong(text: str) -> Failed:
    return Failed(Failure(Kind.CONFIGURATION, "configuration", text))


@click.command(epilog=EXIT_CODES)
@click.argument("target", metavar="[FILE]", type=click.Path(dir_okay=False, allow_dash=True), default="-")
@filter_options
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@json_option
@connection_options
@click.pass_context
def export(
    ctx: click.Context, connection: Connection, filters: Filters, target: str, overwrite: bool, as_json: bool
) -> None:
    """Write complete dead letters into FILE as JSON Lines (- is standard output). The queue does not change.

    \b
    deadletter-queue export letters.jsonl --vhost plant
    deadletter-queue export --where code=22001 | jq .headers
    """
    ctx.exit(reported(lambda: run_export(connection, filters, target, overwrite=overwrite, as_json=as_json)))


@click.command("import", epilog=EXIT_CODES)
@click.argument("origin", metavar="FILE", type=click.Path(dir_okay=False, allow_dash=True))
@filter_options
@json_option
@connection_options
@click.pass_context
def import_(ctx: click.Context, connection: Connection, filters: Filters, origin: str, as_json: bool) -> None:
    """Put the messages of FILE, as `export` writes it, at the end of the dead-letter queue.

    \b
    deadletter-queue import letters.jsonl --vhost plant
    deadletter-queue import originals.jsonl --where code=22001

    The broker confirms each message. Nothing is sent unless every line is valid.
    """
    ctx.exit(reported(lambda: run_import(connection, filters, origin, as_json=as_json)))
