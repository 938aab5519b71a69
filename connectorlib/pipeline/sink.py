"""What the pump knows of the far side: one, or several that share a queue; and how they are called.

Rule: whatever a far side raises becomes a failure. A bug of ours must lose neither a message nor the process.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from connectorlib.errors import Failed, Failure, Kind, Stale
from connectorlib.messages import Again, Delivery, Outcome, Wait

logger = logging.getLogger(__name__)


class Side(Protocol):
    """What is known of a far side without a message."""

    @property
    def passed(self) -> Mapping[str, int]:
        """How many messages have passed each place (`Failure.place`) so far, zeros included; under `policy.ALL` how
        many there were in all."""

    def probe(self) -> None:
        """Ask the far side for a sign of life on a fresh connection. Raise Failed if there is none."""


class Handler(Side, Protocol):
    """What a connector does with a batch. It never sees a channel, and `tag` means nothing to it."""

    def handle(self, deliveries: Sequence[Delivery], valid: Callable[[], bool]) -> list[Outcome]:
        """Return one outcome per delivery, not `Later` for all of them. Ask `valid()` once more before a commit; if
        not, roll back, raise Stale."""


class Part(Side, Protocol):
    """One of several far sides behind a queue: what becomes of the others' messages says nothing about its own."""

    def hold(self, failure: Failure) -> Wait:
        """Pause it alone; return how what is in hand for it waits."""


def handled(handler: Handler, deliveries: Sequence[Delivery], valid: Callable[[], bool]) -> list[Outcome]:
    """Return the handler's outcomes; what it raises is done again by the rules. Raise only Stale."""
    try:
        return handler.handle(deliveries, valid)
    except Stale:
        raise
    except Failed as failed:
        return [Again(failed.failure)] * len(deliveries)
    except Exception as error:  # the blame rule decides
        return [Again(_bug(error))] * len(deliveries)


def probed(probe: Callable[[], None]) -> Failure | None:
    """Return why there is no sign of life; None: there is one."""
    try:
        probe()
    except Failed as failed:
        return failed.failure
    except Exception as error:  # nothing is known of the far side, so nothing is blamed on a message
        return _bug(error)
    return None


def _bug(error: Exception) -> Failure:
    logger.exception("bug", extra={"event": "bug"})
    return Failure(Kind.UNKNOWN, "bug", f"{type(error).__name__}: {error}", place="bug")
