"""What a Case is made of: the mapping, its lookups, and how it is compared with the org before the first message."""

import json
import signal
from typing import Any

from tests.e2e.cases import Divisions

TOGETHER = {"size": 200, "wait_ms": 500}
QUEUE = {"lookup": "Group", "where": {"DeveloperName": {"value": "Pumps"}, "Type": {"value": "Queue"}}}
HIDDEN = "(or it is hidden from the division's user)"
ACTIVE, OTHER = "01Q000000000001EAA", "01Q000000000002EAA"

#: One of everything.
MAPPING = {
    "Subject": "Pump {device.id}: {alarm|no text}",
    "Description": {"jmespath": "readings[?alarm].text | [0]"},
    "Priority": {"path": "severity", "map": {"1": "Low", "3": "High"}, "default": "Medium"},
    "SuppliedName": {"first_of": ["contact.name", "$headers.sender"]},
    "Temperature__c": "temperature",
    "Raised__c": {"path": "at", "type": "timestamp", "format": "%d.%m.%Y %H:%M", "zone": "Europe/Vienna"},
    "IsEscalated": {"value": True},
    "ContactId": {"lookup": "Contact", "where": {"Email": "contact.email"}},
    "AccountId": {"lookup": "Account", "where": {"Customer_Number__c": "customer"}},
    "SuppliedCompany": {"lookup": "Asset", "where": {"SerialNumber": "device.serial"}, "field": "Account.Name"},
    "OwnerId": QUEUE | {"missing": "reject"},
    "RecordTypeId": {"lookup": "RecordType", "where": {"DeveloperName": "type", "SobjectType": {"value": "Case"}}},
    "Asset.Serial_Number__c": "device.serial",
}
ALARM = {
    "device": {"id": "p-7", "serial": "SN-7"},
    "readings": [{"text": "fine"}, {"text": "96 °C", "alarm": True}],
    "severity": 3,
    "temperature": 96.10000000000001,
    "at": "24.11.2026 03:02",
    "contact": {"email": "ADA@example.com"},
    "customer": "A-1",
    "type": "Device_alarm",
}


def sent(divisions: Divisions, name: str) -> dict[str, str]:
    """Return the headers of the only call that made Cases of this division."""
    (call,) = divisions.creates(name)
    headers: dict[str, str] = call["headers"]
    return headers


def test_mapping_defaults_templates_lookups_and_relationships_make_the_case(divisions: Divisions) -> None:
    org = divisions.org
    org.add_field("Case", "Temperature__c", type="double", length=0, precision=18, scale=14)
    org.add_field("Case", "Raised__c", type="datetime", length=0)
    (account, other) = org.seed("Account", {"Name": "Acme", "Customer_Number__c": "A-1"}, {"Name": "Other"})
    (contact,) = org.seed("Contact", {"LastName": "Lovelace", "Email": "ada@example.com", "AccountId": other})
    serial = {"SerialNumber": "SN-7", "Serial_Number__c": "SN-7"}
    (asset,) = org.seed("Asset", {"Name": "Pump 7", "AccountId": account, **serial})
    (owner, _) = org.seed("Group", *({"Name": "P", "DeveloperName": "Pumps", "Type": t} for t in ("Queue", "Regular")))
    (kind,) = org.seed("RecordType", {"Name": "A", "DeveloperName": "Device_alarm", "SobjectType": "Case"})
    org.rules(assignment=[{"id": ACTIVE, "entries": [{"owner": org.user("rule@example.com")}]}])
    defaults = {"Origin": "Device", "Priority": "Low", "Subject": "Some pump"}
    queue = divisions.division(mapping=MAPPING, case={"defaults": defaults}, batch=TOGETHER)
    with divisions.started():
        messages = [(json.dumps(body).encode(), {"message_id": f"m{at}"}) for at, body in enumerate([ALARM, {}])]
        divisions.vhost.publish("", queue, messages, headers={"sender": "gateway 1"})
        case, bare = divisions.cases(2)
    wanted = {
        "Subject": "Pump p-7: no text",
        "Description": "96 °C",
        "Priority": "High",
        "SuppliedName": "gateway 1",
        "Temperature__c": 96.10000000000001,
        "Raised__c": "2026-11-24T02:02:00.000+0000",
        "IsEscalated": True,
        "ContactId": contact,
        "AccountId": account,
        "SuppliedCompany": "Acme",
        "OwnerId": owner,
        "RecordTypeId": kind,
        "AssetId": asset,
        "Origin": "Device",
        "Message_Id__c": "m0",
    }
    assert {name: case[name] for name in wanted} == wanted
    assert (bare["Subject"], bare["Priority"], bare["OwnerId"]) == ("Some pump", "Medium", owner)
    assert [bare[name] for name in ("ContactId", "AccountId", "AssetId", "Raised__c")] == [None] * 4
    assert [len(org.requests(path)) for path in ("/describe", "/query", "/composite")] == [2, 5, 1]


