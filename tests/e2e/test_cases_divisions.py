"""Divisions: whose Cases they make, where their messages come from, and that one's trouble is its own.

By the installed command, between a real broker and the sandbox.
"""

import signal

from tests.e2e.cases import MAPPING, alarm, pause_of

#: Longer than any of these tests waits: a pause has to end by something else than its own next try.
FOR_EVER = None


def user(division: str) -> str:
    return f"{division}@example.com"


def test_each_division_has_its_own_user_default_attributes_exchange_queue_and_routing_keys(divisions):
    """Created by the division's user, who owns the Case too unless a mapping or an assignment rule says otherwise."""
    org = divisions.org
    agent, queue = org.user("agent@example.com"), org.seed("Group", {"Name": "Lifts", "Type": "Queue"})[0]
    entries = [{"owner": queue, "when": "Priority = 'High'"}, {"owner": agent, "when": "Origin = 'Never'"}]
    org.rules(assignment=[{"id": "01Q000000000001AAA", "entries": entries}])
    bound = {"exchange": "devices", "exchange_type": "topic"}
    divisions.division(
        "pumps",
        case={"defaults": {"Origin": "Device", "Priority": "Low"}},
        source=bound | {"routing_keys": ["alarm.pump.#", "alarm.valve.*"]},
    )
    divisions.division(
        "lifts",
        case={"defaults": {"Origin": "Phone", "Priority": "High"}},
        source=bound | {"routing_keys": ["alarm.lift"], "queue": "cases.lifts"},
    )
    divisions.division(
        "doors", mapping=MAPPING | {"OwnerId": "owner", "Priority": {"value": "High"}}, source={"exchange": "doors"}
    )
    with divisions.started(times=3) as running:
        for number, (exchange, key) in enumerate(
            [("devices", "alarm.pump.7.hot"), ("devices", "alarm.valve.1"), ("devices", "alarm.lift"), ("doors", "any")]
        ):
            divisions.publish(key, [alarm(number, owner=agent)], exchange=exchange, start=number)
        divisions.cases(4)
    made = {case["Message_Id__c"]: case for case in org.cases()}
    pumps, lifts, doors = (org.user(user(name)) for name in ("pumps", "lifts", "doors"))
    for message_id, creator, owner, origin, priority in (
        ("m0", pumps, pumps, "Device", "Low"),
        ("m1", pumps, pumps, "Device", "Low"),
        ("m2", lifts, queue, "Phone", "High"),  # by the assignment rule
        ("m3", doors, agent, None, "High"),  # by the mapping, which no assignment rule overrules
    ):
        case = made[message_id]
        assert (case["CreatedById"], case["OwnerId"]) == (creator, owner), message_id
        assert (case.get("Origin"), case["Priority"]) == (origin, priority), message_id
    for queue in ("sfconnector.pumps", "cases.lifts", "sfconnector.doors"):
        assert divisions.vhost.depth(queue) == 0
        assert f"made queue '{queue}'" in running.log


def test_an_outage_a_refused_log_in_and_a_used_up_limit_pause_that_division_only(divisions):
    org = divisions.org
    names = ("outage", "refused", "limit", "fine")
    for name in names:
        divisions.division(name)
    org.user(user("refused"), "another one")
    with divisions.started(times=3) as running:
        away = {"status": 503, "html": "<html><title>Down for Maintenance</title></html>"}
        used_up = {
            "status": 403,
            "errorCode": "REQUEST_LIMIT_EXCEEDED",
            "message": "TotalRequests Limit exceeded.",
        }
        org.fault(match={"user": user("outage")}, times=FOR_EVER, **away)
        org.fault(match={"user": user("limit")}, times=FOR_EVER, **used_up)
        for start, name in enumerate(names):
            divisions.publish(f"sfconnector.{name}", [alarm(n) for n in range(10)], start=100 * start)
        divisions.cases(10)
        pauses = {name: pause_of(running, name) for name in names[:3]}
        # The others go on while three are paused, and as if nothing had happened.
        divisions.publish("sfconnector.fine", [alarm(n) for n in range(10)], start=400)
        divisions.cases(20)
        assert {case["CreatedById"] for case in org.cases()} == {org.user(user("fine"))}
        org.no_faults()
        running.signal(signal.SIGUSR1)
        divisions.cases(40)
        running.wait_for("RESUMED division=outage")
        running.wait_for("RESUMED division=limit")
        assert divisions.vhost.depth("sfconnector.refused") == 10
    causes = {name: (pause["cause"], pause["next_try"] == "never") for name, pause in pauses.items()}
    assert causes == {
        "outage": ("http-503", False),
        "refused": ("invalid_grant", True),
        "limit": ("REQUEST_LIMIT_EXCEEDED", False),
    }
    assert "raise its limit" in pauses["limit"]["do"]
    assert "PAUSED division=fine" not in running.log
    assert divisions.dead() == []


def test_divisions_work_beside_each_other_and_each_makes_one_call_at_a_time(divisions):
    """One that is slow holds up none: it has a thread and a connection of its own."""
    org = divisions.org
    slow, quick = (divisions.division(name, batch={"size": 1}) for name in ("slow", "quick"))
    with divisions.started(times=2):
        org.fault(match={"user": user("slow"), "path": "composite"}, times=FOR_EVER, delay_ms=300)
        for start, queue in enumerate((slow, quick)):
            divisions.publish(queue, [alarm(n) for n in range(8)], start=100 * start)
        divisions.cases(16)
    last = {name: max(call["number"] for call in divisions.creates(name)) for name in ("slow", "quick")}
    assert last["quick"] < last["slow"]
    assert (org.most_at_a_time(user("slow")), org.most_at_a_time(user("quick"))) == (1, 1)
