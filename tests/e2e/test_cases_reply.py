"""Result messages: what became of a message, for whoever sent it.

By the installed command, between a real broker and the sandbox.
"""

import json
from typing import Any

import pytest

from tests.e2e.cases import Divisions, alarm
from tests.services.rabbitmq import Taken
from tests.services.waiting import eventually


def taken(divisions: Divisions, queue: str, count: int) -> list[tuple[str, str, dict[str, Any]]]:
    """Wait for replies and take them: routing key, correlation id and body of each, by the message they are about."""
    eventually(lambda: divisions.vhost.depth(queue) >= count, what=f"{count} replies in {queue}")
    replies = [
        (method.routing_key, str(properties.correlation_id), json.loads(body))
        for method, properties, body in divisions.vhost.get_all(queue)
    ]
    assert len(replies) == count
    return sorted(replies, key=lambda reply: (reply[2]["message_id"], reply[2]["status"]))


def message_ids(replies: list[Taken]) -> list[str]:
    return [json.loads(body)["message_id"] for _, _, body in replies]


def test_a_reply_tells_created_already_there_or_dead_with_the_correlation_id(divisions):
    vhost = divisions.vhost
    vhost.declare_queue("results", "case-results", "result.#")
    vhost.declare_queue("answers")
    to_exchange = {"exchange": "case-results", "routing_key": "result.{$headers.site|unknown}"}
    pumps = divisions.division("pumps", reply=to_exchange | {"from_message": True})
    lifts = divisions.division("lifts", reply=to_exchange)
    with divisions.started(times=2) as running:
        to_answers = {"reply_to": "answers"}
        divisions.publish(pumps, [alarm()], correlation_id="c-1", headers={"site": "a"}, **to_answers)
        (case,) = divisions.cases(1)
        divisions.publish(pumps, [alarm()], **to_answers)
        divisions.publish(pumps, [alarm(alarm="x" * 300)], start=1, **to_answers)
        divisions.publish(pumps, [b"{"], start=2)
        # Where from_message is not set, nobody but the configuration says where replies go.
        divisions.publish(lifts, [alarm()], start=3, **to_answers)
        results, answers = taken(divisions, "results", 5), taken(divisions, "answers", 3)
        # A reply to one of our own queues would come back as a message; one to nowhere costs no Case.
        for number, queue in enumerate((pumps, lifts, "dead-letter", "nowhere"), 4):
            divisions.publish(pumps, [alarm()], start=number, reply_to=queue)
        running.wait_for("reply not delivered")
        divisions.cases(6)
        assert [reply[2]["status"] for reply in taken(divisions, "results", 4)] == ["created"] * 4
    assert [(key, correlation_id, body["status"]) for key, correlation_id, body in results] == [
        ("result.unknown", "m0", "already-there"),
        ("result.a", "c-1", "created"),
        ("result.unknown", "m1", "dead-lettered"),
        ("result.unknown", "m2", "dead-lettered"),
        ("result.unknown", "m3", "created"),
    ]
    already, created, refused, broken, other = (body for _, _, body in results)
    assert created["cases"] == already["cases"] == [{"id": case["Id"], "number": case["CaseNumber"]}]
    assert (created["division"], other["division"]) == ("pumps", "lifts")
    assert (refused["reason"], refused["code"]) == ("reject", "STRING_TOO_LONG")
    assert "Subject" in refused["detail"]
    assert (broken["reason"], broken["code"]) == ("reject", "not-decodable")
    assert [body for _, _, body in answers] == [already, created, refused]
    assert {headers["dead-code"] for _, headers in divisions.dead()} == {"STRING_TOO_LONG", "not-decodable"}
    assert running.log.count("reply not delivered") == 1


def test_a_reply_that_cannot_be_written_costs_neither_the_case_nor_the_dead_letter_nor_the_process(divisions):
    vhost = divisions.vhost
    vhost.declare_queue("results", "case-results", "#")
    reply = {"exchange": "case-results", "routing_key": "{$headers.site|none}.{$timestamp|never}"}
    queue = divisions.division(external_id=None, reply=reply)
    in_no_known_year, too_long = {"timestamp": 2**60}, {"headers": {"site": "x" * 300}}
    with divisions.started() as running:
        for body in (alarm(), b"{"):
            messages = [(body, {"message_id": "odd"} | odd) for odd in (in_no_known_year, too_long, {})]
            vhost.publish("", queue, messages)
        divisions.cases(3)
        eventually(lambda: vhost.depth("dead-letter") == 3)
        replies = taken(divisions, "results", 2)
        assert running.stop() == 0
        assert "consumed=6 done=3 already=0 dead=3\n" in running.log
        assert "not in a known year" in running.log
    assert [(key, body["status"]) for key, _, body in replies] == [
        ("none.never", "created"),
        ("none.never", "dead-lettered"),
    ]
    assert {headers["dead-code"] for _, headers in divisions.dead()} == {"not-decodable"}


def test_a_reply_about_many_cases_has_the_number_of_each(divisions):
    divisions.vhost.declare_queue("results", "case-results", "#")
    key = {"field": "Message_Id__c", "value": "{$message_id}:{$index}"}
    queue = divisions.division(external_id=key, reply={"exchange": "case-results", "routing_key": "many"})
    divisions.load(queue, [json.dumps([{"device": f"p-{n}"} for n in range(700)]).encode()])
    with divisions.started():
        ((_, _, body),) = taken(divisions, "results", 1)
    numbers = {case["Id"]: case["CaseNumber"] for case in divisions.org.cases()}
    assert {case["id"]: case["number"] for case in body["cases"]} == numbers
    assert len(numbers) == 700


@pytest.mark.slow
def test_in_a_memory_alarm_of_the_broker_cases_are_made_and_messages_settled_without_their_replies(divisions):
    """The broker reads nothing from a connection that publishes: replies wait a while, then are given up."""
    vhost, org = divisions.vhost, divisions.org
    divisions.constants = {"sfconnector.reply.CONFIRM_S": 1}
    vhost.declare_queue("results", "case-results", "#")
    queue = divisions.division(reply={"exchange": "case-results", "routing_key": "result"})
    try:
        with divisions.started() as running:
            org.maintenance()
            divisions.publish(queue, [alarm(n) for n in range(10)])
            running.wait_for("PAUSED")
            vhost.node.set_memory_alarm()
            org.maintenance("")
            divisions.cases(10)
            assert running.stop() == 0
            assert "done=10 already=0\n" in running.log
            assert "reply not delivered division=field-service code=unconfirmed" in running.log
    finally:
        vhost.node.clear_memory_alarm()
    eventually(lambda: vhost.depth(queue) == 0)
    with divisions.started():
        divisions.publish(queue, [alarm()], start=100)
        divisions.cases(11)
        # Some of those given up may arrive too.
        eventually(lambda: "m100" in message_ids(vhost.get_all("results")))
    assert divisions.dead() == []
