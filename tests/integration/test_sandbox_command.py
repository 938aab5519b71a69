"""`sfconnector sandbox` as a command: its page, its state file, its administration, its start and its end."""

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import requests

from sfconnector.config import load
from tests.services.rest import USER, Rest
from tests.services.salesforce import COMMAND, Org, Salesforce
from tests.services.server import Run
from tests.services.waiting import eventually


class Own(Salesforce):
    """A sandbox that a test may stop and start."""

    arguments: Sequence[str] = ()

    def options(self) -> Sequence[str]:
        return self.arguments


@pytest.fixture
def own(services: Run) -> Iterator[Own]:
    server = Own(services)
    yield server
    server.discard()


def page(org: Org) -> requests.Response:
    return requests.get(org.url, timeout=30)


def test_the_page_shows_the_cases_newest_first_with_all_that_a_person_asks_for(salesforce):
    salesforce.user(USER, name="Heating & Cooling")
    rest = Rest(salesforce)
    (contact,) = salesforce.seed("Contact", {"FirstName": "Cleo", "LastName": "Frost"})
    rest.create({"Subject": "Pump 7: overheated", "Priority": "High", "ContactId": contact, "Message_Id__c": "m-1"})
    rest.create({"Subject": "Pump 8: leaking"})
    html = page(salesforce).text
    for text in (
        "00001001",
        "Pump 7: overheated",
        "High",
        "Cleo Frost",
        "m-1",
        USER,
        "Heating &amp; Cooling",
        "<b>2</b> Cases",
    ):
        assert text in html
    assert html.index("Pump 8") < html.index("Pump 7")


def test_the_page_escapes_what_came_from_outside(salesforce):
    rest = Rest(salesforce)
    salesforce.add_field("Case", "Evil__c", length=80)
    evil = "<script>alert('1')</script>\"&"
    rest.create({"Subject": evil, "Priority": evil, "Status": evil, "Evil__c": evil, "Description": evil})
    html = page(salesforce).text
    assert "<script" not in html
    assert html.count("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&#34;&amp;") == 5


def test_the_page_runs_nothing_and_only_its_buttons_change_something(salesforce):
    answer = page(salesforce)
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self';")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "No Cases yet." in answer.text
    assert requests.get(f"{salesforce.url}/style.css", timeout=30).headers["Content-Type"].startswith("text/css")
    assert requests.post(salesforce.url, timeout=30).status_code == 405
    assert requests.get(f"{salesforce.url}/etc/passwd", timeout=30).status_code == 404


def press(org: Org, word: str, **headers: str) -> requests.Response:
    return requests.post(f"{org.url}/fail", {"word": word}, headers=headers, timeout=30, allow_redirects=False)


def test_a_button_of_the_page_begins_an_outage_that_the_page_shows(salesforce):
    rest = Rest(salesforce)
    assert press(salesforce, "503", Origin=salesforce.url).headers["Location"] == "/"
    assert rest.send("GET", "/limits").status_code == 503
    assert re.search(r">503\s+until \d\d:\d\d:\d\d UTC<", page(salesforce).text)
    assert press(salesforce, "ok", Origin=salesforce.url).status_code == 303
    assert rest.send("GET", "/limits").status_code == 200
    assert "UTC</b>" not in page(salesforce).text
    assert press(salesforce, "504", Origin=salesforce.url).status_code == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "{url}", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://evil.example", "Host": "evil.example"}, 421),  # DNS rebinding
    ],
)
def test_a_button_of_another_page_begins_none(salesforce, headers, status):
    sent = {name: value.format(url=salesforce.url) for name, value in headers.items()}
    assert press(salesforce, "503", **sent).status_code == status
    assert salesforce.ask("GET", "/_sim/faults") == []


