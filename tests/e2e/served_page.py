"""`deadletter-queue serve` as a process, and somebody without a browser who asks for its pages."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from urllib.parse import urlencode, urlsplit

import requests

from tests.e2e.workbench import Workbench
from tests.services.waiting import eventually


class Served:
    """A page that is served, and somebody without a browser who asks for it."""

    def __init__(self, url: str, said: str) -> None:
        self.url = url
        self.said = said
        self.session = requests.Session()

    def get(self, path: str = "/", **headers: str) -> requests.Response:
        return self.session.get(self.url + path, headers=headers, timeout=30, allow_redirects=False)

    def post(self, path: str, fields: dict[str, str] | None = None, **headers: str) -> requests.Response:
        return self.session.post(self.url + path, data=fields or {}, headers=headers, timeout=30, allow_redirects=False)

    def form_token(self) -> str:
        found = re.search(r'name="form_token" value="([0-9a-f]+)"', self.get().text)
        assert found
        return found[1]

    def scan(self) -> dict[str, str]:
        """Have the queue scanned; return the field that every form needs."""
        token = {"form_token": self.form_token()}
        self.post("/look", token)
        eventually(lambda: "dead letters" in self.get("/letters").text)
        return token

    def onward(self, job: str) -> str:
        """Wait for a job to end; return the path that it leads on to."""
        return eventually(lambda: self.get(job).headers.get("Location", ""))

    def hidden(self, path: str, action: str) -> dict[str, str]:
        """Return the hidden fields of the form with this action on a page."""
        found = re.search(f'<form method="post" action="{action}".*?</form>', self.get(path).text, re.DOTALL)
        assert found
        return dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', found[0]))

    @contextmanager
    def sent(self, path: str, fields: dict[str, str]) -> Iterator[None]:
        """Send a form whose answer nobody waits for."""
        cookies = "; ".join(f"{name}={value}" for name, value in self.session.cookies.items())
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookies}
        with closing(HTTPConnection(urlsplit(self.url).netloc, timeout=30)) as connection:
            connection.request("POST", path, urlencode(fields), headers)
            yield


@contextmanager
def started(bench: Workbench, *options: str) -> Iterator[tuple["subprocess.Popen[str]", Served]]:
    """Start to serve the page. It has to be ended in the block."""
    command = bench.whole("serve", "--port", "0", "--originals", str(bench.folder), *options)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=bench.environment, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = process.stdout.readline()
        url = re.search(r"http://\S+", said)
        assert url, said + process.stderr.read()
        if "--listen" in options:
            said += process.stdout.readline()
        page = Served(re.sub("//.*:", "//127.0.0.1:", url[0]), said)
        try:
            with page.session:
                yield process, page
        finally:
            process.kill()  # for a test that failed; whoever has ended is not affected


@contextmanager
def served(bench: Workbench, *options: str) -> Iterator[Served]:
    """Serve the page, and stop to serve it at the end of the block."""
    with started(bench, *options) as (process, page):
        yield page
        process.terminate()
        process.wait(20)
    assert process.returncode == 0
