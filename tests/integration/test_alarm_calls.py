"""Alarms and their Cases in an org: what the calls write, what they cost, and what an answer that is lost does."""

from dataclasses import replace
from typing import Any

import pytest

from connectorlib.errors import Failed, Kind
from connectorlib.messages import ALREADY, DONE, Again, Dead
from sfconnector.alarms.alarm import CLEARED, REPEATED, AlarmRules, Event
from sfconnector.alarms.alarm_calls import NO_RULE, AlarmCalls, OrgNames
from sfconnector.alarms.alarm_record import RecordCodec, read_time
from sfconnector.alarms.register import AlarmRegister, Arrival
from sfconnector.salesforce.client import Client
from sfconnector.salesforce.login import TokenProvider
from sfconnector.settings import Salesforce
from tests.services.rest import Rest

USER = "alarms@example.com"
NOW = 1_796_032_800.0
RULES = AlarmRules(severities=("Low", "High"), clear_after=60.0, comments_on=frozenset({REPEATED, CLEARED}))
NAMES = OrgNames(case_sensitive=True, severity="Priority")


class Alarms:
    """A register on the org of a test."""

    def __init__(self, salesforce: Any, rules: AlarmRules = RULES, *, composite: bool = True) -> None:
        self.salesforce = salesforce
        self.rules = rules
        section = salesforce.login("alarms") | {"composite": composite}
        self.agent = salesforce.user("agent@example.com")
        self.client = Client(Salesforce(**section), "alarms", TokenProvider(Salesforce(**section), "alarms"))
        self.start()

    def start(self) -> None:
        self.calls = AlarmCalls(self.client, NAMES, RecordCodec(("minor", "major")), is_final=is_final)
        self.register = AlarmRegister(self.calls, self.rules)

    def work(self, *events: tuple[str, Event], now: float = NOW) -> list[Any]:
        return self.register.work([arrival(key, event) for key, event in events], now)

    def cost(self, *events: tuple[str, Event], now: float = NOW) -> int:
        before = self.client.calls
        assert set(self.work(*events, now=now)) <= {DONE, ALREADY}
        return self.client.calls - before


def is_final(case: Any) -> bool:
    return case.get("Status") == "Closed - will not fix"


def arrival(key: str, event: Event, **fields: Any) -> Arrival:
    priority = "High" if event.severity else "Low"
    return Arrival(key, event, lambda: {"Subject": f"{key} rings", "Origin": "Web", "Priority": priority, **fields})


def raised(id: str, at: float = NOW, severity: int = 0) -> Event:
    return Event(id, clears=False, at=at, severity=severity)


def cleared(id: str, at: float = NOW) -> Event:
    return Event(id, clears=True, at=at)


@pytest.fixture(params=[True, False], ids=["composite", "one-by-one"])
def alarms(salesforce: Any, request: pytest.FixtureRequest) -> Alarms:
    return Alarms(salesforce, composite=request.param)


@pytest.fixture
def together(salesforce: Any) -> Alarms:
    """As nearly every org has it."""
    return Alarms(salesforce)


def test_an_alarm_has_a_record_and_a_case_that_know_each_other(alarms, salesforce):
    assert alarms.work(("a", raised("1")), ("a", raised("2")), ("b", raised("3", severity=1))) == [DONE] * 3
    records = {each["Key__c"]: each for each in salesforce.records("Alarm__c")}
    cases = {each["Alarm_Key__c"]: each for each in salesforce.cases()}
    assert set(records) == {"a", "b"}
    assert set(cases) == {"a#1", "b#1"}
    for key in "ab":
        assert records[key]["Case__c"] == cases[f"{key}#1"]["Id"]
        assert cases[f"{key}#1"]["Alarm__c"] == records[key]["Id"]
    assert (records["a"]["Count__c"], records["a"]["State__c"], records["b"]["Severity__c"]) == (2, "active", "major")
    assert read_time(records["a"]["Last__c"]) == NOW
    assert cases["a#1"]["Subject"] == "a rings"


