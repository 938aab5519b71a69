"""`export`, `import` and `purge`: dead letters out into a file, back from one, or away for good."""

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
from deadletterqueue.session import Workbench, letters, reported, workbench
from deadletterqueue.terminal import Progress, json_text, progress

#: Messages of one call to the publisher.
CHUNK = 500
CHUNK_BYTES = 16 * 1024 * 1024
#: Seconds without an answer of the broker to a chunk.
CONFIRM_S = 60.0
#: Letters that are purged with one ack call.
ACK_CHUNK = 100

#: Given what is about to be done, return whether to do it.
Ask = Callable[[str], bool]


def run_export(
    connection: Connection, filters: Filters, file: str, *, overwrite: bool, as_json: bool = False
) -> ExitCode:
    """Write letters into a file (`-`: standard output), a line each; the queue stays as it is."""
    meant = filters.chooser()
    count = 0
    walk = None if filters.given else filters.limit
    with (
        _written(file, overwrite) as out,
        workbench(connection, filters.source) as bench,
        bench.looker(limit=walk) as looker,
        progress("exporting") as show,
    ):
        for letter in islice(filter(meant, letters(looker)), filters.limit):
            out.write(json_text(line_of(letter.delivery)) + "\n")
            count += 1
            show(looker.looked, looker.total)
    text = f"{count:,} of {looker.ready:,} in {looker.queue} exported"
    # The lines themselves may be on standard output.
    _tell(text, {"queue": looker.queue, "exported": count}, as_json=as_json, file=sys.stderr if file == "-" else None)
    return ExitCode.DONE if count else ExitCode.NOTHING


def run_import(connection: Connection, filters: Filters, file: str, *, as_json: bool = False) -> ExitCode:
    """Put the messages of a file at the end of the dead-letter queue. Nothing is sent unless every line is right."""
    meant = filters.chooser()
    with _readable(file) as lines, workbench(connection, filters.source) as bench:
        total = sum(1 for _ in islice(_messages(lines, file, bench.queue, meant), filters.limit))
        lines.seek(0)
        messages = islice(_messages(lines, file, bench.queue, meant), filters.limit)
        count = 0
        with progress("importing") as show:
            for chunk in _chunks(messages):
                if bench.stop.is_set():
                    raise _stopped(count, total)
                count += _publish(bench.broker.publisher, chunk, count, total)
                show(count, total)
    _tell(f"{count:,} imported into {bench.queue}", {"queue": bench.queue, "imported": count}, as_json=as_json)
    return ExitCode.DONE if count else ExitCode.NOTHING


def run_purge(connection: Connection, filters: Filters, ask: Ask, *, as_json: bool = False) -> ExitCode:
    """Remove letters for good. They are counted first; what comes meanwhile is not touched."""
    meant = filters.chooser()
    with workbench(connection, filters.source) as bench:
        count = _count(bench, filters, meant)
        if not count:
            _tell(f"nothing to purge in {bench.queue}", {"queue": bench.queue, "purged": 0}, as_json=as_json)
            return ExitCode.NOTHING
        if not ask(f"Remove {count:,} dead letters from {bench.queue} for good?"):
            return ExitCode.FAILED
        purged = _purge(bench, filters, meant, count)
    _tell(f"{purged:,} purged from {bench.queue}", {"queue": bench.queue, "purged": purged}, as_json=as_json)
    return ExitCode.DONE


def _tell(text: str, values: dict[str, Any], *, as_json: bool, file: IO[str] | None = None) -> None:
    """Say what was done: in words on standard error, as JSON on standard output unless `file` says otherwise."""
    print(json_text(values) if as_json else text, file=(file or sys.stdout) if as_json else sys.stderr)


def _count(bench: Workbench, filters: Filters, meant: Chosen) -> int:
    """Return how many letters are meant; without a look at them where nothing chooses."""
    walk = bench.looker(limit=filters.limit)
    if not filters.given:
        return walk.count()
    with bench.looker() as looker, progress("counting") as show:
        found = 0
        for each in letters(looker):
            show(looker.looked, looker.total)
            found += meant(each)
            if found == filters.limit:
                break
    return found


def _purge(bench: Workbench, filters: Filters, meant: Chosen, count: int) -> int:
    with progress("purging") as show:
        return purged(bench, meant, count, walk=None if filters.given else count, show=show)


def purged(bench: Workbench, meant: Chosen, count: int, *, walk: int | None, show: Progress) -> int:
    """Remove the first `count` letters that are meant, looking at no more than `walk`; return how many they were."""
    done = 0
    waiting: list[Delivery] = []
    with bench.looker(limit=walk, removing=True) as looker:
        for each in islice(filter(meant, letters(looker)), count):
            waiting.append(each.delivery)
            if len(waiting) == ACK_CHUNK:
                looker.ack(*waiting)
                done += len(waiting)
                waiting.clear()
            show(done, count)
        looker.ack(*waiting)
        done += len(waiting)
    return done


# -- files


@contextmanager
def _written(file: str, overwrite: bool) -> Iterator[IO[str]]:
    """Open a file that only its owner may read: bodies are nobody else's business. It is there when it is whole."""
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
    """Open a file that can be read twice; standard input is kept meanwhile."""
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


def _messages(lines: IO[str], file: str, queue: str, meant: Chosen) -> Iterator[Outgoing]:
    """Return the messages of a file that are meant. Raise Failed for a line that is none."""
    number = 0
    try:
        for line in lines:
            number += 1
            if line.strip():
                outgoing = outgoing_of(json.loads(line), queue)
                if meant(_letter(outgoing)):
                    yield outgoing
    except UnicodeDecodeError as error:
        raise _wrong(f"{file}, behind line {number}: not UTF-8; nothing was imported") from error
    except (ValueError, RecursionError) as error:
        raise _wrong(f"{file}, line {number}: {error}; nothing was imported") from error


def _letter(outgoing: Outgoing) -> Letter:
    """Return what a message says of itself before it is in a queue."""
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
    """Publish a chunk and wait for its confirms. Raise Failed with how many are in the queue."""
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
