"""Messages on their way in and out, and the outcome of each. Imports only errors."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from connectorlib.errors import Failure


@dataclass(slots=True)
class Properties:
    """The basic properties of AMQP 0-9-1, in the order of their flags; None: not set."""

    content_type: str | None = None
    content_encoding: str | None = None
    headers: Mapping[str, Any] | None = None
    delivery_mode: int | None = None
    priority: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: str | None = None
    message_id: str | None = None
    timestamp: int | None = None
    type: str | None = None
    user_id: str | None = None
    app_id: str | None = None
    cluster_id: str | None = None


PROPERTY_NAMES = tuple(each.name for each in fields(Properties))


class Delivery:
    """One message from a queue. `tag` means something only on the channel of its `generation`."""

    __slots__ = (
        "body",
        "exchange",
        "generation",
        "properties",
        "queue",
        "received",
        "redelivered",
        "routing_key",
        "tag",
    )

    def __init__(
        self,
        tag: int,
        generation: int,
        queue: str,
        exchange: str,
        routing_key: str,
        redelivered: bool,
        properties: Properties,
        body: bytes,
        received: float,
    ) -> None:
        self.tag = tag
        self.generation = generation
        self.queue = queue
        self.exchange = exchange
        self.routing_key = routing_key
        self.redelivered = redelivered
        self.properties = properties
        self.body = body
        #: time.monotonic() of its arrival; no delivery is held longer than `hold_seconds`.
        self.received = received

    @property
    def identity(self) -> tuple[int, int]:
        """What no other delivery of the process has; a message that is delivered again has another one."""
        return self.generation, self.tag

    @property
    def headers(self) -> Mapping[str, Any]:
        return self.properties.headers or {}


@dataclass(slots=True)
class Outgoing:
    """One message to publish. `properties` are keyword arguments by their AMQP names (`message_id`, `headers`, …);
    delivery_mode is always persistent and the publish always mandatory."""

    exchange: str
    routing_key: str
    body: bytes
    properties: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """Written; `already` when the inbox or the external id shows that an earlier delivery did it."""

    already: bool = False


@dataclass(frozen=True, slots=True)
class Dead:
    """Will never pass: goes to the dead-letter exchange. `reason`: reject, retries-exhausted, unknown, bug."""

    failure: Failure
    reason: str = "reject"
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Again:
    """Not done, and rolled back; `failure.kind` decides what happens next."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Wait:
    """Not tried: what it alone is for is paused, while others of the same queue go on. Hold it until `until`
    (monotonic seconds), then hand it over again."""

    failure: Failure
    until: float


@dataclass(frozen=True, slots=True)
class Later:
    """Not tried: its batch was too much at once. Hand it over again when the rest of the batch is done."""


Outcome = Done | Dead | Again | Wait | Later
DONE = Done()
ALREADY = Done(already=True)
LATER = Later()
