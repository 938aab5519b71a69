"""Properties that AMQP cannot carry are found before they reach the wire, where they would cost the connection."""

from collections.abc import Mapping
from typing import Any

import pika
from pika import data

from connectorlib.messages import Outgoing

#: A header frame must fit the frame size (131,072 with RabbitMQ); one that does not ends the connection with 501.
HEADER_BYTES = 64 * 1024


def encode_properties(message: Outgoing) -> pika.BasicProperties:
    """Return pika's properties, always persistent; raise ValueError when the headers are too large."""
    properties = pika.BasicProperties(**message.properties)
    properties.delivery_mode = 2
    if properties.headers:
        check_size(properties.headers)
    return properties


def check_size(headers: Mapping[str, Any]) -> None:
    """Encode only what could be too large: an upper bound is summed first, and is nearly always enough."""
    bound = 0
    for name, value in headers.items():
        # 4 bytes a character at most; other scalars take 9 at most; nested ones are measured.
        bound += 4 * len(name) + 16 + (4 * len(value) if isinstance(value, str | bytes) else 0)
        if isinstance(value, list | tuple | dict):
            bound = HEADER_BYTES + 1
        if bound > HEADER_BYTES:
            break
    else:
        return
    size = data.encode_table([], dict(headers))
    if size > HEADER_BYTES:
        raise ValueError(f"headers take {size} bytes, more than {HEADER_BYTES}")
