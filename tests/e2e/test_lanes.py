"""Lanes: the messages of one device in their order, and many devices at the same time."""

import json
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from tests.bench.load import slow_commits
from tests.e2e.conftest import Connector, reading
from tests.services.database import Database
from tests.services.waiting import eventually

DEVICES, EACH = 17, 60
#: `seq` is the order in which rows were written.
EVENT = {
    "postgresql": "CREATE TABLE event (seq serial PRIMARY KEY, device text NOT NULL, n integer NOT NULL)",
    "mariadb": "CREATE TABLE event (seq integer AUTO_INCREMENT PRIMARY KEY, device varchar(20), n integer NOT NULL)",
}
WRITE = {"statement": "INSERT INTO event (device, n) VALUES (:device, :n)"}


def events() -> list[bytes]:
    return [json.dumps({"device": f"d{n % DEVICES}", "n": n}).encode() for n in range(DEVICES * EACH)]


def written(database: Database) -> dict[str, list[int]]:
    """Return what was written of each device, in the order in which it was."""
    found: dict[str, list[int]] = defaultdict(list)
    for device, n in database.rows("SELECT device, n FROM event ORDER BY seq"):
        found[device].append(n)
    return dict(found)


@pytest.mark.parametrize("name", ["postgres_db", "maria_db"])
def test_each_device_keeps_its_order_in_four_lanes_when_its_row_is_locked_and_the_process_is_killed(
    on: Callable[[str], Connector], name: str
) -> None:
    connector = on(name)
    database = connector.database
    database.execute(EVENT[database.kind])
    database.execute("CREATE TABLE device (name varchar(20) PRIMARY KEY, seen integer)")
    for number in range(DEVICES):
        database.execute("INSERT INTO device (name, seen) VALUES (?, 0)", f"d{number}")
    touch = {"statement": "UPDATE device SET seen = seen + 1 WHERE name = :device"}
    connector.configure(
        write=[touch, WRITE],
        batch={"size": 20, "wait_ms": 5},
        lanes={"count": 4, "key": "device"},
        retry={"attempts": 50, "first_ms": 50, "max_s": 1},
        database={"on_connect": LOCK_LIMIT[database.kind]},
    )
    connector.vhost.declare_queue("readings")
    connector.publish(*events())
    locker = database.connect()
    cursor = locker.cursor()
    cursor.execute("BEGIN")
    cursor.execute("SELECT seen FROM device WHERE name = 'd3' FOR UPDATE")
    others = (DEVICES - 1) * EACH
    with connector.subscribed() as running:
        eventually(lambda: database.count("event") > others // 3, 60)
        running.kill()
    with connector.subscribed():
        eventually(lambda: database.count("event") >= others, 120)
        assert "d3" not in written(database)
        cursor.execute("COMMIT")
        locker.close()
        eventually(lambda: sum(len(set(numbers)) for numbers in written(database).values()) == DEVICES * EACH, 60)
    assert connector.dead() == []
    for device, numbers in written(database).items():
        first_times = list(dict.fromkeys(numbers))  # what a kill makes come twice is at least once, as promised
        assert first_times == sorted(first_times), device
        assert first_times == list(range(int(device[1:]), DEVICES * EACH, DEVICES))


#: A row lock is waited for this long at most.
LOCK_LIMIT: dict[str, Any] = {
    "postgresql": "SET lock_timeout = '300ms'",
    "mariadb": "SET innodb_lock_wait_timeout = 1",
}


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