@pytest.mark.parametrize(("composite", "calls"), [(True, (2, 1, 0)), (False, (5, 2, 0))])
def test_what_batches_cost(salesforce, composite, calls):
    alarms = Alarms(salesforce, composite=composite)
    keys = [f"pump-{number}" for number in range(150)]
    ids = (1, 2, 2)
    assert tuple(alarms.cost(*((key, raised(f"{key} {id}")) for key in keys)) for id in ids) == calls


def test_keys_that_one_address_has_no_room_for_are_written_in_several_calls(together, salesforce):
    alarms = together
    keys = [f"{number:03}" + "ü" * 190 for number in range(30)]
    assert set(alarms.work(*((key, raised(key)) for key in keys))) == {DONE}
    alarms.start()
    assert set(alarms.work(*((key, raised(key)) for key in keys))) == {ALREADY}
    assert len(salesforce.cases()) == 30


def test_a_cleared_alarm_closes_its_case_and_comments_on_it(alarms, salesforce):
    alarms.work(("a", raised("1")))
    alarms.work(("a", cleared("2", NOW + 5)), now=NOW + 5)
    alarms.register.expire(["a"], NOW + 66)
    (case,) = salesforce.cases()
    assert case["Status"] == "Closed"
    (comment,) = salesforce.records("CaseComment")
    assert comment["ParentId"] == case["Id"]
    (record,) = salesforce.records("Alarm__c")
    assert record["State__c"] == "cleared"
    assert record["Due__c"] is None


def test_what_a_process_that_has_ended_has_left_is_found(alarms, salesforce):
    alarms.work(("x:a", raised("1")), ("x:b", raised("2")), ("x_:c", raised("3")))
    alarms.work(("x:a", cleared("4")), ("x_:c", cleared("5")))
    alarms.start()
    assert alarms.calls.overdue("x:", NOW + 59) == []
    assert alarms.calls.overdue("x:", NOW + 61) == ["x:a"]
    assert alarms.calls.overdue("x_:", NOW + 61) == ["x_:c"]
    alarms.register.expire(["x:a"], NOW + 61)
    assert alarms.calls.overdue("x:", NOW + 61) == []


def test_the_next_case_refers_to_the_one_before(alarms, salesforce):
    alarms.rules = replace(RULES, reopen_within=0.0)
    alarms.start()
    alarms.work(("a", raised("1")))
    alarms.work(("a", cleared("2", NOW + 5)), now=NOW + 5)
    alarms.register.expire(["a"], NOW + 66)
    later = max(NOW, read_time(salesforce.cases()[0]["ClosedDate"])) + 100
    alarms.work(("a", raised("3", later)), now=later)
    first, second = sorted(salesforce.cases(), key=lambda case: case["CaseNumber"])
    assert (second["Alarm_Key__c"], second["ParentId"]) == ("a#2", first["Id"])


def test_a_higher_severity_is_written_once(alarms, salesforce):
    alarms.work(("a", raised("1")))
    alarms.work(("a", raised("2", severity=1)))
    assert salesforce.cases()[0]["Priority"] == "High"
    (before,) = salesforce.cases()
    alarms.work(("a", raised("3", severity=1)))
    assert salesforce.cases() == [before]


def test_no_call_gives_the_case_to_another_owner(alarms, salesforce):
    queue = salesforce.seed("Group", {"Name": "Pumps", "DeveloperName": "Pumps", "Type": "Queue"})[0]
    alarms.work(("a", raised("1")))
    owner = salesforce.cases()[0]["OwnerId"]
    salesforce.rules(assignment=[{"id": "01Q000000000001", "entries": [{"owner": queue}]}], default_case_owner=queue)
    alarms.work(("a", raised("2", severity=1)))
    alarms.work(("a", cleared("3")))
    alarms.register.expire(["a"], NOW + 66)
    assert salesforce.cases()[0]["Status"] == "Closed"
    assert salesforce.cases()[0]["OwnerId"] == owner


