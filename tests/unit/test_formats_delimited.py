"""Delimited bodies: strict about quotes and the number of fields."""

from datetime import date
from decimal import Decimal

import pytest

from connectorlib.errors import Failed, Kind
from connectorlib.formats import compile_format
from connectorlib.shared_settings import Limits

LIMITS = Limits(body_bytes=200_000, records=100, depth=8)


def form(**settings):
    settings = {"delimiter": "|", "columns": ["a", "b", "c"], **settings}
    return compile_format({"type": "delimited", **settings}, LIMITS)


def decode(body, **settings):
    records = form(**settings).decode(body if isinstance(body, bytes) else body.encode())
    return [list(record.values()) for record in records]


def refusal(body, **settings):
    with pytest.raises(Failed) as caught:
        decode(body, **settings)
    failure = caught.value.failure
    assert failure.kind is Kind.REJECT
    assert len(failure.text) <= 200
    assert failure.text.isprintable()
    return failure


@pytest.mark.parametrize(
    ("body", "settings", "records"),
    [
        ("1|2|3", {}, [["1", "2", "3"]]),
        ("1|2|3\n", {}, [["1", "2", "3"]]),
        ("1|2|3\r\n4|5|6\r7|8|9\n", {}, [["1", "2", "3"], ["4", "5", "6"], ["7", "8", "9"]]),
        ('1||""', {}, [["1", None, ""]]),
        ("||", {}, [[None, None, None]]),
        ('"a|b"|"c""d"|"e\r\nf"\n1|2|3', {}, [["a|b", 'c"d', "e\r\nf"], ["1", "2", "3"]]),
        ('"a"|"b"|"c"\n', {}, [["a", "b", "c"]]),
        ('1|"2"|', {}, [["1", "2", None]]),
        ('1|"2"|\n"3"||\n', {}, [["1", "2", None], ["3", None, None]]),
        ("1|2|\\N", {"null": "\\N"}, [["1", "2", None]]),
        ('|"\\N"|\\N', {"null": "\\N"}, [["", "\\N", None]]),
        (' 1 | "2" |  ', {"trim": True}, [["1", "2", None]]),
        (" 1 |' 2 '|3", {"trim": True, "quote": "'"}, [["1", " 2 ", "3"]]),
        (" 1 | 2 | ", {}, [[" 1 ", " 2 ", " "]]),
        ('5" pipe|"x|3', {"quote": None}, [['5" pipe', '"x', "3"]]),
        ("1|2|3|\n4|5||\n", {"trailing_delimiter": True}, [["1", "2", "3"], ["4", "5", None]]),
        ('1|2|"x"|', {"trailing_delimiter": True}, [["1", "2", "x"]]),
        ("1||2||3", {"delimiter": "||"}, [["1", "2", "3"]]),
        ('1||"2||x"||3', {"delimiter": "||"}, [["1", "2||x", "3"]]),
        ('1|||"2"||3', {"delimiter": "||", "quote": None}, [["1", '|"2"', "3"]]),
        (
            "1\x1f2\x1f3\x1e4\x1f5\x1f6\x1e",
            {"delimiter": "\x1f", "record_separator": "\x1e"},
            [list("123"), list("456")],
        ),
        ("1\x002\x003", {"delimiter": "\x00"}, [["1", "2", "3"]]),
        ("1,2,3;4,5\n,6", {"delimiter": ",", "record_separator": ";"}, [["1", "2", "3"], ["4", "5\n", "6"]]),
        ('1,2,"x;y";4,5,6', {"delimiter": ",", "record_separator": ";"}, [["1", "2", "x;y"], ["4", "5", "6"]]),
        ("1~~2~~3--4~~5~~6--", {"delimiter": "~~", "record_separator": "--"}, [list("123"), list("456")]),
        ('1\t"2"\t3', {"delimiter": "\t", "trim": True}, [["1", "2", "3"]]),
        ('\t"2"\t', {"delimiter": "\t", "trim": True}, [[None, "2", None]]),
        ("\ufeff1|2|3", {}, [["1", "2", "3"]]),
        ('\ufeff"1"|2|3', {}, [["1", "2", "3"]]),
        ("é|2|3".encode("latin-1"), {"encoding": "latin-1"}, [["é", "2", "3"]]),
        ("é|2|3\n".encode("utf-16"), {"encoding": "utf-16"}, [["é", "2", "3"]]),
        ("\n", {"columns": ["a"]}, [[None]]),
        ("x\n\ny", {"columns": ["a"]}, [["x"], [None], ["y"]]),
        ('""', {"columns": ["a"]}, [[""]]),
        ("1^2^3", {"delimiter": "^"}, [["1", "2", "3"]]),
        ('1]"-"]3', {"delimiter": "]"}, [["1", "-", "3"]]),
    ],
)
def test_a_body_is_split_into_fields(body, settings, records):
    assert decode(body, **settings) == records


