"""Nothing that is printed, logged, dead-lettered or shown by the system holds a secret, also when something breaks in
a way that nobody foresaw."""

import base64
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from tests.e2e.cases import MAPPING, Divisions, alarm
from tests.e2e.conftest import Command, Connector, Running, reading
from tests.e2e.workbench import Workbench
from tests.services.deadletters import bury, of_four_causes
from tests.services.rabbitmq import Vhost
from tests.services.salesforce import CLIENT_SECRET, PASSWORD, SECURITY_TOKEN
from tests.services.waiting import eventually

pytestmark = pytest.mark.usefixtures("as_installed")

MARKED = "marked'sec;ret}{ö%41\\"

#: Python runs a module of this name before anything else. Here it makes a library fail as a bug would: with an error
#: of no known kind that quotes all it was given.
BUGS = {
    "pyodbc": """
import pyodbc
def connect(*args, real=pyodbc.connect, **kwargs):
    connection = real(*args, **kwargs)
    if MARK.exists():
        raise RuntimeError(f"bug with {args} {kwargs}")
    return connection
pyodbc.connect = connect
""",
    "requests": """
import requests
def send(self, request, *args, real=requests.adapters.HTTPAdapter.send, **kwargs):
    if MARK.exists() and MARK.read_text() in request.url:
        raise RuntimeError(f"bug with {request.headers} {request.body} {request.url}")
    return real(self, request, *args, **kwargs)
requests.adapters.HTTPAdapter.send = send
""",
    "pika": """
import pika
def connect(self, *args, **kwargs):
    raise RuntimeError(f"bug with {args} {kwargs} {self.__dict__}")
pika.credentials.PlainCredentials.response_for = connect
""",
}


def with_bug(command: Command, library: str) -> tuple[dict[str, str], Path]:
    """Return the environment in which a library has its bug, and the file that brings it out."""
    folder, mark = command.folder / "bug", command.folder / "bug-is-on"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(f"import pathlib\nMARK = pathlib.Path({str(mark)!r})\n{BUGS[library]}")
    return {"PYTHONPATH": str(folder)}, mark


def forms(secret: str) -> set[str]:
    """Return how a secret may be written, as libraries do."""
    plain = {secret, *secret.splitlines()}
    written = {quote(secret), quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1], json.dumps(secret)[1:-1]}
    encoded = {base64.b64encode(secret.encode()).decode().rstrip("="), secret.encode().hex()}
    return {form for form in plain | written | encoded | {secret.replace("}", "}}")} if len(form) > 3}


def expect_none(secrets: list[str], *places: str) -> None:
    text = "\n".join(places)
    assert [form for secret in secrets for form in forms(secret) if form in text] == []


def seen_from_outside(running: Running) -> str:
    """Return what the system shows of a process to others; a crash leaves no copy of its memory."""
    folder = Path("/proc") / str(running.process.pid)
    (core,) = (line for line in (folder / "limits").read_text().splitlines() if line.startswith("Max core file size"))
    assert core.split()[4] == "0", core
    return (folder / "cmdline").read_text() + (folder / "comm").read_text()


def letters(vhost: Vhost) -> str:
    return " ".join(f"{properties.__dict__}" for _, properties, _ in vhost.get_all("dead-letter"))


