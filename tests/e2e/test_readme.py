"""What the README's first screen promises, done with the installed command."""

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.pages import ROOT, blocks

DBCONNECTOR = Path(sys.executable).with_name("dbconnector")


def configurations():
    shown = {block.title: block.text for block in blocks("README.md") if block.language == "json"}
    return json.loads(shown["db.config"]), json.loads(shown["config.json"]), shown["alarm.json"].encode()


def test_the_configuration_of_the_readme_writes_the_message_of_the_readme(vhost, sqlite_db, tmp_path):
    (message,) = re.findall(r'`(\{"device".*?\})`', (ROOT / "README.md").read_text())
    configuration, _, _ = configurations()
    configuration["broker"].update(vhost.config())
    configuration["database"]["connection"] = sqlite_db.connection
    (tmp_path / "db.config").write_text(json.dumps(configuration))
    sqlite_db.execute("CREATE TABLE reading (device text, at text, value real)")

    command: list[str | Path] = [DBCONNECTOR, "receive", "-c", "db.config"]
    empty = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert empty.returncode == 3, empty.stderr  # the queue is made and bound, and empty
    vhost.publish("devices", "reading.p7", message)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert sqlite_db.rows("SELECT device, at, value FROM reading") == [tuple(json.loads(message).values())]
    assert vhost.depth("readings") == 0


def test_the_configuration_for_cases_of_the_readme_makes_one_case_of_a_message_that_comes_twice(divisions):
    _, configuration, body = configurations()
    divisions.org.reset(demo=True)
    configuration["tenant"]["amqp"] = divisions.vhost.config()
    configuration["tenant"]["salesforce"]["login_url"] = divisions.org.url
    divisions.file.write_text(json.dumps(configuration))

    with divisions.started():
        for start in (0, 1, 0, 2):  # the last one says that all before it are dealt with
            divisions.publish("alarm.pump.7", [body], exchange="devices", start=start)
        divisions.cases(3)
    found = divisions.cases(3)
    assert {(case["Subject"], case["Message_Id__c"]) for case in found} == {
        ("Pump 7: overheated", f"m{number}") for number in range(3)
    }
