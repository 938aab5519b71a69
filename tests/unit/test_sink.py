"""What a division makes of a batch of messages, by several handings over where it needs them. On the sandbox's org."""

import copy
import gzip
import io
import json
import logging
import re
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pika import BasicProperties

from connectorlib.errors import Failed, Kind
from connectorlib.formats import compile_format
from connectorlib.messages import ALREADY, DONE, LATER, Again, Dead, Delivery
from connectorlib.service import logs
from connectorlib.service.log_format import TextFormatter
from connectorlib.shared_settings import Retry, Source
from sfconnector import mapping, record_outcome
from sfconnector.division import DivisionState
from sfconnector.salesforce.usage import Budgets, Usage
from sfconnector.sandbox.org_rules import ValidationRule
from sfconnector.settings import CaseSettings, Division, ExternalId, Salesforce
from sfconnector.sink import CaseSink
from tests.services.waiting import eventually
from tests.unit.calls import LOST, CaseClient, lost, raising, rejected

BY_EMAIL = {"lookup": "Contact", "where": {"Email": "email"}, "missing": "reject"}
MAPPING = {"Subject": "subject", "ContactId": BY_EMAIL}
LOCKED = ValidationRule("Case", "locked", "Subject = 'locked'", code="UNABLE_TO_LOCK_ROW")


@pytest.fixture
def client():
    return CaseClient()


def cases_of(
    client, mapping=MAPPING, external_id="$message_id", hold_seconds=300.0, priority="normal", flood=100, **case
):
    key = None if external_id is None else ExternalId("Message_Id__c", external_id, case.pop("mode", "create_once"))
    settings = CaseSettings(mapping=mapping, external_id=key, **case)
    source = Source("q", None, prefetch=400)
    own = {"hold_seconds": hold_seconds, "priority": priority, "retry": Retry(flood=flood)}
    division = Division("hvac", Salesforce(), source, settings, **own)
    cases = CaseSink(DivisionState(division, Budgets(10)), client, stop=threading.Event())
    cases.probe()
    return cases


def message(tag, body, message_id=None, generation=1):
    properties = BasicProperties(message_id=message_id or f"m{tag}")
    return Delivery(tag, generation, "q", "", "q", False, properties, json.dumps(body).encode(), time.monotonic())


def handle(cases, *messages, valid=lambda: True):
    return cases.handle(messages, valid)


def contact(client, email="a@example.com"):
    (found,) = client.org.seed("Contact", [{"LastName": "A", "Email": email}])
    return found


def test_each_message_has_an_outcome_of_its_own(client):
    contact(client)
    cases = cases_of(client)
    bodies = [{"email": "a@example.com"}, {"email": "b@example.com"}, "no object", {"email": "A@example.com"}]
    outcomes = handle(cases, *[message(tag, body) for tag, body in enumerate(bodies)])
    assert [type(outcome) for outcome in outcomes] == [type(DONE), Dead, Dead, type(DONE)]
    assert len(client.asked) == 1
    assert client.sizes == [2]
    assert cases.passed[""] == cases.passed["case of hvac"] == 2
    assert cases.passed["lookup Contact where Email"] == 2


def test_a_contact_that_was_deleted_is_looked_up_once_more(client):
    old = contact(client)
    cases = cases_of(client)
    assert handle(cases, message(1, {"email": "a@example.com"})) == [DONE]
    client.org.delete("Contact", old, client.user)
    new = contact(client)
    assert handle(cases, message(2, {"email": "a@example.com"})) == [DONE]
    assert [case["ContactId"] for case in client.org.records("Case")][1:] == [new]
    client.org.delete("Contact", new, client.user)
    (outcome,) = handle(cases, message(3, {"email": "a@example.com"}))
    assert outcome.failure.code == "not-found"
    assert client.sizes == [1, 1, 1, 1]


def test_fields_that_were_changed_in_the_org_are_described_again_before_a_message_is_blamed(client, monkeypatch):
    monkeypatch.setattr("sfconnector.division.FRESH_S", -1.0)
    cases = cases_of(client, {"Subject": "{subject|x}"}, truncate=True)
    client.org.add_field("Case", {"name": "Subject", "type": "string", "length": 10, "createable": True})
    assert handle(cases, message(1, {"subject": "x" * 20}), message(2, {"subject": "y" * 5})) == [DONE, DONE]
    assert sorted(len(case["Subject"]) for case in client.org.records("Case")) == [5, 10]
    assert client.sizes == [2, 1]


