"""Publishes dead letters, and says when the broker has them. What one looks like is in `deadletter`."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from connectorlib.errors import Failure, Kind
from connectorlib.messages import Dead, Delivery, Outgoing
from connectorlib.pipeline.dead_letter import bared, dead_letter, only_reasons
from connectorlib.service import logs
from connectorlib.shared_settings import DeadLetterSettings
from connectorlib.values.text import cut_bytes

if TYPE_CHECKING:
    from connectorlib.amqp import Publisher, Ticket

logger = logging.getLogger(__name__)

#: Seconds without any confirm after which dead letters on their way count as stuck.
CONFIRM_S = 30.0
UNCONFIRMED = Failure(Kind.UNAVAILABLE, "unconfirmed", "the broker does not confirm dead letters", "dead letters")
BAD_PROPERTY = "bad-property"  # the publisher's word for what AMQP cannot carry

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
        #: Since when something is on its way without an answer (monotonic).
        self._pending_since = 0.0
        self._failed: list[tuple[Letter, Buried, Failure]] = []
        #: Called from the I/O thread when something failed, to wake a sleeping pump.
        self.on_failure: Callable[[], None] = lambda: None
        #: Called from the worker with each message that dies, for whoever else has to know.
        self.on_dead: Callable[[Delivery, Dead], object] = lambda delivery, verdict: None

    @property
    def failure(self) -> Failure | None:
        """Why the oldest dead letter that is waiting to be sent again could not be sent, or is not confirmed yet."""
        with self._changed:
            if self._failed:
                return self._failed[0][2]
            late = self._pending and time.monotonic() - self._pending_since > CONFIRM_S
            return UNCONFIRMED if late else None

    @property
    def oldest(self) -> float:
        """When the oldest delivery arrived whose dead letter failed; else since when one is on its way (monotonic)."""
        with self._changed:
            return min((letter[0].received for letter, _, _ in self._failed), default=self._pending_since)

    def send(self, dead: Sequence[tuple[Delivery, Dead]], buried: Buried) -> None:
        """Publish one dead letter each; `buried` is called with every delivery whose dead letter is confirmed."""
        now = datetime.now(UTC)
        for delivery, verdict in dead:
            self._log(delivery, verdict)
            self._tell(delivery, verdict)
        self._submit([(delivery, self._letter(delivery, verdict, now)) for delivery, verdict in dead], buried)

    def _tell(self, delivery: Delivery, verdict: Dead) -> None:
        try:
            self.on_dead(delivery, verdict)
        except Exception:  # somebody else's code: it must neither end the worker nor keep the message from its grave
            logger.exception("bug: nobody was told of a dead letter", extra={"event": "bug"})

    def _letter(self, delivery: Delivery, verdict: Dead, now: datetime) -> Outgoing:
        try:
            return dead_letter(delivery, verdict, settings=self._settings, connector=self._connector, now=now)
        except Exception:  # headers can hold anything: one odd message must neither end the worker nor its neighbours
            logger.exception("bug: a dead letter without the message's own properties", extra={"event": "bug"})
            return dead_letter(bared(delivery), verdict, settings=self._settings, connector=self._connector, now=now)

    def resend(self) -> None:
        """Publish again, one by one, what failed: one that the broker refuses takes no other along."""
        with self._changed:
            failed, self._failed = self._failed, []
        for (delivery, outgoing), buried, failure in failed:
            if failure.code == BAD_PROPERTY:  # something of the message's own: what says why it died is ours, and fits
                outgoing.properties = {"headers": only_reasons(outgoing.properties["headers"])}
            self._submit([(delivery, outgoing)], buried)

    def wait(self, timeout: float) -> bool:
        """Wait until nothing is on its way; return whether all that was sent is confirmed."""
        with self._changed:
            self._changed.wait_for(lambda: not self._pending, timeout)
            return not self._pending and not self._failed

    def _submit(self, letters: Sequence[Letter], buried: Buried) -> None:
        with self._changed:
            self._pending_since = self._pending_since if self._pending else time.monotonic()
            self._pending += len(letters)

        def done(ticket: "Ticket") -> None:
            results = list(zip(letters, ticket.results, strict=True))
            buried([delivery for (delivery, _), failure in results if failure is None])
            with self._changed:
                self._failed.extend((letter, buried, failure) for letter, failure in results if failure)
                self._pending -= len(letters)
                self._pending_since = time.monotonic()
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
            detail=cut_bytes(verdict.failure.detail or verdict.failure.place, 300),
            text=cut_bytes(verdict.failure.text.partition("DETAIL:")[0], 300),  # PostgreSQL's DETAIL has the row
            message_id=delivery.properties.message_id,
        )
