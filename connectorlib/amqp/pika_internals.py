"""What this package overrides or calls in pika without being invited to, checked at import.

If a pika no longer used one of these names, nothing would fail at once: deliveries would be read slowly, heartbeats
missed or messages requeued out of order.
"""

from collections.abc import Iterable
from typing import Any

import pika
from pika import data
from pika.adapters.base_connection import BaseConnection
from pika.channel import Channel
from pika.connection import Connection
from pika.spec import BasicProperties

#: Classes and modules, and a name that one of their own functions uses.
USED: tuple[tuple[Any, str], ...] = (
    (BaseConnection, "_on_data_available"),  # frame_reader
    (Connection, "_output_marshaled_frames"),  # frame_reader
    (Connection, "bytes_received"),  # frame_reader, for the heartbeats
    (Channel, "basic_reject"),  # requeue: what comes after a cancel
    (Channel, "basic_cancel"),  # requeue: at a close
    (BasicProperties, "decode_table"),  # field_tables
    (BasicProperties, "decode_short_string"),  # field_tables
    (BasicProperties, "encode_table"),  # field_tables
    (data, "encode_value"),  # field_tables
)


def check(used: Iterable[tuple[Any, str]] = USED) -> None:
    """Raise ImportError if the installed pika does not use one of these names."""
    missing = [f"{owner.__name__}.{name}" for owner, name in used if not _uses(owner, name)]
    if missing:
        text = f"pika {pika.__version__} does not use {', '.join(missing)}, on which the connectors rely"
        raise ImportError(f"{text}: install pika>=1.4,<1.5")


def _uses(owner: Any, name: str) -> bool:
    return any(name in getattr(getattr(each, "__code__", None), "co_names", ()) for each in vars(owner).values())