def test_the_header_names_the_fields():
    body = b"c|a|b\n3|1|2\n"
    assert form(header=True).decode(body) == [{"c": "3", "a": "1", "b": "2"}]
    assert form(header=True, columns=None).decode(b"x|y\n1|2") == [{"x": "1", "y": "2"}]
    assert form(header=True).decode(b"a|b|c\n") == []
    assert form(header=True, columns=None, trim=True).decode(b' a |" b"\n1|2') == [{"a": "1", " b": "2"}]
    assert form(header=True, columns=None, trailing_delimiter=True).decode(b"x|y|\n1|2|") == [{"x": "1", "y": "2"}]


@pytest.mark.parametrize(
    ("body", "settings", "text"),
    [
        ("1|2", {}, "record 1: 3 fields expected, 2 found"),
        ("1|2|3\n1|2|3|4\n", {}, "record 2: 3 fields expected, 4 found"),
        ("1|2|3\n\n", {}, "record 2: 3 fields expected, 1 found (an empty line)"),
        ("1|2|3|", {}, "record 1: 3 fields expected, 4 found"),
        ("1|2|3", {"trailing_delimiter": True}, "3 fields and a delimiter behind them expected, 3 fields found"),
        ("1|2|", {"trailing_delimiter": True}, "record 1: 3 fields expected, 2 found"),
        ('1|2|3|""', {"trailing_delimiter": True}, "text after the last delimiter"),
        ("", {}, "the body is empty"),
        ("\ufeff", {}, "the body is empty"),
        ('"abc\ndef', {"columns": ["a"]}, "record 1, field 1 (character 1): a quote"),
        ('1|"2|3', {}, "record 1, field 2 (character 3): a quote that is not closed"),
        ('1|2|3\n1|x"y"|3', {}, "record 2, field 2"),
        ('1|"2"x|3', {}, "record 1, field 2"),
        ('1| "2"|3', {}, "record 1, field 2"),
        ('"a"b"|2|3', {}, "record 1, field 1"),
        ("a\x00|2|3", {}, "column 'a': a NUL character"),
        (b"\xff|2|3", {}, "can't decode byte 0xff"),
        ("1|2|3".encode("utf-16"), {}, "can't decode byte 0xff"),
        ("\ud800|2|3".encode("utf-16-le", "surrogatepass"), {"encoding": "utf-16-le"}, "can't decode"),
        (b"+2AA-|2|3", {"encoding": "utf-7"}, "surrogates not allowed"),
        ("é|2|3", {"encoding": "ascii"}, "can't decode byte"),
        ("a|b\n1|2|3", {"header": True}, "the header names 'a', 'b', expected are 'a', 'b', 'c'"),
        ("a|b|x\n1|2|3", {"header": True}, "the header names 'a', 'b', 'x'"),
        ("a|a|b\n1|2|3", {"header": True, "columns": None}, "the header names 'a' twice"),
        ("a||b\n1|2|3", {"header": True, "columns": None}, "the header names '' twice or not at all"),
    ],
)
def test_what_is_not_laid_out_so_is_not_decodable(body, settings, text):
    failure = refusal(body, **settings)
    assert failure.code == "not-decodable"
    assert text in failure.text


def test_what_is_too_large_is_refused_as_such():
    assert refusal("1|2|3\n" * 101).code == "too-large"
    assert refusal("x" * 200_001).code == "too-large"


def test_many_quotes_cost_linear_time_and_end_in_a_refusal():
    for body in ('"' * 150_001, '""|' * 60_000, '"' + '""' * 80_000, '"a' * 80_000):
        assert refusal(body).code in {"not-decodable", "too-large"}


@pytest.mark.parametrize(
    ("row", "settings", "text"),
    [
        ({"a": 1, "b": None, "c": ""}, {}, '1||""\n'),
        ({"a": Decimal("1.10"), "b": True, "c": date(2024, 5, 1)}, {}, "1.10|true|2024-05-01\n"),
        ({"a": "x|y", "b": 'q"', "c": "l\n"}, {}, '"x|y"|"q"""|"l\n"\n'),
        ({"a": None, "b": "\\N", "c": ""}, {"null": "\\N"}, '\\N|"\\N"|\n'),
        ({"a": " x", "b": 1, "c": 2}, {"trim": True}, '" x"|1|2\n'),
        ({"a": 1, "b": 2, "c": 3}, {"trailing_delimiter": True}, "1|2|3|\n"),
        ({"a": 1, "b": 2, "c": 3}, {"header": True}, "a|b|c\n1|2|3\n"),
        ({"a": 1, "b": 2, "c": 3}, {"record_separator": "\r\n"}, "1|2|3\r\n"),
        ({"a": "x|", "b": 2, "c": 3}, {"delimiter": "||"}, '"x|"||2||3\n'),
        ({"a": "\ufeffx", "b": 2, "c": 3}, {}, '"\ufeffx"|2|3\n'),
        ({"A": 1, "B": 2, "C": 3, "id": 4}, {}, "1|2|3\n"),
        ({"x y": 1, "z": 2}, {"header": True, "columns": None}, "x y|z\n1|2\n"),
    ],
)
def test_a_row_is_written_as_a_line(row, settings, text):
    assert form(**settings).encode([row]).decode() == text


