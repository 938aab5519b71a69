"""`export`, `import` and `purge`: writes dead letters to a file, publishes those of a file, removes them for good."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

import click

from connectorlib.amqp import Publisher
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import Delivery, Outgoing, Properties
from connectorlib.service.process import ExitCode
from deadletterqueue.filter import Chosen
from deadletterqueue.jsonl import line_of, outgoing_of
from deadletterqueue.letter import Letter, letter
from deadletterqueue.options import EXIT_CODES, Connection, Filters, connection_options, filter_options, json_option
from deadletterqueue.session import Session, letters, open_session, reported
from deadletterqueue.terminal import Progress, json_text, progress

#: Messages of one call to the publisher.
CHUNK = 500
CHUNK_BYTES = 16 * 1024 * 1024
#: Seconds to wait for the confirms of a chunk.
CONFIRM_S = 60.0
#: Letters that are purged with one ack call.
ACK_CHUNK = 100

#: Given what is about to be done, return whether to do it.
Ask = Callable[[str], bool]


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
    _tell(text, {"queue": walk.queue, "exported": count}, as_json=as_json, file=sys.stderr if file == "-" else None)
    return ExitCode.DONE if count else ExitCode.NOTHING


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
    _tell(f"{count:,} imported into {session.queue}", {"queue": session.queue, "imported": count}, as_json=as_json)
    return ExitCode.DONE if count else ExitCode.NOTHING


def run_purge(connection: Connection, filters: Filters, ask: Ask, *, as_json: bool = False) -> ExitCode:
    """Remove letters for good. They are counted first; letters that arrive meanwhile stay."""
    chosen = filters.chooser()
    with open_session(connection, filters.source) as session:
        count = _count(session, filters, chosen)
        if not count:
            _tell(f"nothing to purge in {session.queue}", {"queue": session.queue, "purged": 0}, as_json=as_json)
            return ExitCode.NOTHING
        if not ask(f"Remove {count:,} dead letters from {session.queue} for good?"):
            return ExitCode.FAILED
        purged = _purge(session, filters, chosen, count)
    _tell(f"{purged:,} purged from {session.queue}", {"queue": session.queue, "purged": purged}, as_json=as_json)
    return ExitCode.DONE


def _tell(text: str, values: dict[str, Any], *, as_json: bool, file: IO[str] | None = None) -> None:
    """Print the result: as text on standard error, as JSON on standard output unless `file` is given."""
    print(json_text(values) if as_json else text, file=(file or sys.stdout) if as_json else sys.stderr)


def _count(session: Session, filters: Filters, chosen: Chosen) -> int:
    """Return how many letters are chosen; without browsing if no filter is given."""
    whole = session.browse(limit=filters.limit)
    if not filters.given:
        return whole.count()
    with session.browse() as walk, progress("counting") as show:
        found = 0
        for each in letters(walk):
            show(walk.looked, walk.total)
            found += chosen(each)
            if found == filters.limit:
                break
    return found


def _purge(session: Session, filters: Filters, chosen: Chosen, count: int) -> int:
    with progress("purging") as show:
        return purge_letters(session, chosen, count, depth=None if filters.given else count, show=show)


def purge_letters(session: Session, chosen: Chosen, count: int, *, depth: int | None, show: Progress) -> int:
    """Remove the first `count` chosen letters among the first `depth`; return how many were removed."""
    done = 0
    waiting: list[Delivery] = []
    with session.browse(limit=depth, removing=True) as walk:
        for each in islice(filter(chosen, letters(walk)), count):
            waiting.append(each.delivery)
            if len(waiting) == ACK_CHUNK:
                walk.ack(*waiting)
                done += len(waiting)
                waiting.clear()
            show(done, count)
        walk.ack(*waiting)
        done += len(waiting)
    return done


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
    properties = Properties(**outgoing.properties)
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
@click.option("--overwrite", is_flag=True, help="Replace FILE when it exists.")
@json_option
@connection_options
@click.pass_context
def export(
    ctx: click.Context, connection: Connection, filters: Filters, target: str, overwrite: bool, as_json: bool
) -> None:
    """Write dead letters, complete, into FILE as JSON Lines (- is standard output). The queue stays as it is.

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

    Each is confirmed by the broker. Nothing is sent unless every line is right.
    """
    ctx.exit(reported(lambda: run_import(connection, filters, origin, as_json=as_json)))


@click.command(epilog=EXIT_CODES)
@filter_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@connection_options
@click.pass_context
def purge(ctx: click.Context, connection: Connection, filters: Filters, yes: bool, as_json: bool) -> None:
    """Remove dead letters for good. `export` first keeps a copy.

    \b
    deadletter-queue purge --where code=22001 --until 30d
    deadletter-queue purge --from dead-letter.old --yes

    Only what was there when you were asked is removed; the rest stays in order.
    """

    def ask(question: str) -> bool:
        return yes or click.confirm(question, err=True)

    ctx.exit(reported(lambda: run_purge(connection, filters, ask, as_json=as_json)))
