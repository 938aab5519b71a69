"""What a field takes for a value, by the type that Salesforce describes."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfconnector.coercion import any_value, coercion, cut_text, key_text, utf16_length
from sfconnector.salesforce.describe import Described

TEXTS = ("string", "textarea", "encryptedstring", "combobox")
WORDS = ("picklist", "multipicklist", "email", "phone", "url", "reference", "id")
OTHERS = ("boolean", "int", "double", "currency", "percent", "date", "datetime", "time")


def taken(kind, value):
    field = Described({"fields": [{"name": "F", "type": kind}]}).field("F")
    return coercion(field)(value)


def same(value, expected):
    return type(value) is type(expected) and value == expected and repr(value) == repr(expected)


@pytest.mark.parametrize("kind", [*TEXTS, *WORDS, "some type of tomorrow"])
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Pümpe 🔥", "Pümpe 🔥"),
        ("100 % 'of' \\ \"it\"", "100 % 'of' \\ \"it\""),
        ("null", "null"),
        (7, "7"),
        (Decimal("1.50"), "1.50"),
        (1.5, "1.5"),
        (True, "true"),
        (date(2026, 11, 24), "2026-11-24"),
        (datetime(2026, 11, 24, 2, 3, tzinfo=UTC), "2026-11-24T02:03:00+00:00"),
        (b"\xff\x00", "/wA="),
    ],
)
def test_a_text_field_takes_the_text_of_any_scalar(kind, value, text):
    assert taken(kind, value) == text


@pytest.mark.parametrize("kind", TEXTS)
def test_free_text_stays_as_it_is(kind):
    assert taken(kind, " a\n b ") == " a\n b "
    assert taken(kind, "") == ""


@pytest.mark.parametrize("kind", WORDS)
def test_other_text_loses_the_blanks_around_it(kind):
    assert taken(kind, " High\n") == "High"


@pytest.mark.parametrize("kind", [*WORDS, *OTHERS])
@pytest.mark.parametrize("value", ["", "  ", "\n"])
def test_a_blank_says_nothing_where_no_free_text_stands(kind, value):
    assert taken(kind, value) is None


@pytest.mark.parametrize("kind", [*TEXTS, *WORDS, *OTHERS])
@pytest.mark.parametrize("value", [{"a": 1}, {}, [["a"]], [{"a": 1}]])
def test_a_list_or_an_object_is_refused(kind, value):
    with pytest.raises(ValueError, match=r"is not|is neither"):
        taken(kind, value)


@pytest.mark.parametrize("kind", [*TEXTS, *WORDS])
@pytest.mark.parametrize("value", ["a\0b", "\ud800", "x\udfff"])
def test_what_cannot_be_sent_is_refused(kind, value):
    with pytest.raises(ValueError, match="NUL character or half a character"):
        taken(kind, value)


def test_several_choices_have_semicolons_between_them():
    assert taken("multipicklist", ["Red ", "Green", 7]) == "Red;Green;7"
    assert taken("multipicklist", "Red;Green") == "Red;Green"


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("boolean", True, True),
        ("boolean", "true", True),
        ("boolean", "No", False),
        ("boolean", 1, True),
        ("int", 7, 7),
        ("int", "7", 7),
        ("int", Decimal("7.0"), 7),
        ("int", 10**30, 10**30),
        ("double", 7, Decimal(7)),
        ("double", "1.10", Decimal("1.10")),
        ("double", 0.1, Decimal("0.1")),
        ("currency", Decimal("12345678901234567890.12"), Decimal("12345678901234567890.12")),
        ("percent", "5", Decimal(5)),
        ("date", "2026-11-24", "2026-11-24"),
        ("date", "2026-11-24T23:00:00Z", "2026-11-24"),
        ("date", date(2026, 11, 24), "2026-11-24"),
        ("datetime", "2026-11-24T01:02:03.456789+02:00", "2026-11-23T23:02:03.456Z"),
        ("datetime", "2026-11-24 01:02:03", "2026-11-24T01:02:03.000Z"),
        ("datetime", "2026-11-24", "2026-11-24T00:00:00.000Z"),
        ("datetime", datetime(2026, 11, 24, 1, tzinfo=timezone(timedelta(hours=-5))), "2026-11-24T06:00:00.000Z"),
        ("time", "01:02:03", "01:02:03.000Z"),
        ("time", time(1, 2, 3, 4000), "01:02:03.004Z"),
    ],
)
def test_another_field_takes_what_can_be_read_as_its_type(kind, value, expected):
    assert same(taken(kind, value), expected)


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("boolean", "perhaps", "neither true nor false"),
        ("boolean", 5, "neither true nor false"),
        ("int", "seven", "is not a number"),
        ("int", "7.5", "is not a whole number"),
        ("int", True, "is not a number"),
        ("double", "1,5", "is not a number"),
        ("double", float("nan"), "is not a number"),
        ("double", "9" * 5000, "more than 4300 digits"),
        ("date", "24.11.2026", "is not a date"),
        ("date", 20261124, "is not text"),
        ("datetime", 1795487200, "types epoch_s and epoch_ms take those"),
        ("datetime", "tomorrow", "is not a timestamp"),
        ("datetime", "0001-01-01T00:00:00+02:00", "is not in a known year"),
        ("time", "late", "is not a time"),
    ],
)
def test_what_cannot_be_read_as_its_type_is_refused(kind, value, text):
    with pytest.raises(ValueError, match=text):
        taken(kind, value)


@pytest.mark.parametrize("value", [True, 7, Decimal("1.50"), 1.5, "text"])
def test_a_field_that_nobody_described_takes_what_json_can_say(value):
    assert same(coercion(None)(value), value)


def test_a_number_that_json_cannot_say_is_refused():
    with pytest.raises(ValueError, match="is not a number"):
        any_value(float("inf"))


# -- lengths


@given(st.text(min_size=1, max_size=300), st.integers(2, 255))
def test_a_cut_text_fits_and_shows_that_it_was_cut(text, length):
    cut = cut_text(text, length)
    assert utf16_length(cut) <= length
    assert cut.endswith("…")
    assert text.startswith(cut[:-1])
    if utf16_length(text) > length:
        assert utf16_length(cut) >= length - 1


def test_a_character_beyond_the_first_65536_counts_as_two():
    assert utf16_length("a🔥é") == 4
    assert cut_text("🔥" * 10, 10) == "🔥" * 4 + "…"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("m-1", "m-1"),
        (" m-1\n", "m-1"),
        (7, "7"),
        (Decimal("7.0"), "7.0"),
        ("", ""),
        ("  ", ""),
        ("🔥" * 127, "🔥" * 127),
    ],
)
def test_a_key_is_text(value, text):
    assert key_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1], "not a list"),
        ({}, "not an object"),
        (b"x", "not binary"),
        ("a\0", "NUL character"),
        ("\ud800", "half a character"),
        ("x" * 256, "256 characters, and the field takes 255"),
        ("🔥" * 128, "256 characters, and the field takes 255"),
    ],
)
def test_a_key_is_refused_rather_than_changed(value, text):
    with pytest.raises(ValueError, match=text):
        key_text(value)