def test_the_command_makes_a_running_sandbox_fail_and_the_fault_ends_by_itself(salesforce):
    rest = Rest(salesforce)

    def fail(*arguments: str) -> str:
        done = run("fail", *arguments, "--url", salesforce.url)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "active: lost, until `sfconnector sandbox fail ok`" in fail("lost")
    with pytest.raises(requests.ConnectionError):
        rest.create({"Subject": "a"})
    assert [case["Subject"] for case in salesforce.cases()] == ["a"]
    assert "No fault is active." in fail("ok")
    assert "active: 503, 3600 s left" in fail("503", "--for", "1h")
    assert rest.send("GET", "/limits").status_code == 503
    fail("503", "--for", "1s")
    eventually(lambda: rest.send("GET", "/limits").status_code == 200, what="the end of the outage")
    fail("expired", "--user", USER)
    assert rest.send("GET", "/limits").status_code == 401


def test_the_command_says_when_no_sandbox_answers():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        done = run("fail", "503", "--url", f"http://127.0.0.1:{closed.getsockname()[1]}")
    assert (done.returncode, done.stdout) == (69, "")
    assert "no sandbox answers at" in done.stderr


@pytest.mark.parametrize("arguments", [["fail", "504"], ["fail", "ok", "--for", "1s"], ["--port", "1", "fail", "ok"]])
def test_wrong_usage_of_fail_exits_with_2(arguments):
    assert run(*arguments).returncode == 2


def test_a_page_of_another_site_cannot_make_a_browser_administrate_it(salesforce):
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        headers = {"Content-Type": kind}
        answer = requests.post(f"{salesforce.url}/_sim/reset", b"{}", headers=headers, timeout=30)
        assert answer.status_code == 415


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("rebound.example", 421),
        ("rebound.example:8080", 421),
        ("127.0.0.1@rebound.example", 421),
        ("localhost", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
    ],
)
def test_a_foreign_name_that_resolves_to_the_sandbox_reaches_neither_its_administration_nor_its_page(
    salesforce, host, status
):
    for path in ("/", "/_sim/users", "/_sim/counts"):
        assert requests.get(salesforce.url + path, headers={"Host": host}, timeout=30).status_code == status
    reset = requests.post(f"{salesforce.url}/_sim/switches", json={}, headers={"Host": host}, timeout=30)
    assert reset.status_code == (421 if status == 421 else 405)


@pytest.mark.parametrize(
    ("method", "path", "body", "text"),
    [
        ("POST", "/_sim/nothing", {}, "404"),
        ("PUT", "/_sim/reset", {}, "405"),
        ("PATCH", "/_sim/switches", {"magic": True}, "magic: no such switch"),
        ("PATCH", "/_sim/switches", {"latency_ms": "slow"}, "latency_ms: expected float"),
        ("PATCH", "/_sim/switches", {"maintenance": "maybe"}, "expected one of"),
        ("POST", "/_sim/users", {"username": "x", "shoe_size": 42}, "no such key: shoe_size"),
        ("POST", "/_sim/apps", {"client_id": "x", "flows": ["magic"]}, "expected some of"),
        ("POST", "/_sim/faults", {"action": {"status": 500}, "match": {"path": "("}}, "match:"),
        ("POST", "/_sim/records/Case", [{"Nope__c": 1}], "No such column"),
        ("POST", "/_sim/reset", [], "400"),
    ],
)
def test_the_administration_says_what_is_wrong_with_a_request(salesforce, method, path, body, text):
    with pytest.raises(AssertionError, match=text):
        salesforce.ask(method, path, body)


def test_it_keeps_its_state_in_a_file_that_only_its_user_reads(own, tmp_path):
    file = tmp_path / "state.json"
    own.arguments = ["--state", str(file)]
    own.start()
    rest = Rest(Org(own))
    rest.org.add_field("Case", "Line__c")
    rest.create({"Subject": "a", "Line__c": "7", "Message_Id__c": "m-1"})
    own.restart()
    assert file.stat().st_mode & 0o777 == 0o600
    assert rest.create({}).status_code == 401  # sessions end with the process
    rest.log_in()
    assert [case["Line__c"] for case in rest.org.cases()] == ["7"]
    assert rest.create({"Subject": "b"}).status_code == 201
    assert rest.create({"Message_Id__c": "M-1"}).json()[0]["errorCode"] == "DUPLICATE_VALUE"
    assert [case["CaseNumber"] for case in rest.org.cases()] == ["00001001", "00001002"]


