"""What `init` makes of addresses and answers, and that what it writes is proved at once."""

import json
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from connectorlib.init import addresses, config_template
from connectorlib.init.questions import Question, answered
from dbconnector import cli as dbconnector
from dbconnector import init as db
from sfconnector import cli as sfconnector
from sfconnector import init as sf

BROKERS = {
    "amqp://guest@127.0.0.1/": {"host": "127.0.0.1", "virtual_host": "/", "username": "guest"},
    "amqp://mq": {"host": "mq", "virtual_host": "/", "username": "guest"},
    "amqp://app@[2001:db8::5]:5673/plant%2Fa": {
        "host": "2001:db8::5",
        "port": 5673,
        "virtual_host": "plant/a",
        "username": "app",
    },
    "amqps://app@MQ.example.com/p": {
        "host": "MQ.example.com",
        "tls": True,
        "port": 5671,
        "virtual_host": "p",
        "username": "app",
    },
}


@pytest.mark.parametrize("text", BROKERS)
def test_an_address_of_a_broker_is_what_the_configuration_says_in_several_lines(text):
    assert addresses.broker(text) == BROKERS[text]


CONNECTIONS = {
    "postgresql://me@db/plant": {"Driver": "PostgreSQL Unicode", "Server": "db", "Database": "plant", "Uid": "me"},
    "mysql://db:3307/plant": {
        "Driver": "MariaDB Unicode",
        "Server": "db",
        "Port": "3307",
        "Database": "plant",
        "Uid": "app",
    },
    "sqlserver://sa@db:1433/plant": {
        "Driver": "ODBC Driver 18 for SQL Server",
        "Server": "db,1433",
        "Database": "plant",
        "Uid": "sa",
    },
    "oracle://me@db/ORCL": {"Driver": "Oracle 21 ODBC driver", "DBQ": "db:1521/ORCL", "Uid": "me"},
    "dsn://me@PlantDB": {"DSN": "PlantDB", "Uid": "me"},
    "sqlite:///plant.db": {"Driver": "SQLite3", "Database": "plant.db"},
    "sqlite:////var/lib/plant.db": {"Driver": "SQLite3", "Database": "/var/lib/plant.db"},
}


@pytest.mark.parametrize("text", CONNECTIONS)
def test_an_address_of_a_database_becomes_the_keywords_of_its_driver(text):
    made = db.make(answered(db.QUESTIONS, {"database": text}, None)).configuration["database"]["connection"]
    password = {} if "sqlite" in text else {"Pwd": "${DB_PASSWORD}"}
    assert made == CONNECTIONS[text] | password


@pytest.mark.parametrize(
    ("questions", "given", "complaint"),
    [
        (db.QUESTIONS, {"broker": "amqp://guest:s3cret@mq/"}, "leave the password out"),
        (db.QUESTIONS, {"broker": "mq.example.com"}, "expected an address such as amqp://guest@127.0.0.1/"),
        (db.QUESTIONS, {"broker": "http://mq/"}, "expected an address such as amqp://"),
        (db.QUESTIONS, {"broker": "amqp://mq:port/"}, "expected an address such as amqp://"),
        (db.QUESTIONS, {"database": "postgresql://app:s3cret@db/plant"}, "leave the password out"),
        (db.QUESTIONS, {"database": "postgresql://db"}, "expected an address such as postgresql://"),
        (db.QUESTIONS, {"database": "foxpro://db/plant"}, "foxpro: there are postgresql"),
        (db.QUESTIONS, {"database": "sqlite://plant.db"}, "expected sqlite:///plant.db"),
        (db.QUESTIONS, {"table": "reading; DROP"}, "expected letters, digits and _"),
        (db.QUESTIONS, {"columns": "id, my column"}, "expected letters, digits and _"),
        (db.QUESTIONS, {"columns": "id, at:datetime"}, "'datetime' is no type; there are text, integer"),
        (db.QUESTIONS, {"columns": "id, ID"}, "a column is named twice"),
        (db.QUESTIONS, {"columns": ""}, "expected letters, digits and _"),
        (db.QUESTIONS, {"mode": "select", "queue": "x"}, "--queue has no meaning with the other answers"),
        (sf.QUESTIONS, {"login_url": "http://acme.my.salesforce.com"}, "an org has https://"),
        (sf.QUESTIONS, {"login_url": "https://acme.my.salesforce.com/login"}, "expected an address such as https://"),
        (sf.QUESTIONS, {"login_url": "https://acme.my.salesforce.com"}, "--client-id is missing"),
        (sf.QUESTIONS, {"one_case_per": "alarm", "external_id": "K__c"}, "--external-id has no meaning with the"),
    ],
)
def test_an_answer_that_cannot_be_meant_is_refused_in_words_that_help(questions, given, complaint):
    with pytest.raises(click.UsageError) as refused:
        answered(questions, given, None)
    assert complaint in refused.value.format_message()
    assert "s3cret" not in refused.value.format_message()


