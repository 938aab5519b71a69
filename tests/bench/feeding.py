"""Fills a queue with ready-made frames through a plain socket, several times as fast as a client library publishes.

Otherwise most of a run's time would go into filling queues. Only pika's classes for frames are used.
"""

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from pika import BasicProperties, frame, spec

from tests.services.rabbitmq import Vhost
from tests.services.waiting import eventually


def frames(queue: str, bodies: Iterable[bytes]) -> bytes:
    """Return what has to be sent to publish these bodies: persistent, with the message ids `m0`, `m1`, …"""
    parts = []
    publish = frame.Method(1, spec.Basic.Publish(routing_key=queue)).marshal()
    for number, body in enumerate(bodies):
        properties = BasicProperties(delivery_mode=2, message_id=f"m{number}")
        parts += [publish, frame.Header(1, len(body), properties).marshal(), frame.Body(1, body).marshal()]
    return b"".join(parts)


def fill(vhost: Vhost, queue: str, ready: bytes, count: int) -> None:
    """Make the queue anew and put the messages into it."""
    with vhost.channel() as channel:
        channel.queue_delete(queue)
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        with opened(vhost) as link:
            link.sendall(ready)
            # Not closed before they are there: what the queue has not taken yet would be lost with the channel.
            eventually(lambda: channel.queue_declare(queue, passive=True).method.message_count == count, 120, 0.01)


@contextmanager
def opened(vhost: Vhost) -> Iterator[socket.socket]:
    """Open a connection with a channel; what is sent has to be frames for that."""
    with socket.create_connection((vhost.host, vhost.port), 30) as link:
        link.sendall(b"AMQP\x00\x00\x09\x01")
        for method in _opening(vhost):
            _expect(link)
            link.sendall(method)
        _expect(link)
        yield link
        link.sendall(frame.Method(0, spec.Connection.Close(200, "", 0, 0)).marshal())
        _expect(link)


def _opening(vhost: Vhost) -> list[bytes]:
    answer = f"\0{vhost.username}\0{vhost.password}"
    started = spec.Connection.StartOk(client_properties={}, mechanism="PLAIN", response=answer, locale="en_US")
    tuned = spec.Connection.TuneOk(channel_max=1, frame_max=131_072, heartbeat=0)
    opened = spec.Connection.Open(virtual_host=vhost.name)
    return [
        frame.Method(0, started).marshal(),
        frame.Method(0, tuned).marshal() + frame.Method(0, opened).marshal(),
        frame.Method(1, spec.Channel.Open()).marshal(),
    ]


def _expect(link: socket.socket) -> Any:
    """Return the next method; the broker sends nothing else here."""
    data = b""
    while True:
        data += link.recv(65536)
        taken, found = frame.decode_frame(data)
        if taken:
            assert taken == len(data), data
            assert not isinstance(found.method, spec.Connection.Close), found
            return found.method
