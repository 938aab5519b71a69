"""One message, one Case: by an external id; and what happens without one."""

import json
from collections import Counter
from datetime import datetime
from typing import Any

from tests.e2e.cases import EXTERNAL_ID, Divisions, alarm
from tests.services.waiting import eventually

TOGETHER = {"size": 200, "wait_ms": 300}
UPSERT = EXTERNAL_ID | {"mode": "upsert"}
CREATES = {"path": "composite/sobjects"}


def keys(divisions: Divisions) -> list[str]:
    return sorted(case["Message_Id__c"] for case in divisions.org.cases())


def test_create_once_leaves_what_is_there_alone_and_upsert_writes_it(divisions: Divisions) -> None:
    org = divisions.org
    agent, rule = org.user("agent@example.com"), org.user("rule@example.com")
    seen = {"Subject": "seen by an agent", "Status": "Escalated", "OwnerId": agent}
    org.seed("Case", *(seen | {"Message_Id__c": f"{name}-1"} for name in "ab"))
    org.rules(assignment=[{"id": "01Q000000000001AAA", "entries": [{"owner": rule}]}])
    mapping = {"Subject": "subject", "Status": "status"}
    once = divisions.division("once", mapping=mapping, batch=TOGETHER)
    upsert = divisions.division("upsert", mapping=mapping, external_id=UPSERT, batch=TOGETHER)
    with divisions.started(times=2) as running:
        for queue, letter in ((once, "a"), (upsert, "b")):
            new = [({"subject": f"new {n}", "status": "Working"}, {"message_id": f"{letter}-{n}"}) for n in (1, 2)]
            again = {"subject": "later", "status": "Closed"}
            divisions.vhost.publish("", queue, [*new, (again, {"message_id": f"{letter}-2"})])
        eventually(lambda: len(divisions.creates("upsert")) == 3 and len(org.cases()) == 4)
        assert running.stop() == 0
        log = running.log
    cases = {case["Message_Id__c"]: (case["Subject"], case["Status"]) for case in org.cases()}
    assert cases == {
        "a-1": ("seen by an agent", "Escalated"),
        "a-2": ("new 2", "Working"),
        "b-1": ("new 1", "Working"),
        "b-2": ("later", "Closed"),
    }
    owners = {case["Message_Id__c"]: case["OwnerId"] for case in org.cases()}
    assert owners == {"a-1": agent, "a-2": rule, "b-1": agent, "b-2": rule}
    assert "flow=once consumed=3 done=1 already=2\n" in log
    assert "WARNING already there on a first delivery queue=sfconnector.once message_id=a-1 key=a-1" in log


def test_calls_whose_answers_are_lost_make_no_second_case(divisions: Divisions) -> None:
    for name, external_id in (("once", EXTERNAL_ID), ("upsert", UPSERT)):
        divisions.division(name, external_id=external_id, batch=TOGETHER)
        match = CREATES | {"user": f"{name}@example.com"}
        divisions.org.fault(match=match, drop_after_commit=True)
        divisions.org.fault(match=match, drop_after_commit=True, reset=True)
        divisions.org.fault(match=match, status=500, html="<h1>oops</h1>", commit=True)
    with divisions.started(times=2) as running:
        # As many as the first prefetch takes, so that they are one call.
        divisions.publish("sfconnector.once", [alarm(n) for n in range(30)])
        divisions.publish("sfconnector.upsert", [alarm(n) for n in range(30)], start=40)
        running.wait_for("RESUMED", times=2)
        divisions.cases(60)
        assert running.stop() == 0
        assert "first delivery" not in running.log  # nothing is wrong with the keys
    lost_then_found = [0, 0, 500, 200, 200]
    assert [call["status"] for call in divisions.creates("once")] == lost_then_found
    assert [call["status"] for call in divisions.creates("upsert")] == [*lost_then_found, 200, 200]  # and written again
    assert divisions.dead() == []


def test_without_a_key_an_unknown_outcome_is_tried_again_or_dead_lettered(divisions: Divisions) -> None:
    org = divisions.org
    for name in ("retry", "dead-letter"):
        queue = divisions.division(name, external_id=None, batch={"size": 2}, case={"on_unknown": name})
        divisions.load(queue, [alarm(n) for n in range(6)])
        org.fault(match=CREATES | {"user": f"{name}@example.com"}, drop_after_commit=True)
    with divisions.started(times=2) as running:
        letters = divisions.letters(2)
        cases = divisions.cases(14)
        # An outage must not empty the queue into the dead letters.
        running.wait_for("PAUSED division=dead-letter")
        running.wait_for("RESUMED division=dead-letter")
    subjects = Counter(case["Subject"] for case in cases if case["CreatedById"] == org.user("retry@example.com"))
    assert sorted(subjects.values()) == [1, 1, 1, 1, 2, 2]
    assert {name: (each["dead-reason"], each["dead-code"]) for name, each in letters.items()} == {
        "m0": ("unknown", "no-answer"),
        "m1": ("unknown", "no-answer"),
    }
    assert "whether the Case was created is unknown" in letters["m0"]["dead-text"]


