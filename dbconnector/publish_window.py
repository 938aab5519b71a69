"""Publishes batches of messages with a window of unconfirmed ones; batches are submitted and settled in order.

A row counts as sent when the broker has confirmed its message, and not before.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from threading import Event
from typing import Any, Generic, TypeVar

from connectorlib.amqp import Broker, Ticket
from connectorlib.dataclass import dataclass
from connectorlib.errors import Failure, Kind
from connectorlib.messages import Outgoing
from connectorlib.pipeline.pause import CONNECT_PATIENCE_S, PauseWait
from connectorlib.service import logs

logger = logging.getLogger(__name__)

#: Messages, and bytes of their bodies, in flight. More than the publisher's own window, so that it never runs dry.
MAX_MESSAGES = 8000
MAX_BYTES = 16 * 1024 * 1024
#: How long a stop waits for confirms. Less than a service manager waits for the process.
STOP_S = 5.0
#: Seconds between the log lines of a wait for the broker.
LOG_S = 30.0
#: Seconds before messages that a full queue refused are published again.
NACKED_S = (1.0, 2.0, 5.0, 10.0, 30.0)

#: What a message is made of: a row, or several.
Item = TypeVar("Item")
#: Called once per batch with the item of each message, and for each None (confirmed) or why it failed.
Settled = Callable[[Sequence[Item], Sequence[Failure | None]], None]


@dataclass(frozen=True, slots=True)
class _Batch(Generic[Item]):
    ticket: Ticket
    items: Sequence[Item]
    size: int


class PublishWindow(Generic[Item]):
    """The messages of one thread in flight. `send` and `drain` return False if a stop has cut them short."""

    def __init__(self, broker: Broker, stop: Event, settled: Settled[Item], pause: PauseWait | None = None) -> None:
        """`pause` is told of a broker that does not take the messages; without it the log is."""
        self._broker = broker
        self._publisher = broker.publisher
        self._stop = stop
        self._settled = settled
        self._pause = pause
        self._in_flight: deque[_Batch[Item]] = deque()
        self._deadline: float | None = None

    def send(self, messages: Sequence[Outgoing], items: Sequence[Item]) -> bool:
        """Publish a batch; return when there is room for the next."""
        size = sum(len(message.body) for message in messages)
        self._in_flight.append(_Batch(self._publisher.submit(messages), items, size))
        while self._in_flight and (self._is_full() or self._in_flight[0].ticket.done):
            if not self._settle_first():
                return False
        return True

    def _is_full(self) -> bool:
        messages = sum(len(batch.items) for batch in self._in_flight)
        size = sum(batch.size for batch in self._in_flight)
        return messages > MAX_MESSAGES or size > MAX_BYTES

    def drain(self) -> bool:
        """Return when everything is settled, or some time after a stop."""
        complete = True
        while self._in_flight:
            complete = self._settle_first() and complete
        return complete

    def abandon(self) -> None:
        """Publish nothing more of what has been submitted, and settle none of it."""
        while self._in_flight:
            self._in_flight.popleft().ticket.abandon()

    def _settle_first(self) -> bool:
        batch = self._in_flight.popleft()
        if not self._wait(batch.ticket):
            # What of it is confirmed is sent again by the next run: twice is better than marked by mistake.
            batch.ticket.abandon()
            return False
        results = list(batch.ticket.results)
        nacked = self._republish(batch.ticket, results)
        if nacked:
            known = [at for at in range(len(results)) if at not in nacked]
            self._settled([batch.items[at] for at in known], [results[at] for at in known])
            return False
        self._settled(batch.items, results)
        return True

    def _republish(self, ticket: Ticket, results: list[Failure | None]) -> set[int]:
        """Publish again what a full queue has refused, until it is confirmed; return what is not when a stop comes."""
        attempt = 0
        while nacked := [at for at, failure in enumerate(results) if failure is not None and failure.code == "nacked"]:
            delay = NACKED_S[min(attempt, len(NACKED_S) - 1)]
            if self._pause is not None and (refused := results[nacked[0]]):
                self._pause.note(refused)
            else:
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
        if attempt and self._pause is not None:
            self._pause.over()
        return set()

    def _wait(self, ticket: Ticket) -> bool:
        started, logged = time.monotonic(), 0
        while not self._stop.is_set():
            if ticket.wait(1.0, self._stop):
                if logged and self._pause is not None:
                    self._pause.over()
                return True
            waited = time.monotonic() - started
            if waited > (LOG_S if self._pause is None else CONNECT_PATIENCE_S) * (logged + 1):
                logged += 1
                self._log_wait(ticket, waited)
        if self._deadline is None:
            self._deadline = time.monotonic() + STOP_S
        return ticket.wait(max(self._deadline - time.monotonic(), 0.0))

    def _log_wait(self, ticket: Ticket, waited: float) -> None:
        failure = self._broker.failure
        cause = (
            f"the broker blocks publishers, it is {self._broker.alarm}"
            if self._broker.alarm
            else failure or "no confirm has come"
        )
        if self._pause is not None:
            known = self._broker.failure
            self._pause.note(known or Failure(Kind.UNAVAILABLE, "no-confirm", str(cause), "broker"))
            return
        fields: dict[str, Any] = {"seconds": round(waited), "cause": cause, "messages": len(ticket.messages)}
        logs.event(logger, logging.WARNING, "waiting for the broker", **fields)
