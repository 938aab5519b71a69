"""What the README's first screen promises, done with the installed command."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DBCONNECTOR = Path(sys.executable).with_name("dbconnector")


def first_configuration():
    return json.loads(re.findall(r"```json\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0])


def test_the_configuration_of_the_readme_writes_the_message_of_the_readme(vhost, sqlite_db, tmp_path):
    (message,) = re.findall(r'`(\{"device".*?\})`', (ROOT / "README.md").read_text())
    configuration = first_configuration()
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
