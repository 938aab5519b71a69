"""Keeps browsing from deleting messages.

A quorum queue counts how often a message was requeued, and deletes it (or dead-letters it again) beyond the delivery
limit. AMQP shows the count, but the limit only if it is an argument of the queue: that of a policy is known to the
management API alone, which is asked when the count begins to matter.
"""

import json
import logging
import tempfile
from collections.abc import Callable, Iterable
from math import inf
from typing import Any

from connectorlib.amqp import Broker, Browser, inspection, topology
from connectorlib.amqp.field_tables import kept
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import Delivery, Outgoing
from deadletterqueue.jsonl import KEPT, line_of

logger = logging.getLogger(__name__)

#: If the limit is unknown: the count at which browsing stops, and from which on a message is not requeued. The default
#: limit of RabbitMQ 4 is 20.
UNKNOWN_STOP, UNKNOWN_END = 15, 20
#: With a lower limit than this, every message is checked, from the first one on.
FEW_LOOKS = 1_000
CONFIRM_S = 30.0
#: CC and BCC would route the copy to other queues too; the counts are the broker's.
_LEFT_OUT = frozenset({"CC", "BCC", "x-delivery-count", "x-acquired-count"})


def delivery_limit(kind: str, own: int | None, policy: int | None, version: tuple[int, ...]) -> float:
    """Return how often a message may be requeued: in a queue of this type, with this argument, policy and RabbitMQ."""
    given = [each for each in (own, policy) if each is not None]
    if kind != "quorum":
        return inf
    if version < (4,):
        return min(given, default=inf)
    counted = [each for each in given if each >= 0]
    return min(counted, default=inf) if given else 20


class DeliveryLimit:
    """Watches the delivery counts during one walk through one queue."""

    def __init__(
        self,
        broker: Broker,
        queue: str,
        *,
        virtual_host: str = "/",
        policies: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        """`policies` asks the management API about the queue; it raises Failed if there is no answer."""
        self._broker = broker
        self._queue = queue
        self._virtual_host = virtual_host
        self._policies = policies
        self._limit: float | None = None
        self._own: int | None = None
        self._asked = False
        #: Whether the limit has ended the walk.
        self.stopped = False
        #: Whether the queue requeues messages at their old position, as a classic one does.
        self.in_place = False
        self._doomed: dict[tuple[int, int], Delivery] = {}

    @property
    def wary(self) -> bool:
        """Whether browsing could delete messages."""
        return self._limit is None or self._limit < FEW_LOOKS

    def begin(self) -> None:
        """Find the limit as far as AMQP shows it. Raise Failed if not even one delivery is safe."""
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
        """Remember the messages that would be deleted if they were requeued."""
        end = UNKNOWN_END if self._limit is None else self._limit
        for delivery in batch:
            if _count(delivery) >= end:
                self._doomed[delivery.generation, delivery.tag] = delivery

    def look(self, delivery: Delivery) -> None:
        """Raise Failed if the walk has to stop at this message."""
        count = _count(delivery)
        if count >= self._stop_at:
            self._ask()
        if count >= self._stop_at:
            self.stopped = True
            raise Failed(self._failure(count))

    def acked(self, deliveries: Iterable[Delivery]) -> None:
        """Note that these have left the queue."""
        for delivery in deliveries:
            self._doomed.pop((delivery.generation, delivery.tag), None)

    def rescue(self, browser: Browser) -> None:
        """Copy the messages that would be deleted to the end of the queue, and remove the originals."""
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
            text = "%d messages of %s were moved to its end: one more requeue would have deleted them"
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
        told = limit_told(found, self._broker.server_version)
        self._limit = self._limit if told is None else told

    def _failure(self, count: int) -> Failure:
        known = f"{self._limit:g}" if self._limit is not None else "not known here, 20 by default from RabbitMQ 4.0 on"
        definition = {"delivery-limit": topology.DEAD_LETTER_DELIVERY_LIMIT}
        policy = inspection.set_policy(self._queue, definition, self._virtual_host)
        if self._own is not None:
            how = (
                "The limit is an argument of the queue, which no policy raises: replay or purge its messages, which "
                "works as before, and delete it when it is empty; `deadletter-queue` recreates it"
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
        with tempfile.NamedTemporaryFile("w", prefix="deadletter-queue-", suffix=".jsonl", delete=False) as file:
            file.writelines(json.dumps(line_of(each)) + "\n" for each in deliveries)
        logger.error(
            "%d messages of %s could not be moved and may be deleted when they are requeued; they are saved in %s, "
            "for `deadletter-queue import`",
            *(len(deliveries), self._queue, file.name),
        )


def limit_told(queue: dict[str, Any], version: tuple[int, ...]) -> float | None:
    """Return the delivery limit, given a queue as the management API describes it. None: that does not know it yet; for
    some ten seconds it describes a new queue without its policy."""
    if "effective_policy_definition" not in queue:
        return None
    arguments, policy = queue.get("arguments"), queue["effective_policy_definition"]
    own = arguments.get("x-delivery-limit") if isinstance(arguments, dict) else None
    set_by = policy.get("delivery-limit") if isinstance(policy, dict) else None  # an empty one is a list in 3.10
    return delivery_limit(
        str(queue.get("type")),
        own if isinstance(own, int) else None,
        set_by if isinstance(set_by, int) else None,
        version,
    )


def _count(delivery: Delivery) -> int:
    # Not `x-acquired-count`, which from RabbitMQ 4.3 on has more than what the limit is compared with.
    count = delivery.headers.get("x-delivery-count")
    return count if isinstance(count, int) else 0


def copied(delivery: Delivery, queue: str) -> Outgoing:
    """Return a copy of a message, for this queue."""
    properties: dict[str, Any] = {
        name: value for name in KEPT if (value := getattr(delivery.properties, name)) is not None
    }
    properties["headers"] = {name: value for name, value in kept(delivery.headers).items() if name not in _LEFT_OUT}
    return Outgoing("", queue, delivery.body, properties)
