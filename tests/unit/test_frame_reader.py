"""What the fast path reads of a connection's bytes is what pika reads of them, however they are cut."""

import copy
from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pika import BasicProperties, frame, spec

from connectorlib.amqp.frame_reader import FrameReader, LazyDelivery, decode_properties
from connectorlib.amqp.receive_window import SMALL
from connectorlib.messages import Delivery, Properties

HEARD, OTHER = 3, 4
#: Small, so that bodies of a few bytes take several frames.
FRAME_MAX = 16


def deliver(
    tag: int,
    body: bytes,
    properties: BasicProperties,
    channel: int = HEARD,
    key: str = "a.b",
    again: bool = False,
    frame_max: int = FRAME_MAX,
) -> list[bytes]:
    """Return the frames of one message."""
    method = spec.Basic.Deliver("consumer", tag, again, "devices", key)
    pieces = [body[at : at + frame_max] for at in range(0, len(body), frame_max)]
    frames = [frame.Method(channel, method), frame.Header(channel, len(body), properties)]
    return [each.marshal() for each in (*frames, *(frame.Body(channel, piece) for piece in pieces))]


class Heard:
    """A reader of one channel, and what came of the bytes: messages in order, the rest as frames for pika."""

    def __init__(self, *, forget_after: type | None = None) -> None:
        self.all: list[Delivery | Any] = []
        self._forget_after = forget_after
        self.reader = FrameReader(self._for_pika)
        self.reader.listen(HEARD, "readings", 7, self.all.append)

    def _for_pika(self, data: bytes) -> None:
        while data:
            used, found = frame.decode_frame(data)
            assert used, "pika gets whole frames only"
            self.all.append(found)
            if self._forget_after and isinstance(getattr(found, "method", None), self._forget_after):
                self.reader.forget(HEARD)
            data = data[used:]

    @property
    def deliveries(self) -> list[Delivery]:
        return [each for each in self.all if isinstance(each, Delivery)]

    @property
    def frames(self) -> list[Any]:
        return [each for each in self.all if not isinstance(each, Delivery)]