def test_a_message_that_is_refused_as_the_fields_are_now_is_dead_after_one_more_try(client, monkeypatch):
    monkeypatch.setattr("sfconnector.division.FRESH_S", -1.0)
    cases = cases_of(client, {"Subject": "{subject|x}"})
    (outcome,) = handle(cases, message(1, {"subject": "x" * 300}))
    assert (type(outcome), outcome.failure.code) == (Dead, "STRING_TOO_LONG")
    assert client.sizes == [1, 1]


def test_fields_that_were_described_a_moment_ago_are_not_asked_for_again(client):
    cases = cases_of(client, {"Subject": "{subject|x}"})
    described = client.described
    (outcome,) = handle(cases, message(1, {"subject": "x" * 300}))
    assert isinstance(outcome, Dead)
    assert (client.sizes, client.described) == ([1], described)


LEVEL = {"name": "Level__c", "length": 20, "createable": True, "nillable": True}


def test_a_field_that_was_changed_is_described_again_before_a_value_is_refused_for_it(client, monkeypatch):
    client.org.add_field("Case", {**LEVEL, "type": "double"})
    cases = cases_of(client, {"Level__c": "level"})
    client.org.add_field("Case", {**LEVEL, "type": "string"})
    high, low = message(1, {"level": "high"}), message(2, {"level": "low"})
    assert [type(outcome) for outcome in handle(cases, high, low)] == [Dead, Dead]
    assert client.described == 1
    monkeypatch.setattr("sfconnector.division.FRESH_S", -1.0)
    assert handle(cases, high, low) == [DONE, DONE]
    assert client.described == 2


def test_what_a_field_does_not_take_is_a_flood_and_then_it_is_described_again(client):
    client.org.add_field("Case", {**LEVEL, "type": "double"})
    cases = cases_of(client, {"Level__c": "level"}, flood=10)
    batch = [message(tag, {"level": "high" if tag else 1}) for tag in range(30)]
    first, *others = handle(cases, *batch)
    assert first is DONE
    assert [type(outcome) for outcome in others] == [Dead] * 18 + [Again] * 11
    assert {(each.failure.kind, each.failure.place, each.failure.same) for each in others[18:]} == {
        (Kind.FLOOD, "case of hvac", 10)
    }
    assert client.sizes == [1]
    assert [each.failure.kind for each in handle(cases, batch[-1])] == [Kind.FLOOD]
    client.org.add_field("Case", {**LEVEL, "type": "string"})
    assert handle(cases, *batch[19:]) == [DONE] * 11


def test_a_record_that_is_not_there_counts_and_is_looked_for_again_in_a_flood(client):
    cases = cases_of(client, flood=10)
    batch = [message(tag, {"email": "a@example.com"}) for tag in range(12)]
    assert [type(outcome) for outcome in handle(cases, *batch)] == [Dead] * 9 + [Again] * 3
    contact(client)
    assert handle(cases, *batch[9:]) == [DONE] * 3


@pytest.mark.parametrize("body", ["no object", {}, {"email": ["a@example.com"]}])
def test_what_the_message_alone_decides_is_no_flood(client, body):
    contact(client)
    cases = cases_of(client, flood=10)
    assert [type(outcome) for outcome in handle(cases, *[message(tag, body) for tag in range(30)])] == [Dead] * 30


def test_a_flood_does_not_hide_that_records_of_one_message_share_a_key(client):
    client.org.add_field("Case", {**LEVEL, "type": "double"})
    cases = cases_of(client, {"Subject": "subject", "Level__c": "level"}, flood=3)
    bad = [message(tag, {"level": "high"}) for tag in range(2)]
    shared = message(3, [{"subject": "a"}, {"level": "high"}, {"subject": "b"}])
    outcomes = handle(cases, *bad, shared)
    assert [type(outcome) for outcome in outcomes] == [Dead] * 3
    assert client.org.records("Case") == []


