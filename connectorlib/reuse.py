"""Keys that are already there on a first delivery: a device whose ids start again at 1 loses its messages unseen."""

import logging
from collections.abc import Sequence

from connectorlib import logs
from connectorlib.messages import Delivery

logger = logging.getLogger(__name__)

#: So many in one batch are told by one loud line instead of one line each.
LOUD = 10


def warn_of_reuse(repeated: Sequence[tuple[Delivery, str]], key: str) -> None:
    """Given deliveries whose key (beside each) was already there, tell of those that nobody delivered before.

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
