"""The schemas of both configurations: they stand alone, explain every key, and have the defaults of the settings."""

import json
from dataclasses import MISSING, fields
from importlib import resources
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from referencing import Registry

from connectorlib import shared_settings as shared
from connectorlib.config.schema import expand, step
from dbconnector import config as db
from dbconnector import settings as db_settings
from sfconnector import config as sf
from sfconnector import settings as sf_settings
from tests.programs import PROGRAMS

BOTH = pytest.mark.parametrize("config", [db, sf], ids=["dbconnector", "sfconnector"])
SMALLEST: dict[Any, dict[str, Any]] = {
    db: {"database": {"connection": "DSN=x"}, "broker": {}},
    sf: {"tenant": {}, "divisions": {"pumps": {"case": {}}}},
}


def schema_text(config: Any) -> str:
    """Return what the command `schema` prints."""
    done = CliRunner().invoke(PROGRAMS[config.__name__.partition(".")[0]], ["schema"])
    assert done.exit_code == 0
    return done.output


@BOTH
def test_the_printed_schema_stands_alone_and_is_valid(config):
    printed = json.loads(schema_text(config))
    Draft202012Validator.check_schema(printed)
    assert "urn:amqp-connectors:common" not in schema_text(config)
    Draft202012Validator(printed, registry=Registry()).validate(SMALLEST[config])


@BOTH
def test_the_printed_schema_takes_comments_where_the_connectors_do(config):
    commented = {"// why": "because", **SMALLEST[config]}
    assert Draft202012Validator(json.loads(schema_text(config)), registry=Registry()).is_valid(commented)


def test_the_shared_schema_is_valid():
    text = resources.files("connectorlib").joinpath("schemas", "common.schema.json").read_text(encoding="utf-8")
    assert Draft202012Validator(Draft202012Validator.META_SCHEMA).is_valid(json.loads(text))


def properties(root, node):
    """Every property of the schema that is written out, with the name it has."""
    if isinstance(node, dict):
        for name, member in node.get("properties", {}).items():
            yield name, member, list(expand(root, member))
        for each in node.values():
            yield from properties(root, each)
    elif isinstance(node, list):
        for each in node:
            yield from properties(root, each)


@BOTH
def test_every_key_has_a_description_and_every_plain_one_an_example(config):
    root = config.schema()
    found = [*properties(root, root)]
    assert len(found) > 100
    for name, member, facts in found:
        if "const" in member:
            continue
        assert any("description" in each for each in facts), name
        container = any(each.get("type") == "object" or each.get("$ref") for each in facts) or name == "write"
        assert container or any(each.get("examples") for each in facts), name


@BOTH
def test_every_example_and_default_of_the_schema_is_valid(config):
    root = config.schema()
    examples = [
        (name, member, example)
        for name, member, _ in properties(root, root)
        for example in [*member.get("examples", []), *([member["default"]] if "default" in member else [])]
        if "${" not in json.dumps(example)  # a reference stands for whatever the schema wants
    ]
    assert len(examples) > 100
    for name, member, example in examples:
        part = {"$defs": root["$defs"], "allOf": [member]}
        assert Draft202012Validator(part, registry=Registry()).is_valid(example), (name, example)


PUMPS = ("divisions", "pumps")
SECTIONS = [
    (db, ("broker",), shared.BrokerSettings),
    (db, ("broker", "tls"), shared.Tls),
    (db, ("broker", "dead_letter"), shared.DeadLetterSettings),
    (db, ("broker", "source"), shared.Source),
    (db, ("broker", "destination"), shared.Destination),
    (db, ("limits",), shared.Limits),
    (db, ("retry",), shared.Retry),
    (db, ("batch",), shared.Batch),
    (db, ("lanes",), shared.Lanes),
    (db, ("logging",), shared.Logging),
    (db, ("monitoring",), shared.Monitoring),
    (db, ("tracing",), shared.Tracing),
    (db, ("database",), db_settings.DatabaseSettings),
    (db, ("database", "select"), db_settings.Select),
    (db, ("database", "write", 0), db_settings.Write),
    (db, ("idempotency",), db_settings.Idempotency),
    (db, (), db_settings.DbConfig),
    (sf, ("tenant", "salesforce"), sf_settings.Salesforce),
    (sf, ("tenant", "salesforce", "tls"), shared.HttpTls),
    (sf, ("tenant", "api_budget"), sf_settings.SfConfig),
    (sf, ("tenant", "reply"), sf_settings.Reply),
    (sf, PUMPS, sf_settings.Division),
    (sf, (*PUMPS, "case"), sf_settings.CaseSettings),
    (sf, (*PUMPS, "case", "external_id"), sf_settings.ExternalId),
]
#: Written in another shape in the file, or worked out from other keys; their defaults are tested elsewhere.
DERIVED = {"hosts", "host", "port", "routing_keys", "prefetch", "tls", "dead_letter", "message_id", "key", "values"}
#: Whole objects, whose own keys have defaults.
NESTED = {"batch", "lanes", "limits", "retry", "logging", "format"}


@pytest.mark.parametrize(("config", "path", "settings_class"), SECTIONS)
def test_the_defaults_of_the_schema_are_those_of_the_settings(config, path, settings_class):
    root = config.schema()
    found = list(expand(root, root))
    for key in path:
        found = step(root, found, key)
    members = {name: member for each in found for name, member in each.get("properties", {}).items()}
    compared = [each for each in fields(settings_class) if each.name in members and each.name not in DERIVED | NESTED]
    assert members
    for field in compared:
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if default is MISSING:
            continue
        said = [each["default"] for each in expand(root, members[field.name]) if "default" in each]
        if default is None or said == []:
            assert said in ([], [None]), field.name
            assert default in (None, (), {}, ""), field.name
        else:
            assert (tuple(said[0]) if isinstance(default, tuple) else said[0]) == default, field.name


def test_the_batch_of_the_schema_is_the_one_for_cases():
    size = sf.schema()["$defs"]["batch"]["properties"]
    assert shared.Batch(size["size"]["default"], size["wait_ms"]["default"]) == sf_settings.DEFAULT_BATCH
