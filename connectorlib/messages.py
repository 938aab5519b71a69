"""Incoming and outgoing messages, and the outcomes of handling one. Imports errors and `dataclass`."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import field, fields
from typing import Any

from connectorlib.dataclass import dataclass
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


#: `left_out` of a message whose records are all for its flow.
NONE_LEFT_OUT: frozenset[int] = frozenset()
PROPERTY_NAMES = tuple(each.name for each in fields(Properties))


@dataclass(slots=True, eq=False)
class Delivery:
    """One message from a queue. `tag` is valid only on the channel that `generation` numbers."""

    tag: int
    generation: int
    queue: str
    exchange: str
    routing_key: str
    redelivered: bool
    properties: Properties
    body: bytes
    #: time.monotonic() of its arrival; no delivery is held longer than `hold_seconds`.
    received: float
    #: Keeps its order with others of the same key (`lanes.key`); None where no order is asked for.
    key: Hashable = None
    #: The decoded body, if it had to be decoded to find the key, or for `accept_when` or `ignore_when`.
    records: Sequence[Any] | None = None
    #: The positions of those records that these conditions leave out.
    left_out: frozenset[int] = NONE_LEFT_OUT
    #: Bytes of the body once it was unpacked, for its `content_encoding`; 0: it came plain.
    unpacked: int = 0

    @property
    def content_type(self) -> str | None:
        return self.properties.content_type

    @property
    def content_encoding(self) -> str | None:
        return self.properties.content_encoding

    @property
    def identity(self) -> tuple[int, int]:
        """Unique among the deliveries of the process; a message that is delivered again gets another one."""
        return self.generation, self.tag

    @property
    def headers(self) -> Mapping[str, Any]:
        return self.properties.headers or {}


@dataclass(slots=True)
class Outgoing:
    """One message to publish, always persistent and mandatory; `properties` by their AMQP names."""

    exchange: str
    routing_key: str
    body: bytes
    properties: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """Can be acknowledged. `counted` says as what: done (written), already (the inbox or the external id shows that an
    earlier delivery was), empty (there was nothing to write), accept_when or ignore_when (not for this flow)."""

    counted: str = "done"


@dataclass(frozen=True, slots=True)
class Dead:
    """Will never pass and goes to the dead-letter exchange. `reason`: reject, retries-exhausted, unknown, bug."""

    failure: Failure
    reason: str = "reject"
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Again:
    """Failed and rolled back; `failure.kind` decides what happens next."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Later:
    """Not tried, because its batch was too large. Try again when the rest of the batch is done."""


Outcome = Done | Dead | Again | Later
DONE = Done()
ALREADY = Done("already")
EMPTY = Done("empty")
NOT_ACCEPTED = Done("accept_when")
IGNORED = Done("ignore_when")
LATER = Later()
