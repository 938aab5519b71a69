"""Divisions that share a queue: who gets which message, and what a paused one costs the others.

By the installed command, between a real broker and the sandbox.
"""

import signal

from tests.e2e.cases import Divisions, alarm, pause_of
from tests.services.salesforce import PASSWORD
from tests.services.waiting import eventually

QUEUE = "cases.all"
SOURCE = {"queue": QUEUE, "exchange": "devices", "exchange_type": "topic", "routing_keys": ["#"]}
SAME = {"queue": QUEUE}


def user(division: str) -> str:
    return f"{division}@example.com"


def made_by(divisions: Divisions) -> dict[str, set[str]]:
    """Return the message ids of the Cases, by the division that made them."""
    names = {divisions.org.user(user(name)): name for name in divisions.divisions}
    found: dict[str, set[str]] = {name: set() for name in divisions.divisions}
    for case in divisions.org.cases():
        found[names[case["CreatedById"]]].add(case["Message_Id__c"])
    return found


def test_match_decides_by_routing_key_header_and_body_and_else_the_message_is_dead(divisions):
    divisions.division("pumps", source=SOURCE, match={"$routing_key": "alarm.pump.#", "site": ["a*", "b1"]})
    divisions.division("hvac", source=SAME, match={"$headers.division": "hvac"})
    divisions.division("meters", source=SAME, match={"$routing_key": "xml.*"}, format={"type": "xml"})
    divisions.division("lifts", source=SAME, match={"device": "lift-?"})
    hvac = {"headers": {"division": "hvac"}}
    messages = [
        ("pumps", "alarm.pump.7.hot", alarm(site="a7"), {}),
        ("pumps", "alarm.pump", alarm(site="b1"), {}),
        ("pumps", "alarm.pump.7", alarm(site="a7"), hvac),  # the first in the file that fits
        ("hvac", "alarm.pump.7", alarm(site="b12"), hvac),  # all of a match have to fit
        ("meters", "xml.meter", b"<m><device>m-1</device></m>", {}),
        ("lifts", "any", alarm(device="lift-3"), {}),
        ("no-division", "any", alarm(device="lift-30"), {}),
        ("no-division", "alarm.pump.7", alarm(), {}),  # the body has no site
        ("not-decodable", "any", b"{", {}),
        ("not-decodable", "any", b"{", hvac),
    ]
    with divisions.started():
        for number, (_, key, body, properties) in enumerate(messages):
            divisions.publish(key, [body], exchange="devices", start=number, **properties)
        divisions.cases(6)
        letters = divisions.letters(4)
    expected: dict[str, set[str]] = {}
    for number, (whose, *_) in enumerate(messages):
        expected.setdefault(whose, set()).add(f"m{number}")
    found = made_by(divisions)
    for message_id, headers in letters.items():
        found.setdefault(headers["dead-code"], set()).add(message_id)
    assert found == expected


def test_a_paused_divisions_messages_are_held_while_others_go_on_until_the_whole_queue_pauses(divisions):
    """Up to half the prefetch. At the start one division that may log in is enough."""
    org = divisions.org
    taking = {"source": SOURCE | {"prefetch": 20}, "batch": {"size": 10, "wait_ms": 50}}
    divisions.division("away", match={"$routing_key": "away"}, **taking)
    divisions.division("refused", source=SAME, match={"$routing_key": "refused"})
    divisions.division("fine", source=SAME, match={})
    org.user(user("refused"), "another one")
    with divisions.started() as running:
        assert pause_of(running, "refused")["cause"] == "invalid_grant"
        org.fault(match={"user": user("away")}, times=None, status=503, html="<html>maintenance</html>")
        for start in range(0, 40, 10):
            for key, count in (("away", 1), ("refused", 1), ("fine", 8)):
                ids = {"away": 0, "refused": 100, "fine": 200}[key] + start
                divisions.publish(key, [alarm(n) for n in range(count)], exchange="devices", start=ids)
        divisions.cases(32)
        assert pause_of(running, "away")["cause"] == "http-503"
        assert "PAUSED division=away+refused+fine" not in running.log
        divisions.publish("refused", [alarm(n) for n in range(10)], exchange="devices", start=500)
        pause = pause_of(running, "away+refused+fine")
        divisions.publish("fine", [alarm(n) for n in range(7)], exchange="devices", start=600)
        assert divisions.vhost.depth(QUEUE) > 0
        assert len(org.cases()) == 32
        org.no_faults()
        org.user(user("refused"), PASSWORD, failures=0)
        running.signal(signal.SIGUSR1)
        divisions.cases(32 + 8 + 10 + 7)
        running.wait_for("RESUMED division=away+refused+fine")
        running.wait_for("RESUMED division=away after")
        running.wait_for("RESUMED division=refused after")
        eventually(lambda: divisions.vhost.depth(QUEUE) == 0)
    assert {name: len(ids) for name, ids in made_by(divisions).items()} == {"away": 4, "refused": 14, "fine": 39}
    assert int(pause["held"]) > 10
    assert org.logins(user("refused")) == 2
    assert divisions.dead() == []


def test_a_refused_division_and_one_whose_every_case_is_refused_cost_the_third_no_case(divisions):
    org = divisions.org
    divisions.division("refused", source=SOURCE, match={"$routing_key": "refused"})
    divisions.division("broken", source=SAME, match={"$routing_key": "broken"})
    divisions.division("fine", source=SAME, match={})
    org.user(user("refused"), "another one")
    no_rule = {"status": 400, "errorCode": "INVALID_ASSIGNMENT_RULE", "message": "no such rule"}
    org.fault(match={"user": user("broken"), "path": "composite"}, times=None, **no_rule)
    with divisions.started() as running:
        for start in range(0, 40, 10):
            for key, ids in (("refused", 0), ("broken", 100), ("fine", 200)):
                divisions.publish(key, [alarm(n) for n in range(10)], exchange="devices", start=ids + start)
        divisions.cases(40)
        assert pause_of(running, "broken")["cause"] == "INVALID_ASSIGNMENT_RULE"
        calls = len(divisions.creates("broken"))
        running.wait_for("PAUSED division=refused")
        running.signal(signal.SIGUSR1)
        eventually(lambda: len(divisions.creates("broken")) > calls)
        divisions.publish("fine", [alarm(n) for n in range(10)], exchange="devices", start=240)
        divisions.cases(50)
        org.no_faults()
        running.signal(signal.SIGUSR1)
        divisions.cases(90)
        assert len(divisions.creates("broken")) < calls + 15, "after a pause one message shows whether it is over"
        assert "PAUSED division=refused+broken+fine" not in running.log
        running.wait_for("RESUMED division=broken")
    assert {name: len(ids) for name, ids in made_by(divisions).items()} == {"refused": 0, "broken": 40, "fine": 50}
    eventually(lambda: divisions.vhost.depth(QUEUE) == 40)
    assert org.logins(user("refused")) == 3
    assert divisions.dead() == []
