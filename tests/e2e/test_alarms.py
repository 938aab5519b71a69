"""One Case for each alarm, end to end: repeats count, a clear closes it, agents keep what they did."""

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from tests.e2e.cases import DIVISION, Divisions
from tests.e2e.port import Port
from tests.services.rest import Rest
from tests.services.waiting import eventually

ALARM: dict[str, Any] = {
    "key": "{device}:{alarm}",
    "at": "at",
    "clear_when": {"state": "ok"},
    "clear": {"after": 0, "comment": "cleared, {$count} times raised"},
    "severity": {"path": "severity", "order": ["minor", "major"], "field": "Priority", "map": {"major": "High"}},
}
MAPPING = {"Subject": "Pump {device}: {alarm}"}


def division(divisions: Divisions, alarm: Any = ALARM, **sections: Any) -> str:
    batch = {"batch": {"wait_ms": 100}} | sections
    return divisions.division(mapping=MAPPING, external_id=None, case={"alarm": alarm}, **batch)


def ring(device: str = "p-1", **fields: Any) -> bytes:
    now = datetime.now(UTC).isoformat()
    return json.dumps({"device": device, "alarm": "overheated", "at": now, "state": "active"} | fields).encode()


def alarms(divisions: Divisions) -> dict[str, dict[str, Any]]:
    return {each["Key__c"]: each for each in divisions.org.records("Alarm__c")}


def has_called(divisions: Divisions, before: int) -> bool:
    return divisions.org.calls() > before


def is_done(divisions: Divisions, queue: str) -> None:
    eventually(lambda: divisions.vhost.depth(queue) == 0, 30, what="an empty queue")


def test_a_pump_that_rings_500_times_clears_and_rings_again_has_one_case(divisions: Divisions) -> None:
    queue = division(divisions)
    key = f"{DIVISION}:p-1:overheated"
    with divisions.started():
        divisions.publish(queue, [ring() for _ in range(500)])
        eventually(lambda: alarms(divisions).get(key, {}).get("Count__c") == 500, 30)
        (case,) = divisions.cases(1)
        assert (case["Subject"], case["IsClosed"], case["Alarm_Key__c"]) == ("Pump p-1: overheated", False, f"{key}#1")
        divisions.publish(queue, [ring(state="ok")], start=500)
        eventually(lambda: divisions.cases(1)[0]["IsClosed"], 30)
        assert [each["CommentBody"] for each in divisions.org.records("CaseComment")] == ["cleared, 500 times raised"]
        divisions.publish(queue, [ring(severity="major")], start=501)
        eventually(lambda: not divisions.cases(1)[0]["IsClosed"], 30)
        divisions.publish(queue, [ring(severity="major")], start=502)
        eventually(lambda: divisions.cases(1)[0]["Priority"] == "High", 30)
    assert alarms(divisions)[key]["Count__c"] == 502
    assert alarms(divisions)[key]["State__c"] == "active"


def test_2000_repeats_of_5_devices_are_five_cases_and_cost_few_calls(divisions: Divisions) -> None:
    queue = division(divisions)
    divisions.org.forget_requests()
    with divisions.started():
        divisions.publish(queue, [ring(f"p-{number % 5}") for number in range(2000)])
        eventually(lambda: sum(each["Count__c"] for each in alarms(divisions).values()) == 2000, 60)
        divisions.cases(5)
    assert divisions.org.calls() <= 40


def test_kills_and_lost_answers_leave_one_open_case_for_each_alarm_and_exact_counts(divisions: Divisions) -> None:
    queue = division(divisions)
    divisions.org.fault(match={"path": "/composite"}, times=None, probability=0.1, drop_after_commit=True)
    total = 4 * 160
    for turn in range(4):
        with divisions.started() as running:
            divisions.publish(queue, [ring(f"p-{n % 20}") for n in range(160)], start=160 * turn)
            before = divisions.org.calls()
            eventually(partial(has_called, divisions, before), 30, 0.01)
            running.kill()
    divisions.org.no_faults()
    with divisions.started():
        eventually(lambda: sum(each["Count__c"] for each in alarms(divisions).values()) == total, 60)
        is_done(divisions, queue)
    assert {each["Alarm_Key__c"] for each in divisions.cases(20)} == {f"{key}#1" for key in alarms(divisions)}
    assert {each["Count__c"] for each in alarms(divisions).values()} == {32}
    assert divisions.vhost.depth("dead-letter") == 0


def test_a_reply_names_the_case_of_the_alarm(divisions: Divisions) -> None:
    divisions.vhost.declare_queue("replies")
    queue = division(divisions, reply={"routing_key": "replies"}, lanes={"count": 2})
    with divisions.started():
        divisions.publish(queue, [ring(), ring(), ring("p-2")])
        eventually(lambda: divisions.vhost.depth("replies") == 3, 30)
    bodies = [json.loads(body) for *_, body in divisions.vhost.get_all("replies")]
    cases = {each["Id"] for each in divisions.cases(2)}
    assert {each["cases"][0]["id"] for each in bodies} == cases


