"""The state of the process as a whole: its flows, its connections, and whether any part of it is stuck."""

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed
from connectorlib.monitoring.counters import SinkMetric
from connectorlib.monitoring.flow_stats import FlowStats
from connectorlib.monitoring.history import FlowReading, History
from connectorlib.monitoring.tracing import TraceBatch
from connectorlib.service.redaction import secrets
from connectorlib.version import VERSION

if TYPE_CHECKING:
    from connectorlib.amqp import Broker

Check = Callable[[], str | None]

#: How long the depth of a queue is cached, and how long asking for it may take.
DEPTH_CACHE_S = 1.0
DEPTH_LIMIT_S = 2.0
#: After a timeout the broker is not asked for this long: with many queues the status would never be complete.
SILENT_S = 10.0


class Usage(Protocol):
    """Calls of an API with a quota: those made, and those allowed."""

    @property
    def used(self) -> int: ...
    @property
    def maximum(self) -> int: ...


@dataclass(frozen=True, slots=True)
class ConnectionFacts:
    """Something that the process is connected to. `since` is monotonic, None while there is no connection."""

    name: str
    since: Callable[[], float | None]
    #: How often the connection was opened.
    opened: Callable[[], int]
    #: What is at the other end, or why there is no connection.
    about: Callable[[], str] = str
    usage: Callable[[], Usage | None] = lambda: None
    #: What the watchdog reports when a call has not returned in time.
    stuck: Check = lambda: None
    metrics: Sequence[SinkMetric] = ()


@dataclass(frozen=True, slots=True)
class Depth:
    """The messages that wait in a queue, and its consumers."""

    waiting: int
    consumers: int


class Monitor:
    """Everything that can be asked, from any thread. The broker is asked at most once a second."""

    def __init__(self, connector: str, name: str, file: str, broker: "Broker", dead_letters: str) -> None:
        self.connector = connector
        self.name = name
        self.file = str(Path(file).absolute())
        self.version = VERSION
        self.dead_letters = dead_letters
        self.broker = broker
        self.flows: list[FlowStats] = []
        about_broker = partial(_about, broker)
        self.connections = [
            ConnectionFacts("broker", lambda: broker.connected_since, lambda: broker.opened, about_broker)
        ]
        #: The checks of the watchdog by name; each returns what is stuck.
        self.checks: dict[str, Check] = {}
        #: How the status calls the last message that arrived in the target.
        self.last_success = "last write"
        #: When the process was started, and when this configuration was loaded (monotonic).
        self.up_since = self.configured = time.monotonic()
        #: The last hours, for the page.
        self.history = History()
        #: Lets what is paused try again at once.
        self.retry: Callable[[], object] = lambda: None
        #: Called with each batch of every flow that was handled: traces and journal.
        self.observers: Sequence[TraceBatch] = ()
        self._lock = threading.Lock()
        self._depths: dict[str, tuple[float, Depth | None]] = {}
        self._silent_until = float("-inf")

    def flow(self, name: str) -> FlowStats:
        """Add a flow and return its figures."""
        stats = FlowStats(name)
        stats.observers = self.observers
        self.flows.append(stats)
        return stats

    def tick(self) -> None:
        """Update all figures; called every second."""
        for flow in self.flows:
            flow.tick()

    def remember(self) -> None:
        """Add the present figures to the history. Asks the broker, so it may take `DEPTH_LIMIT_S` for each queue."""
        self.tick()
        self.history.add([self._reading(flow) for flow in self.flows], time.monotonic())

    def _reading(self, flow: FlowStats) -> FlowReading:
        depth = self.depth(*flow.queues) if flow.queue else None
        buckets, seconds = flow.distributions()["durations"]
        return FlowReading(
            flow.name,
            written=flow.count("done"),
            dead=sum(flow.copied()[0].values()),
            batches=int(buckets[-1][1]),
            batch_seconds=seconds,
            waiting=depth.waiting if depth else None,
            paused=bool(flow.paused()),
        )

    def stuck(self) -> str | None:
        """Return what is stuck, None while the process is alive."""
        for name, check in self.checks.items():
            if text := check():
                return f"{name}: {text}"
        return None

    def unready(self) -> list[str]:
        """Return why messages are not taken, one line for each flow or target; empty while all of them run."""
        if stuck := self.stuck():
            return [f"stuck: {stuck}"]
        reasons: list[str] = []
        for flow in self.flows:
            paused = [f"{pausing.name}: paused: {pause.failure}" for pausing, pause in flow.paused()]
            if not paused and not flow.runs(self.broker.connected):
                paused = [f"{flow.name}: not begun yet"]
            reasons += paused
        return reasons

    def summary(self) -> str:
        """Return one line for `systemctl status`."""
        self.tick()
        return secrets.redact("; ".join(self.unready()) or "running")

    def depth(self, *queues: str) -> Depth | None:
        """Return what is in these queues together, None if the broker does not answer."""
        depths = [self._depth(queue) for queue in queues]
        known = [depth for depth in depths if depth is not None]
        if len(known) < len(depths):
            return None
        return Depth(sum(depth.waiting for depth in known), sum(depth.consumers for depth in known))

    def _depth(self, queue: str) -> Depth | None:
        with self._lock:  # concurrent callers share one answer
            at, depth = self._depths.get(queue, (float("-inf"), None))
            if time.monotonic() - at >= DEPTH_CACHE_S:
                depth = self._ask_depth(queue)
                self._depths[queue] = (time.monotonic(), depth)
            return depth

    def _ask_depth(self, queue: str) -> Depth | None:
        if not self.broker.connected or time.monotonic() < self._silent_until:
            return None
        try:
            with self.broker.channel(timeout=DEPTH_LIMIT_S) as channel:
                return Depth(*channel.queue_declare(queue, passive=True))
        except Failed as failed:
            if failed.failure.code == "timeout":
                self._silent_until = time.monotonic() + SILENT_S
            return None


def _about(broker: "Broker") -> str:
    if not broker.connected:
        return str(broker.failure or "")
    version = ".".join(map(str, broker.server_version))
    alarm = f"blocks publishers: it is {broker.alarm}" if broker.alarm else ""
    return "; ".join(each for each in (f"RabbitMQ {version}" if version else "", alarm) if each)
