"""The command line as a stranger meets it: help, usage, configuration errors, secrets, logs."""

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry

from connectorlib.version import VERSION
from tests.e2e.conftest import Connector, installed, reading
from tests.services import fork_server
from tests.services.server import free_port
from tests.services.waiting import eventually

Make = Callable[[str], Connector]
Completed = subprocess.CompletedProcess[str]

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("select", "receive", "subscribe", "inbox", "check", "explain", "test", "schema")
#: How many times the time of `import click` a help text may take on a busy machine; 1 to 1.5 on an idle one. What it
#: imports is in tests/unit/test_start.py.
MOST = 3
#: With all that has to be quoted somewhere.
SECRET = "s3cr;t}/w%rd=1"


def run(*arguments: str, cwd: Path | None = None, **environment: str) -> Completed:
    return fork_server.run("dbconnector", arguments, cwd=cwd, env=os.environ | environment)


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., Path]:
    """Write a configuration that needs no service as long as nothing is reached."""

    def write(**sections: Any) -> Path:
        config = {
            "database": {
                "connection": {"Driver": "SQLite3", "Database": "x.sqlite"},
                "write": [{"statement": "INSERT INTO reading (id) VALUES (:id)"}],
            },
            "broker": {"host": "127.0.0.1", "source": {"queue": "readings"}},
            "idempotency": {"table": "inbox", "key": "id"},
        }
        file = tmp_path / "db.config"
        file.write_text(json.dumps(config | sections, indent=1))
        return file

    return write


# -- help


@pytest.mark.parametrize("command", ["", "receive"])
def test_help_tells_the_options(command: str) -> None:
    done = run(*command.split(), "-h")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: dbconnector {command}".rstrip())
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "-h, --help" in done.stdout
    if command:
        assert "-c, -i, --config" in done.stdout


def test_help_of_the_whole_lists_commands_and_exit_codes() -> None:
    text = run("--help").stdout
    assert {*COMMANDS} <= {*re.findall(r"^  (\w+)  ", text.partition("Commands:")[2], re.MULTILINE)}
    assert set(re.findall(r"\b(\d+)  [a-z]", text)) == {"0", "1", "2", "3", "69", "75", "77", "78"}


def test_version_is_that_of_the_package() -> None:
    assert run("--version").stdout.strip() == f"dbconnector, version {VERSION}"