@pytest.mark.parametrize("form", ["text", "json"])
def test_dbconnector_keeps_its_secrets(on: Any, form: str) -> None:
    connector: Connector = on("postgres_db")
    secret = connector.folder / "db.pw"
    secret.write_text(connector.database.connection["Pwd"] + "\n")
    secret.chmod(0o600)
    connection = connector.database.connection | {"Pwd": "${file:db.pw}"}
    connector.configure(
        database={"connection": connection},
        broker={"password": "${BROKER}"} | connector.vhost.config(source={"queue": "readings"}, password="${BROKER}"),
        logging={"level": "debug", "format": form, "file": "connector.log"},
    )
    environment, bug = with_bug(connector, "pyodbc")
    environment["BROKER"] = connector.vhost.password
    consuming = '"event": "consuming"' if form == "json" else " consuming queue="
    with connector.subscribed(ready=consuming, **environment) as running:
        connector.publish(reading(1), b"{", reading(2, device="x" * 99))
        eventually(lambda: connector.database.count("reading") == 1)
        eventually(lambda: connector.vhost.depth("dead-letter") == 2)
        shown = seen_from_outside(running)
        bug.touch()
        connector.database.execute(END_SESSIONS)
        connector.publish(reading(3))
        running.wait_for("RuntimeError: bug with", 30)
        bug.unlink()
        eventually(lambda: connector.database.count("reading") == 2, 40)
    log = (connector.folder / "connector.log").read_text()
    assert log == running.log
    secrets = [connector.database.connection["Pwd"], connector.vhost.password]
    expect_none(secrets, log, shown, letters(connector.vhost))


END_SESSIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()"
)


def test_sfconnector_keeps_its_secrets(divisions: Divisions) -> None:
    queue = divisions.division("a", mapping=MAPPING)
    divisions.division("app", auth="client_credentials")
    divisions.division("signed", auth="jwt")
    divisions.division("refused", salesforce={"password": MARKED})
    divisions.configure(logging={"level": "debug", "file": "connector.log"})
    environment, bug = with_bug(divisions, "requests")
    with divisions.started(times=3, **environment) as running:
        divisions.publish(queue, [alarm(1), b"{"])
        divisions.cases(1)
        running.wait_for("division=refused")
        shown = seen_from_outside(running)
        bug.write_text("/composite/sobjects")
        divisions.publish(queue, [alarm(2)], start=5)
        running.wait_for("\nRuntimeError: bug with", 30)
        eventually(lambda: divisions.vhost.depth("dead-letter") == 2)
        bug.write_text("/oauth2/token")
        divisions.org.expire_tokens()
        divisions.publish(queue, [alarm(3)], start=6)
        running.wait_for("cause=bug", 30)  # no message is to blame for it, so all wait until it has gone
        bug.unlink()
        divisions.cases(2)
    log = (divisions.folder / "connector.log").read_text()
    assert log == running.log
    key = [line for line in divisions.org.key.splitlines() if not line.startswith("-----")]
    secrets = [PASSWORD, CLIENT_SECRET, SECURITY_TOKEN, MARKED, divisions.vhost.password, *key]
    expect_none(secrets, log, shown, letters(divisions.vhost))
    assert re.search(r"\b00D\w{12,15}!\S+", log) is None  # an access token


def test_the_tool_for_dead_letters_keeps_its_secrets(tmp_path: Path, vhost: Vhost) -> None:
    bench = Workbench(tmp_path, vhost)
    vhost.declare_queue("readings")
    bury(vhost, of_four_causes(4))
    file = tmp_path / "amqp.pw"
    file.write_text(vhost.password)
    file.chmod(0o600)
    environment, _ = with_bug(bench, "pika")
    host, api = f"{vhost.host}:{vhost.port}", f"http://{vhost.host}:1"
    url = f"amqp://{vhost.username}:{quote(MARKED, safe='')}@{host}/{vhost.name}"
    own = ("--host", host, "--vhost", vhost.name, "--username", vhost.username)
    runs = [
        bench.run("list", *bench.options(), "--password-file", str(file)),
        bench.run("replay", *bench.options(), "--dry-run", AMQP_PASSWORD=vhost.password),
        bench.run("list", *own, AMQP_PASSWORD=MARKED),
        bench.run("list", "--url", url),
        bench.run("--policy", "--apply-policy", *own, "--management-url", api, AMQP_PASSWORD=MARKED),
        bench.run("list", *bench.options(), AMQP_PASSWORD=MARKED, PYTHONPATH=environment["PYTHONPATH"]),
    ]
    assert [done.returncode for done in runs[:4]] == [0, 0, 77, 77]
    assert "bug with" in runs[-1].stderr
    for done in runs:
        expect_none([MARKED, vhost.password], done.stdout, done.stderr)
