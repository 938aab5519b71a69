"""`type`: exact, or rejected."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectorlib.errors import Failed
from connectorlib.expressions import Scope, compile_expression, json_text, text_of

CET = timezone(timedelta(hours=1))


def convert(value, kind, **more):
    expression = compile_expression({"path": "v", "type": kind, **more})
    return expression.evaluate({"v": value}, Scope(None))


@pytest.mark.parametrize(
    ("kind", "value", "result"),
    [
        ("text", "a", "a"),
        ("text", True, "true"),
        ("text", 12, "12"),
        ("text", Decimal("1.10"), "1.10"),
        ("text", Decimal("0E-10"), "0.0000000000"),
        ("text", Decimal("1E+3"), "1000"),
        ("text", 0.1, "0.1"),
        ("text", b"caf\xc3\xa9", "café"),
        ("text", datetime(2024, 5, 1, 12, 0, 0, 5, UTC), "2024-05-01T12:00:00.000005+00:00"),
        ("integer", 2**63 + 1, 2**63 + 1),
        ("integer", " 12\n", 12),
        ("integer", "-12.0", -12),
        ("integer", "1e3", 1000),
        ("integer", Decimal("12.00"), 12),
        ("integer", "9" * 400, int("9" * 400)),
        ("integer", 3.0, 3),
        ("decimal", "0.10", Decimal("0.10")),
        (
            "decimal",
            "12345678901234567890.123456789012345678901",
            Decimal("12345678901234567890.123456789012345678901"),
        ),
        ("decimal", 0.1, Decimal("0.1")),
        ("decimal", 5, Decimal(5)),
        ("decimal", ".5", Decimal("0.5")),
        ("float", "0.1", 0.1),
        ("float", Decimal("2.5"), 2.5),
        ("float", 3, 3.0),
        ("float", "5e-324", 5e-324),
        ("boolean", True, True),
        ("boolean", "TRUE", True),
        ("boolean", " off ", False),
        ("boolean", 1, True),
        ("boolean", Decimal("0.0"), False),
        ("boolean", "n", False),
        ("date", "2024-02-29", date(2024, 2, 29)),
        ("date", "2024-02-29T23:59:59Z", date(2024, 2, 29)),
        ("date", datetime(2024, 2, 29, 1), date(2024, 2, 29)),
        ("time", "23:59:59.000001", time(23, 59, 59, 1)),
        ("time", "2024-02-29T01:02:03+01:00", time(1, 2, 3, tzinfo=CET)),
        ("timestamp", "2024-05-01T12:00:00.123456Z", datetime(2024, 5, 1, 12, 0, 0, 123456, UTC)),
        ("timestamp", "2024-05-01 12:00:00", datetime(2024, 5, 1, 12)),
        ("timestamp", "2024-05-01T12:00:00.1234567+01:00", datetime(2024, 5, 1, 12, 0, 0, 123456, CET)),
        ("timestamp", date(2024, 5, 1), datetime(2024, 5, 1)),
        ("epoch_s", 1714564800, datetime(2024, 5, 1, 12, tzinfo=UTC)),
        ("epoch_s", "1714564800.000001", datetime(2024, 5, 1, 12, 0, 0, 1, UTC)),
        ("epoch_s", Decimal("-0.5"), datetime(1969, 12, 31, 23, 59, 59, 500000, UTC)),
        ("epoch_ms", 1714564800001, datetime(2024, 5, 1, 12, 0, 0, 1000, UTC)),
        ("epoch_ms", 1714564800000.25, datetime(2024, 5, 1, 12, 0, 0, 250, UTC)),
        ("base64", "AP8=", b"\x00\xff"),
        ("base64", "AP\r\n 8=", b"\x00\xff"),
        ("base64", "", b""),
        ("base64", b"raw", b"raw"),
        ("hex", "00ff", b"\x00\xff"),
        ("hex", "0x00 FF", b"\x00\xff"),
        ("json", {"a": [Decimal("1.10"), None, True, 'q"']}, '{"a":[1.10,null,true,"q\\""]}'),
        ("json", "text", '"text"'),
    ],
)
def test_a_value_becomes_the_wanted_type(kind, value, result):
    converted = convert(value, kind)
    assert converted == result
    assert type(converted) is type(result)
    assert str(converted) == str(result)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", {"a": 1}),
        ("text", [1]),
        ("text", b"\xff"),
        ("text", float("nan")),
        ("integer", "12.5"),
        ("integer", Decimal("0.1")),
        ("integer", "1_000"),
        ("integer", "١٢"),
        ("integer", "12,5"),
        ("integer", ""),
        ("integer", True),
        ("integer", "9" * 5000),
        ("integer", "1e400"),
        ("integer", "1e99999999"),
        ("integer", [1]),
        ("integer", date(2024, 1, 1)),
        ("decimal", "NaN"),
        ("decimal", "Infinity"),
        ("decimal", float("inf")),
        ("decimal", Decimal("NaN")),
        ("decimal", "1e-400"),
        ("decimal", "1__0"),
        ("decimal", "12 345"),
        ("decimal", True),
        ("float", "1e309"),
        ("float", "nan"),
        ("float", Decimal("1" + "0" * 400)),
        ("boolean", 2),
        ("boolean", "maybe"),
        ("boolean", ""),
        ("boolean", [True]),
        ("date", "2023-02-29"),
        ("date", "01.02.2024"),
        ("date", 20240101),
        ("time", "25:00"),
        ("time", "noon"),
        ("timestamp", "yesterday"),
        ("timestamp", 1714564800),
        ("timestamp", "2024-05-01T12:00:60"),
        ("timestamp", ""),
        ("epoch_s", "soon"),
        ("epoch_s", 10**15),
        ("epoch_s", "1e300"),
        ("epoch_ms", True),
        ("base64", "AP8"),
        ("base64", "AP_8"),
        ("base64", 5),
        ("base64", "é"),
        ("hex", "0g"),
        ("hex", "0"),
        ("hex", 12),
        ("json", float("inf")),
    ],
)
def test_a_value_that_does_not_fit_is_rejected(kind, value):
    with pytest.raises(Failed) as caught:
        convert(value, kind)
    assert caught.value.failure.code == "bad-value"
    assert caught.value.failure.text.startswith(f"type {kind}: ")


def test_a_number_as_timestamp_says_which_types_take_numbers():
    with pytest.raises(Failed, match="epoch_s and epoch_ms"):
        convert(1714564800, "timestamp")


@pytest.mark.parametrize(
    ("value", "more", "result"),
    [
        ("2024-07-01 12:00", {"zone": "Europe/Vienna"}, "2024-07-01T12:00:00+02:00"),
        ("2024-07-01T12:00:00Z", {"zone": "Europe/Vienna"}, "2024-07-01T14:00:00+02:00"),
        ("2024-07-01T12:00:00+02:00", {"zone": "UTC"}, "2024-07-01T10:00:00+00:00"),
        ("01.07.2024 12:30", {"format": "%d.%m.%Y %H:%M"}, "2024-07-01T12:30:00"),
        ("01.07.2024 12:30", {"format": "%d.%m.%Y %H:%M", "zone": "UTC"}, "2024-07-01T12:30:00+00:00"),
        ("20240701T123000.5+0100", {"format": "%Y%m%dT%H%M%S.%f%z"}, "2024-07-01T12:30:00.500000+01:00"),
    ],
)
def test_a_timestamp_takes_format_and_zone(value, more, result):
    assert convert(value, "timestamp", **more).isoformat() == result


def test_seconds_since_1970_can_be_told_in_a_zone():
    assert convert(0, "epoch_s", zone="Asia/Tokyo").isoformat() == "1970-01-01T09:00:00+09:00"


@pytest.mark.parametrize(
    ("value", "zone"),
    [
        ("2026-03-29T02:30:00", "Europe/Vienna"),
        ("2026-03-29T02:00:00.000001", "Europe/Vienna"),
        ("2026-03-08 02:59:59", "America/New_York"),
        ("2026-10-04T02:15:00", "Australia/Lord_Howe"),
        ("2011-12-30T12:00:00", "Pacific/Apia"),  # a whole day that there was not
    ],
)
def test_an_hour_that_the_clock_of_a_zone_skips_is_rejected(value, zone):
    with pytest.raises(Failed, match="does not exist"):
        convert(value, "timestamp", zone=zone)
    assert convert(f"{value}Z", "timestamp", zone=zone).utcoffset() is not None


def test_of_an_hour_that_comes_twice_the_first_is_meant():
    assert convert("2026-10-25T02:30:00", "timestamp", zone="Europe/Vienna").isoformat() == "2026-10-25T02:30:00+02:00"


def test_a_timestamp_outside_the_years_of_its_zone_is_rejected():
    with pytest.raises(Failed, match="not in a known year"):
        convert("9999-12-31T23:59:59Z", "timestamp", zone="Asia/Tokyo")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"\x00\xff", "AP8="),
        (date(2024, 1, 2), "2024-01-02"),
        (time(1, 2, 3), "01:02:03"),
        ([1, {"a": None}], '[1,{"a":null}]'),
        (Decimal("-0.0"), "-0.0"),
        (2**70, str(2**70)),
    ],
)
def test_a_value_has_one_text(value, text):
    assert text_of(value) == text


@pytest.mark.parametrize("value", [Decimal("Infinity"), Decimal("1E+9999"), Decimal("1E-9999"), object(), 1j])
def test_what_has_no_exact_text_is_refused(value):
    with pytest.raises(ValueError, match=r"."):
        text_of(value)
    with pytest.raises(ValueError, match=r"."):
        json_text([value])


@settings(max_examples=150)
@given(st.decimals(allow_nan=False, allow_infinity=False, places=None).filter(lambda d: -300 < d.adjusted() < 300))
def test_a_decimal_keeps_every_digit_through_its_text(number):
    assert convert(text_of(number), "decimal") == number


@settings(max_examples=150)
@given(st.datetimes(timezones=st.just(UTC)))
def test_a_timestamp_survives_its_text(moment):
    assert convert(text_of(moment), "timestamp") == moment


@settings(max_examples=150)
@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)))
def test_microseconds_since_1970_are_exact(moment):
    aware = moment.replace(tzinfo=UTC)
    micros = (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert convert(str(Decimal(micros).scaleb(-6)), "epoch_s") == aware
    assert convert(str(Decimal(micros).scaleb(-3)), "epoch_ms") == aware
