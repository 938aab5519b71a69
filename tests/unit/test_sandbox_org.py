"""The org as a whole: its describe answers, schemas of its users, its state as a file, and many threads at once."""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sfconnector.sandbox.org import Org
from tests.services.orgs import Acme, refusal


@pytest.fixture
def acme() -> Acme:
    return Acme()


def described(org: Org, sobject: str = "Case") -> dict[str, dict[str, Any]]:
    return {field["name"]: field for field in org.describe(sobject)["fields"]}


def test_a_case_is_described_as_salesforce_does(acme: Acme) -> None:
    case = acme.org.describe("case")
    assert (case["name"], case["keyPrefix"], case["createable"], case["custom"]) == ("Case", "500", True, False)
    assert case["urls"]["describe"] == "/services/data/v62.0/sobjects/Case/describe"
    fields = described(acme.org)
    subject = {"label": "Subject", "type": "string", "length": 255, "soapType": "xsd:string", "custom": False}
    assert fields["Subject"].items() >= {**subject, "nillable": True, "createable": True, "updateable": True}.items()
    key = {"externalId": True, "unique": True, "caseSensitive": False, "idLookup": True, "custom": True}
    assert fields["Message_Id__c"].items() >= key.items()
    owner = {"type": "reference", "relationshipName": "Owner", "referenceTo": ["Group", "User"], "length": 18}
    assert fields["OwnerId"].items() >= {**owner, "defaultedOnCreate": True, "namePointing": True}.items()
    assert fields["IsClosed"].items() >= {"createable": False, "updateable": False, "type": "boolean"}.items()
    assert [value["value"] for value in fields["Priority"]["picklistValues"] if value["defaultValue"]] == ["Medium"]
    assert fields["Language"]["restrictedPicklist"]
    assert not fields["Status"]["restrictedPicklist"]
    json.dumps(case)


def test_no_field_of_a_case_is_required(acme: Acme) -> None:
    def required(sobject: str) -> list[str]:
        return [
            name
            for name, field in described(acme.org, sobject).items()
            if field["createable"] and not field["nillable"] and not field["defaultedOnCreate"]
            if field["type"] != "boolean"
        ]

    assert (required("Case"), required("Contact"), required("Account")) == ([], ["LastName"], ["Name"])


def test_the_record_types_of_an_object_are_described(acme: Acme) -> None:
    names = [(each["recordTypeId"], each["master"]) for each in acme.org.describe("Case")["recordTypeInfos"]]
    assert names == [(acme.alarm_type, False), ("012000000000000AAA", True)]


def test_all_objects_are_listed(acme: Acme) -> None:
    listed = {each["name"]: each["keyPrefix"] for each in acme.org.global_describe()["sobjects"]}
    assert listed.items() >= {"Case": "500", "Contact": "003", "Account": "001", "User": "005", "Group": "00G"}.items()
    assert acme.org.summary("contact")["objectDescribe"]["label"] == "Contact"


def test_a_field_is_added_to_a_running_org(acme: Acme) -> None:
    case = acme.case()
    acme.org.add_field("Case", {"name": "Device__c", "type": "reference", "referenceTo": ["Asset"]})
    acme.org.add_field("case", {"name": "Code__c", "type": "string", "length": 3, "externalId": True, "unique": True})
    assert described(acme.org)["Device__c"]["relationshipName"] == "Device__r"
    acme.org.update("Case", case, {"Device__r": {"Serial_Number__c": "sn-7"}, "Code__c": "abc"}, acme.ada)
    assert acme.org.get_by("Case", "Code__c", "ABC", ["Device__c"])["Device__c"] == acme.asset
    [row] = acme.org.query("SELECT Device__r.Name FROM Case WHERE Device__r.Serial_Number__c = 'SN-7'")
    assert row["Device__r"]["Name"] == "Pump 7"
    assert refusal(acme.case, Code__c="abcd").body()[0]["errorCode"] == "STRING_TOO_LONG"


def test_a_field_that_becomes_unique_knows_the_records_that_are_there(acme: Acme) -> None:
    acme.add_text("Code__c")
    first = acme.case(Code__c="a")
    acme.add_text("Code__c", unique=True)
    assert refusal(acme.case, Code__c="A").body()[0]["message"].endswith(first)