def test_a_mapping_that_the_org_no_longer_fits_pauses_and_blames_nobody(client, monkeypatch):
    monkeypatch.setattr("sfconnector.division.FRESH_S", -1.0)
    cases = cases_of(client, {"Subject": "subject", "Type": {"value": "Mechanical"}})
    restricted = {"name": "Type", "type": "picklist", "restrictedPicklist": True, "createable": True}
    client.org.add_field("Case", {**restricted, "picklistValues": [{"value": "Electrical", "active": True}]})
    (outcome,) = handle(cases, message(1, {"subject": "x"}))
    assert (type(outcome), outcome.failure.kind, outcome.failure.code) == (Again, Kind.CONFIGURATION, "mapping")


def test_one_record_that_is_refused_as_if_salesforce_were_down_is_its_own_matter(client):
    """Whether others pass in the same call, or it is alone in each."""
    limit = ValidationRule("Case", "Email limit", "Subject = 'limit'", code="LIMIT_EXCEEDED")
    client.org.configure({"validation": [limit]})
    cases = cases_of(client, {"Subject": "{subject|x}"})
    bad, good = message(1, {"subject": "limit"}), message(2, {"subject": "b"})
    assert [type(outcome) for outcome in handle(cases, good, bad)] == [type(DONE), Again]
    (alone,) = handle(cases, bad)
    assert alone.failure.kind is Kind.RETRY
    first = message(3, {"subject": "limit"})
    assert [handle(cases, first)[0].failure.kind for _ in range(2)] == [Kind.UNAVAILABLE, Kind.RETRY]


@pytest.mark.parametrize(("priority", "calls"), [("high", 3), ("normal", 3), ("low", 1)])
def test_cases_are_made_beyond_the_orgs_limit_as_long_as_salesforce_takes_them(client, priority, calls):
    cases = cases_of(client, {"Subject": "{subject|x}"}, priority=priority)
    client.after = [lambda: setattr(client, "usage", Usage(110_018, 100_000, time.monotonic()))] * 3
    for tag in range(3):
        handle(cases, message(tag, {"subject": "a"}))
    assert len(client.sizes) == calls


def test_of_a_message_with_several_records_only_those_that_failed_are_sent_again(client):
    client.org.configure({"validation": [LOCKED]})
    cases = cases_of(client, {"Subject": "{subject|x}"}, None)
    several = message(1, [{"subject": "a"}, {"subject": "locked"}, {"subject": "b"}])
    (outcome,) = handle(cases, several)
    assert outcome.failure.code == "UNABLE_TO_LOCK_ROW"
    client.org.configure({"validation": []})
    assert handle(cases, several) == [DONE]
    assert [case["Subject"] for case in client.org.records("Case")] == ["a", "b", "locked"]
    assert client.sizes == [3, 1]


def test_what_was_made_of_a_message_of_another_channel_says_nothing_about_this_one(client):
    client.org.configure({"validation": [LOCKED]})
    cases = cases_of(client, {"Subject": "{subject|x}"}, None)
    handle(cases, message(1, [{"subject": "a"}, {"subject": "locked"}]))
    assert handle(cases, message(1, [{"subject": "c"}, {"subject": "d"}], generation=2)) == [DONE]
    assert client.sizes == [2, 2]


@pytest.mark.parametrize("mode", ["create_once", "upsert"])
def test_messages_with_one_key_never_share_a_call(client, mode):
    cases = cases_of(client, {"Subject": "{subject|x}"}, mode=mode)
    outcomes = handle(cases, *[message(tag, {"subject": str(tag)}, "same") for tag in range(3)])
    assert outcomes == [DONE, ALREADY, ALREADY]
    (case,) = client.org.records("Case")
    assert case["Subject"] == ("0" if mode == "create_once" else "2")
    assert client.sizes == ([1] if mode == "create_once" else [1, 1])


def test_1000_repeats_of_one_key_are_two_calls_that_leave_the_case_as_1000_would(client):
    cases = cases_of(client, {"Subject": "subject", "Description": "text"}, mode="upsert")
    messages = [
        message(tag, {"subject": f"{tag}"} | ({"text": "once"} if tag == 500 else {}), "k") for tag in range(1000)
    ]
    outcomes = handle(cases, *messages)
    assert outcomes[0] is DONE
    assert set(outcomes[1:]) == {ALREADY}
    assert len(client.calls) == 2
    (case,) = client.org.records("Case")
    assert (case["Subject"], case["Description"]) == ("999", "once")


