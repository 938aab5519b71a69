"""`deadletter-queue` on the vhost of a test, run as an operator runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from tests.e2e.conftest import Command, installed

Completed = subprocess.CompletedProcess[str]

#: Runs the command for each of the arguments that it reads, and prints exit code, output and errors of each.
REPEAT = """
import contextlib, io, json, sys
from deadletterqueue.cli import main
for arguments in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            main(arguments)
        except SystemExit as end:
            code = end.code
    print(json.dumps([code, out.getvalue(), errors.getvalue()]))
"""


class Workbench(Command):
    """The command with what it needs to reach the vhost of a test."""

    command = "deadletter-queue"

    def options(self) -> list[str]:
        vhost = self.vhost
        api = f"http://{vhost.host}:{vhost.node.management_port}"
        return [
            *("--host", f"{vhost.host}:{vhost.port}", "--vhost", vhost.name, "--username", vhost.username),
            *("--management-url", api),
        ]

    def __call__(self, *arguments: str, code: int = 0, **options: Any) -> str:
        """Run it, check its exit code, return what it printed."""
        options = {"AMQP_PASSWORD": self.vhost.password} | options
        done = self.run(*arguments, *self.options(), **options)
        assert done.returncode == code, done.stdout + done.stderr
        self.said = done.stderr
        return done.stdout

    def answers(self, *arguments: str) -> bool:
        """Run it; return whether it did what was asked."""
        return self.run(*arguments, *self.options(), AMQP_PASSWORD=self.vhost.password).returncode == 0

    def repeated(self, *commands: Sequence[str]) -> list[tuple[int, str, str]]:
        """Run it many times, in one process since most of a short command is the start of Python; return exit code,
        output and errors of each."""
        text = json.dumps([[*command, *self.options()] for command in commands])
        done = subprocess.run(
            [sys.executable, "-c", REPEAT],
            input=text,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return [tuple(json.loads(line)) for line in done.stdout.splitlines()]

    def told(self, text: str, *arguments: str) -> Completed:
        """Run it with a text on its standard input."""
        return subprocess.run(self.whole(*arguments), input=text, env=self.environment, capture_output=True, text=True)

    def started(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start it; what it prints has to be read."""
        pipe = subprocess.PIPE
        return subprocess.Popen(self.whole(*arguments), cwd=self.folder, env=self.environment, stdout=pipe, stderr=pipe)

    def whole(self, *arguments: str) -> list[str]:
        return [str(installed(self.command)), *arguments, *self.options()]

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"AMQP_PASSWORD": self.vhost.password}

    def json(self, *arguments: str, code: int = 0, **options: Any) -> Any:
        return json.loads(self(*arguments, "--json", code=code, **options))

    def ids(self, *arguments: str) -> list[str]:
        """Return the message ids of the letters that `list` gives, in order."""
        return [each["message_id"] for each in self.json("list", *arguments)]

    def arguments_of(self, queue: str) -> dict[str, Any]:
        found: dict[str, Any] = self.vhost.api("GET", f"/api/queues/{{vhost}}/{queue}")["arguments"]
        return found