@pytest.mark.parametrize("field", [{}, {"name": "X__c"}, {"type": "string"}, {"name": 5, "type": "string"}])
def test_a_field_has_a_name_and_a_type(acme: Acme, field: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a field needs a name and a type"):
        acme.org.add_field("Case", field)


DEVICE = {
    "name": "Device__c",
    "fields": [
        {"name": "Name", "type": "string", "length": 80, "nameField": True},
        {"name": "Serial__c", "type": "string", "externalId": True, "unique": True},
    ],
}
LINK = {"name": "Case", "fields": [{"name": "Device__c", "type": "reference", "referenceTo": ["Device__c"]}]}


@pytest.mark.parametrize(
    "schema", [{"objects": [DEVICE, LINK]}, {"objects": {"Device__c": DEVICE, "Case": LINK}}], ids=["list", "by name"]
)
def test_a_schema_brings_objects_and_fields(schema: dict[str, Any]) -> None:
    acme = Acme(Org(schema=schema))
    device = acme.org.create("Device__c", {"Serial__c": "x"}, acme.ada)
    assert device.startswith("a00")
    assert acme.read(acme.case(Device__r={"Serial__c": "X"}))["Device__c"] == device


def test_a_describe_answer_of_a_real_org_is_a_schema(acme: Acme) -> None:
    """Also where it refers to objects that the sandbox does not have."""
    hours = {"name": "BusinessHoursId", "type": "reference", "referenceTo": ["BusinessHours"]}
    answer = acme.org.describe("Case")
    answer = {**answer, "fields": [*answer["fields"], {**hours, "relationshipName": "BusinessHours"}]}
    answer = json.loads(json.dumps(answer))
    other = Acme(Org(schema=answer))
    assert other.org.describe("Case")["fields"][:-1] == answer["fields"][:-1]
    assert other.read(other.case(BusinessHoursId="01m000000000001"))["BusinessHoursId"] == "01m000000000001AAA"
    refusal(other.case, BusinessHours={"Name": "x"})
    refusal(other.org.query, "SELECT BusinessHours.Name FROM Case")


@pytest.mark.parametrize("schema", [{}, {"objects": [5]}, {"objects": [{}]}, {"name": "X", "fields": [{"name": "Y"}]}])
def test_what_is_no_schema(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"needs a name|is a list of"):
        Org(schema=schema)


def test_an_org_comes_back_from_its_file(acme: Acme) -> None:
    acme.org.add_field("Case", {"name": "Device__c", "type": "reference", "referenceTo": ["Asset"]})
    rule = {"object": "Case", "when": "Subject = 'bad' AND Device__c != null", "message": "no", "field": "Subject"}
    acme.org.configure({"validation": [rule], "locked": [acme.account], "duplicates": {"Contact": ["Email"]}})
    kept, gone = acme.case(Message_Id__c="k-1", Device__c=acme.asset), acme.case(Message_Id__c="k-2")
    acme.org.delete("Case", gone, acme.ada)
    state = json.loads(json.dumps(acme.org.export()))
    org = Org()
    org.restore(state)
    assert json.loads(json.dumps(org.export())) == state
    assert refusal(org.create, "Case", {"Message_Id__c": "K-1"}, acme.ada).body()[0]["message"].endswith(kept)
    assert refusal(org.get, "Case", gone).body()[0]["errorCode"] == "ENTITY_IS_DELETED"
    assert (
        refusal(org.create, "Case", {"Subject": "bad", "Device__c": acme.asset}, acme.ada).problems[0].message == "no"
    )
    new = org.create("Case", {"Message_Id__c": "k-2"}, acme.ada)
    assert new not in (kept, gone)
    assert org.get("Case", new)["CaseNumber"] > org.get("Case", kept)["CaseNumber"]


def test_seeds_pass_all_rules_but_not_the_types(acme: Acme) -> None:
    acme.org.configure({"validation": [{"object": "Case", "message": "never"}]})
    [case] = acme.org.seed("Case", [{"CaseNumber": "00000007", "IsClosed": True, "Status": "Closed"}])
    assert acme.read(case)["CaseNumber"] == "00000007"
    assert refusal(acme.org.seed, "Case", [{"Foo": 1}]).body()[0]["errorCode"] == "INVALID_FIELD"


@pytest.fixture
def restless_threads() -> Iterator[None]:
    """Threads take turns as often as they can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("restless_threads")
def test_many_threads_make_one_record_for_one_key(acme: Acme) -> None:
    def send(_: int) -> int:
        results = acme.cases(*({"Message_Id__c": f"k-{number}"} for number in range(50)))
        return sum(each["success"] for each in results)

    with ThreadPoolExecutor(8) as pool:
        created = sum(pool.map(send, range(16)))
    assert created == len(acme.org.records("Case")) == 50
    assert len({case["CaseNumber"] for case in acme.org.records("Case")}) == 50


@pytest.mark.usefixtures("restless_threads")
def test_who_asks_while_others_write_sees_whole_calls(acme: Acme) -> None:
    def write_or_count(turn: int) -> int:
        if turn % 2:
            return acme.org.query("SELECT COUNT() FROM Case").total
        return len(acme.cases(*({"Subject": f"{turn}-{number}"} for number in range(20))))

    with ThreadPoolExecutor(8) as pool:
        assert {answer % 20 for answer in pool.map(write_or_count, range(80))} == {0}
