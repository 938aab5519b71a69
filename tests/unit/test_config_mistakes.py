"""Mistakes of somebody who writes a first configuration: each is told in one line that says what to do."""

import re
from pathlib import Path
from typing import Any

import pytest

from connectorlib.errors import ConfigurationError
from connectorlib.service.redaction import secrets
from dbconnector import config as db
from sfconnector import config as sf

WRITE = """{
  "database": {
    "connection": {"Driver": "SQLite3", "Database": "plant.db"},
    "write": [{"statement": "INSERT INTO r (device, value) VALUES (:device, :value)", "values": {"device": "d.id"}}]
  },
  "broker": {
    "host": "127.0.0.1", "port": 5672, "username": "guest", "password": "guest",
    "source": {"queue": "readings", "exchange": "devices", "routing_keys": ["reading.#"]}
  },
  "format": {"type": "json"},
  "monitoring": {"port": 9400}
}"""
CASES = """{
  "tenant": {
    "salesforce": {"login_url": "https://acme.my.salesforce.com", "auth": "client_credentials", "client_id": "app",
      "client_secret": "${SECRET:-none}"},
    "amqp": {"host": "127.0.0.1"}
  },
  "divisions": {
    "pumps": {
      "source": {"exchange": "devices", "routing_keys": ["alarm.#"]},
      "accept_when": {"temperature": {"gt": 80}},
      "case": {
        "mapping": {"Subject": "alarm", "Origin": "origin"},
        "external_id": {"field": "Message_Id__c", "value": "$message_id"}
      }
    }
  }
}"""
#: In which text what is replaced by what, and what is said.
MISTAKES: dict[str, tuple[str, str, str, str]] = {
    "a decimal comma": (CASES, "80}", "80,5}", "a number has a decimal point, not a comma: 80.5"),
    "a number as text": (CASES, "80}", '"80"}', 'expected a number, not the text "80"; write 80 without quotes'),
    "a text with a decimal comma": (CASES, "80}", '"80,5"}', "write 80.5 without quotes"),
    "a port as text": (WRITE, "5672", '"5672"', "write 5672 without quotes"),
    "yes": (WRITE, '"port"', '"tls": "yes", "port"', "write true without quotes"),
    "a sign as operator": (CASES, '"gt"', '">"', 'unknown key; did you mean "gt"?'),
    "a condition as text": (
        CASES,
        '{"temperature": {"gt": 80}}',
        '"temperature > 80"',
        'such as {"temperature": {"gt": 80}}',
    ),
    "typographic quotes of a key": (WRITE, '"format"', "“format”", "not typographic ones (“)"),
    "typographic quotes of a value": (WRITE, '"readings"', "„readings“", "not typographic ones („)"),
    "a no-break space": (
        WRITE,
        '  "format"',
        '\u00a0 "format"',
        "an invisible character (U+00A0); replace it by a space",
    ),
    "an invisible character in a key": (
        WRITE,
        '"format"',
        '"\u200bformat"',
        "an invisible character (U+200B); delete it",
    ),
    "one routing key": (WRITE, '["reading.#"]', '"reading.#"', 'write ["reading.#"]'),
    "one statement": (WRITE, '[{"statement"', '{"statement"', "put it in [ and ]"),
    "csv": (WRITE, '"json"', '"csv"', 'did you mean "delimited"?'),
    "several hosts in a text": (WRITE, "127.0.0.1", "rabbit1,rabbit2", 'a list, such as ["rabbit1", "rabbit2"]'),
    "a database as URL": (WRITE, '{"Driver": "SQLite3", "Database": "plant.db"}', '"sqlite:///plant.db"', "not a URL"),
    "parameters of another library": (WRITE, "(:device, :value)", "(%s, %s)", "parameters, which are written :name"),
    "a home folder of a secret": (WRITE, '"password": "guest"', '"password": "${file:~/pw}"', "write the whole path"),
    "a constant": (CASES, '"origin"', '"Web site"', 'a constant is {"value": "Web site"}'),
    "another word for the broker": (CASES, '"amqp"', '"broker"', 'did you mean "amqp"?'),
    "a section at the wrong place": (CASES, '"amqp"', '"divisions": {}, "amqp"', "it belongs at the top level"),
    "the address of a browser": (CASES, "acme.my.salesforce", "acme.lightning.force", "is for browsers"),
}
DOUBTS: dict[str, tuple[str, str, str, str]] = {
    "a variable of a shell": (WRITE, '"password": "guest"', '"password": "$AMQP_PW"', "a variable is written ${NAME}"),
    "a variable of Windows": (WRITE, '"password": "guest"', '"password": "%AMQP_PW%"', "a variable is written ${NAME}"),
    "a variable of a template": (WRITE, '"guest"', '"{{ user }}"', "a variable is written ${NAME}"),
    "a home folder": (WRITE, "plant.db", "~/plant.db", "~ is not replaced by a home folder"),
    "the port of the management API": (WRITE, "5672", "15672", "15672 is the port of the management API"),
    "the port of MQTT": (WRITE, "127.0.0.1", "127.0.0.1:1883", "1883 is the port of MQTT"),
    "a wildcard within a word": (WRITE, "reading.#", "reading*", "stand for whole words between dots"),
}


@pytest.fixture(autouse=True)
def _forget_secrets() -> Any:
    yield
    secrets.clear()


def load(folder: Path, good: str, old: str, new: str) -> Any:
    assert old in good
    text = good.replace(old, new, 1)
    # Where one statement lost its opening bracket, it loses the closing one too.
    text = re.sub(r'("write": \{.*)\]\n', r"\1\n", text) if '"write": {' in text else text
    file = folder / "config.json"
    file.write_text(text)
    file.chmod(0o600)
    return (db if good is WRITE else sf).load(file)


@pytest.mark.parametrize(("good", "old", "new", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_once_with_what_to_do(good: str, old: str, new: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, good, old, new)
    (problem,) = caught.value.problems
    assert said in problem.text
    assert problem.line > 1


@pytest.mark.parametrize(("good", "old", "new", "said"), DOUBTS.values(), ids=DOUBTS)
def test_what_is_probably_a_mistake_gets_a_warning(good: str, old: str, new: str, said: str, tmp_path: Path) -> None:
    (warning,) = load(tmp_path, good, old, new).warnings
    assert said in warning
    assert re.search(r"line \d+: ", warning)


def test_a_good_configuration_gets_no_warning(tmp_path: Path) -> None:
    for good in (WRITE, CASES):
        assert load(tmp_path, good, "{", "{").warnings == ()
