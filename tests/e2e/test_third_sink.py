"""A third sink, tests/examples/http_sink.py: a full daemon with what the library gives every sink."""

import json
import signal
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from connectorlib.service.log_writer import flush_all
from tests.e2e.conftest import CONSUMING, Command
from tests.examples import http_sink
from tests.services.rabbitmq import Vhost
from tests.services.server import free_port
from tests.services.waiting import eventually

FILE = "http-sink.json"


class Target:
    """A server that answers each message with `status`, but 422 to the body `bad`, and may be away."""

    def __init__(self) -> None:
        self.port = free_port()
        self.status = 204
        self.bodies: list[bytes] = []
        self.keys: list[str | None] = []
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        target = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.answer(target.status)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if target.status < 300 and body != b"bad":
                    target.bodies.append(body)
                    target.keys.append(self.headers["Idempotency-Key"])
                self.answer(422 if body == b"bad" else target.status)

            def answer(self, status: int) -> None:
                self.send_response(status)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class HttpSinkCommand(Command):
    def __init__(self, folder: Path, vhost: Vhost, target: Target) -> None:
        super().__init__(folder, vhost)
        self.target = target
        self.monitoring = free_port()

    @property
    def program(self) -> list[str]:
        return [sys.executable, str(http_sink.__file__)]

    def configure(self, **sections: Any) -> None:
        config = {
            "broker": self.vhost.config(source={"queue": "letters"}),
            "http": {"url": f"http://127.0.0.1:{self.target.port}/letters"},
            "batch": {"size": 20, "wait_ms": 20},
            "monitoring": {"port": self.monitoring},
        } | sections
        (self.folder / FILE).write_text(json.dumps(config))

    def publish(self, *bodies: bytes, **properties: Any) -> None:
        self.vhost.publish("", "letters", list(bodies), **properties)

    def readiness(self) -> str:
        return requests.get(f"http://127.0.0.1:{self.monitoring}/readyz", timeout=30).text.strip()


@pytest.fixture
def target() -> Iterator[Target]:
    it = Target()
    it.start()
    yield it
    it.stop()


@pytest.fixture
def sink(tmp_path: Path, vhost: Vhost, target: Target) -> HttpSinkCommand:
    it = HttpSinkCommand(tmp_path, vhost, target)
    it.configure()
    return it


RUN = ("run", "-c", FILE)


def test_messages_arrive_in_order_and_what_is_refused_becomes_a_dead_letter(
    sink: HttpSinkCommand, target: Target
) -> None:
    with sink.running(*RUN):
        sink.publish(*[b"%d" % n for n in range(50)], b"bad", *[b"%d" % n for n in range(50, 100)], message_id="a/ü\n")
        assert eventually(lambda: len(target.bodies) == 100)
        assert eventually(lambda: sink.vhost.depth("dead-letter") == 1)
    assert target.bodies == [b"%d" % n for n in range(100)]
    assert set(target.keys) == {"a/%C3%BC%0A"}
    ((body, headers),) = sink.dead()
    assert (body, headers["dead-reason"], headers["dead-code"]) == (b"bad", "reject", "http-422")
    assert sink.vhost.depth("letters") == 0


def test_a_server_that_refuses_every_message_pauses_it(sink: HttpSinkCommand, target: Target) -> None:
    sink.configure(retry={"flood": 10})
    target.status = 422
    with sink.running(*RUN) as running:
        sink.publish(*[b"%d" % n for n in range(60)])
        assert " cause=http-422 same=1" in running.wait_for("PAUSED flow=letters ")
        target.status = 204
        running.signal(signal.SIGUSR1)
        running.wait_for("RESUMED flow=letters ")
        eventually(lambda: sink.vhost.depth("letters") == 0)
        eventually(lambda: len(target.bodies) + sink.vhost.depth("dead-letter") == 60)
        assert 9 <= sink.vhost.depth("dead-letter") <= 12  # and a probe or two


