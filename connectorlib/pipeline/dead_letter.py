"""Builds dead letters: the original body, its origin and the reason, as one message. Pure; publishes nothing.

No added header begins with `x-`: RabbitMQ 4 ignores a client's `x-death` (release notes 4.0.1).
"""

import copy
import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from connectorlib.amqp.field_tables import Field, kept
from connectorlib.errors import Failure
from connectorlib.messages import Dead, Delivery, Outgoing, Properties
from connectorlib.shared_settings import DeadLetterSettings
from connectorlib.values.text import cut_bytes

#: All headers of a dead letter together stay under this many bytes: pika sends a header block as one frame, and one
#: over frame_max (131,072) ends the connection with 501 FRAME_ERROR.
MAX_HEADER_BYTES = 16 * 1024
MAX_TEXT = 2_000
MAX_NAME = 255  # bytes
#: AMQP properties that are copied.
PROPERTIES = (
    "message_id",
    "correlation_id",
    "type",
    "app_id",
    "content_type",
    "content_encoding",
    "timestamp",
    "priority",
    "reply_to",
)
#: Copied into a header: as properties `expiration` would drop the dead letter, and `user_id` close the channel (406).
AS_HEADERS = ("expiration", "user_id")
#: Headers that would route the dead letter elsewhere (CC, BCC) or that are written by the broker itself.
DROPPED = frozenset({"CC", "BCC", "x-death", "x-delivery-count", "x-acquired-count", "x-delay"})
DROPPED_PREFIXES = ("x-first-death-", "x-last-death-")
#: Kept when a replayed message dies again: its first origin, and the number of replays.
KEPT = ("dead-exchange", "dead-routing-key", "dead-replays")


def dead_letter(
    delivery: Delivery, dead: Dead, *, settings: DeadLetterSettings, connector: str, now: datetime
) -> Outgoing:
    """Return the dead letter of a delivery, ready to publish; its routing key is the queue the message died in."""
    properties = kept_properties(delivery)
    reasons = _reasons(delivery, dead, connector, now)
    properties["headers"] = _fit(reasons, copied_headers(delivery.headers))
    return Outgoing(settings.exchange, delivery.queue, delivery.body, properties)


def kept_properties(delivery: Delivery) -> dict[str, Any]:
    """Return the AMQP properties that are copied, without the headers."""
    properties = {
        name: _short(value) for name in PROPERTIES if (value := getattr(delivery.properties, name)) is not None
    }
    if str(properties.get("reply_to", "")).startswith("amq.rabbitmq.reply-to"):
        del properties["reply_to"]
    return properties


def _short(value: Any) -> Any:
    """Return a property cut to 255 bytes. One that is not UTF-8 has become longer by its replacement characters."""
    if isinstance(value, str) and len(value) * 4 > MAX_NAME:
        return value.encode("utf-8", "replace")[:MAX_NAME].decode("utf-8", "ignore")
    return value


def fingerprint(reason: str, failure: Failure) -> str:
    """Return a hash of what dead letters of one cause have in common: reason, code, and the field or statement."""
    place = failure.detail.partition(":")[0] if failure.detail else failure.place
    return hashlib.sha256(f"{reason}\n{failure.code}\n{place}".encode()).hexdigest()[:12]


def _reasons(delivery: Delivery, dead: Dead, connector: str, now: datetime) -> dict[str, Any]:
    failure, old = dead.failure, delivery.headers
    reasons: dict[str, Any] = {
        "dead-reason": dead.reason,
        "dead-code": cut_bytes(failure.code, 100),
        "dead-text": cut_bytes(failure.text, MAX_TEXT),
        "dead-detail": cut_bytes(failure.detail or failure.place, MAX_TEXT),
        "dead-exchange": delivery.exchange,
        "dead-routing-key": delivery.routing_key,
        "dead-queue": delivery.queue,
        "dead-time": now.isoformat(timespec="milliseconds"),
        "dead-attempts": dead.attempts,
        "dead-connector": cut_bytes(connector, 255),
        "dead-fingerprint": fingerprint(dead.reason, failure),
    }
    for name in KEPT:
        if isinstance(kept := old.get(name), str | int):
            reasons[name] = cut_bytes(kept, 255) if isinstance(kept, str) else kept
    for name in AS_HEADERS:
        value = getattr(delivery.properties, name)
        if value is not None:
            reasons[f"dead-{name.replace('_', '-')}"] = cut_bytes(str(value), 255)
    return reasons


def only_reasons(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the headers with the reasons, without those of the message itself."""
    return {name: value for name, value in headers.items() if name.startswith("dead-")} | {"dead-headers-cut": "all"}


def without_properties(delivery: Delivery) -> Delivery:
    """Return the delivery without its properties, for one whose properties cannot be read."""
    bare = copy.copy(delivery)
    bare.properties = Properties()
    return bare


def copied_headers(headers: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Return the headers of the message itself, each with the type that it came with."""
    for name, value in kept(headers).items():
        if not (name in DROPPED or name.startswith(DROPPED_PREFIXES) or name.startswith("dead-")):
            yield name, value


def _fit(reasons: dict[str, Any], others: Iterator[tuple[str, Any]]) -> dict[str, Any]:
    """Add the headers of the message itself while there is room, and list those that were cut."""
    room = MAX_HEADER_BYTES - sum(_size(name, value) for name, value in reasons.items()) - 1_024
    cut = []
    for name, value in others:
        size = _size(name, value)
        if size <= room and len(name.encode("utf-8", "replace")) <= MAX_NAME:
            room -= size
            reasons[name] = value
        else:
            cut.append(name)
    if cut:
        reasons["dead-headers-cut"] = cut_bytes(", ".join(cut), 900)
    return reasons


def _size(name: str, value: Any) -> int:
    """Return an upper bound of the bytes that a header takes in the frame (AMQP 0-9-1 §4.2.5.5)."""
    return len(name.encode()) + 2 + _value_size(value)


def _value_size(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace")) + 5
    if isinstance(value, bytes):
        return len(value) + 5
    if isinstance(value, Field):
        return len(value.octets)
    if isinstance(value, Mapping):
        return 5 + sum(_size(str(key), item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return 5 + sum(_value_size(item) for item in value)
    return 9
