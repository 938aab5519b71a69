"""What plainly fits a schema fits it, and a good configuration plainly does."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from referencing import Registry

from connectorlib.config import json_source
from connectorlib.config.plain_fit import plainly_fits
from dbconnector import config as db
from sfconnector import config as sf
from tests.unit.configs import nonsense, spoilt
from tests.unit.test_config_db import GOOD as GOOD_DB
from tests.unit.test_config_sf import GOOD as GOOD_SF

CONFIGURATIONS = Path(__file__).parents[2] / "config"
SCHEMAS = {"dbconnector": db.schema(), "sfconnector": sf.schema()}


def fits(data, schema):
    return Draft202012Validator(schema, registry=Registry()).is_valid(data)


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        ("dbconnector", GOOD_DB),
        ("sfconnector", GOOD_SF),
        *(("dbconnector", json_source.read(file.read_text()).data) for file in CONFIGURATIONS.glob("weather.*.json")),
        ("dbconnector", json_source.read((CONFIGURATIONS / "db.config.example.json").read_text()).data),
        ("sfconnector", json_source.read((CONFIGURATIONS / "sfconnector.example.json").read_text()).data),
    ],
)
def test_a_good_configuration_plainly_fits(schema, data):
    assert fits(data, SCHEMAS[schema])
    assert plainly_fits(data, SCHEMAS[schema])


@given(
    st.one_of(
        st.tuples(st.just("dbconnector"), nonsense(GOOD_DB).map(lambda junk: spoilt(GOOD_DB, junk))),
        st.tuples(st.just("sfconnector"), nonsense(GOOD_SF).map(lambda junk: spoilt(GOOD_SF, junk))),
    )
)
def test_of_a_spoilt_configuration_it_says_the_same_as_jsonschema(spoilt_one):
    schema, spoilt_data = spoilt_one
    data = json.loads(json.dumps(spoilt_data), parse_float=Decimal)  # as from a file
    assert plainly_fits(data, SCHEMAS[schema]) == fits(data, SCHEMAS[schema])


TEXT, NUMBER = {"type": "string"}, {"type": "number"}
ANY_OF = {"anyOf": [{"properties": {"a": TEXT}, "required": ["a"]}, {"properties": {"b": NUMBER}, "required": ["b"]}]}


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "integer"}, [1, -1], [True, 1.5, "1", None]),
        ({"type": ["string", "null"]}, ["", None], [0, False, []]),
        (NUMBER, [1, Decimal("1.5")], [True, "1"]),
        ({"enum": ["a", "b"]}, ["a"], ["c", None, ["a"]]),
        ({"const": "a"}, ["a"], ["A", 1]),
        ({"minimum": 1, "maximum": 2}, [1, 2, Decimal("1.5"), "0"], [0, 3, Decimal("2.1")]),
        ({"exclusiveMinimum": 0}, [1, "0"], [0, -1]),
        ({"minLength": 1, "maxLength": 2}, ["a", "ab", 0], ["", "abc"]),
        ({"pattern": "b"}, ["abc", 0], ["ac", ""]),
        ({"minItems": 1, "maxItems": 2}, [[1], {}], [[], [1, 2, 3]]),
        ({"uniqueItems": True}, [["a", "b"], [], "aa"], [["a", "a"]]),
        ({"items": TEXT}, [["a"], [], 1], [["a", 1]]),
        ({"minProperties": 1}, [{"a": 1}, []], [{}]),
        ({"required": ["a"]}, [{"a": 1}, []], [{}, {"b": 1}]),
        ({"propertyNames": {"pattern": "^a"}}, [{"ab": 1}, 1], [{"b": 1}]),
        ({"properties": {"a": TEXT}}, [{"a": "x", "b": 1}], [{"a": 1}]),
        ({"properties": {"a": TEXT}, "additionalProperties": False}, [{"a": "x"}], [{"b": 1}]),
        ({"properties": {"a": TEXT}, "additionalProperties": NUMBER}, [{"a": "x", "b": 1}], [{"b": "x"}]),
        ({**ANY_OF, "unevaluatedProperties": False}, [{"a": "x"}, {"b": 1}, {"a": "x", "b": 1}], [{"a": 1}, {}]),
        ({**ANY_OF, "unevaluatedProperties": False}, [], [{"a": "x", "c": 1}, {"a": "x", "b": "x"}]),
        ({**ANY_OF, "additionalProperties": False}, [], [{"a": "x"}]),
        ({"$ref": "#/$defs/n", "$defs": {"n": NUMBER}}, [1], ["x"]),
        (
            {"$ref": "#/$defs/n", "unevaluatedProperties": False, "$defs": {"n": {"properties": {"a": TEXT}}}},
            [{"a": "x"}],
            [{"b": "x"}],
        ),
        ({"description": "…", "x-expected": "…"}, [1], []),
    ],
    ids=str,
)
def test_each_keyword_is_read_as_jsonschema_reads_it(schema, good, bad):
    assert [(data, plainly_fits(data, schema), fits(data, schema)) for data in good] == [
        (data, True, True) for data in good
    ]
    assert [(data, plainly_fits(data, schema), fits(data, schema)) for data in bad] == [
        (data, False, False) for data in bad
    ]


@pytest.mark.parametrize(
    ("schema", "data"),
    [({"multipleOf": 2}, 4), ({"enum": [1]}, 1), ({"const": True}, True), ({"uniqueItems": True}, [1, 2])],
)
def test_what_it_does_not_know_does_not_plainly_fit(schema, data):
    assert (plainly_fits(data, schema), fits(data, schema)) == (False, True)
