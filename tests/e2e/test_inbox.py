"""The inbox: with it, no duplicate row after a redelivery; without it, at least once."""

import json
from functools import partial
from typing import Any

import pytest

from tests.e2e.conftest import Connector, reading
from tests.services.proxy import proxy
from tests.services.waiting import eventually

INBOX = {"table": "connector_inbox", "key": "$message_id"}


@pytest.fixture
def twofold(connector: Connector) -> Connector:
    """With a table that takes everything, so that doubles show."""
    connector.database.script(
        "DROP TABLE reading", "CREATE TABLE reading (id integer, device varchar(20), value integer)"
    )
    connector.vhost.declare_queue("readings", arguments={"x-dead-letter-exchange": "dead-letter"})
    return connector


def create_inbox(connector: Connector, **sections: Any) -> None:
    connector.configure(idempotency=INBOX, **sections)
    done = connector.run("inbox", "-c", str(connector.file), "--create")
    assert done.returncode == 0, done.stderr


def publish(connector: Connector, numbers: range, *, start: int = 0) -> None:
    """Publish readings whose message ids are their numbers."""
    messages = [(reading(start + n, value=1), {"message_id": f"m-{n}"}) for n in numbers]
    connector.vhost.publish("", "readings", messages)


def has(connector: Connector, rows: int) -> bool:
    return connector.database.count("reading") >= rows


def copies(connector: Connector) -> list[tuple[int, int]]:
    """Return (how many times, how many ids) for the rows that are there."""
    return [
        (int(times), int(ids))
        for times, ids in connector.database.rows(
            "SELECT times, count(*) FROM (SELECT count(*) AS times FROM reading GROUP BY id) AS t GROUP BY times"
        )
    ]


def write_without_acknowledging(connector: Connector, count: int, **sections: Any) -> None:
    """Write `count` messages and be killed before the broker has heard an acknowledgement of them."""
    vhost = connector.vhost
    with proxy(vhost.host, vhost.port) as link:
        # All are taken from the start, since so many bodies of that size surely fit.
        connector.configure(broker={"port": link.port}, limits={"body_bytes": 65_536}, **sections)
        with connector.subscribed() as running:
            link.mute()
            vhost.publish("", "readings", [(reading(n, value=1), {"message_id": f"m-{n}"}) for n in range(count)])
            assert eventually(lambda: connector.database.count("reading") == count)
            running.kill()
    assert eventually(lambda: vhost.depth("readings") == count)


def test_with_it_a_redelivery_of_what_was_written_writes_nothing(twofold: Connector) -> None:
    create_inbox(twofold)
    write_without_acknowledging(twofold, 700, idempotency=INBOX)
    twofold.configure(idempotency=INBOX)
    publish(twofold, range(700, 750))
    with twofold.subscribed() as running:
        assert eventually(lambda: twofold.database.count("reading") == 750, 30)
    assert "already=700" in running.log
    assert "first delivery" not in running.log
    assert twofold.vhost.depth("readings") == 0
    assert copies(twofold) == [(1, 750)]
    assert twofold.dead() == []


def test_without_it_a_message_is_written_at_least_once(on_sqlite: Connector) -> None:
    on_sqlite.database.script("DROP TABLE reading", "CREATE TABLE reading (id integer, device text, value integer)")
    on_sqlite.vhost.declare_queue("readings")
    write_without_acknowledging(on_sqlite, 100)
    on_sqlite.configure()
    with on_sqlite.subscribed():
        assert eventually(lambda: on_sqlite.database.count("reading") == 200)
    assert copies(on_sqlite) == [(2, 100)]


@pytest.mark.slow
def test_with_it_everything_arrives_exactly_once_through_kills_in_mid_load(twofold: Connector) -> None:
    total, kills = 4000, 5
    create_inbox(twofold, batch={"size": 40, "wait_ms": 20})
    publish(twofold, range(total))
    for kill in range(1, kills + 1):
        least = kill * total // (kills + 3)
        with twofold.subscribed() as running:
            assert eventually(partial(has, twofold, least), 60)
            running.kill()
    assert twofold.database.count("reading") < total, "the kills were not in mid-load"
    with twofold.subscribed():
        assert eventually(lambda: twofold.database.count("reading") >= total, 60)
    assert copies(twofold) == [(1, total)]
    assert twofold.database.count("connector_inbox") == total
    assert twofold.vhost.depth("readings") == 0
    assert twofold.dead() == []


