"""The simplest kind of sink sends one message at a time: subclass `MessageSink`, and write `ping` and `send`."""

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from connectorlib.errors import Failed, Failure, Kind, Stale
from connectorlib.messages import DONE, Again, Dead, Delivery, Outcome
from connectorlib.monitoring.counters import SinkMetric
from connectorlib.pipeline.blame import ALL, PAUSING
from connectorlib.pipeline.flood import Brake
from connectorlib.pipeline.pause import hint
from connectorlib.pipeline.sink import probed


class MessageSink(ABC):
    """Sends a batch message by message, in order. Used by one thread; `stuck` may be called from any.

    `connected_since`, `opened` and `about` are what the status shows of the target.
    """

    #: How hints and the status call the target: `start the HTTP server`.
    target = "target"
    #: Seconds after which a call counts as stuck and the process ends, to be restarted.
    deadline_s = 120.0
    #: Metrics of its own, besides those of every flow.
    metrics: Sequence[SinkMetric] = ()

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter({ALL: 0})
        self.connected_since: float | None = None
        self.opened = 0
        self.about = ""
        #: Counts what the target refuses; the program sets the limit of its configuration (`retry.flood`).
        self.brake = Brake(0)
        self._call_began: float | None = None

    @abstractmethod
    def ping(self) -> None:
        """Ask the target for a sign of life. Raise Failed (`unavailable`, `refused`) if there is none."""

    @abstractmethod
    def send(self, delivery: Delivery) -> None:
        """Send one message, and return once the target has it. Raise Failed: `reject` dead-letters the message,
        `unavailable` pauses the flow. A `reject` with `by_target` counts for the flood brake."""

    def hint(self, failure: Failure) -> str:
        """Return what a person can do about a failure."""
        return hint(failure, self.target)

    def close(self) -> None:  # noqa: B027 - optional
        """Close what is open; called once, at the end."""

    def probe(self) -> None:
        with self._timed():
            self.ping()

    def handle(
        self, deliveries: Sequence[Delivery], valid: Callable[[], bool], isolating: bool = False
    ) -> list[Outcome]:
        """Return one outcome per delivery. After a failure that may pass nothing more is sent, to keep the order."""
        outcomes: list[Outcome] = []
        for delivery in deliveries:
            if not valid():
                raise Stale
            failure = self._try(delivery)
            if failure is not None and failure.kind is not Kind.REJECT:
                return outcomes + [Again(failure)] * (len(deliveries) - len(outcomes))
            outcomes.append(DONE if failure is None else Dead(failure))
        return outcomes

    def _try(self, delivery: Delivery) -> Failure | None:
        """Send a message; return why the target does not have it, or the flood that its refusal is part of."""
        failure = probed(lambda: self._send(delivery))
        if failure is None:
            self.brake.passed([ALL], [delivery])
        elif failure.kind is Kind.REJECT and failure.by_target:
            flood = self.brake.refused(delivery, replace(failure, place=ALL))
            return failure if flood is None else replace(flood, place=failure.place)
        return failure

    def _send(self, delivery: Delivery) -> None:
        with self._timed():
            self.send(delivery)
        self.passed[ALL] += 1

    def stuck(self) -> str | None:
        """Return what the watchdog reports of a call that takes too long, None if there is none."""
        began = self._call_began
        running = 0.0 if began is None else time.monotonic() - began
        return f"a call has been running for {running:.0f} s" if running > self.deadline_s else None

    @contextmanager
    def _timed(self) -> Iterator[None]:
        self._call_began = time.monotonic()
        try:
            yield
        except Failed as failed:
            if failed.failure.kind in PAUSING:
                self.connected_since = None
            raise
        finally:
            self._call_began = None
        if self.connected_since is None:
            self.connected_since, self.opened = time.monotonic(), self.opened + 1
