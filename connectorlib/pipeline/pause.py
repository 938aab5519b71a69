"""How pauses are announced, and how a flow waits for the broker. What a lane does in a pause is decided in `lane`.

A pause is announced in one line, at the change and every 15 minutes. Every wait here ends with a stop; SIGUSR1 ends the
wait and tries at once.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from connectorlib.amqp.reply_codes import SEVERAL_READERS, STREAM
from connectorlib.amqp.shards import SHARDS
from connectorlib.amqp.token_source import PLACE as TOKEN_SERVER
from connectorlib.amqp.token_source import advice
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.pipeline.blame import Pause
from connectorlib.service import logs

if TYPE_CHECKING:
    from connectorlib.amqp import AnyConsumer, Broker

logger = logging.getLogger(__name__)

STEP_S = 0.25  # how often a wait looks for a nudge
CONNECT_PATIENCE_S = 5.0
OPEN_S = 10.0
#: How long to wait for a connection at a time; the connection itself is tried again on its own schedule.
CONNECT_WAIT_S = 60.0

#: `{target}` is the broker, or what the sink writes to.
HINTS = {
    Kind.UNAVAILABLE: "start the {target} or fix the reported error; the connector resumes automatically",
    Kind.REFUSED: "correct the user, password or permissions in the {target}, or correct them here and restart "
    "(SIGUSR1 retries immediately)",
    Kind.CONFIGURATION: "fix the reported error; the connector resumes automatically (SIGUSR1 retries immediately)",
    Kind.RETRY: "find what holds the lock or causes the load in the {target}; the connector resumes automatically",
    Kind.UNKNOWN: "see the reported error; the connector resumes automatically once messages are accepted "
    "(SIGUSR1 retries immediately)",
    Kind.FLOOD: "fix the reported error, perhaps a new column, rule or trigger of the {target}; the connector resumes "
    "automatically (SIGUSR1 retries immediately); then send the dead letters back with `deadletter-queue replay`",
    Kind.REJECT: "fix the reported error; the connector resumes automatically (SIGUSR1 retries immediately)",
}
#: Places of failures that the broker told (connectorlib.amqp.reply_codes), or the server of its tokens.
PUBLISHING = "publish"
BROKER = ("broker", PUBLISHING, "queue ", TOKEN_SERVER)
DEAD_LETTERS = "make room in the dead-letter queue or repair it; the connector resumes automatically"


def hint(failure: Failure, target: str = "target") -> str:
    """Return what a person can do about a failure."""
    if failure.place == PUBLISHING and failure.kind is not Kind.REFUSED:
        return DEAD_LETTERS  # while messages are consumed, nothing else is published
    if failure.place == TOKEN_SERVER:
        return f"{advice(failure)}; the connector resumes automatically (SIGUSR1 retries immediately)"
    return HINTS[failure.kind].format(target="broker" if is_of_broker(failure) else target)


def is_of_broker(failure: Failure) -> bool:
    return failure.place.startswith(BROKER)


class PausedSource(Protocol):
    """Where messages come from: the consumer, or a query, which has no queue."""

    @property
    def queue(self) -> str: ...
    @property
    def queues(self) -> Sequence[str]: ...
    @property
    def held(self) -> int: ...


class PauseNotice:
    """The pauses of one target, as the log, the status and the metrics show them: one, whoever waits for it.

    Several may wait for a target: its lanes, and the flow for the broker. The pump's thread changes it, any may ask.
    """

    def __init__(
        self,
        name: str,
        source: PausedSource,
        broker: "Broker",
        *,
        label: str = "flow",
        hints: Callable[[Failure], str] = hint,
    ) -> None:
        self.name = name
        #: Called with each pause, and with each change of its cause.
        self.on_pause: Callable[[Pause], object] = lambda pause: None
        self._source = source
        self._broker = broker
        self._label = label
        self._hints = hints
        self._pauses: dict[Hashable, Pause] = {}
        self._since_text = ""

    @property
    def pause(self) -> Pause | None:
        """The oldest pause that lasts."""
        return next(iter(self._pauses.values()), None)

    def follow(self, who: Hashable, pause: Pause) -> None:
        """Take over the latest state of somebody's pause."""
        if not self._pauses:
            self._since_text = datetime.now().astimezone().strftime("%H:%M:%S")
        self._pauses[who] = pause

    def announce(self, who: Hashable, pause: Pause, *, changed: bool) -> None:
        """Log the line of a pause, unless it is known because another waits for the same; whoever has waited longest
        repeats it."""
        others = [other for each, other in self._pauses.items() if each != who]
        first = not others or next(iter(self._pauses)) == who
        known = any(other.is_for(pause.failure) for other in others) if changed else not first
        self.follow(who, pause)
        if known:
            return
        if changed:
            self.on_pause(pause)
        logs.paused(logger, self.line(pause, self._waiting()), do=self.advice(pause))

    def over(self, who: Hashable) -> None:
        """Somebody's pause has ended."""
        pause = self._pauses.pop(who, None)
        if pause is not None and not self._pauses:
            after = f"{time.monotonic() - pause.since:.0f}s"
            logs.event(logger, logging.WARNING, "RESUMED", **{self._label: self.name}, after=after)

    def advice(self, pause: Pause) -> str:
        """Return what a person can do about a pause."""
        return self._hints(pause.failure)

    def line(self, pause: Pause, waiting: object) -> dict[str, object]:
        """Return the fields of the pause line; `waiting` is how many wait in the queue."""
        return {
            self._label: self.name,
            "since": self._since_text,
            "cause": pause.failure.code,
            **({"same": pause.failure.same} if pause.failure.same else {}),
            "text": f"{pause.failure.place}: {pause.failure.text}" if pause.failure.place else pause.failure.text,
            "alarm": f"broker {self._broker.alarm}" if self._broker.alarm else None,
            "held": self._source.held if self._source.queue else None,
            "waiting": waiting if self._source.queue else None,
            "next_try": "never" if pause.never else f"{self._seconds_to_next_try(pause):.0f}s",
        }

    def _seconds_to_next_try(self, pause: Pause) -> float:
        """A connection to the broker is tried on a schedule of its own."""
        next_try = pause.next_try if self._broker.connected else self._broker.next_try
        return max(0.0, (next_try or 0.0) - time.monotonic())

    def _waiting(self) -> object:
        """Return how many messages wait in the queue, as far as the broker says (ready ones only)."""
        if not self._source.queue:
            return None
        if not self._broker.connected:
            return "unknown"
        try:
            with self._broker.channel(timeout=2.0) as channel:
                return sum(channel.queue_declare(queue, passive=True)[0] for queue in self._source.queues)
        except Failed:
            return "unknown"


