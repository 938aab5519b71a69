import pytest
from pika import BasicProperties, exceptions, frame, spec

from connectorlib.amqp.frame_writer import HEADER_BYTES, encode_message, encode_properties
from connectorlib.messages import Outgoing


def properties(**given):
    return encode_properties(Outgoing("x", "k", b"", given))


def test_a_message_is_always_persistent():
    assert properties(delivery_mode=1).delivery_mode == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"text": "x" * (HEADER_BYTES + 1)},
        {"text": "\N{PILE OF POO}" * (HEADER_BYTES // 4 + 1)},
        {f"h{number}": "x" * 100 for number in range(700)},
        {"deep": {"text": "x" * HEADER_BYTES}},
        {"list": ["x" * 1000] * 70},
    ],
    ids=["long", "wide characters", "many", "nested", "listed"],
)
def test_headers_that_would_cost_the_connection_are_refused(headers):
    with pytest.raises(ValueError, match="headers take"):
        properties(headers=headers)


@pytest.mark.parametrize(
    "headers",
    [None, {}, {"a": 1, "b": None, "c": True}, {"text": "x" * (HEADER_BYTES - 100)}, {"list": [1, 2], "map": {"a": 1}}],
)
def test_other_headers_pass(headers):
    assert properties(headers=headers).headers == headers


FRAME_MAX = 4096


def written_by_pika(message: Outgoing, properties: BasicProperties) -> bytes:
    longest, body = FRAME_MAX - 8, message.body
    method = spec.Basic.Publish(0, message.exchange, message.routing_key, mandatory=True)
    frames = [frame.Method(5, method), frame.Header(5, len(body), properties)]
    frames += [frame.Body(5, body[at : at + longest]) for at in range(0, len(body), longest)]
    return b"".join(each.marshal() for each in frames)


@pytest.mark.parametrize("size", [0, 1, FRAME_MAX - 8, FRAME_MAX - 7, 3 * FRAME_MAX])
@pytest.mark.parametrize(
    "own",
    [
        {},
        {"message_id": "m-1", "headers": {"a": 1, "b": {"c": "d"}}, "priority": 3},
        {"message_id": "ä-1"},
        {"message_id": "m" * 255, "content_type": "application/json"},
        {"message_id": "m-1", "content_type": None},
        {"message_id": None, "content_type": "text/plain"},
        {"message_id": "", "correlation_id": "c-1"},
    ],
)
def test_the_frames_of_a_message_are_those_that_pika_writes(size, own):
    message = Outgoing("devices", "reading.p-7", b"x" * size, own)
    assert encode_message(5, message, FRAME_MAX) == written_by_pika(message, BasicProperties(**own, delivery_mode=2))


def test_what_amqp_cannot_carry_is_refused():
    with pytest.raises(exceptions.ShortStringTooLong):
        encode_message(1, Outgoing("x", "k" * 256, b"", {}), FRAME_MAX)
    for wrong in ({"message_id": "m" * 256}, {"message_id": "ä" * 128}, {"message_id": "m", "content_type": "t" * 256}):
        with pytest.raises(exceptions.ShortStringTooLong):
            encode_message(1, Outgoing("x", "k", b"", wrong), FRAME_MAX)
