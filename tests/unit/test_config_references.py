"""`${…}` in the configuration: where it is resolved, where not, and what may never be shown."""

import json

import pytest

from connectorlib.config.document import load
from connectorlib.config.secrets import References, Unresolved, mentions, resolve, typed
from connectorlib.errors import ConfigurationError
from connectorlib.service.redaction import Secrets, secrets

SCHEMA = {
    "type": "object",
    "properties": {
        "host": {"type": "string"},
        "password": {"type": "string"},
        "port": {"type": "integer"},
        "seconds": {"type": "number"},
        "on": {"type": "boolean"},
        "sql": {"type": "string", "x-verbatim": True},
        "value": {"$ref": "#/$defs/expression"},
        "list": {"type": "array", "items": {"type": "string"}},
        "connection": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "additionalProperties": False,
    "$defs": {
        "expression": {
            "anyOf": [
                {"type": "string", "x-verbatim": True},
                {"type": "object", "properties": {"value": {}, "path": {"type": "string", "x-verbatim": True}}},
            ]
        }
    },
}


@pytest.fixture(autouse=True)
def _forget_secrets():
    yield
    secrets.clear()


def resolved(data, environment=None, folder=".", registry=None):
    from pathlib import Path

    lookup = References(environment=environment or {}, folder=Path(folder))
    return resolve(data, SCHEMA, lookup, registry or Secrets())


def problem(data, **given):
    result = resolved(data, **given)
    (text,) = (dict(result.problems) | result.unknown).values()
    return text


def test_a_variable_is_put_in_also_inside_a_text():
    data = {"list": ["${A}", "x-${A}-${B}"], "connection": {"Pwd": "${B}"}}
    expected = {"list": ["one", "x-one-two"], "connection": {"Pwd": "two"}}
    assert resolved(data, {"A": "one", "B": "two"}).data == expected


def test_sql_paths_and_templates_stay_as_they_are():
    data = {"sql": "SELECT '${A}'", "value": "${A}"}
    assert resolved(data, {"A": "one"}).data == data
    assert resolved({"value": {"path": "${A}"}}, {"A": "one"}).data == {"value": {"path": "${A}"}}


def test_a_constant_of_an_expression_is_resolved():
    assert resolved({"value": {"value": "${A}"}}, {"A": "one"}).data == {"value": {"value": "one"}}


def test_two_dollars_are_a_literal():
    assert resolved({"host": "$${A} ${A}"}, {"A": "one"}).data == {"host": "${A} one"}


def test_what_a_variable_holds_is_not_resolved_again():
    assert resolved({"host": "${A}"}, {"A": "${B}"}).data == {"host": "${B}"}


def test_a_whole_reference_may_stand_for_a_number_or_a_boolean():
    data = {"port": "${P}", "seconds": "${S}", "on": "${T}"}
    assert resolved(data, {"P": "5671", "S": "1.5", "T": "true"}).data == {
        "port": 5671,
        "seconds": typed("1.5", {"number"}),
        "on": True,
    }


def test_where_a_text_is_wanted_digits_stay_a_text():
    assert resolved({"password": "${P}"}, {"P": "007"}).data == {"password": "007"}


@pytest.mark.parametrize(
    ("content", "secret"), [(b"a\n", "a"), (b"a\r\n", "a"), (b"a\n\n", "a\n"), (b" a ", " a "), (b"\xc3\xa4", "ä")]
)
def test_one_line_end_of_a_secret_file_is_dropped(tmp_path, content, secret):
    (tmp_path / "secret").write_bytes(content)
    assert resolved({"password": f"${{file:{tmp_path}/secret}}"}).data == {"password": secret}


def test_a_relative_secret_file_begins_at_the_configuration(tmp_path):
    (tmp_path / "secret").write_text("pw")
    assert resolved({"password": "${file:secret}"}, folder=tmp_path).data == {"password": "pw"}


def test_a_credential_comes_from_the_directory_of_systemd(tmp_path):
    (tmp_path / "amqp").write_text("pw\n")
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert resolved({"password": "${credential:amqp}"}, environment).data == {"password": "pw"}


FORMS = "${NAME}, ${NAME:-default}, ${file:/path} or ${credential:name}"
UNRESOLVED = [
    ("${NOPE}", "the environment variable NOPE is not set"),
    ("${file:/no/such}", "the secret file /no/such cannot be read: No such file or directory"),
    ("${file:/dev/null}", "the secret file /dev/null cannot be read: it is a pipe or a device, not a file"),
    (
        "${credential:x}",
        "no systemd credentials are available: run it from a unit that loads the credential x (LoadCredential=)",
    ),
    ("${credential:../x}", "${credential:…} takes the name of a credential, not a path"),
    ("${vault:x}", f"unknown reference ${{vault:…}}; expected {FORMS}"),
    ("${a b}", f"expected {FORMS}; a literal ${{ is written $${{"),
    ("${}", f"expected {FORMS}; a literal ${{ is written $${{"),
    ("${OPEN", "${ is never closed by }; a literal ${ is written $${"),
]


@pytest.mark.parametrize(("text", "said"), UNRESOLVED)
def test_a_reference_that_leads_nowhere_says_why(text, said):
    assert problem({"password": text}) == said


@pytest.mark.parametrize(
    ("text", "environment", "value"),
    [
        ("${A:-one}", {"A": "two"}, "two"),
        ("${A:-one}", {}, "one"),
        ("${A:-one}", {"A": ""}, "one"),
        ("${A:-}", {}, ""),
        ("x-${A:-b:-c}-${B:-d}", {}, "x-b:-c-d"),
        ("$${A:-one}", {}, "${A:-one}"),
    ],
)
def test_a_default_stands_for_a_variable_that_is_not_set_or_empty(text, environment, value):
    assert resolved({"host": text}, environment).data == {"host": value}


def test_a_default_is_typed_and_is_no_secret_unless_its_key_is_one():
    registry = Secrets()
    data = {"port": "${P:-5672}", "on": "${O:-true}", "list": ["${L:-pumps and doors}"], "password": "${W:-hunter22}"}
    found = resolved(data, registry=registry)
    assert found.data == {"port": 5672, "on": True, "list": ["pumps and doors"], "password": "hunter22"}
    assert registry.redact("pumps and doors, hunter22") == "pumps and doors, [secret]"
    assert found.literals == [("password",)]
    assert resolved(data, {"W": "from-outside"}).literals == []
    assert problem({"host": "${a b:-x}"}).startswith("expected ${NAME}, ${NAME:-default}")


def test_a_variable_that_is_no_utf8_is_refused():
    assert problem({"password": "${A}"}, environment={"A": "x\udcff"}) == "the environment variable A is not UTF-8 text"


def test_a_secret_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "secret").write_bytes(b"\xff\xfe")
    with pytest.raises(Unresolved, match="not UTF-8"):
        References(folder=tmp_path).look_up("file:secret")


