"""Paths, templates and the full form, over a record alone."""

from decimal import Decimal

import pytest

from connectorlib.errors import Failed
from connectorlib.expressions import (
    MISSING,
    Expression,
    Extra,
    Scope,
    compile_expression,
    compile_template,
    describe_missing,
    elements_of,
)

RECORD = {
    "id": 7,
    "device": {"name": "pump", "serial no": "A-1", "a.b": "dot", 'q"q': "quote", "7": "seven"},
    "readings": [{"value": Decimal("1.10")}, {"value": 2}],
    "one": {"value": 3},
    "tags": ["a", "b"],
    "text": "abc",
    "nothing": None,
    "@unit": "C",
    "#text": "21.5",
    "größe": "m",
    "on": True,
    "empty": [],
}


def evaluate(spec, record=RECORD, scope=None):
    return compile_expression(spec).evaluate(record, scope or Scope(None))


def code_of(spec, record=RECORD):
    with pytest.raises(Failed) as caught:
        evaluate(spec, record)
    return caught.value.failure.code


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("id", 7),
        ("device.name", "pump"),
        ('device."serial no"', "A-1"),
        ('device."a.b"', "dot"),
        ('device."q\\"q"', "quote"),
        ("device.7", "seven"),
        ("readings[0].value", Decimal("1.10")),
        ("readings[-1].value", 2),
        ("tags[1]", "b"),
        ("@unit", "C"),
        ("#text", "21.5"),
        ("größe", "m"),
        ("nothing", None),
        ("one[0].value", 3),
        ("one[-1].value", 3),
        ("text[0]", "abc"),
        ("text.#text", "abc"),
        ("nothing[0]", None),
        ("$.id", 7),
        ("$.device.name", "pump"),
        ("$.readings[1].value", 2),
        ('$."größe"', "m"),
        ("$", RECORD),
    ],
)
def test_a_path_leads_to_its_value(path, value):
    assert evaluate(path) == value


@pytest.mark.parametrize(
    "path",
    [
        "no",
        "device.no",
        "id.no",
        "text.no",
        "nothing.no",
        "tags.no",
        "tags[2]",
        "tags[-3]",
        "one[1]",
        "text[1]",
        "readings.value",
        "empty[0]",
        "tags.#text",
        "$.no",
        "$.id.no",
        "$.device[1]",
    ],
)
def test_a_path_that_leads_nowhere_is_missing_and_not_null(path):
    assert evaluate(path) is MISSING


def test_inside_for_each_a_name_is_the_elements_and_dollar_is_the_whole_record():
    scope = Scope(None, root={"id": 1, "items": [{"id": 2}]}, index=4)
    element = {"id": 2}
    assert [evaluate(path, element, scope) for path in ("id", "$.id", "$.items[0].id", "$index")] == [2, 1, 2, 4]


