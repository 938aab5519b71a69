"""The page of the sandbox shows alarms: their count and state, and what has happened to their Cases."""

import re
from pathlib import Path

import requests

from tests.integration.test_alarm_calls import NOW, Alarms, cleared, raised
from tests.services.browser import WIDE, browser
from tests.services.rest import Rest
from tests.services.salesforce import Org
from tests.services.waiting import eventually

PHONE = (375, 812)


def page(org: Org) -> str:
    return requests.get(org.url, timeout=30).text


def test_an_alarm_is_seen_with_its_count_its_state_and_its_history(salesforce: Org, tmp_path: Path) -> None:
    alarms = Alarms(salesforce)
    long = "a_text_without_a_blank_" * 8
    alarms.work(("a", raised("1")), ("a", raised("2")), (long, raised("3")))
    alarms.work(("a", cleared("4", NOW + 5)), now=NOW + 5)
    alarms.register.expire(["a"], NOW + 66)
    agent = Rest(salesforce, "agent@example.com")
    case = next(each for each in salesforce.cases() if each["Alarm_Key__c"] == "a#1")
    for number in range(9):
        agent.send("PATCH", f"/sobjects/Case/{case['Id']}", json={"Priority": f"P{number}"})
    with browser(tmp_path / "profile") as person:
        for size in (WIDE, PHONE):
            person.size(size)
            person.go(salesforce.url)
            eventually(lambda: "a rings" in person.shown)
            read = " ".join(person.shown.split())
            assert "cleared raised 2 times, first 10:00:00, last 10:00:00" in read
            assert "active raised 1 time, first" in read
            assert "agent@example.com Priority P7 → P8" in read
            assert "3 earlier" in read
            assert "Closed" in read
            assert person.errors() == []
            person.picture(f"sandbox-{size[0]}")
        assert person.layout_faults() == []


def test_no_value_of_an_org_makes_the_page_wider_than_the_screen(salesforce: Org, tmp_path: Path) -> None:
    user = "the.division.of.pumps.in.the.west@pumps.example.com"
    case = {"Status": "waiting_for_the_customer_" * 3, "Priority": "Escalated by the customer " * 3}
    assert Rest(salesforce, user).create(case).status_code == 201
    salesforce.ask("POST", "/_sim/outages", {"word": "locked-user", "user": user})
    salesforce.ask("POST", "/_sim/faults", {"action": {"status": 500}, "times": 3})
    with browser(tmp_path / "profile") as person:
        person.size(WIDE)
        person.go(salesforce.url)
        read = " ".join(person.read("Escalated").split())
        assert f"locked-user {user} until ok rule 2 for 3 calls" in read
        assert read.count(user) == 2  # once in the fault, once as the user whose name it is too
        assert person.layout_faults() == []


def test_the_history_has_changes_and_comments_in_their_order(salesforce: Org) -> None:
    alarms = Alarms(salesforce)
    alarms.work(("a", raised("1")))
    alarms.work(("a", cleared("2", NOW + 5)), now=NOW + 5)
    alarms.register.expire(["a"], NOW + 66)
    entries = re.findall(r"<li>(.+?)</li>", page(salesforce), re.DOTALL)
    assert [re.sub(r"<.+?>|\s+", " ", each).split("alarms@example.com")[1].split() for each in entries] == [
        ["“cleared”"],
        ["Status", "New", "→", "Closed"],
    ]


def test_the_case_before_the_current_one_says_nothing_of_the_alarm(salesforce: Org) -> None:
    alarms = Alarms(salesforce)
    alarms.work(("a", raised("1")))
    (case,) = salesforce.cases()
    Rest(salesforce, "agent@example.com").send("DELETE", f"/sobjects/Case/{case['Id']}")
    alarms.work(("a", raised("2", NOW + 1)), now=NOW + 1)
    html = page(salesforce)
    assert html.count("its Case number 2") == html.count('class="alarm"') == 1
