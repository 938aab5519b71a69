"""Encodes a message as frames. What AMQP cannot carry is refused before it is sent, where it would cost the
connection."""

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct
from typing import Any

import pika
from pika import data, frame, spec

from connectorlib.amqp.field_tables import Field
from connectorlib.messages import Outgoing

#: A header frame must fit the frame size (131,072 with RabbitMQ); one that does not ends the connection with 501.
HEADER_BYTES = 64 * 1024


_FRAME = Struct(">BHL")
#: A content header up to the properties: the frame header, then class, weight and body size.
_CONTENT = Struct(">BHLHHQ")
_CLASS = 60
_END = b"\xce"
#: Octets of a frame besides its payload.
_OVERHEAD = 8


def encode_message(channel: int, message: Outgoing, frame_max: int) -> bytes:
    """Return the frames that publish a message, persistent and mandatory. Raise what pika raises for what AMQP cannot
    carry.

    pika writes each frame separately, which costs 40 µs per message; a batch of these is one write.
    """
    properties = _properties_of(message)
    body = message.body
    start = _CONTENT.pack(spec.FRAME_HEADER, channel, 12 + len(properties), _CLASS, 0, len(body))
    method = _method(channel, message.exchange, message.routing_key)
    longest = frame_max - _OVERHEAD
    if 0 < len(body) <= longest:  # hot path
        head = _FRAME.pack(spec.FRAME_BODY, channel, len(body))
        return b"".join((method, start, properties, _END, head, body, _END))
    pieces: list[bytes | memoryview] = [method, start, properties, _END]
    view = memoryview(body)  # so that a long one is copied only once
    for at in range(0, len(body), longest):
        piece = view[at : at + longest]
        pieces += [_FRAME.pack(spec.FRAME_BODY, channel, len(piece)), piece, _END]
    return b"".join(pieces)


@lru_cache(4096)
def _method(channel: int, exchange: str, routing_key: str) -> bytes:
    marshalled: bytes = frame.Method(channel, spec.Basic.Publish(0, exchange, routing_key, mandatory=True)).marshal()
    return marshalled


def _properties_of(message: Outgoing) -> bytes:
    """Return the encoded properties. Those of most messages, an id and perhaps a content type, do without the object of
    pika, which costs 2 µs."""
    properties = message.properties
    message_id = properties.get("message_id")
    if type(message_id) is str and len(properties) == 1 + ("content_type" in properties):
        octets = message_id.encode()
        if len(octets) < 256:
            return b"%b%c%b" % (_before_id(properties.get("content_type")), len(octets), octets)
    return b"".join(encode_properties(message).encode())


@lru_cache(256)
def _before_id(content_type: str | None) -> bytes:
    """Return the encoded properties up to the length of the id, which is the last of them."""
    properties = {"message_id": ""} if content_type is None else {"message_id": "", "content_type": content_type}
    return b"".join(encode_properties(Outgoing("", "", b"", properties)).encode())[:-1]


def encode_properties(message: Outgoing) -> pika.BasicProperties:
    """Return pika's properties, always persistent; raise ValueError when the headers are too large."""
    properties = pika.BasicProperties(**message.properties)
    properties.delivery_mode = 2
    if properties.headers:
        check_size(properties.headers)
    return properties


def check_size(headers: Mapping[str, Any]) -> None:
    """Raise ValueError if the headers are too large. An upper bound nearly always spares the encoding."""
    bound = 0
    for name, value in headers.items():
        # 4 bytes a character at most; other scalars take 9 at most; nested ones are measured.
        bound += 4 * len(name) + 16 + (4 * len(value) if isinstance(value, str | bytes) else 0)
        if isinstance(value, Field):
            bound += len(value.octets)
        if isinstance(value, list | tuple | dict):
            bound = HEADER_BYTES + 1
        if bound > HEADER_BYTES:
            break
    else:
        return
    size = data.encode_table([], dict(headers))
    if size > HEADER_BYTES:
        raise ValueError(f"headers take {size} bytes, more than {HEADER_BYTES}")