def test_lookups_are_asked_for_a_whole_batch_remembered_and_escaped(divisions: Divisions) -> None:
    names = [
        "O'Neil",
        "back\\slash",
        'quo"te',
        "a\tb",
        "100 % _",
        "' OR LastName != '",
        "東京 ☃ 👩‍👩‍👧‍👦",
        "x" * 80,
        "\\'",
    ]
    ids = divisions.org.seed("Contact", *[{"LastName": name} for name in names])
    strangers = ["nobody", "') OR Id != NULL OR LastName IN ('", "%", "_" * 6]
    mapping = {"Subject": "name", "ContactId": {"lookup": "Contact", "where": {"LastName": "name"}}}
    queue = divisions.division(mapping=mapping, batch=TOGETHER)
    bodies = [json.dumps({"name": name}).encode() for name in (*names, *strangers)]
    with divisions.started():
        divisions.publish(queue, bodies)
        divisions.cases(len(bodies))
        divisions.org.seed("Contact", {"LastName": "nobody"})
        divisions.publish(queue, bodies, start=100)
        cases = divisions.cases(2 * len(bodies))
    assert [case["ContactId"] for case in cases] == [*ids, *[None] * len(strangers)] * 2
    assert len(divisions.org.requests("/query")) == 1


def test_a_lookup_that_finds_none_or_several_does_what_the_mapping_says(divisions: Divisions) -> None:
    org = divisions.org
    org.contacts(1)
    org.seed("Contact", *[{"LastName": name, "Email": "two@example.com"} for name in "ab"])
    _, newest = org.seed("Account", {"Name": "Acme", "AccountNumber": "1"}, {"Name": "Acme", "AccountNumber": "2"})
    email = {"lookup": "Contact", "where": {"Email": "email"}}
    company = {"lookup": "Account", "where": {"Name": "company"}, "order_by": "AccountNumber DESC"}
    mapping = {
        "Subject": {"lookup": "Contact", "where": {"Email": "email"}, "field": "Title", "default": "none"},
        "ContactId": email | {"ambiguous": "reject"},
        "AccountId": company | {"ambiguous": "first", "missing": "reject"},
    }
    messages = {
        "known": {"email": "c0@example.com", "company": "acme"},
        "skipped": {"email": "nobody@example.com", "company": "Acme"},
        "two": {"email": "two@example.com", "company": "Acme"},
        "unknown": {"company": "O'Neil"},
        "misspelt": {"compnay": "Acme"},
        "empty": {"company": ""},
    }
    queue = divisions.division(mapping=mapping)
    with divisions.started():
        many = [(json.dumps(body).encode(), {"message_id": name}) for name, body in messages.items()]
        divisions.vhost.publish("", queue, many)
        cases = {case["Message_Id__c"]: case for case in divisions.cases(2)}
        letters = divisions.letters(4)
    assert cases["known"]["AccountId"] == cases["skipped"]["AccountId"] == newest
    assert cases["known"]["ContactId"] is not None
    assert (cases["skipped"]["ContactId"], cases["skipped"]["Subject"]) == (None, "none")
    assert {name: (each["dead-code"], each["dead-detail"]) for name, each in letters.items()} == {
        "two": (
            "ambiguous",
            "mapping.ContactId <- lookup Contact where Email = 'two@example.com': several records fit",
        ),
        "unknown": ("not-found", "mapping.AccountId <- lookup Account where Name = 'O'Neil': not found"),
        "misspelt": (
            "not-found",
            "mapping.AccountId <- lookup Account where Name: Name <- company: no such field; here are compnay",
        ),
        "empty": ("not-found", "mapping.AccountId <- lookup Account where Name: Name <- company: empty"),
    }


