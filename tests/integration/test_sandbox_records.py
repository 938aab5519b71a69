"""What the sandbox does when nothing is wrong: records one by one, in collections, and found again."""

import gzip
import json
import re

import pytest
from simple_salesforce.exceptions import SalesforceMoreThanOneRecord

from tests.services.rest import BASE, Rest, told
from tests.services.salesforce import Org


@pytest.fixture
def rest(salesforce: Org) -> Rest:
    return Rest(salesforce)


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_created_case_has_an_id_a_place_and_its_side_effects(rest, slash):
    (account,) = rest.org.seed("Account", {"Name": "Northwind"})
    (contact,) = rest.org.seed("Contact", {"LastName": "Field", "AccountId": account})
    answer = rest.send("POST", f"/sobjects/Case{slash}", json={"subject": "Pump 7", "ContactId": contact[:15]})
    made = answer.json()
    assert answer.status_code == 201
    assert made == {"id": made["id"], "success": True, "errors": []}
    assert re.fullmatch(r"500[0-9A-Za-z]{12}[A-Z0-5]{3}", made["id"])
    assert answer.headers["Location"] == f"{BASE}/sobjects/Case/{made['id']}"

    case = rest.send("GET", f"/sobjects/Case/{made['id']}").json()
    assert case["attributes"] == {"type": "Case", "url": f"{BASE}/sobjects/Case/{made['id']}"}
    assert (case["Subject"], case["ContactId"], case["AccountId"]) == ("Pump 7", contact, account)
    assert (case["Status"], case["Priority"], case["IsClosed"]) == ("New", "Medium", False)
    assert (case["OwnerId"], case["CreatedById"]) == (rest.user_id, rest.user_id)
    assert case["CaseNumber"] == "00001001"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", case["CreatedDate"])


def test_some_fields_of_a_record_can_be_asked_for(rest):
    made = rest.create({"Subject": "a"}).json()
    answer = rest.send("GET", f"/sobjects/Case/{made['id']}", params={"fields": "Subject,CaseNumber"}).json()
    assert set(answer) == {"attributes", "Subject", "CaseNumber"}


