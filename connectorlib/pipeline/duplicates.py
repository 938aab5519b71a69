"""Duplicate keys: in one batch, where the second waits for the first, or already written on a first delivery."""

import logging
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from connectorlib.messages import Delivery
from connectorlib.service import logs

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: From this many in one batch on, one error is logged instead of a warning each.
MANY = 10


def by_first(items: Sequence[T], key_of: Callable[[T], Hashable | None]) -> tuple[list[T], list[tuple[T, T]]]:
    """Return the first item of every key, with all items without a key; and (later, first) pairs of duplicates."""
    first: dict[Hashable, T] = {}
    firsts: list[T] = []
    later: list[tuple[T, T]] = []
    for item in items:
        key = key_of(item)
        before = item if key is None else first.setdefault(key, item)
        if before is item:
            firsts.append(item)
        else:
            later.append((item, before))
    return firsts, later


def warn_of_reuse(repeated: Sequence[tuple[Delivery, str]], key: str) -> None:
    """Given deliveries whose key was already written, with the key, warn of those on their first delivery: a device
    whose ids start again at 1 loses its messages silently. `key` is the configured expression."""
    fresh = [(d, text) for d, text in repeated if not d.redelivered and "dead-replays" not in d.headers]
    for delivery, text in fresh[: 1 if len(fresh) >= MANY else MANY]:
        logs.event(
            logger,
            logging.WARNING,
            "already there on a first delivery",
            queue=delivery.queue,
            message_id=delivery.properties.message_id,
            key=text,
        )
    if len(fresh) >= MANY:
        logs.event(
            logger,
            logging.ERROR,
            "many messages have a key that is already there: does a device count from 1 again?",
            messages=len(fresh),
            key=key,
        )
