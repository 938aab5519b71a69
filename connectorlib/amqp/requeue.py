"""How a channel returns what it holds to the queue, for consumers and browsers alike.

Rule: in one step, and by the broker. A message that pika rejects, or that a cancel or a nack finds on its way, would
come back ahead of the others or behind them.
"""

from typing import Any, Protocol

#: How long a channel stays open after single acks: a quorum queue takes 32 of them at a time, and those that still wait
#: in the channel are lost when it closes (RabbitMQ 3.10).
BUSY_S = 0.2


class HeldChannel(Protocol):
    """Knows the highest delivery tag of a channel."""

    delivered: int


def hold_late_deliveries(channel: Any, held: HeldChannel) -> None:
    """Hold what still arrives for a cancelled consumer like the rest; pika would reject such messages one by one."""

    def note(delivery_tag: int = 0, requeue: bool = True) -> None:
        held.delivered = max(held.delivered, delivery_tag)

    channel.basic_reject = note


def close_without_cancel(channel: Any) -> None:
    """Close a channel that may have consumers; pika would cancel those first. A channel whose connection is closed is
    closed too, although it may not know yet."""
    if channel.is_open and channel.connection.is_open:
        channel.basic_cancel = _cancel_nothing
        channel.close()


def _cancel_nothing(consumer_tag: str = "", callback: object = None) -> None:
    """In place of what pika does before it closes a channel."""


def server_version(connection: Any) -> tuple[int, ...]:
    """Return RabbitMQ's version, such as (3, 10, 8); () if the broker does not tell."""
    version = str((connection.server_properties or {}).get("version", ""))
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def requeues_by_nack(channel: Any) -> bool:
    """Return whether to requeue with cancel, nack and close, rather than with close alone, once nothing is on its way.

    The close of a channel that still consumes keeps the order of a quorum queue, whatever is on its way, and counts a
    delivery of each message (seen with 3.10, 4.0 and 4.3). From 4.3 on a nack counts none. But what is on its way when
    it comes, or when the consumer is cancelled, returns ahead of the rest; and up to 3.10 a nack of more than 32
    messages returns them in the order of a hash table.
    """
    return server_version(channel.connection) >= (4, 3)
