"""A short-lived channel with blocking calls for other threads: declare, get one message, settle it."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from itertools import count
from types import TracebackType
from typing import Any

from pika import spec

from connectorlib.amqp import reply_codes
from connectorlib.amqp.connection import Connection, ConnectionListener
from connectorlib.amqp.frame_reader import from_pika
from connectorlib.amqp.io_thread import IOThread, fail, succeed, succeed_after
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import Delivery

logger = logging.getLogger(__name__)

#: Distinct from the numbers of subscriptions, which count upwards.
_numbers = count(-1, -1)
_CLOSED = Failure(Kind.UNAVAILABLE, "closed", "the channel is closed", "broker")
#: The code of an answer that does not come while the broker is short of memory or disk.
ALARM = "alarm"
_LATE = Failure(Kind.UNAVAILABLE, "timeout", "the answer to an earlier question has not come yet", "broker")


def _ignore(*_: Any) -> None:
    """The callback of a consumer that is never created."""


class SyncChannel(ConnectionListener):
    """Every method waits for the broker's answer and raises Failed: code "404", "403", "405", "406", "timeout", …

    After such a failure the broker has closed the channel; only `close` is of use then.
    """

    def __init__(self, io: IOThread, connection: Connection, timeout: float) -> None:
        self._io = io
        self._connection = connection
        self._timeout = timeout
        self._channel: Any = None
        self._waiting: Future[Any] | None = None
        self._failure: Failure | None = None
        self._closed: Future[None] = Future()
        self.generation = next(_numbers)

    def __enter__(self) -> "SyncChannel":
        try:
            self._ask(self._open, "opening a channel")
        except Failed:
            self._io.post(self._abandon)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        """Whether what was received on this channel can still be settled."""
        return self._channel is not None and self._failure is None and not self._closed.done()

    def close(self) -> None:
        """Close the channel, which requeues what is not settled. Acks sent before have arrived when this returns."""
        try:
            self._ask(self._close, "closing a channel")
        except Failed as error:
            logger.debug("channel not closed in order: %s", error)
            self._io.post(self._abandon)

    def exchange_declare(self, name: str, type: str = "topic", *, passive: bool = False) -> None:
        self._call(f"declaring exchange {name!r}", "exchange_declare", name, type, passive=passive, durable=True)

    def queue_declare(
        self, name: str, *, passive: bool = False, arguments: Mapping[str, Any] | None = None
    ) -> tuple[int, int]:
        """Return how many messages are ready and how many consumers there are."""
        options = {"passive": passive, "durable": True, "arguments": dict(arguments or {})}
        method = self._call(f"declaring queue {name!r}", "queue_declare", name, **options)
        return method.message_count, method.consumer_count

    def bind(self, destination: str, exchange: str, routing_key: str = "", *, to_exchange: bool = False) -> None:
        """Bind a queue, or with `to_exchange` another exchange, to an exchange."""
        kind = "exchange" if to_exchange else "queue"
        what = f"binding {kind} {destination!r} to exchange {exchange!r}"
        self._call(what, f"{kind}_bind", destination, exchange, routing_key)

    def unbind(self, destination: str, exchange: str, routing_key: str = "", *, to_exchange: bool = False) -> None:
        kind = "exchange" if to_exchange else "queue"
        what = f"unbinding {kind} {destination!r} from exchange {exchange!r}"
        self._call(what, f"{kind}_unbind", destination, exchange, routing_key)

    def queue_purge(self, name: str) -> int:
        """Return how many messages were removed."""
        return int(self._call(f"purging queue {name!r}", "queue_purge", name).message_count)

    def ask_to_consume(self, queue: str) -> None:
        """Find out whether this user may read a queue without taking a message: consume with an argument that the
        broker refuses, after it has checked the rights. Raise Failed: 403 if not; "stream" if it is a stream, which the
        broker finds first, for a stream knows no priorities. This ends the channel."""
        arguments = {"x-priority": "not a number"}
        try:
            self._call(f"consuming queue {queue!r}", "basic_consume", queue, _ignore, arguments=arguments)
        except Failed as error:
            if error.failure.code != "406":
                raise

    def ask_to_publish(self, exchange: str, routing_key: str = "") -> None:
        """Find out whether this user may publish to an exchange without publishing: publish in a transaction and roll
        it back. RabbitMQ checks the rights, those on topics included, when a message comes, and hands it to queues only
        at the commit. Raise Failed, 403 or 404, if not. The channel is of no other use then."""
        what = f"publishing to exchange {exchange!r}"
        self._call(what, "tx_select")
        self._write(what, "basic_publish", exchange, routing_key, b"")
        self._call(what, "tx_rollback")

    def get(self, queue: str) -> Delivery | None:
        """Return one message, to be settled on this channel; None when the queue is empty."""
        what = f"getting a message from queue {queue!r}"
        delivery: Delivery | None = self._ask(partial(self._get, what, queue), what)
        return delivery

    def ack(self, tag: int) -> None:
        self._write("ack", "basic_ack", tag)

    def nack(self, tag: int, *, requeue: bool = True) -> None:
        self._write("nack", "basic_nack", tag, False, requeue)

    def _write(self, what: str, name: str, *args: Any) -> None:
        """Make a call that the broker does not answer."""
        self._ask(partial(self._send, name, *args), what)

    def _call(self, what: str, name: str, *args: Any, **kwargs: Any) -> Any:
        action = partial(self._request, what, name, args, kwargs)
        return self._ask(action, what)

    def _ask(self, action: Callable[["Future[Any]"], None], what: str) -> Any:
        """Wait for the broker's answer. In an alarm there is none: it no longer reads from who has published."""
        try:
            return self._io.ask(action, self._timeout, what=what)
        except Failed as error:
            if error.failure.code == "timeout" and (alarm := self._connection.alarm):
                text = f"the broker blocks publishers, it is {alarm}"
                raise Failed(Failure(Kind.UNAVAILABLE, ALARM, text, "broker")) from error
            raise

    # In the I/O thread

    def connection_down(self, failure: Failure) -> None:
        self._lose(failure)

    def _open(self, future: "Future[Any]") -> None:
        connection = self._connection.require()
        self._waiting = future
        self._channel = connection.channel(on_open_callback=self._opened)
        self._channel.add_on_close_callback(lambda _channel, reason: self._lose(reply_codes.from_error(reason)))
        self._channel.add_callback(lambda _frame: self._answer(None), [spec.Basic.GetEmpty], one_shot=False)
        self._connection.listen(self)

    def _opened(self, channel: Any) -> None:
        if self._failure is None:
            self._answer(None)
        else:  # abandoned before it was open
            channel.close()

    def _abandon(self) -> None:
        """Close the channel, for which nobody waits any more, now or as soon as it has opened."""
        self._lose(_CLOSED)
        if self._channel is not None and self._channel.is_open:
            self._channel.close()

    def _close(self, future: "Future[Any]") -> None:
        if self._channel is None or self._closed.done():
            succeed(future)
            return
        succeed_after(self._closed, future)
        if self._channel.is_open:
            self._channel.close()

    def _lose(self, failure: Failure) -> None:
        self._connection.forget(self)
        succeed(self._closed)
        self._failure = self._failure or failure
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            fail(waiting, Failed(self._failure))

    def _answer(self, value: object) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            succeed(waiting, value)

    def _check(self) -> None:
        """Raise Failed unless the channel is open."""
        if self._failure is not None or not self._channel.is_open:
            raise Failed(self._failure or _CLOSED)

    def _expect(self, future: "Future[Any]") -> None:
        self._check()
        if self._waiting is not None and self._waiting.cancelled():  # this call would get its answer
            raise Failed(_LATE)
        self._waiting = future

    def _request(
        self, what: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], future: "Future[Any]"
    ) -> None:
        self._expect(future)
        try:
            getattr(self._channel, name)(*args, callback=lambda frame: self._answer(frame.method), **kwargs)
        except Exception as error:  # what AMQP cannot carry; pika has an exception type for each case
            text = f"{what[:100]}: {reply_codes.describe(error)}"
            raise Failed(Failure(Kind.CONFIGURATION, "bad-property", text, "broker")) from error

    def _get(self, what: str, queue: str, future: "Future[Any]") -> None:
        self._expect(future)

        self._channel.basic_get(
            queue, lambda _channel, *message: self._answer(from_pika(queue, self.generation, *message))
        )

    def _send(self, name: str, *args: Any) -> None:
        *values, future = args
        self._check()
        getattr(self._channel, name)(*values)
        succeed(future)
