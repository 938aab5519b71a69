"""Follows a page of the documentation as its reader does: makes its files, runs its commands, compares what they print.

Only addresses and the password of the database are other than on the page, as broker, database and ports belong to this
run. The environment has nothing that the page does not export.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.pages import ROOT, RUN, Block, blocks
from tests.services.database import Database
from tests.services.rabbitmq import RabbitMQ
from tests.services.server import free_port
from tests.services.waiting import eventually

#: The virtual hosts that pages name; they are fresh for each page.
VHOSTS = ("/", "plant")
RIGHTS = {"configure": ".*", "write": ".*", "read": ".*"}


def is_run(page: str) -> bool:
    return any(block.language in RUN and block.is_followed for block in blocks(page))


def drivers(page: str) -> set[str]:
    """Return the ODBC drivers that the files of a page name."""
    files = [block.text for block in blocks(page) if block.title and block.language == "json" and block.is_followed]
    return set(re.findall(r'"Driver": "(.+?)"', "".join(files)))


class Reader:
    """Somebody at a page, in a folder of their own; `database` is the one that stands for the page's."""

    def __init__(self, page: str, folder: Path, node: RabbitMQ, database: Database) -> None:
        self.page = page
        self.folder = folder
        self._database = database
        self._node = node
        shown = {5672: node.port, 15672: node.management_port, 8080: free_port(), 9400: free_port(), 9401: free_port()}
        #: What the page says, and what it is here.
        self._ports = {f"127.0.0.1:{port}": f"127.0.0.1:{here}" for port, here in shown.items()}
        self._shown = shown
        self._said = folder / "said"
        binaries = Path(sys.executable).parent
        self._environment = os.environ | {
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "HOME": str(folder),
            "AMQP_URL": f"amqp://guest@127.0.0.1:{node.port}/",
        }
        self._database_password = shlex.quote(database.connection.get("Pwd", ""))

    def follow(self) -> None:
        """Do all that the page says, from its beginning to its end."""
        self._make_room()
        self._make_examples()
        page = blocks(self.page)
        with contextlib.ExitStack() as going_on:
            for block, following in zip(page, [*page[1:], None], strict=True):
                if not block.is_followed:
                    continue
                self._export(block)
                if block.title:
                    self._write(block)
                elif block.language == "sql":
                    self._database.script(*filter(str.strip, block.text.split(";")))
                elif block.ready:
                    going_on.enter_context(self._going_on(block))
                elif block.language in ("sh", "python"):
                    self._run(block, following.text if following and following.prints else None)

    def _make_room(self) -> None:
        """The broker of a fresh installation: the user guest, and virtual hosts without anything in them."""
        api = self._node.api
        api("PUT", "/api/users/guest", {"password": "guest", "tags": "administrator"})
        there = {each["name"] for each in api("GET", "/api/vhosts")}
        for name in VHOSTS:
            quoted = name.replace("/", "%2F")
            if name in there:
                api("DELETE", f"/api/vhosts/{quoted}")
            api("PUT", f"/api/vhosts/{quoted}")
            api("PUT", f"/api/permissions/{quoted}/guest", RIGHTS)

    def _make_examples(self) -> None:
        shutil.copytree(ROOT / "config", self.folder / "config")
        for file in (self.folder / "config").rglob("*.json"):
            file.write_text(self._here(file.read_text(), is_json=True))

    def _here(self, text: str, *, is_json: bool) -> str:
        """Return a text of the page with the addresses and the password of this run."""
        for shown, here in self._ports.items():
            text = text.replace(shown, here)
        text = text.replace("DB_PASSWORD=plant-password", f"DB_PASSWORD={self._database_password}")
        port = self._shown[8080]
        text = re.sub(r"\bsfconnector sandbox\b(?! fail)", rf"\g<0> --port {port}", text)
        text = re.sub(r"\bsfconnector sandbox fail\b", rf"\g<0> --url http://127.0.0.1:{port}", text)
        return json.dumps(self._settings(json.loads(text)), indent=2) if is_json else text

    def _settings(self, data: Any) -> Any:
        """Return a configuration with the addresses of this run."""
        if not isinstance(data, dict):
            return data
        for broker in (data.get("broker"), data.get("tenant", {}).get("amqp")):
            if broker is not None:
                broker |= {"host": "127.0.0.1", "port": self._node.port}
        if "port" in data.get("monitoring", {}):
            data["monitoring"]["port"] = self._shown[data["monitoring"]["port"]]
        connection = data.get("database", {}).get("connection", {})
        if self._database.server and connection.get("Driver") == self._database.connection["Driver"]:
            connection |= {key: value for key, value in self._database.connection.items() if key != "Pwd"}
        return data

    def _write(self, block: Block) -> None:
        file = self.folder / block.title
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self._here(block.text, is_json=block.language == "json"))

    def _export(self, block: Block) -> None:
        """Keep what a block exports for the blocks after it, as the shell of the reader does."""
        for line in re.findall(r"^export (.+)$", self._here(block.text, is_json=False), re.MULTILINE):
            self._environment |= dict(word.split("=", 1) for word in shlex.split(line))

    def _command(self, block: Block) -> list[str]:
        text = self._here(block.text, is_json=False)
        return ["bash", "-euc", text] if block.language == "sh" else [sys.executable, "-c", text]

    @contextlib.contextmanager
    def _going_on(self, block: Block) -> Iterator[None]:
        """Run what goes on until the end of the page, where it is stopped and has to exit with 0."""
        log = self.folder / f"log-{block.line}"
        with log.open("wb") as said:
            process = subprocess.Popen(
                self._command(block), cwd=self.folder, env=self._environment, stdout=said, stderr=subprocess.STDOUT
            )
        try:
            eventually(
                lambda: block.ready in log.read_text() or process.poll() is not None, what=f"{block}: {block.ready}"
            )
            assert process.poll() is None, log.read_text()
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == block.code, log.read_text()
        finally:
            process.kill()
            process.wait(10)
            print(log.read_text())  # pytest shows it when the test fails

    def _run(self, block: Block, prints: str | None) -> None:
        """Run a block; where the page says what it prints, until it does: what it looks at may take a moment."""

        def done() -> bool:
            it = subprocess.run(
                self._command(block), cwd=self.folder, env=self._environment, capture_output=True, text=True, timeout=60
            )
            assert it.returncode == block.code, f"{block}: {it.returncode}\n{it.stdout}{it.stderr}"
            if prints is not None:
                said = self._as_shown(it.stdout)
                assert matches(prints, said), f"{block} prints\n{said}\nbut the page says\n{prints}"
            return True

        eventually(done, 30 if prints is not None else 0, 0.2)

    def _as_shown(self, text: str) -> str:
        for shown, here in self._ports.items():
            text = text.replace(here, shown)
        return text


def matches(pattern: str, text: str) -> bool:
    """Return whether a text is what the page shows; … stands for anything, ends of lines do not count."""
    wanted = [re.escape(line.rstrip()).replace("…", ".*") for line in pattern.strip().splitlines()]
    given = "\n".join(line.rstrip() for line in text.strip().splitlines())
    return re.fullmatch("\n".join(wanted), given, re.DOTALL) is not None
