"""Which division gets a message."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from pika import BasicProperties

from connectorlib.errors import Failed
from connectorlib.messages import NOT_ACCEPTED, Delivery, Done
from connectorlib.shared_settings import Conditions, Lanes, Limits, Source
from sfconnector.alarms.alarm import AlarmRules
from sfconnector.division_router import DivisionRouter, LaneRouter
from sfconnector.settings import AlarmSettings, CaseSettings, Division, Salesforce

JSON, XML = {"type": "json"}, {"type": "xml", "record": "m"}


def division(match, format=JSON, **more):
    source = Source("cases.all", None, prefetch=400)
    return Division("any", Salesforce(), source, CaseSettings(), format=format, match=match, **more)


def delivery(body=b"{}", routing_key="alarm.pump.7", **headers):
    return Delivery(1, 1, "cases.all", "devices", routing_key, False, BasicProperties(headers=headers), body, 0.0)


PUMPS = division({"$routing_key": "alarm.pump.#", "site": ["a*", "b1"]})
HVAC = division({"$headers.division": "hvac"})
REST = division({})


@pytest.mark.parametrize(
    ("message", "position"),
    [
        (delivery(b'{"site": "a7"}'), 0),
        (delivery(b'{"site": "b1"}', division="hvac"), 0),  # the first that fits
        (delivery(b'{"site": "c"}', division="hvac"), 1),  # all patterns of a match have to fit
        (delivery(b'{"site": "a7"}', "alarm.lift"), 2),
        (delivery(b"[]", division="hvac"), 1),
        (delivery(b'[{"site": "a7"}, {"site": "c"}]'), 0),  # a list goes where its first record goes
        (delivery(b"no json", division="hvac"), 1),  # what travels beside the body decides as well
        (delivery(b"no json"), 2),
    ],
)
def test_the_first_division_whose_match_fits_gets_the_message(message, position):
    assert DivisionRouter([PUMPS, HVAC, REST])(message) == position


@pytest.mark.parametrize(
    ("divisions", "body", "code"),
    [
        ([PUMPS, HVAC], b'{"site": "c"}', "no-division"),
        ([PUMPS, HVAC], b"no json", "not-decodable"),
        ([PUMPS, division({"site": "a"}, XML)], b'{"site": "c"}', "no-division"),  # one of the formats could read it
        ([PUMPS, division({"site": "a"}, XML)], b"<m><site>c</site></m>", "no-division"),
        ([PUMPS, division({"site": "a"}, XML)], b"neither", "not-decodable"),
    ],
)
def test_what_fits_nowhere_is_rejected(divisions, body, code):
    with pytest.raises(Failed) as caught:
        DivisionRouter(divisions)(delivery(body))
    assert caught.value.failure.code == code


def test_each_division_reads_the_body_by_its_own_format_and_limits():
    strict = division({"site": "a"}, limits=Limits(body_bytes=3))
    route = DivisionRouter([strict, division({"site": "a"}, XML), division({"site": "a"})])
    assert route(delivery(b"<m><site>a</site></m>")) == 1
    assert route(delivery(b'{"site": "a"}')) == 2


def test_the_match_of_a_division_counts_also_when_it_has_the_queue_for_itself():
    route = DivisionRouter([PUMPS])
    assert route(delivery(b'{"site": "a7"}')) == 0
    with pytest.raises(Failed) as caught:
        route(delivery(b'{"site": "c"}'))
    assert caught.value.failure.code == "no-division"


def test_a_division_that_takes_everything_needs_no_readable_body():
    assert DivisionRouter([REST])(delivery(b"no json")) == 0


# -- lanes


def lanes_of(route, message):
    lanes = route(message)
    assert not isinstance(lanes, Done)
    return tuple(lanes)


def test_a_message_is_for_the_lanes_of_its_division_and_with_a_key_for_one_of_them():
    first = division({"site": "a"}, lanes=Lanes(3, "device"))
    others = [division({"site": "b"}, lanes=Lanes(2)), division({}, XML, lanes=Lanes(4, "device"))]
    route = LaneRouter([first, *others])
    assert route.lanes == [range(0, 3), range(3, 5), range(5, 9)]
    assert route(delivery(b'{"site": "b", "device": 1}')) == range(3, 5)
    lanes = {lanes_of(route, delivery(b'{"site": "a", "device": %d}' % device)) for device in range(100)}
    assert lanes == {(0,), (1,), (2,)}
    lanes = {lanes_of(route, delivery(b"<m><device>d%d</device></m>" % device)) for device in range(100)}
    assert lanes == {(5,), (6,), (7,), (8,)}


def test_messages_of_one_key_have_one_lane_and_those_without_one_the_first():
    route = LaneRouter([division({"site": "x"}, lanes=Lanes(4)), division({}, lanes=Lanes(4, "device"))])
    for body in (b"{}", b"no json", b"[]"):
        message = delivery(body)
        assert lanes_of(route, message) == (4,)
        assert message.key is not None, "they keep their order"
    same = [delivery(b'{"device": "p-7", "n": %d}' % n) for n in range(9)]
    assert len({lanes_of(route, each) for each in same}) == 1
    assert {each.key for each in same} == {"p-7"}
    free = delivery(b'{"site": "x", "device": "p-7"}')
    route(free)
    assert free.key is None


def test_what_match_had_to_decode_is_not_decoded_once_more(monkeypatch):
    route = LaneRouter([division({"site": "a"}, lanes=Lanes(2, "device"))])
    message = delivery(b'{"site": "a", "device": 1}')
    monkeypatch.setattr(route._keys[0], "_format", SimpleNamespace(encoding="utf-8"))
    route(message)
    assert message.key == 1
    assert message.records == [{"site": "a", "device": 1}]


def test_a_division_leaves_out_what_its_own_conditions_say():
    hot = replace(division({"site": "a"}), conditions=Conditions(accept_when={"t": {"gt": 80}}))
    route = LaneRouter([hot, division({})])
    found = [route(delivery(body)) for body in (b'{"site": "a", "t": 81}', b'{"site": "a", "t": 1}', b'{"t": 1}')]
    assert found == [range(0, 1), NOT_ACCEPTED, range(1, 2)]


@pytest.mark.parametrize(
    ("count", "body", "refused"),
    [
        (2, b'[{"device": "a"}, {"device": "b"}]', True),
        (2, b'[{"device": "a"}, {}]', True),
        (2, b'[{"device": "a"}, {"device": "a"}]', False),
        (2, b'{"device": "a"}', False),
        (1, b'[{"device": "a"}, {"device": "b"}]', False),
    ],
)
def test_an_alarm_is_in_one_lane_whatever_else_a_message_holds(count, body, refused):
    alarm = AlarmSettings(key="device", rules=AlarmRules())
    route = LaneRouter([replace(division({}), lanes=Lanes(count, "device"), case=CaseSettings(alarm=alarm))])
    if not refused:
        assert len(lanes_of(route, delivery(body))) == 1
        return
    with pytest.raises(Failed) as failed:
        route(delivery(body))
    assert failed.value.failure.code == "several-alarms"
