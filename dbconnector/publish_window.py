"""Keeps messages under way while more are made: batches are submitted in order, and settled in order.

A row counts as sent when the broker has confirmed its message, and not before.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

from connectorlib.amqp import Broker, Ticket
from connectorlib.errors import Failure
from connectorlib.messages import Outgoing
from connectorlib.service import logs

logger = logging.getLogger(__name__)

#: What waits here besides the publisher's own window, so that it never runs dry; bodies bound the memory.
MAX_MESSAGES = 8000
MAX_BYTES = 16 * 1024 * 1024
#: How long a stop waits for confirms. Less than a service manager waits for the process.
STOP_S = 5.0
#: From when on, and how often, a wait for the broker is told.
TELL_S = 30.0
#: Pauses before messages that a full queue refused are published again.
NACKED_S = (1.0, 2.0, 5.0, 10.0, 30.0)

Row = tuple[Any, ...]
#: Told once per batch: its rows, and for each None (confirmed) or why it failed.
Settled = Callable[[Sequence[Row], Sequence[Failure | None]], None]


@dataclass(slots=True)
class _Flight:
    ticket: Ticket
    rows: Sequence[Row]
    size: int


class Sender:
    """One thread's messages on their way. `send` and `drain` return False once a stop has cut them short."""

    def __init__(self, broker: Broker, stop: Event, settled: Settled) -> None:
        self._broker = broker
        self._publisher = broker.publisher
        self._stop = stop
        self._settled = settled
        self._flights: deque[_Flight] = deque()
        self._messages = 0
        self._bytes = 0
        self._deadline: float | None = None

    def send(self, messages: Sequence[Outgoing], rows: Sequence[Row]) -> bool:
        """Publish a batch; come back when there is room for the next."""
        size = sum(len(message.body) for message in messages)
        self._flights.append(_Flight(self._publisher.submit(messages), rows, size))
        self._messages += len(messages)
        self._bytes += size
        while self._messages > MAX_MESSAGES or self._bytes > MAX_BYTES:
            if not self._settle_first():
                return False
        while self._flights and self._flights[0].ticket.done:
            if not self._settle_first():
                return False
        return True

    def drain(self) -> bool:
        """Come back when everything is settled, or the stop's patience is at its end."""
        complete = True
        while self._flights:
            complete = self._settle_first() and complete
        return complete

    def abandon(self) -> None:
        """Publish nothing more of what has been handed over; nobody will hear of it."""
        while self._flights:
            self._flights.popleft().ticket.abandon()
        self._messages = self._bytes = 0

    def _settle_first(self) -> bool:
        flight = self._flights.popleft()
        self._messages -= len(flight.rows)
        self._bytes -= flight.size
        if not self._wait(flight.ticket):
            # Some of it may be confirmed, and is sent again by the next run: rather twice than marked by mistake.
            flight.ticket.abandon()
            return False
        results = list(flight.ticket.results)
        nacked = self._insist(flight.ticket, results)
        if nacked:
            known = [at for at in range(len(results)) if at not in nacked]
            self._settled([flight.rows[at] for at in known], [results[at] for at in known])
            return False
        self._settled(flight.rows, results)
        return True

    def _insist(self, ticket: Ticket, results: list[Failure | None]) -> set[int]:
        """Publish again what a full queue refused, until it is taken; return what was not when a stop came."""
        attempt = 0
        while nacked := [at for at, failure in enumerate(results) if failure is not None and failure.code == "nacked"]:
            delay = NACKED_S[min(attempt, len(NACKED_S) - 1)]
            logs.event(logger, logging.WARNING, "refused by a queue", messages=len(nacked), next_try=f"{delay:g}s")
            if self._stop.wait(delay):
                return set(nacked)
            again = self._publisher.submit([ticket.messages[at] for at in nacked])
            if not self._wait(again):
                again.abandon()
                return set(nacked)
            for at, failure in zip(nacked, again.results, strict=True):
                results[at] = failure
            attempt += 1
        return set()

    def _wait(self, ticket: Ticket) -> bool:
        started, told = time.monotonic(), 0
        while not self._stop.is_set():
            if ticket.wait(1.0, self._stop):
                return True
            waited = time.monotonic() - started
            if waited > TELL_S * (told + 1):
                told += 1
                self._tell(ticket, waited)
        if self._deadline is None:
            self._deadline = time.monotonic() + STOP_S
        return ticket.wait(max(self._deadline - time.monotonic(), 0.0))

    def _tell(self, ticket: Ticket, waited: float) -> None:
        failure = self._broker.failure
        cause = "the broker takes no messages (alarm)" if self._broker.blocked else failure or "no confirm has come"
        fields: dict[str, Any] = {"seconds": round(waited), "cause": cause, "messages": len(ticket.messages)}
        logs.event(logger, logging.WARNING, "waiting for the broker", **fields)
