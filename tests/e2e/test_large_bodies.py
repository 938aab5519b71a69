"""Bodies in hand take only so many bytes, whatever comes, and nothing of them is lost."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Connector, Running, reading
from tests.services.waiting import eventually

pytestmark = pytest.mark.usefixtures("as_installed")

#: By hand also with 20 and 30: what the descriptions of a plant's worst day ask for.
COUNT, MEGABYTES = int(os.environ.get("BODIES", "12")), int(os.environ.get("MEGABYTES", "4"))
SIZE = MEGABYTES * 1_000_000


def large(number: int) -> bytes:
    return reading(number, note="x" * SIZE)


def peak(running: Running) -> int:
    """Return the most resident memory of a process so far, in bytes."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


@contextlib.contextmanager
def table_locked(connector: Connector) -> Iterator[None]:
    with contextlib.closing(connector.database.connect()) as locker:
        locker.cursor().execute("BEGIN; LOCK TABLE reading IN EXCLUSIVE MODE")
        yield
        locker.cursor().execute("ROLLBACK")


def written(connector: Connector) -> list[int]:
    return [row[0] for row in connector.database.rows("SELECT id FROM reading ORDER BY id")]


def test_behind_a_locked_table_only_what_fits_is_kept_in_memory(on_postgres: Connector) -> None:
    source = {"queue": "readings", "prefetch_bytes": 2 * SIZE + SIZE // 2}
    on_postgres.configure(limits={"body_bytes": 2 * SIZE}, broker={"source": source})
    with on_postgres.subscribed() as running:
        on_postgres.publish(*[reading(number) for number in range(100)])  # so that a whole prefetch is on its way
        eventually(lambda: len(written(on_postgres)) == 100, 30)
        before = peak(running)
        with table_locked(on_postgres):
            on_postgres.publish(*[large(number) for number in range(100, 100 + COUNT)])
            eventually(lambda: on_postgres.vhost.depth("readings") == 0, 60, what="all on their way at once")
            # More, if some of the small ones wait for a change of the prefetch to be acknowledged.
            eventually(lambda: on_postgres.vhost.unsettled("readings") >= COUNT, 60)
        eventually(lambda: len(written(on_postgres)) == 100 + COUNT, 120)
        grown = peak(running) - before
    assert "prefetch limited" in running.log
    print(f"{COUNT} of {MEGABYTES} MB: {before / 1e6:.0f} MB before, {grown / 1e6:.0f} MB more")
    assert written(on_postgres) == list(range(100 + COUNT))
    assert on_postgres.dead() == []
    assert grown < COUNT * SIZE * 2 // 3


def test_what_is_too_large_is_never_read_and_dead_lettered_by_the_broker(on_postgres: Connector) -> None:
    on_postgres.configure()
    with on_postgres.subscribed() as running:
        on_postgres.publish(reading(0))
        eventually(lambda: written(on_postgres) == [0], 30)
        before = peak(running)
        with table_locked(on_postgres):
            on_postgres.publish(reading(1), *[large(number) for number in range(2, COUNT + 2)], reading(COUNT + 2))
        eventually(lambda: written(on_postgres) == [0, 1, COUNT + 2], 60)
        eventually(lambda: on_postgres.vhost.depth("dead-letter") == COUNT, 30)
        grown = peak(running) - before
    print(f"{COUNT} of {MEGABYTES} MB: {before / 1e6:.0f} MB before, {grown / 1e6:.0f} MB more")
    assert grown < 2 * SIZE
    assert "and limits.body_bytes is 1048576" in running.log
    assert f"done=3 already=0 dead={COUNT}" in running.log
    dead = on_postgres.dead()
    assert {len(body) > SIZE for body, _ in dead} == {True}
    assert {headers["x-death"][0]["reason"] for _, headers in dead} == {"rejected"}
    assert len({body[:40] for body, _ in dead}) == COUNT


def test_what_is_too_large_for_a_queue_that_may_lose_it_is_dead_lettered_by_the_connector(
    on_postgres: Connector,
) -> None:
    on_postgres.vhost.declare_queue("readings", arguments={"x-dead-letter-exchange": "dead-letter"})
    on_postgres.configure(broker={"source": {"queue": "readings", "prefetch_bytes": 2 * SIZE + SIZE // 2}})
    with on_postgres.subscribed():
        on_postgres.publish(reading(1), *[large(number) for number in range(2, 6)], reading(6))
        eventually(lambda: written(on_postgres) == [1, 6], 60)
    dead = on_postgres.dead()
    assert [headers["dead-code"] for _, headers in dead] == ["too-large"] * 4
    assert [len(body) > SIZE for body, _ in dead] == [True] * 4
