"""`init` as a stranger uses it: what it writes is proved at once, and works."""

import json
import os
import pty
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

from tests.e2e.cases import Divisions
from tests.e2e.conftest import installed
from tests.services import fork_server
from tests.services.database import Database
from tests.services.rabbitmq import Vhost


def run(folder: Path, *words: str, code: int = 0, **environment: str) -> str:
    """Run a command in a folder, check its exit code, return what it printed."""
    done = fork_server.run(words[0], words[1:], cwd=folder, env=os.environ | environment)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_configuration_that_sends_rows_is_right_too(tmp_path: Path) -> None:
    told = run(tmp_path, "dbconnector", "init", "--non-interactive", "--mode", "select", "-c", "out.config")
    assert told.startswith("Written: out.config, out.config.row.json, out.config.tests.json\n")
    assert "dbconnector select -c out.config" in told
    complaint = run(
        tmp_path, "dbconnector", "subscribe", "-c", "out.config", code=78, DB_PASSWORD="x", AMQP_PASSWORD="x"
    )
    assert "broker.source is missing" in complaint  # and nothing else


def answered(folder: Path, line: str, answers: list[str]) -> str:
    """Run a command on a terminal, type one answer at each prompt, return what the terminal showed."""
    terminal, theirs = pty.openpty()
    program, *arguments = line.split()
    process = subprocess.Popen([installed(program), *arguments], cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = ""
    waiting = list(answers)
    while True:
        try:
            shown += os.read(terminal, 4096).decode()
        except OSError:  # Linux says so at the end
            break
        if shown.endswith("]: ") and waiting:
            os.write(terminal, f"{waiting.pop(0)}\n".encode())
            shown += "\n"
    os.close(terminal)
    assert process.wait(60) == 0, shown
    assert waiting == []
    return shown


def test_on_a_terminal_it_asks_takes_enter_for_the_default_and_asks_again(tmp_path: Path) -> None:
    answers = ["", "sqlite:///plant.db", "reading; DROP", "reading", "", "amqp://app@mq/plant", "", "-", "file"]
    shown = answered(tmp_path, "dbconnector init", answers)
    assert "Error: 'reading; DROP': expected letters" in shown
    assert "routing key" not in shown  # without an exchange it means nothing
    written: Any = json.loads((tmp_path / "db.config").read_text())
    assert written["broker"]["virtual_host"] == "plant"
    assert written["broker"]["source"] == {"queue": "reading"}
    assert "install -m 600 /dev/stdin amqp.pw" in shown
    mode = stat.S_IMODE((tmp_path / "db.config").stat().st_mode)
    assert mode & ~0o666 == 0


def test_the_sample_is_written_into_the_table(vhost: Vhost, sqlite_db: Database, tmp_path: Path) -> None:
    sqlite_db.execute("CREATE TABLE reading (device text, at text, value numeric)")
    database = f"sqlite:///{sqlite_db.connection['Database']}"
    broker = f"amqp://{vhost.username}@{vhost.host}:{vhost.port}/{vhost.name}"
    run(tmp_path, "dbconnector", "init", "--non-interactive", "--database", database, "--broker", broker)
    receive = ("dbconnector", "receive", "-c", "db.config")
    run(tmp_path, *receive, code=3, AMQP_PASSWORD=vhost.password)  # the queue is made and bound, and empty
    vhost.publish("devices", "reading.p7", (tmp_path / "db.config.message.json").read_bytes())
    run(tmp_path, *receive, AMQP_PASSWORD=vhost.password)
    assert [row[0] for row in sqlite_db.rows("SELECT device FROM reading")] == ["pump-3"]
    told = run(tmp_path, "dbconnector", "check", "-c", "db.config", AMQP_PASSWORD=vhost.password)
    assert "✘" not in told


def test_the_sample_becomes_a_case_of_the_sandbox(divisions: Divisions) -> None:
    divisions.org.reset(demo=True)
    vhost, folder = divisions.vhost, divisions.file.parent
    broker = f"amqp://{vhost.username}@{vhost.host}:{vhost.port}/{vhost.name}"
    init = ("sfconnector", "init", "--non-interactive", "--force", "--login-url", divisions.org.url, "--broker", broker)
    told = run(folder, *init, "-i", str(divisions.file))
    given = dict(re.findall(r"export (\w+)=(\S+)", told)) | {"AMQP_PASSWORD": vhost.password}
    message = next(folder.glob("*.message.json")).read_bytes()
    with divisions.started(**given):
        divisions.publish("alarm.p-7", [message], exchange="devices")
        (case,) = divisions.cases(1)
    assert (case["Subject"], case["SuppliedEmail"]) == ("Device p-7: overheated", "ada.field@example.com")
    assert case["ContactId"].startswith("003")
