"""Lookups in the mapping of a Case: what is wanted for a record, and what its fields become."""

import json
from dataclasses import replace

import pytest
from pika import BasicProperties

from connectorlib.errors import Failed, Failure, Kind
from connectorlib.messages import Delivery
from connectorlib.shared_settings import Limits
from sfconnector.lookup import Lookups
from sfconnector.mapping import CaseMapper
from sfconnector.sandbox.org import Org
from sfconnector.settings import CaseSettings
from tests.unit.orgs import OrgClient, described

CONTACT = {"lookup": "Contact", "where": {"Email": "email"}}
SERIAL = {"lookup": "Asset", "where": {"SerialNumber": "serial"}}
NAME = {"lookup": "Asset", "where": {"Name": "name"}}


@pytest.fixture(scope="module")
def org():
    org = Org()
    org.seed("Contact", [{"LastName": "Gray", "Email": "ann@example.com"}])
    org.seed("Asset", [{"Name": "Pump", "SerialNumber": "s-1"}])
    return org


def mapper_of(org, mapping, **case):
    return CaseMapper(CaseSettings(mapping=mapping, **case), {"type": "json"}, Limits(), described(org))


def decoded(mapper, record):
    body = json.dumps(record).encode()
    (only,) = mapper.records(Delivery(1, 1, "cases", "devices", "alarm", False, BasicProperties(), body, 0.0))
    return only


def draft(org, mapping, record, **case):
    mapper, lookups = mapper_of(org, mapping, **case), Lookups()
    each = decoded(mapper, record)
    return mapper.case(each, lookups.fetch(OrgClient(org), mapper.wanted([each])))


def refused(org, mapping, record, **case):
    with pytest.raises(Failed) as caught:
        draft(org, mapping, record, **case)
    return caught.value.failure


def test_a_record_that_is_found_fills_its_field(org):
    case = draft(org, {"ContactId": CONTACT}, {"email": "ANN@example.com"})
    assert case.fields == {"ContactId": org.records("Contact")[0]["Id"]}


def test_a_case_says_which_lookups_had_a_part_in_it(org):
    case = draft(org, {"ContactId": CONTACT, "AssetId": SERIAL}, {"email": "ANN@example.com"})
    assert [(lookup.place, key.values) for lookup, key in case.looked_up] == [
        ("lookup Contact where Email", ("ANN@example.com",))
    ]


def test_a_record_that_is_not_found_leaves_its_field_out_or_refuses_the_message(org):
    assert draft(org, {"ContactId": CONTACT}, {"email": "no@example.com"}).fields == {}
    failure = refused(org, {"ContactId": {**CONTACT, "missing": "reject"}}, {"email": "no@example.com"})
    assert (failure.kind, failure.code, failure.place) == (Kind.REJECT, "not-found", "case")
    assert failure.detail == "mapping.ContactId <- lookup Contact where Email = 'no@example.com': not found"


@pytest.mark.parametrize(
    ("mapping", "record", "code", "detail"),
    [
        (
            {"ContactId": {**CONTACT, "missing": "reject"}},
            {"mail": 1},
            "not-found",
            "Email <- email: no such field",
        ),
        (
            {"ContactId": CONTACT},
            {"email": ["a"]},
            "bad-value",
            "Email <- a list cannot be looked up",
        ),
    ],
)
def test_what_cannot_be_looked_up_is_told_with_the_entry_that_it_was_for(org, mapping, record, code, detail):
    failure = refused(org, mapping, record)
    assert (failure.code, failure.place) == (code, "case")
    assert failure.detail.startswith(f"mapping.ContactId <- lookup Contact where Email: {detail}")


@pytest.mark.parametrize("required", [False, True])
@pytest.mark.parametrize(
    ("record", "by_target"), [({"email": "no@example.com"}, True), ({"email": " "}, False), ({}, False)]
)
def test_what_the_org_was_asked_for_and_does_not_have_is_refused_because_of_it(org, record, by_target, required):
    case = {"required": ("ContactId",)} if required else {}
    mapping = {"ContactId": {**CONTACT, "missing": "skip" if required else "reject"}}
    assert refused(org, mapping, record, **case).by_target is by_target


def test_a_mapping_knows_its_lookups_wherever_they_stand(org):
    mapper = mapper_of(org, {"AssetId": {"first_of": ["id", SERIAL, NAME]}, "ContactId": CONTACT, "Subject": "name"})
    assert [lookup.place for lookup in mapper.lookups] == [
        "lookup Asset where SerialNumber",
        "lookup Asset where Name",
        "lookup Contact where Email",
    ]


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        ({"serial": "s-1", "name": "Pump", "email": "a"}, ["s-1", "Pump", "a"]),
        ({"id": "02i000000000001AAA", "serial": "s-1", "email": "a"}, ["a"]),
        ({"serial": "", "email": ["a"], "name": "Pump"}, ["Pump"]),
        ({}, []),
    ],
)
def test_what_may_be_needed_is_wanted_and_nothing_else(org, record, wanted):
    mapper = mapper_of(org, {"AssetId": {"first_of": ["id", SERIAL, NAME]}, "ContactId": CONTACT, "Subject": "name"})
    assert [key.values[0] for _, key in mapper.wanted([decoded(mapper, record)])] == wanted


def test_a_fallback_is_taken_when_the_first_lookup_finds_nothing(org):
    by_serial = {**SERIAL, "field": "Name"}
    mapping = {"Subject": {"first_of": [by_serial, {"template": "unknown {serial}"}]}}
    assert draft(org, mapping, {"serial": "S-1"}).fields == {"Subject": "Pump"}
    assert draft(org, mapping, {"serial": "S-2"}).fields == {"Subject": "unknown S-2"}


def test_what_salesforce_answers_to_one_value_fails_its_message(org):
    failure = Failure(Kind.UNKNOWN, "ODD", "strange", "lookup Contact where Email")

    class Answers:
        def answer(self, lookup, key):
            return failure

    mapper = mapper_of(org, {"ContactId": CONTACT})
    with pytest.raises(Failed) as caught:
        mapper.case(decoded(mapper, {"email": "a"}), Answers())
    detail = "mapping.ContactId <- lookup Contact where Email = 'a': ODD strange"
    assert caught.value.failure == replace(failure, detail=detail)
