"""What a dead letter says of itself, whoever wrote it: a connector (`dead-…` headers) or the broker (`x-death`). Pure.

Headers come from anywhere, so each is taken only where it has the type that it should have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from connectorlib.errors import Failure, Kind
from connectorlib.messages import Delivery
from connectorlib.pipeline.dead_letter import MAX_TEXT, fingerprint
from connectorlib.values.text import cut_bytes

#: What the broker means by its reasons.
_BROKER_TEXTS = {
    "rejected": "a consumer rejected it",
    "expired": "its time to live ran out",
    "maxlen": "the queue was full",
    "delivery_limit": "it was given back more often than the queue's delivery limit allows",
}
#: Fields of a letter that are told, in the order of telling; `--where` knows these and `message_id`.
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
    """One dead letter. Texts are "" and numbers 0 where nothing says more."""

    delivery: Delivery
    reason: str
    code: str
    text: str
    detail: str
    #: When it died.
    time: datetime | None
    #: The queue it died in.
    queue: str
    #: Of its first life: where it was published before anything dead-lettered it.
    exchange: str
    routing_key: str
    connector: str
    #: The same for all letters of one cause.
    fingerprint: str
    #: How often it has been sent back.
    replays: int
    #: How often it was tried in its last life.
    attempts: int
    #: Whether the broker dead-lettered it, not a connector.
    by_broker: bool

    @property
    def message_id(self) -> str:
        return self.delivery.properties.message_id or ""

    def told(self) -> dict[str, Any]:
        """Return what there is to say of it, without body and headers, as JSON values."""
        values: dict[str, Any] = {name: getattr(self, name) for name in FIELDS}
        values["time"] = self.time.isoformat(timespec="milliseconds") if self.time else None
        return {**values, "message_id": self.message_id, "bytes": len(self.delivery.body)}


def letter(delivery: Delivery) -> Letter:
    """Given a message of a dead-letter queue, return what it says of itself; never fails."""
    headers = delivery.headers
    deaths = _deaths(headers)
    if isinstance(headers.get("dead-reason"), str) and not _died_since(headers, deaths):
        return _by_connector(delivery, headers)
    return _by_broker(delivery, headers, deaths) if deaths else _unsaid(delivery, headers)


def _died_since(headers: Mapping[str, Any], deaths: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the broker dead-lettered it after a connector had, which takes `x-death` away: what the connector said is
    of an earlier life then, and came back with a message that a shovel moved. No death is the passage from one
    dead-letter queue to the next; what came to the first by a connector had the queue it died in as its routing key."""
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
        time=_instant(headers.get("dead-time")),
        queue=_text(headers, "dead-queue"),
        exchange=_text(headers, "dead-exchange"),
        routing_key=_text(headers, "dead-routing-key"),
        connector=_text(headers, "dead-connector"),
        fingerprint=_text(headers, "dead-fingerprint") or _fingerprint(reason, code, detail),
        replays=_number(headers, "dead-replays"),
        attempts=_number(headers, "dead-attempts"),
        by_broker=False,
    )


def _by_broker(delivery: Delivery, headers: Mapping[str, Any], deaths: Sequence[Mapping[str, Any]]) -> Letter:
    """A message that was replayed and then died at the broker still says where it was first published."""
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
        detail=f"expiration {expiration} ms" if expiration else "",
        time=_instant(last.get("time")),
        queue=queue,
        exchange=_text(headers, "dead-exchange") if "dead-replays" in headers else _text(first, "exchange"),
        routing_key=_text(headers, "dead-routing-key") if "dead-replays" in headers else key,
        connector="",
        fingerprint=_fingerprint(reason, "", queue),
        replays=_number(headers, "dead-replays"),
        attempts=_number(last, "count"),
        by_broker=True,
    )


def _unsaid(delivery: Delivery, headers: Mapping[str, Any]) -> Letter:
    """Somebody put it there without a word."""
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
        replays=_number(headers, "dead-replays"),
        attempts=0,
        by_broker=False,
    )


def _deaths(headers: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the broker's records, the latest death first; there is one for each queue and reason."""
    found = headers.get("x-death")
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _first(headers: Mapping[str, Any], deaths: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the record of the first death. A second one of the same kind moves its record to the front, so the place
    in the list does not tell; these headers do."""
    wanted = (headers.get("x-first-death-queue"), headers.get("x-first-death-reason"))
    return next((each for each in deaths if (each.get("queue"), each.get("reason")) == wanted), deaths[-1])


def _fingerprint(reason: str, code: str, detail: str) -> str:
    return fingerprint(reason, Failure(Kind.UNKNOWN, code, "", detail=detail))


def _text(headers: Mapping[str, Any], name: str) -> str:
    value = headers.get(name)
    return cut_bytes(value, MAX_TEXT) if isinstance(value, str) else ""


def _number(headers: Mapping[str, Any], name: str) -> int:
    value = headers.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _instant(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
