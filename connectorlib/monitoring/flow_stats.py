"""The figures of one flow. The worker reports each batch, each death and each pause; the pump's own counts are read.

Nothing in this module is called for each message that is done, and nothing waits.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from connectorlib.dataclass import dataclass
from connectorlib.messages import Dead, Delivery, Done, Outcome
from connectorlib.monitoring.counters import Histogram, LastHour, SinkDetail, SinkMetric
from connectorlib.monitoring.tracing import TraceBatch
from connectorlib.pipeline.blame import Pause
from connectorlib.pipeline.sink import Sink

BATCH_MESSAGES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
BATCH_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
#: A message's timestamp has whole seconds, and one that waited out an outage is hours old.
LATENCY_SECONDS = (1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)

#: Codes come from drivers and servers; each one is a time series, and their number must be limited.
MOST_CODES = 100
OTHER = "other"

#: AMQP timestamps are in seconds. Some publishers write milliseconds, which as seconds would be after the year 5000.
_MILLISECONDS = 100_000_000_000

#: The pump's counts, by their names in the last hour.
COUNTS = {
    "in": ("consumed",),
    "done": ("done",),
    "already_there": ("already",),
    "ignored": ("accept_when", "ignore_when"),
    "empty": ("empty",),
    "retried": ("retries",),
}
_SUCCESSES = ("done", "already")

Key = TypeVar("Key")


class Pausing(Protocol):
    """What can be paused (connectorlib.pipeline.pause)."""

    name: str
    on_pause: Callable[[Pause], object]

    @property
    def pause(self) -> Pause | None: ...

    def advice(self, pause: Pause) -> str:
        """Return what a person can do about it."""

    def line(self, pause: Pause, waiting: object) -> dict[str, object]:
        """Return the fields of the pause line."""


class MessageSource(Protocol):
    """The consumer."""

    queue: str

    @property
    def held(self) -> int: ...
    @property
    def active(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class ShardFacts:
    """What this process knows of one of several shards."""

    queue: str
    #: The process with the highest has the shard (from RabbitMQ 4.0 on).
    priority: int
    #: How many messages are unacknowledged here.
    held: int
    #: When the latest message came here (monotonic); None: none yet.
    latest: float | None


@dataclass(frozen=True, slots=True)
class LaneFacts:
    """What one of several lanes is doing."""

    target: str
    #: How many messages its sink has, and how many wait.
    working: int
    waiting: int
    #: Failed alone, and not judged yet.
    suspects: int
    paused: bool
    #: How many wait behind an earlier one of their key, by key.
    behind: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Subject:
    counts: Mapping[str, int]
    source: MessageSource
    pausings: tuple[Pausing, ...]


class FlowStats:
    """What one flow has done, and is doing. Any thread may ask. Times are monotonic seconds."""

    def __init__(self, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.sizes = Histogram(BATCH_MESSAGES)
        self.durations = Histogram(BATCH_SECONDS)
        self.latencies = Histogram(LATENCY_SECONDS)
        #: Dead letters by reason and code; pauses by cause.
        self.dead: Counter[tuple[str, str]] = Counter()
        self.pauses: Counter[str] = Counter()
        self.started = clock()
        self.last_message: float | None = None
        self.last_success: float | None = None
        #: When any of the counts changed last.
        self.last_progress = self.started
        #: Returns what its lanes are doing.
        self.lanes: Callable[[], Sequence[LaneFacts]] = tuple
        #: Returns what this process has of the shards, where the source is divided into some.
        self.shards: Callable[[], Sequence[ShardFacts]] = tuple
        #: Metrics of the sink's own.
        self.metrics: Sequence[SinkMetric] = ()
        #: Returns what the sink says of itself in the status.
        self.details: Callable[[], Sequence[SinkDetail]] = tuple
        #: Called with each batch that was handled: traces and journal.
        self.observers: Sequence[TraceBatch] = ()
        self._clock = clock
        self._lock = threading.Lock()
        self._hour = LastHour()
        self._seen: Counter[str] = Counter()
        self._subject: _Subject | None = None
        self._begun = False

    # -- written by the worker

    def measured(self, sink: Sink) -> Sink:
        """Return the sink with each of its batches reported to these figures."""
        return _MeasuredSink(sink, self)

    def attach(self, counts: Mapping[str, int], source: MessageSource, *pausings: Pausing) -> None:
        """Set whose counts, messages and pauses these are."""
        for pausing in pausings:
            pausing.on_pause = self._paused
        self._subject = _Subject(counts, source, pausings)

    def batch(self, deliveries: Sequence[Delivery], outcomes: Sequence[Outcome], seconds: float) -> None:
        """Count a batch that the sink has handled in so many seconds."""
        oldest = _age(deliveries[0]) if isinstance(outcomes[0], Done) else None
        with self._lock:
            self.sizes.add(len(deliveries))
            self.durations.add(seconds)
            if oldest is not None:
                self.latencies.add(oldest)
        for observe in self.observers:
            observe(deliveries, outcomes, seconds)

    def died(self, delivery: Delivery, verdict: Dead) -> None:
        """Count a message that is dead-lettered."""
        with self._lock:
            self.dead[_bounded(self.dead, (verdict.reason, verdict.failure.code), (verdict.reason, OTHER))] += 1
            self._hour.add(("dead", verdict.failure.code), 1, self._clock())

    def _paused(self, pause: Pause) -> None:
        with self._lock:
            self.pauses[_bounded(self.pauses, pause.failure.code, OTHER)] += 1

    # -- read by any thread

    def tick(self) -> None:
        """Add what the pump has counted since the last call, as of now; called every second."""
        subject = self._subject
        if subject is None:
            return
        now = self._clock()
        self._begun = self._begun or subject.source.active
        with self._lock:
            for name, key in ((name, key) for name, keys in COUNTS.items() for key in keys):
                count = subject.counts.get(key, 0) - self._seen[key]
                if count:
                    self._note(name, key, count, now)

    def _note(self, name: str, key: str, count: int, now: float) -> None:
        self._seen[key] += count
        self._hour.add(name, count, now)
        self.last_progress = now
        if key == "consumed":
            self.last_message = now
        if key in _SUCCESSES:
            self.last_success = now

    def count(self, key: str) -> int:
        """Return one of the pump's counts."""
        return self._subject.counts.get(key, 0) if self._subject else 0

    def last_hour(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return the counts of the last hour by name, and its dead letters by code, the most frequent first."""
        with self._lock:
            totals = self._hour.totals(self._clock())
        died = {key[1]: count for key, count in totals.most_common() if isinstance(key, tuple)}
        return {name: totals[name] for name in COUNTS}, died

    def copied(self) -> tuple[dict[tuple[str, str], int], dict[str, int]]:
        """Return copies of the dead letters by reason and code, and of the pauses by cause."""
        with self._lock:
            return dict(self.dead), dict(self.pauses)

    def distributions(self) -> dict[str, tuple[list[tuple[str, float]], float]]:
        """Return the buckets and the sum of each histogram."""
        with self._lock:
            each = {"sizes": self.sizes, "durations": self.durations, "latencies": self.latencies}
            return {name: (histogram.buckets(), histogram.total) for name, histogram in each.items()}

    @property
    def queue(self) -> str:
        return self._subject.source.queue if self._subject else ""

    @property
    def queues(self) -> Sequence[str]:
        """The source queue, or its shards."""
        return [each.queue for each in self.shards()] or [self.queue]

    @property
    def held(self) -> int:
        """How many messages are unacknowledged."""
        return self._subject.source.held if self._subject else 0

    def paused(self) -> list[tuple[Pausing, Pause]]:
        """Return the current pauses: of the flow, or of the targets that share it."""
        pausings = self._subject.pausings if self._subject else ()
        return [(pausing, pause) for pausing in pausings if (pause := pausing.pause) is not None]

    def runs(self, connected: bool) -> bool:
        """Return whether messages are taken; a consumer that is being reopened still counts as running."""
        if self._subject is None or self.paused():
            return False
        return self._subject.source.active or (self._begun and connected)


class _MeasuredSink:
    """Reports each batch of a sink."""

    def __init__(self, sink: Sink, stats: FlowStats) -> None:
        self._sink = sink
        self._stats = stats

    @property
    def passed(self) -> Mapping[str, int]:
        return self._sink.passed

    def probe(self) -> None:
        self._sink.probe()

    def handle(
        self, deliveries: Sequence[Delivery], valid: Callable[[], bool], isolating: bool = False
    ) -> list[Outcome]:
        begun = time.perf_counter()
        outcomes = self._sink.handle(deliveries, valid, isolating)
        self._stats.batch(deliveries, outcomes, time.perf_counter() - begun)
        return outcomes


def _age(delivery: Delivery) -> float | None:
    """Return the seconds since the message's timestamp, None without one, 0 if its clock is ahead of ours."""
    stamp = delivery.properties.timestamp
    if not isinstance(stamp, int) or stamp <= 0:
        return None
    seconds = stamp / 1000 if stamp > _MILLISECONDS else stamp
    return max(0.0, time.time() - seconds)


def _bounded(counter: Mapping[Key, int], key: Key, other: Key) -> Key:
    return key if key in counter or len(counter) < MOST_CODES else other
