"""Lookups: what is asked, of an org that answers; and what is made of the answers."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connectorlib.errors import Failed, Failure, Kind
from sfconnector import soql
from sfconnector.lookup import AMBIGUOUS, NOT_FOUND, Lookups, LookupScope, compile_lookup
from sfconnector.sandbox.org import Org
from tests.unit.orgs import OrgClient

BY_EMAIL = {"lookup": "Contact", "where": {"Email": "email"}}
BY_NAMES = {"lookup": "Contact", "where": {"FirstName": "first", "LastName": "last"}}


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def org():
    return Org()


@pytest.fixture
def client(org):
    return OrgClient(org)


def contacts(org, *emails, **fields):
    return org.seed("Contact", [{"LastName": f"L{at}", "Email": email, **fields} for at, email in enumerate(emails)])


def key_of(lookup, record):
    return lookup.key(record, LookupScope(None))


def found(client, spec, *records, lookups=None):
    """What a lookup answers for each record, all asked for at once."""
    lookup = compile_lookup(spec)
    keys = [key_of(lookup, record) for record in records]
    lookups = lookups or Lookups()
    answers = lookups.fetch(client, [(lookup, key) for key in keys if key is not None])
    return [NOT_FOUND if key is None else answers.answer(lookup, key) for key in keys]


# -- what is asked


def test_a_batch_is_one_query(org, client):
    first, second = contacts(org, "ann@example.com", "bob@example.com")
    emails = ["ann@example.com", "bob@example.com", "ann@example.com", "nobody@example.com"]
    assert found(client, BY_EMAIL, *({"email": email} for email in emails)) == [first, second, first, NOT_FOUND]
    assert client.asked == [
        "SELECT Id, Email FROM Contact WHERE Email IN "
        "('ann@example.com', 'bob@example.com', 'nobody@example.com') LIMIT 2000"
    ]


def test_text_is_compared_without_case_and_without_blanks_around_it(org, client):
    (ann,) = contacts(org, "Ann@Example.com")
    assert found(client, BY_EMAIL, {"email": "ann@EXAMPLE.com"}, {"email": " ANN@example.com\n"}) == [ann, ann]
    assert client.asked[0].count("example.com") + client.asked[0].count("EXAMPLE.com") == 1


def test_lookups_of_one_object_by_the_same_fields_are_one_query(org, client):
    (account,) = org.seed("Account", [{"Name": "Acme"}])
    (ann,) = contacts(org, "ann@example.com", AccountId=account)
    both = [compile_lookup(BY_EMAIL), compile_lookup({**BY_EMAIL, "field": "AccountId"})]
    key = key_of(both[0], {"email": "ann@example.com"})
    lookups = Lookups()
    lookups.fetch(client, [(lookup, key) for lookup in both])
    assert [lookups.answer(lookup, key) for lookup in both] == [ann, account]
    assert client.asked == ["SELECT Id, AccountId, Email FROM Contact WHERE Email = 'ann@example.com' LIMIT 2000"]


def test_several_fields_find_the_record_that_has_them_all(org, client):
    names = [("Ann", "Gray"), ("Ann", "Hill"), ("Bob", "Gray")]
    ids = org.seed("Contact", [{"FirstName": first, "LastName": last} for first, last in names])
    records = [{"first": first.lower(), "last": last} for first, last in [*names, ("Bob", "Hill")]]
    assert found(client, BY_NAMES, *records) == [*ids, NOT_FOUND]
    assert len(client.asked) == 1


def test_a_field_of_a_parent_may_be_asked_for_and_returned(org, client):
    (account,) = org.seed("Account", [{"Name": "Acme", "Customer_Number__c": "K-1"}])
    contacts(org, "ann@example.com", AccountId=account)
    spec = {"lookup": "Contact", "where": {"account.customer_number__c": "nr"}, "field": "Account.Name"}
    assert found(client, spec, {"nr": "k-1"}, {"nr": "k-2"}) == ["Acme", NOT_FOUND]


def test_ids_of_15_and_of_18_characters_are_the_same(org, client):
    (ann,) = contacts(org, "ann@example.com")
    spec = {"lookup": "Contact", "where": {"Id": "id"}, "field": "Email"}
    assert found(client, spec, {"id": ann}, {"id": ann[:15]}) == ["ann@example.com"] * 2


@pytest.mark.parametrize(
    ("condition", "value", "text"),
    [
        ("x", 7, "F = '7'"),
        ("x", True, "F = 'true'"),
        ("x", Decimal("1.50"), "F = '1.50'"),
        ({"path": "x", "type": "integer"}, "7", "F = 7"),
        ({"path": "x", "type": "float"}, 1e22, "F = 10000000000000000000000"),
        ({"path": "x", "type": "boolean"}, "yes", "F = true"),
        ({"path": "x", "type": "date"}, "2026-11-24", "F = 2026-11-24"),
        ({"path": "x", "type": "timestamp"}, "2026-11-24T01:00:00+02:00", "F = 2026-11-23T23:00:00.000Z"),
        ({"value": True}, None, "F = true"),
        ({"value": 5}, None, "F = 5"),
        ({"value": "O'Neil"}, None, "F = 'O\\'Neil'"),
        ("{x}-1", 7, "F = '7-1'"),
    ],
)
def test_a_value_is_text_unless_its_expression_says_another_type(condition, value, text):
    lookup = compile_lookup({"lookup": "Thing__c", "where": {"F": condition}})
    key = key_of(lookup, {"x": value})
    assert lookup.search.query([key], ["Id"]) == f"SELECT Id, F FROM Thing__c WHERE {text} LIMIT 2000"


def test_numbers_booleans_and_times_are_matched_with_what_was_answered(org, client):
    org.add_field("Asset", {"name": "Nr__c", "type": "double"})
    assets = [{"Name": "a", "Nr__c": 5}, {"Name": "b", "Nr__c": 5.5}, {"Name": "c", "Nr__c": 6}]
    ids = org.seed("Asset", assets)
    by_number = {"lookup": "Asset", "where": {"Nr__c": {"path": "nr", "type": "decimal"}}}
    numbers = ["5", "5.50", Decimal("6.0"), 7]
    assert found(client, by_number, *({"nr": number} for number in numbers)) == [*ids, NOT_FOUND]
    moments = [org.get("Asset", each)["CreatedDate"] for each in ids]
    by_time = {"lookup": "Asset", "where": {"CreatedDate": {"path": "at", "type": "timestamp"}, "Name": "name"}}
    other = datetime(2001, 1, 1, tzinfo=UTC).isoformat()
    asked = [{"at": moments[0], "name": "a"}, {"at": moments[1], "name": "B"}, {"at": other, "name": "c"}]
    assert found(client, by_time, *asked) == [ids[0], ids[1], NOT_FOUND]


def test_a_constant_condition_narrows_the_search(org, client):
    ids = org.seed("Group", [{"Name": "Pumps", "Type": "Regular"}, {"Name": "Pumps", "Type": "Queue"}])
    spec = {"lookup": "Group", "where": {"Type": {"value": "Queue"}, "Name": "name"}}
    assert found(client, spec, {"name": "pumps"}) == ids[1:]


@pytest.mark.parametrize("value", ["", "  ", None, "a\0b", "\ud800", "x" * 10_000])
def test_what_no_record_can_have_asks_nothing(value):
    lookup = compile_lookup(BY_EMAIL)
    assert key_of(lookup, {"email": value}) is None
    assert key_of(lookup, {}) is None


@pytest.mark.parametrize("value", ["garbage", "003", "' OR Name != '", "003000000000001'", "é" * 15])
def test_what_is_no_id_asks_nothing(value):
    assert key_of(compile_lookup({"lookup": "Account", "where": {"Owner.Id": "x"}}), {"x": value}) is None


@pytest.mark.parametrize("value", [[], ["a"], {}, {"a": 1}])
def test_a_list_or_an_object_cannot_be_looked_up(value):
    with pytest.raises(Failed) as caught:
        key_of(compile_lookup(BY_EMAIL), {"email": value})
    failure = caught.value.failure
    assert (failure.kind, failure.code) == (Kind.REJECT, "bad-value")
    assert failure.detail.startswith("lookup Contact where Email: Email <- ")


HOSTILE = ["' OR Name != '", "\\", "\\'", "%", "_", "🔥", "a\nb", '"', "') --", "null", "true", "5", "ß", "İ"]


def test_hostile_values_find_exactly_the_records_that_have_them(org, client):
    ids = org.seed("Contact", [{"LastName": text} for text in HOSTILE])
    records = [{"name": text} for text in HOSTILE]
    spec = {"lookup": "Contact", "where": {"LastName": "name"}}
    assert found(client, spec, *records) == ids
    for record, identifier in zip(records, ids, strict=True):
        assert found(client, spec, record) == [identifier]


@given(st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=12, unique_by=lambda text: text.strip().lower()))
@example(["\\_", "\\%", "\\\\_"])
@settings(max_examples=60)
def test_any_text_that_a_record_holds_is_found(texts):
    org = Org()
    held = [text for text in texts if text.strip() and soql.can_be_held(text)]
    ids = org.seed("Contact", [{"LastName": text} for text in held])
    assert (
        found(OrgClient(org), {"lookup": "Contact", "where": {"LastName": "name"}}, *({"name": t} for t in held)) == ids
    )


def test_many_long_values_become_several_queries_that_fit_into_an_address(client):
    assert found(client, BY_EMAIL, *({"email": f"{'🔥' * 60}{at}"} for at in range(100))) == [NOT_FOUND] * 100
    assert len(client.asked) > 1
    assert all(soql.encoded_length(text) < soql.MAX_ADDRESS for text in client.asked)


# -- several records, none


def test_several_records_are_ambiguous_unless_they_agree(org, client):
    (account,) = org.seed("Account", [{"Name": "Acme"}])
    first, _ = contacts(org, "ann@example.com", "ann@example.com", AccountId=account)
    record = {"email": "ann@example.com"}
    assert found(client, BY_EMAIL, record) == [AMBIGUOUS]
    assert found(client, {**BY_EMAIL, "field": "AccountId"}, record) == [account]
    assert found(client, {**BY_EMAIL, "ambiguous": "first"}, record) == [first]


def test_the_first_of_several_is_the_first_in_the_given_order(org, client):
    contacts(org, *["ann@example.com"] * 3)
    spec = {**BY_EMAIL, "ambiguous": "first", "order_by": "LastName DESC", "field": "LastName"}
    assert found(client, spec, {"email": "ann@example.com"}) == ["L2"]


def test_rows_beyond_one_page_do_not_hide_those_of_other_values(org, client):
    contacts(org, *["many@example.com"] * (soql.MAX_ROWS + 1))
    (ann,) = contacts(org, "zoe@example.com")
    records = [{"email": "many@example.com"}, {"email": "zoe@example.com"}]
    assert found(client, BY_EMAIL, *records) == [AMBIGUOUS, ann]
    assert len(client.asked) == 3


def test_a_found_record_may_have_nothing_in_the_field(org, client):
    contacts(org, "ann@example.com")
    assert found(client, {**BY_EMAIL, "field": "AccountId"}, {"email": "ann@example.com"}) == [None]


# -- what is remembered


def test_answers_are_remembered_for_as_long_as_the_lookup_says_and_misses_for_a_minute(org, client):
    clock = Clock()
    lookups = Lookups(clock=clock)
    contacts(org, "ann@example.com")
    spec = {**BY_EMAIL, "cache_seconds": 300}

    def asked_at(now, email):
        clock.now, before = now, len(client.asked)
        found(client, spec, {"email": email}, lookups=lookups)
        return len(client.asked) > before

    assert [asked_at(now, "ann@example.com") for now in (0, 299, 300, 301)] == [True, False, True, False]
    assert [asked_at(now, "bob@example.com") for now in (400, 459, 460, 461)] == [True, False, True, False]


def test_without_a_cache_every_batch_asks_and_is_answered(org, client):
    (ann,) = contacts(org, "ann@example.com")
    lookups = Lookups()
    for _ in range(2):
        spec = {**BY_EMAIL, "cache_seconds": 0}
        assert found(client, spec, {"email": "ann@example.com"}, lookups=lookups) == [ann]
    assert len(client.asked) == 2


def test_what_was_forgotten_is_asked_again(org, client):
    (ann,) = contacts(org, "ann@example.com")
    lookups, lookup = Lookups(), compile_lookup(BY_EMAIL)
    key = key_of(lookup, {"email": "ann@example.com"})
    lookups.fetch(client, [(lookup, key)])
    org.delete("Contact", ann, next(iter(org.users), ""))
    (new,) = contacts(org, "ann@example.com")
    lookups.fetch(client, [(lookup, key)])
    assert lookups.answer(lookup, key) == ann
    lookups.forget([(lookup, key), (lookup, key)])
    lookups.fetch(client, [(lookup, key)])
    assert lookups.answer(lookup, key) == new


def test_the_oldest_answers_make_room_though_never_those_of_the_batch(client):
    lookups = Lookups(size=10)
    records = [{"email": f"c{at}@example.com"} for at in range(15)]
    assert found(client, BY_EMAIL, *records, lookups=lookups) == [NOT_FOUND] * 15
    new = {"email": "new@example.com"}
    assert found(client, BY_EMAIL, *records[:5], new, lookups=lookups) == [NOT_FOUND] * 6
    assert [text.count("@example.com") for text in client.asked] == [15, 1]
    found(client, BY_EMAIL, *records[5:7], lookups=lookups)
    assert client.asked[2].count("@example.com") == 2


# -- refusals

INVALID = ("not an id", "neither", "x" * 15)


def by_owner(**more):
    """Ids are checked before they are asked for, unless the field's name does not tell that it holds one."""
    return {"lookup": "Asset", "where": {"Device__c": "device"}, **more}


