"""Has the connector whose configuration file is given check a message, without any network.

The connectors are found by the entry points of the group `amqp_connectors.offline`: this package imports none of them.
"""

import copy
from collections.abc import Callable
from importlib.metadata import entry_points

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import Delivery

GROUP = "amqp_connectors.offline"

#: Given a message, returns what would keep it from being processed; None if the connector does not consume its queue.
Check = Callable[[Delivery], list[str] | None]
#: Given a configuration file, returns its check; None if the file belongs to another connector. Raises Failed.
Opener = Callable[[str], Check | None]


def open_check(file: str) -> Check:
    """Return the check of the connector that the file belongs to. Raise Failed if there is none."""
    for point in entry_points(group=GROUP):
        opener: Opener = point.load()
        check = opener(file)
        if check is not None:
            return check
    text = f"{file}: no connector that is installed here has such a configuration"
    raise Failed(Failure(Kind.CONFIGURATION, "configuration", text))


def at_queue(check: Check | None, queue: str | None) -> Check | None:
    """Return the check of messages that are sent to this queue; without one, to that in which each died."""
    if check is None or queue is None:
        return check
    known = check

    def moved(delivery: Delivery) -> list[str] | None:
        there = copy.copy(delivery)
        there.queue = queue
        return known(there)

    return moved
