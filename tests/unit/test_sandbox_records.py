"""What an org fills in, keeps and gives back: ids, defaults, owners, numbers, keys, assignment rules."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfconnector.sandbox import ids
from tests.services.orgs import Acme, refusal


@pytest.fixture
def acme() -> Acme:
    return Acme()


@pytest.mark.parametrize(
    "known", ["500D000000IqhSLIAZ", "001Vr00000m4eGCIAY", "00Dx0000000BV7zEAG", "005x00000012Q9PAAU"]
)
def test_an_id_of_15_characters_gets_the_3_that_salesforce_gives_it(known: str) -> None:
    assert ids.full(known[:15]) == known
    assert ids.full(known) == known


@pytest.mark.parametrize(
    "text", [None, 5, "", "5", "500D000000IqhSLIAA", "500D000000IqhS-", "500D000000IqhSLI", "ü" * 15]
)
def test_what_is_no_id(text: Any) -> None:
    assert ids.full(text) is None


@given(st.integers(0, 62**9 - 1), st.integers(0, 62**9 - 1))
def test_ids_stay_apart_where_case_is_lost(first: int, second: int) -> None:
    one, other = ids.make("500", first), ids.make("500", second)
    assert ids.full(one) == one
    assert (one.lower() == other.lower()) == (first == second)
    assert (one[:15] < other[:15]) == (first < second)


def test_a_case_starts_with_what_the_org_knows(acme: Acme) -> None:
    case = acme.read(acme.case(Subject=" Pump 7 is hot "))
    expected = {
        "attributes": {"type": "Case", "url": f"/services/data/v62.0/sobjects/Case/{case['Id']}"},
        "CaseNumber": "00001001",
        "Subject": "Pump 7 is hot",
        "Status": "New",
        "Priority": "Medium",
        "Origin": None,
        "IsClosed": False,
        "IsEscalated": False,
        "IsDeleted": False,
        "ClosedDate": None,
        "OwnerId": acme.ada,
        "CreatedById": acme.ada,
        "LastModifiedById": acme.ada,
        "CreatedDate": "2026-11-24T12:00:00.123+0000",
        "SystemModstamp": "2026-11-24T12:00:00.123+0000",
    }
    assert {name: case[name] for name in expected} == expected
    assert case["Id"].startswith("500")
    assert acme.read(acme.case())["CaseNumber"] == "00001002"


def test_a_case_has_from_its_contact_what_it_does_not_say_itself(acme: Acme) -> None:
    case = acme.read(acme.case(ContactId=acme.contact))
    assert (case["AccountId"], case["ContactEmail"], case["ContactPhone"]) == (
        acme.account,
        "carl@client.example",
        "+49 30 1",
    )
    other = acme.org.create("Account", {"Name": "Other"}, acme.ada)
    assert acme.read(acme.case(ContactId=acme.contact, AccountId=other))["AccountId"] == other
    assert acme.read(acme.case(ContactId=acme.contact, AccountId=None))["AccountId"] is None


def test_names_are_found_in_any_case_and_told_in_their_own(acme: Acme) -> None:
    case = acme.org.get("case", acme.case(sUBJECT="hot", contactid=acme.contact[:15]), ["subject", "CONTACTID"])
    assert case == {"attributes": case["attributes"], "Subject": "hot", "ContactId": acme.contact}
    assert case["attributes"]["type"] == "Case"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"Contact": {"Customer_Number__c": "c-1"}}, "contact"),
        ({"contact": {"EMAIL": "carl@client.example"}}, "contact"),
        ({"Account": {"Customer_Number__c": "A-1"}}, "account"),
        ({"Asset": {"attributes": {"type": "Asset"}, "Serial_Number__c": "SN-7"}}, "asset"),
        ({"Owner": {"attributes": {"type": "User"}, "Username": "ada@acme.example"}}, "ada"),
        ({"Owner": {"Username": "ada@acme.example"}}, "ada"),
        ({"OwnerId": "queue"}, "queue"),
    ],
)
def test_a_parent_is_found_by_its_key(acme: Acme, given: dict[str, Any], kept: str) -> None:
    fields = {name: getattr(acme, value) if isinstance(value, str) else value for name, value in given.items()}
    case = acme.read(acme.case(**fields))
    assert getattr(acme, kept) in [case["ContactId"], case["AccountId"], case["AssetId"], case["OwnerId"]]


@pytest.mark.parametrize(
    ("kind", "sent", "kept"),
    [
        ("double", 5, 5.0),
        ("double", "5.25", 5.25),
        ("int", 5, 5),
        ("currency", "1e3", 1000.0),
        ("boolean", True, True),
        ("boolean", False, False),
        ("date", "2026-11-24", "2026-11-24"),
        ("datetime", "2026-11-24T02:18:17Z", "2026-11-24T02:18:17.000+0000"),
        ("datetime", "2026-11-24T02:18:17.25+01:00", "2026-11-24T01:18:17.250+0000"),
        ("datetime", "2026-11-24T02:18+0200", "2026-11-24T00:18:00.000+0000"),
        ("datetime", "2026-11-24", "2026-11-24T00:00:00.000+0000"),
        ("textarea", " a\nb ", "a\nb"),
        ("string", "", None),
        ("string", "   ", None),
        ("double", "", None),
        ("picklist", "none of the list", "none of the list"),
        ("url", "not looked at", "not looked at"),
    ],
)
def test_a_value_gets_the_type_of_its_field(acme: Acme, kind: str, sent: Any, kept: Any) -> None:
    acme.org.add_field("Case", {"name": "New__c", "type": kind})
    assert acme.read(acme.case(New__c=sent))["New__c"] == kept


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**400, "1e999", "٥"])
@pytest.mark.parametrize("kind", ["double", "int"])
def test_numbers_that_are_none_are_refused(acme: Acme, kind: str, number: Any) -> None:
    acme.org.add_field("Case", {"name": "New__c", "type": kind})
    assert refusal(acme.case, New__c=number).body()[0]["errorCode"] == "JSON_PARSER_ERROR"


def test_closing_a_case_is_noted(acme: Acme) -> None:
    case = acme.case(Status="Working")
    acme.org.update("Case", case, {"Status": "Closed"}, acme.ada)
    assert (acme.read(case)["IsClosed"], acme.read(case)["ClosedDate"]) == (True, "2026-11-24T12:00:00.123+0000")
    acme.org.update("Case", case, {"Status": "Working"}, acme.ada)
    assert (acme.read(case)["IsClosed"], acme.read(case)["ClosedDate"]) == (False, None)


def test_comments_become_a_comment(acme: Acme) -> None:
    case = acme.case(Comments="was hot yesterday too")
    [comment] = acme.org.records("CaseComment")
    assert (comment["ParentId"], comment["CommentBody"]) == (case, "was hot yesterday too")


def test_null_takes_a_value_away(acme: Acme) -> None:
    case = acme.case(Subject="hot", Message_Id__c="k-1")
    acme.org.update("Case", case, {"Subject": None, "Message_Id__c": ""}, acme.ada)
    assert (acme.read(case)["Subject"], acme.read(case)["Message_Id__c"]) == (None, None)
    assert acme.case(Message_Id__c="k-1")


def test_an_upsert_makes_a_record_and_then_changes_it(acme: Acme) -> None:
    made = acme.org.upsert("Case", "Message_Id__c", "k-1", {"Subject": "hot"}, acme.ada)
    again = acme.org.upsert("case", "message_id__c", "K-1", {"Subject": "hotter"}, acme.ada)
    assert (made[1], again) == (True, (made[0], False))
    case = acme.org.get_by("Case", "Message_Id__c", "k-1", ["Subject", "Message_Id__c"])
    assert (case["Subject"], case["Message_Id__c"]) == ("hotter", "k-1")
    assert refusal(acme.org.upsert, "Case", "Message_Id__c", "k-2", {}, acme.ada, update_only=True).status == 404


def test_a_key_is_free_again_once_its_record_is_in_the_recycle_bin(acme: Acme) -> None:
    case = acme.case(Message_Id__c="k-1")
    acme.org.delete("Case", case, acme.ada)
    assert acme.case(Message_Id__c="k-1") != case


RULE = {
    "id": "01Q000000000001",
    "entries": [{"when": "Priority = 'High'", "owner": "QUEUE"}, {"owner": "CAROL"}],
}


@pytest.mark.parametrize(
    ("auto_assign", "active", "priority", "owner"),
    [
        (True, True, "High", "queue"),
        (True, True, "Low", "carol"),
        (True, False, "High", "ada"),
        (False, True, "High", "ada"),
        ("01Q000000000001", False, "High", "queue"),
        ("01Q000000000001EAA", True, "Low", "carol"),
    ],
)
def test_an_assignment_rule_gives_a_case_its_owner(
    acme: Acme, auto_assign: bool | str, active: bool, priority: str, owner: str
) -> None:
    (carol,) = acme.org.seed("User", [{"Username": "carol@acme.example", "LastName": "Shaw"}])
    entries = [{**RULE["entries"][0], "owner": acme.queue}, {"owner": carol}]  # type: ignore[dict-item]
    acme.org.configure({"assignment": [{**RULE, "entries": entries, "active": active}]})
    case = acme.org.create("Case", {"Priority": priority, "OwnerId": acme.ada}, acme.ada, auto_assign=auto_assign)
    assert acme.read(case)["OwnerId"] == {"queue": acme.queue, "carol": carol, "ada": acme.ada}[owner]


def test_an_assignment_rule_whose_owner_has_left_refuses_new_cases_after_their_keys(acme: Acme) -> None:
    acme.org.seed("Case", [{"Message_Id__c": "there"}])
    acme.org.configure({"assignment": [{**RULE, "entries": [{"owner": acme.bob}]}]})
    for key, code in (("new", "INACTIVE_OWNER_OR_USER"), ("there", "DUPLICATE_VALUE")):
        error = refusal(acme.org.create, "Case", {"Message_Id__c": key}, acme.ada)
        assert error.problems[0].code == code


def test_users_are_records_that_log_ins_can_look_up(acme: Acme) -> None:
    ada, bob = acme.org.users[acme.ada], acme.org.users[acme.bob]
    assert (ada.username, ada.name, ada.active) == ("ada@acme.example", "Ada Lovelace", True)
    assert (bob.name, bob.active) == ("Bob Gone", False)
