"""The monitoring port: bounded in threads and time, and no trouble to the connector whatever comes."""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest

from connectorlib.amqp import Broker
from connectorlib.errors import Failure, Kind
from connectorlib.monitoring import monitoring_server
from connectorlib.monitoring.monitor import Depth, Monitor
from connectorlib.monitoring.monitoring_server import serving
from connectorlib.monitoring.status_command import NoAnswer, ask
from connectorlib.pipeline.blame import Pause
from connectorlib.pipeline.pause import PauseNotice
from connectorlib.service import http_server
from connectorlib.shared_settings import BrokerSettings, Monitoring
from tests.services.proxy import proxy
from tests.services.rabbitmq import Vhost
from tests.services.server import free_port
from tests.services.waiting import eventually

#: Nobody is there: the port must answer all the same.
NOBODY = BrokerSettings(hosts=(("127.0.0.1", 1),))


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    broker = Broker(NOBODY, name="test")  # not started: nothing but the port is looked at
    yield Monitor("dbconnector", "readings", "db.config", broker, "dead-letter")
    broker.stop()


@pytest.fixture(params=["127.0.0.1", "::1"])
def port(monitor: Monitor, request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    address = request.param, free_port()
    with serving(Monitoring(*address), monitor):
        eventually(lambda: answers(address))
        yield address
    assert not answers(address)


def answers(address: tuple[str, int]) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(address, 5):
        return True
    return False


def got(address: tuple[str, int], path: str, method: str = "GET") -> tuple[int, bytes]:
    connection = HTTPConnection(*address, timeout=20)
    connection.request(method, path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body


def is_ended(connection: socket.socket) -> bool:
    """Send one byte more of what never becomes a request; return whether nobody is there to take it."""
    try:
        connection.send(b"x")
    except OSError:
        return True
    return False


def at_work() -> int:
    """Return how many requests have a thread."""
    return sum(thread.name == http_server.WORKER for thread in threading.enumerate())


def said(connection: socket.socket) -> bytes:
    """Return all that comes until the other side ends the connection."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while more := connection.recv(65536):
            received += more
    return received


@pytest.mark.parametrize("port", ["127.0.0.1"], indirect=True)
@pytest.mark.parametrize(
    ("method", "path", "code", "body"),
    [
        ("GET", "/healthz", 200, b"alive\n"),
        ("GET", "/healthz?verbose", 200, b"alive\n"),
        ("HEAD", "/healthz", 200, b""),
        ("GET", "/readyz", 200, b"running\n"),
        ("GET", "/nothing", 404, b"not here; there are /, /style.css, /status, /metrics, /healthz, /readyz\n"),
        ("POST", "/status", 501, None),
    ],
)
def test_each_path_has_its_answer_and_nothing_can_be_sent(port, method, path, code, body):
    status, received = got(port, path, method)
    assert status == code
    assert body is None or received == body


def test_the_status_can_be_asked_while_no_broker_answers(port):
    found = ask(Monitoring(*port), "dbconnector")
    assert found["conclusion"].startswith("there is no connection to the broker")
    assert found["exit"] == 1


def test_somebody_elses_port_is_no_status(port):
    with pytest.raises(NoAnswer, match=r"dbconnector answers on .*, not sfconnector: give each"):
        ask(Monitoring(*port), "sfconnector")


@pytest.mark.parametrize("begin", [b"", b"GET /heal"])
def test_clients_that_never_end_their_request_keep_no_other_from_its_answer(monitor, monkeypatch, begin):
    monkeypatch.setattr(monitoring_server, "CONNECTION_S", 3.0)
    monkeypatch.setattr(http_server, "MOST_CONNECTIONS", 40)
    port = "127.0.0.1", free_port()
    with serving(Monitoring(*port), monitor):
        eventually(lambda: answers(port))
        with contextlib.ExitStack() as stack:
            silent = []
            for _ in range(60):
                silent.append(stack.enter_context(socket.create_connection(port)))
                silent[-1].sendall(begin)
                assert got(port, "/healthz") == (200, b"alive\n")
            eventually(lambda: at_work() <= monitoring_server.THREADS)  # those of the test before end in a second
            eventually(lambda: all([is_ended(connection) for connection in silent]))  # a list: each sends something
        assert got(port, "/healthz")[0] == 200


@pytest.mark.parametrize("port", ["127.0.0.1"], indirect=True)
@pytest.mark.parametrize(
    "sent", [b"\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET /healthz\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
)
def test_what_is_no_request_harms_nothing(port, sent, caplog):
    with socket.create_connection(port) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        said(connection)
    assert got(port, "/healthz")[0] == 200
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


def test_a_port_that_is_taken_is_had_as_soon_as_it_is_free(monitor, monkeypatch, caplog):
    monkeypatch.setattr(monitoring_server, "AGAIN_S", 0.05)
    address = "127.0.0.1", free_port()
    with socket.create_server(address) as taken, serving(Monitoring(*address), monitor):
        eventually(lambda: "monitoring port unavailable" in caplog.text)
        taken.close()
        eventually(lambda: answers(address) and got(address, "/healthz")[0] == 200)


@pytest.mark.parametrize("host", ["203.0.113.7", "no such host"])
def test_an_address_that_is_not_ours_costs_nothing_but_a_line_in_the_log(monitor, caplog, host):
    with serving(Monitoring(host, free_port()), monitor):
        eventually(lambda: "monitoring port unavailable" in caplog.text)


def test_a_bug_in_an_answer_is_seen_and_the_port_stays(monitor, caplog):
    address = "127.0.0.1", free_port()
    with serving(Monitoring(*address), monitor):
        eventually(lambda: answers(address))
        monitor.checks = {"database": lambda: str(1 / 0)}
        assert got(address, "/healthz") == (500, b"a bug: see the log\n")
        monitor.checks = {}
        assert got(address, "/healthz")[0] == 200
    assert "ZeroDivisionError" in caplog.text


def test_a_silent_broker_is_asked_once_and_not_for_each_queue(queue: Vhost) -> None:
    with proxy(queue.host, queue.port) as between:
        settings = queue.broker_settings(hosts=((between.host, between.port),))
        with Broker(settings, name="test") as broker:
            broker.wait_connected(20)
            monitor = Monitor("dbconnector", "readings", "db.config", broker, "dead-letter")
            queue.publish("", "q", [b"1", b"2"])
            eventually(lambda: queue.depth("q") == 2)
            assert monitor.depth("q") == Depth(waiting=2, consumers=0)
            between.mute()
            first, *others = [seconds_for(monitor, name) for name in ("dead-letter", "b", "c", "d", "e")]
            assert sum(others) < first / 2
            between.heal()


def seconds_for(monitor: Monitor, name: str) -> float:
    """Return how long it takes to find that nobody says what is in a queue."""
    begun = time.monotonic()
    assert monitor.depth(name) is None
    return time.monotonic() - begun


# -- the button, and other connectors


def posted(address: tuple[str, int], token: str, **headers: str) -> int:
    connection = HTTPConnection(*address, timeout=20)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request(
        "POST", "/retry", f"form_token={token}", form | {k.replace("_", "-"): v for k, v in headers.items()}
    )
    status = connection.getresponse().status
    connection.close()
    return status


def paused_monitor(monitor: Monitor) -> list[str]:
    """Give the monitor a flow that is paused, and return where its retries are noted."""
    nothing: Any = NoConsumer()
    notice = PauseNotice("readings", nothing, monitor.broker)
    failure = Failure(Kind.UNAVAILABLE, "08001", "connection refused", "database")
    notice.follow("lane", Pause(failure, time.monotonic()))
    monitor.flow("readings").attach({}, nothing, notice)
    retries: list[str] = []
    monitor.retry = lambda: retries.append("now")
    return retries


class NoConsumer:
    queue, held, active = "readings", 0, False


def test_the_button_retries_what_is_paused_and_only_a_form_of_the_page_does(monitor: Monitor) -> None:
    retries = paused_monitor(monitor)
    address = "127.0.0.1", free_port()
    with serving(Monitoring(*address), monitor):
        eventually(lambda: answers(address))
        shown = got(address, "/")[1].decode()
        token = shown.partition('name="form_token" value="')[2].partition('"')[0]
        assert "readings is paused since" in shown
        assert "08001, database: connection refused." in shown
        assert posted(address, "") == posted(address, "x" * len(token)) == 403
        assert posted(address, token, Origin="https://evil.example") == 403
        assert posted(address, token, Sec_Fetch_Site="cross-site") == 403
        assert posted(address, token, Host="evil.example") == 403
        assert retries == []
        assert posted(address, token, Origin=f"http://127.0.0.1:{address[1]}") == 303
        assert retries == ["now"]


def test_a_port_that_others_reach_has_no_button(monitor: Monitor) -> None:
    retries = paused_monitor(monitor)
    address = "0.0.0.0", free_port()  # noqa: S104 - that is what it is about
    near = "127.0.0.1", address[1]
    with serving(Monitoring(*address), monitor):
        eventually(lambda: answers(near))
        assert b"form_token" not in got(near, "/")[1]
        assert posted(near, "") == 501
    assert retries == []


def shown_on(address: tuple[str, int]) -> str:
    """Return the page without the marks around its words."""
    return re.sub("</?span[^>]*>", "", got(address, "/")[1].decode())


def test_the_page_shows_other_connectors_and_those_that_do_not_answer(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring_server, "LOOK_S", 0.05)
    near, other, nobody = ("127.0.0.1", free_port()), ("127.0.0.1", free_port()), free_port()
    second = Monitor("sfconnector", "plant-2", "config.json", monitor.broker, "dead-letter")
    others = (f"127.0.0.1:{other[1]}", f"127.0.0.1:{nobody}")
    with serving(Monitoring(*other), second), serving(Monitoring(*near, others=others), monitor):
        eventually(lambda: answers(near) and "sfconnector plant-2" in shown_on(near))
        shown = shown_on(near)
    assert "there is no connection to the broker" in shown
    assert f"no connector answers on 127.0.0.1:{nobody}" in shown
