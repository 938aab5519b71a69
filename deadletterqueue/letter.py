"""A dead letter, read from the headers of a connector (`dead-…`) or of the broker (`x-death`). Pure.

Headers come from outside, so each is used only if it has the expected type.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failure, Kind
from connectorlib.messages import Delivery
from connectorlib.pipeline.dead_letter import MAX_TEXT, fingerprint
from connectorlib.values.text import cut_bytes

#: The broker's reasons, as text.
_BROKER_TEXTS = {
    "rejected": "a consumer rejected it: the connectors do so only with a body that is over limits.body_bytes",
    "expired": "its time to live ran out",
    "maxlen": "the queue was full",
    "delivery_limit": "it was requeued more often than the queue's delivery limit allows",
}
#: No letter was sent back, or tried, more often than this; `--max-replays 10000` lets also a forged count through.
MOST = 9_999
#: Fields of a letter in the order of printing; `--where` takes these and `message_id`.
FIELDS = (
    "reason",
    "code",
    "text",
    "detail",
    "time",
    "queue",
    "exchange",
    "routing_key",
    "connector",
    "fingerprint",
    "replays",
    "attempts",
    "by_broker",
)


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter. Unknown texts are "", unknown numbers 0."""

    delivery: Delivery
    reason: str
    code: str
    text: str
    detail: str
    #: When it died.
    time: datetime | None
    #: The queue it died in.
    queue: str
    #: Where it was first published, before anything dead-lettered it.
    exchange: str
    routing_key: str
    connector: str
    #: The same for all letters of one cause.
    fingerprint: str
    #: How often it has been sent back.
    replays: int
    #: How often the connector tried to process it before it died.
    attempts: int
    #: Whether the broker dead-lettered it, not a connector.
    by_broker: bool

    @property
    def message_id(self) -> str:
        return self.delivery.properties.message_id or ""

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON values, without body and headers."""
        values: dict[str, Any] = {name: getattr(self, name) for name in FIELDS}
        values["time"] = self.time.isoformat(timespec="milliseconds") if self.time else None
        return {**values, "message_id": self.message_id, "bytes": len(self.delivery.body)}


def letter(delivery: Delivery) -> Letter:
    """Given a message of a dead-letter queue, return it as a letter. Never fails."""
    headers = delivery.headers
    deaths = _deaths(headers)
    if isinstance(headers.get("dead-reason"), str) and not _died_since(headers, deaths):
        return _by_connector(delivery, headers)
    return _by_broker(delivery, headers, deaths) if deaths else _unsaid(delivery, headers)


def _died_since(headers: Mapping[str, Any], deaths: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the broker dead-lettered it after a connector had. A connector removes `x-death`; if it is there
    again, the connector's headers are outdated: they came back with a message that a shovel moved. The passage from one
    dead-letter queue to another is no death; a connector's letter has the queue it died in as routing key."""
    if not deaths:
        return False
    queue, since = headers.get("dead-queue"), _first(headers, deaths)
    keys = since.get("routing-keys")
    passed_on = isinstance(keys, list) and queue in keys and since.get("queue") != queue
    return not passed_on


def _by_connector(delivery: Delivery, headers: Mapping[str, Any]) -> Letter:
    reason, code, detail = (_text(headers, f"dead-{name}") for name in ("reason", "code", "detail"))
    return Letter(
        delivery=delivery,
        reason=reason,
        code=code,
        text=_text(headers, "dead-text"),
        detail=detail,
        time=instant(headers.get("dead-time")),
        queue=_text(headers, "dead-queue"),
        exchange=_text(headers, "dead-exchange"),
        routing_key=_text(headers, "dead-routing-key"),
        connector=_text(headers, "dead-connector"),
        fingerprint=_text(headers, "dead-fingerprint") or _fingerprint(reason, code, detail),
        replays=_count(headers, "dead-replays"),
        attempts=_count(headers, "dead-attempts"),
        by_broker=False,
    )


def _by_broker(delivery: Delivery, headers: Mapping[str, Any], deaths: Sequence[Mapping[str, Any]]) -> Letter:
    """Return a letter of the broker. After a replay, headers still say where it was first published."""
    last, first = deaths[0], _first(headers, deaths)
    reason, queue = _text(last, "reason"), _text(last, "queue")
    keys = first.get("routing-keys")
    key = keys[0] if isinstance(keys, list) and keys and isinstance(keys[0], str) else ""
    expiration = _text(last, "original-expiration")
    return Letter(
        delivery=delivery,
        reason=reason,
        code="",
        text=_BROKER_TEXTS.get(reason, ""),
        detail=_broker_detail(reason, delivery, expiration),
        time=instant(last.get("time")),
        queue=queue,
        exchange=_text(headers, "dead-exchange") if "dead-replays" in headers else _text(first, "exchange"),
        routing_key=_text(headers, "dead-routing-key") if "dead-replays" in headers else key,
        connector="",
        fingerprint=_fingerprint(reason, "", queue),
        replays=_count(headers, "dead-replays"),
        attempts=_count(last, "count"),
        by_broker=True,
    )


def _broker_detail(reason: str, delivery: Delivery, expiration: str) -> str:
    if reason == "rejected":
        return f"{len(delivery.body)} bytes"
    return f"expiration {expiration} ms" if expiration else ""


def _unsaid(delivery: Delivery, headers: Mapping[str, Any]) -> Letter:
    """Return the letter of a message without any reason."""
    return Letter(
        delivery=delivery,
        reason="",
        code="",
        text="",
        detail="",
        time=None,
        queue="",
        exchange=_text(headers, "dead-exchange"),
        routing_key=_text(headers, "dead-routing-key"),
        connector="",
        fingerprint=_fingerprint("", "", ""),
        replays=_count(headers, "dead-replays"),
        attempts=0,
        by_broker=False,
    )


def _deaths(headers: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the records of `x-death`, the latest first; there is one for each queue and reason."""
    found = headers.get("x-death")
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _first(headers: Mapping[str, Any], deaths: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the record of the first death. A second death of the same kind moves the record to the front, so not the
    position counts but these headers."""
    wanted = (headers.get("x-first-death-queue"), headers.get("x-first-death-reason"))
    return next((each for each in deaths if (each.get("queue"), each.get("reason")) == wanted), deaths[-1])


def _fingerprint(reason: str, code: str, detail: str) -> str:
    return fingerprint(reason, Failure(Kind.UNKNOWN, code, "", detail=detail))


def _text(headers: Mapping[str, Any], name: str) -> str:
    value = headers.get(name)
    return cut_bytes(value, MAX_TEXT) if isinstance(value, str) else ""


def _count(headers: Mapping[str, Any], name: str) -> int:
    """Return a count, within what can be a count: whoever publishes may write any number."""
    value = headers.get(name)
    return min(max(value, 0), MOST) if isinstance(value, int) and not isinstance(value, bool) else 0


def instant(value: Any) -> datetime | None:
    """Return a time in UTC, given as such or as ISO 8601; None for anything else."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:  # in UTC it is before the year 1 or after 9999
        return None
