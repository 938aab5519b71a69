"""A message that no broker has delivered: a body, and what was said of what travels beside it."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from connectorlib.messages import Delivery

#: AMQP 0-9-1's basic properties.
PROPERTIES = (
    "content_type",
    "content_encoding",
    "headers",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "timestamp",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
)


def made_up(
    body: bytes, *, queue: str = "", exchange: str = "", routing_key: str = "", properties: Mapping[str, Any]
) -> Delivery:
    """Return a delivery with this body; `properties` by their AMQP names."""
    beside: Any = SimpleNamespace(**dict.fromkeys(PROPERTIES) | dict(properties))
    return Delivery(0, 0, queue, exchange, routing_key, False, beside, body, 0.0)
