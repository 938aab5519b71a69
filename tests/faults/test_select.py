"""`select` under faults: nothing is marked that has not arrived, and everything arrives."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.faults import database_faults as database
from tests.faults import nemesis
from tests.faults.conftest import Make
from tests.faults.outbox import Outbox


def drop_confirm(outbox: Outbox) -> None:
    """The broker has the rows, and nobody is told."""
    assert outbox.broker_link.drop_reply(nemesis.PUBLISH, nemesis.CONFIRM).wait(20)


FAULTS: list[Callable[[Any], None]] = [
    drop_confirm,
    database.kill_before_commit,
    database.kill_after_commit,
    database.drop_commit_reply,
    nemesis.reset_broker,
    nemesis.kill_any_time,
]
MORE: list[Callable[[Any], None]] = [
    nemesis.terminate,
    nemesis.restart_broker,
    nemesis.kill_broker,
    nemesis.cut_broker,
    nemesis.refuse_broker,
    nemesis.black_hole_broker,
    nemesis.mute_from_broker,
    nemesis.truncate_broker,
    nemesis.alarm,
    nemesis.revoke_broker,
    database.kill_sessions,
    database.kill_in_commit,
    database.kill_database,
    database.truncate_database,
    database.refuse_database,
    database.slow_database,
    database.read_only,
    database.revoke_database,
]


@pytest.mark.parametrize(
    ("name", "faults"), [("postgres_db", FAULTS), ("maria_db", [drop_confirm, database.drop_commit_reply])]
)
def test_a_row_is_marked_only_when_it_has_arrived(
    world_on: Make, name: str, faults: list[Callable[[Any], None]]
) -> None:
    outbox = world_on(name, seed=61, kind=Outbox, pace=0.3)
    expect_survived(outbox, faults)


@pytest.mark.soak
@pytest.mark.parametrize("name", ["postgres_db", "maria_db"])
@pytest.mark.parametrize("fault", [*FAULTS, *MORE])
def test_it_is_survived(world_on: Make, name: str, fault: Callable[[Any], None]) -> None:
    outbox = world_on(name, seed=62, kind=Outbox)
    expect_survived(outbox, [fault])


def expect_survived(outbox: Any, faults: list[Callable[[Any], None]]) -> None:
    outbox.feed()
    outbox.worker()
    for fault in faults:
        nemesis.happen(outbox, fault)
    outbox.stop()
    print(f"{outbox.expect_all_arrived()} messages came twice")
