"""Keeps a look at a queue from deleting what it looks at.

A quorum queue counts how often a message came back, and deletes it (or dead-letters it once more) when that is more
often than its delivery limit. AMQP shows the count, and the limit only where it is an argument of the queue: what a
policy says only the management API knows, which is asked when the count begins to matter.
"""

import json
import logging
import tempfile
from collections.abc import Callable, Iterable
from math import inf
from typing import Any

from connectorlib.amqp import Broker, Browser, inspection, topology
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import Delivery
from deadletterqueue.copied import copied

logger = logging.getLogger(__name__)

#: With a limit that nobody can tell: where looking stops, and from where on a message is not given back. RabbitMQ 4
#: has a limit of 20 unless it is told otherwise.
UNKNOWN_STOP, UNKNOWN_END = 15, 20
#: A queue with fewer looks than this is looked at with care from the first message on.
FEW_LOOKS = 1_000
CONFIRM_S = 30.0


def delivery_limit(kind: str, own: int | None, policy: int | None, version: tuple[int, ...]) -> float:
    """Return how often a message may come back: of a queue of this type, with this argument, policy and RabbitMQ."""
    given = [each for each in (own, policy) if each is not None]
    if kind != "quorum":
        return inf
    if version < (4,):
        return min(given, default=inf)
    counted = [each for each in given if each >= 0]
    return min(counted, default=inf) if given else 20


class Guard:
    """Of one queue and one walk through it."""

    def __init__(
        self,
        broker: Broker,
        queue: str,
        *,
        virtual_host: str = "/",
        policies: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        """`policies` asks the management API about the queue; it raises Failed when that cannot be asked."""
        self._broker = broker
        self._queue = queue
        self._virtual_host = virtual_host
        self._policies = policies
        self._limit: float | None = None
        self._own: int | None = None
        self._asked = False
        #: Whether it has stopped the walk.
        self.stopped = False
        #: Whether the queue puts what comes back where it was, as a classic one does.
        self.in_place = False
        self._doomed: dict[tuple[int, int], Delivery] = {}

    @property
    def wary(self) -> bool:
        """Whether a look could cost messages."""
        return self._limit is None or self._limit < FEW_LOOKS

    def begin(self) -> None:
        """Learn what AMQP tells. Raise Failed when not even one look is safe."""
        found = topology.arguments_of(self._broker, self._queue)
        if found is not None:
            own = found.get("x-delivery-limit")
            self._own = own if isinstance(own, int) else None
            if found.get("x-queue-type") != "quorum":
                self._limit = inf
                self.in_place = True
            elif self._own is not None:
                self._limit = delivery_limit("quorum", self._own, None, self._broker.server_version)
        if self._stop_at < 1:
            self._ask()
        if self._stop_at < 1:
            raise Failed(self._failure(0))

    def note(self, batch: Iterable[Delivery]) -> None:
        """Remember what would be deleted if it was given back."""
        end = UNKNOWN_END if self._limit is None else self._limit
        for delivery in batch:
            if _count(delivery) >= end:
                self._doomed[delivery.generation, delivery.tag] = delivery

    def look(self, delivery: Delivery) -> None:
        """Raise Failed when the walk has to stop here."""
        count = _count(delivery)
        if count >= self._stop_at:
            self._ask()
        if count >= self._stop_at:
            self.stopped = True
            raise Failed(self._failure(count))

    def acked(self, deliveries: Iterable[Delivery]) -> None:
        """These are out of the queue."""
        for delivery in deliveries:
            self._doomed.pop((delivery.generation, delivery.tag), None)

    def rescue(self, browser: Browser) -> None:
        """Copy to the end of the queue what would not survive being given back, and remove it where it was."""
        end = UNKNOWN_END if self._limit is None else self._limit
        doomed = [each for each in self._doomed.values() if _count(each) >= end]
        if not doomed or browser.failure is not None:
            return
        ticket = self._broker.publisher.submit([copied(each, self._queue) for each in doomed])
        ticket.wait(CONFIRM_S)
        safe = [each for each, failure in zip(doomed, ticket.results, strict=True) if ticket.done and failure is None]
        browser.end_window()
        browser.ack(safe)
        if safe:
            text = "%d messages of %s were moved to its end: given back once more they would have been deleted"
            logger.warning(text, len(safe), self._queue)
        if len(safe) < len(doomed):
            self._save([each for each in doomed if each not in safe])

    @property
    def _stop_at(self) -> float:
        return UNKNOWN_STOP if self._limit is None else self._limit * 3 // 4

    def _ask(self) -> None:
        """Ask the management API for the limit, once."""
        if self._asked or self._policies is None:
            return
        self._asked = True
        try:
            found = self._policies()
        except Failed as error:
            logger.debug("the management API does not tell the delivery limit: %s", error)
            return
        self._limit = limit_told(found, self._broker.server_version)

    def _failure(self, count: int) -> Failure:
        known = f"{self._limit:g}" if self._limit is not None else "not known here, 20 by default from RabbitMQ 4.0 on"
        definition = {"delivery-limit": topology.DEAD_LETTER_DELIVERY_LIMIT}
        policy = inspection.set_policy(self._queue, definition, self._virtual_host)
        if self._own is not None:
            how = (
                "The limit is an argument of the queue, which no policy raises: replay or purge its messages, which "
                "works as before, and delete it when it is empty; `deadletter-queue` makes it anew"
            )
        else:
            how = (
                f"Raise the limit: {policy}\nThen look again; --management-url tells where the management API is that "
                "can see it"
            )
        return Failure(
            Kind.CONFIGURATION,
            "delivery-limit",
            f"looking stops here, nothing is lost: a message has come back {count} times, and this queue deletes one "
            f"that comes back more often than its delivery limit ({known}). Every look brings it nearer.\n{how}",
            f"queue {self._queue!r}",
        )

    def _save(self, deliveries: list[Delivery]) -> None:
        from deadletterqueue.jsonl import line_of  # late: only for what should not happen

        with tempfile.NamedTemporaryFile("w", prefix="deadletter-queue-", suffix=".jsonl", delete=False) as file:
            file.writelines(json.dumps(line_of(each)) + "\n" for each in deliveries)
        logger.error(
            "%d messages of %s could not be moved and may be deleted when they are given back; they are saved in %s, "
            "for `deadletter-queue import`",
            *(len(deliveries), self._queue, file.name),
        )


def limit_told(queue: dict[str, Any], version: tuple[int, ...]) -> float:
    """Given what the management API says of a queue, return its delivery limit."""
    arguments, policy = queue.get("arguments"), queue.get("effective_policy_definition")
    own = arguments.get("x-delivery-limit") if isinstance(arguments, dict) else None
    set_by = policy.get("delivery-limit") if isinstance(policy, dict) else None  # an empty one is a list in 3.10
    return delivery_limit(
        str(queue.get("type")),
        own if isinstance(own, int) else None,
        set_by if isinstance(set_by, int) else None,
        version,
    )


def _count(delivery: Delivery) -> int:
    count = delivery.headers.get("x-delivery-count")
    return count if isinstance(count, int) else 0
