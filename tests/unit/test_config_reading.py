"""JSON as people write it: positions, comments, and every slip told in words."""

from decimal import Decimal

import pytest

from connectorlib.config.json_source import read, show


def problems(text):
    return [str(problem) for problem in read(text).problems]


def test_fractions_stay_exact_and_whole_numbers_whole():
    assert read('{"a": 0.10, "b": 7, "c": -1e3}').data == {"a": Decimal("0.10"), "b": 7, "c": Decimal("-1e3")}
    assert isinstance(read("[7]").data[0], int)


def test_comment_keys_are_left_out_wherever_they_stand_and_may_repeat():
    text = '{"//": 1, "// why": {"a": 1}, "a": [{"//": "x", "//": "y", "b": 2}]}'
    assert read(text).data == {"a": [{"b": 2}]}
    assert problems(text) == []


def test_every_key_and_element_knows_its_line():
    lines = read('{\n"a": {\n"b": [\n1,\n2]}\n}').lines
    assert lines == {("a",): 2, ("a", "b"): 3, ("a", "b", 0): 4, ("a", "b", 1): 5}


SLIPS = [
    ('{"a": 1,}', {"a": 1}, "column 8: trailing comma before }"),
    ('{"a": [1, 2,]}', {"a": [1, 2]}, "column 12: trailing comma before ]"),
    ('{"a": 1,, "b": 2}', {"a": 1, "b": 2}, "column 9: extra comma"),
    ('{"a": 1 "b": 2}', {"a": 1, "b": 2}, "column 8: missing comma"),
    ("[1 2]", [1, 2], "column 3: missing comma"),
    ("{'a': 1}", {"a": 1}, "column 2: a string must be in double quotes, not single quotes"),
    ("{a: 1}", {"a": 1}, "column 2: a key must be in double quotes"),
    ('{"a" 1}', {"a": 1}, 'column 6: a colon is missing after "a"'),
    ('{"a" = 1}', {"a": 1}, 'column 6: between "a" and its value, write a colon, not ='),
    ('{"a": True}', {"a": True}, "column 7: in JSON True is written true"),
    ('{"a": None}', {"a": None}, "column 7: in JSON None is written null"),
    ('{"a": word}', {"a": "word"}, "column 7: a string must be in double quotes"),
    (
        '{"a": 007}',
        {"a": "007"},
        "column 7: not a JSON number; if it is a string, put it in double quotes",
    ),
    ('{"a": NaN}', {"a": "NaN"}, "column 7: not a JSON number; if it is a string, put it in double quotes"),
    ('{"a": 1e400}', {"a": 0}, "column 7: this number is too large"),
    ('{"a": "c:\\dir"}', {"a": "c:\\dir"}, "column 10: write a backslash in a string twice: \\\\"),
    (
        '{"a": "x\ty"}',
        {"a": "x\ty"},
        "column 9: write a control character (a tab?) in a string as an escape: \\t",
    ),
    ('{"a": 1} // end', {"a": 1}, 'column 10: JSON has no comments; write a key that begins with "//" instead'),
    ('{"a": /* one */ 1}', {"a": 1}, 'column 7: JSON has no comments; write a key that begins with "//" instead'),
    (
        '{"a": 1}}',
        {"a": 1},
        "column 9: text after the end of the configuration; is a bracket closed too early?",
    ),
    (
        '{"a": "\\ud83d"}',
        {"a": "\ufffd"},
        "column 7: this string contains half of a surrogate pair (\\ud800 to \\udfff come in pairs)",
    ),
]


@pytest.mark.parametrize(("text", "data", "problem"), SLIPS)
def test_a_common_slip_is_told_and_read_as_meant(text, data, problem):
    assert read(text).data == data
    assert problems(text) == [f"line 1: {problem}"]


STOPS = [
    ("", "line 1: column 1: the file is empty; expected {"),
    ('{"a": 1', "line 1: column 8: the { of line 1 is never closed; expected }"),
    ('{"a": [1, 2}', "line 1: column 12: the [ of line 1 is closed by }; expected ]"),
    (
        '{\n"a": "x\n}',
        "line 2: column 6: the closing double quote is missing (a string ends on its line; write a line break",
    ),
    ('{"a": \'x}', "line 1: column 7: a string must be in double quotes, and the closing quote is missing"),
    ('{"a"}', 'line 1: column 5: "a" has no value; expected a colon and a value'),
    ('{"a":', "line 1: column 6: the file ends too early"),
    ('{"a": :}', "line 1: column 7: expected a value, not :"),
    ("{[]: 1}", "line 1: column 2: expected a key in double quotes"),
    ("[" * 300, "line 1: column 102: nested deeper than 100"),
]


@pytest.mark.parametrize(("text", "problem"), STOPS)
def test_what_cannot_be_read_any_further_says_where(text, problem):
    reading = read(text)
    assert not reading.readable
    assert str(reading.problems[-1]).startswith(problem)


def test_several_slips_are_told_together():
    assert [problem.line for problem in read('{\n\'a\': True,\n"b": 1\n"c": 2,\n}').problems] == [2, 2, 3, 4]


def test_a_repeated_key_names_both_lines_and_blames_nothing_inside():
    assert problems('{"a": {"x": 1},\n"b": 2,\n"a": {"x": 2}}') == [
        "line 3: a: duplicate key; the first is on line 1: keep one"
    ]


def test_a_password_that_lost_its_quotes_is_not_repeated():
    assert "hunter2" not in "".join(problems('{"password": hunter2}'))


def test_a_path_is_shown_as_people_write_it():
    assert show(("database", "write", 0, "values", "serial no")) == 'database.write[0].values."serial no"'
    assert show(()) == ""
