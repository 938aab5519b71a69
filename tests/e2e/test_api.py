"""The Python API: True, False or None, never an exception, and nothing of the process that calls it is touched."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dbconnector import DBConnector
from tests.e2e.conftest import Connector, reading
from tests.services.server import free_port
from tests.services.waiting import eventually


def python(connector: Connector, code: str) -> tuple[str, str]:
    """Run a line of Python in the configuration's folder; return what it printed and what it told."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=connector.folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


RECEIVE = "from dbconnector import DBConnector; print(DBConnector('db.config').receiveNInsert())"
SELECT = "from dbconnector import DBConnector; print(DBConnector('db.config').selectNSend())"


def test_receive_is_true_then_none_when_the_queue_is_empty(connector: Connector) -> None:
    connector.configure()
    connector.vhost.declare_queue("readings", arguments={"x-dead-letter-exchange": "dead-letter"})
    connector.publish(reading(1))
    assert python(connector, RECEIVE) == ("True\n", "")
    assert python(connector, RECEIVE) == ("None\n", "")
    assert connector.database.rows("SELECT id, device FROM reading") == [(1, "p-1")]


def test_receive_is_false_when_the_broker_is_down(
    on_sqlite: Connector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dbconnector.commands.receive.CONNECT_S", 0.5)
    on_sqlite.configure(broker={"port": free_port()})
    assert DBConnector(on_sqlite.file).receiveNInsert() is False
    assert "connection refused" in caplog.messages[-1]


def test_receive_is_false_when_the_message_is_dead_lettered(on_sqlite: Connector) -> None:
    on_sqlite.configure()
    on_sqlite.vhost.declare_queue("readings")
    on_sqlite.publish(b"{")
    assert DBConnector(on_sqlite.file).receiveNInsert() is False
    assert len(on_sqlite.dead()) == 1


@pytest.mark.parametrize("text", [None, "", "{", '{"database": 1}', "[" * 100_000])
def test_a_bad_configuration_is_logged_and_gives_false(
    tmp_path: Path, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "db.config"
    if text is not None:
        file.write_text(text)
    connector = DBConnector(file)
    assert [connector.selectNSend(), connector.receiveNInsert(), connector.subscribeNInsert()] == [False] * 3
    assert caplog.text.count("db.config") >= 3
    assert "Traceback" not in caplog.text


def test_what_is_missing_in_the_configuration_is_logged_and_gives_false(
    on_sqlite: Connector, caplog: pytest.LogCaptureFixture
) -> None:
    on_sqlite.configure()
    assert DBConnector(str(on_sqlite.file)).selectNSend() is False
    assert "database.select is missing" in caplog.text


def test_select_is_true_then_none_when_there_are_no_rows_and_false_when_it_fails(connector: Connector) -> None:
    connector.database.execute("INSERT INTO reading (id, device, value) VALUES (1, 'p-1', 2.5)")
    select = {"query": "SELECT id FROM reading WHERE id >= :first"}
    connector.configure(database={"select": select}, broker={"destination": {"exchange": "rows", "routing_key": "r"}})
    connector.vhost.declare_queue("all", "rows")
    it = DBConnector(connector.file)
    assert it.selectNSend({"first": 1}) is True
    assert it.selectNSend({"first": 2}) is None
    assert it.selectNSend() is False  # :first has no value
    assert [body for *_, body in connector.vhost.get_all("all")] == [b'{"id":1}']


def test_subscribe_runs_in_a_thread_until_it_is_stopped(connector: Connector) -> None:
    connector.configure()
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    it = DBConnector(connector.file)
    results: list[bool | None] = []
    thread = threading.Thread(target=lambda: results.append(it.subscribeNInsert()))
    thread.start()
    try:
        assert eventually(lambda: connector.vhost.exists("readings"))
        connector.publish(*[reading(n) for n in range(1, 101)])
        assert eventually(lambda: connector.database.count("reading") == 100)
    finally:
        it.stop()
        thread.join(30)
    assert results == [True]
    assert connector.vhost.depth("readings") == 0
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)] == before


@contextlib.contextmanager
def subscribing(connector: Connector) -> Iterator["subprocess.Popen[bytes]"]:
    """A program of somebody else's that calls subscribeNInsert in its main thread."""
    code = "from dbconnector import DBConnector; DBConnector('db.config').subscribeNInsert()"
    with subprocess.Popen([sys.executable, "-c", code], cwd=connector.folder, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def test_no_signal_handler_is_installed(on_sqlite: Connector) -> None:
    on_sqlite.configure()
    on_sqlite.vhost.declare_queue("readings")
    on_sqlite.publish(reading(1))
    with subscribing(on_sqlite) as process:
        assert eventually(lambda: on_sqlite.database.count("reading") == 1)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(20) == -signal.SIGTERM
