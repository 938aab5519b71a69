"""Publishes dead letters, and reports when the broker has confirmed them. Their content is made in `dead_letter`."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from connectorlib.errors import Failure, Kind
from connectorlib.messages import Dead, Delivery, Outgoing
from connectorlib.pipeline.dead_letter import dead_letter, only_reasons, without_properties
from connectorlib.service import logs
from connectorlib.shared_settings import DeadLetterSettings
from connectorlib.values.text import cut_bytes

if TYPE_CHECKING:
    from connectorlib.amqp import Publisher, Ticket

logger = logging.getLogger(__name__)

#: Seconds without a confirm after which unconfirmed dead letters are a failure.
CONFIRM_S = 30.0
UNCONFIRMED = Failure(Kind.UNAVAILABLE, "unconfirmed", "the broker does not confirm dead letters", "dead letters")
BAD_PROPERTY = "bad-property"  # the publisher's code for a property that AMQP cannot carry

#: Called with the deliveries whose dead letters are confirmed; runs in the I/O thread and must not block.
Confirmed = Callable[[Sequence[Delivery]], None]
Letter = tuple[Delivery, Outgoing]


class DeadLetterPublisher:
    """Publishes dead letters without waiting for each confirm. What failed is kept until `resend` is called.

    `send` and `resend` are called by one worker thread; confirms arrive in the I/O thread.
    """

    def __init__(self, publisher: "Publisher", settings: DeadLetterSettings, connector: str) -> None:
        self._publisher = publisher
        self._settings = settings
        self._connector = connector
        self._changed = threading.Condition()
        self._pending = 0
        #: When the last confirm came, or the first unconfirmed dead letter was sent (monotonic).
        self._pending_since = 0.0
        self._failed: list[tuple[Letter, Confirmed, Failure]] = []
        #: Called in the I/O thread after a failure, to wake a sleeping pump.
        self.on_failure: Callable[[], None] = lambda: None
        #: Called in the worker thread with each message that is dead-lettered.
        self.on_dead: Callable[[Delivery, Dead], object] = lambda delivery, verdict: None

    @property
    def failure(self) -> Failure | None:
        """Why the oldest failed dead letter could not be sent, or that confirms are overdue."""
        with self._changed:
            if self._failed:
                return self._failed[0][2]
            late = self._pending and time.monotonic() - self._pending_since > CONFIRM_S
            return UNCONFIRMED if late else None

    @property
    def oldest(self) -> float:
        """When the oldest delivery with a failed dead letter arrived; without one, since when one is unconfirmed."""
        with self._changed:
            return min((letter[0].received for letter, _, _ in self._failed), default=self._pending_since)

    def send(self, dead: Sequence[tuple[Delivery, Dead]], confirmed: Confirmed) -> None:
        """Publish one dead letter each; `confirmed` is called with every delivery whose dead letter is confirmed."""
        now = datetime.now(UTC)
        self.note(dead)
        self._submit([(delivery, self._letter(delivery, verdict, now)) for delivery, verdict in dead], confirmed)

    def note(self, dead: Sequence[tuple[Delivery, Dead]]) -> None:
        """Log and count messages that are dead-lettered, here or by the broker."""
        for delivery, verdict in dead:
            self._log(delivery, verdict)
            self._notify(delivery, verdict)

    def _notify(self, delivery: Delivery, verdict: Dead) -> None:
        try:
            self.on_dead(delivery, verdict)
        except Exception:  # a bug in the callback must not keep the message from its dead letter
            logger.exception("bug: a dead letter was not reported", extra={"event": "bug"})

    def _letter(self, delivery: Delivery, verdict: Dead, now: datetime) -> Outgoing:
        make = partial(dead_letter, settings=self._settings, connector=self._connector, now=now)
        try:
            return make(delivery, verdict)
        except Exception:  # headers can hold anything: one odd message must not end the worker
            logger.exception("bug: a dead letter without the message's own properties", extra={"event": "bug"})
            return make(without_properties(delivery), verdict)

    def resend(self) -> None:
        """Publish again what failed, one by one, so that one that the broker refuses affects no other."""
        with self._changed:
            failed, self._failed = self._failed, []
        for (delivery, outgoing), confirmed, failure in failed:
            if failure.code == BAD_PROPERTY:  # caused by the message's headers: those with the reasons always fit
                outgoing.properties = {"headers": only_reasons(outgoing.properties["headers"])}
            self._submit([(delivery, outgoing)], confirmed)

    def wait(self, timeout: float) -> bool:
        """Wait until nothing is unconfirmed; return whether all that was sent is confirmed."""
        with self._changed:
            self._changed.wait_for(lambda: not self._pending, timeout)
            return not self._pending and not self._failed

    def _submit(self, letters: Sequence[Letter], confirmed: Confirmed) -> None:
        with self._changed:
            self._pending_since = self._pending_since if self._pending else time.monotonic()
            self._pending += len(letters)

        def done(ticket: "Ticket") -> None:
            results = list(zip(letters, ticket.results, strict=True))
            confirmed([delivery for (delivery, _), failure in results if failure is None])
            with self._changed:
                self._failed.extend((letter, confirmed, failure) for letter, failure in results if failure)
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