def test_what_is_given_is_not_asked_and_defaults_follow_what_was_answered():
    asked = []

    def ask(question, default):
        asked.append((question.name, default))
        return "new" if question.name == "a" else default

    questions = (
        Question("a", "A?", "old"),
        Question("b", "B?", "x"),
        Question("c", "C?", lambda answers: f"after {answers['a']}"),
        Question("d", "D?", "x", asked=lambda answers: answers["a"] == "old"),
    )
    assert answered(questions, {"b": "given"}, ask) == {"a": "new", "b": "given", "c": "after new"}
    assert asked == [("a", "old"), ("c", "after new")]


def test_json_is_laid_out_in_lines_that_fit_and_says_the_same():
    value = {"// why": "a comment", "a": {"b": [1, 2]}, "c": {"// d": "é", "e": []}, "f": ["x" * 60, "y" * 60], "g": {}}
    text = config_template.laid_out(value)
    assert json.loads(text) == value
    assert text.splitlines()[2] == '  "a": {"b": [1, 2]},'
    assert '    "// d": "é",' in text.splitlines()
    assert max(map(len, text.splitlines())) <= config_template.WIDTH


# -- the command

PROGRAMS = {"dbconnector": (dbconnector.main, "db.config"), "sfconnector": (sfconnector.main, "config.json")}
ORG = "--login-url https://acme.my.salesforce.com --client-id 3MVG9"
#: What stands beside a key that holds a secret.
SECRET = re.compile(r'"(?:Pwd|password|client_secret|security_token|private_key)": "(.*?)"')


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command in an empty folder, check its exit code, return what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(line: str, code: int = 0) -> str:
        program, *words = line.split()
        done = CliRunner().invoke(PROGRAMS[program][0], words, prog_name=program, catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.output

    return run


@pytest.mark.parametrize("where", ["env", "file", "credential"])
@pytest.mark.parametrize(
    "init",
    [
        "dbconnector init",
        "dbconnector init --mode select",
        "dbconnector init --mode select --columns id:integer,day:date,raw:base64,more:json,at:timestamp",
        "dbconnector init --columns id:integer,day:date,raw:base64,more:json,ok:boolean --exchange -",
        "sfconnector init",
        f"sfconnector init {ORG} --username fs@acme.example",
        f"sfconnector init {ORG} --username fs@acme.example --auth password --external-id - --exchange -",
        f"sfconnector init {ORG} --auth client_credentials",
        "sfconnector init --one-case-per alarm",
    ],
)
def test_what_is_written_passes_its_tests_and_takes_its_sample(init, where, run):
    program = init.split()[0]
    file = PROGRAMS[program][1]
    told = run(f"{init} --non-interactive --secrets {where}")
    names = told.splitlines()[0].removeprefix("Written: ").split(", ")
    assert sorted(names) == sorted(each.name for each in Path().iterdir())
    sample = next(name for name in names if ".message." in name or ".row." in name)
    tests = next(name for name in names if ".tests." in name)
    assert "all 2 passed" in run(f"{program} test -c {file}")
    assert "would " in run(f"{program} explain -c {file} {'--row ' * ('.row.' in sample)}{sample}")
    assert json.loads(Path(tests).read_text())["tests"][1]["rejected"] == "missing-field"
    text = Path(file).read_text()
    assert '"// ' in text
    assert SECRET.findall(text)
    assert [value for value in SECRET.findall(text) if re.fullmatch(r"\$\{[\w:.-]+\}", value) is None] == []


def test_it_ends_with_what_to_do_next(run):
    row = "explain -c b.config --row b.config.row.json"
    for init, wanted in {
        "dbconnector init -c a": "explain -c a a.message.json|check -c a|subscribe -c a",
        "dbconnector init -c b.config --mode select": f"{row}|check -c b.config|select -c b.config",
        "sfconnector init -i c.json": "explain -i c.json c.message.json|check -i c.json|-i c.json",
    }.items():
        told = run(f"{init} --non-interactive").partition("Then:\n")[2]
        commands = re.findall(r"^  \w+ (.*?) +# ", told, re.MULTILINE)
        assert commands == wanted.split("|")
    told = run("dbconnector init -c d.config --non-interactive --secrets credential")
    assert re.findall(r"LoadCredential=(\w+):", told) == ["db", "amqp"]  # as in config/systemd
    assert "systemctl start dbconnector-check@NAME" in told


def test_no_file_is_written_over_unless_that_is_asked_for(run):
    there = Path("db.config.tests.json")
    there.write_text("mine")
    assert "db.config.tests.json exists; --force" in run("dbconnector init --non-interactive", 2)
    assert list(Path().iterdir()) == [there]
    run("dbconnector init --non-interactive --force")
    assert "mine" not in there.read_text()


def test_answers_that_make_no_configuration_are_told_by_line_and_nothing_is_written(run):
    told = run("dbconnector init --non-interactive --exchange amq.topic --routing-key devices/+/temp", 78)
    assert re.search(r"^db.config: line \d+: .* MQTT devices/\+/temp is devices.\*.temp here$", told, re.MULTILINE)
    assert list(Path().iterdir()) == []


def test_without_a_terminal_it_says_how_to_go_on(run):
    assert "no terminal to ask on; --non-interactive" in run("sfconnector init", 2)