def test_10000_repeats_leave_what_an_agent_has_edited(together, salesforce):
    alarms = together
    alarms.rules = replace(RULES, comment_every=600.0, comments=5)
    alarms.start()
    alarms.work(("a", raised("0")))
    agent = Rest(salesforce, "agent@example.com")
    edits = {"Subject": "mine", "Description": "?", "Priority": "Medium", "Status": "Working", "OwnerId": agent.user_id}
    case_id = salesforce.cases()[0]["Id"]
    assert agent.send("PATCH", f"/sobjects/Case/{case_id}", json=edits, headers=NO_RULE).ok
    (edited,) = salesforce.cases()
    cost = 0
    for batch in range(40):
        now = NOW + 100 * batch
        cost += alarms.cost(*(("a", raised(f"{batch} {number}", now, 1)) for number in range(250)), now=now)
    (after,) = salesforce.cases()
    comments = salesforce.records("CaseComment")
    assert len(comments) == 5
    assert after["LastModifiedDate"] == comments[-1]["CreatedDate"]
    changed = {name for name in edited | after if edited.get(name) != after.get(name)}
    assert changed == {"LastModifiedDate", "LastModifiedById", "SystemModstamp"}
    assert salesforce.records("Alarm__c")[0]["Count__c"] == 10_001
    assert cost == 40 + len(comments)


def test_a_case_that_salesforce_refuses_is_one_dead_letter(alarms, salesforce):
    salesforce.rules(validation=[{"object": "Case", "when": "Subject = 'b rings'", "message": "no bells"}])
    outcomes = alarms.work(("a", raised("1")), ("b", raised("2")), ("c", raised("3")))
    assert outcomes[0] is DONE
    assert isinstance(outcomes[1], Dead)
    assert outcomes[2] is DONE
    assert {each["Alarm_Key__c"] for each in salesforce.cases()} == {"a#1", "c#1"}


def test_a_case_that_cannot_be_closed_leaves_its_record_as_it_was(alarms, salesforce):
    alarms.work(("a", raised("1")), ("b", raised("2")))
    alarms.work(("a", cleared("3")), ("b", cleared("4")))
    salesforce.rules(
        validation=[{"object": "Case", "when": "Status = 'Closed' AND Subject = 'a rings'", "message": "say why"}]
    )
    alarms.register.expire(["a", "b"], NOW + 61)
    states = {each["Key__c"]: each["State__c"] for each in salesforce.records("Alarm__c")}
    assert states == {"a": "clearing", "b": "cleared"}
    salesforce.rules(validation=[])
    alarms.register.expire(["a"], NOW + 62)
    assert {each["Status"] for each in salesforce.cases()} == {"Closed"}


def test_what_is_refused_without_an_event_is_let_alone_for_longer_and_longer(together, salesforce):
    alarms = together
    alarms.work(("a", raised("1")))
    alarms.work(("a", cleared("2")))
    salesforce.rules(validation=[{"object": "Case", "when": "Status = 'Closed'", "message": "say why"}])
    tried = []
    for seconds in range(61, 3661, 15):
        if alarms.register.due(NOW + seconds):
            refused = alarms.register.expire(["a"], NOW + seconds)
            assert refused["a"].code == "FIELD_CUSTOM_VALIDATION_EXCEPTION"
            tried.append(seconds)
    assert tried == [61, 121, 241, 481, 961, 1921]
    salesforce.rules(validation=[])
    assert alarms.register.expire(["a"], NOW + 3661) == {}
    assert salesforce.cases()[0]["IsClosed"]


def test_the_alarms_of_cases_that_were_merged_share_the_one_that_is_left(alarms, salesforce):
    alarms.rules = replace(RULES, close="always")
    alarms.start()
    alarms.work(("a", raised("1")), ("b", raised("2")))
    cases = {each["Alarm_Key__c"]: each["Id"] for each in salesforce.cases()}
    salesforce.delete("Case", cases["a#1"], alarms.agent, into=cases["b#1"])
    assert alarms.work(("a", raised("3", severity=1)), ("b", raised("4", severity=1))) == [DONE, DONE]
    assert alarms.register.case_id("a") == cases["b#1"]
    assert alarms.work(("a", cleared("5")), ("b", cleared("6"))) == [DONE, DONE]
    assert alarms.register.expire(["a", "b"], NOW + 66) == {}
    (case,) = salesforce.cases()
    assert (case["Id"], case["Priority"], case["Status"]) == (cases["b#1"], "High", "Closed")
    assert {each["State__c"] for each in salesforce.records("Alarm__c")} == {"cleared"}