def test_a_record_can_be_changed_and_deleted(rest):
    path = f"/sobjects/Case/{rest.create({}).json()['id']}"
    answer = rest.send("PATCH", path, json={"Status": "Closed"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert rest.send("GET", path).json()["IsClosed"] is True
    assert rest.send("DELETE", path).status_code == 204
    gone = rest.send("GET", path)
    assert (gone.status_code, [each["errorCode"] for each in gone.json()]) == (404, ["ENTITY_IS_DELETED"])


def test_a_client_without_the_method_patch_names_it_in_the_address(rest):
    path = f"/sobjects/Case/{rest.create({}).json()['id']}"
    assert rest.send("POST", f"{path}?_HttpMethod=PATCH", json={"Subject": "b"}).status_code == 204
    assert rest.send("GET", path).json()["Subject"] == "b"
    assert rest.send("POST", path, json={"Subject": "c"}).status_code == 405


def test_a_body_may_be_compressed(rest):
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    packed = gzip.compress(json.dumps({"Subject": "a"}).encode())
    assert rest.send("POST", "/sobjects/Case", data=packed, headers=headers).status_code == 201
    refused = rest.send("POST", "/sobjects/Case", data=packed[:-9], headers=headers)
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "JSON_PARSER_ERROR")
    assert [case["Subject"] for case in rest.org.cases()] == ["a"]


def test_a_collection_is_read_and_deleted_by_ids(rest):
    ids = [rest.create({"Subject": subject}).json()["id"] for subject in "ab"]
    path, nobody = "/composite/sobjects", "500000000000999AAA"
    asked = {"ids": f"{ids[1]},{nobody}", "fields": "Subject"}
    for answer in (
        rest.send("GET", f"{path}/Case", params=asked),
        rest.send("POST", f"{path}/Case", json={"ids": [ids[1], nobody], "fields": ["Subject"]}),
    ):
        found, missing = answer.json()
        assert (found["Subject"], missing) == ("b", None)
    together = {"ids": ",".join([ids[0], nobody]), "allOrNone": "true"}
    assert [each["success"] for each in rest.send("DELETE", path, params=together).json()] == [False, False]
    assert len(rest.org.cases()) == 2
    answer = rest.send("DELETE", path, params=together | {"allOrNone": "false"}).json()
    assert answer[0] == {"id": ids[0], "success": True, "errors": []}
    assert [error["statusCode"] for error in answer[1]["errors"]] == ["NOT_FOUND"]
    assert [case["Id"] for case in rest.org.cases()] == [ids[1]]


def composite(rest, *calls, **more):
    made = [dict(zip(("method", "url", "referenceId", "body"), call, strict=False)) for call in calls]
    return rest.send("POST", "/composite", json={"compositeRequest": made, **more}).json()["compositeResponse"]


def test_calls_in_one_use_what_those_before_them_were_answered(rest):
    before = rest.org.calls()
    case, found, bad, halted = composite(
        rest,
        ("POST", f"{BASE}/sobjects/Case", "case", {"Subject": "a"}),
        ("GET", f"{BASE}/query?q=SELECT+Id+FROM+Case+WHERE+Id='@{{case.id}}'", "found"),
        ("POST", f"{BASE}/sobjects/Case", "bad", {"Nonsense__c": "a"}),
        ("PATCH", f"{BASE}/sobjects/Case/@{{bad.id}}", "halted", {"Subject": "b"}),
    )
    assert (case["httpStatusCode"], case["referenceId"]) == (201, "case")
    assert case["httpHeaders"] == {"Location": f"{BASE}/sobjects/Case/{case['body']['id']}"}
    assert found["body"]["records"][0]["Id"] == case["body"]["id"]
    assert (bad["httpStatusCode"], bad["body"][0]["errorCode"]) == (400, "INVALID_FIELD")
    assert (halted["httpStatusCode"], halted["body"][0]["errorCode"]) == (400, "PROCESSING_HALTED")
    assert rest.org.calls() == before + 1


def test_calls_in_one_are_undone_together_if_they_are_all_or_none(rest):
    good, bad = composite(
        rest,
        ("POST", f"{BASE}/sobjects/Case", "good", {"Subject": "a"}),
        ("POST", f"{BASE}/sobjects/Case", "bad", {"Nonsense__c": "a"}),
        allOrNone=True,
    )
    assert (good["body"][0]["errorCode"], bad["body"][0]["errorCode"]) == ("PROCESSING_HALTED", "INVALID_FIELD")
    assert rest.org.cases() == []


def test_calls_in_one_are_at_most_25_of_which_5_are_queries_or_collections(rest):
    query = {"method": "GET", "url": f"{BASE}/query?q=SELECT+Id+FROM+Case", "referenceId": "q"}
    limits = {"method": "GET", "url": f"{BASE}/limits", "referenceId": "l"}
    for calls, status in (([query] * 5 + [limits] * 20, 200), ([query] * 6, 400), ([limits] * 26, 400)):
        assert rest.send("POST", "/composite", json={"compositeRequest": calls}).status_code == status


def test_a_single_record_that_is_locked_is_answered_with_500(rest):
    (account,) = rest.org.seed("Account", {"Name": "Northwind"})
    rest.org.rules(locked=[account])
    answer = rest.create({"AccountId": account})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (500, "UNABLE_TO_LOCK_ROW")


@pytest.mark.parametrize("text", ["true", "0", "perhaps"])
def test_a_truth_as_text_is_not_read(rest, text):
    answer = rest.create({"IsEscalated": text})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "JSON_PARSER_ERROR")


def test_an_upsert_creates_once_and_then_changes(rest):
    path = "/sobjects/Case/Message_Id__c/a%2Fb%2525"  # decoded once: a/b%25
    first = rest.send("PATCH", path, json={"Subject": "a"})
    again = rest.send("PATCH", path, json={"Subject": "b"})
    made = first.json()
    assert (first.status_code, made) == (201, {"id": made["id"], "success": True, "errors": [], "created": True})
    assert (again.status_code, again.json()) == (200, {**made, "created": False})
    (case,) = rest.org.cases()
    assert (case["Message_Id__c"], case["Subject"]) == ("a/b%25", "b")
    assert rest.send("GET", path).json()["Id"] == made["id"]