@pytest.mark.parametrize("command", ["dbconnector", "sfconnector", "sfconnector sandbox", "deadletter-queue"])
def test_help_is_there_at_once(command: str) -> None:
    def seconds(*command: str | Path) -> float:
        """Return the processor's time, which other work on the machine changes little."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    program, *arguments = command.split()
    help_of_it: list[str | Path] = [installed(program), *arguments, "--help"]
    help = click = inf
    for rounds in range(20):  # other work on the machine may hit one of the two
        if rounds >= 3 and help < MOST * click:
            break
        help = min(help, seconds(*help_of_it))
        click = min(click, seconds(sys.executable, "-c", "import click"))
    assert help < MOST * click


# -- usage


def test_wrong_usage_exits_with_2(tmp_path: Path) -> None:
    done = run("recieve", "-c", "x", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Did you mean 'receive'?" in done.stderr


def test_c_i_and_config_are_one_option(configured: Callable[..., Path]) -> None:
    file = configured()
    for options in (["-c", str(file)], ["--config", str(file)], ["-c", "nowhere", "-i", str(file)]):
        done = run("inbox", *options)  # the last one counts
        assert done.returncode == 0
        assert done.stdout.startswith("CREATE TABLE inbox (")


# -- configuration

FIVE_MISTAKES = """{
  "database": {
    "conection": {"Driver": "SQLite3"},
    "write": [{"statement": "INSERT INTO t (a) VALUES (:a)", "values": {"b": "x"}}]
  },
  "broker": {
    "port": "5672",
    "password": "${NOT_SET}",
    "source": {"queue": "readings", "exchange": "amq.topic", "routing_keys": ["devices/+/temp"]}
  }
}
"""


@pytest.mark.parametrize("command", ["select", "subscribe"])
def test_five_mistakes_print_five_lines_and_exit_78(command: str, tmp_path: Path) -> None:
    (tmp_path / "db.config").write_text(FIVE_MISTAKES)
    done = run(command, "-c", "db.config", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (78, "")
    lines = [line.partition(" ERROR ")[2] for line in done.stderr.splitlines()]
    assert lines == [
        'db.config: line 3: database.conection: unknown key; did you mean "connection"?',
        "db.config: line 4: database.write[0].values.b: the statement has no :b; it has: :a",
        'db.config: line 7: broker.port: expected a whole number, not the text "5672"; write 5672 without quotes',
        "db.config: line 8: broker.password: the environment variable NOT_SET is not set",
        "db.config: line 9: broker.source.routing_keys[0]: MQTT devices/+/temp is devices.*.temp here",
    ]


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    done = run("subscribe", "-c", "nowhere.config", cwd=tmp_path)
    assert done.returncode == 78
    (line,) = done.stderr.splitlines()
    assert line.endswith("ERROR nowhere.config: cannot be read: No such file or directory")


@pytest.mark.parametrize(
    ("command", "missing"),
    [("select", "database.select"), ("receive", "broker.source"), ("subscribe", "broker.source")],
)
def test_a_section_that_a_command_needs_is_named(
    command: str, missing: str, configured: Callable[..., Path], tmp_path: Path
) -> None:
    configured(broker={"destination": {"exchange": "rows"}})
    done = run(command, "-c", "db.config", cwd=tmp_path)
    assert done.returncode == 78
    (line,) = done.stderr.splitlines()
    assert line.endswith(f"ERROR db.config: {missing} is missing: `dbconnector {command}` needs it")


def test_warnings_of_the_configuration_are_shown(configured: Callable[..., Path]) -> None:
    done = run("inbox", "-c", str(configured(broker={"heartbeat": 2, "source": {"queue": "readings"}})))
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert re.search(r" WARNING \S+db.config: line \d+: broker.heartbeat: below 5 seconds", line)


def test_the_schema_stands_alone_and_takes_the_examples() -> None:
    done = run("schema")
    assert done.returncode == 0
    schema = json.loads(done.stdout)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema, registry=Registry())  # knows no other document
    examples = sorted(
        each for each in (ROOT / "config").glob("*.json") if not re.search("^sfconnector|tests", each.name)
    )
    assert examples
    for example in examples:
        assert list(validator.iter_errors(json.loads(example.read_text()))) == []
    assert list(validator.iter_errors({"database": {}, "broker": {}})) != []


# -- secrets


def test_secrets_come_from_the_environment_and_from_files(on: Make, tmp_path: Path) -> None:
    connector = on("postgres_db")
    (tmp_path / "db-pass").write_text(connector.database.connection["Pwd"] + "\n")
    (tmp_path / "user").write_text(connector.vhost.username)
    connector.configure(
        database={"connection": connector.database.connection | {"Pwd": f"${{file:{tmp_path}/db-pass}}"}},
        broker=connector.vhost.config(
            source={"queue": "readings"}, password="${BROKER_PASS}", username="${credential:user}"
        ),
    )
    connector.vhost.declare_queue("readings")
    connector.publish(reading(1))
    password = connector.vhost.password
    done = connector.run("receive", "-c", "db.config", BROKER_PASS=password, CREDENTIALS_DIRECTORY=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert connector.database.count("reading") == 1


def secrets_in(text: str, *secrets: str) -> list[str]:
    """Return the forms of the secrets that stand in a text."""
    forms = [
        form for each in secrets for form in (each, quote(each, safe=""), repr(each)[1:-1], each.replace("}", "}}"))
    ]
    return [form for form in forms if form in text]


@pytest.mark.parametrize(
    ("name", "wrong", "code"),
    [
        ("postgres_db", {"Pwd": SECRET}, 77),
        ("postgres_db", {"Uid": "${file:secret}"}, 77),  # which the server repeats
        ("postgres_db", {"Driver": "No Such Driver", "Pwd": SECRET}, 78),
        ("postgres_db", {"Database": "nowhere"}, 78),
        ("maria_db", {"Pwd": SECRET}, 77),
        ("maria_db", {"Port": str(free_port()), "Pwd": SECRET}, 69),
    ],
)
def test_no_password_of_the_database_is_printed(on: Make, name: str, wrong: dict[str, str], code: int) -> None:
    connector = on(name)
    (connector.folder / "secret").write_text(SECRET)
    connector.configure(
        database={"connection": connector.database.connection | wrong},
        logging={"level": "debug", "format": "json" if name == "maria_db" else "text"},
    )
    done = connector.run("receive", "-c", "db.config")
    assert done.returncode == code, done.stderr
    assert "database: " in done.stderr.splitlines()[-1]
    expect_no_secret(done, connector)


@pytest.mark.parametrize(("key", "value", "code"), [("password", SECRET, 77), ("virtual_host", "${file:secret}", 78)])
def test_no_password_of_the_broker_is_printed(on_sqlite: Connector, key: str, value: str, code: int) -> None:
    connector = on_sqlite
    (connector.folder / "secret").write_text(SECRET)
    config = connector.vhost.config(source={"queue": "readings"}) | {key: value}
    connector.configure(broker=config, logging={"level": "debug"})
    done = connector.run("receive", "-c", "db.config")
    assert done.returncode == code, done.stderr
    assert " ERROR broker: " in done.stderr.splitlines()[-1]
    expect_no_secret(done, connector)


def test_no_password_and_no_body_is_printed_when_all_is_well(on: Make) -> None:
    connector = on("postgres_db")
    connector.configure(logging={"level": "debug"})
    connector.vhost.declare_queue("readings")
    connector.publish(reading(1, device="private"), b'{"private":')
    for code in (0, 1, 3):  # written, dead-lettered, empty
        done = connector.run("receive", "-c", "db.config")
        assert done.returncode == code, done.stderr
        assert "private" not in done.stderr
        expect_no_secret(done, connector)


def expect_no_secret(done: Completed, connector: Connector) -> None:
    print(done.stderr)
    own = connector.database.connection.get("Pwd", SECRET)
    assert secrets_in(done.stderr + done.stdout, SECRET, own, connector.vhost.password) == []
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "connection",
    [
        f"Driver=SQLite3;Pwd={SECRET}",
        f"Driver=SQLite3;Pwd={{{SECRET}",
        {"Pwd": SECRET, "Driver": 1.5},
        {"Pwd": [SECRET]},
    ],
)
def test_no_password_of_a_wrong_configuration_is_printed(connection: Any, configured: Callable[..., Path]) -> None:
    file = configured(
        database={"connection": connection, "write": []}, broker={"password": [SECRET], "username": "${SECRET}"}
    )
    done = run("receive", "-c", str(file), SECRET=SECRET)
    print(done.stderr)
    assert done.returncode == 78
    assert secrets_in(done.stderr + done.stdout, SECRET) == []


# -- logs


def test_json_logs_are_one_object_a_line_on_stderr_and_in_the_file(on_sqlite: Connector) -> None:
    connector = on_sqlite
    connector.configure(logging={"level": "debug", "format": "json", "file": "log/../connector.log"})
    (connector.folder / "log").mkdir()
    connector.vhost.declare_queue("readings")
    with connector.subscribed(ready='"event": "consuming"') as running:
        connector.publish(reading(1), b'{"id": "\\ud800\n', reading(2, device="x\ny"))
        eventually(lambda: connector.database.count("reading") == 2)
        eventually(lambda: connector.vhost.depth("dead-letter") == 1)
        connector.database.execute("DROP TABLE reading")
        connector.publish(reading(3))
        running.wait_for('"event": "paused"')
    entries = [json.loads(line) for line in running.log.splitlines()]
    assert all({"time", "level", "connector", "event", "message", "logger"} <= set(entry) for entry in entries)
    by_event = {entry["event"]: entry for entry in entries}
    assert {"started", "consuming", "dead-lettered", "paused", "stopping", "stopped"} <= set(by_event)
    assert by_event["dead-lettered"]["code"] == "not-decodable"
    assert by_event["paused"]["cause"] == "HY000/1"
    assert "SIGUSR1" in by_event["paused"]["do"]
    assert (connector.folder / "connector.log").read_text() == running.log


def test_a_log_file_that_cannot_be_opened_is_told(configured: Callable[..., Path]) -> None:
    done = run("receive", "-c", str(configured(logging={"file": "nowhere/connector.log"})))
    assert done.returncode == 78
    assert re.search(r"ERROR the log file \S+nowhere/connector.log cannot be opened: No such file", done.stderr)


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_a_command_works_without_standard_streams(closed: str) -> None:
    command = f"exec {installed('dbconnector')} schema {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["dbconnector", "schema"],
        ["dbconnector", "--help"],
        ["dbconnector", "completion", "bash"],
        ["sfconnector", "schema"],
        ["deadletter-queue", "--help"],
    ],
)
def test_output_that_cannot_be_written_is_one_line_and_exit_code_1(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [installed(arguments[0]), *arguments[1:]], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "standard output cannot be written: No space left on device\n")