@pytest.mark.parametrize("outage", ["503", "no server"])
def test_an_outage_pauses_it_and_nothing_is_lost(sink: HttpSinkCommand, target: Target, outage: str) -> None:
    with sink.running(*RUN) as running:
        sink.publish(b"1")
        assert eventually(lambda: target.bodies == [b"1"])
        if outage == "503":
            target.status = 503
        else:
            target.stop()
        sink.publish(b"2", b"bad", b"3")
        paused = running.wait_for("PAUSED flow=letters ")
        assert "start the server or fix the reported error" in paused
        assert sink.readiness().startswith("letters: paused: ")
        assert sink.vhost.depth("dead-letter") == 0
        if outage == "503":
            target.status = 204
        else:
            target.start()
        running.signal(signal.SIGUSR1)
        running.wait_for("RESUMED flow=letters ")
        assert eventually(lambda: target.bodies == [b"1", b"2", b"3"])
        assert eventually(lambda: sink.vhost.depth("dead-letter") == 1)


def test_it_takes_nothing_before_the_server_answers_once(sink: HttpSinkCommand, target: Target) -> None:
    target.stop()
    with sink.running(*RUN, ready="PAUSED ") as running:
        assert eventually(lambda: sink.vhost.exists("letters"))
        sink.publish(b"1")
        assert target.bodies == []
        target.start()
        running.signal(signal.SIGUSR1)
        assert eventually(lambda: target.bodies == [b"1"])


def test_the_status_knows_the_server_by_its_name(sink: HttpSinkCommand, target: Target) -> None:
    with sink.running(*RUN):
        sink.publish(b"1")
        assert eventually(lambda: target.bodies == [b"1"])
        status = sink.run("status", "-c", FILE)
        assert status.returncode == 0
        lines = [line.split() for line in status.stdout.splitlines()]
        assert ["server", "connected", "since"] in [words[:3] for words in lines]
        assert lines[0][:2] == ["http-sink", "letters,"]
        assert status.stdout.splitlines()[-1].startswith("OK: the last message came ")
        metrics = requests.get(f"http://127.0.0.1:{sink.monitoring}/metrics", timeout=30).text
        assert 'amqp_connector_messages_written_total{flow="letters"} 1.0' in metrics
        assert 'amqp_connector_connected{to="server"} 1.0' in metrics
        assert "cases" not in metrics
    assert sink.run("status", "-c", FILE).returncode == 69


def test_a_new_configuration_takes_over(sink: HttpSinkCommand, target: Target) -> None:
    with sink.running(*RUN) as running:
        sink.configure(http={"url": f"http://127.0.0.1:{target.port}/other", "timeout": 5})
        running.signal(signal.SIGHUP)
        running.wait_for(CONSUMING, times=2)
        sink.publish(b"1")
        assert eventually(lambda: target.bodies == [b"1"])
        (sink.folder / FILE).write_text("{")
        running.signal(signal.SIGHUP)
        running.wait_for("not reloaded: all goes on as before")


def test_check_asks_the_broker_and_the_server(sink: HttpSinkCommand, target: Target) -> None:
    with sink.running(*RUN):
        pass  # it makes the queues
    checked = sink.run("check", "-c", FILE)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert f"server: http://127.0.0.1:{target.port}/letters" in checked.stdout
    target.stop()
    checked = sink.run("check", "-c", FILE)
    assert checked.returncode == 69
    assert "server: http " in checked.stdout


@pytest.mark.parametrize(
    ("sections", "complaint"),
    [
        ({"http": {"url": "ftp://x"}}, "http.url: expected an address with http:// or https://"),
        ({"http": {"url": "http://x", "tokn": ""}}, "http.tokn: unknown key"),
        ({"broker": {"source": {}}}, '"queue" is missing'),
    ],
)
def test_a_wrong_configuration_is_told_with_its_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], sections: dict[str, Any], complaint: str
) -> None:
    file = tmp_path / FILE
    config = {"broker": {"source": {"queue": "letters"}}, "http": {"url": "http://127.0.0.1/letters"}} | sections
    file.write_text(json.dumps(config))
    for command in ("run", "check"):  # in this process: nothing is started for a configuration that is wrong
        with pytest.raises(SystemExit) as ended:
            http_sink.main([command, "-c", str(file)])
        flush_all()
        assert ended.value.code == 78
        assert complaint in "".join(capfd.readouterr())


def test_a_sink_imports_at_most_five_names() -> None:
    lines = Path(http_sink.__file__).read_text().splitlines()
    names = [line.partition(" import ")[2].split(", ") for line in lines if line.startswith("from connectorlib")]
    assert sum(map(len, names)) <= 5