def test_an_upsert_may_be_of_what_is_there_only(rest):
    answer = rest.send("PATCH", "/sobjects/Case/Message_Id__c/m-1?updateOnly=true", json={})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("field", ["Nothing__c", "Subject"])
def test_an_upsert_needs_an_external_id(rest, field):
    text = f"Provided external ID field does not exist or is not accessible: {field}"
    body = [{"message": text, "errorCode": "NOT_FOUND"}]
    for answer in (rest.send("PATCH", f"/sobjects/Case/{field}/x", json={}), rest.upsert_many([{field: "x"}], field)):
        assert (answer.status_code, answer.json()) == (404, body)


@pytest.mark.parametrize("name", ["Id", "Message_Id__c"])
def test_the_key_belongs_into_the_address_alone(rest, name):
    answer = rest.send("PATCH", "/sobjects/Case/Message_Id__c/m-1", json={name: "x"})
    text = f"The {name} field should not be specified in the sobject data."
    assert (answer.status_code, answer.json()) == (
        400,
        [{"message": text, "errorCode": "INVALID_FIELD", "fields": []}],
    )


def test_a_key_of_several_records_is_answered_with_their_places(rest):
    rest.org.add_field("Case", "Batch__c", externalId=True)
    cases = rest.org.seed("Case", {"Batch__c": "7"}, {"Batch__c": "7"})
    places = [f"{BASE}/sobjects/Case/{each}" for each in cases]
    answer = rest.send("PATCH", "/sobjects/Case/Batch__c/7", json={"Subject": "a"})
    assert (answer.status_code, answer.json()) == (300, places)
    with pytest.raises(SalesforceMoreThanOneRecord) as raised:
        rest.simple_object("Case").upsert("Batch__c/7", {"Subject": "a"})
    assert told(raised.value) == (300, places)


def test_a_collection_is_answered_in_its_order(rest):
    answer = rest.create_many([{"Subject": str(number)} for number in range(200)])
    results = answer.json()
    subjects = {case["Id"]: case["Subject"] for case in rest.org.cases()}
    assert answer.status_code == 200
    assert results == [{"id": each["id"], "success": True, "errors": []} for each in results]
    assert [subjects[each["id"]] for each in results] == [str(number) for number in range(200)]
    assert rest.org.calls() == 1


def test_a_collection_upserts(rest):
    rest.org.seed("Case", {"Message_Id__c": "m-1"})
    first, second = rest.upsert_many([{"Message_Id__c": "m-1"}, {"Message_Id__c": "m-2"}]).json()
    assert (first["created"], second["created"]) == (False, True)


def test_a_key_that_is_twice_in_a_collection_refuses_both(rest):
    answer = rest.upsert_many([{"Message_Id__c": key} for key in ("k", "K", "l")]).json()
    twice = [
        {"statusCode": "DUPLICATE_VALUE", "message": f"Duplicate external id specified: {key}", "fields": [field]}
        for key, field in (("k", "Message_Id__c"), ("K", "Message_Id__c"))
    ]
    assert answer[:2] == [{"success": False, "errors": [each]} for each in twice]
    assert answer[2]["created"] is True


def test_all_or_none_takes_the_others_back(rest):
    answer = rest.create_many([{"Subject": "a"}, {"SuppliedEmail": "x"}], allOrNone=True)
    text = "Record rolled back because not all records were valid and the request was using AllOrNone header"
    rolled_back = {"statusCode": "ALL_OR_NONE_OPERATION_ROLLED_BACK", "message": text, "fields": []}
    assert answer.status_code == 200
    assert answer.json()[0] == {"success": False, "errors": [rolled_back]}
    assert answer.json()[1]["errors"][0]["statusCode"] == "INVALID_EMAIL_ADDRESS"
    assert rest.org.cases() == []


def test_a_parent_may_be_named_by_its_external_id(rest):
    (account,) = rest.org.seed("Account", {"Name": "Northwind"})
    (device,) = rest.org.seed("Asset", {"Name": "Pump", "Serial_Number__c": "P-1", "AccountId": account})
    rest.create({"Asset": {"Serial_Number__c": "p-1"}})
    assert rest.org.cases()[0]["AssetId"] == device