def test_a_message_that_cannot_be_an_alarm_is_a_dead_letter_that_says_why(divisions: Divisions) -> None:
    queue = division(divisions, ALARM | {"key": "{serial}"})
    with divisions.started():
        divisions.publish(queue, [ring(), ring(serial="s-1", at="soon"), ring(serial="s-2")])
        letters = divisions.letters(2)
        divisions.cases(1)
    assert {(each["dead-code"], each["dead-detail"].split()[0]) for each in letters.values()} == {
        ("no-key", "alarm.key"),
        ("bad-value", "alarm.at"),
    }


def test_the_start_and_check_refuse_a_queue_that_a_second_process_could_read(divisions: Divisions) -> None:
    queue = division(divisions)
    divisions.vhost.declare_queue(queue, arguments={"x-dead-letter-exchange": "dead-letter", "x-delivery-limit": 1_000})
    started, checked = (divisions.run(*command, "-i", str(divisions.file)) for command in ((), ("check",)))
    assert (started.returncode, checked.returncode) == (78, 78)
    for text in (started.stderr, checked.stdout):
        assert f"queue {queue!r} has no x-single-active-consumer" in text
        assert '"writers": "one" in the section alarm' in text
    division(divisions, ALARM | {"writers": "one"})
    with divisions.started():
        divisions.publish(queue, [ring()])
        divisions.cases(1)


#: What becomes of the messages below, and what there is in the end.
COUNTED = {
    "cases_created_total": 3,
    "alarms_raised_total": 3,
    "alarms_repeated_total": 12,
    "alarms_cleared_total": 1,
    "alarm_clears_unmatched_total": 2,
    "alarm_raises_silenced_total": 4,
    "alarm_raises_too_old_total": 5,
    "alarm_raises_muted_total": 10,
    "alarm_clocks_replaced_total": 6,  # of the future, and a year ago
    "alarms_active": 2,
    "alarms_clearing": 1,
    "alarms_flapping": 0,
    "alarms_muted": 1,
}


def test_the_status_and_the_metrics_say_what_became_of_each_message_though_answers_are_lost(
    divisions: Divisions,
) -> None:
    port = Port()
    year = timedelta(days=365)
    silence = [{"match": {"site": "hall-3"}, "from": "2020-01-01T00:00Z", "to": "2120-01-01T00:00Z"}]
    never = {"never": {"Status": ["Closed - will not fix"]}}
    alarm = ALARM | {"silence": silence, "reopen": never, "max_age": "1d", "clear": {"after": "1h"}, "late": "10m"}
    queue = division(divisions, alarm)
    divisions.configure(monitoring=port.section)
    old = (datetime.now(UTC) - year).isoformat()
    new = (datetime.now(UTC) + year).isoformat()
    with divisions.started():
        divisions.publish(queue, [ring("p-1"), ring("p-2"), ring("p-3", at=new)])
        divisions.cases(3)
        agent = Rest(divisions.org, "agent@example.com")
        case = next(each for each in divisions.cases(3) if each["Subject"] == "Pump p-1: overheated")
        closed = agent.send("PATCH", f"/sobjects/Case/{case['Id']}", json={"Status": "Closed - will not fix"})
        assert closed.status_code == 204, closed.text
        divisions.org.fault(match={"path": "/composite"}, times=None, probability=0.3, drop_after_commit=True)
        later = [ring("p-1") for _ in range(10)]
        later += [ring("p-2"), ring("p-2"), ring("p-2", state="ok")]
        later += [ring("p-4", state="ok"), ring("p-5", state="ok")]
        later += [ring("p-2", site="hall-3") for _ in range(4)]
        later += [ring("p-3", at=old) for _ in range(5)]
        divisions.publish(queue, later, start=3)
        divisions.publish(queue, later, start=3)  # all of them once more
        eventually(lambda: count_of(port, "messages_written_total", "messages_already_there_total") == 3 + 48, 60)
        divisions.org.no_faults()
        eventually(partial(has_counted, port), 60)
        (flow,) = port.status()["flows"]
        states, muted, hour = flow["details"]
        assert states == {"name": "open alarms", "counts": {"active": 2, "clearing": 1, "flapping": 0}, "names": []}
        assert muted == {"name": "muted alarms", "counts": {"muted": 1}, "names": [f"{DIVISION}:p-1:overheated"]}
        assert (hour["counts"]["too_old"], hour["counts"]["silenced"]) == (5, 4)
        told = divisions.run("status", "-i", str(divisions.file)).stdout
        assert "  open alarms      2 active, 1 clearing\n" in told
        assert f"  muted alarms     1 muted: {DIVISION}:p-1:overheated\n" in told
    assert len(divisions.cases(3)) == 3


def has_counted(port: Port) -> bool:
    assert {name: port.value(name, flow=DIVISION) for name in COUNTED} == COUNTED
    return True


def count_of(port: Port, *names: str) -> float:
    return sum(port.value(name, flow=DIVISION) for name in names)
