"""RabbitMQ over AMQP 0-9-1. The only package that imports pika; it imports errors, messages and settings of ours."""

from connectorlib.broker import fields
from connectorlib.broker.broker import Broker
from connectorlib.broker.channel import SyncChannel
from connectorlib.broker.consumer import Consumer
from connectorlib.broker.holder import Holder
from connectorlib.broker.mover import Moved, Mover
from connectorlib.broker.publisher import Publisher, Ticket

fields.install()

__all__ = ["Broker", "Consumer", "Holder", "Moved", "Mover", "Publisher", "SyncChannel", "Ticket"]
