"""The mapping compared with what an org says about Case: one line for each mistake, and none for what is right."""

import pytest

from connectorlib.errors import Failed, Failure, Kind
from sfconnector.mapping_check import check, warnings
from sfconnector.salesforce.describe import Described
from sfconnector.sandbox.org import Org
from sfconnector.settings import CaseSettings, ExternalId
from tests.unit.orgs import described

ORG = Org()
ORG.add_field("Case", {"name": "Level__c", "type": "int"})
ORG.add_field("Case", {"name": "At__c", "type": "datetime"})
ORG.add_field("Case", {"name": "Line__c", "type": "picklist", "restrictedPicklist": True, "picklistValues": ["A", "B"]})
ORG.add_field("Case", {"name": "Tags__c", "type": "multipicklist", "length": 100, "picklistValues": ["x", "y"]})
CASE = described(ORG)


def problems(mapping=None, *, about=CASE, related=lambda name: described(ORG, name), **case):
    return check(CaseSettings(mapping=mapping or {}, **case), about, related)


def problem(mapping=None, **case):
    (only,) = problems(mapping, **case)
    assert "\n" not in only
    return only


def test_a_mapping_that_fits_has_no_problems():
    mapping = {
        "Subject": "Pump {device.id}: {alarm|no text}",
        "subject": "device.id",
        "Priority": {"path": "severity", "map": {"1": "Low", "2": None}, "default": "Medium"},
        "Line__c": {"path": "line", "map": {"1": "a", "2": "B"}},
        "Tags__c": {"value": "x;Y"},
        "Level__c": {"path": "level", "map": {"low": "1", "high": 9}, "default": 5},
        "At__c": {"path": "at", "type": "epoch_s", "default": 0},
        "IsEscalated": {"value": "true"},
        "ContactId": {"lookup": "Contact", "where": {"Email": "email"}, "default": "003000000000001"},
        "Asset.Serial_Number__c": {"first_of": ["serial", {"value": "none"}, "{device.id}"]},
        "Description": {"template": "constant"},
    }
    del mapping["subject"]
    external_id = ExternalId("message_id__c", "$message_id")
    defaults = {"Origin": "Device", "OwnerId": "005000000000001AAA", "language": "en_us"}
    assert problems(mapping, defaults=defaults, external_id=external_id, required=("assetid", "Subject")) == []


@pytest.mark.parametrize(
    ("mapping", "text"),
    [
        (
            {"Subjekt": "a"},
            'mapping.Subjekt: Case has no field "Subjekt" (or it is hidden from the division\'s user); '
            'did you mean "Subject"?',
        ),
        ({"Message_Id": "a"}, 'did you mean "Message_Id__c"?'),
        ({"Asset": "a"}, 'did you mean "AssetId"?'),
        ({"Zzz": "a"}, "known here: ContactId, AccountId, "),
        (
            {"CaseNumber": "a"},
            "mapping.CaseNumber: CaseNumber cannot be filled; it is read-only, at least for this user",
        ),
        ({"isclosed": {"value": True}}, "mapping.isclosed: IsClosed cannot be filled"),
        (
            {"Aset.Serial_Number__c": "a"},
            'mapping.Aset.Serial_Number__c: Case has no relationship "Aset" (or it is hidden from the division\'s user)'
            '; did you mean "Asset"?',
        ),
        (
            {"Asset.Serial_Nr__c": "a"},
            'mapping.Asset.Serial_Nr__c: Asset has no field "Serial_Nr__c"; did you mean "Serial_Number__c"?; '
            "any other field needs a lookup for AssetId",
        ),
        (
            {"Asset.Serial_Number__c.x": "a"},
            'mapping.Asset.Serial_Number__c.x: Asset has no field "Serial_Number__c.x"',
        ),
        (
            {"Asset.Name": "a"},
            "mapping.Asset.Name: Name is no external id of Asset; its external ids: Serial_Number__c; "
            "any other field needs a lookup for AssetId",
        ),
        ({"Owner.Username": "a"}, "mapping.Owner.Username: Owner may be Group or User; use a lookup for OwnerId"),
        ({"CreatedBy.Username": "a"}, "mapping.CreatedBy.Username: CreatedById cannot be filled"),
    ],
)
def test_a_field_that_cannot_be_filled_is_named_with_what_may_be_meant(mapping, text):
    assert text in problem(mapping)


