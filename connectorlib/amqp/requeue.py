"""How a channel returns what it holds, to consumers and holders alike.

Rule: in one step, and by the broker. A message that pika rejects, or that a cancel finds on its way, comes back ahead
of the others or behind them.
"""

from typing import Any, Protocol


class HeldChannel(Protocol):
    """What has been delivered on one channel: the highest tag."""

    delivered: int


def hold_late_deliveries(channel: Any, holding: HeldChannel) -> None:
    """Hold like the others what still comes for a consumer that is cancelled: pika would reject it, one by one."""

    def note(delivery_tag: int = 0, requeue: bool = True) -> None:
        holding.delivered = max(holding.delivered, delivery_tag)

    channel.basic_reject = note


def close_without_cancel(channel: Any) -> None:
    """Close a channel that may have consumers; pika would cancel those first. With its connection it is closed already,
    though it may not know yet."""
    if channel.is_open and channel.connection.is_open:
        channel.basic_cancel = _cancel_nothing
        channel.close()


def _cancel_nothing(consumer_tag: str = "", callback: object = None) -> None:
    """In place of what pika does before it closes a channel."""


def requeues_by_nack(channel: Any) -> bool:
    """Whether to give back with cancel, one nack and close, rather than with close alone.

    Both return everything, and up to RabbitMQ 4.2 both count as a delivery. But only the close of a channel that still
    consumes keeps the order of a quorum queue, as seen with 3.10: of more than 32 messages a nack makes the order of a
    hash table (without a delivery limit it puts them at the end of the queue), and a cancel does the same to what is
    on its way. From 4.3 on the nack does not count towards the delivery limit, and the close does.
    """
    version = str((channel.connection.server_properties or {}).get("version", ""))
    numbers = [int(part) for part in version.split(".")[:2] if part.isdigit()]
    return numbers >= [4, 3]