def test_secrets_are_hidden_from_the_logs_and_plain_settings_are_not(tmp_path):
    (tmp_path / "secret").write_text("from-a-file")
    registry = Secrets()
    data = {
        "host": "${HOST}",
        "port": "${PORT}",
        "password": "in-the-text",
        "connection": {"Pwd": "${PW}", "Database": "${DB}", "Other": "${OTHER}"},
        "list": ["DSN=x;PWD={semi;colon}", f"${{file:{tmp_path}/secret}}"],
    }
    environment = {"HOST": "rabbit1", "PORT": "20", "PW": "p-w-d", "DB": "plant", "OTHER": "other-value"}
    resolved(data, environment, registry=registry)
    text = "rabbit1 20 plant in-the-text p-w-d other-value semi;colon from-a-file"
    assert registry.redact(text) == "rabbit1 20 plant [secret] [secret] [secret] [secret] [secret]"


def test_references_can_be_found_without_looking_them_up():
    data = {"sql": "${A}", "list": ["x", "${B}"], "port": "${C}"}
    assert mentions(data, SCHEMA) == {("list", 1): "${B}", ("port",): "${C}"}


def write(tmp_path, data):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(data, indent=1))
    return file


def test_a_document_can_be_checked_without_its_secrets(tmp_path):
    document = load(write(tmp_path, {"port": "${P}", "password": "${Q}"}), SCHEMA, resolve_secrets=False)
    assert document.data == {"password": "${Q}"}


def test_a_secret_of_the_wrong_kind_is_told_without_its_value(tmp_path, monkeypatch):
    monkeypatch.setenv("P", "hunter22")
    with pytest.raises(ConfigurationError) as caught:
        load(write(tmp_path, {"port": "${P}"}), SCHEMA)
    (found,) = caught.value.problems
    assert str(found) == "line 2: port: expected a whole number; ${P} evaluates to something else"
