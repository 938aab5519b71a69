"""A connection that reads deliveries and writes frames itself, and leaves everything else to pika.

pika makes nine objects of the three frames of a message, in about 30 µs; this makes one, in about 3, and decodes the
properties only if they are asked for. Frames are those of AMQP 0-9-1, section 4.2; what does not look like a message of
a registered channel is passed to pika unchanged.

A body of several frames is put together as they come, with one copy, and one that is not wanted is dropped as it comes:
the header says how large it is.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import field
from functools import lru_cache
from io import BytesIO
from struct import Struct
from struct import error as StructError
from typing import Any, NamedTuple

from pika.adapters.select_connection import SelectConnection

from connectorlib.amqp.field_tables import decode_short_string, decode_table
from connectorlib.amqp.receive_window import SMALL
from connectorlib.dataclass import dataclass
from connectorlib.messages import NONE_LEFT_OUT, PROPERTY_NAMES, Delivery, Properties

logger = logging.getLogger(__name__)

_METHOD, _HEADER, _BODY, _HEARTBEAT = 1, 2, 3, 8
_FRAME = Struct(">BHL")
#: A content header: the frame header, then class, weight and body size.
_CONTENT = Struct(">BHLHHQ")
#: A basic.deliver after the consumer tag: delivery tag, redelivered, length of the exchange's name.
_DELIVER = Struct(">QBB")
#: The delivery tag and redelivered.
_TAG = Struct(">QB")
_FLAGS = Struct(">H")
_TIMESTAMP = Struct(">Q")
_BASIC_DELIVER = b"\x00\x3c\x00\x3c"
#: Octets of the payload of a header before the properties.
_CONTENT_ONLY = 12
#: Octets of a frame besides its payload, and the last of them.
_OVERHEAD, _END = 8, 0xCE

#: So many routes of a listener are known.
ROUTES = 1_000

Receive = Callable[[Delivery], None]
#: Given the tag and the size of a body that is not small, returns whether to read it.
Admit = Callable[[int, int], bool]
#: Given a delivery whose body is not read, and the size of that.
Skip = Callable[[Delivery, int], None]
#: Given the bytes and an offset, returns a value and where it ends.
Decode = Callable[[bytes, int], tuple[Any, int]]


class _Layout(NamedTuple):
    """Where everything is in a message of one frame of each kind, up to its body."""

    #: The frame of its basic.deliver up to the delivery tag.
    beginning: bytes
    #: Returns the tag, redelivered, the route, the sizes of the header and the body, the properties, the end of the
    #: header, and the beginning of the frame with the body.
    unpack: Callable[[bytes, int], tuple[Any, ...]]
    #: Octets of the header, and of all before the body.
    header: int
    head: int


@dataclass(slots=True)
class _Listener:
    """The queue and the generation of deliveries, and what receives them."""

    queue: str
    generation: int
    receive: Receive
    admit: Admit
    skip: Skip
    #: The latest one for each size of a basic.deliver.
    layouts: dict[int, _Layout] = field(default_factory=dict)
    #: Exchange and routing key by their octets, with the end of their frame and how a header of this channel begins.
    routes: dict[bytes, tuple[str, str]] = field(default_factory=dict)

    def note(self, size: int, beginning: bytes, route: bytes, where: tuple[str, str], header: int) -> None:
        """Note how a message was laid out, because the next ones are likely to be so too."""
        if len(self.routes) >= ROUTES:
            self.routes.clear()
        self.routes[route] = where
        unpack = _unpack_from(len(route), header - _CONTENT_ONLY)
        head = len(beginning) + _TAG.size + len(route) + 4 + header + 1 + _FRAME.size
        self.layouts[size] = _Layout(beginning, unpack, header, head)


@lru_cache(ROUTES)
def _unpack_from(route: int, properties: int) -> Callable[[bytes, int], tuple[Any, ...]]:
    return Struct(f">QB{route}sL4xQ{properties}sBBHL").unpack_from


@dataclass(slots=True)
class _Incoming:
    """A message of which some frames are still to come."""

    delivery: Delivery
    #: Octets of the body.
    left: int
    #: None: the body is not read.
    body: BytesIO | None
    receive: Receive


class LazyDelivery(Delivery):
    """A delivery whose properties are decoded at the first access."""

    __slots__ = ("_raw",)

    def __init__(
        self,
        tag: int,
        generation: int,
        queue: str,
        exchange: str,
        routing_key: str,
        redelivered: bool,
        raw: bytes,
        body: bytes,
        received: float,
    ) -> None:
        self.tag = tag
        self.generation = generation
        self.queue = queue
        self.exchange = exchange
        self.routing_key = routing_key
        self.redelivered = redelivered
        self._raw = raw
        self.body = body
        self.received = received
        self.key = self.records = None
        self.left_out = NONE_LEFT_OUT
        self.unpacked = 0

    # A body may be decoded by these two, so they are read without the others.

    @property
    def content_type(self) -> str | None:
        try:
            return decode_short_string(self._raw, 2)[0] if self._raw[0] & 0x80 else None
        except IndexError:
            return self.properties.content_type

    @property
    def content_encoding(self) -> str | None:
        raw = self._raw
        try:
            if not raw[0] & 0x40:
                return None
            return decode_short_string(raw, 3 + raw[2] if raw[0] & 0x80 else 2)[0]  # behind the content type
        except IndexError:
            return self.properties.content_encoding

    def __getattr__(self, name: str) -> Properties:
        """Fill the one slot that is still empty."""
        if name != "properties":
            raise AttributeError(name)
        self.properties = decode_properties(self._raw)
        return self.properties


def raw_properties(delivery: Delivery) -> bytes:
    """Return the properties of a delivery as they came, b"" if they came decoded."""
    return delivery._raw if isinstance(delivery, LazyDelivery) else b""


def decode_properties(raw: bytes) -> Properties:
    """Return the properties of a content header, given their flags and values; none if they cannot be read."""
    try:
        (flags,) = _FLAGS.unpack_from(raw)
        at = 2
        while raw[at - 1] & 1:  # more flags follow, of which AMQP 0-9-1 defines none
            at += 2
        values: dict[str, Any] = {}
        for name, decode in _decoders(flags):
            values[name], at = decode(raw, at)
        return Properties(**values)
    except Exception as error:  # a message must not be unreadable for its properties
        logger.warning("the properties of a message cannot be read and are left out: %s", error)
        return Properties()


@lru_cache(256)
def _decoders(flags: int) -> list[tuple[str, Decode]]:
    """Return the names of the properties that are set, in order, and how each is decoded."""
    names = (name for bit, name in enumerate(PROPERTY_NAMES) if flags & 0x8000 >> bit)
    return [(name, _DECODERS.get(name, decode_short_string)) for name in names]


def _octet(raw: bytes, at: int) -> tuple[int, int]:
    return raw[at], at + 1


def _timestamp(raw: bytes, at: int) -> tuple[int, int]:
    return _TIMESTAMP.unpack_from(raw, at)[0], at + 8


_DECODERS: dict[str, Decode] = {
    "headers": decode_table,
    "delivery_mode": _octet,
    "priority": _octet,
    "timestamp": _timestamp,
}


def from_pika(queue: str, generation: int, method: Any, properties: Any, body: bytes) -> Delivery:
    """Return a message that pika has read."""
    where = queue, method.exchange, method.routing_key
    known = Properties(**vars(properties))
    return Delivery(method.delivery_tag, generation, *where, method.redelivered, known, body, time.monotonic())


class FrameReader:
    """Splits a connection's bytes into deliveries of registered channels, and the rest for pika."""

    def __init__(self, for_pika: Callable[[bytes], None]) -> None:
        """`for_pika` receives whole frames."""
        self._for_pika = for_pika
        self._listeners: dict[int, _Listener] = {}
        #: By channel.
        self._incoming: dict[int, _Incoming] = {}
        #: What has arrived and is not a whole frame or message yet, and how many bytes that needs.
        self._chunks: list[bytes] = []
        self._have = self._need = 0

    def listen(
        self,
        channel: int,
        queue: str,
        generation: int,
        receive: Receive,
        admit: Admit = lambda tag, size: True,
        skip: Skip = lambda delivery, size: None,
    ) -> Callable[..., None]:
        """Pass what is delivered on a channel with one consumer to `receive`, or to `skip` if `admit` does not want its
        body, until `forget`. Return the callback for pika's `basic_consume`, for messages that pika reads after all."""
        self._listeners[channel] = _Listener(queue, generation, receive, admit, skip)

        return lambda _channel, *message: receive(from_pika(queue, generation, *message))

    @property
    def buffered(self) -> int:
        """How many bytes of frames that are not whole yet are kept."""
        return self._have

    def forget(self, channel: int) -> None:
        self._listeners.pop(channel, None)
        self._incoming.pop(channel, None)

    def feed(self, data_in: bytes) -> None:
        """Read what has arrived from the socket."""
        self._chunks.append(data_in)
        self._have += len(data_in)
        if self._have < self._need:
            return
        data = data_in if len(self._chunks) == 1 else b"".join(self._chunks)
        done, self._need = self._read(data)
        rest = data[done:]
        self._chunks = [rest] if rest else []
        self._have = len(rest)

    def _read(self, data: bytes) -> tuple[int, int]:
        """Read all whole frames and messages; return where they end, and how many bytes the next one needs at least."""
        now = time.monotonic()
        at = plain = 0  # where the next frame begins, and the first one that pika still has to get
        while len(data) - at >= _FRAME.size:
            kind, channel, size = _FRAME.unpack_from(data, at)
            end = at + size + _OVERHEAD
            listener = self._listeners.get(channel) if kind == _METHOD else None
            if listener is not None and data.startswith(_BASIC_DELIVER, at + 7):
                if plain < at:
                    plain = self._pass_to_pika(data, plain, at)
                    continue  # that may have closed the channel
                layout = listener.layouts.get(size)
                if layout and (until := _receive_alike(data, at, channel, listener, layout, now)) > at:
                    at = plain = until
                    continue
                until = self._receive(data, at, end, channel, listener, now)
                if until > len(data):
                    return at, until - at
                if until:
                    at = plain = until
                    continue
            elif kind == _BODY and channel in self._incoming and end <= len(data):
                if plain < at:
                    plain = self._pass_to_pika(data, plain, at)
                    continue
                if self._take_part(channel, data, at, end):
                    at = plain = end
                    continue
            if kind > _HEARTBEAT:  # not AMQP 0-9-1, which pika reports
                at = len(data)
                break
            if end > len(data):
                self._pass_to_pika(data, plain, at)
                return at, end - at
            at = end
        self._pass_to_pika(data, plain, at)
        return at, _FRAME.size

    def _pass_to_pika(self, data: bytes, start: int, end: int) -> int:
        """Pass whole frames to pika; return where they end."""
        if start < end:
            self._for_pika(data[start:end])
        return end

    def _receive(self, data: bytes, at: int, end: int, channel: int, listener: _Listener, now: float) -> int:
        """Given where a basic.deliver begins and ends, receive the message and return where that ends; if its body has
        several frames, return where its header ends, and expect those.

        Return more than the length of `data` if more is needed, and 0 if it is for pika: other frames are in between
        (section 4.2.6 allows those of other channels), or something is wrong with it.
        """
        if len(data) < end + _CONTENT.size:
            return end + _CONTENT.size
        length: int
        kind, frame_channel, size, _class, _weight, length = _CONTENT.unpack_from(data, end)
        start: int = end + size + _OVERHEAD
        if kind != _HEADER or frame_channel != channel or data[end - 1] != _END:
            return 0
        body, until, part = b"", start, length
        if length:
            if len(data) < start + _FRAME.size:
                return start + _FRAME.size
            kind, frame_channel, part = _FRAME.unpack_from(data, start)
            if kind != _BODY or frame_channel != channel or not 0 < part <= length:
                return 0
            if part == length:
                until = start + length + _OVERHEAD
                body = data[start + _FRAME.size : until - 1]
        if until > len(data):
            return until
        if data[start - 1] != _END or data[until - 1] != _END:
            return 0
        tag_end = at + 12 + data[at + 11]
        try:
            tag, bits, exchange_size = _DELIVER.unpack_from(data, tag_end)
            key_at = tag_end + _DELIVER.size + exchange_size
            key_end = key_at + 1 + data[key_at]
            exchange, key = data[tag_end + _DELIVER.size : key_at].decode(), data[key_at + 1 : key_end].decode()
        except (IndexError, StructError, UnicodeDecodeError):
            return 0
        if key_end >= end:
            return 0
        route = data[tag_end + _TAG.size : end + 3]
        if size >= _CONTENT_ONLY:
            listener.note(end - at - _OVERHEAD, data[at:tag_end], route, (exchange, key), size)
        properties = data[end + 19 : start - 1]
        wanted = length <= SMALL or listener.admit(tag, length)
        where = tag, listener.generation, listener.queue, exchange, key
        delivery = LazyDelivery(*where, bool(bits & 1), properties, body if wanted else b"", now)
        if part < length:
            self._incoming[channel] = _Incoming(delivery, length, BytesIO() if wanted else None, listener.receive)
        elif wanted:
            listener.receive(delivery)
        if not wanted:
            listener.skip(delivery, length)
        return until

    def _take_part(self, channel: int, data: bytes, at: int, end: int) -> bool:
        """Add a frame to the body that it belongs to; return False for one that is wrong, which pika reports."""
        message = self._incoming[channel]
        size = end - at - _OVERHEAD
        if data[end - 1] != _END or not 0 < size <= message.left:
            del self._incoming[channel]
            return False
        message.left -= size
        if message.body is not None:
            message.body.write(memoryview(data)[at + _FRAME.size : end - 1])
        if not message.left:
            del self._incoming[channel]
            if message.body is not None:
                message.delivery.body = message.body.getvalue()  # which copies nothing, as CPython does it
                message.receive(message.delivery)
        return True


