"""A division's alarms from messages to Cases, on an org over HTTP: floods of refusals, and what agents keep."""

import gzip
import json
import threading
import time
from collections import Counter
from typing import Any

import pytest

from connectorlib.errors import Kind
from connectorlib.messages import LATER, Again, Dead, Delivery, Outcome, Properties
from connectorlib.shared_settings import Retry, Source
from sfconnector.alarms.alarm_config import alarm_settings
from sfconnector.alarms.alarm_sink import AlarmSink
from sfconnector.division import DivisionState
from sfconnector.salesforce.client import Client
from sfconnector.salesforce.login import TokenProvider
from sfconnector.salesforce.usage import Budgets
from sfconnector.settings import CaseSettings, Division, Salesforce

ALARM: dict[str, Any] = {"key": "device", "clear_when": {"state": "ok"}}


class Alarms:
    """The sink of a division on the org of a test."""

    def __init__(self, org: Any, alarm: Any = ALARM, flood: int = 100, **case: Any) -> None:
        section = Salesforce(**org.login("pumps"))
        client = Client(section, "pumps", TokenProvider(section, "pumps"))
        given: dict[str, Any] = {"mapping": {"Subject": "device"}, "alarm": alarm_settings(alarm)} | case
        settings = CaseSettings(**given)
        division = Division("pumps", section, Source("q", None), settings, retry=Retry(flood=flood))
        self.client = client
        self.state = DivisionState(division, Budgets(10))
        self.stop = threading.Event()
        self.sink = AlarmSink(self.state, client, stop=self.stop)
        self.sink.probe()
        self.sent = 0

    def work(self, *devices: str, **more: Any) -> list[Outcome]:
        """Handle a batch with a message of each device."""
        return self.sink.handle([self.message({"device": device} | more) for device in devices], lambda: True)

    def message(self, body: Any) -> Delivery:
        self.sent += 1
        properties = Properties(message_id=f"m{self.sent}")
        key = body["device"]
        return Delivery(
            self.sent, 1, "q", "", key, False, properties, json.dumps(body).encode(), time.monotonic(), key=key
        )


@pytest.fixture
def start(salesforce: Any) -> Any:
    """Start the alarms of a division; they end with the test."""
    started: list[Alarms] = []

    def make(**more: Any) -> Alarms:
        started.append(Alarms(salesforce, **more))
        return started[-1]

    yield make
    for each in started:
        each.stop.set()


def kinds(outcomes: list[Outcome]) -> Counter[Any]:
    return Counter(
        "dead" if isinstance(each, Dead) else each.failure.kind if isinstance(each, Again) else "done"
        for each in outcomes
    )


def test_messages_behind_much_that_was_unpacked_are_put_off(start: Any) -> None:
    alarms = start()
    packed = [alarms.message({"device": f"p-{number}", "text": "x" * 1_000_000}) for number in range(8)]
    for each in packed:
        each.body, each.properties.content_encoding = gzip.compress(each.body), "gzip"
    outcomes = alarms.sink.handle(packed, lambda: True)
    assert outcomes[5:] == [LATER] * 3
    assert kinds(outcomes[:5]) == kinds(alarms.sink.handle(packed[5:], lambda: True) + outcomes[:2]) == {"done": 5}


def test_a_rule_that_refuses_every_new_case_pauses_though_repeats_go_on(start: Any, salesforce: Any) -> None:
    alarms = start(flood=30)
    alarms.work("old")
    salesforce.rules(validation=[{"object": "Case", "when": "Subject != 'old'", "message": "no pumps"}])
    seen: Counter[Any] = Counter()
    for batch in range(5):
        seen += kinds(alarms.work("old", *(f"p-{batch}-{number}" for number in range(10))))
    assert seen == {"done": 5, "dead": 29, Kind.FLOOD: 21}
    salesforce.rules(validation=[])
    assert kinds(alarms.work("p-9")) == {"done": 1}
    salesforce.rules(validation=[{"object": "Case", "when": "Subject != 'old'", "message": "no pumps"}])
    assert kinds(alarms.work("p-10")) == {"dead": 1}