class PauseWait:
    """The waits of one flow while it is paused: each is announced, and ends with a stop or a nudge."""

    def __init__(self, notice: PauseNotice, stop: threading.Event, nudge: threading.Event) -> None:
        self.notice = notice
        self.stop = stop
        #: Set by whoever wants what is paused to be tried now.
        self.nudge = nudge
        self._pause: Pause | None = None

    def wait(
        self, failure: Failure, until: Callable[[], bool] = lambda: False, *, not_before: float | None = None
    ) -> None:
        """Pause for a failure until the next attempt is due, but not before that time (monotonic), or a nudge, a stop,
        or `until` holds."""
        self._sleep_until(self._enter(failure, not_before), until)

    def note(self, failure: Failure) -> None:
        """Pause for a failure without waiting here."""
        if self._pause is None or not self._pause.is_for(failure):
            self._enter(failure)

    def over(self) -> None:
        """What was waited for is there."""
        if self._pause is not None:
            self._pause = None
            self.notice.over(self)

    def _enter(self, failure: Failure, not_before: float | None = None) -> float:
        """Pause, or go on with the pause; return when to try next (monotonic seconds)."""
        now, before = time.monotonic(), self._pause
        pause = (before or Pause(failure, now)).caused_by(failure)
        pause = pause.scheduled(now, random.random())  # noqa: S311 - jitter
        if not_before is not None:
            pause = pause.postponed(not_before)
        if pause.is_to_announce(now) and not self.stop.is_set():
            self.notice.announce(self, pause, changed=before is None or not before.is_for(failure))
            pause = pause.announced(now)
        self._pause = pause
        self.notice.follow(self, pause)
        return pause.next_try or now

    def _sleep_until(self, deadline: float, until: Callable[[], bool] = lambda: False) -> None:
        while (now := time.monotonic()) < deadline and not self.stop.wait(min(STEP_S, deadline - now)):
            if self.nudge.is_set():
                self.nudge.clear()
                self._pause = self._pause and self._pause.nudged(now)
                return
            if until():
                return