def test_a_key_that_is_there_on_a_first_delivery_is_warned_about(on_sqlite: Connector) -> None:
    on_sqlite.vhost.declare_queue("readings")
    create_inbox(on_sqlite)
    publish(on_sqlite, range(20))
    with on_sqlite.subscribed() as running:
        assert eventually(lambda: on_sqlite.database.count("reading") == 20)
        publish(on_sqlite, range(7, 10), start=1000)  # the same again: one line, the others are counted
        assert "message_id=m-7 key=m-7" in running.wait_for("already there on a first delivery")
        assert "count from 1 again" not in running.log
        publish(on_sqlite, range(20), start=2000)
        running.wait_for("messages have a key that is already there: does a device count from 1 again?")
    assert "already=23" in running.log
    assert on_sqlite.database.count("reading") == 20


def test_a_message_without_a_key_is_rejected_or_accepted_as_configured(on_sqlite: Connector) -> None:
    on_sqlite.vhost.declare_queue("readings")
    create_inbox(on_sqlite)
    on_sqlite.publish(reading(1))
    assert on_sqlite.run("receive", "-c", str(on_sqlite.file)).returncode == 1
    [(_, headers)] = on_sqlite.dead()
    assert (headers["dead-code"], headers["dead-detail"]) == ("no-key", "key <- $message_id")
    on_sqlite.configure(idempotency={**INBOX, "missing": "accept"})
    on_sqlite.publish(reading(2))
    assert on_sqlite.run("receive", "-c", str(on_sqlite.file)).returncode == 0
    assert on_sqlite.database.rows("SELECT id FROM reading") == [(2,)]
    assert on_sqlite.database.count("connector_inbox") == 0


def test_the_key_may_be_put_together_from_the_message(on_sqlite: Connector) -> None:
    on_sqlite.vhost.declare_queue("readings", "devices")
    create_inbox(on_sqlite)
    on_sqlite.configure(idempotency={"table": "connector_inbox", "key": "{$routing_key}@{at}"})
    for key, id, at in [("a", 1, 9), ("b", 2, 9), ("a", 3, 8), ("a", 4, 9)]:
        on_sqlite.vhost.publish("devices", key, json.loads(reading(id, at=at)))
    runs = [on_sqlite.run("receive", "-c", str(on_sqlite.file)) for _ in range(5)]
    assert [run.returncode for run in runs] == [0, 0, 0, 0, 3]
    assert "already there on a first delivery" in runs[3].stderr
    assert "key=a@9" in runs[3].stderr
    assert on_sqlite.database.rows("SELECT id FROM reading ORDER BY id") == [(1,), (2,), (3,)]


def test_the_command_prints_makes_and_trims_the_table(connector: Connector) -> None:
    connector.configure(idempotency=INBOX, name="mine")
    printed = connector.run("inbox", "-c", str(connector.file))
    assert (printed.returncode, printed.stderr) == (0, "")
    connector.database.execute(printed.stdout.strip().rstrip(";"))
    connector.database.execute("DROP TABLE connector_inbox")
    assert connector.run("inbox", "-c", str(connector.file), "--create").returncode == 0
    again = connector.run("inbox", "-c", str(connector.file), "--create")
    assert again.returncode != 0
    assert "connector_inbox" in again.stderr
    insert = "INSERT INTO connector_inbox (consumer, message_key, applied_at) VALUES (?, ?, ?)"
    for consumer, key, at in [
        ("mine", "old", "2020-01-01 00:00:00"),
        ("other", "old", "2020-01-01 00:00:00"),
    ]:
        connector.database.execute(insert, consumer, key, at)
    connector.database.execute("INSERT INTO connector_inbox (consumer, message_key) VALUES ('mine', 'new')")
    purged = connector.run("inbox", "-c", str(connector.file), "--purge", "--older", "1h")
    assert purged.returncode == 0, purged.stderr
    assert "keys=1" in purged.stderr
    left = connector.database.rows("SELECT consumer, message_key FROM connector_inbox ORDER BY consumer")
    assert [(consumer, key.strip()) for consumer, key in left] == [("mine", "new"), ("other", "old")]


def test_a_missing_table_pauses_and_says_how_to_make_it(on_postgres: Connector) -> None:
    on_postgres.configure(idempotency=INBOX)
    on_postgres.vhost.declare_queue("readings")
    publish(on_postgres, range(3))
    with on_postgres.subscribed() as running:
        told = running.wait_for("PAUSED")
        assert 'relation \\"connector_inbox\\" does not exist' in told
        assert "dbconnector inbox --create" in told
        create_inbox(on_postgres)
        assert eventually(lambda: on_postgres.database.count("reading") == 3)
    assert on_postgres.dead() == []