def test_of_changes_of_one_case_the_bad_one_dies_alone(client):
    cases = cases_of(client, {"Subject": "subject"}, mode="upsert")
    client.org.configure({"validation": [ValidationRule("Case", "no", "Subject = '3'")]})
    outcomes = handle(cases, *[message(tag, {"subject": f"{min(tag, 3)}"}, "k") for tag in range(4)])
    assert [type(each) for each in outcomes] == [type(DONE), type(DONE), type(DONE), Dead]
    assert client.org.records("Case")[0]["Subject"] == "2"


def test_changes_of_one_case_that_nobody_answers_wait_together(client):
    cases = cases_of(client, {"Subject": "subject"}, mode="upsert")
    client.before = [lambda: None, lost()]
    outcomes = handle(cases, *[message(tag, {"subject": f"{tag}"}, "k") for tag in range(4)])
    assert [type(each) for each in outcomes] == [type(DONE), Again, Again, Again]


def test_a_message_whose_key_another_one_had_is_sent_when_that_one_died_and_waits_when_it_waits(client):
    cases = cases_of(client, {"Subject": "{subject|x}"})
    client.org.configure({"validation": [LOCKED]})
    first, second = message(1, {"subject": "x" * 256}, "same"), message(2, {"subject": "fits"}, "same")
    dead, done = handle(cases, first, second)
    assert (dead.failure.code, done) == ("STRING_TOO_LONG", DONE)
    again, too = handle(cases, message(3, {"subject": "locked"}, "s"), message(4, {"subject": "fits"}, "s"))
    assert again == too
    assert again.failure.kind is Kind.RETRY


def test_records_of_one_message_need_keys_that_differ_if_the_key_says_nothing_of_them(client):
    cases = cases_of(client, {"Subject": "{subject|x}"})
    dead, done = handle(cases, message(1, [{"subject": "a"}, {"subject": "b"}]), message(2, [{"subject": "c"}]))
    assert (dead.failure.code, done) == ("bad-value", DONE)
    assert "{$index}" in dead.failure.text


def test_a_lost_answer_with_a_key_is_found_out_at_the_next_handing_over_without_a_warning(client, caplog):
    cases = cases_of(client, {"Subject": "{subject|x}"})
    client.after = [lost()]
    batch = [message(tag, {}) for tag in range(3)]
    assert {outcome.failure.kind for outcome in handle(cases, *batch)} == {Kind.UNAVAILABLE}
    assert handle(cases, *batch) == [ALREADY] * 3
    assert "first delivery" not in caplog.text
    assert handle(cases, message(9, {}, "m1")) == [ALREADY]
    assert "already there on a first delivery" in caplog.text


def test_after_messages_died_for_want_of_an_answer_the_next_ones_wait_for_a_sign_of_life(client):
    cases = cases_of(client, {"Subject": "{subject|x}"}, None, on_unknown="dead-letter")
    client.after = [lost()]
    assert [type(outcome) for outcome in handle(cases, message(1, {}), message(2, {}))] == [Dead, Dead]
    later = message(3, {})
    (outcome,) = handle(cases, later)
    assert isinstance(outcome, Again)
    assert outcome.failure.kind is Kind.UNAVAILABLE
    assert handle(cases, later) == [DONE]
    assert client.sizes == [2, 1]


def test_a_field_that_is_gone_has_the_mapping_compared_again(client):
    cases = cases_of(client, {"Subject": "{subject|x}"})
    client.before = [raising(rejected("INVALID_FIELD", "No such column 'Subject' on sobject of type Case"))]
    (outcome,) = handle(cases, message(1, {}))
    assert outcome.failure.kind is Kind.CONFIGURATION
    client.org.add_field("Case", {"name": "Subject", "type": "string", "length": 255, "createable": False})
    with pytest.raises(Failed) as caught:
        cases.probe()
    assert caught.value.failure.kind is Kind.CONFIGURATION
    assert "mapping.Subject: Subject cannot be filled" in caught.value.failure.text


