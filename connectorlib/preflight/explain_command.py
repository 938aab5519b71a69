"""The command `explain`: prints what one message would become. Asks no network, and needs no secret."""

import sys
from collections.abc import Callable
from pathlib import Path

import click

from connectorlib.errors import Failed
from connectorlib.formats.body_position import Place, place_of
from connectorlib.messages import Delivery
from connectorlib.preflight.explain_options import Beside
from connectorlib.preflight.explanation import Explanation, Offline
from connectorlib.preflight.explanation_text import as_json, indented_json, told
from connectorlib.preflight.made_up_message import made_up
from connectorlib.service.process import ExitCode, exit_code

STANDARD_INPUT = "-"
Opener = Callable[[str], Offline]


def explain(opener: Opener, file: str, message: str, beside: Beside, *, json: bool) -> ExitCode:
    """Print what would become of the message in a file (`-`: standard input); return 0 if it would be taken, 1 if it
    would be rejected, 78 if the configuration is wrong."""
    try:
        offline = opener(file)
    except Failed as failed:
        click.echo(str(failed), err=True)
        return exit_code(failed.failure)
    body = read_body(message)
    found = [(queue, *_explained(offline, queue, body, beside)) for queue in queues_of(offline, beside)]
    name = "message" if message == STANDARD_INPUT else message
    if json:
        values = [as_json(explanation, place, queue) for queue, explanation, place in found]
        click.echo(indented_json(values[0] if len(values) == 1 else values))
    else:
        texts = [told(explanation, place, name) for _, explanation, place in found]
        if len(found) > 1:  # a message comes into every queue that takes it
            texts = [f"queue {queue}\n{text}" for (queue, _, _), text in zip(found, texts, strict=True)]
        click.echo("\n\n".join(texts))
    return ExitCode.FAILED if any(explanation.rejection for _, explanation, _ in found) else ExitCode.DONE


def _explained(offline: Offline, queue: str, body: bytes, beside: Beside) -> tuple[Explanation, Place | None]:
    delivery = delivery_of(body, queue, beside)
    explanation = offline.explain(delivery)
    return explanation, located(offline, delivery, explanation)


def located(offline: Offline, delivery: Delivery, explanation: Explanation) -> Place | None:
    """Return where in the body stands what it is rejected for."""
    if explanation.rejection is None:
        return None
    return place_of(delivery.body, offline.format_of(delivery), explanation.rejection)


def delivery_of(body: bytes, queue: str, beside: Beside) -> Delivery:
    """Return the message that a body and the options make."""
    return made_up(
        body,
        queue=queue,
        exchange=beside.exchange or "",
        routing_key=beside.routing_key or "",
        properties=beside.properties,
    )


def queues_of(offline: Offline, beside: Beside) -> list[str]:
    """Return the queues that the message comes into. Raise click.UsageError where that is not clear."""
    known = offline.queues("", "")
    if beside.queue is not None:
        if beside.queue not in known:
            raise click.UsageError(f"--queue: no source is {beside.queue!r}; there are {', '.join(known)}")
        return [beside.queue]
    if beside.exchange is None or len(known) == 1:
        if len(known) > 1:
            what = "say which, with --queue, or with --exchange and --routing-key"
            raise click.UsageError(f"there are several source queues: {', '.join(known)}; {what}")
        return list(known)
    found = list(offline.queues(beside.exchange, beside.routing_key or ""))
    if not found:
        raise click.UsageError(
            f"no source queue takes {beside.routing_key or ''!r} from exchange {beside.exchange!r}: it would not come"
        )
    return found


def read_body(message: str) -> bytes:
    """Return the bytes of a file. Raise click.UsageError for one that cannot be read."""
    if message == STANDARD_INPUT:
        return sys.stdin.buffer.read()
    try:
        return Path(message).read_bytes()
    except OSError as error:
        raise click.UsageError(f"{message} cannot be read: {error.strerror}") from error