@pytest.mark.parametrize(
    ("mapping", "text"),
    [
        ({"Subject": {"value": "x" * 256}}, "mapping.Subject.value: 256 characters; Subject takes at most 255"),
        (
            {"Subject": {"path": "a", "default": "🔥" * 128}},
            "mapping.Subject.default: 256 characters; Subject takes at",
        ),
        ({"Subject": {"template": "x" * 256}}, "mapping.Subject.template: 256 characters"),
        ({"Subject": "{a|}" + "x" * 256}, "mapping.Subject: 256 characters"),
        ({"Subject": {"path": "a", "map": {"1": "ok", "2": "y" * 300}}}, "mapping.Subject.map.2: 300 characters"),
        (
            {"Subject": {"first_of": ["a", {"path": "b", "default": "y" * 300}]}},
            "mapping.Subject.first_of[1].default: 300 characters",
        ),
        ({"Asset.Serial_Number__c": {"value": "s" * 81}}, "81 characters; Serial_Number__c takes at most 80"),
        (
            {"Line__c": {"value": "C"}},
            'mapping.Line__c.value: "C" is not a value of Line__c, a restricted picklist; known here: A, B',
        ),
        (
            {"Language": {"path": "a", "map": {"de": "de", "en": "en_UK"}}},
            'mapping.Language.map.en: "en_UK" is not a value of Language, a restricted picklist; did you mean "en_',
        ),
        (
            {"Subject": {"value": ["a"]}},
            "mapping.Subject.value: a list is not text; type json writes it as JSON; Subject is",
        ),
        ({"Subject": {"value": {"a": 1}}}, "mapping.Subject.value: an object is not text"),
        (
            {"Level__c": {"value": "high"}},
            "mapping.Level__c.value: 'high' is not a number; Level__c is of type int",
        ),
        ({"Level__c": {"path": "a", "map": {"x": True}}}, "mapping.Level__c.map.x: True is not a number"),
        ({"Level__c": {"path": "a", "default": 1.5}}, "mapping.Level__c.default: 1.5 is not a whole number"),
        ({"IsEscalated": {"value": 5}}, "mapping.IsEscalated.value: 5 is neither true nor false"),
        ({"At__c": {"value": "noon"}}, "mapping.At__c.value: 'noon' is not a timestamp"),
        (
            {"At__c": {"path": "a", "map": {"x": "y"}, "type": "epoch_s"}},
            "mapping.At__c.map.x: type epoch_s: 'y' is not",
        ),
        ({"At__c": {"path": "a", "default": 7}}, "mapping.At__c.default: 7 is a number; types epoch_s and"),
        (
            {"OwnerId": {"value": "Support"}},
            'mapping.OwnerId.value: "Support" is not a Salesforce id (15 or 18 letters and digits); '
            'a name needs {"lookup": …} in "mapping"',
        ),
    ],
)
def test_a_constant_that_the_field_cannot_take_is_told_with_its_place(mapping, text):
    assert problem(mapping).startswith(text) or text in problem(mapping)


@pytest.mark.parametrize(
    ("defaults", "text"),
    [
        ({"Subjekt": "a"}, 'defaults.Subjekt: Case has no field "Subjekt"'),
        ({"SuppliedName": "x" * 81}, "defaults.SuppliedName: 81 characters; SuppliedName takes at most 80"),
        ({"Line__c": "c"}, 'defaults.Line__c: "c" is not a value of Line__c'),
        ({"Level__c": "x"}, "defaults.Level__c: 'x' is not a number"),
    ],
)
def test_defaults_are_checked_as_well(defaults, text):
    assert problem(defaults=defaults).startswith(text)


def test_a_text_that_is_cut_is_no_reason_to_have_a_constant_that_is_always_cut():
    assert problem({"Subject": {"value": "x" * 256}}, truncate=True)


def test_a_value_of_a_picklist_that_is_no_longer_active_is_none():
    values = [{"value": "A", "active": True}, {"value": "B", "active": False}]
    about = described(ORG, Line__c={"picklistValues": values})
    assert problems({"Line__c": {"value": "A"}}, about=about) == []
    assert problem({"Line__c": {"value": "B"}}, about=about).endswith("a restricted picklist; known here: A")


def test_what_is_mapped_is_not_what_is_sent():
    assert problems({"Line__c": {"value": "other", "map": {"other": "A"}}}) == []


@pytest.mark.parametrize(
    ("field", "changes", "text"),
    [
        ("Message", {}, 'external_id.field: Case has no field "Message" (or it is hidden'),
        ("Message_Id", {}, 'did you mean "Message_Id__c"?'),
        ("Subject", {}, "external_id.field: Subject is not marked External ID and Unique in Salesforce, and must be"),
        ("Message_Id__c", {"unique": False}, "Message_Id__c is not marked Unique in Salesforce"),
        ("Message_Id__c", {"externalId": False}, "Message_Id__c is not marked External ID in Salesforce"),
        ("Message_Id__c", {"createable": False}, "external_id.field: Message_Id__c cannot be filled; it is read-only"),
    ],
)
def test_the_field_of_the_key_has_to_be_a_unique_external_id(field, changes, text):
    about = described(ORG, Message_Id__c=changes)
    assert text in problem(about=about, external_id=ExternalId(field, "$message_id"))


def test_the_field_of_the_key_is_filled_by_the_key_alone():
    external_id = ExternalId("Message_Id__c", "$message_id")
    text = 'external_id.field: Message_Id__c is also filled by "message_id__c"'
    assert problem({"message_id__c": "a"}, external_id=external_id) == text


