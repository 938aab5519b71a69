"""What the pump knows of a sink, which brings messages to a target: a database, an org, a server.

Rule: whatever a sink raises becomes a failure. A bug in it must lose neither a message nor the process.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from connectorlib.errors import Failed, Failure, Kind, Stale
from connectorlib.messages import Again, Delivery, Outcome

logger = logging.getLogger(__name__)


class Sink(Protocol):
    """Writes batches to a target. It never sees a channel, and a delivery's `tag` means nothing to it."""

    @property
    def passed(self) -> Mapping[str, int]:
        """How many messages have passed each place (`Failure.place`) so far, zeros included; under `blame.ALL` how
        many there were in all."""

    def probe(self) -> None:
        """Ask the target for a sign of life on a fresh connection. Raise Failed if there is none."""

    def handle(
        self, deliveries: Sequence[Delivery], valid: Callable[[], bool], isolating: bool = False
    ) -> list[Outcome]:
        """Return one outcome per delivery, not `Later` for all of them. Ask `valid()` once more before a commit; if it
        is false, roll back and raise Stale. `isolating`: they have failed before and are tried apart from others, which
        wait meanwhile, so a wait for a lock should be short. A sink with a `flood.Brake` returns what it is handed in a
        flood as `Again`, and asks the target again what it accepts before it tries the next message."""


def handled(
    sink: Sink, deliveries: Sequence[Delivery], valid: Callable[[], bool], isolating: bool = False
) -> list[Outcome]:
    """Return the sink's outcomes; what it raises becomes a failure of every delivery. Raise only Stale."""
    try:
        return sink.handle(deliveries, valid, isolating)
    except Stale:
        raise
    except Failed as failed:
        return [Again(failed.failure)] * len(deliveries)
    except Exception as error:  # the blame rule decides
        return [Again(_bug(error))] * len(deliveries)


def probed(probe: Callable[[], None]) -> Failure | None:
    """Return why there is no sign of life, None if there is one."""
    try:
        probe()
    except Failed as failed:
        return failed.failure
    except Exception as error:  # nothing is known of the target, so nothing is blamed on a message
        return _bug(error)
    return None


def _bug(error: Exception) -> Failure:
    logger.exception("bug", extra={"event": "bug"})
    return Failure(Kind.UNKNOWN, "bug", f"{type(error).__name__}: {error}", place="bug")
