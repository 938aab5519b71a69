"""What a one-shot command and an object of the Python API do when they are asked to stop."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from dbconnector import DBConnector
from tests.e2e.conftest import Connector, reading
from tests.services.waiting import eventually

pytestmark = pytest.mark.usefixtures("as_installed")

SELECT = {"select": {"query": "SELECT id FROM reading"}}


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A broker that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        yield listener


@pytest.fixture
def unanswered(on_sqlite: Connector, silent: socket.socket) -> Connector:
    """Configured for every command, with a broker that does not answer."""
    destination = {"exchange": "rows", "routing_key": "r"}
    source = {"queue": "readings"}
    port = silent.getsockname()[1]
    on_sqlite.configure(database=SELECT, broker={"port": port, "destination": destination, "source": source})
    return on_sqlite


@pytest.mark.parametrize("command", ["receive", "select"])
def test_sigterm_while_connecting_ends_with_0(unanswered: Connector, silent: socket.socket, command: str) -> None:
    with unanswered.running(command, "-c", str(unanswered.file), ready="") as running:
        with silent.accept()[0]:
            assert running.stop() == 0, running.log
        assert " ERROR " not in running.log


def test_sigterm_while_a_single_active_consumer_waits_ends_it_with_0(on_sqlite: Connector) -> None:
    on_sqlite.vhost.declare_queue("readings", arguments={"x-single-active-consumer": True})
    on_sqlite.configure()
    with on_sqlite.running("receive", "-c", str(on_sqlite.file), "--wait", "1h", ready="") as running:
        eventually(lambda: consumers(on_sqlite) == 1)
        assert running.stop() == 0, running.log
        assert " ERROR " not in running.log


def consumers(connector: Connector) -> int:
    with connector.vhost.channel() as channel:
        return int(channel.queue_declare("readings", passive=True).method.consumer_count)


def run(method: Callable[[], bool | None]) -> tuple[threading.Thread, list[bool | None]]:
    results: list[bool | None] = []
    thread = threading.Thread(target=lambda: results.append(method()))
    thread.start()
    return thread, results


def test_an_object_that_was_stopped_can_be_used_again(on_sqlite: Connector) -> None:
    on_sqlite.configure()
    on_sqlite.vhost.declare_queue("readings")
    it = DBConnector(on_sqlite.file)
    it.stop()  # nothing runs
    for number in (1, 2, 3):
        on_sqlite.publish(reading(number))
        thread, results = run(it.subscribeNInsert)
        try:
            eventually(lambda: on_sqlite.database.count("reading") == number or not thread.is_alive(), 20)  # noqa: B023
        finally:
            it.stop()
            thread.join(30)
        assert on_sqlite.database.count("reading") == number
        assert results == [True]


def test_stop_ends_everything_that_runs(on_sqlite: Connector) -> None:
    on_sqlite.configure()
    it = DBConnector(on_sqlite.file)
    running = [run(it.subscribeNInsert) for _ in range(2)]
    try:
        eventually(lambda: on_sqlite.vhost.exists("readings") and consumers(on_sqlite) == 2)
    finally:
        it.stop()
        for thread, _ in running:
            thread.join(30)
    assert [results for _, results in running] == [[True], [True]]


@pytest.mark.parametrize("method", ["receiveNInsert", "selectNSend"])
def test_what_is_stopped_before_it_did_anything_is_no_success(
    unanswered: Connector, silent: socket.socket, method: str
) -> None:
    it = DBConnector(unanswered.file)
    thread, results = run(getattr(it, method))
    with silent.accept()[0]:
        it.stop()
        thread.join(30)
    assert results == [None]


def test_a_log_that_nobody_reads_holds_up_neither_the_work_nor_its_end(on_sqlite: Connector) -> None:
    """As under a supervisor that hangs: the pipe is full before the first message comes."""
    on_sqlite.configure(logging={"level": "debug"})
    command = [*on_sqlite.program, "subscribe", "-c", str(on_sqlite.file)]
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    with subprocess.Popen(command, cwd=on_sqlite.folder, stderr=writer) as process:
        try:
            eventually(lambda: on_sqlite.vhost.exists("readings"))
            on_sqlite.publish(*(reading(number) for number in range(100)))
            eventually(lambda: on_sqlite.database.count("reading") == 100)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
            os.close(reader)
            os.close(writer)


def test_one_ctrl_c_ends_a_method_of_the_python_api(on_sqlite: Connector) -> None:
    on_sqlite.configure()
    # As at a terminal, also where the tests run in the background, which ignores SIGINT.
    heeded = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heeded}; from dbconnector import DBConnector; DBConnector({str(on_sqlite.file)!r}).subscribeNInsert()"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) as process:
        try:
            eventually(lambda: on_sqlite.vhost.exists("readings") and consumers(on_sqlite) == 1)
            on_sqlite.publish(reading(1))
            eventually(lambda: on_sqlite.database.count("reading") == 1)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=20)
        finally:
            process.kill()
    assert said.splitlines()[-1] == "KeyboardInterrupt"
    assert on_sqlite.vhost.depth("readings") == 0