def test_a_record_that_is_one_value_is_reached_by_its_index():
    assert evaluate("[0]", 21.5) == 21.5
    assert evaluate("[1]", ["a", "b"]) == "b"
    assert evaluate("$", "a") == "a"


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("", "a path is missing at character 1 of ''"),
        ("a]b", "unexpected ']' at character 2 of 'a]b'"),
        ("a[b]", "a whole number and ']' must follow '[' at character 2 of 'a[b]'"),
        ("a[1", "must follow '[' at character 2"),
        ("a..b", "unexpected '.' at character 3 of 'a..b'"),
        (".a", "unexpected '.' at character 1"),
        ("a.", "a name is missing at the end of 'a.'"),
        ("serial no", "unexpected ' ' at character 7 of 'serial no'; put other names in double quotes"),
        ('a."x', "the quote at character 3 of 'a.\"x' is not closed"),
        ("$a", "unknown $a"),
        ("$mesage_id", "did you mean $message_id?"),
        ("$id", "unknown $id in '$id'"),
        ("$headers", "write $headers.NAME"),
        ("$headers[0]", "write $headers.NAME"),
        ("$body.x", "$body has no parts"),
        ("$now.x", "$now has no parts"),
        ("$index[0]", "$index has no parts"),
        ("$routing_key.x", "$routing_key[1] is the second word"),
        ("$result.reading", "must be $result.NAME.COLUMN"),
        ("{a", "the brace at character 1 of '{a' is not closed"),
        ("x {a|b", "the brace at character 3 of 'x {a|b' is not closed"),
        ("a}", "a single '}' at character 2 of 'a}'"),
        ("{}", "a path is missing at character 2"),
        ("{a b}", "unexpected ' ' at character 3"),
        ("{a|{b}}", "a brace inside the part at character 1"),
        (5, 'a constant is written {"value": 5}'),
        (True, 'a constant is written {"value": true}'),
        (None, 'a constant is written {"value": null}'),
        (["a"], "not a list"),
        ({}, "exactly one of path, template, value, first_of, jmespath is needed; here are none"),
        ({"path": "a", "value": 1}, "here are path, value"),
        ({"pth": "a"}, "unknown key 'pth'; did you mean 'path'?"),
        ({"path": 5}, "a path is text, not a number"),
        ({"template": 5}, "a template is text, not a number"),
        ({"path": "a", "map": "x"}, "map is an object, not text"),
        ({"path": "a", "type": "int"}, "unknown type 'int'"),
        ({"path": "a", "type": ["text"]}, "type is text, not a list"),
        ({"path": "a", "zone": "UTC"}, "format and zone need a type"),
        ({"path": "a", "type": "date", "zone": "UTC"}, "type date takes no zone"),
        ({"path": "a", "type": "integer", "format": "%d"}, "type integer takes no format"),
        ({"path": "a", "type": "timestamp", "format": "%Y-%Q"}, "bad directive"),
        ({"path": "a", "type": "timestamp", "format": "dd.mm"}, "no directive"),
        ({"path": "a", "type": "timestamp", "zone": "Mars/Base"}, "unknown zone 'Mars/Base'"),
        ({"path": "a", "type": "timestamp", "zone": "../../etc/passwd"}, "unknown zone"),
        ({"path": "a", "type": "integer", "default": "x"}, "default: 'x' is not a number"),
        ({"first_of": []}, "first_of is a list"),
        ({"first_of": ["a", "b b"]}, "first_of[1]: unexpected ' '"),
        ({"jmespath": "a[?"}, "jmespath: Invalid jmespath expression"),
        ({"jmespath": 5}, "jmespath is text, not a number"),
    ],
)
def test_a_bad_expression_says_what_is_wrong_and_where(spec, text):
    with pytest.raises(ValueError, match=r"(?s).") as caught:
        compile_expression(spec)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("Pump {device.name}: {alarm|no text}", "Pump pump: no text"),
        ("{nothing|none}", "none"),
        ("{no|}", ""),
        ("{{{id}}}", "{7}"),
        ("{on} {readings[0].value} {nothing|x}", "true 1.10 x"),
        ('{device."serial no"}/{$.id}', "A-1/7"),
        ('{device."a.b"|alt | bar}', "dot"),
        ("{tags}", '["a","b"]'),
        ("{$index}", "0"),
    ],
)
def test_a_template_is_filled(template, text):
    assert evaluate(template) == text


@pytest.mark.parametrize("template", ["a {no}", "a {nothing}", "{id}{no}{no|x}"])
def test_a_part_that_is_missing_or_null_makes_the_whole_template_missing(template):
    assert evaluate(template) is MISSING


def test_a_template_without_parts_is_its_text():
    assert compile_template("rows.all").evaluate(RECORD, Scope(None)) == "rows.all"
    assert compile_template("").evaluate(RECORD, Scope(None)) == ""


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        ({"path": "id"}, 7),
        ({"template": "no braces"}, "no braces"),
        ({"value": "id"}, "id"),
        ({"value": None}, None),
        ({"value": [1]}, [1]),
        ({"path": "id", "map": {"7": "seven"}}, "seven"),
        ({"path": "on", "map": {"true": 1, "false": 0}}, 1),
        ({"path": "readings[0].value", "map": {"1.10": "exact"}}, "exact"),
        ({"path": "text", "map": {"x": 1}, "default": "none"}, "none"),
        ({"path": "no", "map": {"x": 1}, "default": "none"}, "none"),
        ({"path": "nothing", "map": {"x": 1}}, None),
        ({"path": "no", "map": {"x": 1}}, MISSING),
        ({"path": "no", "default": None}, None),
        ({"path": "nothing", "default": 1}, 1),
        ({"path": "id", "default": 1}, 7),
        ({"path": "no", "default": "5", "type": "integer"}, 5),
        ({"path": "no", "default": [], "type": "json"}, "[]"),
        ({"path": "id", "map": {"7": "12"}, "type": "integer"}, 12),
        ({"path": "nothing", "type": "integer"}, None),
        ({"path": "no", "type": "integer"}, MISSING),
        ({"first_of": ["no", "nothing", "text"]}, "abc"),
        ({"first_of": ["no", "nothing"]}, None),
        ({"first_of": ["no", "{no}"]}, MISSING),
        ({"first_of": ["no", {"value": 0}]}, 0),
        ({"jmespath": "readings[?value > `1.5`].value | [0]"}, 2),
        ({"jmespath": "length(tags)"}, 2),
        ({"jmespath": "sum(readings[*].value)"}, 3.1),
        ({"jmespath": "no.such"}, MISSING),
        ({"jmespath": "no", "default": "d"}, "d"),
        ({"jmespath": "tags", "type": "json"}, '["a","b"]'),
    ],
)
def test_the_full_form_gives_its_value(spec, value):
    assert evaluate(spec) == value


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"path": "text", "map": {"x": 1, "y": 2}}, "not-in-map"),
        ({"path": "text", "type": "integer"}, "bad-value"),
        ({"jmespath": "sum(tags)"}, "bad-value"),
        ({"jmespath": "nothing.sort(@)"}, "bad-value"),
        ({"first_of": [{"path": "text", "type": "date"}, "id"]}, "bad-value"),
    ],
)
def test_what_cannot_be_given_is_rejected_with_its_code(spec, code):
    assert code_of(spec) == code


