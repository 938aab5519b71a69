"""Which division gets a message."""

import pytest
from pika import BasicProperties

from connectorlib.errors import Failed
from connectorlib.messages import Delivery
from connectorlib.shared_settings import Limits, Source
from sfconnector.division_router import DivisionRouter
from sfconnector.settings import CaseSettings, Division, Salesforce

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
