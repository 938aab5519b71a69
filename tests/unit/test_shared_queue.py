"""Which division of a shared queue gets a message, and how the messages of a paused one wait. On the sandbox's org."""

import threading
import time
from dataclasses import replace

import pytest
from pika import BasicProperties

from connectorlib.amqp import Broker
from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import DONE, LATER, Delivery, Wait
from connectorlib.monitoring.monitor import Monitor
from connectorlib.pipeline.run_sink import make_pump
from connectorlib.service.process import Life
from connectorlib.shared_settings import BrokerSettings, Limits, Source
from sfconnector.flow import make_flow
from sfconnector.salesforce.usage import Budgets
from sfconnector.sandbox.org_rules import ValidationRule
from sfconnector.settings import CaseSettings, Division, Salesforce, SfConfig
from sfconnector.shared_queue import Routes, Shared
from tests.unit.calls import CaseClient, raising, rejected

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
    assert Routes([PUMPS, HVAC, REST]).of(message) == position


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
        Routes(divisions).of(delivery(body))
    assert caught.value.failure.code == code


def test_each_division_reads_the_body_by_its_own_format_and_limits():
    strict = division({"site": "a"}, limits=Limits(body_bytes=3))
    routes = Routes([strict, division({"site": "a"}, XML), division({"site": "a"})])
    assert routes.of(delivery(b"<m><site>a</site></m>")) == 1
    assert routes.of(delivery(b'{"site": "a"}')) == 2


# -- a paused division


NOBODY = (("127.0.0.1", 1),)  # nothing is taken from a broker here


@pytest.fixture
def clients():
    return {"pumps": CaseClient(), "rest": CaseClient()}


@pytest.fixture
def shared(clients):
    """The sink of two divisions that have been greeted."""
    case = CaseSettings(mapping={"Subject": "text"})
    pumps = replace(division({"$routing_key": "pump"}), name="pumps", case=case)
    rest = replace(division({}), name="rest", case=case)
    config = SfConfig("config.json", BrokerSettings(hosts=NOBODY), (pumps, rest))
    stop = threading.Event()
    with Broker(config.broker, name="test") as broker:
        flow = make_flow(
            config,
            (pumps, rest),
            broker.publisher,
            clients,
            Budgets(10),
            stop=stop,
            on_first=lambda name, failure: None,
        )
        make_pump(flow, config.broker, broker, Monitor("", "", "", broker, ""), Life(install=False))
        assert isinstance(flow.sink, Shared)
        flow.sink.probe()
        yield flow.sink


def pump(text="x"):
    return delivery(b'{"text": "%s"}' % text.encode(), "pump")


def handled(shared, *deliveries):
    return shared.handle(deliveries, lambda: True)


DOWN = raising(Failed(Failure(Kind.UNAVAILABLE, "http-503", "maintenance", "salesforce")))


def test_messages_of_a_paused_division_wait_until_it_is_tried_and_not_a_moment_less(shared, clients):
    clients["pumps"].before = [DOWN]
    rest = delivery(b"{}", "rest")
    first, done = handled(shared, pump(), rest)
    assert isinstance(first, Wait)
    assert done is DONE
    member = shared.part_of(pump())
    assert first.until == member.next_try > time.monotonic()
    assert handled(shared, pump(), rest) == [first, DONE]
    assert clients["pumps"].sizes == [1]


def test_after_a_pause_one_message_of_the_division_is_tried_before_the_others_another_one_each_time(shared, clients):
    clients["pumps"].before = [DOWN]
    batch = [pump(str(number)) for number in range(3)]
    handled(shared, *batch)
    broken = raising(rejected("INVALID_ASSIGNMENT_RULE", "no such rule"))
    for _ in range(2):
        shared.nudge()
        clients["pumps"].before = [broken]
        assert {type(outcome) for outcome in handled(shared, *batch)} == {Wait}
    assert [case["Subject"] for call in clients["pumps"].calls[1:] for case in call] == ["0", "1"]
    shared.nudge()
    assert handled(shared, *batch, delivery(b"{}", "rest")) == [LATER, LATER, DONE, DONE]
    assert handled(shared, *batch[:2]) == [DONE, DONE]
    assert shared.part_of(pump()).pausing.pause is None


def test_one_bad_message_pauses_nothing(shared, clients):
    rule = ValidationRule("Case", "no", "Subject = 'bad'", code="INVALID_ASSIGNMENT_RULE")
    clients["pumps"].org.configure({"validation": [rule]})
    bad, good = handled(shared, pump("bad"), pump("good"))
    assert bad.failure.kind is Kind.CONFIGURATION
    assert good is DONE
    assert shared.part_of(pump()).failure is None


def test_a_wrong_configuration_is_tried_every_five_minutes_at_last(shared):
    member = shared.part_of(pump())
    kinds = {Kind.CONFIGURATION: 300, Kind.UNAVAILABLE: 60}
    for kind, longest in kinds.items():
        for _ in range(20):
            wait = member.hold(Failure(kind, "x", "y"))
        assert 0.7 * longest < wait.until - time.monotonic() <= longest


def test_a_message_that_cannot_be_matched_is_somebodys(shared):
    assert shared.part_of(delivery(object())).cases.division.name == "pumps"
