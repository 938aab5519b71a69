"""RabbitMQ over AMQP 0-9-1. The only package that imports pika; of ours it imports the ground modules alone."""

from connectorlib.amqp import pika_loader  # noqa: F401, I001 - before all others
from connectorlib.amqp import field_tables, pika_internals
from connectorlib.amqp.broker import Broker
from connectorlib.amqp.browser import Browser
from connectorlib.amqp.channel import SyncChannel
from connectorlib.amqp.consumer import Consumer
from connectorlib.amqp.publisher import Publisher, Ticket
from connectorlib.amqp.sharded_consumer import ShardedConsumer
from connectorlib.amqp.shovel import Moved, Shovel

pika_internals.check()
field_tables.install()

#: Of one queue, or of the shards of a source.
AnyConsumer = Consumer | ShardedConsumer

__all__ = [
    "AnyConsumer",
    "Broker",
    "Browser",
    "Consumer",
    "Moved",
    "Publisher",
    "ShardedConsumer",
    "Shovel",
    "SyncChannel",
    "Ticket",
]