def test_its_state_is_on_disk_soon_after_a_change(own, tmp_path):
    file = tmp_path / "state.json"
    own.arguments = ["--state", str(file)]
    own.start()
    rest = Rest(Org(own))
    rest.create({"Subject": "a"})
    eventually(lambda: file.exists() and '"Subject": "a"' in file.read_text(), what="the Case in the file")
    own.kill()
    own.start()
    assert [case["Subject"] for case in rest.org.cases()] == ["a"]


def test_a_schema_adds_objects_and_fields(own, tmp_path):
    file = tmp_path / "schema.json"
    device = {"name": "Device__c", "label": "Device", "fields": [{"name": "Serial__c", "type": "string", "length": 20}]}
    case = {"name": "Case", "fields": [{"name": "Site__c", "type": "string", "length": 3}]}
    file.write_text(json.dumps({"objects": [device, case]}))
    own.arguments = ["--schema", str(file)]
    own.start()
    rest = Rest(Org(own))
    assert rest.create({"Serial__c": "s-1"}, "Device__c").json()["id"].startswith("a0")
    assert rest.create({"Site__c": "long"}).json()[0]["errorCode"] == "STRING_TOO_LONG"


def test_latency_can_be_given_at_the_start(own):
    own.arguments = ["--latency", "300ms"]
    own.start()
    rest = Rest(org_without_reset(own))
    rest.send("GET", "/limits")
    assert rest.org.requests("/limits")[-1]["ms"] >= 300


def org_without_reset(server: Own) -> Org:
    org = Org.__new__(Org)
    org.server, org.url = server, server.url
    org.app("test-app", "test-app/secret;1")
    return org


def run(*arguments: str, timeout: float = 60) -> "subprocess.CompletedProcess[str]":
    command = [str(COMMAND), "sandbox", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=os.environ, check=False)


def test_it_starts_with_users_and_a_configuration_to_try(services, tmp_path):
    server = Demo(services)
    server.start()
    try:
        told = server.log.read_text()
        assert f"A local Salesforce is at {server.url}" in told
        config = json.loads(told[told.index("{") :])
        file = tmp_path / "config.json"
        file.write_text(json.dumps(config))
        assert load(str(file)).divisions[0].salesforce.login_url == server.url
        app = config["tenant"]["salesforce"]
        form = {
            "grant_type": "client_credentials",
            "client_id": app["client_id"],
            "client_secret": app["client_secret"],
        }
        assert requests.post(f"{server.url}/services/oauth2/token", form, timeout=30).status_code == 200
        server.stop()
        assert server.code == 0
    finally:
        server.discard()


class Demo(Salesforce):
    code: int | None = None

    def commands(self) -> Sequence[Sequence[str]]:
        return [[str(COMMAND), "sandbox", "--port", str(self.port)]]

    def discard(self) -> None:
        if self._groups:
            self.code = self._groups[-1].poll()
        super().discard()


def test_a_port_that_is_taken_is_told_in_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("--port", str(port))
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another port with --port" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["no json", "{}", "[]", '{"org": {}, "accounts": {}}'])
def test_a_state_that_is_none_is_told_in_one_line(tmp_path: Path, text):
    file = tmp_path / "state.json"
    file.write_text(text)
    done = run("--port", "0", "--state", str(file))
    assert done.returncode == 1
    assert "cannot be used" in done.stderr
    assert "Traceback" not in done.stderr
    assert file.read_text() == text
