"""What is known of the process as a whole: its flows, what it is connected to, and whether any part hangs."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from connectorlib.errors import Failed
from connectorlib.monitoring.flow_stats import Watch
from connectorlib.monitoring.tracing import Tell
from connectorlib.service.redaction import secrets

if TYPE_CHECKING:
    from connectorlib.amqp import Broker

Check = Callable[[], str | None]

#: How long a look at a queue is good for, and how long one may take.
LOOK_S = 1.0
LOOK_LIMIT_S = 2.0
#: A broker that did not answer one look is not asked for so long: with many queues the status would never come.
SILENT_S = 10.0


class Usage(Protocol):
    """An org's API calls within 24 hours."""

    @property
    def used(self) -> int: ...
    @property
    def maximum(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Side:
    """Something that the connector is connected to. `since` is monotonic, None while it is not."""

    name: str
    since: Callable[[], float | None]
    #: How often the connection was made.
    opened: Callable[[], int]
    #: What is there, and what else there is to say while there is no connection.
    about: Callable[[], str] = str
    usage: Callable[[], Usage | None] = lambda: None


@dataclass(frozen=True, slots=True)
class Level:
    """What is in a queue: messages that wait, and who takes them."""

    waiting: int
    consumers: int


class Monitor:
    """Everything that can be asked. Any thread may ask; what is asked of the broker is asked at most once a second."""

    def __init__(self, connector: str, name: str, file: str, broker: "Broker", dead_letters: str) -> None:
        self.connector = connector
        self.name = name
        self.file = str(Path(file).absolute())
        self.version = version("amqp-connectors")
        self.dead_letters = dead_letters
        self.broker = broker
        self.watches: list[Watch] = []
        self.sides = [Side("broker", lambda: broker.connected_since, lambda: broker.opened, partial(_about, broker))]
        #: As the watchdog has them: each says what hangs.
        self.checks: dict[str, Check] = {}
        #: When the process was started and this configuration loaded (monotonic).
        self.up_since = self.configured = time.monotonic()
        #: What is told of each batch of every flow, if anything is.
        self.trace: Tell | None = None
        self._lock = threading.Lock()
        self._looked: dict[str, tuple[float, Level | None]] = {}
        self._silent_until = float("-inf")

    def watch(self, name: str) -> Watch:
        """Return what watches one more flow."""
        watch = Watch(name)
        watch.trace = self.trace
        self.watches.append(watch)
        return watch

    def tick(self) -> None:
        """To be called every second."""
        for watch in self.watches:
            watch.tick()

    def stuck(self) -> str | None:
        """Return what hangs; None: nothing does, the process is alive."""
        for name, check in self.checks.items():
            if text := check():
                return f"{name}: {text}"
        return None

    def unready(self) -> list[str]:
        """Return why messages are not taken, one line for each flow or division; empty: all of them run."""
        if hangs := self.stuck():
            return [f"stuck: {hangs}"]
        reasons: list[str] = []
        for watch in self.watches:
            paused = [f"{pausing.name}: paused: {pause.failure}" for pausing, pause in watch.paused()]
            if not paused and not watch.runs(self.broker.connected):
                paused = [f"{watch.name}: not begun yet"]
            reasons += paused
        return reasons

    def summary(self) -> str:
        """Return one line about what it does, for `systemctl status`."""
        self.tick()
        return secrets.redact("; ".join(self.unready()) or "running")

    def level(self, queue: str) -> Level | None:
        """Return what is in a queue, None if the broker does not say."""
        with self._lock:  # whoever else asks waits for the same answer, rather than asking as well
            at, level = self._looked.get(queue, (float("-inf"), None))
            if time.monotonic() - at >= LOOK_S:
                level = self._look(queue)
                self._looked[queue] = (time.monotonic(), level)
            return level

    def _look(self, queue: str) -> Level | None:
        if not self.broker.connected or time.monotonic() < self._silent_until:
            return None
        try:
            with self.broker.channel(timeout=LOOK_LIMIT_S) as channel:
                return Level(*channel.queue_declare(queue, passive=True))
        except Failed as failed:
            if failed.failure.code == "timeout":
                self._silent_until = time.monotonic() + SILENT_S
            return None


def _about(broker: "Broker") -> str:
    if not broker.connected:
        return str(broker.failure or "")
    told = "takes no messages: it is short of memory or disk" if broker.blocked else ""
    said = ".".join(map(str, broker.server_version))
    return "; ".join(each for each in (f"RabbitMQ {said}" if said else "", told) if each)