def test_a_rule_that_refuses_every_reopening_pauses_though_new_cases_pass(start: Any, salesforce: Any) -> None:
    alarms = start(flood=5, alarm=ALARM | {"clear": {"after": 0}})
    devices = [f"p-{number}" for number in range(8)]
    alarms.work(*devices)
    alarms.work(*devices, state="ok")
    assert all(each["IsClosed"] for each in salesforce.cases())
    reopened = "Status = 'New' AND Subject LIKE 'p-%'"
    salesforce.rules(validation=[{"object": "Case", "when": reopened, "message": "once closed, closed"}])
    outcomes: list[Outcome] = []
    for device in devices:
        outcomes += alarms.work(device)
        assert kinds(alarms.work(f"new {device}")) == {"done": 1}
    assert kinds(outcomes) == {"dead": 4, Kind.FLOOD: 4}
    assert {each.failure.place for each in outcomes if isinstance(each, Dead | Again)} == {"changed case"}


def test_a_constant_that_the_org_refuses_pauses_and_costs_no_message(start: Any, salesforce: Any) -> None:
    alarms = start(defaults={"Origin": "Web"})
    refused = {"object": "Case", "message": "bad value for restricted picklist field: Web", "field": "Origin"}
    salesforce.rules(validation=[refused | {"code": "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"}])
    (outcome,) = alarms.work("p-1")
    assert isinstance(outcome, Again)
    assert outcome.failure.kind is Kind.CONFIGURATION
    assert outcome.failure.place == "case of pumps, origin = Web"
    salesforce.rules(validation=[])
    assert kinds(alarms.work("p-1")) == {"done": 1}


def test_the_fewer_calls_the_org_has_left_the_longer_messages_are_collected(start: Any, salesforce: Any) -> None:
    alarms = start()
    alarms.work("p-1")
    assert alarms.state.stretch(alarms.client) == 1
    salesforce.limit(maximum=1000, used=900)
    alarms.work("p-1")
    assert alarms.state.stretch(alarms.client) == pytest.approx(5, rel=0.1)


def test_the_owner_that_the_mapping_gives_is_not_replaced_by_a_rule(start: Any, salesforce: Any) -> None:
    owner = salesforce.user("owner@example.com")
    (queue,) = salesforce.seed("Group", {"Name": "Pumps", "DeveloperName": "Pumps", "Type": "Queue"})
    salesforce.rules(assignment=[{"id": "01Q000000000001", "entries": [{"owner": queue}]}])
    mapping = {"Subject": "device", "OwnerId": "owner"}
    alarms = start(mapping=mapping)
    deliveries = [alarms.message({"device": "p-1", "owner": owner}), alarms.message({"device": "p-2"})]
    assert kinds(alarms.sink.handle(deliveries, lambda: True)) == {"done": 2}
    assert {each["Subject"]: each["OwnerId"] for each in salesforce.cases()} == {"p-1": owner, "p-2": queue}


def test_a_case_is_created_without_what_salesforce_does_not_accept(start: Any, salesforce: Any) -> None:
    mapping = {"Subject": "device", "SuppliedEmail": {"path": "email", "invalid": "skip"}, "SuppliedName": "name"}
    alarms = start(mapping=mapping, note_field="Description")
    assert kinds(alarms.work("p-1", "p-2", email="n/a")) == {"done": 2}
    (first, second) = salesforce.cases()
    assert {each["SuppliedEmail"] for each in (first, second)} == {None}
    assert all(each["Description"].startswith("SuppliedEmail left out: ") for each in (first, second))
    assert {each["Case__c"] for each in salesforce.records("Alarm__c")} == {first["Id"], second["Id"]}
    assert alarms.state.created == 2
    outcomes = alarms.work("p-3", email="n/a", name="x" * 200)
    assert [type(each) for each in outcomes] == [Dead]