def cut(data: bytes, places: list[int]) -> Iterator[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return (data[start:end] for start, end in pairwise(edges))


texts = st.text(st.characters(codec="utf-8"), max_size=20)
bags = st.builds(
    BasicProperties,
    content_type=st.none() | texts,
    message_id=st.none() | texts,
    headers=st.none() | st.dictionaries(texts, st.integers(-(2**31), 2**31 - 1) | texts, max_size=3),
    delivery_mode=st.none() | st.integers(1, 2),
    timestamp=st.none() | st.integers(0, 2**63),
)
messages = st.tuples(st.binary(max_size=3 * FRAME_MAX), bags, texts, st.booleans())


@given(st.lists(messages | st.none(), max_size=8), st.lists(st.integers(0, 10**6), max_size=12))
def test_messages_are_what_was_sent_however_the_bytes_are_cut(sent: list[Any], places: list[int]) -> None:
    """None stands for a heartbeat and a message of another channel in between."""
    data, expected = b"", []
    for tag, message in enumerate(sent, 1):
        if message is None:
            data += frame.Heartbeat().marshal() + b"".join(deliver(tag, b"not ours", BasicProperties(), OTHER))
            continue
        body, properties, key, again = message
        data += b"".join(deliver(tag, body, properties, key=key, again=again))
        expected.append((tag, body, key, again, properties.headers or {}, properties.message_id, properties.timestamp))
    heard = Heard()
    for piece in cut(data, places):
        heard.reader.feed(piece)
    assert [
        (d.tag, d.body, d.routing_key, d.redelivered, d.headers, d.properties.message_id, d.properties.timestamp)
        for d in heard.deliveries
    ] == expected
    assert all((d.queue, d.generation, d.exchange) == ("readings", 7, "devices") for d in heard.deliveries)
    assert len(heard.frames) == 4 * sent.count(None)


def read(*pieces: bytes) -> tuple[list[tuple[Any, ...]], bytes]:
    """Return what a reader of its own makes of the bytes: the messages, and the frames for pika."""
    got: list[Delivery] = []
    for_pika: list[bytes] = []
    reader = FrameReader(for_pika.append)
    reader.listen(HEARD, "readings", 7, got.append)
    for piece in pieces:
        reader.feed(piece)
    found = [(d.tag, d.exchange, d.routing_key, d.redelivered, d.body, d.properties) for d in got]
    return found, b"".join(for_pika)


SAME, LONGER = BasicProperties(message_id="m-1"), BasicProperties(message_id="m-100")
alike = st.tuples(
    st.sampled_from([b"x", b"xx", b"", b"x" * SMALL, b"x" * (SMALL + 1)]),
    st.sampled_from([SAME, SAME, LONGER]),
    st.sampled_from(["a.b", "a.b", "a.c", "a.bc"]),
    st.booleans(),
)


@given(st.lists(alike, min_size=2, max_size=10), st.lists(st.integers(0, 10**6), max_size=4))
def test_messages_that_are_laid_out_alike_are_read_as_each_by_itself(sent: list[Any], places: list[int]) -> None:
    each = [
        b"".join(deliver(tag, body, properties, key=key, again=again, frame_max=2 * SMALL))
        for tag, (body, properties, key, again) in enumerate(sent, 1)
    ]
    alone = [message for one in each for message in read(one)[0]]
    assert len(alone) == len(sent)
    assert read(*cut(b"".join(each), places)) == (alone, b"")


@given(st.integers(0, 10**6), st.integers(0, 255), alike)
def test_what_is_wrong_with_a_message_is_found_behind_one_like_it_too(place: int, octet: int, message: Any) -> None:
    body, properties, key, again = message
    good = b"".join(deliver(1, body, properties, key=key, again=again, frame_max=2 * SMALL))
    spoilt = bytearray(b"".join(deliver(2, body, properties, key=key, again=not again, frame_max=2 * SMALL)))
    spoilt[place % (len(spoilt) if place % 2 else min(len(spoilt), 90))] = octet
    (first,), _ = read(good)
    messages, for_pika = read(bytes(spoilt))
    assert read(good + bytes(spoilt)) == ([first, *messages], for_pika)


def test_order_with_other_frames_is_kept() -> None:
    heard = Heard()
    beat = frame.Heartbeat().marshal()
    first, second = (b"".join(deliver(tag, b"x", BasicProperties())) for tag in (1, 2))
    heard.reader.feed(first + beat + second + beat)
    assert [isinstance(each, Delivery) for each in heard.all] == [True, False, True, False]


def test_a_message_with_frames_of_other_channels_between_its_own_is_left_to_pika() -> None:
    """AMQP 0-9-1, section 4.2.6: frames of different channels may be interleaved."""
    method, header, *bodies = deliver(1, b"y" * 20, BasicProperties())
    beat = frame.Heartbeat().marshal()
    for frames in ([method, beat, header, *bodies], [method, header, beat, *bodies]):
        heard = Heard()
        heard.reader.feed(b"".join(frames) + b"".join(deliver(2, b"z", BasicProperties())))
        assert [type(each) for each in heard.frames].count(frame.Body) == 2
        assert [delivery.tag for delivery in heard.deliveries] == [2]


def test_other_frames_may_come_between_those_of_a_body() -> None:
    method, header, *bodies = deliver(1, b"y" * 20, BasicProperties())
    between = frame.Heartbeat().marshal() + b"".join(deliver(1, b"another's", BasicProperties(), OTHER))
    heard = Heard()
    heard.reader.feed(b"".join([method, header, bodies[0], between, bodies[1]]))
    heard.reader.feed(b"".join(deliver(2, b"z", BasicProperties())))
    assert [(delivery.tag, delivery.body) for delivery in heard.deliveries] == [(1, b"y" * 20), (2, b"z")]
    assert len(heard.frames) == 4


@given(
    st.lists(st.sampled_from([0, 1, SMALL, SMALL + 1, 3 * SMALL, 20_000]), max_size=6),
    st.lists(st.integers(0, 10**6), max_size=12),
    st.integers(100, 2 * SMALL),
)
def test_a_body_that_is_not_wanted_is_known_from_its_header_and_never_kept(
    sizes: list[int], places: list[int], frame_max: int
) -> None:
    """In one frame or in many, and however the bytes are cut."""
    got: list[tuple[int, int]] = []
    skipped: list[tuple[int, int, bytes]] = []
    reader = FrameReader(lambda data: None)
    reader.listen(
        HEARD,
        *("readings", 7),
        lambda delivery: got.append((delivery.tag, len(delivery.body))),
        lambda tag, size: size <= 2 * SMALL,
        lambda delivery, size: skipped.append((delivery.tag, size, delivery.body)),
    )
    data = b"".join(
        piece
        for tag, size in enumerate(sizes, 1)
        for piece in deliver(tag, b"x" * size, BasicProperties(), frame_max=frame_max)
    )
    held = 0
    for piece in cut(data, [*places, *range(0, len(data), 4_096)]):
        reader.feed(piece)
        held = max(held, reader.buffered)
    assert got == [(tag, size) for tag, size in enumerate(sizes, 1) if size <= 2 * SMALL]
    assert skipped == [(tag, size, b"") for tag, size in enumerate(sizes, 1) if size > 2 * SMALL]
    assert held <= 2 * SMALL + 4_096 + 200


def test_a_frame_of_a_body_that_is_wrong_goes_to_pika() -> None:
    for spoil in (lambda last: last[:-1] + b"\x00", lambda last: frame.Body(HEARD, b"y" * 5).marshal()):
        method, header, first, last = deliver(1, b"y" * 20, BasicProperties())
        given_to_pika: list[bytes] = []
        reader = FrameReader(given_to_pika.append)
        received: list[Delivery] = []
        reader.listen(HEARD, "readings", 7, received.append)
        reader.feed(method + header + first + spoil(last))
        assert given_to_pika == [spoil(last)]
        assert received == []


def test_a_channel_that_closes_within_a_body_leaves_nothing_for_the_next_of_its_number() -> None:
    heard = Heard()
    method, header, first, _ = deliver(1, b"y" * 20, BasicProperties())
    heard.reader.feed(method + header + first)
    heard.reader.forget(HEARD)
    heard.reader.listen(HEARD, "readings", 8, heard.all.append)
    heard.reader.feed(b"".join(deliver(1, b"z" * 20, BasicProperties())))
    assert [(delivery.generation, delivery.body) for delivery in heard.deliveries] == [(8, b"z" * 20)]


def test_a_closed_channel_is_not_listened_to_any_more() -> None:
    heard = Heard(forget_after=spec.Channel.CloseOk)
    close = frame.Method(HEARD, spec.Channel.CloseOk()).marshal()
    heard.reader.feed(close + b"".join(deliver(1, b"the next's", BasicProperties())))
    assert heard.deliveries == []
    assert len(heard.frames) == 4


def test_a_routing_key_that_is_no_utf_8_is_left_to_pika() -> None:
    heard = Heard()
    heard.reader.feed(b"".join(deliver(1, b"x", BasicProperties(), key="abc")).replace(b"abc", b"a\xffc"))
    assert heard.deliveries == []
    assert len(heard.frames) == 3


def test_what_is_no_amqp_goes_to_pika_at_once() -> None:
    given_to_pika: list[bytes] = []
    reader = FrameReader(given_to_pika.append)
    reader.feed(b"AMQP\x00\x00\x09\x01")
    assert given_to_pika == [b"AMQP\x00\x00\x09\x01"]


def test_a_wrong_frame_end_goes_to_pika_which_closes_the_connection() -> None:
    for at in range(3):
        frames = deliver(1, b"x", BasicProperties())
        frames[at] = frames[at][:-1] + b"\x00"
        given_to_pika: list[bytes] = []
        reader = FrameReader(given_to_pika.append)
        reader.listen(HEARD, "readings", 7, lambda delivery: None)
        reader.feed(b"".join(frames))
        assert b"".join(given_to_pika) == b"".join(frames)


def test_a_delivery_can_get_other_properties_before_and_after_its_own_are_read() -> None:
    heard = Heard()
    heard.reader.feed(b"".join(deliver(1, b"x", BasicProperties(message_id="m-1"))))
    (delivery,) = heard.deliveries
    untouched = copy.copy(delivery)
    untouched.properties = Properties(message_id="m-2")
    assert (untouched.properties.message_id, delivery.properties.message_id) == ("m-2", "m-1")
    delivery.properties = Properties()
    assert delivery.properties.message_id is None


def test_properties_that_are_no_amqp_are_left_out() -> None:
    assert decode_properties(b"\xff\xfe\xff").message_id is None


def test_a_delivery_has_every_field_from_the_start() -> None:
    lazy = LazyDelivery(1, 1, "q", "x", "k", False, b"\0\0", b"", 0.0)
    eager = Delivery(1, 1, "q", "x", "k", False, Properties(), b"", 0.0)
    assert [getattr(lazy, each.name) for each in fields(Delivery)] == [
        getattr(eager, each.name) for each in fields(Delivery)
    ]
