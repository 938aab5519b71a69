"""The broker as the rest of the program sees it: one I/O thread, up to two connections, and what uses them."""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType

from connectorlib.amqp.browser import Browser
from connectorlib.amqp.channel import SyncChannel
from connectorlib.amqp.connection import Connection, ConnectionListener
from connectorlib.amqp.connection_parameters import tls_context
from connectorlib.amqp.consumer import Consumer
from connectorlib.amqp.credentials import credentials_of
from connectorlib.amqp.io_thread import IOThread
from connectorlib.amqp.publisher import Publisher
from connectorlib.amqp.requeue import server_version
from connectorlib.amqp.sharded_consumer import ShardedConsumer
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.shared_settings import PREFETCH_BYTES, BrokerSettings, Source

logger = logging.getLogger(__name__)

#: Kinds that waiting does not cure: somebody has to change something.
_HOPELESS = (Kind.REFUSED, Kind.CONFIGURATION)


class _Companion(ConnectionListener):
    """Makes the other connection hurry once one is open: their back-offs can differ by half a minute."""

    def __init__(self, others: list[Connection]) -> None:
        self._others = others

    def connection_up(self, connection: object) -> None:
        for connection in self._others:
            connection.hurry()


class Broker:
    """Has a connection for consuming and one for publishing: in a broker alarm a shared one would starve its acks."""

    def __init__(self, settings: BrokerSettings, *, name: str, consuming: bool = True, publishing: bool = True) -> None:
        context = tls_context(settings.tls)
        self._changed = threading.Condition()
        self._io = IOThread(name, self._reset)
        self._credentials = credentials_of(settings, self._io)
        obtain = self._credentials.obtain
        connection = partial(Connection, self._io, settings, context=context, obtain=obtain, on_change=self._notify)
        self._consuming = connection(name=f"{name} consuming", publishing=False) if consuming else None
        self._publishing = connection(name=f"{name} publishing", publishing=True) if publishing else None
        self._connections = [each for each in (self._consuming, self._publishing) if each is not None]
        for each in self._connections:
            each.listen(self._credentials)
            each.listen(_Companion([other for other in self._connections if other is not each]))
        self._publisher = Publisher(self._io, self._publishing) if self._publishing else None
        self._consumers: list[Consumer] = []
        self._stopped = False

    def __enter__(self) -> "Broker":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the I/O thread, which connects by itself; see `wait_connected`."""
        for connection in self._connections:
            self._io.post(connection.connect)
        self._io.start()

    def stop(self, timeout: float = 10.0) -> bool:
        """Requeue what consumers hold, close the connections and end the thread; return whether all ended in time."""
        if self._stopped:
            return True
        self._stopped = True
        if not self._io.is_running():
            return self._io.stop(timeout)
        deadline = time.monotonic() + timeout
        for consumer in self._consumers:
            consumer.requeue(max(timeout / 2, 0.1))
        if self._publisher is not None:
            self._io.post(self._publisher.stop)
        for connection in self._connections:
            self._io.post(connection.stop)
        clean = self._wait_for(lambda: all(connection.is_stopped for connection in self._connections), deadline, None)
        ended = self._io.stop(max(deadline - time.monotonic(), 1.0))
        return clean and ended

    def reconnect_now(self) -> None:
        """Try to connect now instead of at the end of a back-off. May be called from any thread."""
        self._io.post(self._credentials.retry_now)
        for connection in self._connections:
            self._io.post(connection.reconnect_now)

    def wait_connected(
        self, timeout: float, stop: threading.Event | None = None, *, give_up_on_refused: bool = False
    ) -> bool:
        """Return True once every connection is open, False when `stop` is set. Raise Failed with the last failure at
        the deadline, or at once for a refused log-in or a missing virtual host with `give_up_on_refused`."""

        def decided() -> bool:
            failure = self.failure
            hopeless = failure is not None and failure.kind in _HOPELESS
            return self.connected or (give_up_on_refused and hopeless)

        self._wait_for(decided, time.monotonic() + timeout, stop)
        if self.connected:
            return True
        if stop is not None and stop.is_set():
            return False
        unknown = Failure(Kind.UNAVAILABLE, "timeout", f"no connection within {timeout:g} s", "broker")
        raise Failed(self.failure or unknown)

    @property
    def connected(self) -> bool:
        return all(connection.connected_since is not None for connection in self._connections)

    @property
    def next_try(self) -> float | None:
        """time.monotonic() of the next attempt at a missing connection; None if none is waiting for one."""
        return min(
            (connection.next_try for connection in self._connections if connection.next_try is not None), default=None
        )

    @property
    def failure(self) -> Failure | None:
        """Why a connection is missing; None if none is."""
        return next((connection.failure for connection in self._connections if connection.failure is not None), None)

    @property
    def connected_since(self) -> float | None:
        """time.monotonic() since when all connections are open; None if one is not."""
        since = [connection.connected_since for connection in self._connections]
        return max((each for each in since if each is not None), default=None) if self.connected else None

    @property
    def opened(self) -> int:
        """How many times the connection was opened that was opened most often."""
        return max(connection.opened for connection in self._connections)

    @property
    def blocked(self) -> bool:
        """Whether the broker blocks publishers because it is short of memory or disk."""
        return any(connection.blocked for connection in self._connections)

    @property
    def alarm(self) -> str:
        """Why the broker blocks publishers: `low on disk`, `low on memory`; "" while it does."""
        return next((connection.alarm for connection in self._connections if connection.alarm), "")

    @property
    def server_version(self) -> tuple[int, ...]:
        """RabbitMQ's version, such as (3, 10, 8); () without a connection, or if the broker does not tell."""
        connection = self._connections[0].pika
        return server_version(connection) if connection is not None else ()

    @property
    def ticked(self) -> float:
        """time.monotonic() of the I/O thread's last sign of life, which it gives every second."""
        return self._io.ticked

    @property
    def publisher(self) -> Publisher:
        if self._publisher is None:
            raise RuntimeError("this broker was opened without publishing")
        return self._publisher

    def consumer(
        self, queue: str, prefetch: int, prefetch_bytes: int = PREFETCH_BYTES, body_bytes: int | None = None
    ) -> Consumer:
        """Return a consumer that is not open yet."""
        consumer = Consumer(self._io, self._require_consuming(), queue, prefetch, prefetch_bytes, body_bytes)
        self._consumers.append(consumer)
        return consumer

    def sharded_consumer(self, source: Source, body_bytes: int | None = None) -> ShardedConsumer:
        """Return a consumer of all shards of a source that is not open yet. Each has its part of the prefetch."""
        count = len(source.queues)
        prefetch, room = source.prefetch // count, max(1, source.prefetch_bytes // count)
        return ShardedConsumer(
            source.queue, [self.consumer(each, prefetch, room, body_bytes) for each in source.queues]
        )

    def browser(self, queue: str) -> Browser:
        """Return what takes messages of a queue, holds them all and requeues them in order."""
        return Browser(self._io, self._require_consuming(), queue)

    def channel(self, timeout: float = 30.0) -> SyncChannel:
        """Return a channel to use in a `with`, on the consuming connection, which a broker alarm does not block."""
        return SyncChannel(self._io, self._consuming or self._connections[0], timeout)

    def _require_consuming(self) -> Connection:
        if self._consuming is None:
            raise RuntimeError("this broker was opened without consuming")
        return self._consuming

    def _wait_for(self, condition: Callable[[], bool], deadline: float, stop: threading.Event | None) -> bool:
        with self._changed:
            while not condition():
                left = deadline - time.monotonic()
                if left <= 0 or (stop is not None and stop.is_set()):
                    return False
                self._changed.wait(min(left, 0.1) if stop is not None else left)
        return True

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _reset(self) -> None:
        for connection in self._connections:
            connection.reset()
