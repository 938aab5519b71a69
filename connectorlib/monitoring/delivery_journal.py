"""The journal: what became of each delivery, in a stream of RabbitMQ, one message for each batch.

The work never waits for it. A batch is written with the properties of its messages as they came, undecoded, because
decoding them would cost more than everything else here; whoever reads decodes. The format is a line of JSON, then these
bytes one after the other.
"""

import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from connectorlib.amqp import topology
from connectorlib.amqp.frame_reader import decode_properties, raw_properties
from connectorlib.amqp.inspection import Queue
from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed
from connectorlib.messages import Again, Dead, Delivery, Done, Outcome, Outgoing, Properties
from connectorlib.service import logs
from connectorlib.shared_settings import BrokerSettings, Journal

if TYPE_CHECKING:
    from connectorlib.amqp import Broker, Ticket

logger = logging.getLogger(__name__)

#: Bytes that are not confirmed yet; beyond that further batches are left out.
MOST_UNCONFIRMED = 8 * 1024 * 1024
#: Seconds after which a stream that could not be made is tried again, or batches that were left out are told again.
AGAIN_S = 60.0
#: The longest wait for an answer about the stream; the work waits with it.
ANSWER_S = 2.0
#: Longer properties are left out of the journal but for the message id.
LONGEST = 4096
#: A stream forgets whole segments only, so these are small.
SEGMENT_BYTES = 20_000_000


@dataclass(frozen=True, slots=True)
class Step:
    """What one delivery of a message came to. `outcome` is done, already, empty, ignored, again or dead."""

    at: datetime
    connector: str
    name: str
    queue: str
    routing_key: str
    properties: Properties
    redelivered: bool
    outcome: str
    code: str = ""
    place: str = ""
    text: str = ""


class JournalWriter:
    """Writes what became of each batch. `batch` may be called by several threads."""

    def __init__(
        self, settings: Journal, connector: str, name: str, broker: "Broker", broker_settings: BrokerSettings
    ) -> None:
        self._broker_settings = broker_settings
        self._settings = settings
        self._about = {"connector": connector, "name": name}
        self._broker = broker
        self._lock = threading.Lock()
        self._unconfirmed = 0  # bytes
        self._made = False
        self._next_try = self._told = float("-inf")

    def batch(self, deliveries: Sequence[Delivery], outcomes: Sequence[Outcome], seconds: float) -> None:
        """Publish what a batch that was just handled has come to, unless the journal is behind."""
        try:
            if self._ready():
                body = encoded(self._about, deliveries, outcomes, time.time())
                properties = {"content_type": "application/octet-stream", "type": "journal"}
                with self._lock:
                    self._unconfirmed += len(body)
                self._broker.publisher.submit([Outgoing("", self._settings.stream, body, properties)], self._confirmed)
        except Exception:  # any: the journal must not end the work
            logger.exception("bug in the journal", extra={"event": "bug"})

    def _ready(self) -> bool:
        now = time.monotonic()
        if not self._made and now >= self._next_try and self._broker.connected:
            self._next_try = now + AGAIN_S
            self._make()
        if not self._made:
            return False
        if self._unconfirmed < MOST_UNCONFIRMED:
            return True
        self._tell("the broker is slow to confirm; some batches are left out")
        return False

    def _make(self) -> None:
        arguments = {
            "x-queue-type": "stream",
            "x-max-age": f"{max(1, round(self._settings.max_age))}s",
            "x-max-length-bytes": self._settings.max_bytes,
            "x-stream-max-segment-size-bytes": SEGMENT_BYTES,
        }
        try:
            topology.ensure_queue(
                self._broker, self._broker_settings, Queue(self._settings.stream, arguments), ANSWER_S
            )
            self._made = True
        except Failed as failed:
            self._tell(failed.failure.text)

    def _confirmed(self, ticket: "Ticket") -> None:
        """Called in the I/O thread."""
        with self._lock:
            self._unconfirmed -= len(ticket.messages[0].body)
        if failure := ticket.results[0]:
            self._made = False
            self._tell(failure.text)

    def _tell(self, text: str) -> None:
        if time.monotonic() - self._told >= AGAIN_S:
            self._told = time.monotonic()
            logs.event(logger, logging.WARNING, "journal incomplete", stream=self._settings.stream, text=text)


def encoded(about: Mapping[str, str], deliveries: Sequence[Delivery], outcomes: Sequence[Outcome], now: float) -> bytes:
    """Return the message of a batch; `now` in seconds since 1970."""
    raws = list(map(raw_properties, deliveries))
    others = {
        at: _told(delivery, outcome, raw)
        for at, (delivery, outcome, raw) in enumerate(zip(deliveries, outcomes, raws, strict=True))
        if outcome.__class__ is not Done or outcome.counted != "done" or delivery.redelivered or len(raw) > LONGEST
    }
    raws = [raw if len(raw) <= LONGEST else b"" for raw in raws]
    head = {
        **about,
        "at": now,
        "queue": deliveries[0].queue,
        "keys": [delivery.routing_key for delivery in deliveries],
        "sizes": list(map(len, raws)),
        "others": others,
    }
    return b"\n".join([json.dumps(head, separators=(",", ":")).encode(), b"".join(raws)])


def _told(delivery: Delivery, outcome: Outcome, raw: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {"outcome": "later"}
    if isinstance(outcome, Done):
        found = {"outcome": outcome.counted}
    elif isinstance(outcome, Again | Dead):
        failure = outcome.failure
        text = logs.secrets.redact(failure.text)[:500]
        found = {"code": failure.code, "place": failure.detail or failure.place, "text": text}
        found["outcome"] = "dead" if isinstance(outcome, Dead) else "again"
    if delivery.redelivered:
        found["redelivered"] = True
    if len(raw) > LONGEST:
        found["id"] = delivery.properties.message_id
    return found


def steps(body: bytes, message_id: str) -> Iterator[Step]:
    """Yield what is in a message of the journal about one message id. Raise ValueError for what is none of ours."""
    wanted = message_id.encode()
    if wanted not in body:  # most are not about it, and this is quick
        return
    line, _, raws = body.partition(b"\n")
    head = json.loads(line)
    at = 0
    for number, (size, key) in enumerate(zip(head["sizes"], head["keys"], strict=True)):
        raw, at = raws[at : at + size], at + size
        told = head["others"].get(str(number), {"outcome": "done"})
        if told["outcome"] == "later" or (wanted not in raw and told.get("id") != message_id):
            continue
        properties = decode_properties(raw) if raw else Properties(message_id=told.get("id"))
        if properties.message_id == message_id:
            yield Step(
                datetime.fromtimestamp(head["at"], UTC),
                head["connector"],
                head["name"],
                head["queue"],
                key,
                properties,
                bool(told.get("redelivered")),
                told["outcome"],
                *(str(told.get(name, "")) for name in ("code", "place", "text")),
            )
