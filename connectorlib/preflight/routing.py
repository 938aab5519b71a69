"""Which queue a message comes into by its exchange and routing key, as the configuration binds them. Pure."""

from connectorlib.expressions import compile_topic
from connectorlib.shared_settings import Source


def takes(source: Source, exchange: str, routing_key: str) -> bool:
    """Return whether a source takes what is published so; for a headers exchange, as far as one can tell."""
    if not exchange:
        return routing_key == source.queue
    if exchange != source.exchange:
        return False
    if source.exchange_type == "topic":
        return any(compile_topic(pattern)(routing_key) for pattern in source.routing_keys)
    if source.exchange_type == "direct":
        return routing_key in source.routing_keys
    return True