def test_a_case_that_was_deleted_has_a_successor(alarms, salesforce):
    alarms.work(("a", raised("1")))
    salesforce.delete("Case", salesforce.cases()[0]["Id"], alarms.agent)
    assert alarms.work(("a", raised("2"))) == [DONE]
    assert [each["Alarm_Key__c"] for each in salesforce.cases()] == ["a#2"]


def test_a_case_that_is_deleted_just_before_it_is_changed_costs_no_message(alarms, salesforce):
    alarms.work(("a", raised("1")))
    (case,) = salesforce.cases()
    salesforce.rules(
        validation=[
            {"object": "Case", "when": "Priority = 'High'", "message": "entity is deleted", "code": "ENTITY_IS_DELETED"}
        ]
    )
    (outcome,) = alarms.work(("a", raised("2", severity=1)))
    assert isinstance(outcome, Again)
    assert outcome.failure.kind is Kind.RETRY
    salesforce.rules(validation=[])
    salesforce.delete("Case", case["Id"], alarms.agent)
    assert set(alarms.work(("a", raised("2", severity=1)))) <= {DONE, ALREADY}
    assert [each["Alarm_Key__c"] for each in salesforce.cases()] == ["a#2"]


def test_a_case_that_the_user_may_not_see_pauses_and_has_no_successor(alarms, salesforce):
    alarms.work(("a", raised("1")))
    salesforce.rules(hidden=[salesforce.cases()[0]["Id"]])
    for start in (False, True):
        if start:
            alarms.start()
        (outcome,) = alarms.work(("a", raised("2")))
        assert isinstance(outcome, Again)
        assert (outcome.failure.code, outcome.failure.kind) == ("hidden-case", Kind.CONFIGURATION)
    salesforce.rules(hidden=[])
    assert set(alarms.work(("a", raised("2")))) <= {DONE, ALREADY}
    assert len(salesforce.cases()) == 1
    assert salesforce.records("Alarm__c")[0]["Count__c"] == 2


@pytest.mark.parametrize("times", [1, 2])
def test_an_answer_that_is_lost_makes_no_second_case_and_counts_nothing_twice(alarms, salesforce, times):
    """One lost answer is asked for again at once; after two the batch comes again."""
    alarms.work(("a", raised("0")))
    salesforce.fault(match={"path": "/composite"}, times=times, drop_after_commit=True)
    batch = [("a", raised("1")), ("b", raised("2")), ("c", raised("3"))]
    outcomes = alarms.work(*batch)
    assert all(isinstance(outcome, Again if times == 2 else type(DONE)) for outcome in outcomes)
    assert set(alarms.work(*batch)) <= {DONE, ALREADY}
    assert sorted(each["Alarm_Key__c"] for each in salesforce.cases()) == ["a#1", "b#1", "c#1"]
    assert {each["Key__c"]: each["Count__c"] for each in salesforce.records("Alarm__c")} == {"a": 2, "b": 1, "c": 1}


def test_an_outage_is_one(alarms, salesforce):
    alarms.work(("a", raised("1")))
    salesforce.maintenance()
    (outcome,) = alarms.work(("a", raised("2")))
    assert isinstance(outcome, Again)
    assert outcome.failure.kind is Kind.UNAVAILABLE
    with pytest.raises(Failed):
        alarms.register.expire(["a"], NOW + 999)


@pytest.mark.parametrize("sobject", ["Case", "Alarm__c"])
def test_calls_get_smaller_while_the_orgs_triggers_run_into_a_governor_limit(together, salesforce, sobject):
    trigger = {
        "object": sobject,
        "more_than": 3,
        "code": "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
        "message": "Trigger: System.LimitException: Too many SOQL queries: 101",
    }
    salesforce.rules(validation=[trigger])
    keys = [f"a-{number}" for number in range(8)]
    assert together.work(*((key, raised(f"1 {key}")) for key in keys)) == [DONE] * 8
    records = salesforce.records("Alarm__c")
    assert sorted(each["Key__c"] for each in records) == keys
    assert {each["Id"] for each in salesforce.cases()} == {each["Case__c"] for each in records}
    assert len(salesforce.cases()) == 8
    assert together.cost(*((key, raised(f"2 {key}")) for key in keys)) == 4
    assert {each["Count__c"] for each in salesforce.records("Alarm__c")} == {2}
