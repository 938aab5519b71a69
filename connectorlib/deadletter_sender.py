"""Publishes dead letters, and says when the broker has them. What one looks like is in `deadletter`."""

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from connectorlib import logs
from connectorlib.deadletter import bounded, dead_letter
from connectorlib.errors import Failure
from connectorlib.messages import Dead, Delivery, Outgoing
from connectorlib.settings import DeadLetterSettings

if TYPE_CHECKING:
    from connectorlib.broker import Publisher, Ticket

logger = logging.getLogger(__name__)

#: Called with the deliveries whose dead letters are safe; runs in the I/O thread and must not block.
Buried = Callable[[Sequence[Delivery]], None]
Letter = tuple[Delivery, Outgoing]


class DeadLetterSender:
    """Sends dead letters, pipelined. What could not be sent stays in `failed` until `resend` is called.

    `send` and `resend` belong to one worker thread; confirms arrive in the I/O thread.
    """

    def __init__(self, publisher: "Publisher", settings: DeadLetterSettings, connector: str) -> None:
        self._publisher = publisher
        self._settings = settings
        self._connector = connector
        self._changed = threading.Condition()
        self._pending = 0
        self._failed: list[tuple[Letter, Buried, Failure]] = []
        #: Called from the I/O thread when something failed, to wake a sleeping pump.
        self.on_failure: Callable[[], None] = lambda: None

    @property
    def failure(self) -> Failure | None:
        """Why the oldest dead letter that is waiting to be sent again could not be sent."""
        with self._changed:
            return self._failed[0][2] if self._failed else None

    def send(self, dead: Sequence[tuple[Delivery, Dead]], buried: Buried) -> None:
        """Publish one dead letter each; `buried` is called with every delivery whose dead letter is confirmed."""
        now = datetime.now(UTC)
        letters = []
        for delivery, verdict in dead:
            self._log(delivery, verdict)
            outgoing = dead_letter(delivery, verdict, settings=self._settings, connector=self._connector, now=now)
            letters.append((delivery, outgoing))
        self._submit(letters, buried)

    def resend(self) -> None:
        """Publish again, one by one, what failed: one that the broker refuses takes no other along."""
        with self._changed:
            failed, self._failed = self._failed, []
        for letter, buried, _ in failed:
            self._submit([letter], buried)

    def wait(self, timeout: float) -> bool:
        """Wait until nothing is on its way; return whether all that was sent is confirmed."""
        with self._changed:
            self._changed.wait_for(lambda: not self._pending, timeout)
            return not self._pending and not self._failed

    def _submit(self, letters: Sequence[Letter], buried: Buried) -> None:
        with self._changed:
            self._pending += len(letters)

        def done(ticket: "Ticket") -> None:
            results = list(zip(letters, ticket.results, strict=True))
            buried([delivery for (delivery, _), failure in results if failure is None])
            with self._changed:
                self._failed.extend((letter, buried, failure) for letter, failure in results if failure)
                self._pending -= len(letters)
                self._changed.notify_all()
                failed = bool(self._failed)
            if failed:
                self.on_failure()

        self._publisher.submit([outgoing for _, outgoing in letters], done)

    def _log(self, delivery: Delivery, verdict: Dead) -> None:
        logs.event(
            logger,
            logging.WARNING,
            "dead-lettered",
            queue=delivery.queue,
            reason=verdict.reason,
            code=verdict.failure.code,
            detail=bounded(verdict.failure.detail or verdict.failure.place, 300),
            text=bounded(verdict.failure.text, 300),
            message_id=delivery.properties.message_id,
        )
