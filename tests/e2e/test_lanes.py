"""Lanes: many devices at the same time. That each keeps its order, through a lock and a kill: tests/faults."""

import time

import pytest

from tests.bench.load import slow_commits
from tests.e2e.conftest import Connector, reading
from tests.services.waiting import eventually


@pytest.mark.alone
def test_with_slow_commits_four_lanes_are_more_than_one_and_a_half_times_as_fast_as_one(on_postgres: Connector) -> None:
    on_postgres.database.script(*slow_commits("reading", 0.02))
    seconds = {}
    on_postgres.vhost.declare_queue("readings")
    for count in (1, 4):
        on_postgres.database.execute("DELETE FROM reading")
        on_postgres.configure(batch={"size": 50, "wait_ms": 5}, lanes={"count": count, "key": "device"})
        on_postgres.publish(*[reading(n, f"d{n % 64}") for n in range(1, 8001)])
        with on_postgres.subscribed(ready=""):
            eventually(lambda: on_postgres.database.count("reading") > 0, every=0.005)
            begun = time.monotonic()
            eventually(lambda: on_postgres.database.count("reading") == 8000, 60, 0.005)
            seconds[count] = time.monotonic() - begun
    assert seconds[1] > 1.7 * seconds[4], seconds  # 2.5 to 2.9 on an idle machine


def test_sqlite_has_one_writer_and_says_so(on_sqlite: Connector) -> None:
    on_sqlite.configure(lanes={"count": 2})
    done = on_sqlite.run("check", "-c", str(on_sqlite.file))
    assert done.returncode == 78
    assert "lanes.count: sqlite has one writer at a time: use 1" in done.stdout + done.stderr


def test_a_key_is_of_the_message(on_sqlite: Connector) -> None:
    on_sqlite.configure(lanes={"key": "$result.a.b"})
    done = on_sqlite.run("check", "-c", str(on_sqlite.file))
    assert done.returncode == 78
    assert "lanes.key: $result is not known before a message is written" in done.stdout + done.stderr