def test_a_message_without_a_key_is_dead_lettered_or_accepted_as_configured(divisions: Divisions) -> None:
    key = EXTERNAL_ID | {"value": "serial"}
    divisions.division("reject", external_id=key)
    divisions.division("accept", external_id=key | {"missing": "accept"})
    bodies: dict[str, Any] = {
        "not there": {"n": 1},
        "null": {"serial": None},
        "blank": {"serial": " "},
        "long": {"serial": "x" * 256},
        "list": {"serial": ["s-1"]},
    }
    with divisions.started(times=2):
        for name in ("reject", "accept"):
            messages = [(body | {"device": "p-1"}, {"message_id": f"{name} {what}"}) for what, body in bodies.items()]
            divisions.vhost.publish("", f"sfconnector.{name}", messages)
        letters = divisions.letters(7)
        divisions.cases(3)
    long = ("bad-value", "external_id.value <- serial: the key has 256 characters, and the field takes 255")
    listed = ("bad-value", "external_id.value <- serial: a key is text or a number, not a list")
    assert {name: (each["dead-code"], each["dead-detail"]) for name, each in letters.items()} == {
        "reject not there": ("no-key", "external_id.value <- serial: no such field; here are n, device"),
        "reject null": ("no-key", "external_id.value <- serial: is null"),
        "reject blank": ("no-key", "external_id.value <- serial: empty"),
        "reject long": long,
        "accept long": long,
        "reject list": listed,
        "accept list": listed,
    }


def test_a_storm_of_alarms_is_one_case_for_each_device_alarm_and_day(divisions: Divisions) -> None:
    once_a_day = {"field": "Message_Id__c", "value": "{device.id}:{alarm}:{day}"}
    mapping = {"Subject": "Pump {device.id}: {alarm}", "Description": "text"}
    queue = divisions.division(mapping=mapping, external_id=once_a_day)
    storm = [
        {"device": {"id": f"p-{n % 3}"}, "alarm": ("hot", "dry")[n % 2], "day": f"2026-11-{24 + n // 300}", "text": n}
        for n in range(600)
    ]
    divisions.load(queue, [json.dumps(body).encode() for body in storm])
    with divisions.started() as running:
        divisions.vhost.publish("", queue, {"device": {"id": "last"}, "alarm": "hot", "day": "2026-11-25"})
        divisions.cases(13)
        assert running.stop() == 0
        assert "consumed=601 done=13 already=588\n" in running.log
    first = {case["Message_Id__c"]: case["Description"] for case in divisions.cases(13)}
    assert first["p-0:hot:2026-11-24"] == "0"
    assert first["p-2:dry:2026-11-25"] == "305"
    assert sum(call["records"] for call in divisions.creates()) < 40


def test_rate_is_the_most_cases_a_minute_and_the_rest_waits(divisions: Divisions) -> None:
    per_minute, more = 300, 5
    queue = divisions.division(case={"rate": per_minute})
    divisions.load(queue, [alarm(n) for n in range(per_minute + more)])
    with divisions.started() as running:
        divisions.cases(per_minute + more)
        calls = divisions.creates()
        assert "rate limited division=field-service" in running.log
    began, ended = (datetime.fromisoformat(calls[at]["at"]) for at in (0, -1))
    assert (ended - began).total_seconds() >= 0.9 * more * 60 / per_minute


def test_lost_answers_and_a_kill_in_the_middle_of_1000_messages_make_exactly_1000_cases(divisions: Divisions) -> None:
    queue = divisions.division(batch={"size": 20, "wait_ms": 20})
    divisions.org.fault(match=CREATES, times=None, probability=0.02, drop_after_commit=True)
    divisions.org.fault(match=CREATES, times=2, skip=5, drop_after_commit=True)
    divisions.load(queue, [alarm(n) for n in range(1000)])
    divisions.org.latency(20)
    with divisions.started() as running:
        eventually(lambda: len(divisions.org.cases()) > 400, every=0.1)
        running.kill()
    assert 400 < len(divisions.org.cases()) < 1000
    with divisions.started():
        divisions.cases(1000, 60)
        eventually(lambda: divisions.vhost.depth(queue) == 0)
    divisions.cases(1000)
    assert len(set(keys(divisions))) == 1000
    assert divisions.dead() == []


def test_two_processes_on_one_queue_make_one_case_for_each_key_though_one_is_killed(divisions: Divisions) -> None:
    """Each key comes twice, so both have it in hand; answers are lost, and what the dead one held comes again."""
    queue = divisions.division(source={"queue": "cases", "prefetch": 40}, batch={"size": 20, "wait_ms": 20})
    twice = [alarm(n // 2) for n in range(800)]
    divisions.vhost.declare_queue(queue, arguments={"x-dead-letter-exchange": "dead-letter", "x-delivery-limit": 100})
    divisions.vhost.publish("", queue, [(body, {"message_id": f"m{n // 2}"}) for n, body in enumerate(twice)])
    divisions.org.fault(match=CREATES, times=None, probability=0.05, drop_after_commit=True)
    divisions.org.latency(20)
    with divisions.started() as killed, divisions.started():
        eventually(lambda: len(divisions.org.cases()) > 150, every=0.1)
        killed.kill()
        divisions.cases(400, 60)
        eventually(lambda: divisions.vhost.depth(queue) == 0)
        eventually(lambda: divisions.vhost.unsettled(queue) == 0)
    eventually(lambda: divisions.vhost.depth(queue) == 0)
    assert keys(divisions) == sorted(f"m{n}" for n in range(400))
    assert divisions.dead() == []