def _receive_alike(data: bytes, at: int, channel: int, listener: _Listener, layout: _Layout, now: float) -> int:
    """Receive the messages from `at` on as long as each is whole, small and of this layout; return where the first one
    begins that is not. This is the hot path: `_receive` decides about that one."""
    generation, queue, receive, routes = listener.generation, listener.queue, listener.receive, listener.routes
    beginning, unpack, header, head = layout
    known = len(beginning)
    while data.startswith(beginning, at) and at + head <= len(data):
        tag, bits, route, size, length, properties, end, kind, frame_channel, part = unpack(data, at + known)
        until: int = at + head + length + 1
        where = routes.get(route)
        if size != header or end != _END or kind != _BODY or frame_channel != channel or part != length:
            break
        if where is None or not 0 < length <= SMALL or until > len(data) or data[until - 1] != _END:
            break
        body, redelivered = data[at + head : until - 1], bits & 1 > 0
        receive(LazyDelivery(tag, generation, queue, *where, redelivered, properties, body, now))
        at = until
    return at


class PikaConnection(SelectConnection):  # type: ignore[misc]  # pika has no types
    """pika's connection, with deliveries read by `deliveries`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.deliveries = FrameReader(super()._on_data_available)
        super().__init__(*args, **kwargs)

    def _on_data_available(self, data_in: bytes) -> None:
        """Read what has arrived, instead of pika's method of this name."""
        self.bytes_received += len(data_in)  # which pika's heartbeat check compares
        self.deliveries.feed(data_in)

    def write(self, frames: bytes) -> None:
        """Send whole frames of open channels, after everything that pika has sent."""
        self._output_marshaled_frames([frames])
