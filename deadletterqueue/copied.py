"""Messages as they are, published once more. Pure."""

from typing import Any

from connectorlib.messages import PROPERTY_NAMES, Delivery, Outgoing
from connectorlib.pipeline.dead_letter import plain

#: The properties of AMQP 0-9-1 that a copy keeps. `user_id` has to be that of the connection, or the broker closes it.
KEPT = tuple(name for name in PROPERTY_NAMES if name not in ("headers", "delivery_mode", "user_id"))
#: CC and BCC would bring it into other queues too; the counts are the broker's.
_LEFT_OUT = frozenset({"CC", "BCC", "x-delivery-count", "x-acquired-count"})


def copied(delivery: Delivery, queue: str) -> Outgoing:
    """Return a message that is the same, for this queue."""
    properties: dict[str, Any] = {
        name: value for name in KEPT if (value := getattr(delivery.properties, name)) is not None
    }
    properties["headers"] = {
        name: plain(value)
        for name, value in delivery.headers.items()
        if isinstance(name, str) and name not in _LEFT_OUT
    }
    return Outgoing("", queue, delivery.body, properties)