def test_owners_come_from_the_mapping_an_assignment_rule_or_the_divisions_user(divisions: Divisions) -> None:
    org = divisions.org
    first, second, pumps = org.seed(
        "Group", *[{"Name": name, "DeveloperName": name, "Type": "Queue"} for name in ("First", "Second", "Pumps")]
    )
    rules = [
        {"id": ACTIVE, "entries": [{"owner": first}]},
        {"id": OTHER, "active": False, "entries": [{"owner": second}]},
    ]
    org.rules(assignment=rules)
    subject = {"Subject": "subject"}
    divisions.division("by-rule", mapping=subject)
    divisions.division("by-user", mapping=subject, case={"auto_assign": False})
    divisions.division("by-other-rule", mapping=subject, case={"auto_assign": OTHER[:15]})
    some = {"OwnerId": QUEUE | {"where": {"DeveloperName": "queue"}}}
    divisions.division("by-mapping", mapping=subject | some, case={"duplicate_rule": {"allow_save": True}})
    messages = {name: {"subject": name} for name in ("by-rule", "by-user", "by-other-rule")}
    with divisions.started(times=4):
        for name, body in messages.items():
            divisions.vhost.publish("", f"sfconnector.{name}", (body, {"message_id": name}))
        both = [({"subject": name, "queue": name}, {"message_id": name}) for name in ("Pumps", "none")]
        divisions.vhost.publish("", "sfconnector.by-mapping", both)
        owners = {case["Subject"]: case["OwnerId"] for case in divisions.cases(5)}
    user = org.user("by-user@example.com")
    assert owners == {"by-rule": first, "by-user": user, "by-other-rule": second, "Pumps": pumps, "none": first}
    assert sent(divisions, "by-rule")["Sforce-Auto-Assign"] == "TRUE"
    assert "Sforce-Duplicate-Rule-Header" not in sent(divisions, "by-rule")
    for call in divisions.creates("by-mapping"):
        assert call["headers"]["Sforce-Duplicate-Rule-Header"] == "allowSave=true"


def test_a_list_is_a_case_for_each_element_and_a_bad_one_is_named(divisions: Divisions) -> None:
    external_id = {"field": "Message_Id__c", "value": "{$message_id}/{$index}"}
    queue = divisions.division(mapping={"Subject": "text", "SuppliedEmail": "mail"}, external_id=external_id)
    good = [{"text": f"number {at}"} for at in range(3)]
    with divisions.started():
        bodies = [json.dumps(each).encode() for each in (good, [*good, {"mail": "none"}, *good], [])]
        divisions.publish(queue, bodies)
        cases = divisions.cases(9)
        letter = divisions.letters(1)["m1"]
    assert [case["Message_Id__c"] for case in cases[:3]] == ["m0/0", "m0/1", "m0/2"]
    assert letter["dead-code"] == "INVALID_EMAIL_ADDRESS"
    assert letter["dead-detail"] == "record 3 (from 0) of 7, 6 of which are Cases: case.SuppliedEmail"


def test_a_text_that_is_too_long_is_cut_visibly_where_the_configuration_says_so(divisions: Divisions) -> None:
    mapping = {"Subject": "text", "Description": "text"}
    queue = divisions.division(mapping=mapping, case={"truncate": True})
    with divisions.started():
        texts = {"fits": "x" * 255, "plain": "x" * 256, "wide": "é" * 300, "beyond": "👩" * 200}
        many: list[Any] = [({"text": text}, {"message_id": name}) for name, text in texts.items()]
        divisions.vhost.publish("", queue, [*many, ({"text": "a key is never cut"}, {"message_id": "k" * 255})])
        cases = {case["Message_Id__c"]: case for case in divisions.cases(5)}
    assert cases["fits"]["Subject"] == texts["fits"]
    assert cases["plain"]["Subject"] == "x" * 254 + "…"
    assert cases["wide"]["Subject"] == "é" * 254 + "…"
    assert cases["beyond"]["Subject"] == "👩" * 127 + "…"
    assert all(cases[name]["Description"] == text for name, text in texts.items())


