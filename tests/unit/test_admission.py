"""Which messages are for a flow: `accept_when` and `ignore_when`."""

from decimal import Decimal

import pytest
from pika import BasicProperties

from connectorlib.errors import Failed
from connectorlib.messages import EMPTY, IGNORED, NOT_ACCEPTED, Delivery
from connectorlib.pipeline.admission import Admission, admitting, with_admission
from connectorlib.shared_settings import Conditions, Limits

HOT = Conditions(accept_when={"t": {"gt": 80}})
QUIET = Conditions(ignore_when=[{"type": "heartbeat"}, {"$headers.debug": True}])
BOTH = Conditions(HOT.accept_when, QUIET.ignore_when)
BESIDE = Conditions(accept_when={"$routing_key": "alarm.#"})


def delivery(body, routing_key="k", **headers):
    return Delivery(1, 1, "q", "x", routing_key, False, BasicProperties(headers=headers), body, 0.0)


def admission(conditions, kind="json"):
    return Admission(conditions, {"type": kind}, Limits())


@pytest.mark.parametrize(
    ("conditions", "body", "left_out"),
    [
        (HOT, b'{"t": 81}', None),
        (HOT, b'{"t": 80}', NOT_ACCEPTED),
        (HOT, b"{}", NOT_ACCEPTED),
        (QUIET, b'{"type": "heartbeat"}', IGNORED),
        (QUIET, b'{"type": "alarm"}', None),
        (BOTH, b'{"t": 81, "type": "heartbeat"}', IGNORED),
        (BOTH, b'{"t": 1, "type": "heartbeat"}', NOT_ACCEPTED),
        (BOTH, b'{"t": 81}', None),
        (HOT, b"[]", EMPTY),
        (HOT, b"no json", None),  # the sink rejects it
    ],
)
def test_a_message_is_admitted_or_left_out(conditions, body, left_out):
    assert admission(conditions)(delivery(body)) == left_out


def test_of_several_records_those_that_are_not_accepted_are_left_out():
    message = delivery(b'[{"t": 81}, {"t": 1}, {"t": 90}, {}]')
    assert admission(HOT)(message) is None
    assert message.left_out == {1, 3}
    assert [record["t"] for record in message.records if "t" in record] == [81, 1, 90], "positions stay as they were"


def test_a_message_none_of_whose_records_is_accepted_counts_once():
    assert admission(BOTH)(delivery(b'[{"t": 1}, {"t": 81, "type": "heartbeat"}]')) is NOT_ACCEPTED


def test_what_travels_beside_the_body_costs_no_decoding():
    admit = admission(BESIDE)
    message = delivery(b"no json", "alarm.pump")
    assert admit(message) is None
    assert message.records is None
    assert admit(delivery(b"no json", "state.pump")) is NOT_ACCEPTED


def test_the_position_and_the_whole_message_can_be_asked_for():
    message = delivery(b'[{"t": 1}, {"t": 2}]')
    assert admission(Conditions(ignore_when={"$index": 0}))(message) is None
    assert message.left_out == {0}
    assert admission(Conditions(accept_when={"$[1].t": 2}))(delivery(b'[{"t": 1}, {"t": 2}]')) is None


def test_a_condition_that_cannot_be_evaluated_rejects_the_message():
    message = delivery(b"")
    message.records = [{"t": Decimal("1e5000")}]
    with pytest.raises(Failed) as failed:
        admission(Conditions(accept_when={"{t}": "x"}))(message)
    assert failed.value.failure.code == "bad-value"


@pytest.mark.parametrize(
    ("body", "reasons"),
    [
        (b'{"t": 1}', ['accept_when does not hold: t is 1, not {"gt":80}']),
        (
            b'{"t": 81, "type": "heartbeat"}',
            ['accept_when holds: t: {"gt":80}; ignore_when holds: type: "heartbeat"'],
        ),
        (
            b'[{"t": 1}, {"t": 81}]',
            [
                'accept_when does not hold: t is 1, not {"gt":80}',
                'accept_when holds: t: {"gt":80}; ignore_when does not hold: '
                'type is missing, not "heartbeat"; $headers.debug is missing, not true',
            ],
        ),
    ],
)
def test_a_person_is_told_which_condition_decides(body, reasons):
    assert admission(BOTH).reasons(delivery(body)) == reasons


def test_without_conditions_nothing_is_asked():
    def route(message):
        return [1]

    assert admitting(Conditions(), {}, Limits()) is None
    assert with_admission(None, route, 4) is route


def test_what_is_admitted_goes_to_the_lane_of_its_key_or_to_any():
    hot, cold = delivery(b'{"t": 81}'), delivery(b'{"t": 1}')
    any_lane, of_key = (with_admission(admission(HOT), route, 3) for route in (None, lambda message: [2]))
    assert any_lane is not None
    assert of_key is not None
    assert (any_lane(hot), of_key(hot), of_key(cold)) == (range(3), [2], NOT_ACCEPTED)
