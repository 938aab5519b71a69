"""SOQL: what it selects, how it writes it, and what it refuses in which words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfconnector.sandbox import soql_parser
from sfconnector.sandbox.refusals import ApiError
from tests.services.orgs import Acme, refusal


@pytest.fixture
def acme() -> Acme:
    acme = Acme()
    acme.org.add_field("Contact", {"name": "Level__c", "type": "double"})
    acme.org.add_field("Contact", {"name": "Seen__c", "type": "datetime"})
    acme.org.add_field("Contact", {"name": "Day__c", "type": "date"})
    acme.org.add_field("Contact", {"name": "Vip__c", "type": "boolean"})
    for name, fields in CONTACTS.items():
        acme.org.create("Contact", {"LastName": name, **fields}, acme.ada)
    return acme


CONTACTS: dict[str, dict[str, Any]] = {
    "O'Hara": {"Email": "ohara@x.example", "Level__c": 1, "Vip__c": True, "Seen__c": "2026-11-23T23:59:59Z"},
    "Back\\slash": {"Email": "back@x.example", "Level__c": 2, "Day__c": "2026-11-24"},
    "100%": {"Email": "percent@x.example", "Level__c": 3, "Seen__c": "2026-11-24T00:00:00Z"},
    "Müller_1": {"Level__c": -4.5, "Account": {"Customer_Number__c": "A-1"}, "Seen__c": "2026-10-01T00:00:00Z"},
    "Two\nlines": {"Email": "two@y.example"},
}
ALL = {"Client", *CONTACTS}

CONDITIONS = {
    "LastName = 'client'": {"Client"},
    "lastname = 'CLIENT'": {"Client"},
    "LastName = 'O\\'Hara'": {"O'Hara"},
    "LastName = 'Back\\\\slash'": {"Back\\slash"},
    "LastName = 'Two\\nlines'": {"Two\nlines"},
    "LastName = 'M\\u00fcller_1'": {"Müller_1"},
    "LastName = '\\\"'": set(),
    "LastName != 'client'": set(CONTACTS),
    "LastName <> 'client'": set(CONTACTS),
    "Email = null": {"Müller_1"},
    "Email != null": ALL - {"Müller_1"},
    "Email != 'two@y.example'": ALL - {"Two\nlines"},
    "Email IN ('TWO@y.example', 'back@x.example', 'nobody')": {"Two\nlines", "Back\\slash"},
    "Email IN (null)": {"Müller_1"},
    "Email NOT IN ('two@y.example')": ALL - {"Two\nlines"},
    "Email LIKE '%@X.example'": {"O'Hara", "Back\\slash", "100%"},
    "LastName LIKE '100\\%'": {"100%"},
    "LastName LIKE 'm_ller\\_1'": {"Müller_1"},
    "LastName LIKE '%lines'": {"Two\nlines"},
    "NOT Email LIKE '%@x.example'": {"Client", "Müller_1", "Two\nlines"},
    "NOT (Level__c > 1 OR Email = null)": {"Client", "O'Hara", "Two\nlines"},
    "Level__c = 2": {"Back\\slash"},
    "Level__c > 1.5": {"Back\\slash", "100%"},
    "Level__c <= 1": {"O'Hara", "Müller_1"},
    "Level__c = -4.5": {"Müller_1"},
    "Level__c IN (1, 2.0)": {"O'Hara", "Back\\slash"},
    "Level__c > 1 AND Level__c < 3": {"Back\\slash"},
    "(Level__c = 1 OR Level__c = 2) AND Vip__c = true": {"O'Hara"},
    "Vip__c = FALSE AND Level__c != null": {"Back\\slash", "100%", "Müller_1"},
    "Seen__c >= 2026-11-24T00:00:00Z": {"100%"},
    "Seen__c < 2026-11-24T01:00:00+01:00": {"O'Hara", "Müller_1"},
    "Seen__c = TODAY": {"100%"},
    "Seen__c = yesterday": {"O'Hara"},
    "Seen__c < TODAY": {"O'Hara", "Müller_1"},
    "Seen__c <= TODAY": {"O'Hara", "Müller_1", "100%"},
    "Seen__c > YESTERDAY": {"100%"},
    "Seen__c = LAST_N_DAYS:2": {"O'Hara", "100%"},
    "Seen__c != LAST_N_DAYS:2": ALL - {"O'Hara", "100%"},
    "Day__c = 2026-11-24": {"Back\\slash"},
    "Day__c = TODAY": {"Back\\slash"},
    "Day__c = NEXT_N_DAYS:3": set(),
    "Account.Name = 'acme'": {"Client", "Müller_1"},
    "Account.Owner.Name = 'Ada Lovelace'": {"Client", "Müller_1"},
    "Contact.Account.Customer_Number__c IN ('A-1')": {"Client", "Müller_1"},
    "Account.Name = null": ALL - {"Client", "Müller_1"},
    "AccountId = ''": ALL - {"Client", "Müller_1"},
    "Owner.Username = 'ada@acme.example'": ALL,
}


def names(acme: Acme, condition: str) -> set[str]:
    return {row["LastName"] for row in acme.org.query(f"SELECT LastName FROM Contact WHERE {condition}")}


@pytest.mark.parametrize(("condition", "found"), CONDITIONS.items())
def test_a_condition_finds(acme: Acme, condition: str, found: set[str]) -> None:
    assert names(acme, condition) == found


def test_ids_of_15_and_of_18_characters_are_the_same(acme: Acme) -> None:
    for wanted in (acme.account, acme.account[:15]):
        assert names(acme, f"AccountId = '{wanted}'") == {"Client", "Müller_1"}
    assert names(acme, f"Id IN ('{acme.contact[:15]}')") == {"Client"}


def test_a_row_is_written_as_the_rest_api_does(acme: Acme) -> None:
    rows = acme.org.query("select id, EMAIL, Account.Name, account.owner.name, Owner.Name from contact limit 1")
    base = "/services/data/v62.0/sobjects"
    owner = {"attributes": {"type": "User", "url": f"{base}/User/{acme.ada}"}, "Name": "Ada Lovelace"}
    assert rows == [
        {
            "attributes": {"type": "Contact", "url": f"{base}/Contact/{acme.contact}"},
            "Id": acme.contact,
            "Email": "carl@client.example",
            "Account": {
                "attributes": {"type": "Account", "url": f"{base}/Account/{acme.account}"},
                "Name": "Acme",
                "Owner": owner,
            },
            "Owner": owner,
        }
    ]
    assert rows.total == 1


def test_a_parent_that_is_not_there_is_null(acme: Acme) -> None:
    [row] = acme.org.query("SELECT Account.Name, Account.Owner.Name FROM Contact WHERE LastName = '100%'")
    assert row["Account"] is None


@pytest.mark.parametrize(
    ("clauses", "order"),
    [
        ("ORDER BY Level__c, LastName", [None, None, -4.5, 1, 2, 3]),
        ("ORDER BY Level__c ASC NULLS LAST", [-4.5, 1, 2, 3, None, None]),
        ("ORDER BY Level__c DESC", [None, None, 3, 2, 1, -4.5]),
        ("ORDER BY level__c desc nulls last LIMIT 2 OFFSET 1", [2, 1]),
        ("LIMIT 2", [None, 1]),
        ("OFFSET 4", [-4.5, None]),
        ("ORDER BY Account.Name DESC NULLS LAST, Level__c LIMIT 2", [None, -4.5]),
        ("LIMIT 0", []),
    ],
)
def test_rows_come_in_order(acme: Acme, clauses: str, order: list[float | None]) -> None:
    assert [row["Level__c"] for row in acme.org.query(f"SELECT Level__c FROM Contact {clauses}")] == order


def test_counting(acme: Acme) -> None:
    counted = acme.org.query("SELECT COUNT() FROM Contact WHERE Level__c > 0")
    assert (counted, counted.total) == ([], 3)
    rows = acme.org.query("SELECT count(Id) everyone, COUNT(Email) FROM Contact")
    assert rows == [{"attributes": {"type": "AggregateResult"}, "everyone": 6, "expr0": 5}]


def test_all_fields(acme: Acme) -> None:
    [row] = acme.org.query("SELECT FIELDS(ALL) FROM Contact LIMIT 1")
    assert row == acme.org.get("Contact", acme.contact)
    [row] = acme.org.query("SELECT FIELDS(CUSTOM) FROM Contact LIMIT 1")
    assert set(row) == {"attributes", "Customer_Number__c", "Level__c", "Seen__c", "Day__c", "Vip__c"}
    assert "Vip__c" not in acme.org.query("SELECT FIELDS(STANDARD) FROM Contact")[0]


def test_what_is_in_the_recycle_bin_only_query_all_sees(acme: Acme) -> None:
    acme.org.delete("Contact", acme.contact, acme.ada)
    statement = "SELECT Id FROM Contact WHERE LastName = 'Client'"
    assert acme.org.query(statement) == []
    assert len(acme.org.query(statement, with_deleted=True)) == 1


APPEND = (
    "be sure to append the '__{}' after the {}. Please reference your WSDL or the describe call for the appropriate"
    " names."
)
NO_FOO = "No such column 'Foo' on entity 'Contact'. If you are attempting to use a custom field, " + APPEND.format(
    "c", "custom field name"
)
OPERATOR = "INVALID_QUERY_FILTER_OPERATOR"


def marked(line: str, column: int, message: str, row: int = 1) -> str:
    return f"\n{line}\n{' ' * (column - 1)}^\nERROR at Row:{row}:Column:{column}\n{message}"


REFUSALS = {
    "SELECT Id, Foo FROM Contact": ("INVALID_FIELD", marked("SELECT Id, Foo FROM Contact", 12, NO_FOO)),
    "SELECT Id FROM Contact WHERE Foo=1": ("INVALID_FIELD", marked("SELECT Id FROM Contact WHERE Foo=1", 30, NO_FOO)),
    "SELECT Id FROM Foo": (
        "INVALID_TYPE",
        marked(
            "SELECT Id FROM Foo",
            16,
            "sObject type 'Foo' is not supported. If you are attempting to use a custom object, "
            + APPEND.format("c", "entity name"),
        ),
    ),
    "SELECT Foo.Id FROM Contact": (
        "INVALID_FIELD",
        marked(
            "SELECT Foo.Id FROM Contact",
            8,
            "Didn't understand relationship 'Foo' in field path. If you are attempting to use a custom relationship, "
            + APPEND.format("r", "custom relationship name"),
        ),
    ),
    "SELECT Id, FROM Contact": (
        "MALFORMED_QUERY",
        marked("SELECT Id, FROM Contact", 12, "unexpected token: 'FROM'"),
    ),
    "SELECT Id FROM Contact WHERE": (
        "MALFORMED_QUERY",
        marked("SELECT Id FROM Contact WHERE", 29, "unexpected token: '<EOF>'"),
    ),
    "SELECT Id FROM Case WHERE a=1 AND b=1 OR c=1": (
        "MALFORMED_QUERY",
        marked("SELECT Id FROM Case WHERE a=1 AND b=1 OR c=1", 39, "unexpected token: 'OR'"),
    ),
    "SELECT Id FROM Case LIMIT 1.5": (
        "MALFORMED_QUERY",
        marked("SELECT Id FROM Case LIMIT 1.5", 27, "unexpected token: '1.5'"),
    ),
    "SELECT Id FROM Case WHERE Subject = hot": (
        "MALFORMED_QUERY",
        marked("SELECT Id FROM Case WHERE Subject = hot", 37, "unexpected token: 'hot'"),
    ),
    "SELECT Id, ID FROM Case": (
        "INVALID_FIELD",
        marked("SELECT Id, ID FROM Case", 12, "duplicate field selected: ID"),
    ),
    "SELECT FIELDS(ALL) FROM Case": (
        "MALFORMED_QUERY",
        marked("SELECT FIELDS(ALL) FROM Case", 8, "The SOQL FIELDS function must have a LIMIT of at most 200"),
    ),
    "SELECT Id FROM Case ORDER BY Description": (
        "MALFORMED_QUERY",
        marked("SELECT Id FROM Case ORDER BY Description", 30, "field 'Description' can not be sorted in a query call"),
    ),
    "SELECT Id FROM Case WHERE Description='x'": (
        "INVALID_FIELD",
        marked(
            "SELECT Id FROM Case WHERE Description='x'",
            27,
            "field 'Description' can not be filtered in a query call",
        ),
    ),
    'SELECT Id FROM Case WHERE Subject = "x"': (
        "MALFORMED_QUERY",
        "line 1:36 no viable alternative at character '\"'",
    ),
    "SELECT Id FROM Case WHERE Subject = 'x": ("MALFORMED_QUERY", "line 1:36 no viable alternative at character '''"),
    "SELECT Id FROM Case WHERE Subject = 'a\\q'": (
        "MALFORMED_QUERY",
        "Invalid string literal 'a\\q'. Illegal character sequence '\\q' in string literal.",
    ),
    "SELECT Id FROM Case WHERE IsClosed = 'true'": (
        "INVALID_FIELD",
        "value of filter criterion for field 'IsClosed' must be of type boolean and should not be enclosed in quotes",
    ),
    "SELECT Id FROM Case WHERE Subject = 5": (
        "INVALID_FIELD",
        "value of filter criterion for field 'Subject' must be of type string and should be enclosed in quotes",
    ),
    "SELECT Id FROM Case WHERE CreatedDate > '2026-11-24'": (
        "INVALID_FIELD",
        "value of filter criterion for field 'CreatedDate' must be of type dateTime and should not be enclosed in"
        " quotes",
    ),
    "SELECT Id FROM Case WHERE ContactId = 'carl'": (OPERATOR, "invalid ID field: carl"),
    "SELECT Id FROM Case WHERE ContactId LIKE '003%'": (OPERATOR, "invalid operator on reference field"),
    "SELECT Id FROM Case WHERE CreatedDate = 2026-13-41T00:00:00Z": (
        "MALFORMED_QUERY",
        "invalid date: 2026-13-41T00:00:00Z",
    ),
    "SELECT Id FROM Case LIMIT 1 OFFSET 2001": (
        "NUMBER_OUTSIDE_VALID_RANGE",
        "Maximum SOQL offset allowed is 2000",
    ),
    "SELECT Id FROM Case WHERE Subject = 'x' " + " " * 100_000: (
        "MALFORMED_QUERY",
        "SOQL statements cannot be longer than 100000 characters.",
    ),
}


@pytest.mark.parametrize(("statement", "answer"), REFUSALS.items(), ids=[text[:60] for text in REFUSALS])
def test_a_statement_is_refused(acme: Acme, statement: str, answer: tuple[str, str]) -> None:
    error = refusal(acme.org.query, statement)
    assert (error.status, error.body()) == (400, [{"message": answer[1], "errorCode": answer[0]}])


@pytest.mark.parametrize(
    "statement",
    [
        "",
        "SELECT",
        "SELECT FROM Case",
        "DELETE FROM Case",
        "SELECT Id FROM",
        "SELECT Id FROM Case WHERE Subject",
        "SELECT Id FROM Case WHERE Subject IN 'x'",
        "SELECT Id FROM Case WHERE Subject IN ()",
        "SELECT Id FROM Case WHERE Subject NOT LIKE 'x'",
        "SELECT Id FROM Case WHERE (Subject = 'x'",
        "SELECT Id FROM Case WHERE Subject = 'x')",
        "SELECT Id FROM Case WHERE Subject = 'x' AND",
        "SELECT Id FROM Case WHERE Subject = 'a' 'b'",
        "SELECT Id FROM Case ORDER BY",
        "SELECT Id FROM Case ORDER Subject",
        "SELECT Id FROM Case ORDER BY Subject NULLS",
        "SELECT Id FROM Case LIMIT -1",
        f"SELECT Id FROM Case LIMIT {'9' * 5000}",
        "SELECT Id FROM Case GROUP BY Subject",
        "SELECT Id FROM Case; SELECT Id FROM User",
        "SELECT FIELDS(SOME) FROM Case LIMIT 1",
        "SELECT COUNT(), Id FROM Case",
        "SELECT Subject, COUNT(Id) FROM Case",
        "SELECT Id FROM Case WHERE Subject = 'x' OR Subject = 'y' AND Subject = 'z'",
        "SELECT Id FROM Case WHERE " + "(" * 5000,
        "SELECT Id FROM Case WHERE " + "NOT " * 5000 + "Subject = 'x'",
    ],
)
def test_what_is_no_statement(acme: Acme, statement: str) -> None:
    error = refusal(acme.org.query, statement)
    assert error.body()[0]["errorCode"] == "MALFORMED_QUERY"


def test_a_long_statement_shows_the_part_around_the_mistake(acme: Acme) -> None:
    statement = "SELECT Id\nFROM Contact\nWHERE " + "LastName = 'x' AND " * 5 + "Foo = 1 AND " + "LastName = 'y'"
    error = refusal(acme.org.query, statement)
    _, excerpt, caret, place, _ = error.body()[0]["message"].split("\n", 4)
    assert excerpt[len(caret) - 1 :].startswith("Foo = 1")
    assert len(excerpt) <= 75
    assert place == "ERROR at Row:3:Column:102"


def quote(text: str) -> str:
    """Write a text as a literal, with all the escapes that there are."""
    for character, escape in {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}.items():
        text = text.replace(character, escape)
    return f"'{text}'"


@given(st.text())
def test_every_text_can_be_quoted(text: str) -> None:
    condition = soql_parser.parse_condition(f"Subject = {quote(text)}")
    assert isinstance(condition, soql_parser.Compare)
    assert condition.values[0].value == text


@given(st.lists(st.text(max_size=20), min_size=1, max_size=5))
def test_a_quoted_text_is_one_value_of_a_list_whatever_it_holds(texts: list[str]) -> None:
    condition = soql_parser.parse_condition(f"Subject IN ({', '.join(map(quote, texts))}) AND IsClosed = false")
    assert isinstance(condition, soql_parser.Every)
    first = condition.parts[0]
    assert isinstance(first, soql_parser.Compare)
    assert [literal.value for literal in first.values] == texts


KEYWORDS = ["SELECT", "FROM", "WHERE", "ORDER BY", "LIMIT", "AND", "OR", "NOT", "IN", "LIKE", "null", "true", "TODAY"]
WORDS = [*KEYWORDS, "Id", "Name", "Contact", "(", ")", ",", "=", "!=", "'a'", "5", "%"]


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=20).map(" ".join)))
def test_any_text_is_a_statement_or_is_refused(text: str) -> None:
    try:
        answer = soql_parser.parse(text).sobject
    except ApiError as error:
        answer = error.problems[0].code
    assert answer in ("MALFORMED_QUERY", *text.split())