def test_a_stop_while_the_rate_holds_a_batch_sends_nothing(client):
    cases = cases_of(client, {"Subject": "{subject|x}"}, rate=2)
    assert handle(cases, message(1, {}), message(2, {})) == [DONE, DONE]
    cases._stop.set()
    (outcome,) = handle(cases, message(3, {}))
    assert outcome.failure.code == "stopping"
    assert client.sizes == [2]


def test_only_new_cases_count_for_the_rate(client):
    cases = cases_of(client, {"Subject": "{subject|x}"}, rate=2, hold_seconds=0)  # so that a wait would be seen
    for tag in range(5):
        outcomes = handle(cases, message(tag, {}, "same"))
    assert outcomes == [ALREADY]
    assert handle(cases, message(7, {})) == [DONE]
    assert handle(cases, message(8, {}))[0].failure.code == "rate"


def test_a_batch_of_more_records_than_are_worked_on_together_is_put_off_from_there(client):
    cases = cases_of(client, {"Subject": "{subject|x}"}, None)
    batch = [message(tag, [{"subject": f"{tag}"}] * 1500) for tag in range(4)]
    assert handle(cases, *batch) == [DONE, DONE, LATER, LATER]
    assert handle(cases, *batch[2:]) == [DONE, DONE]
    assert len(client.org.records("Case")) == 6000


def test_what_was_made_of_a_message_is_remembered_while_it_is_put_off(client):
    client.org.configure({"validation": [LOCKED]})
    cases = cases_of(client, {"Subject": "{subject|x}"}, None)
    several = message(1, [{"subject": "a"}, {"subject": "locked"}])
    assert isinstance(handle(cases, several)[0], Again)
    many = message(2, [{"subject": "x"}] * 2000)
    assert handle(cases, many, several) == [DONE, LATER]
    client.org.configure({"validation": []})
    assert handle(cases, several) == [DONE]
    assert len(client.org.records("Case")) == 2 + 2000


def test_messages_behind_much_that_was_unpacked_are_put_off(client):
    cases = cases_of(client, mapping={"Subject": "subject"})
    packed = [message(tag, {"subject": "s", "text": "x" * 1_000_000}) for tag in range(8)]
    for each in packed:
        each.body, each.properties.content_encoding = gzip.compress(each.body), "gzip"
    outcomes = handle(cases, *packed)
    assert outcomes == [DONE] * 5 + [LATER] * 3
    assert handle(cases, *packed[5:]) == [DONE] * 3


def test_after_more_cases_at_once_than_the_rate_allows_messages_wait_in_the_queue_not_in_hand(client):
    cases = cases_of(client, {"Subject": "{subject|x}"}, None, rate=60)
    assert handle(cases, message(1, [{}] * 600)) == [DONE]
    (outcome,) = handle(cases, message(2, {}))
    assert (outcome.failure.code, outcome.failure.kind) == ("rate", Kind.UNAVAILABLE)
    assert re.search(r"in 5[34]\d s", outcome.failure.text)
    with pytest.raises(Failed) as caught:
        cases.probe()
    assert caught.value.failure.code == "rate"
    cases._state.rate.take(-600, time.monotonic())
    cases.probe()
    assert handle(cases, message(2, {})) == [DONE]


@pytest.mark.parametrize(("exact", "second"), [(False, ALREADY), (True, DONE)])
def test_keys_that_differ_in_case_only_share_no_call_and_the_field_decides_whether_they_are_one(client, exact, second):
    field = {"name": "Message_Id__c", "type": "string", "length": 255, "externalId": True, "unique": True}
    client.org.add_field("Case", {**field, "caseSensitive": exact})
    cases = cases_of(client, {"Subject": "{subject|x}"})
    outcomes = handle(cases, *[message(tag, {"subject": key}, key) for tag, key in enumerate("aAa")])
    assert outcomes == [DONE, second, ALREADY]
    assert client.sizes == [1, 1]


