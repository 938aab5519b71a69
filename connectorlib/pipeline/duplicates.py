"""Keys that come twice: in one batch, where the second waits for the first; or already there on a first delivery."""

import logging
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from connectorlib.messages import Delivery
from connectorlib.service import logs

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: So many in one batch are told by one loud line instead of one line each.
LOUD = 10


def by_first(items: Sequence[T], key_of: Callable[[T], Hashable | None]) -> tuple[list[T], list[tuple[T, T]]]:
    """Split items into the first of every key (and all without a key), and (later, first) pairs of those that share
    one."""
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
    """Given deliveries whose key (beside each) was already there, tell of those that nobody delivered before: a device
    whose ids start again at 1 loses its messages unseen.

    `key` is where keys come from, as configured.
    """
    fresh = [(d, text) for d, text in repeated if not d.redelivered and "dead-replays" not in d.headers]
    for delivery, text in fresh[: 1 if len(fresh) >= LOUD else LOUD]:
        logs.event(
            logger,
            logging.WARNING,
            "already there on a first delivery",
            queue=delivery.queue,
            message_id=delivery.properties.message_id,
            key=text,
        )
    if len(fresh) >= LOUD:
        logs.event(
            logger,
            logging.ERROR,
            "many messages have a key that is already there: does a device count from 1 again?",
            messages=len(fresh),
            key=key,
        )
