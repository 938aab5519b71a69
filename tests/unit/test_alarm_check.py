"""What an org must have for alarms: one line for each thing that is missing, and none for the sandbox's."""

from typing import Any

import pytest

from connectorlib.errors import Failed, Failure, Kind
from sfconnector.alarms.alarm import AlarmRules
from sfconnector.mapping_check import check
from sfconnector.salesforce.describe import Described
from sfconnector.sandbox.org import Org
from sfconnector.settings import AlarmSettings, CaseSettings, Severity
from tests.unit.orgs import described

ORG = Org()


def problems(about: Any = None, related: Any = None, **alarm: Any) -> list[str]:
    settings = AlarmSettings("k", AlarmRules(), **alarm)
    case = described(ORG, **(about or {}))
    return check(CaseSettings(alarm=settings), case, lambda name: described(ORG, name, **(related or {})))


def test_the_sandbox_has_all_of_it() -> None:
    severity = Severity("s", ("a",), "Priority")
    assert problems(severity=severity, never={"Status": "Closed"}) == []


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"about": {"Alarm_Key__c": {"unique": False}}}, "alarm.case_key: Case.Alarm_Key__c is not unique"),
        ({"about": {"Alarm_Key__c": {"externalId": False}}}, "Case.Alarm_Key__c is no external id"),
        ({"about": {"Alarm_Key__c": {"caseSensitive": False}}}, "Case.Alarm_Key__c is not case-sensitive"),
        ({"about": {"Alarm_Key__c": {"createable": False}}}, "Case.Alarm_Key__c cannot be filled"),
        ({"related": {"Key__c": {"externalId": False}}}, "Alarm__c.Key__c is no external id"),
        ({"related": {"Key__c": {"caseSensitive": False}}}, "Alarm__c.Key__c is not case-sensitive"),
        ({"case_key": "Alarm_Kye__c"}, 'Case has no field Alarm_Kye__c; did you mean "Alarm_Key__c"?'),
        ({"case_alarm": "Nothing__c"}, "alarm.case_alarm: Case has no field Nothing__c"),
        ({"case_alarm": "ContactId"}, "alarm.case_alarm: Case.ContactId is not a look-up to Alarm__c"),
        ({"severity": Severity("s", ("a",), "Priorty")}, "alarm.severity.field: Case has no field Priorty"),
        ({"severity": Severity("s", ("a",), "CaseNumber")}, "Case.CaseNumber cannot be changed"),
        ({"never": {"Sttus": "x"}}, "alarm.reopen.never: Case has no field Sttus"),
        ({"related": {"Key__c": {"unique": False}}}, "Alarm__c.Key__c is not unique"),
        ({"related": {"Case__c": {"referenceTo": ["Contact"]}}}, "Alarm__c.Case__c is not a look-up to Case"),
        ({"related": {"Count__c": {"updateable": False}}}, "may not write Alarm__c.Count__c"),
        ({"related": {"Memory__c": {"name": "Other__c"}}}, "Alarm__c has no field Memory__c"),
    ],
)
def test_what_is_missing_is_named(given: dict[str, Any], text: str) -> None:
    (only,) = problems(**given)
    assert text in only


def test_an_org_without_the_object() -> None:
    def none(name: str) -> Described:
        raise Failed(Failure(Kind.CONFIGURATION, "NOT_FOUND", "no"))

    (only,) = check(CaseSettings(alarm=AlarmSettings("k", AlarmRules())), described(ORG), none)
    assert "there is no object Alarm__c" in only