def test_what_is_known_of_a_message_is_let_go_when_it_is_blamed(client):
    client.org.configure({"validation": [LOCKED]})
    cases = cases_of(client, {"Subject": "{subject|x}"}, "{$message_id}-{$index}")
    several = message(1, [{"subject": "a"}, {"subject": "locked"}])
    client.after = [lost()]
    handle(cases, several)
    handle(cases, several)
    assert (list(cases._partly), cases._sender.doubted) == ([(1, 1)], {(1, 1)})
    cases.forget(several)
    assert not cases._partly
    assert not cases._sender.doubted


def test_two_sinks_of_a_division_share_its_checked_mapping_its_lookups_its_rate_and_its_counters(client):
    contact(client)
    clients = [client, copy.deepcopy(client, {id(client.org): client.org, id(client.tokens): client.tokens})]
    settings = CaseSettings(mapping=MAPPING, rate=2)
    division = Division("hvac", Salesforce(), Source("q", None, prefetch=400), settings, hold_seconds=0)
    failures: list[object] = []
    state = DivisionState(division, Budgets(10), on_first=failures.append)
    first, second = (CaseSink(state, each, stop=threading.Event()) for each in clients)
    first.probe()
    described = state.mapper
    second.probe()
    assert state.mapper is described
    assert failures == [None]
    assert handle(first, message(1, {"email": "a@example.com"})) == [DONE]
    assert handle(second, message(2, {"email": "a@example.com"})) == [DONE]
    assert [len(each.asked) for each in clients] == [1, 0]
    assert first.passed == second.passed == {"": 2, "case of hvac": 2, "lookup Contact where Email": 2}
    assert state.created == 2
    assert handle(second, message(3, {"email": "a@example.com"}))[0].failure.code == "rate"


def test_sinks_of_a_division_that_work_at_the_same_time_lose_no_count(client):
    division = Division("hvac", Salesforce(), Source("q", None, prefetch=400), CaseSettings(mapping=MAPPING))
    state = DivisionState(division, Budgets(10))
    contact(client)
    sinks = [CaseSink(state, copy.copy(client), stop=threading.Event()) for _ in range(4)]
    sinks[0].probe()

    def work(sink):
        for tag in range(50):
            assert handle(sink, message(tag, {"email": "a@example.com"})) == [DONE]

    with ThreadPoolExecutor(4) as workers:
        list(workers.map(work, sinks))
    assert state.created == state.passed[""] == len(client.org.records("Case")) == 200


def lanes_of(client, count, priority="normal", **case):
    """Return sinks of one division, with a client each."""
    settings = CaseSettings(mapping={"Subject": "subject"}, **case)
    division = Division("hvac", Salesforce(), Source("q", None, prefetch=400), settings, priority=priority)
    state = DivisionState(division, Budgets(10))
    return [CaseSink(state, copy.copy(client), stop=threading.Event()) for _ in range(count)]


@pytest.mark.parametrize("failure", [None, LOST], ids=["well", "lost"])
def test_lanes_that_ask_at_the_same_time_ask_the_org_once(client, monkeypatch, failure):
    sinks = lanes_of(client, 8)
    asked: list[str] = []
    waiting = threading.Semaphore(0)

    def ask(*_):
        asked.append(threading.current_thread().name)
        for _ in sinks[1:]:
            assert waiting.acquire(timeout=10)
        time.sleep(0.05)  # they have said that they come, and not that they wait
        if failure is not None:
            raise Failed(failure)

    monkeypatch.setattr(DivisionState, "_probe", ask)

    def probe(sink):
        if asked:
            waiting.release()
        try:
            sink.probe()
        except Failed as failed:
            return failed.failure
        return None

    with ThreadPoolExecutor(8) as lanes:
        first = lanes.submit(probe, sinks[0])
        assert eventually(lambda: asked)
        answers = [first, *[lanes.submit(probe, sink) for sink in sinks[1:]]]
        assert [answer.result() for answer in answers] == [failure] * 8
    assert len(asked) == 1


def test_a_slow_answer_makes_the_calls_of_all_lanes_smaller(client, monkeypatch):
    first, second = lanes_of(client, 2)
    first.probe()
    monkeypatch.setattr(record_outcome, "SLOW_S", -1.0)
    for sink in (first, second):
        handle(sink, *[message(n, {"subject": "a"}) for n in range(150)])
    assert client.sizes == [150, 75, 37, 25, 13]


