"""The image and the compose file: linted, and what they name is there and fits."""

import contextlib
import functools
import http.server
import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest
import yaml

from connectorlib.preflight.message_options import made_up
from connectorlib.service.redaction import secrets
from dbconnector import cli as dbconnector
from dbconnector import config as db
from dbconnector import explain
from sfconnector import cli as sfconnector
from sfconnector import config as sf
from sfconnector.sandbox import demo_data

ROOT = Path(__file__).resolve().parents[2]
CONTAINERFILE = (ROOT / "Containerfile").read_text()
SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "amqp-connectors"}
FOLDER = ROOT / "config" / "compose"
PAGE = (ROOT / "docs" / "containers.md").read_text()


@pytest.fixture(autouse=True)
def _secrets():
    yield
    secrets.clear()


def stages():
    """The stages of the image, each as its lines with continuations joined."""
    text = re.sub(r"\\\n\s*", "", CONTAINERFILE)
    return [part.splitlines() for part in re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]]


def test_a_linter_finds_nothing_to_complain_of():
    done = subprocess.run([Path(sys.executable).with_name("hadolint"), ROOT / "Containerfile"], capture_output=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_every_image_has_a_name_and_a_version_of_its_own():
    images = [lines[0].split()[0] for lines in stages()]
    images += [service["image"] for service in SERVICES.values() if service not in OURS.values()]
    assert len(images) == 4
    assert [image for image in images if re.fullmatch(r"docker\.io/library/\w+:\d+[\w.-]*", image) is None] == []


def test_the_image_runs_as_nobody_in_particular_and_holds_every_package():
    built, run = stages()
    (user,) = (line.split()[1] for line in run if line.startswith("USER "))
    assert int(user.split(":")[0]) > 0
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    copied = {name for line in built if line.startswith("COPY ") for name in line.split()[1:-1]}
    assert copied == packages | {"pyproject.toml", "setup.py", "constraints.txt", "README.md", "LICENSE"}
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert let_in == copied


class Port(http.server.BaseHTTPRequestHandler):
    """Answers with the code that the path names."""

    def do_GET(self) -> None:
        self.send_response(int(self.path[1:]))
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


def test_the_health_check_follows_what_healthz_answers():
    (command,) = re.findall(r"^HEALTHCHECK .*?CMD (\[.*\])$", "\n".join(stages()[1]), re.MULTILINE)
    program, *arguments = json.loads(command)
    assert program == "python3"
    with http.server.HTTPServer(("127.0.0.1", 0), Port) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        ask = functools.partial(subprocess.run, [sys.executable, *arguments], capture_output=True, check=False)
        around = os.environ | {"HTTP_PROXY": "http://127.0.0.1:9"}
        codes = {code: ask(env=around | {"HEALTHZ": f"{url}/{code}"}).returncode for code in (200, 503)}
        server.shutdown()
    assert codes == {200: 0, 503: 1}


@pytest.mark.parametrize("name", OURS)
def test_a_service_runs_a_command_that_there_is_and_asks_the_port_that_it_has(name):
    service = OURS[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    program, *words = service["command"]
    group = {"dbconnector": dbconnector.main, "sfconnector": sfconnector.main}[program]
    if words[0] in group.commands:
        command = group.commands[words[0]]
        command.make_context(words[0], words[1:], parent=click.Context(group, info_name=program))
    else:
        group.make_context(program, words)
    port = urlsplit(service["environment"].get("HEALTHZ", "http://127.0.0.1:9400/healthz")).port
    network = SERVICES[service["network_mode"].partition(":")[2]] if "network_mode" in service else service
    assert str(port) in {published.split(":")[1] for published in network["ports"]}


def test_nothing_is_reached_from_another_machine():
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(published) == 4
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_every_file_that_is_mounted_is_there():
    mounted = [volume.split(":") for service in SERVICES.values() for volume in service.get("volumes", ())]
    assert len(mounted) == 3
    assert [source for source, _, mode in mounted if mode != "ro" or not (ROOT / source).is_file()] == []
    for name in ("dbconnector", "sfconnector"):
        (target,) = (volume.split(":")[1] for volume in OURS[name]["volumes"])
        assert target == OURS[name]["command"][-1]


def loaded(name, load, monkeypatch):
    """Load the configuration of a service with the variables that it gets, and no others."""
    for variable in ("DB_PASSWORD", "AMQP_PASSWORD", "SF_CLIENT_SECRET", "SF_PASSWORD", "SF_SECURITY_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in OURS[name]["environment"].items():
        monkeypatch.setenv(variable, value)
    (volume,) = OURS[name]["volumes"]
    return load(ROOT / volume.split(":")[0])


def test_what_the_configurations_reach_is_what_the_services_are(monkeypatch):
    config = loaded("dbconnector", db.load, monkeypatch)
    cases = loaded("sfconnector", sf.load, monkeypatch)
    rabbitmq, postgres = SERVICES["rabbitmq"]["environment"], SERVICES["postgres"]["environment"]
    for broker in (config.broker, cases.broker):
        assert broker.hosts == (("rabbitmq", 5672),)
        assert (broker.username, broker.password) == (
            rabbitmq["RABBITMQ_DEFAULT_USER"],
            rabbitmq["RABBITMQ_DEFAULT_PASS"],
        )
    connection = config.database.connection
    wanted = {"Server": "postgres", "Database": postgres["POSTGRES_DB"], "Uid": postgres["POSTGRES_USER"]}
    assert {key: connection[key] for key in wanted} == wanted
    assert connection["Pwd"] == postgres["POSTGRES_PASSWORD"]
    (division,) = cases.divisions
    org = division.salesforce
    assert (org.client_id, org.client_secret) == (demo_data.CLIENT_ID, demo_data.CLIENT_SECRET)
    assert (org.username, org.password) == (demo_data.USERS["field-service"], demo_data.PASSWORD)
    assert org.security_token == demo_data.SECURITY_TOKEN


def test_the_message_that_the_page_publishes_fits_the_table():
    (given,) = re.findall(r"-d '(\{.*?reading.*?\})'", PAGE)
    published = json.loads(given)
    delivery = made_up(published["payload"].encode(), routing_key=published["routing_key"], properties={})
    explanation = explain.opened(str(FOLDER / "db.config")).explain(delivery)
    assert explanation.rejection is None
    (row,) = explanation.data["rows"]["write[0]"]
    with contextlib.closing(sqlite3.connect(":memory:")) as table:
        table.executescript((FOLDER / "tables.sql").read_text())
        statement = json.loads((FOLDER / "db.config").read_text())["database"]["write"][0]["statement"]
        table.execute(statement, {name: str(value) for name, value in row.items()})


def test_the_commands_of_the_page_name_services_that_there_are():
    names = re.findall(r"docker compose (?:exec|logs|run|stop|start)(?: -\S+)* (\w+)", PAGE)
    assert names
    assert set(names) <= set(SERVICES)
    assert [shlex.split(line) for line in re.findall(r"^docker .*$", PAGE, re.MULTILINE)]