def test_describe_tells_fields_as_salesforce_does(rest):
    rest.org.add_field("Case", "Line__c", type="picklist", restrictedPicklist=True, picklistValues=["A", "B"])
    described = rest.send("GET", "/sobjects/Case/describe").json()
    fields = {field["name"]: field for field in described["fields"]}
    assert (described["name"], described["keyPrefix"], described["createable"]) == ("Case", "500", True)
    key = fields["Message_Id__c"]
    assert (key["externalId"], key["unique"], key["length"], key["custom"]) == (True, True, 255, True)
    assert fields["Line__c"]["picklistValues"] == [
        {"active": True, "defaultValue": False, "label": value, "validFor": None, "value": value} for value in "AB"
    ]
    assert not fields["IsClosed"]["createable"]
    assert rest.send("GET", "/sobjects/Case").json()["objectDescribe"]["urls"]["describe"].endswith("/Case/describe")
    assert "Case" in [each["name"] for each in rest.send("GET", "/sobjects").json()["sobjects"]]


def test_a_query_finds_records_whatever_the_case_of_their_letters(rest):
    first, second, _ = rest.org.contacts(3)
    answer = rest.query("SELECT Id, Email FROM Contact WHERE Email IN ('C0@example.com', 'c1@EXAMPLE.com')")
    assert answer.json() == {
        "totalSize": 2,
        "done": True,
        "records": [
            {
                "attributes": {"type": "Contact", "url": f"{BASE}/sobjects/Contact/{contact}"},
                "Id": contact,
                "Email": email,
            }
            for contact, email in ((first, "c0@example.com"), (second, "c1@example.com"))
        ],
    }


def test_a_query_with_many_records_is_answered_in_pages(rest):
    rest.org.contacts(450)
    page = rest.query("SELECT Email FROM Contact", **{"Sforce-Query-Options": "batchSize=200"}).json()
    sizes = [len(page["records"])]
    while not page["done"]:
        assert page["totalSize"] == 450
        assert re.fullmatch(rf"{BASE}/query/01g[0-9A-Za-z]{{15}}-\d+", page["nextRecordsUrl"])
        page = rest.send("GET", page["nextRecordsUrl"].removeprefix(BASE)).json()
        sizes.append(len(page["records"]))
    assert sizes == [200, 200, 50]
    assert len(rest.simple().query("SELECT Email FROM Contact LIMIT 450")["records"]) == 450


def one(code: str, message: str) -> list[dict[str, str]]:
    return [{"message": message, "errorCode": code}]


NO_COLUMN = (
    "\nSELECT Id, Foo FROM Contact\n           ^\nERROR at Row:1:Column:12\nNo such column 'Foo' on entity 'Contact'."
    " If you are attempting to use a custom field, be sure to append the '__c' after the custom field name. Please"
    " reference your WSDL or the describe call for the appropriate names."
)
NO_OBJECT = (
    "\nSELECT Id FROM Foo\n               ^\nERROR at Row:1:Column:16\nsObject type 'Foo' is not supported. If you are"
    " attempting to use a custom object, be sure to append the '__c' after the entity name. Please reference your WSDL"
    " or the describe call for the appropriate names."
)
REFUSED = {
    "an unknown field": ("SELECT Id, Foo FROM Contact", one("INVALID_FIELD", NO_COLUMN)),
    "an unknown object": ("SELECT Id FROM Foo", one("INVALID_TYPE", NO_OBJECT)),
    "a text without an end": (
        "SELECT Id FROM Contact WHERE Email = 'x",
        one("MALFORMED_QUERY", "line 1:37 no viable alternative at character '''"),
    ),
}


@pytest.mark.parametrize(("soql", "body"), REFUSED.values(), ids=REFUSED)
def test_a_query_is_refused_for(rest, soql, body):
    answer = rest.query(soql)
    assert (answer.status_code, answer.json()) == (400, body)


def test_a_place_in_a_query_that_is_not_known_is_refused(rest):
    answer = rest.send("GET", "/query/01g000000000001AAA-2000")
    assert (answer.status_code, answer.json()) == (400, one("INVALID_QUERY_LOCATOR", "invalid query locator"))