def test_a_rate_holds_over_all_lanes(client):
    sinks = lanes_of(client, 8, rate=240)
    sinks[0].probe()
    begun = time.monotonic()
    with ThreadPoolExecutor(8) as lanes:
        outcomes = list(lanes.map(lambda sink: handle(sink, *[message(n, {"subject": "a"}) for n in range(30)]), sinks))
        assert outcomes == [[DONE] * 30] * 8  # as many at once as a minute allows
        list(lanes.map(lambda sink: handle(sink, message(99, {"subject": "b"})), sinks[:4]))
    assert time.monotonic() - begun >= 4 * 60 / 240, "one after the other, whoever sends them"
    assert len(client.org.records("Case")) == 244


def test_when_the_api_calls_are_used_up_each_lane_ends_with_the_call_that_it_has_begun(client):
    sinks = lanes_of(client, 8, priority="low")
    sinks[0].probe()
    begun = threading.Barrier(8)
    for number, sink in enumerate(sinks):
        sink._client.calls = []
        sink._client.before = [begun.wait]
        sink._client.usage = Usage(91 + number % 2, 100, time.monotonic())

    def work(sink):
        return [handle(sink, message(n, {"subject": "a"}))[0] for n in range(3)]

    with ThreadPoolExecutor(8) as lanes:
        outcomes = list(lanes.map(work, sinks))
    assert [each[0] for each in outcomes] == [DONE] * 8
    assert {each.failure.code for first, *others in outcomes for each in others} == {"api-reserve"}
    assert [len(sink._client.calls) for sink in sinks] == [1] * 8


class Counting(dict[str, Any]):
    """A record that counts how often each field is read."""

    def __init__(self, record):
        super().__init__(record)
        self.read: Counter[str] = Counter()

    def __getitem__(self, name):
        self.read[name] += 1
        return super().__getitem__(name)


class CountingFormat:
    """Keeps the records of each body that it decodes."""

    def __init__(self, format):
        self._format = format
        self.encoding, self.heeds_charset = format.encoding, format.heeds_charset
        self.decoded = []

    def decode(self, body):
        self.decoded.append([Counting(record) for record in self._format.decode(body)])
        return self.decoded[-1]


def test_a_body_is_decoded_and_a_mapping_evaluated_once_however_often_the_message_is_sent(client, monkeypatch):
    formats = []

    def compile_counting(settings, limits):
        formats.append(CountingFormat(compile_format(settings, limits)))
        return formats[-1]

    monkeypatch.setattr(mapping, "compile_format", compile_counting)
    old = [contact(client, f"{name}@example.com") for name in "ab"]
    cases = cases_of(client, {**MAPPING, "Description": "{text}"}, "key")
    batch = [
        message(at, {"subject": s, "text": "t", "email": f"{name}@example.com", "key": f"k{at}"})
        for at, (s, name) in enumerate((("1", "a"), ("locked", "b"), ("3", "a")))
    ]
    client.before = [lost()]
    assert {type(outcome) for outcome in handle(cases, *batch)} == {Again}  # looked up, and the answer was lost
    client.org.delete("Contact", old[0], client.user)
    contact(client, "a@example.com")
    client.org.configure({"validation": [LOCKED]})
    outcomes = handle(cases, *batch)  # two were looked up again, one is locked
    assert [type(outcome) for outcome in outcomes] == [type(DONE), Again, type(DONE)]
    client.org.configure({"validation": []})
    assert handle(cases, batch[1]) == [DONE]
    assert client.sizes == [3, 3, 2, 1]
    assert len(client.asked) == 2
    (counting,) = formats
    assert [len(records) for records in counting.decoded] == [1, 1, 1]
    for (record,) in counting.decoded:
        assert record.read == {"subject": 1, "text": 1, "email": 1, "key": 1}


def test_each_oddity_of_a_mapping_is_told_though_they_come_together(client):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter())
    output, logger = logs.Output([handler]), logging.getLogger("sfconnector.division")
    logger.addHandler(output)
    try:
        cases_of(client, {"Priority": {"value": "Hihg"}, "Status": {"value": "Nwe"}})
    finally:
        logger.removeHandler(output)
    odd = [line for line in stream.getvalue().splitlines() if "mapping warning" in line]
    output.close()
    assert ["Hihg" in line for line in odd] == [True, False]
    assert "Nwe" in odd[1]