@pytest.mark.parametrize(
    ("row", "settings", "text"),
    [
        ({"a": "x|y", "b": 2, "c": 3}, {"quote": None}, "column 'a': 'x|y' would not read back without quotes"),
        ({"a": 1, "b": "x\ny", "c": 3}, {"quote": None}, "column 'b'"),
        ({"a": 1, "b": "", "c": 3}, {"quote": None}, "column 'b': '' would not read back"),
        ({"a": 1, "b": "-", "c": 3}, {"quote": None, "null": "-"}, "column 'b'"),
        ({"a": 1, "b": " x", "c": 3}, {"quote": None, "trim": True}, "column 'b'"),
        ({"a": "x|", "b": 2, "c": 3}, {"quote": None, "delimiter": "||"}, "a part of the delimiter"),
        ({"a": "\ufeffx", "b": 2, "c": 3}, {"quote": None}, "column 'a'"),
        ({"a": "é😀", "b": 2, "c": 3}, {"encoding": "latin-1"}, "column 'a': a character that iso8859-1 does not have"),
        ({"a": "¥", "b": 2, "c": 3}, {"encoding": "shift_jis"}, "column 'a'"),
        ({"a": "\ud800", "b": 2, "c": 3}, {}, "column 'a'"),
        ({"a": "x\0", "b": 2, "c": 3}, {}, "column 'a': a NUL character"),
        ({"a": 1, "b": 2}, {}, "the row has no column 'c'; here are 'a', 'b'"),
        ({"a": 1, "b": [1], "c": 3}, {}, "column 'b': a list is not one value"),
        ({"a": float("inf"), "b": 2, "c": 3}, {}, "column 'a': inf is not a number"),
        ({"a": "x\0y", "b": 2, "c": 3}, {"delimiter": "\0"}, "column 'a': a NUL character"),
    ],
)
def test_what_would_not_read_back_is_not_encodable_and_names_the_column(row, settings, text):
    with pytest.raises(Failed) as caught:
        form(**settings).encode([row])
    assert caught.value.failure.code == "not-encodable"
    assert text in caught.value.failure.text


def test_rows_with_other_columns_than_the_first_are_not_encodable():
    with pytest.raises(Failed, match="a row has 'x', 'y', 'z'"):
        form(header=True, columns=None).encode([{"x": 1, "y": 2}, {"x": 1, "y": 2, "z": 3}])
    with pytest.raises(Failed, match="no column 'y'"):
        form(header=True, columns=None).encode([{"x": 1, "y": 2}, {"x": 1, "z": 3}])


def test_no_rows_need_a_header_to_be_said():
    assert form(header=True).encode([]) == b"a|b|c\n"
    with pytest.raises(Failed, match="no records"):
        form().encode([])


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"columns": None}, "columns must name the fields"),
        ({"columns": []}, "columns must name the fields"),
        ({"columns": ["a", "a"]}, "different names"),
        ({"columns": ["a", ""]}, "none of them empty"),
        ({"delimiter": ""}, "delimiter must be one or more characters"),
        ({"delimiter": '"'}, "delimiter and quote share the character '\"'"),
        ({"delimiter": "\n"}, "delimiter and record_separator share"),
        ({"record_separator": "|\n"}, "delimiter and record_separator share the character '|'"),
        ({"record_separator": '"'}, "record_separator and quote share"),
        ({"quote": "''"}, "quote must be one character"),
        ({"null": "a|b"}, "null must not hold"),
        ({"null": 0}, "null must be text"),
        ({"null": " ", "trim": True}, "white space"),
        ({"encoding": "utf-9"}, "unknown encoding 'utf-9'"),
        ({"encoding": "base64"}, "unknown encoding 'base64'"),
        ({"encoding": 8}, "unknown encoding 8"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, text):
    with pytest.raises(ValueError, match=r".") as caught:
        form(**settings)
    assert text in str(caught.value)


def test_the_content_type_says_the_encoding():
    assert form().content_type == "text/plain; charset=utf-8"
    assert form(delimiter=",", encoding="latin-1").content_type == "text/csv; charset=iso-8859-1"
    assert form(delimiter="\t", encoding="cp1252").content_type == "text/tab-separated-values; charset=windows-1252"