def test_an_integer_beyond_two_to_53_reaches_jmespath_exactly():
    assert evaluate({"jmespath": "n"}, {"n": 2**63 - 1}) == 2**63 - 1


def test_error_texts_stay_short_and_printable_whatever_the_message_holds():
    for value in ("x" * 100_000, "\ud800\x00\x1b[31m" * 500, {"a": "b" * 10_000}, Decimal("1." + "0" * 4000 + "1")):
        with pytest.raises(Failed) as caught:
            evaluate({"path": "v", "type": "integer"}, {"v": value})
        text = caught.value.failure.text
        assert len(text) <= 250
        assert text.isprintable()


def test_an_expression_names_its_paths_and_the_results_it_needs():
    expression = compile_expression({"first_of": ["a.b", "{c} {$result.reading.id|x}", "$result.other.ID"]})
    assert expression.paths == ("a.b", "c", "$result.reading.id", "$result.other.ID")
    assert expression.uses_results == {"reading", "other"}


def test_more_kinds_of_full_form_can_be_added():
    def build(spec):
        wanted = spec["lookup"]
        return Expression(lambda record, scope: wanted, "lookup")

    extra = {"lookup": Extra(build, frozenset({"where"}))}
    spec = {"lookup": "Contact", "where": {}, "map": {"Contact": 1}}
    assert compile_expression(spec, extra=extra).evaluate({}, Scope(None)) == 1
    nested = compile_expression({"first_of": ["a", {"lookup": "x"}]}, extra=extra)
    assert nested.evaluate({}, Scope(None)) == "x"
    with pytest.raises(ValueError, match="unknown key 'where'"):
        compile_expression({"path": "a", "where": {}}, extra=extra)
    with pytest.raises(ValueError, match="unknown key 'lookup'"):
        compile_expression({"lookup": "Contact"})


@pytest.mark.parametrize(
    ("spec", "record", "text"),
    [
        (
            "device.name",
            {"deviceName": 1, "at": 2, "value": 3},
            "device.name: no such field; here are deviceName, at, value",
        ),
        ("devicename", {"at": 1, "deviceName": 1}, "devicename: no such field; here are deviceName, at"),
        ("device.name", {"device": {"id": 1, "x y": 2}}, 'device.name: no such field; device has id, "x y"'),
        ("device.name", {"device": "x"}, "device.name: device is text"),
        ("device.name", {"device": None}, "device.name: device is null"),
        ("items[2].a", {"items": [1]}, "items[2].a: items has 1 elements"),
        ("a", {}, "a: no such field; here are no fields"),
        ("a", 5, "a: the record is a number"),
        ("{a} {b}", {"a": 1}, "b: no such field; here are a"),
        ("{a}", {"a": None}, "a: is null"),
        ("$message_id", {}, "$message_id: the message has none"),
        ("$result.x.id", {}, "$result.x.id: not returned"),
        ({"jmespath": "a.b"}, {}, "jmespath a.b: gave nothing"),
    ],
)
def test_what_is_missing_is_described_with_what_is_there(spec, record, text):
    assert describe_missing(compile_expression(spec), record) == text


def test_the_whole_record_is_described_when_a_dollar_path_leads_nowhere():
    scope = Scope(None, root={"key": 1})
    assert describe_missing(compile_expression("$.id"), {"id": 1}, scope) == "$.id: no such field; here are key"


def test_the_description_is_bounded_for_a_hostile_record():
    record = {f"{'n' * 5000}{number}\x00\ud800": number for number in range(5000)}
    text = describe_missing(compile_expression("nn"), record)
    assert len(text) < 700
    assert text.endswith(", …")
    assert text.isprintable()


@pytest.mark.parametrize(("value", "elements"), [([1, 2], [1, 2]), ({"a": 1}, [{"a": 1}]), ([], []), (None, [])])
def test_for_each_takes_a_single_element_for_a_list_of_one(value, elements):
    assert elements_of(value) == elements
