"""The way of one message through the connectors, read from their journal.

Rule: a stream is read, never consumed. The first message tells whether it is one, before anything is acknowledged.
"""

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from connectorlib.amqp import Consumer
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import Delivery
from connectorlib.monitoring.delivery_journal import Step, steps
from connectorlib.shared_settings import PREFETCH_BYTES
from deadletterqueue.session import Session
from deadletterqueue.terminal import Progress, local

logger = logging.getLogger(__name__)

#: Messages of the journal that are in flight.
PREFETCH = 100
#: Seconds without a message after which the end of the journal is reached.
END_S = 2.0
#: Seconds in which the rest of the last chunk comes. Later messages are newer than the question.
LAST_CHUNK_S = 0.5
#: Steps of one message that are kept: the latest.
MOST = 1000
_OFFSET = "x-stream-offset"


class Line(NamedTuple):
    """One step, as text."""

    time: str
    connector: str
    queue: str
    what: str


def read(session: Session, stream: str, message_id: str, show: Progress = lambda done, total: None) -> list[Step]:
    """Return what the journal has about a message up to now, the oldest step first; of very many the latest. Raise
    Failed, also if there is no journal, and KeyboardInterrupt when the session is stopped."""
    last = _last_offset(session, stream)
    found: deque[Step] = deque(maxlen=MOST)
    if last is not None:
        for delivery in _until(session, stream, last, show):
            found.extend(_steps(delivery, message_id))
    return sorted(found, key=lambda step: step.at)


def replays(step: Step) -> int:
    """Return how often the message had been sent back by then."""
    value = (step.properties.headers or {}).get("dead-replays", 0)
    return value if isinstance(value, int) else 0


def line(step: Step) -> Line:
    why = ": ".join(part for part in (step.place, step.text) if part)
    notes = ["redelivered"] if step.redelivered else []
    if count := replays(step):
        notes.append(f"sent back {count}×")
    what = " ".join(part for part in (step.outcome, step.code, why) if part)
    what += f" ({', '.join(notes)})" if notes else ""
    return Line(local(step.at), f"{step.connector} {step.name}", step.queue, what)


def summary(found: Sequence[Step], message_id: str, stream: str) -> str:
    """Return what has to be said besides the steps; "" if nothing."""
    if not found:
        return f"message {message_id!r} is not in the journal {stream!r}"
    return f"only the latest {MOST:,} steps are shown" if len(found) == MOST else ""


def _last_offset(session: Session, stream: str) -> int | None:
    """Return where the last chunk of the stream begins; None if it is empty. Raise Failed if it is no stream."""
    with session.broker.channel() as channel:
        try:
            channel.queue_declare(stream, passive=True)
        except Failed as failed:
            if failed.failure.code != "404":
                raise
            host = session.settings.virtual_host
            text = f"there is no journal {stream!r} on virtual host {host!r}: "
            raise _wrong(text + "no connector there has the section `journal` in its configuration") from failed
    consumer = _open(session, stream, "last", prefetch=1)
    try:
        batch = consumer.take(1, 0.0, END_S)
        return _offset(batch[0], stream) if batch else None
    finally:
        consumer.requeue()


def _until(session: Session, stream: str, last: int, show: Progress) -> Iterator[Delivery]:
    """Yield the messages of a stream from the first one to the end of its last chunk, which begins at `last`."""
    consumer = _open(session, stream, "first", PREFETCH)
    begun = at = -1
    end: float | None = None
    try:
        while True:
            batch = consumer.take(PREFETCH, 0.0, END_S if end is None else max(end - time.monotonic(), 0.0))
            if session.stop.is_set():
                raise KeyboardInterrupt
            if batch:
                yield from batch
                begun, at = _offset(batch[0], stream) if begun < 0 else begun, _offset(batch[-1], stream)
                show(at - begun + 1, last - begun + 1)
                consumer.settle(batch[0].generation, [delivery.tag for delivery in batch])
                if at >= last and end is None:
                    end = time.monotonic() + LAST_CHUNK_S
            elif consumer.has_unread:  # so many large ones do not fit into memory at once
                consumer.requeue()
                consumer.stream_offset = at + 1
                consumer.open()
            elif consumer.active:
                return
            else:
                failure = Failure(Kind.UNAVAILABLE, "cancelled", f"{stream!r} is gone", "broker")
                raise Failed(consumer.failure or failure)
    finally:
        consumer.requeue()


def _open(session: Session, stream: str, offset: str, prefetch: int) -> Consumer:
    consumer = session.broker.consumer(stream, prefetch, PREFETCH_BYTES)
    consumer.stream_offset = offset
    try:
        consumer.open()
    except Failed as failed:
        raise (_no_stream(stream) if failed.failure.code == "406" else failed) from failed
    return consumer


def _offset(delivery: Delivery, stream: str) -> int:
    value: Any = (delivery.properties.headers or {}).get(_OFFSET)
    if not isinstance(value, int):
        raise _no_stream(stream)
    return value


def _steps(delivery: Delivery, message_id: str) -> Iterator[Step]:
    try:
        yield from steps(delivery.body, message_id)
    except (ValueError, LookupError, TypeError):
        logger.warning("a message of %s is not of a journal; it is left out", delivery.queue)


def _no_stream(stream: str) -> Failed:
    return _wrong(f"{stream!r} is a queue, not the stream of a journal")


def _wrong(text: str) -> Failed:
    return Failed(Failure(Kind.CONFIGURATION, "configuration", text))