def test_each_mistake_of_a_mapping_is_one_line_before_the_first_message_is_taken(divisions: Divisions) -> None:
    org = divisions.org
    org.add_field("Case", "Site__c", nillable=False)
    org.add_field("Case", "Number__c", externalId=True)
    values = [{"value": value, "label": value, "active": True} for value in ("en_US", "de")]
    org.add_field("Case", "Tongue__c", type="picklist", restrictedPicklist=True, picklistValues=values)
    mapping = {
        "Subjekt": "text",
        "IsClosed": {"value": True},
        "SuppliedName": {"first_of": ["name", {"value": "n" * 81}]},
        "Tongue__c": {"path": "language", "map": {"DE": "de", "EN": "english"}},
        "Asset.Name": "asset",
        "OwnerId": {"value": "Pumps"},
    }
    queue = divisions.division(
        mapping=mapping,
        case={"defaults": {"IsEscalated": "perhaps"}},
        external_id={"field": "Number__c", "value": "$message_id"},
    )
    divisions.load(queue, [b"{}"])
    done = divisions.run("-i", str(divisions.file))
    assert done.returncode == 78, done.stderr
    told = [line.partition(" ERROR mapping division=field-service problem=")[2] for line in done.stderr.splitlines()]
    assert [json.loads(line) for line in told if line] == [
        "defaults.IsEscalated: 'perhaps' is neither true nor false; IsEscalated is of type boolean",
        f'mapping.Subjekt: Case has no field "Subjekt" {HIDDEN}; did you mean "Subject"?',
        "mapping.IsClosed: IsClosed cannot be filled; it is read-only, at least for this user",
        "mapping.SuppliedName.first_of[1].value: 81 characters; SuppliedName takes at most 80",
        'mapping.Tongue__c.map.EN: "english" is not a value of Tongue__c, a restricted picklist; known here: en_US, de',
        "mapping.Asset.Name: Name is no external id of Asset; its external ids: Serial_Number__c; any other field "
        "needs a lookup for AssetId",
        'mapping.OwnerId.value: "Pumps" is not a Salesforce id (15 or 18 letters and digits); a name needs '
        '{"lookup": …} in "mapping"',
        "external_id.field: Number__c is not marked Unique in Salesforce, and must be",
    ]
    assert done.stderr.splitlines()[-1].endswith("ERROR no division is left: stopping")
    assert divisions.vhost.depth(queue) == 1


def test_a_field_that_goes_while_messages_come_pauses_and_goes_on_by_itself(divisions: Divisions) -> None:
    queue = divisions.division(retry={"attempts": 1, "first_ms": 10, "breaker": 3})
    message = "No such column 'SuppliedEmail' on sobject of type Case"
    divisions.org.fault(match={"path": "composite"}, times=None, errorCode="INVALID_FIELD", message=message)
    bodies = [json.dumps({"device": n, "email": f"{n}@example.com"}).encode() for n in range(20)]
    with divisions.started() as running:
        divisions.publish(queue, bodies)
        log = running.wait_for("PAUSED division=field-service")
        assert f'cause=INVALID_FIELD "case of field-service: {message}"' in log
        divisions.org.no_faults()
        running.signal(signal.SIGUSR1)
        divisions.cases(20)
        running.wait_for("RESUMED")

        email = {"type": "email", "length": 80}
        divisions.org.add_field("Case", "SuppliedEmail", **email, createable=False)
        divisions.publish(queue, bodies, start=20)
        told = "SuppliedEmail cannot be filled; it is read-only, at least for this user"
        running.wait_for(f'cause=mapping "case of field-service: mapping.SuppliedEmail: {told}"')
        divisions.org.add_field("Case", "SuppliedEmail", **email)
        running.signal(signal.SIGUSR1)
        divisions.cases(40)
        assert divisions.dead() == []