@pytest.fixture
def devices(org):
    (account,) = org.seed("Account", [{"Name": "Acme"}])
    org.add_field("Asset", {"name": "Device__c", "type": "reference", "referenceTo": ["Account"]})
    assets = org.seed("Asset", [{"Name": "a", "Device__c": account}])
    return {"account": account, "asset": assets[0]}


def test_a_refused_value_does_not_cost_the_others_their_answers(client, devices):
    records = [{"device": device} for device in (devices["account"], *INVALID[:2], "001000000000000AAA")]
    good, bad, also, none = found(client, by_owner(), *records)
    assert (good, none) == (devices["asset"], NOT_FOUND)
    for failure in (bad, also):
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.code) == (Kind.REJECT, "INVALID_QUERY_FILTER_OPERATOR")
        assert failure.place == "lookup Asset where Device__c"
    harmless = [text for text in client.asked if text.endswith("LIMIT 1")]
    assert len(harmless) == 1


def test_a_query_that_is_refused_whatever_the_value_is_is_a_mistake_of_the_configuration(org, client):
    org.add_field("Asset", {"name": "Nr__c", "type": "double"})
    for spec in (
        {"lookup": "Asset", "where": {"Nr__c": "x"}},  # a number that is asked for as text
        {"lookup": "Asset", "where": {"Nothing__c": "x"}},
        {"lookup": "Nothing__c", "where": {"Name": "x"}},
        {"lookup": "Contact", "where": {"Description": "x"}},  # cannot be filtered
        {"lookup": "Contact", "where": {"Email": "x"}, "order_by": "Description"},
        {"lookup": "Contact", "where": {"Email": "x"}, "field": "Nothing__c"},
        {"lookup": "Contact", "where": {"Nothing__r.Name": "x"}},
    ):
        client.asked.clear()
        with pytest.raises(Failed) as caught:
            found(client, spec, *({"x": str(at)} for at in range(50)))
        failure = caught.value.failure
        assert failure.kind is Kind.CONFIGURATION, spec
        assert failure.place == failure.detail.partition(":")[0] == compile_lookup(spec).place
        assert len(client.asked) == 2


def test_a_client_that_cannot_ask_fails_the_batch_as_it_failed():
    class Down:
        def query(self, soql):
            raise Failed(Failure(Kind.UNAVAILABLE, "SERVER_UNAVAILABLE", "maintenance"))

    with pytest.raises(Failed) as caught:
        found(Down(), BY_EMAIL, {"email": "a"}, {"email": "b"})
    assert caught.value.failure == Failure(Kind.UNAVAILABLE, "SERVER_UNAVAILABLE", "maintenance")