@pytest.fixture
def decoded(monkeypatch):
    """The tags of messages, each time that one is decoded."""
    return noting(monkeypatch, "records", lambda delivery: delivery.tag)


@pytest.fixture
def mapped(monkeypatch):
    """The tags of messages, each time that one becomes the draft of a Case."""
    return noting(monkeypatch, "_draft", lambda record: record.scope.delivery.tag)


def noting(monkeypatch, name, tag_of):
    tags, original = [], getattr(mapping.CaseMapper, name)

    def noted(self, given):
        tags.append(tag_of(given))
        return original(self, given)

    monkeypatch.setattr(mapping.CaseMapper, name, noted)
    return tags


def look_ahead(cases, client, *messages, answered=lambda: False):
    """Let the next call wait for its answer while these messages come next."""
    cases.upcoming = lambda most: messages[:most]
    client.before.append(lambda: client.meanwhile(answered))


def test_what_comes_next_is_mapped_while_a_call_is_under_way_and_looked_up_in_its_turn(client, decoded):
    contact(client, "a@example.com")
    cases = cases_of(client)
    first, bad = message(1, {"email": "a@example.com", "subject": "a"}), message(2, {})
    bad.body = b"{"
    following = message(3, {"email": "b@example.com", "subject": "b"})
    look_ahead(cases, client, bad, following)
    assert handle(cases, first) == [DONE]
    assert decoded == [1, 2, 3]
    new = contact(client, "b@example.com")
    outcomes = handle(cases, bad, following)
    assert [type(outcome) for outcome in outcomes] == [Dead, type(DONE)]
    assert [(case["Subject"], case["ContactId"]) for case in client.org.records("Case")][1:] == [("b", new)]
    assert decoded.count(3) == 1


def test_what_was_mapped_before_the_fields_were_described_again_is_mapped_again(client, monkeypatch):
    monkeypatch.setattr("sfconnector.division.FRESH_S", -1.0)
    cases = cases_of(client, {"Subject": "{subject|x}"}, truncate=True)
    first, following = message(1, {}), message(2, {"subject": "x" * 20})
    look_ahead(cases, client, following)
    assert handle(cases, first) == [DONE]
    client.org.add_field("Case", {"name": "Subject", "type": "string", "length": 10, "createable": True})
    assert handle(cases, message(3, {"subject": "y" * 20})) == [DONE]
    assert client.sizes == [1, 1, 1]
    assert handle(cases, following) == [DONE]
    assert client.sizes == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("answered", "packed", "text", "ahead"),
    [(0, False, "x", 2), (1, False, "x", 1), (0, True, "x", 0), (0, False, "x" * 600_000, 1)],
    ids=["as much as there is", "until the answer comes", "nothing compressed", "bodies of a megabyte"],
)
def test_how_much_is_mapped_ahead(client, mapped, answered, packed, text, ahead):
    cases = cases_of(client, {"Subject": {"value": "x"}})
    following = [message(tag, {"text": text}) for tag in (2, 3)]
    for each in following if packed else ():
        each.body, each.properties.content_encoding = gzip.compress(each.body), "gzip"
    look_ahead(cases, client, *following, answered=lambda: answered and len(mapped) > answered)
    assert handle(cases, message(1, {})) == [DONE]
    assert len(mapped) == 1 + ahead
    assert handle(cases, *following) == [DONE, DONE]
    assert sorted(mapped) == [1, 2, 3]


def test_a_default_that_is_refused_in_the_place_of_what_was_left_out_is_not_left_out(client):
    mapping = {"Subject": "subject", "SuppliedEmail": {"path": "email", "invalid": "skip"}}
    cases = cases_of(client, mapping, defaults={"SuppliedEmail": "nobody"})
    (outcome,) = handle(cases, message(1, {"subject": "x", "email": "n/a"}))
    assert (outcome.failure.kind, outcome.failure.code) == (Kind.CONFIGURATION, "INVALID_EMAIL_ADDRESS")
    assert client.sizes == [1, 1]
