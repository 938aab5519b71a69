"""Processes that share a cron schedule: a run in which one dies is repeated by another, and by one only."""

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from dbconnector.lease_table import ddl
from tests.faults.worker import Worker
from tests.services.postgresql import PostgresDatabase
from tests.services.rabbitmq import Vhost
from tests.services.server import free_port
from tests.services.waiting import eventually

ROWS = 5


def test_the_run_of_a_process_that_dies_in_it_is_repeated_by_one_of_the_others(
    tmp_path: Path, vhost: Vhost, postgres_db: PostgresDatabase
) -> None:
    """The time was missed long ago. The first to run dies when its rows are confirmed and not marked."""
    postgres_db.execute("CREATE TABLE outbox (id integer PRIMARY KEY, sent integer DEFAULT 0)")
    for id in range(ROWS):
        postgres_db.execute("INSERT INTO outbox (id) VALUES (?)", id)
    postgres_db.execute(ddl("state"))
    postgres_db.execute("INSERT INTO state VALUES ('report', '2020-06-01 00:00:00.000000', NULL, 0, 1)")
    vhost.declare_queue("rows", "rows", "row")
    select = {
        "query": "SELECT id FROM outbox WHERE sent = 0 ORDER BY id",
        "on_sent": "UPDATE outbox SET sent = 1 WHERE id = :id",
        "cron": "0 0 1 1 *",
        "state": {"table": "state"},
    }
    config = {"name": "report", "database": postgres_db.config(select=select)}
    config["broker"] = vhost.config(destination={"exchange": "rows", "routing_key": "row", "message_id": "{id}"})
    with ExitStack() as stack:
        workers, port = {}, free_port()
        for name in ("a", "b", "c"):
            file = tmp_path / f"{name}.config"
            monitoring = {"monitoring": {"port": port}} if name == "b" else {}
            file.write_text(json.dumps(config | monitoring))
            arguments = ("dbconnector", "select", "-c", str(file))
            workers[name] = Worker(tmp_path, name, *arguments, ready=" scheduled cron=")
            stack.callback(workers[name].kill)
        workers["a"].start("lease=3", "before-commit=1", wait=False)
        assert workers["a"].wait_for_the_end() < 0
        assert vhost.depth("rows") == ROWS
        for name in ("b", "c"):
            workers[name].start("lease=3", wait=False)
        eventually(lambda: postgres_db.value("SELECT sum(sent) FROM outbox") == ROWS, 30)
        eventually(lambda: postgres_db.value("SELECT owner IS NULL AND watermark > '2021' FROM state"), 30)
        for name in ("b", "c"):
            workers[name].wait_for(" scheduled cron=")
        status = [str(Path(sys.executable).with_name("dbconnector")), "status", "-c", str(tmp_path / "b.config")]
        eventually(lambda: "handled up to 20" in subprocess.run(status, capture_output=True, text=True).stdout)
        assert [workers[name].stop() for name in ("b", "c")] == [0, 0]
    assert vhost.depth("rows") == 2 * ROWS
    assert sum(workers[name].log.count(" sent rows=5 ") for name in ("b", "c")) == 1
    assert "another process runs the query owner=" in workers["b"].log + workers["c"].log