class BrokerWait(PauseWait):
    """The waits of one flow for its broker: for a connection, its topology, and a way for dead letters. `ensure` makes
    the topology of the source; it and `ensure_dead_letters` raise Failed when they cannot."""

    def __init__(
        self,
        notice: PauseNotice,
        broker: "Broker",
        consumer: "AnyConsumer",
        *,
        ensure: Callable[[], object],
        ensure_dead_letters: Callable[[], object],
        stop: threading.Event,
        nudge: threading.Event,
        refusing: bool = True,
    ) -> None:
        """With `refusing`, what no wait can mend ends the work if it is found before the first message."""
        super().__init__(notice, stop, nudge)
        self._broker = broker
        self._consumer = consumer
        self._ensure = ensure
        self._ensure_dead_letters = ensure_dead_letters
        self._refusing = refusing
        #: What `begin` has begun.
        self._first: Future[bool] | None = None

    def begin(self) -> None:
        """Make the topology in another thread, while the caller is busy with something else."""
        executor = ThreadPoolExecutor(1, "topology")
        self._first = executor.submit(self._make_topology, CONNECT_PATIENCE_S)
        executor.shutdown(wait=False)

    def prepare(self) -> bool:
        """Make the topology, so that messages have a queue to wait in. Return False when stopped meanwhile."""
        return self._reach(lambda: None)

    def open_consumer(self, prepare: Callable[[], object]) -> bool:
        """Make the topology, `prepare` the consumer and start consuming. Return False when stopped meanwhile. Raise
        Failed at the first time if the source cannot be one."""

        def consume() -> None:
            prepare()
            self._consumer.open(OPEN_S)

        if not self._reach(consume):
            return False
        self._refusing = False
        prefetch = self._consumer.prefetch
        logs.event(logger, logging.INFO, "consuming", queue=self._consumer.queue, prefetch=prefetch)
        return True

    def _topology(self, patience: float) -> bool:
        """Return what `_make_topology` returns, or has returned ahead; a failure of some time ago does not count."""
        first, self._first = self._first, None
        if first is not None and (not first.done() or first.exception() is None):
            return first.result()
        return self._make_topology(patience)

    def _make_topology(self, patience: float) -> bool:
        """Wait for the broker and make the topology. Return False when stopped meanwhile."""
        connected = self._broker.wait_connected(patience, self.stop)
        if connected:
            self._ensure()
        return connected

    def make_dead_letters(self) -> Failure | None:
        """Make sure that the dead-letter exchange and queue are there; return why they are not."""
        try:
            self._ensure_dead_letters()
        except Failed as failed:
            return failed.failure
        return None

    def _reach(self, then: Callable[[], object]) -> bool:
        """Wait for the broker, make the topology, do what comes then. Return False when stopped meanwhile."""
        patience = CONNECT_PATIENCE_S
        while not self.stop.is_set():
            try:
                if not self._topology(patience):
                    break
                then()
            except Failed as failed:
                if self._refusing and failed.failure.code in (STREAM, SHARDS, SEVERAL_READERS):
                    raise
                next_try = self._enter(failed.failure)
                if self._broker.connected:  # connected, yet refused something: wait before asking again
                    self._sleep_until(next_try)
                patience = CONNECT_WAIT_S
                continue
            self.over()
            return True
        return False
