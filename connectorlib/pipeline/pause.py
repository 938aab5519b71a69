"""How a flow waits: for the broker, for the target, for a dead-letter path; and how it gives back what it holds.

A pause is told in one line, at the change and every 15 minutes. Every wait here ends with a stop; SIGUSR1 (`nudge`)
ends the wait and tries at once.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import Delivery
from connectorlib.pipeline.blame import PAUSING, REPEAT_PAUSE_LINE_S, Pause
from connectorlib.pipeline.sink import probed
from connectorlib.service import logs

if TYPE_CHECKING:
    from connectorlib.amqp import Broker, Consumer

logger = logging.getLogger(__name__)

STEP_S = 0.25  # how often a wait looks for a nudge
CONNECT_PATIENCE_S = 5.0
GIVE_BACK_S = 10.0
#: How long to wait for a connection at a time; the connection itself is tried again on its own schedule.
CONNECT_WAIT_S = 60.0

#: `{target}` is the broker, or what the sink writes to.
HINTS = {
    Kind.UNAVAILABLE: "start the {target}, or mend what the text names; this goes on by itself",
    Kind.REFUSED: "put user, password or rights in the {target} right, or here and restart (SIGUSR1 tries at once)",
    Kind.CONFIGURATION: "mend what the text names; this goes on by itself (SIGUSR1 tries at once)",
    Kind.RETRY: "find what holds the lock or the load in the {target}; this goes on by itself",
    Kind.UNKNOWN: "look at the text; this goes on by itself once messages pass (SIGUSR1 tries at once)",
    Kind.REJECT: "mend what the text names; this goes on by itself (SIGUSR1 tries at once)",
}
#: Places of failures that the broker told (connectorlib.amqp.reply_codes).
PUBLISHING = "publish"
BROKER = ("broker", PUBLISHING, "queue ")
DEAD_LETTERS = "make room in the dead-letter queue, or mend it; this goes on by itself"


def hint(failure: Failure, target: str = "target") -> str:
    """Return what a person can do about a failure."""
    if failure.place == PUBLISHING:  # while messages are consumed, only dead letters are published
        return DEAD_LETTERS
    return HINTS[failure.kind].format(target="broker" if is_of_broker(failure) else target)


def is_of_broker(failure: Failure) -> bool:
    return failure.place.startswith(BROKER)


class Pausing:
    """The waiting of one flow. `ensure` makes the topology of its source; both it and `ensure_dead_letters` raise
    Failed when they cannot. Without `retry_refused` a log-in that the target refused is not tried again before a
    nudge: the probe has to answer without one. `longest` is how many seconds lie between two probes at last, where a
    kind of failure has another limit than usual."""

    def __init__(
        self,
        name: str,
        *,
        broker: "Broker",
        consumer: "Consumer",
        ensure: Callable[[], object],
        ensure_dead_letters: Callable[[], object],
        hold_seconds: float,
        stop: threading.Event,
        nudge: threading.Event,
        label: str = "flow",
        retry_refused: bool = True,
        longest: Mapping[Kind, float] | None = None,
        hints: Callable[[Failure], str] = hint,
    ) -> None:
        self.name = name
        self.stop = stop
        self.pause: Pause | None = None
        #: Told of each pause, and of each change of its cause.
        self.on_pause: Callable[[Pause], object] = lambda pause: None
        self._label = label
        self._retry_refused = retry_refused
        self._longest = longest or {}
        self._broker = broker
        self._consumer = consumer
        self._ensure = ensure
        self._ensure_dead_letters = ensure_dead_letters
        self._hold_seconds = hold_seconds
        self._nudge = nudge
        self._hints = hints
        self._since_text = ""

    def wait(self, failure: Failure, probe: Callable[[], None], oldest: float) -> None:
        """Wait until `probe` answers, or for a stop. `oldest` is when the oldest delivery in hand arrived: after
        `hold_seconds` all are given back, and the consumer is no longer active."""
        holding = self._consumer.active
        pause = self._enter(failure)
        while not self.stop.is_set():
            nudged = self._sleep_until(self._schedule(pause), oldest)
            if failure.kind not in PAUSING and holding and not self._consumer.active and not nudged:
                # What was given back would fail again, and each time count against its delivery limit.
                self._sleep_until(time.monotonic() + self._hold_seconds)
            if self.stop.is_set():
                break
            failed = probed(probe)
            if failed is None:
                return
            self._change(pause, failed)

    def note(self, failure: Failure) -> float:
        """Enter the pause, or go on with it, without waiting; return when to try next (monotonic seconds)."""
        return self._schedule(self._enter(failure))

    def tell_again(self) -> None:
        """Somebody wants it tried now, and wants to know how that went: if it fails the pause is told once more."""
        if self.pause is not None:
            self.pause.told = None

    def overdue(self, delivery: Delivery) -> bool:
        """Return whether a delivery has been held as long as any may be."""
        return time.monotonic() - delivery.received > self._hold_seconds

    def prepare(self) -> bool:
        """Make the topology, so that messages have a queue to wait in. Return False when stopped meanwhile."""
        return self._reach(lambda: None)

    def open_consumer(self) -> bool:
        """Make the topology and start consuming. Return False when stopped meanwhile."""
        if not self._reach(lambda: self._consumer.open(GIVE_BACK_S)):
            return False
        prefetch = self._consumer.prefetch
        logs.event(logger, logging.INFO, "consuming", queue=self._consumer.queue, prefetch=prefetch)
        return True

    def _reach(self, then: Callable[[], object]) -> bool:
        """Wait for the broker, make the topology, do what comes then. Return False when stopped meanwhile."""
        patience = CONNECT_PATIENCE_S
        while not self.stop.is_set():
            try:
                if not self._broker.wait_connected(patience, self.stop):
                    break
                self._ensure()
                then()
            except Failed as failed:
                pause = self._enter(failed.failure, of_broker=True)
                next_try = self._schedule(pause)
                if self._broker.connected:  # connected, yet refused something: wait before asking again
                    self._sleep_until(next_try)
                patience = CONNECT_WAIT_S
                continue
            if self.pause and self.pause.of_broker:
                self.over()
            return True
        return False

    def dead_letter_path(self) -> bool:
        """Make sure that the dead-letter exchange and queue are there; return whether they are."""
        try:
            self._ensure_dead_letters()
        except Failed as failed:
            self._enter(failed.failure)
            return False
        return True

    def over(self) -> None:
        """The target took something: the pause, if there was one, has ended."""
        if self.pause is not None:
            logs.event(
                logger, logging.WARNING, "RESUMED", **{self._label: self.name}, after=_duration(self.pause.since)
            )
            self.pause = None

    def _enter(self, failure: Failure, *, of_broker: bool = False) -> Pause:
        if self.pause is None:
            self.pause = Pause(failure, time.monotonic(), of_broker=of_broker)
            self._since_text = datetime.now().astimezone().strftime("%H:%M:%S")
            self.on_pause(self.pause)
        else:
            self._change(self.pause, failure)
            self.pause.of_broker = of_broker
        return self.pause

    def _change(self, pause: Pause, failure: Failure) -> None:
        if pause.changed(failure):
            self.on_pause(pause)

    def _schedule(self, pause: Pause) -> float:
        """Set the time of the next try and return it; tell of the pause when that is due."""
        now = time.monotonic()
        longest = self._longest.get(pause.failure.kind)
        next_try = pause.schedule(now, random.random(), longest)  # noqa: S311 - jitter
        if self._never(pause):  # only to tell it again
            next_try = pause.next_try = now + REPEAT_PAUSE_LINE_S
        if not self.stop.is_set() and pause.tell(now):
            logs.paused(logger, self.line(pause, self._waiting()), do=self.advice(pause))
        return next_try

    def advice(self, pause: Pause) -> str:
        """Return what a person can do about a pause. Any thread may ask."""
        return self._hints(pause.failure)

    def line(self, pause: Pause, waiting: object) -> dict[str, object]:
        """Return the fields of the pause line; `waiting` is how many wait in the queue. Any thread may ask."""
        return {
            self._label: self.name,
            "since": self._since_text,
            "cause": pause.failure.code,
            "text": f"{pause.failure.place}: {pause.failure.text}" if pause.failure.place else pause.failure.text,
            "held": self._consumer.held,
            "waiting": waiting,
            "next_try": "never" if self._never(pause) else f"{max(0.0, self._next_try(pause) - time.monotonic()):.0f}s",
        }

    def _never(self, pause: Pause) -> bool:
        """Return whether only a nudge makes it go on."""
        return pause.failure.kind is Kind.REFUSED and not (self._retry_refused or is_of_broker(pause.failure))

    def _next_try(self, pause: Pause) -> float:
        """Return when it goes on; a connection to the broker is tried on a schedule of its own."""
        now = time.monotonic()
        return max(now, pause.next_try if self._broker.connected else self._broker.next_try or now)

    def _waiting(self) -> object:
        """Return how many messages wait in the queue, as far as the broker says (ready ones only)."""
        if not self._broker.connected:
            return "unknown"
        try:
            with self._broker.channel(timeout=2.0) as channel:
                return channel.queue_declare(self._consumer.queue, passive=True)[0]
        except Failed:
            return "unknown"

    def _sleep_until(self, deadline: float, oldest: float | None = None) -> bool:
        """Sleep, listening to stop and nudge; give back what has been held too long. Return whether it was a nudge that
        ended it."""
        while (now := time.monotonic()) < deadline and not self.stop.wait(min(STEP_S, deadline - now)):
            if self._nudge.is_set():
                self._nudge.clear()
                self.tell_again()
                return True
            if oldest is not None and self._consumer.active and now - oldest > self._hold_seconds:
                # RabbitMQ closes a consumer that holds a delivery for 30 minutes (consumer_timeout).
                logs.event(logger, logging.WARNING, "given back", queue=self._consumer.queue, held=self._consumer.held)
                self._consumer.requeue(GIVE_BACK_S)
        return False


def _duration(since: float) -> str:
    return f"{time.monotonic() - since:.0f}s"
