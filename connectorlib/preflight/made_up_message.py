"""A message that no broker has delivered, made of a body and what travels with it."""

from collections.abc import Mapping
from typing import Any

from connectorlib.messages import Delivery, Properties


def made_up(
    body: bytes, *, queue: str = "", exchange: str = "", routing_key: str = "", properties: Mapping[str, Any]
) -> Delivery:
    """Return a delivery with this body; `properties` by their AMQP names."""
    return Delivery(0, 0, queue, exchange, routing_key, False, Properties(**properties), body, 0.0)
