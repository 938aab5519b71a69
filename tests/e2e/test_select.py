"""selectNSend: one message per row, and only what the broker has confirmed is marked."""

import csv
import io
import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.e2e.conftest import EACH_DRIVER, Connector, installed
from tests.services.waiting import eventually

OUTBOX = (
    "CREATE TABLE outbox (id integer NOT NULL PRIMARY KEY, device varchar(50), value numeric(12,3),"
    " sent_at timestamp NULL, reason varchar(1000))"
)
QUERY = "SELECT id, device, value FROM outbox WHERE sent_at IS NULL ORDER BY id"
MARK = "UPDATE outbox SET sent_at = CURRENT_TIMESTAMP WHERE id = :id"
FAIL = "UPDATE outbox SET sent_at = CURRENT_TIMESTAMP, reason = :error WHERE id = :id"


class Outbox:
    """A table of rows to be sent, and a queue `rows` behind an exchange of that name for what is sent."""

    def __init__(self, connector: Connector) -> None:
        self.connector = connector
        self.database = connector.database
        self.vhost = connector.vhost
        self.database.execute(OUTBOX)
        self.vhost.declare_queue("rows", "rows", "row.#")

    def fill(self, count: int, first: int = 1, device: Callable[[int], str] = lambda n: f"pump-{n % 7}") -> None:
        for start in range(first, first + count, 500):
            numbers = range(start, min(start + 500, first + count))
            values = ",".join(f"({n}, '{device(n)}', {n}.125)" for n in numbers)
            self.database.execute(f"INSERT INTO outbox (id, device, value) VALUES {values}")

    def configure(self, *, destination: Mapping[str, Any] | None = None, **select: Any) -> None:
        self.connector.configure(
            write=(),
            database={"select": {"query": QUERY, **select}},
            broker={"destination": {"exchange": "rows", "routing_key": "row.{device}", **(destination or {})}},
        )

    def select(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return self.connector.run("select", "-c", str(self.connector.file), *arguments)

    def ids(self) -> list[int]:
        return [json.loads(body)["id"] for _, _, body in self.vhost.get_all("rows")]

    def marked(self) -> list[int]:
        return [id for (id,) in self.database.rows("SELECT id FROM outbox WHERE sent_at IS NOT NULL ORDER BY id")]

    def reasons(self) -> dict[int, str]:
        return dict(self.database.rows("SELECT id, reason FROM outbox WHERE reason IS NOT NULL"))


@pytest.fixture
def outbox(connector: Connector) -> Outbox:
    return Outbox(connector)


@pytest.fixture
def on_one(on_postgres: Connector) -> Outbox:
    """Where the database does not matter."""
    return Outbox(on_postgres)


# --- one message per row ---------------------------------------------------------------------------------------------


@EACH_DRIVER
def test_every_row_becomes_one_persistent_message_whose_parts_come_from_its_columns(outbox: Outbox) -> None:
    outbox.fill(1000)
    destination = {
        "message_id": "{device}/{id}",
        "correlation_id": "id",
        "priority": {"value": 4},
        "headers": {"number": "id", "value": "value", "site": {"value": "hall 7"}},
    }
    outbox.configure(destination=destination, fetch=300, key=["id"])
    done = outbox.select()
    assert done.returncode == 0, done.stderr
    assert "sent rows=1000 failed=0" in done.stderr
    assert "confirmed" not in done.stderr  # the progress bar is for terminals
    taken = outbox.vhost.get_all("rows")
    assert [body for _, _, body in taken] == [
        f'{{"id":{n},"device":"pump-{n % 7}","value":{n}.125}}'.encode() for n in range(1, 1001)
    ]
    method, properties, _ = taken[7]
    assert (method.exchange, method.routing_key) == ("rows", "row.pump-1")
    assert (properties.message_id, properties.correlation_id, properties.priority) == ("pump-1/8", "8", 4)
    assert properties.headers == {"number": 8, "value": "8.125", "site": "hall 7"}
    assert (properties.content_type, properties.delivery_mode) == ("application/json", 2)
    assert {properties.delivery_mode for _, properties, _ in taken} == {2}
    assert outbox.marked() == []


def test_a_parameter_of_the_query_comes_from_the_configuration_or_from_param(outbox: Outbox) -> None:
    outbox.fill(10)
    outbox.configure(
        query="SELECT id, device FROM outbox WHERE id >= :low AND id < :high AND device <> :other ORDER BY id",
        params={"low": 2, "high": 3},
        key=["id"],
    )
    done = outbox.select("--param", "high=6", "--param", "other=pump-3'; DROP TABLE outbox; --")
    assert done.returncode == 0, done.stderr
    assert outbox.ids() == [2, 3, 4, 5]


def test_a_parameter_without_a_value_is_a_mistake_in_the_configuration(on_one: Outbox) -> None:
    on_one.configure(query="SELECT id, device FROM outbox WHERE id >= :low AND id < :high", params={"high": 3})
    missing = on_one.select()
    assert missing.returncode == 78
    assert "no value for :low" in missing.stderr
    assert "--param low=VALUE" in missing.stderr


def test_a_column_can_be_the_body_as_it_is(on_one: Outbox) -> None:
    on_one.database.execute("CREATE TABLE image (name varchar(20), data bytea)")
    body = bytes(range(256)) * 400
    on_one.database.execute("INSERT INTO image VALUES (?, ?)", "one", body)
    destination = {"routing_key": "row.{name}", "body": "data", "content_type": "image/{name}"}
    on_one.configure(query="SELECT name, data FROM image", destination=destination)
    done = on_one.select()
    assert done.returncode == 0, done.stderr
    [(method, properties, found)] = on_one.vhost.get_all("rows")
    assert (method.routing_key, properties.content_type, found) == ("row.one", "image/one", body)


# --- many rows in a message ------------------------------------------------------------------------------------------

NIGHTLY = "SELECT id, device, value, note FROM report ORDER BY id"
REPORT = (
    "INSERT INTO report SELECT n, 'pump-' || n % 7, n * 0.125, CASE n % 3 WHEN 1 THEN 'a,\"b' WHEN 2 THEN '' END"
    " FROM generate_series(1, {count}) n"
)
CSV = {"type": "delimited", "header": True}


def test_a_hundred_thousand_rows_are_one_csv_or_several_in_as_much_memory_as_a_thousand(on_one: Outbox) -> None:
    connector = on_one.connector
    connector.database.execute(
        "CREATE TABLE report (id integer PRIMARY KEY, device varchar(20), value numeric(12,3), note varchar(20))"
    )
    peaks: list[float] = []
    for count, rows, messages in ((1_000, "all", 1), (100_000, "all", 1), (100_000, 30_000, 4)):
        connector.database.execute("TRUNCATE report")
        connector.database.execute(REPORT.format(count=count))
        connector.configure(
            write=(),
            format=CSV,
            limits={"body_bytes": 8_000_000},
            database={"select": {"query": NIGHTLY}},
            broker={"destination": {"exchange": "rows", "routing_key": "row.{$part}", "rows": rows}},
        )
        done, peak = connector.measured("select", "-c", str(connector.file))
        assert done.returncode == 0, done.stderr
        assert f"sent rows={count} failed=0 messages={messages}" in done.stderr
        taken = connector.vhost.get_all("rows")
        assert [method.routing_key for method, _, _ in taken] == [f"row.{n}" for n in range(1, messages + 1)]
        assert {properties.content_type for _, properties, _ in taken} == {"text/csv; charset=utf-8"}
        read = [list(csv.reader(io.StringIO(body.decode(), newline=""))) for _, _, body in taken]
        assert [header for header, *_ in read] == [["id", "device", "value", "note"]] * messages
        assert [line for _, *lines in read for line in lines] == [
            [str(n), f"pump-{n % 7}", f"{n * 125 // 1000}.{n * 125 % 1000:03}", ("", 'a,"b', "")[n % 3]]
            for n in range(1, count + 1)
        ]
        print(f"{count:,} rows in {messages}: {sum(len(body) for *_, body in taken):,} bytes, peak {peak:.0f} MB")
        peaks.append(peak)
    assert max(peaks) < 1.3 * peaks[0], peaks


@pytest.mark.parametrize("kind", ["json", "ndjson", "xml", "csv"])
def test_what_select_puts_in_one_message_subscribe_writes_as_the_same_rows(on_one: Outbox, kind: str) -> None:
    fmt = {"xml": {"type": "xml", "root": "rows", "record": "row"}, "csv": CSV}.get(kind, {"type": kind})
    connector = on_one.connector
    on_one.fill(1200)
    on_one.database.execute("UPDATE outbox SET device = NULL WHERE id = 5")
    on_one.database.execute("UPDATE outbox SET device = ? WHERE id = 6", 'é";\n<&')
    on_one.database.execute("CREATE TABLE copied (id integer, device varchar(50), value numeric(12,3))")
    insert = {"statement": "INSERT INTO copied (id, device, value) VALUES (:id, :device, :value)"}
    connector.configure(
        write=[insert],
        format=fmt,
        database={"select": {"query": QUERY, "on_sent": MARK, "fetch": 500}},
        broker={"destination": {"exchange": "rows", "routing_key": "row", "rows": "all"}, "source": {"queue": "rows"}},
    )
    sent, written = on_one.select(), connector.run("receive", "-c", str(connector.file))
    assert (sent.returncode, written.returncode) == (0, 0), sent.stderr + written.stderr
    columns = "SELECT id, device, value FROM {} ORDER BY id"
    assert on_one.database.rows(columns.format("copied")) == on_one.database.rows(columns.format("outbox"))
    assert on_one.marked() == list(range(1, 1201))


# --- what is marked --------------------------------------------------------------------------------------------------


def test_rows_are_marked_page_by_page_and_when_nothing_is_left_it_exits_with_3(outbox: Outbox) -> None:
    outbox.fill(950)
    outbox.configure(on_sent=MARK, fetch=300)
    done = outbox.select()
    assert done.returncode == 0, done.stderr
    assert outbox.ids() == list(range(1, 951))
    assert outbox.marked() == list(range(1, 951))
    nothing = outbox.select()
    assert nothing.returncode == 3
    assert nothing.stderr.count("no rows to send") == 1
    assert "sent rows" not in nothing.stderr


def test_only_confirmed_rows_are_marked_and_one_that_cannot_be_sent_is_left_to_on_failed(outbox: Outbox) -> None:
    devices = {60: "nowhere", 70: "row." + "long" * 11}
    outbox.fill(100, device=lambda n: devices.get(n, "row.1"))
    settings: dict[str, Any] = {"on_sent": MARK, "fetch": 30, "destination": {"routing_key": "{device}" * 6}}
    outbox.configure(**settings)
    done = outbox.select()
    assert done.returncode == 1, done.stderr
    assert "unroutable" in done.stderr
    first = outbox.ids()
    assert set(range(1, 60)) <= set(first) <= set(range(1, 61)) - {60}
    assert outbox.marked() == first

    outbox.configure(**settings, on_failed=FAIL)
    done = outbox.select()
    assert done.returncode == 0, done.stderr
    assert f"sent rows={98 - len(first)} failed=2" in done.stderr
    assert outbox.ids() == [n for n in range(1, 101) if n not in {*first, *devices}]
    assert outbox.marked() == list(range(1, 101))
    reasons = outbox.reasons()
    assert sorted(reasons) == [60, 70]
    assert "unroutable" in reasons[60]
    assert "destination.routing_key" in reasons[70]
    assert "288 bytes, AMQP takes 255" in reasons[70]


@pytest.mark.parametrize(("rows", "page"), [(3000, 50), (12_000, 12_000)])
def test_killed_in_the_middle_it_has_marked_only_what_is_in_the_queue(on_one: Outbox, rows: int, page: int) -> None:
    on_one.fill(rows)
    on_one.configure(on_sent=MARK, fetch=page)
    with on_one.connector.running("select", "-c", str(on_one.connector.file), ready="") as running:
        eventually(lambda: len(on_one.marked()) >= 150, 30)
        running.kill()
    marked = on_one.marked()
    assert len(marked) < rows
    first = on_one.ids()
    assert on_one.select().returncode == 0
    left = [n for n in range(1, rows + 1) if n not in set(marked)]
    second = on_one.ids()
    assert second[-len(left) :] == left
    first += second[: -len(left)]  # what the killed one has sent may arrive later
    assert set(marked) <= set(first)
    assert len(first) <= len(marked) + page  # what is sent twice is at most the page in hand


# --- how it runs -----------------------------------------------------------------------------------------------------


def test_every_runs_the_query_again_and_again_until_it_is_stopped(outbox: Outbox) -> None:
    outbox.configure(on_sent=MARK)
    arguments = ("select", "-c", str(outbox.connector.file), "--every", "200ms")
    with outbox.connector.running(*arguments, ready="database connected") as running:
        outbox.fill(3)
        assert eventually(lambda: outbox.vhost.depth("rows") == 3)
        outbox.fill(2, first=4)
        assert eventually(lambda: outbox.vhost.depth("rows") == 5)
    assert outbox.ids() == [1, 2, 3, 4, 5]
    sent = [int(rows) for rows in re.findall(r" sent rows=(\d+)", running.log)]
    assert sum(sent) == 5
    assert 0 not in sent  # a turn without rows is not worth a line


def test_by_cron_it_waits_for_its_time_and_runs_when_it_is_asked_to(on_one: Outbox) -> None:
    on_one.fill(3)
    on_one.configure(on_sent=MARK, cron="0 0 1 1 *", zone="Europe/Vienna")
    with on_one.connector.running("select", "-c", str(on_one.connector.file), ready=" scheduled cron=") as running:
        assert "next=" in running.log
        running.signal(signal.SIGUSR1)
        assert eventually(lambda: on_one.vhost.depth("rows") == 3)
    assert running.log.count(" sent rows=") == 1


def test_an_outage_pauses_a_query_that_is_run_again_and_again(on_one: Outbox) -> None:
    on_one.configure(on_sent=MARK)
    arguments = ("select", "-c", str(on_one.connector.file), "--every", "200ms")
    with on_one.connector.running(*arguments, ready="database connected") as running:
        on_one.database.close()
        on_one.database.server.stop()
        running.wait_for("PAUSED select=readings since=")
        on_one.database.server.start()
        running.wait_for("RESUMED select=readings after=")
        on_one.vhost.close_connections()
        on_one.fill(3)
        assert eventually(lambda: on_one.vhost.depth("rows") == 3)
    assert running.log.count(" RESUMED ") == 1
    assert " ERROR " not in running.log
    assert on_one.marked() == [1, 2, 3]


def test_on_a_terminal_it_shows_how_many_rows_are_confirmed(on_one: Outbox) -> None:
    on_one.fill(2000)
    on_one.configure()
    inside, outside = pty.openpty()
    process = subprocess.Popen(
        [installed("dbconnector"), "select", "-c", str(on_one.connector.file)],
        stderr=outside,
        stdout=outside,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(outside)
    shown = b"".join(iter(lambda: read(inside), b"")).decode()
    os.close(inside)
    assert process.wait(30) == 0, shown
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert "2,000 rows confirmed" in text
    assert "sent rows=2000 failed=0" in text


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


MANY = {
    "postgresql": "INSERT INTO many SELECT n, 'device ' || n % 1000, n * 0.125, repeat('x', {width})"
    " FROM generate_series(1, {count}) n",
    "mariadb": "INSERT INTO many SELECT seq, concat('device ', seq % 1000), seq * 0.125, repeat('x', {width})"
    " FROM seq_1_to_{count}",
    "sqlite": "INSERT INTO many WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count})"
    " SELECT n, 'device ' || n % 1000, n * 0.125, printf('%.{width}c', 'x') FROM s",
}
#: Wide rows are as good as many: a driver that reads all of these into memory needs 200 MB. For a million narrow ones
#: by hand: SELECT_ROWS=1000000 SELECT_WIDTH=100.
ROWS = int(os.environ.get("SELECT_ROWS", "30000"))
WIDTH = int(os.environ.get("SELECT_WIDTH", "3000"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["postgres_db", "maria_db", "sqlite_db"])
def test_a_large_table_is_read_in_less_than_120_megabytes(on: Callable[[str], Connector], name: str) -> None:
    connector = on(name)
    connector.database.execute(
        f"CREATE TABLE many (id integer NOT NULL PRIMARY KEY, device varchar(20), value numeric(12,3), "
        f"note varchar({WIDTH}))"
    )
    connector.database.execute(MANY[connector.database.kind].format(count=ROWS, width=WIDTH))
    connector.vhost.declare_queue(  # that the broker does not hold them all
        "rows", "rows", "#", type="classic", arguments={"x-max-length": 1000, "x-overflow": "drop-head"}
    )
    connector.configure(
        write=(),
        database={"select": {"query": "SELECT id, device, value, note FROM many", "key": ["id"]}},
        broker={"destination": {"exchange": "rows", "routing_key": "row"}},
    )
    done, megabytes = connector.measured("select", "-c", str(connector.file), timeout=900)
    assert done.returncode == 0, done.stderr
    assert f"sent rows={ROWS} failed=0" in done.stderr
    assert json.loads(connector.vhost.get_all("rows")[-1][2])["id"] == ROWS
    print(f"{connector.database.variant}: {ROWS:,} rows of {WIDTH}, peak {megabytes:.0f} MB")
    assert megabytes < 120
