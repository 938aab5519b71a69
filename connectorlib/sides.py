"""What the pump knows of the far side: one, or several that share a queue. Interfaces only; connectors have them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from connectorlib.errors import Failure
from connectorlib.messages import Delivery, Outcome, Wait


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