def test_what_salesforce_requires_and_nothing_fills_may_be_filled_by_a_flow_there():
    required = {"nillable": False, "defaultedOnCreate": False}
    about = described(ORG, Type=required, AssetId=required, IsEscalated=required)
    assert problems({"Subject": "a"}, about=about) == []
    assert unfilled(about, mapping={"Subject": "a"}) == ["AssetId", "Type"]
    assert unfilled(about, mapping={"Asset.Serial_Number__c": "a"}, defaults={"type": "x"}) == []
    assert unfilled(about, mapping={"assetid": "a"}) == ["Type"]
    key = described(ORG, Message_Id__c=required)
    assert unfilled(key) == ["Message_Id__c"]
    assert unfilled(key, external_id=ExternalId("Message_Id__c", "$message_id")) == []


def unfilled(about, **case):
    found = [text for text in warnings(CaseSettings(**case), about) if "is required by Salesforce" in text]
    return [text.removeprefix("mapping: ").partition(" ")[0] for text in found]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Type", "required: nothing fills Type, so every message would be dead-lettered"),
        ("Asset.Serial_Number__c", "required: nothing fills Asset.Serial_Number__c"),
        (
            "Tipe",
            'required: Case has no field "Tipe" (or it is hidden from the division\'s user); did you mean "Type"?',
        ),
    ],
)
def test_what_the_configuration_requires_has_to_be_filled(name, text):
    assert problem({"Subject": "a"}, required=(name,)).startswith(text)


@pytest.mark.parametrize(
    ("mapping", "text"),
    [
        ({"Subject": "a", "SUBJECT": "b"}, "mapping.SUBJECT: Subject fills the same field; keep one of the two"),
        ({"AssetId": "a", "Asset.Serial_Number__c": "b"}, "mapping.Asset.Serial_Number__c: AssetId fills the same"),
    ],
)
def test_a_field_is_filled_once(mapping, text):
    assert problem(mapping).startswith(text)


def test_every_mistake_is_told_in_the_order_of_the_file():
    found = problems(
        {"Subject": {"value": "x" * 300}, "CaseNumber": "a", "Pirority": "b", "Asset.Serial_Number__c": "c"},
        defaults={"Langauge": "de"},
        external_id=ExternalId("Subject", "$message_id"),
        required=("Reason",),
    )
    assert [each.partition(":")[0] for each in found] == [
        "defaults.Langauge",
        "mapping.Subject.value",
        "mapping.CaseNumber",
        "mapping.Pirority",
        "external_id.field",
        "external_id.field",
        "required",
    ]


def test_another_object_is_described_once_and_only_when_it_is_needed():
    asked = []

    def related(name):
        asked.append(name)
        return described(ORG, name)

    problems({"Subject": "a", "ContactId": "b"}, related=related)
    assert asked == []
    mapping = {"Asset.Serial_Number__c": "a", "Contact.Customer_Number__c": "b", "Asset.Nothing__c": "c"}
    problems(mapping, related=related)
    assert asked == ["Asset", "Contact"]


def test_an_object_that_is_not_described_is_a_mistake_and_an_outage_is_none():
    def failing(kind):
        def related(name):
            raise Failed(Failure(kind, "NOT_FOUND", "The requested resource does not exist"))

        return related

    mapping = {"Asset.Serial_Number__c": "a"}
    assert problem(mapping, related=failing(Kind.CONFIGURATION)) == (
        "mapping.Asset.Serial_Number__c: Salesforce does not describe Asset: "
        "NOT_FOUND The requested resource does not exist"
    )
    with pytest.raises(Failed):
        problems(mapping, related=failing(Kind.UNAVAILABLE))


def test_a_user_who_may_not_make_cases_is_told_first():
    about = Described({**ORG.describe("Case"), "createable": False})
    assert problem({"Subject": "a"}, about=about) == (
        "case: the division's user may not create Cases; its profile has to allow it"
    )


def test_an_answer_that_lacks_most_keys_is_taken_for_what_it_says():
    about = Described({"fields": [{"name": "Subject"}, {"name": "Type", "picklistValues": None, "referenceTo": None}]})
    assert problems({"Subject": {"value": "x" * 300}, "type": "a"}, about=about) == []


# -- warnings


def test_a_choice_that_is_not_among_the_values_is_worth_a_warning():
    case = CaseSettings(
        defaults={"Origin": "Device", "Status": "new"},
        mapping={"Priority": {"path": "a", "map": {"1": "Medum", "2": "High"}}, "Line__c": {"value": "no"}},
    )
    assert warnings(case, CASE) == [
        'defaults.Origin: "Device" is not among the values of Origin; known here: Phone, Email, Web',
        'mapping.Priority.map.1: "Medum" is not among the values of Priority; did you mean "Medium"?',
    ]


def test_a_field_that_cannot_be_changed_later_is_worth_a_warning_for_upserts():
    about = described(ORG, Subject={"updateable": False})
    key = ExternalId("Message_Id__c", "$message_id", mode="upsert")
    mapping = {"Subject": "a", "Type": "b", "Nothing": "c"}
    assert warnings(CaseSettings(mapping=mapping, external_id=key), about) == [
        "mapping.Subject: Subject can be given only when a Case is made, so upsert fails later"
    ]
    assert warnings(CaseSettings(mapping=mapping), about) == []
